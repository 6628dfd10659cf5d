//! Joins of two streams, as Kafka Streams does them.

use millstream_processor::testing::TopologyTestDriver;

use super::super::test_support::{at, driver, driver_without_commits, text, written_at};
use crate::{JoinWindows, KStream, StreamJoined, StreamsBuilder, millis};

/// A record: its topic, key, value and time.
type Step = (&'static str, Option<&'static str>, Option<&'static str>, i64);

type Joined = KStream<Option<String>, String>;

/// What two values make: `left+right`, with `-` for none.
fn pair(left: Option<&String>, right: Option<&String>) -> String {
    let value = |value: Option<&String>| value.map_or("-", String::as_str).to_string();
    format!("{}+{}", value(left), value(right))
}

fn sides(builder: &StreamsBuilder) -> [KStream<Option<String>, Option<String>>; 2] {
    ["left", "right"].map(|topic| builder.stream(topic))
}

fn inner(builder: &StreamsBuilder, windows: impl Into<JoinWindows>) -> Joined {
    let [left, right] = sides(builder);
    left.within(windows).join(&right, |left, right| pair(Some(left), Some(right)))
}

fn left(builder: &StreamsBuilder, windows: impl Into<JoinWindows>) -> Joined {
    let [left, right] = sides(builder);
    left.within(windows).left_join(&right, |left, right| pair(Some(left), right))
}

fn outer(builder: &StreamsBuilder, windows: impl Into<JoinWindows>) -> Joined {
    let [left, right] = sides(builder);
    left.within(windows).outer_join(&right, pair)
}

/// A driver for a join that is written to `out`.
fn joined(join: impl FnOnce(&StreamsBuilder) -> Joined) -> TopologyTestDriver {
    driver(|builder| {
        join(builder).to("out");
    })
}

fn pipe(driver: &TopologyTestDriver, (topic, key, value, time): Step) {
    let topic = driver.input_topic::<Option<String>, Option<String>>(topic);
    topic.pipe_input_at(key.map(text), value.map(text), at(time)).expect("the record is processed");
}

/// All outputs since the last call, as `key=value@time`.
fn outputs(driver: &TopologyTestDriver) -> Vec<String> {
    let records = written_at::<Option<String>, String>(&driver.output_topic("out"));
    let key = |key: Option<String>| key.unwrap_or_else(|| text("null"));
    records
        .into_iter()
        .map(|(null_or_key, value, time)| format!("{}={value}@{time}", key(null_or_key)))
        .collect()
}

#[track_caller]
fn writes(driver: &TopologyTestDriver, steps: &[(Step, &[&str])]) {
    for (step, expected) in steps {
        pipe(driver, *step);
        assert_eq!(outputs(driver), *expected, "{step:?}");
    }
}

fn l(value: &'static str, time: i64) -> Step {
    ("left", Some("k"), Some(value), time)
}

fn r(value: &'static str, time: i64) -> Step {
    ("right", Some("k"), Some(value), time)
}

#[test]
fn each_pair_within_the_time_difference_is_joined_when_its_second_record_comes() {
    let with_grace = JoinWindows::of_time_difference_and_grace(millis(10), millis(100));
    let driver = joined(|builder| inner(builder, with_grace));
    writes(
        &driver,
        &[
            (l("a", 20), &[]),
            (r("x", 9), &[]),
            (r("y", 10), &["k=a+y@20"]),
            (r("z", 30), &["k=a+z@30"]),
            (r("w", 31), &[]),
            (l("b", 20), &["k=b+y@20", "k=b+z@30"]),
            (("left", Some("other"), Some("c"), 20), &[]),
            (r("y2", 10), &["k=a+y2@20", "k=b+y2@20"]),
        ],
    );
}

#[test]
fn records_are_kept_for_the_length_of_a_window_and_the_grace() {
    let with_grace = JoinWindows::of_time_difference_and_grace(millis(10), millis(5));
    let driver = joined(|builder| inner(builder, with_grace));
    writes(
        &driver,
        &[
            (l("a", 100), &[]),
            (l("b", 124), &[]),
            (r("x", 100), &["k=a+x@100"]),
            (l("c", 125), &[]),
            (r("y", 100), &[]),
        ],
    );
}

#[test]
fn windows_may_lie_on_one_side() {
    let after = JoinWindows::from(millis(0)).after(millis(10));
    let driver = joined(|builder| inner(builder, after));
    writes(
        &driver,
        &[
            (l("a", 20), &[]),
            (r("early", 19), &[]),
            (r("same", 20), &["k=a+same@20"]),
            (r("last", 30), &["k=a+last@30"]),
            (r("late", 31), &[]),
            (l("b", 21), &["k=b+last@30", "k=b+late@31"]),
        ],
    );
}

#[test]
fn an_inner_join_drops_nulls() {
    let driver = joined(|builder| inner(builder, millis(10)));
    pipe(&driver, ("left", None, Some("a"), 1));
    pipe(&driver, ("right", None, Some("a"), 1));
    pipe(&driver, ("left", Some("k"), None, 1));
    pipe(&driver, ("right", Some("k"), None, 1));
    assert_eq!((driver.dropped_records(), outputs(&driver).len()), (4, 0));
}

#[test]
fn left_and_outer_joins_emit_records_without_a_key_at_once() {
    let left = joined(|builder| left(builder, millis(10)));
    writes(
        &left,
        &[
            (("left", None, Some("a"), 1), &["null=a+-@1"]),
            (("right", None, Some("x"), 2), &[]),
            (("left", None, None, 3), &[]),
        ],
    );
    assert_eq!(left.dropped_records(), 2);

    let outer = joined(|builder| outer(builder, millis(10)));
    writes(
        &outer,
        &[
            (("left", None, Some("a"), 1), &["null=a+-@1"]),
            (("right", None, Some("x"), 2), &["null=-+x@2"]),
            (("right", Some("k"), None, 3), &[]),
        ],
    );
    assert_eq!(outer.dropped_records(), 1);
}

#[test]
fn a_left_record_without_match_is_emitted_when_its_window_has_closed_with_its_own_time() {
    let with_grace = JoinWindows::of_time_difference_and_grace(millis(10), millis(5));
    let driver = joined(|builder| left(builder, with_grace));
    writes(
        &driver,
        &[
            (l("a", 100), &[]),
            (("right", Some("other"), Some("x"), 115), &[]),
            (("right", Some("other"), Some("y"), 116), &["k=a+-@100"]),
            (("left", Some("other"), Some("b"), 140), &[]),
            (("left", Some("other"), Some("c"), 156), &["other=b+-@140"]),
        ],
    );
}

#[test]
fn a_record_that_finds_a_match_is_not_emitted_alone() {
    let driver = joined(|builder| outer(builder, millis(10)));
    writes(
        &driver,
        &[
            (l("a", 100), &[]),
            (r("x", 105), &["k=a+x@105"]),
            (("left", Some("other"), Some("b"), 200), &[]),
            (("right", Some("other"), Some("y"), 201), &["other=b+y@201"]),
            (l("c", 300), &[]),
        ],
    );
}

#[test]
fn a_record_whose_window_has_closed_already_is_emitted_at_once() {
    let with_grace = JoinWindows::of_time_difference_and_grace(millis(10), millis(5));
    let driver = joined(|builder| outer(builder, with_grace));
    writes(
        &driver,
        &[
            (("left", Some("other"), Some("a"), 100), &[]),
            (l("late", 89), &["k=late+-@89"]),
            (l("in time", 90), &[]),
            (r("late", 80), &["k=late+late@89", "k=in time+late@90"]),
            (("right", Some("solo"), Some("alone"), 79), &["solo=-+alone@79"]),
        ],
    );
}

#[test]
fn what_closes_together_is_emitted_in_the_order_of_time_then_right_side_first_then_by_key() {
    let driver = joined(|builder| outer(builder, millis(10)));
    for step in [
        ("left", Some("d"), Some("1"), 101),
        ("left", Some("b"), Some("2"), 100),
        ("left", Some("b"), Some("3"), 100),
        ("right", Some("c"), Some("4"), 100),
        ("left", Some("a"), Some("5"), 100),
        ("right", Some("e"), Some("6"), 102),
    ] {
        pipe(&driver, step);
    }
    assert_eq!(outputs(&driver), [""; 0]);
    let expected = ["c=-+4@100", "a=5+-@100", "b=2+-@100", "b=3+-@100", "d=1+-@101"];
    writes(&driver, &[(l("z", 112), &expected), (l("y", 113), &["e=-+6@102"])]);
}

#[test]
fn a_match_deletes_all_that_wait_with_its_key_and_time() {
    let driver = joined(|builder| outer(builder, millis(10)));
    writes(
        &driver,
        &[
            (l("a", 100), &[]),
            (l("b", 100), &[]),
            (l("c", 101), &[]),
            (r("x", 90), &["k=a+x@100", "k=b+x@100"]),
            (("right", Some("other"), Some("y"), 120), &["k=c+-@101"]),
        ],
    );
}

#[test]
fn sides_of_uneven_windows_close_at_different_times() {
    let after = JoinWindows::from(millis(0)).after(millis(50));
    let driver = joined(|builder| outer(builder, after));
    writes(
        &driver,
        &[
            (l("a", 100), &[]),
            (("right", Some("other"), Some("x"), 101), &[]),
            (("right", Some("other"), Some("y"), 102), &["other=-+x@101"]),
            (("left", Some("other"), Some("b"), 150), &["other=-+y@102"]),
            (("left", Some("other"), Some("c"), 151), &["k=a+-@100"]),
        ],
    );
}

#[test]
fn windows_may_begin_after_their_record() {
    let later = JoinWindows::from(millis(20)).beginning_after(millis(10));
    let driver = joined(|builder| left(builder, later));
    writes(
        &driver,
        &[
            (l("a", 100), &[]),
            (r("x", 109), &[]),
            (r("y", 110), &["k=a+y@110"]),
            (r("z", 120), &["k=a+z@120"]),
            (l("b", 200), &[]),
            (r("w", 221), &["k=b+-@200"]),
        ],
    );
}

#[test]
fn records_that_wait_are_found_also_when_they_are_many_and_stream_time_leaps() {
    let driver = driver_without_commits(|builder| {
        left(builder, millis(100_000)).to("out");
    });
    let key = |number: i64| format!("{number:05}");
    let topic = driver.input_topic::<Option<String>, Option<String>>("left");
    for number in 0..5_000_i64 {
        topic.pipe_input_at(Some(key(number)), Some(text("v")), at(number * 40)).expect("it is processed");
        if number % 500 == 0 {
            driver.commit().expect("the commit succeeds");
        }
    }
    // Windows end 2500 records later.
    let emitted = outputs(&driver);
    assert_eq!(emitted.len(), 2_499);
    assert!(emitted.is_sorted());
    topic.pipe_input_at(Some(text("last")), Some(text("v")), at(100_000_000)).expect("it is processed");
    let emitted = outputs(&driver);
    assert_eq!((emitted.len(), emitted[0].as_str()), (2_501, "02499=v+-@99960"));
    assert!(emitted.is_sorted());
}

#[test]
fn a_stream_can_be_joined_with_itself() {
    let driver = driver(|builder| {
        let [orders, _] = sides(builder);
        let again = orders.within(millis(10)).join(&orders, |one, other| pair(Some(one), Some(other)));
        again.to("out");
    });
    writes(
        &driver,
        &[
            (l("a", 100), &["k=a+a@100"]),
            (l("b", 105), &["k=b+a@105", "k=a+b@105", "k=b+b@105"]),
            (l("c", 95), &["k=c+a@100", "k=c+b@105", "k=c+c@95", "k=a+c@100", "k=b+c@105"]),
        ],
    );
}

#[test]
fn both_streams_go_through_repartition_topics_where_keys_changed() {
    let driver = driver(|builder| {
        let by_value = |topic: &str| {
            builder.stream::<Option<String>, Option<String>>(topic).select_key(|_, value| value.clone())
        };
        let (left, right) = (by_value("left"), by_value("right"));
        left.within(millis(10)).outer_join(&right, pair).named("pay").to("out");
    });
    writes(
        &driver,
        &[
            (("left", Some("1"), Some("a"), 100), &[]),
            (("right", Some("2"), Some("a"), 101), &["a=a+a@101"]),
            (("left", Some("3"), Some("b"), 102), &[]),
            (("right", Some("4"), Some("c"), 113), &["b=b+-@102"]),
        ],
    );
    let topics = driver.produced_topic_names();
    assert!(topics.contains(&text("test-pay-left-repartition")), "{topics:?}");
    assert!(topics.contains(&text("test-pay-right-repartition")), "{topics:?}");
}

#[test]
fn a_join_of_joins_has_the_latest_time_of_all() {
    let driver = driver(|builder| {
        let [orders, payments] = sides(builder);
        let deliveries = builder.stream::<Option<String>, Option<String>>("deliveries");
        let paid = orders.within(millis(10)).join(&payments, |left, right| pair(Some(left), Some(right)));
        paid.within(millis(10)).left_join(&deliveries, |left, right| pair(Some(left), right)).to("out");
    });
    writes(
        &driver,
        &[
            (("deliveries", Some("k"), Some("d"), 112), &[]),
            (l("a", 100), &[]),
            (r("x", 104), &["k=a+x+d@112"]),
            (l("b", 120), &[]),
            (r("y", 125), &[]),
            (("deliveries", Some("k"), Some("e"), 136), &["k=b+y+-@125"]),
        ],
    );
}

#[test]
fn a_row_that_fails_downstream_is_given_up_and_others_come_later() {
    let driver = driver(|builder| {
        let checked = left(builder, millis(10)).try_map_values(|_, joined| match joined.as_str() {
            "poison+-" => Err("it is poison"),
            _ => Ok(joined),
        });
        checked.to("out");
    });
    writes(
        &driver,
        &[
            (("left", Some("a"), Some("first"), 100), &[]),
            (("left", Some("b"), Some("poison"), 101), &[]),
            (("left", Some("c"), Some("last"), 102), &[]),
            // It fails with what it closes.
            (("right", Some("a"), Some("x"), 120), &[]),
            (("right", Some("a"), Some("y"), 121), &["a=first+-@100", "c=last+-@102"]),
            (("right", Some("a"), Some("z"), 150), &[]),
        ],
    );
    assert_eq!((driver.skipped_records(), driver.dropped_records()), (1, 1));
}

#[test]
fn a_joiner_may_see_the_key() {
    let with_key = |key: &Option<String>, left: Option<&String>, right: Option<&String>| {
        format!("{}:{}", key.as_deref().unwrap_or("null"), pair(left, right))
    };
    let driver = joined(|builder| {
        let [left, right] = sides(builder);
        left.within(millis(10)).with_key().outer_join(&right, with_key)
    });
    writes(
        &driver,
        &[
            (("left", Some("a"), Some("1"), 100), &[]),
            (("right", Some("a"), Some("2"), 101), &["a=a:1+2@101"]),
            (("right", None, Some("3"), 102), &["null=null:-+3@102"]),
            (("left", Some("b"), Some("4"), 103), &[]),
            (("left", Some("c"), Some("5"), 200), &["b=b:4+-@103"]),
        ],
    );
    let driver = joined(|builder| {
        let [left, right] = sides(builder);
        let inner = left.within(millis(10)).with_key();
        let inner = inner.join(&right, move |key, left, right| with_key(key, Some(left), Some(right)));
        let [left, right] = sides(builder);
        let left = left.within(millis(10)).with_key();
        inner.merge(&left.left_join(&right, move |key, left, right| with_key(key, Some(left), right)))
    });
    let joined_twice: &[&str] = &["a=a:1+2@101", "a=a:1+2@101"];
    writes(
        &driver,
        &[
            (("left", Some("a"), Some("1"), 100), &[]),
            (("right", Some("a"), Some("2"), 101), joined_twice),
            (("left", None, Some("3"), 102), &["null=null:3+-@102"]),
        ],
    );
}

#[test]
fn a_record_the_joiner_fails_on_leaves_no_trace() {
    let driver = joined(|builder| {
        let [left, right] = sides(builder);
        left.within(millis(10)).try_left_join(&right, |left, right| match pair(Some(left), right) {
            poison if poison.contains("poison") => Err("it is poison"),
            joined => Ok(joined),
        })
    });
    writes(
        &driver,
        &[
            (l("1", 100), &[]),
            (l("2", 101), &[]),
            (r("poison", 102), &[]),
            (r("3", 103), &["k=1+3@103", "k=2+3@103"]),
            // It fails when its window closes, with what closes it.
            (("left", Some("b"), Some("poison"), 110), &[]),
            (("right", Some("c"), Some("x"), 130), &[]),
            (("right", Some("c"), Some("y"), 131), &[]),
            (("left", Some("c"), Some("4"), 132), &["c=4+y@132"]),
        ],
    );
    assert_eq!((driver.skipped_records(), driver.dropped_records()), (2, 1));
}

#[test]
fn stores_are_kept_as_they_were_asked_for() {
    let builder = StreamsBuilder::new();
    let [left, right] = sides(&builder);
    let kept = StreamJoined::named("paid").in_memory().with_changelog_config("segment.ms", "600000");
    left.within(millis(10)).stored(kept).outer_join(&right, pair);
    let unlogged = StreamJoined::named("tried").without_logging();
    left.within(millis(10)).stored(unlogged).left_join(&right, |left, right| pair(Some(left), right));
    let topology = builder.build().expect("the program is right");
    let stores: Vec<(&str, bool, bool, usize)> = topology
        .stores()
        .map(|store| (store.name(), store.is_persistent(), store.is_logged(), store.changelog_config().len()))
        .collect();
    assert_eq!(
        stores,
        [
            ("paid-outer-this-join-store", false, true, 1),
            ("paid-outer-other-join-store", false, true, 1),
            ("paid-outer-shared-join-store", false, true, 1),
            ("tried-this-join-store", true, false, 0),
            ("tried-outer-other-join-store", true, false, 0),
            ("tried-left-shared-join-store", true, false, 0),
        ]
    );
}

#[test]
#[should_panic(expected = "only streams of one StreamsBuilder can be joined")]
fn a_stream_of_another_builder_is_refused() {
    let (one, other) = (StreamsBuilder::new(), StreamsBuilder::new());
    let payments = other.stream::<String, String>("payments");
    one.stream::<String, String>("orders").within(millis(10)).join(&payments, |order, _| order.clone());
}
