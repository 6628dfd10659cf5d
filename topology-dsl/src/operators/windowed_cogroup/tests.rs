//! Aggregates of several streams in windows, on the test driver.

use crate::operators::test_support::{
    at, driver, driver_without_commits, pipe_at, text, written, written_at,
};
use crate::{
    CogroupedKStream, EmitStrategy, KTable, SessionStoreName, SessionWindows, SlidingWindows, StoreOptions,
    StreamsBuilder, TimeWindows, UnlimitedWindows, Window, WindowStoreName, Windowed, millis,
};

const REVENUE: WindowStoreName<String, i64> = WindowStoreName::new("revenue");

/// Sales add, refunds subtract.
fn revenue(builder: &StreamsBuilder) -> CogroupedKStream<String, i64> {
    let sales = builder.stream::<Option<String>, Option<i64>>("sales").group_by_key();
    let refunds = builder.stream::<String, String>("refunds").group_by_key();
    sales
        .cogroup(|_, cents, sum: i64| sum + cents)
        .try_cogroup(&refunds, |_, cents, sum| cents.parse::<i64>().map(|cents| sum - cents))
}

fn tens(grace: u64) -> TimeWindows {
    TimeWindows::of_size_and_grace(millis(10), millis(grace))
}

/// What becomes of sales (with amounts) and refunds (negative amounts) at these times.
fn emitted(
    emit: EmitStrategy,
    commit_after: impl Fn(usize) -> bool,
    records: &[(&str, i64, i64)],
) -> (Vec<(String, Option<i64>)>, u64) {
    let driver = driver_without_commits(|builder| {
        let revenue = revenue(builder).windowed_by(tens(2)).emit_strategy(emit).aggregate((), || 0);
        write_rows(&revenue);
    });
    let sales = driver.input_topic::<String, i64>("sales");
    let refunds = driver.input_topic::<String, String>("refunds");
    for (number, (sku, cents, time)) in records.iter().enumerate() {
        if *cents < 0 {
            pipe_at(&refunds, *sku, (-cents).to_string(), *time);
        } else {
            pipe_at(&sales, *sku, *cents, *time);
        }
        if commit_after(number) {
            driver.commit().expect("the commit succeeds");
        }
    }
    driver.commit().expect("the commit succeeds");
    (written(&driver.output_topic("rows")), driver.dropped_records())
}

fn write_rows(table: &KTable<Windowed<String>, i64>) {
    table.to_stream().map(|windowed, cents| (windowed.to_string(), cents)).to("rows");
}

#[test]
fn each_stream_has_its_own_time_and_all_change_the_same_windows() {
    let records =
        [("apples", 5, 1), ("apples", 7, 12), ("apples", -2, 9), ("apples", 1, 9), ("apples", -1, 13)];
    let (rows, dropped) = emitted(EmitStrategy::on_window_update(), |_| true, &records);
    let expected = [
        ("[apples@0/10]", Some(5)),
        ("[apples@10/20]", Some(7)),
        ("[apples@0/10]", Some(3)),
        ("[apples@10/20]", Some(6)),
    ];
    assert_eq!(rows, expected.map(|(window, cents)| (text(window), cents)));
    assert_eq!(dropped, 1, "a sale of 9 is late for sales at 12, and a refund of 9 is not for refunds");
}

#[test]
fn a_caching_store_emits_the_newest_value_once_whichever_stream_changed_it() {
    let records = [("apples", 5, 1), ("apples", -2, 9), ("pears", 1, 3)];
    let (rows, _) = emitted(EmitStrategy::on_window_update(), |_| false, &records);
    assert_eq!(rows, [(text("[apples@0/10]"), Some(3)), (text("[pears@0/10]"), Some(1))]);
}

