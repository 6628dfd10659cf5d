//! What is let go, when, and what a full buffer does: on the test driver.

use std::time::Duration;

use millstream_processor::api::{Headers, Record};
use millstream_processor::handlers::{Handlers, Reaction};
use millstream_processor::testing::{TestInputTopic, TopologyTestDriver};
use millstream_processor::{ErrorKind, Settings};

use crate::operators::test_support::{at, driver, driver_without_commits, text, written, written_at};
use crate::{
    BufferConfig, SessionWindows, StoreName, StoreOptions, StreamsBuilder, Suppressed, TimeWindows, Windowed,
};

type Stock = TestInputTopic<String, Option<i64>>;

const STOCK: StoreName<String, i64> = StoreName::new("stock");
const TEN: Duration = Duration::from_millis(10);

fn held_back(suppressed: impl FnOnce() -> Suppressed<String>) -> (TopologyTestDriver, Stock) {
    let driver = driver(|builder| {
        // A caching store would emit at commits, and keeps no headers.
        let stock = builder.table::<String, i64>("stock").materialized(STOCK.without_caching());
        stock.suppress(suppressed()).to_stream().to("levels");
    });
    let stock = driver.input_topic("stock");
    (driver, stock)
}

fn pipe(stock: &Stock, records: &[(&str, Option<i64>, i64)]) {
    for (sku, on_hand, time) in records {
        stock.pipe_input_at(*sku, *on_hand, at(*time)).expect("the record is processed");
    }
}

fn levels(driver: &TopologyTestDriver) -> Vec<(String, Option<i64>, i64)> {
    written_at(&driver.output_topic("levels"))
}

#[test]
fn an_update_keeps_the_first_deadline_and_the_newest_value_goes_on() {
    let (driver, stock) = held_back(|| Suppressed::until_time_limit(TEN, BufferConfig::unbounded()));
    pipe(&stock, &[("apples", Some(1), 100), ("apples", Some(2), 108), ("pears", Some(7), 109)]);
    assert_eq!(levels(&driver), []);
    pipe(&stock, &[("plums", Some(9), 110)]);
    assert_eq!(levels(&driver), [(text("apples"), Some(2), 108)]);
    pipe(&stock, &[("apples", Some(3), 119)]);
    assert_eq!(levels(&driver), [(text("pears"), Some(7), 109)], "apples begin to wait anew");
    pipe(&stock, &[("apples", None, 120), ("plums", Some(9), 129)]);
    assert_eq!(levels(&driver), [(text("plums"), Some(9), 110), (text("apples"), None, 120)]);
}

#[test]
fn a_buffer_is_bounded_by_whichever_bound_is_reached_first() {
    for (records, expected) in [(2, vec![(text("apples"), Some(1), 100)]), (3, vec![])] {
        let buffer = BufferConfig::unbounded().with_max_records(records).with_max_bytes(10_000);
        let (driver, stock) = held_back(|| Suppressed::until_time_limit(TEN, buffer.emit_early_when_full()));
        pipe(&stock, &[("apples", Some(1), 100), ("pears", Some(2), 101), ("plums", Some(3), 102)]);
        assert_eq!(levels(&driver), expected, "room for {records}");
    }
}

#[test]
fn nothing_is_let_go_while_no_record_comes() {
    let (driver, stock) = held_back(|| Suppressed::until_time_limit(TEN, BufferConfig::unbounded()));
    pipe(&stock, &[("apples", Some(1), 100)]);
    driver.advance_wall_clock_time(Duration::from_secs(3600)).expect("nothing is due");
    driver.commit().expect("the commit succeeds");
    assert_eq!(levels(&driver), []);
}

#[test]
fn without_a_limit_of_time_each_change_goes_at_once() {
    let (driver, stock) =
        held_back(|| Suppressed::until_time_limit(Duration::ZERO, BufferConfig::unbounded()));
    pipe(&stock, &[("apples", Some(1), 100), ("apples", Some(2), 90), ("pears", Some(3), 100)]);
    let expected =
        [(text("apples"), Some(1), 100), (text("apples"), Some(2), 90), (text("pears"), Some(3), 100)];
    assert_eq!(levels(&driver), expected);
}

