//! An application to kill: programs whose results wait for time to pass, each of which says what it makes as text under its own name.
//!
//! Arguments: bootstrap servers, application id, what the names of all input topics begin with, output topic, state directory. The environment
//! may say more, as [`Settings::from_env`] reads it, such as `MILLSTREAM_PROCESSING_GUARANTEE`. Prints `state NAME` at each change of state.
//! Ends on SIGINT.

use anyhow::Result;
use millstream::prelude::*;
use millstream_integration_tests::worker;

const PRICES: StoreName<String, String> = StoreName::new("prices");
const VISITS: StoreName<String, u64> = StoreName::new("visits");

type Texts = KStream<String, String>;

fn main() -> Result<()> {
    let [bootstrap_servers, application_id, inputs, output, state_dir] = worker::arguments()?;
    worker::run(
        &application_id,
        topology(&inputs, &output)?,
        worker::settings(&bootstrap_servers, &state_dir)?,
    )
}

fn topology(inputs: &str, output: &str) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let read = |topic: &str| builder.stream::<String, String>(format!("{inputs}-{topic}"));
    let text = |side: Option<&String>| side.map_or("-", String::as_str).to_owned();

    let near = JoinWindows::of_time_difference_and_grace(millis(200), seconds(5));
    let joined = read("left").within(near).with_key();
    let joined = joined
        .outer_join(&read("right"), move |key, left, right| format!("{key} {}+{}", text(left), text(right)));
    write(output, "joined", &joined);

    let windows = TimeWindows::of_size_and_grace(seconds(1), millis(500));
    let clicks = read("clicks").group_by_key().windowed_by(windows).count(());
    let clicks = clicks.suppress(Suppressed::until_window_closes(BufferConfig::unbounded()));
    write(output, "suppressed", &in_text(&clicks));

    let prices = builder.table::<String, String>(format!("{inputs}-prices"));
    let prices = prices.materialized(PRICES.versioned(hours(1)));
    let orders =
        read("orders").with_key().left_join(prices.with_grace(seconds(5)), move |key, order, price| {
            format!("{key} {order} at {}", text(price))
        });
    write(output, "priced", &orders);

    let visits = read("visits").group_by_key().count(VISITS.with_ttl(seconds(1)).without_caching());
    let visits = visits.to_stream().map_values(|key, count: Option<u64>| match count {
        Some(count) => format!("{key} {count}"),
        None => format!("{key} gone"),
    });
    write(output, "counted", &visits);

    let beats = Source::topic(format!("{inputs}-beats")).with_heartbeats(seconds(1));
    let beats = builder.stream::<String, String>(beats);
    let beats = beats.group_by_key().windowed_by(TimeWindows::of_size_with_no_grace(seconds(1)));
    write(output, "closed", &in_text(&beats.emit_strategy(EmitStrategy::on_window_close()).count(())));
    Ok(builder.build()?)
}

fn in_text(counts: &KTable<Windowed<String>, u64>) -> Texts {
    counts.to_stream().map(|windowed, count| {
        let (key, start) = (windowed.key.clone(), windowed.window.start.as_millis());
        (key.clone(), format!("{key} {start} {}", count.unwrap_or_default()))
    })
}

fn write(output: &str, name: &'static str, results: &Texts) {
    results.map(move |_, result| (name.to_owned(), result)).to(output);
}
