//! Windows that close although no more records come: by heartbeats, which have their place among the records.

use millstream::api::{Headers, Record};
use millstream::handlers::{Handlers, Reaction};
use millstream::prelude::*;
use millstream::testing::TopologyTestDriver;
use millstream::topology::HEARTBEAT_HEADER;

/// A record of the topic `orders` as it was written; a heartbeat has neither key nor value.
type Written = Record<Option<String>, Option<i64>>;

fn orders(builder: &StreamsBuilder) -> KStream<String, i64> {
    builder.stream(Source::topic("orders").with_heartbeats(millis(100)))
}

fn tens() -> TimeWindows {
    TimeWindows::of_size_and_grace(millis(10), millis(5))
}

fn write(table: &KTable<Windowed<String>, u64>) {
    table
        .to_stream()
        .map(|windowed, count| (windowed.to_string(), count.map(|count| count.to_string())))
        .to("out");
}

fn driver(declare: impl Fn(&StreamsBuilder), commits_by_hand: bool) -> TopologyTestDriver {
    let builder = StreamsBuilder::new();
    declare(&builder);
    let mut settings = Settings::new("none");
    settings.handlers = Handlers::all(Reaction::Fail);
    let driver =
        TopologyTestDriver::builder(builder.build().expect("the program is right")).settings(settings);
    let driver = if commits_by_hand { driver.commit_by_hand() } else { driver };
    driver.build().expect("the topology can be run")
}

fn pipe(driver: &TopologyTestDriver, record: Written) {
    let topic = driver.input_topic::<Option<String>, Option<i64>>("orders");
    topic.pipe_record(record).expect("the record is processed");
}

fn order(sku: &str, millis: i64) -> Written {
    Record::new(Some(sku.to_string()), Some(1), Timestamp::from_millis(millis))
}

fn heartbeat(millis: i64) -> Written {
    let mut headers = Headers::default();
    headers.push(HEARTBEAT_HEADER, None);
    Record { key: None, value: None, timestamp: Timestamp::from_millis(millis), headers }
}

fn wait(driver: &TopologyTestDriver, time: u64) {
    driver.advance_wall_clock_time(millis(time)).expect("nothing fails");
}

/// What was written since the last look, as `key=value@time`.
fn outputs(driver: &TopologyTestDriver) -> Vec<String> {
    let records = driver.output_topic::<String, Option<String>>("out").read_records_to_list();
    let text = |Record { key, value, timestamp, .. }: Record<String, Option<String>>| {
        format!("{key}={}@{}", value.unwrap_or_else(|| "null".into()), timestamp.as_millis())
    };
    records.expect("outputs decode").into_iter().map(text).collect()
}

/// What the program writes of these orders and what then happens without any more of them.
#[track_caller]
fn closes(declare: impl Fn(&StreamsBuilder), records: &[Written], expected: &[&str]) {
    let driver = driver(declare, false);
    records.iter().cloned().for_each(|record| pipe(&driver, record));
    let before = outputs(&driver);
    assert!(before.is_empty(), "they are held back: {before:?}");
    wait(&driver, 200);
    assert_eq!(outputs(&driver), expected);
    assert_eq!(driver.dropped_records(), 0);
}

#[test]
fn time_windows_close() {
    let program = |builder: &StreamsBuilder| {
        let windows = orders(builder).group_by_key().windowed_by(tens());
        write(&windows.emit_strategy(EmitStrategy::on_window_close()).count(()));
    };
    closes(
        program,
        &[order("b", 1), order("a", 12), order("a", 9)],
        &["[a@0/10]=1@9", "[b@0/10]=1@1", "[a@10/20]=1@12"],
    );
}

#[test]
fn sliding_windows_close() {
    let program = |builder: &StreamsBuilder| {
        let windows = SlidingWindows::of_time_difference_with_no_grace(millis(10));
        let windows = orders(builder).group_by_key().windowed_by(windows);
        write(&windows.emit_strategy(EmitStrategy::on_window_close()).count(()));
    };
    closes(program, &[order("a", 21)], &["[a@11/21]=1@21"]);
}