#[test]
fn a_change_goes_on_with_its_own_headers() {
    let (driver, stock) = held_back(|| Suppressed::until_time_limit(TEN, BufferConfig::unbounded()));
    let mut headers = Headers::default();
    headers.push("shop", Some("north".into()));
    headers.push("seen", None);
    let record = Record { key: text("apples"), value: Some(1), timestamp: at(100), headers: headers.clone() };
    stock.pipe_record(record).expect("the record is processed");
    pipe(&stock, &[("pears", Some(7), 110)]);
    let record = driver.output_topic::<String, Option<i64>>("levels").read_record().expect("it decodes");
    assert_eq!(record.map(|record| record.headers), Some(headers));
}

#[test]
fn an_eager_buffer_that_is_full_lets_the_oldest_go() {
    let (driver, stock) = held_back(|| Suppressed::until_time_limit(TEN, BufferConfig::max_records(2)));
    pipe(&stock, &[("apples", Some(1), 101), ("pears", Some(2), 100), ("apples", Some(3), 102)]);
    assert_eq!(levels(&driver), []);
    pipe(&stock, &[("plums", Some(4), 103)]);
    assert_eq!(levels(&driver), [(text("pears"), Some(2), 100)]);

    // Each takes some 50 bytes.
    let (driver, stock) = held_back(|| Suppressed::until_time_limit(TEN, BufferConfig::max_bytes(120)));
    pipe(&stock, &[("apples", Some(1), 101), ("apples", Some(2), 102), ("pears", Some(2), 102)]);
    assert_eq!(levels(&driver), []);
    pipe(&stock, &[("plums", Some(4), 103)]);
    assert_eq!(levels(&driver), [(text("apples"), Some(2), 102)]);
}

#[test]
fn a_strict_buffer_that_is_full_stops_the_task_whatever_the_handlers_say() {
    let builder = StreamsBuilder::new();
    let strict = BufferConfig::max_records(1).shut_down_when_full();
    let stock = builder.table::<String, i64>("stock").materialized(STOCK.without_caching());
    stock.suppress(Suppressed::until_time_limit(TEN, strict)).named("held").to_stream().to("levels");
    let settings = Settings { handlers: Handlers::all(Reaction::Skip), ..Settings::new("none") };
    let topology = builder.build().expect("the program is right");
    let driver = TopologyTestDriver::builder(topology).settings(settings).build().expect("it can be run");
    let stock = driver.input_topic::<String, i64>("stock");
    stock.pipe_input_at("apples", 1, at(100)).expect("there is room");
    let error = stock.pipe_input_at("pears", 1, at(100)).expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::Fatal);
    assert!(error.to_string().contains("buffer `held-store` is full: 2 records"), "{error}");
}

#[test]
fn a_record_that_fails_leaves_nothing_that_waits() {
    let driver = driver(|builder| {
        let stock = builder.table::<String, i64>("stock").materialized(STOCK.without_caching());
        let held = stock.suppress(Suppressed::until_time_limit(TEN, BufferConfig::unbounded()));
        let levels = held.to_stream().try_map_values(|_, on_hand| match on_hand {
            Some(on_hand) if on_hand < 0 => Err(std::io::Error::other("less than nothing")),
            on_hand => Ok(on_hand.unwrap_or_default()),
        });
        levels.to("levels");
    });
    let stock: Stock = driver.input_topic("stock");
    pipe(&stock, &[("apples", Some(-1), 100), ("pears", Some(2), 109)]);
    // It releases apples, which fail: so it does not wait itself, and apples wait still.
    pipe(&stock, &[("plums", Some(3), 110)]);
    assert_eq!(driver.skipped_records(), 1);
    pipe(&stock, &[("apples", Some(4), 111), ("figs", Some(5), 121)]);
    let written = written_at::<String, i64>(&driver.output_topic("levels"));
    assert_eq!(written, [(text("apples"), 4, 111), (text("pears"), 2, 109)]);
}