#[test]
fn a_window_that_is_emitted_once_is_closed_for_all_streams() {
    let records = [
        ("apples", 5, 1),
        ("pears", -3, 2),
        ("apples", -2, 9),
        ("apples", 7, 12), // [0, 10) is closed
        ("apples", -1, 9),
        ("pears", -1, 30),
    ];
    let expected = ["[apples@0/10]", "[pears@0/10]", "[apples@10/20]"].map(text);
    let expected: Vec<_> = expected.into_iter().zip([3, -3, 7].map(Some)).collect();
    for every in [1, 2, 10] {
        let commit_after = |number: usize| number % every == every - 1;
        let (rows, dropped) = emitted(EmitStrategy::on_window_close(), commit_after, &records);
        assert_eq!((rows, dropped), (expected.clone(), 1), "a commit after {every} records");
    }
}

#[test]
fn late_records_of_each_stream_go_where_it_sends_them() {
    let driver = driver(|builder| {
        let sales = builder.stream::<String, i64>("sales").group_by_key();
        let refunds = builder.stream::<String, String>("refunds").group_by_key();
        let claims = builder.stream::<String, u64>("claims").group_by_key();
        let revenue = sales.cogroup(|_, cents, sum: i64| sum + cents);
        let revenue = revenue.cogroup(&refunds, |_, _, sum| sum).cogroup(&claims, |_, _, sum| sum);
        let revenue = revenue.windowed_by(tens(2)).late_records_of(&refunds, "late-refunds");
        drop(revenue.late_records_of(&sales, "late-sales").aggregate((), || 0));
    });
    let sales = driver.input_topic::<String, i64>("sales");
    let refunds = driver.input_topic::<String, String>("refunds");
    let claims = driver.input_topic::<String, u64>("claims");
    for time in [1, 12, 9] {
        pipe_at(&sales, "apples", time, time);
        pipe_at(&refunds, "pears", text("damaged"), time);
        pipe_at(&claims, "plums", 1_u64, time);
    }
    let late_sales = written_at(&driver.output_topic::<String, i64>("late-sales"));
    assert_eq!(late_sales, [(text("apples"), 9, 9)]);
    let late_refunds = written_at(&driver.output_topic::<String, String>("late-refunds"));
    assert_eq!(late_refunds, [(text("pears"), text("damaged"), 9)]);
    assert_eq!(driver.dropped_records(), 3, "a late claim is only counted");
}

#[test]
fn late_records_of_sliding_windows_and_of_sessions_go_to_a_topic() {
    let driver = driver(|builder| {
        let clicks = builder.stream::<String, String>("clicks").group_by_key();
        let orders = builder.stream::<String, i64>("orders").group_by_key();
        let steps = || clicks.cogroup(|_, _, n: i64| n + 1).cogroup(&orders, |_, _, n| n + 1);
        let sliding = SlidingWindows::of_time_difference_with_no_grace(millis(5));
        let sliding = steps().windowed_by(sliding).late_records_of(&orders, "late-in-sliding");
        drop(sliding.aggregate((), || 0));
        let sessions = SessionWindows::of_inactivity_gap_with_no_grace(millis(5));
        let sessions = steps().windowed_by(sessions).late_records_of(&clicks, "late-in-sessions");
        drop(sessions.aggregate((), || 0, |_, one, other| one + other));
    });
    let clicks = driver.input_topic::<String, String>("clicks");
    let orders = driver.input_topic::<String, i64>("orders");
    for time in [20, 1] {
        pipe_at(&clicks, "ann", text("/cart"), time);
        pipe_at(&orders, "bob", time, time);
    }
    let late_in_sliding = written_at(&driver.output_topic::<String, i64>("late-in-sliding"));
    assert_eq!(late_in_sliding, [(text("bob"), 1, 1)]);
    let late_in_sessions = written_at(&driver.output_topic::<String, String>("late-in-sessions"));
    assert_eq!(late_in_sessions, [(text("ann"), text("/cart"), 1)]);
}

#[test]
#[should_panic(expected = "late records are those of a stream that is aggregated: cogroup it first")]
fn late_records_of_a_stream_that_is_not_aggregated_are_refused() {
    let builder = StreamsBuilder::new();
    let claims = builder.stream::<String, i64>("claims").group_by_key();
    drop(revenue(&builder).windowed_by(tens(0)).late_records_of(&claims, "late-claims"));
}