#[test]
fn sessions_close() {
    let program = |builder: &StreamsBuilder| {
        let windows = SessionWindows::of_inactivity_gap_with_no_grace(millis(10));
        let windows = orders(builder).group_by_key().windowed_by(windows);
        write(&windows.emit_strategy(EmitStrategy::on_window_close()).count(()));
    };
    closes(program, &[order("a", 1), order("a", 9), order("b", 12)], &["[a@1/9]=2@9", "[b@12/12]=1@12"]);
}

#[test]
fn windows_of_several_streams_close() {
    let program = |builder: &StreamsBuilder| {
        let returns = builder.stream::<String, i64>("returns").group_by_key();
        let both = orders(builder).group_by_key().cogroup(|_, _, count: u64| count + 1);
        let both = both.cogroup(&returns, |_, _, count| count - 1).windowed_by(tens());
        write(&both.emit_strategy(EmitStrategy::on_window_close()).aggregate((), || 0));
    };
    closes(program, &[order("a", 1)], &["[a@0/10]=1@1"]);
}

#[test]
fn left_and_outer_joins_give_up() {
    let program = |builder: &StreamsBuilder| {
        let payments = builder.stream::<String, i64>("payments");
        let joined = orders(builder).within(millis(10)).left_join(&payments, |_, paid| format!("{paid:?}"));
        joined.to("out");
    };
    closes(program, &[order("a", 1), order("b", 3)], &["a=None@1", "b=None@3"]);
}

#[test]
fn records_that_wait_for_a_table_are_joined() {
    const PRICES: StoreName<String, i64> = StoreName::new("prices");
    let program = |builder: &StreamsBuilder| {
        let prices = builder.table::<String, i64>("prices").materialized(PRICES.versioned(minutes(1)));
        let joined =
            orders(builder).left_join(prices.with_grace(millis(10)), |_, price| format!("{price:?}"));
        joined.to("out");
    };
    closes(program, &[order("a", 1)], &["a=None@1"]);
}

#[test]
fn what_is_suppressed_sees_the_last_change_before_time_moves() {
    let driver = driver(
        |builder| {
            let counts = orders(builder).group_by_key().windowed_by(tens()).count(());
            write(&counts.suppress(Suppressed::until_window_closes(BufferConfig::unbounded())));
        },
        true,
    );
    pipe(&driver, order("a", 1));
    driver.commit().expect("the commit succeeds");
    pipe(&driver, order("a", 2));
    wait(&driver, 200);
    assert_eq!(outputs(&driver), ["[a@0/10]=2@2"], "once, and with the change that was not committed yet");
}

#[test]
fn what_a_join_held_back_is_not_late_below_it() {
    const PRICES: StoreName<String, i64> = StoreName::new("prices");
    let driver = driver(
        |builder| {
            let prices = builder.table::<String, i64>("prices").materialized(PRICES.versioned(minutes(1)));
            let joined = orders(builder).left_join(prices.with_grace(millis(400)), |_, price| price.copied());
            let windows = TimeWindows::of_size_with_no_grace(millis(10));
            write(&joined.group_by_key().windowed_by(windows).count(()));
        },
        false,
    );
    pipe(&driver, order("a", 1));
    for _ in 0..4 {
        wait(&driver, 100);
        assert!(outputs(&driver).is_empty(), "it waits for its price");
    }
    wait(&driver, 200);
    assert_eq!(outputs(&driver), ["[a@0/10]=1@1"]);
    assert_eq!(driver.dropped_records(), 0);
}

#[test]
fn a_heartbeat_ends_at_a_repartition_topic() {
    let program = |builder: &StreamsBuilder| {
        let orders = orders(builder).select_key(|sku, _| sku.to_uppercase()).group_by_key();
        write(&orders.windowed_by(tens()).emit_strategy(EmitStrategy::on_window_close()).count(()));
    };
    closes(program, &[order("a", 1)], &[]);
}