#[test]
fn groups_below_take_out_what_they_know_of() {
    let driver = driver_without_commits(|builder| {
        let stock = builder.table::<String, i64>("stock").materialized(STOCK.without_caching());
        let held = stock.suppress(Suppressed::until_time_limit(TEN, BufferConfig::unbounded()));
        let all = held.group_by(|_, on_hand| (text("all"), on_hand));
        all.reduce(().without_caching(), |sum, on_hand| sum + on_hand, |sum, on_hand| sum - on_hand)
            .to_stream()
            .to("total");
    });
    let stock: Stock = driver.input_topic("stock");
    pipe(&stock, &[("apples", Some(5), 100), ("pears", Some(100), 110)]);
    pipe(&stock, &[("apples", Some(7), 111), ("apples", Some(9), 112), ("figs", Some(0), 121)]);
    let totals: Vec<i64> =
        written::<String, i64>(&driver.output_topic("total")).into_iter().map(|row| row.1).collect();
    assert_eq!(totals, [5, 105, 109], "7 was never there");
}

#[test]
fn a_join_sees_a_row_that_waits_as_it_was_before() {
    let driver = driver(|builder| {
        let stock = builder.table::<String, i64>("stock").materialized(STOCK.without_caching());
        let held = stock.suppress(Suppressed::until_time_limit(TEN, BufferConfig::unbounded()));
        let orders = builder.stream::<String, i64>("orders");
        orders.left_join(&held, |_, on_hand| on_hand.copied().unwrap_or(-1)).to("seen");
    });
    let stock: Stock = driver.input_topic("stock");
    let orders = driver.input_topic::<String, i64>("orders");
    let seen = || {
        orders.pipe_input("apples", 1).expect("the record is processed");
        written::<String, i64>(&driver.output_topic("seen")).pop().map(|row| row.1)
    };
    pipe(&stock, &[("apples", Some(5), 100)]);
    assert_eq!(seen(), Some(-1));
    pipe(&stock, &[("figs", Some(1), 110)]);
    assert_eq!(seen(), Some(5), "it waits no more");
    pipe(&stock, &[("apples", Some(6), 111)]);
    assert_eq!(seen(), Some(5), "it waits again");
}

#[test]
fn what_is_below_sees_a_row_that_goes_on_as_it_was_before() {
    let driver = driver(|builder| {
        let stock = builder.table::<String, i64>("stock").materialized(STOCK.without_caching());
        let held = stock.suppress(Suppressed::until_time_limit(TEN, BufferConfig::unbounded()));
        held.to_stream().left_join(&held, |level, row| format!("{level} in place of {row:?}")).to("levels");
    });
    let stock: Stock = driver.input_topic("stock");
    pipe(&stock, &[("apples", Some(5), 100), ("apples", Some(6), 101), ("figs", Some(1), 110)]);
    pipe(&stock, &[("apples", Some(7), 112), ("figs", Some(2), 122)]);
    let expected = [
        ("apples", "6 in place of None"),
        ("figs", "2 in place of None"),
        ("apples", "7 in place of Some(6)"),
    ];
    let levels = written::<String, String>(&driver.output_topic("levels"));
    assert_eq!(levels, expected.map(|(sku, level)| (text(sku), text(level))));
}

/// Counts of orders per ten milliseconds and key, with a grace of five, as final results.
fn final_counts(builder: &StreamsBuilder, buffer: BufferConfig<crate::Strict>) {
    let windows = TimeWindows::of_size_and_grace(TEN, Duration::from_millis(5));
    let orders = builder.stream::<String, Option<i64>>("orders").group_by_key();
    let sums = orders.windowed_by(windows).aggregate(
        ().without_caching(),
        || 0_i64,
        |_, quantity: Option<i64>, sum| quantity.map(|quantity| sum + quantity),
    );
    sums.suppress(Suppressed::until_window_closes(buffer))
        .to_stream()
        .map(|window, sum| (format!("{window}"), sum))
        .to("sums");
}

