//! An application to kill: counts the records of each key in each second of event time, and writes the count once the second is over.
//!
//! Arguments: bootstrap servers, application id, input topic, output topic, state directory. The environment may say more, as
//! [`Settings::from_env`] reads it, such as `MILLSTREAM_PROCESSING_GUARANTEE`. Prints `state NAME` at each change of state. Ends on SIGINT.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use millstream::prelude::*;
use millstream::{ClientState, Streams};

const PER_SECOND: WindowStoreName<String, u64> = WindowStoreName::new("per-second");

fn main() -> Result<()> {
    tracing_subscriber::fmt().with_env_filter("info").with_writer(std::io::stderr).init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap_servers, application_id, input, output, state_dir] = arguments.as_slice() else {
        bail!("five arguments are needed; the head of this program's source names them");
    };
    let brokers = ("MILLSTREAM_BOOTSTRAP_SERVERS".to_owned(), bootstrap_servers.clone());
    let mut settings = Settings::from_variables(std::env::vars().chain([brokers]))?;
    settings.state_dir = PathBuf::from(state_dir);
    settings.session_timeout = Duration::from_secs(6);
    settings.checkpoint_interval = Duration::from_secs(1);

    let builder = StreamsBuilder::new();
    let seconds = TimeWindows::of_size_with_no_grace(seconds(1));
    let records = builder.stream::<String, String>(input.as_str()).group_by_key().windowed_by(seconds);
    let counts = records.emit_strategy(EmitStrategy::on_window_close()).count(PER_SECOND);
    counts.to_stream().to(output.as_str());

    let app = Streams::builder(application_id.as_str(), builder.build()?)
        .settings(settings)
        .on_state_change(|_before, now: ClientState| {
            // Who reads it may be gone; that is no reason to end.
            let mut stdout = std::io::stdout().lock();
            if let Err(error) = writeln!(stdout, "state {now}").and_then(|()| stdout.flush()) {
                tracing::warn!(%error, "nobody hears of the state");
            }
        })
        .start()?;
    app.run_until_signal().context("the application ended with an error")
}