#[test]
fn streams_of_one_topic_have_the_same() {
    let builder = StreamsBuilder::new();
    orders(&builder).to("all-orders");
    builder.stream::<String, i64>("orders").to("archive");
    let refused = builder.build().map(drop).expect_err("they differ").to_string();
    assert!(refused.contains("with heartbeats every 100ms and without heartbeats"), "{refused}");
}

/// Orders and pauses; after a pause some orders come too late.
fn live(declare: impl Fn(&StreamsBuilder)) -> (Vec<Written>, Vec<String>, u64) {
    let driver = driver(declare, false);
    let heartbeats = driver.output_topic::<Option<String>, Option<i64>>("orders");
    let (mut log, mut written) = (Vec::new(), Vec::new());
    let steps = [(order("a", 1), 50), (order("a", 8), 150), (order("a", 9), 20), (order("b", 170), 300)];
    for (number, (order, pause)) in (0..).zip(steps.into_iter().cycle().take(24)) {
        let order = order
            .clone()
            .with_timestamp(Timestamp::from_millis(order.timestamp.as_millis() + number / 4 * 520));
        log.push(order.clone());
        pipe(&driver, order);
        wait(&driver, pause);
        log.extend(heartbeats.read_records_to_list().expect("they decode"));
        written.extend(outputs(&driver));
    }
    (log, written, driver.dropped_records())
}

#[test]
fn a_replay_closes_the_same_windows_at_the_same_place_whatever_the_clock_says() {
    let program = |builder: &StreamsBuilder| {
        let orders = orders(builder);
        let windows = orders.group_by_key().windowed_by(tens());
        write(&windows.emit_strategy(EmitStrategy::on_window_close()).count(()));
    };
    let (log, written, dropped) = live(program);
    let heartbeats = log.iter().filter(|record| record.key.is_none()).count();
    assert!(heartbeats > 10 && written.len() > 10 && dropped > 3, "{heartbeats} {written:?} {dropped}");
    for commits_by_hand in [false, true] {
        let again = driver(program, commits_by_hand);
        log.iter().cloned().for_each(|record| pipe(&again, record));
        again.commit().expect("the commit succeeds");
        assert_eq!((outputs(&again), again.dropped_records()), (written.clone(), dropped));
    }
}

#[test]
fn what_comes_after_a_heartbeat_and_before_its_time_is_late() {
    let driver = driver(
        |builder| {
            let windows = orders(builder).group_by_key().windowed_by(tens());
            write(&windows.emit_strategy(EmitStrategy::on_window_close()).count(()));
        },
        true,
    );
    pipe(&driver, order("a", 1));
    pipe(&driver, heartbeat(15));
    pipe(&driver, order("a", 9));
    pipe(&driver, order("a", 10));
    assert_eq!(outputs(&driver), ["[a@0/10]=1@1"]);
    assert_eq!(driver.dropped_records(), 1);
}

/// Whether each heartbeat after the last window that closed leaves its time in the changelog.
#[track_caller]
fn keeps_the_time(declare: impl Fn(&StreamsBuilder, WindowStoreName<String, u64>)) {
    let driver = driver(|builder| declare(builder, WindowStoreName::new("counts")), false);
    let changelog = || driver.output_topic::<Vec<u8>, Option<Vec<u8>>>("test-counts-changelog").len();
    pipe(&driver, order("a", 1));
    wait(&driver, 200);
    let before = changelog();
    wait(&driver, 100);
    assert_eq!(changelog(), before + 1, "what comes before it is late after a restart, too");
}

#[test]
fn how_far_time_has_come_is_kept_also_if_nothing_closed() {
    keeps_the_time(|builder, counts| {
        let windows = orders(builder).group_by_key().windowed_by(tens());
        write(&windows.emit_strategy(EmitStrategy::on_window_close()).count(counts));
    });
    keeps_the_time(|builder, counts| {
        let returns = builder.stream::<String, i64>("returns").group_by_key();
        let both = orders(builder).group_by_key().cogroup(|_, _, count: u64| count + 1);
        let both = both.cogroup(&returns, |_, _, count| count - 1).windowed_by(tens());
        write(&both.emit_strategy(EmitStrategy::on_window_close()).aggregate(counts, || 0));
    });
}