#[test]
fn a_window_has_one_result_when_it_is_closed_and_its_grace_is_over() {
    let driver = driver(|builder| final_counts(builder, BufferConfig::unbounded()));
    let orders = driver.input_topic::<String, Option<i64>>("orders");
    let sums = driver.output_topic::<String, Option<i64>>("sums");
    for (sku, quantity, time) in [("apples", 1, 3), ("apples", 2, 9), ("pears", 5, 8), ("apples", 7, 14)] {
        orders.pipe_input_at(sku, Some(quantity), at(time)).expect("the record is processed");
    }
    orders.pipe_input_at("apples", Some(4), at(6)).expect("it is late, and in time");
    assert_eq!(written_at(&sums), []);
    orders.pipe_input_at("figs", Some(1), at(15)).expect("the record is processed");
    let expected = [(text("[apples@0/10]"), Some(7), 9), (text("[pears@0/10]"), Some(5), 8)];
    assert_eq!(written_at(&sums), expected);
    orders.pipe_input_at("apples", Some(8), at(7)).expect("it is too late");
    assert_eq!(driver.dropped_records(), 1);
    orders.pipe_input_at("apples", Some(1), at(25)).expect("the record is processed");
    let expected = [(text("[apples@10/20]"), Some(7), 14), (text("[figs@10/20]"), Some(1), 15)];
    assert_eq!(written_at(&sums), expected);
}

/// At the second commit the window of pears comes first, with the time of its last change, which closes that of apples.
#[test]
fn a_window_of_a_caching_store_has_one_result_whatever_a_commit_covers() {
    let driver = driver_without_commits(|builder| {
        let windows = TimeWindows::of_size_and_grace(TEN, Duration::from_millis(5));
        let orders = builder.stream::<String, i64>("orders").group_by_key().windowed_by(windows);
        let counts = orders.count(()).suppress(Suppressed::until_window_closes(BufferConfig::unbounded()));
        counts.to_stream().map(|window, count| (format!("{window}"), count)).to("counts");
    });
    let orders = driver.input_topic::<String, i64>("orders");
    let counts = driver.output_topic::<String, Option<u64>>("counts");
    orders.pipe_input_at("apples", 1, at(2)).expect("the record is processed");
    driver.commit().expect("the commit succeeds");
    assert_eq!(written_at(&counts), []);
    for (sku, time) in [("pears", 10), ("apples", 9), ("pears", 19)] {
        orders.pipe_input_at(sku, 1, at(time)).expect("the record is processed");
    }
    driver.commit().expect("the commit succeeds");
    assert_eq!(written_at(&counts), [(text("[apples@0/10]"), Some(2), 9)]);
    orders.pipe_input_at("figs", 1, at(30)).expect("the record is processed");
    driver.commit().expect("the commit succeeds");
    assert_eq!(written_at(&counts), [(text("[pears@10/20]"), Some(2), 19)]);
}

#[test]
fn a_window_that_was_deleted_has_no_result() {
    let driver = driver(|builder| final_counts(builder, BufferConfig::unbounded()));
    let orders = driver.input_topic::<String, Option<i64>>("orders");
    orders.pipe_input_at("apples", Some(1), at(3)).expect("the record is processed");
    orders.pipe_input_at("apples", None, at(4)).expect("the record is processed");
    orders.pipe_input_at("pears", Some(1), at(30)).expect("the record is processed");
    assert_eq!(written_at(&driver.output_topic::<String, Option<i64>>("sums")), []);
}

#[test]
fn a_session_waits_for_its_gap_too() {
    let driver = driver(|builder| {
        let visits = builder.stream::<String, i64>("visits").group_by_key();
        let sessions = SessionWindows::of_inactivity_gap_and_grace(TEN, Duration::from_millis(5));
        let counts = visits.windowed_by(sessions).count(().without_caching());
        counts
            .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()))
            .to_stream()
            .map(|window, count| (format!("{window}"), count))
            .to("sessions");
    });
    let visits = driver.input_topic::<String, i64>("visits");
    let sessions = driver.output_topic::<String, Option<u64>>("sessions");
    for (visitor, time) in [("ann", 0), ("ann", 8), ("bob", 22)] {
        visits.pipe_input_at(visitor, 1, at(time)).expect("the record is processed");
    }
    assert_eq!(written_at(&sessions), []);
    visits.pipe_input_at("bob", 1, at(23)).expect("the record is processed");
    assert_eq!(written_at(&sessions), [(text("[ann@0/8]"), Some(2), 8)], "8 and 10 and 5 are 23");
}