#[test]
fn records_without_key_or_value_are_dropped_and_those_that_fail_are_skipped() {
    let driver = driver(|builder| {
        let table = revenue(builder).windowed_by(tens(0)).aggregate(REVENUE, || 0);
        write_rows(&table);
    });
    let sales = driver.input_topic::<Option<String>, Option<i64>>("sales");
    pipe_at(&sales, None::<String>, Some(1_i64), 1);
    pipe_at(&sales, Some(text("apples")), None::<i64>, 1);
    pipe_at(&driver.input_topic::<String, String>("refunds"), "apples", "some", 1);
    assert_eq!((driver.dropped_records(), driver.skipped_records()), (2, 1));
    assert!(written::<String, i64>(&driver.output_topic("rows")).is_empty());
}

#[test]
fn sliding_windows_see_the_records_of_all_streams() {
    let driver = driver(|builder| {
        let windows = SlidingWindows::of_time_difference_and_grace(millis(10), millis(50));
        let table = revenue(builder).windowed_by(windows).aggregate(().without_caching(), || 0);
        write_rows(&table);
    });
    pipe_at(&driver.input_topic::<String, i64>("sales"), "apples", 5, 20);
    pipe_at(&driver.input_topic::<String, String>("refunds"), "apples", "2", 25);
    let rows = written(&driver.output_topic::<String, Option<i64>>("rows"));
    let expected = [("[apples@10/20]", 5), ("[apples@21/31]", -2), ("[apples@15/25]", 3)];
    assert_eq!(rows, expected.map(|(window, cents)| (text(window), Some(cents))));
}

#[test]
fn a_record_of_one_stream_makes_one_session_of_those_of_another() {
    const VISITS: SessionStoreName<String, i64> = SessionStoreName::new("visits");
    let driver = driver(|builder| {
        let windows = SessionWindows::of_inactivity_gap_and_grace(millis(5), millis(50));
        let visits = revenue(builder).windowed_by(windows);
        write_rows(&visits.aggregate(VISITS.without_caching(), || 0, |_, one, other| one + other));
    });
    let sales = driver.input_topic::<String, i64>("sales");
    for time in [1, 9] {
        pipe_at(&sales, "ann", time, time);
    }
    pipe_at(&driver.input_topic::<String, String>("refunds"), "ann", "3", 5);
    let rows = written(&driver.output_topic::<String, Option<i64>>("rows"));
    let expected = [
        ("[ann@1/1]", Some(1)),
        ("[ann@9/9]", Some(9)),
        ("[ann@1/1]", None),
        ("[ann@9/9]", None),
        ("[ann@1/9]", Some(7)),
    ];
    assert_eq!(rows, expected.map(|(window, cents)| (text(window), cents)));
    let visits = driver.session_store(VISITS).expect("it is there");
    let row = visits.fetch_session(&text("ann"), Window::new(at(1), at(9))).expect("it can be read");
    assert_eq!(row.map(|row| row.value), Some(7));
}

#[test]
fn sessions_that_are_emitted_once_are_closed_for_all_streams() {
    let driver = driver(|builder| {
        let windows = SessionWindows::of_inactivity_gap_with_no_grace(millis(5));
        let visits = revenue(builder).windowed_by(windows).emit_strategy(EmitStrategy::on_window_close());
        write_rows(&visits.aggregate((), || 0, |_, one, other| one + other));
    });
    let sales = driver.input_topic::<String, i64>("sales");
    let refunds = driver.input_topic::<String, String>("refunds");
    pipe_at(&sales, "ann", 1, 1);
    pipe_at(&refunds, "ann", "3", 5);
    pipe_at(&refunds, "bob", "1", 11);
    pipe_at(&sales, "ann", 1, 5);
    let rows = written(&driver.output_topic::<String, Option<i64>>("rows"));
    assert_eq!(rows, [(text("[ann@1/5]"), Some(-2))]);
    assert_eq!(driver.dropped_records(), 1);
}

#[test]
#[should_panic(expected = "a window without an end is never closed")]
fn what_never_closes_is_not_emitted_at_its_close() {
    let builder = StreamsBuilder::new();
    let forever = revenue(&builder).windowed_by(UnlimitedWindows::of());
    drop(forever.emit_strategy(EmitStrategy::on_window_close()));
}