#[test]
fn what_waits_survives_in_the_changelog_as_kafka_streams_writes_it() {
    let driver = driver(|builder| final_counts(builder, BufferConfig::unbounded()));
    let orders = driver.input_topic::<String, Option<i64>>("orders");
    orders.pipe_input_at("apples", Some(1), at(3)).expect("the record is processed");
    let topics = driver.produced_topic_names();
    let changelog = topics.iter().find(|topic| topic.contains("KTABLE-SUPPRESS-STATE-STORE-"));
    let changelog = driver.output_topic::<Vec<u8>, Option<Vec<u8>>>(changelog.expect("it is logged"));
    let record = changelog.read_record().expect("it decodes").expect("it was logged");
    assert_eq!(record.key, b"apples\0\0\0\0\0\0\0\0", "the key and the start of its window");
    let value = record.value.expect("no tombstone");
    assert!(value.ends_with(b"\0\0\0\x08\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x0a"), "{value:?}");
    assert_eq!(record.headers.last("v").flatten().map(|version| version.to_vec()), Some(vec![3]));
    orders.pipe_input_at("pears", Some(1), at(15)).expect("the record is processed");
    let rest = changelog.read_records_to_list().expect("they decode");
    assert!(rest.iter().any(|record| record.value.is_none()), "what was let go is deleted");
}

#[test]
fn what_cannot_be_held_back_is_refused() {
    let builder = StreamsBuilder::new();
    let prices = builder.table::<String, i64>("stock").materialized(STOCK.versioned(TEN));
    let held = prices.filter(|_, _| true);
    held.suppress(Suppressed::until_time_limit(TEN, BufferConfig::unbounded())).to_stream().to("levels");
    let error = builder.build().expect_err("it is versioned").to_string();
    assert!(error.contains("`suppress`") && error.contains("versioned"), "{error}");

    let builder = StreamsBuilder::new();
    let stock = builder.table::<String, i64>("stock");
    stock.suppress(Suppressed::until_time_limit(TEN, BufferConfig::unbounded())).materialized(STOCK);
    let error = builder.build().expect_err("it has a buffer already").to_string();
    assert!(error.contains("stock") && error.contains("`suppress`"), "{error}");

    let builder = StreamsBuilder::new();
    let windows = builder.table::<Windowed<String>, i64>("windows");
    windows.suppress(Suppressed::until_window_closes(BufferConfig::unbounded())).to_stream().to("levels");
    let error = builder.build().expect_err("its grace is not known").to_string();
    assert!(error.contains("use `until_time_limit`"), "{error}");
}

#[test]
fn a_change_that_fails_downstream_is_given_up_and_others_come_later() {
    let driver = driver(|builder| {
        let stock = builder.table::<String, i64>("stock").materialized(STOCK.without_caching());
        let suppressed = stock.suppress(Suppressed::until_time_limit(TEN, BufferConfig::unbounded()));
        let checked = suppressed.to_stream().try_map_values(|_, on_hand| match on_hand {
            Some(0) => Err("it is poison"),
            on_hand => Ok(on_hand),
        });
        checked.to("levels");
    });
    let stock = driver.input_topic("stock");
    // What comes at 20 fails with what it lets go.
    pipe(&stock, &[("apples", Some(0), 1), ("pears", Some(2), 2), ("plums", Some(3), 20)]);
    assert_eq!(levels(&driver), []);
    pipe(&stock, &[("plums", Some(4), 21)]);
    assert_eq!(levels(&driver), [("pears".to_string(), Some(2), 2)]);
    assert_eq!((driver.skipped_records(), driver.dropped_records()), (1, 1));
}
