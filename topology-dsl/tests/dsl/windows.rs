//! Windowed aggregations give the same outputs as in Kafka Streams, record by record.
//!
//! `windows/kafka-streams.txt` was printed by Kafka Streams 4.3.1: `windows/Windows.java` has its programs, under the names used here, and
//! the records they are given.

use std::sync::Arc;

use millstream::prelude::*;
use millstream::testing::TopologyTestDriver;
use millstream::{KGroupedStream, Materialized, SerdeRef, SessionWindowedSerde, TimeWindowedSerde};

use crate::golden::GoldenTexts;

const KAFKA_STREAMS: GoldenTexts = GoldenTexts(include_str!("windows/kafka-streams.txt"));

type Grouped = KGroupedStream<String, Option<String>>;
type Table = KTable<Windowed<String>, String>;

#[track_caller]
fn same_as_kafka_streams(program: &str, keys: SerdeRef<Windowed<String>>, table: impl Fn(&Grouped) -> Table) {
    cogroup_same_as_kafka_streams(program, keys, |stream, _| table(stream));
}

/// The same of two streams that are aggregated together; a record that ends with `~` is one of the second.
#[track_caller]
fn cogroup_same_as_kafka_streams(
    program: &str,
    keys: SerdeRef<Windowed<String>>,
    table: impl Fn(&Grouped, &Grouped) -> Table,
) {
    let builder = StreamsBuilder::new();
    let grouped = |topic| builder.stream::<String, Option<String>>(topic).group_by_key();
    table(&grouped("in"), &grouped("other")).to_stream().to("out");
    let topology = builder.build().expect("the program is right");
    let driver = TopologyTestDriver::new(topology).expect("the topology can be run");
    let [records, of_other] =
        ["in", "other"].map(|topic| driver.input_topic::<String, Option<String>>(topic));
    let outputs = driver.output_topic_with_serdes("out", keys, <Option<String>>::field_serde());

    let expected = KAFKA_STREAMS.of(program);
    let mut printed = Vec::new();
    for line in expected.lines() {
        let Some((record, _)) = line.split_once(" ->") else { break };
        let (key, time) = record.trim_end_matches(['!', '~']).split_once('@').expect("key@time");
        let records = if record.ends_with('~') { &of_other } else { &records };
        let value = (!record.ends_with('!')).then(|| format!("v{time}"));
        let time = Timestamp::from_millis(time.parse().expect("a number"));
        records.pipe_input_at(key, value, time).expect("the record is processed");
        let mut line = format!("{record} ->");
        for output in outputs.read_records_to_list().expect("outputs decode") {
            let (key, value) = (output.key, output.value.unwrap_or_else(|| "null".into()));
            line += &format!(" {}@{}={value} t{}", key.key, key.window, output.timestamp);
        }
        printed.push(line);
    }
    printed.push(format!("dropped {}", driver.dropped_records()));
    assert_eq!(printed, expected.lines().collect::<Vec<_>>(), "{program}");
}

fn times() -> SerdeRef<Windowed<String>> {
    Arc::new(TimeWindowedSerde::new(String::serde(), millis(10)))
}

fn sessions() -> SerdeRef<Windowed<String>> {
    Arc::new(SessionWindowedSerde::new(String::serde()))
}

/// A store without caching.
fn uncached<S>() -> Materialized<String, String, S> {
    StoreOptions::<String, String, S>::without_caching(())
}

fn join(_key: &String, value: Option<String>, row: String) -> String {
    format!("{row}+{}", value.unwrap_or_else(|| "null".into()))
}

fn join_values(key: &String, value: String, row: String) -> String {
    join(key, Some(value), row)
}

fn merge(_key: &String, one: String, other: String) -> String {
    format!("({one}|{other})")
}

fn reduce(one: String, other: String) -> String {
    format!("{one}*{other}")
}

#[test]
fn time_windows() {
    let tumbling = |grace| TimeWindows::of_size_and_grace(millis(10), millis(grace));
    same_as_kafka_streams("tumbling", times(), |stream| {
        stream.windowed_by(tumbling(0)).aggregate(uncached(), String::new, join)
    });
    same_as_kafka_streams("tumbling_with_grace", times(), |stream| {
        stream.windowed_by(tumbling(5)).aggregate(uncached(), String::new, join)
    });
    same_as_kafka_streams("tumbling_cached", times(), |stream| {
        stream.windowed_by(tumbling(5)).aggregate((), String::new, join)
    });
    same_as_kafka_streams("tumbling_reduce", times(), |stream| {
        stream.windowed_by(tumbling(100)).reduce(uncached(), reduce)
    });
    same_as_kafka_streams("tumbling_with_deletions", times(), |stream| {
        stream.windowed_by(tumbling(100)).aggregate(uncached(), String::new, |key, value, row| {
            let deletes = value.as_ref().is_some_and(|value| value.ends_with('3'));
            (!deletes).then(|| join(key, value, row))
        })
    });
    same_as_kafka_streams("hopping", times(), |stream| {
        let windows = tumbling(0).advance_by(millis(5));
        stream.windowed_by(windows).aggregate(uncached(), String::new, join)
    });
    same_as_kafka_streams("hopping_unaligned", times(), |stream| {
        let windows = tumbling(3).advance_by(millis(4));
        stream.windowed_by(windows).aggregate((), String::new, join)
    });
}

#[test]
fn sliding_windows() {
    let sliding = |grace| SlidingWindows::of_time_difference_and_grace(millis(10), millis(grace));
    same_as_kafka_streams("sliding", times(), |stream| {
        stream.windowed_by(sliding(5)).aggregate(uncached(), String::new, join_values)
    });
    same_as_kafka_streams("sliding_cached", times(), |stream| {
        stream.windowed_by(sliding(5)).aggregate((), String::new, join_values)
    });
    same_as_kafka_streams("sliding_reduce", times(), |stream| {
        stream.windowed_by(sliding(50)).reduce(uncached(), reduce)
    });
}

#[test]
fn session_windows() {
    let gap = |grace| SessionWindows::of_inactivity_gap_and_grace(millis(5), millis(grace));
    let kept = || uncached().with_retention(millis(1000));
    same_as_kafka_streams("sessions", sessions(), |stream| {
        stream.windowed_by(gap(0)).aggregate(kept(), String::new, join, merge)
    });
    same_as_kafka_streams("sessions_cached", sessions(), |stream| {
        stream.windowed_by(gap(0)).aggregate(().with_retention(millis(1000)), String::new, join, merge)
    });
    same_as_kafka_streams("sessions_with_grace", sessions(), |stream| {
        stream.windowed_by(gap(7)).aggregate(kept(), String::new, join, merge)
    });
    same_as_kafka_streams("sessions_reduce", sessions(), |stream| {
        stream.windowed_by(gap(100)).reduce(kept(), reduce)
    });
}

#[test]
fn closed_windows() {
    let on_close = EmitStrategy::on_window_close;
    same_as_kafka_streams("tumbling_final", times(), |stream| {
        let windows = TimeWindows::of_size_and_grace(millis(10), millis(2));
        stream.windowed_by(windows).emit_strategy(on_close()).aggregate((), String::new, join)
    });
    same_as_kafka_streams("hopping_final", times(), |stream| {
        let windows = TimeWindows::of_size_with_no_grace(millis(10)).advance_by(millis(5));
        stream.windowed_by(windows).emit_strategy(on_close()).aggregate((), String::new, join)
    });
    same_as_kafka_streams("sliding_final", times(), |stream| {
        let windows = SlidingWindows::of_time_difference_with_no_grace(millis(10));
        stream.windowed_by(windows).emit_strategy(on_close()).aggregate((), String::new, join_values)
    });
    same_as_kafka_streams("sessions_final", sessions(), |stream| {
        let windows = SessionWindows::of_inactivity_gap_with_no_grace(millis(5));
        stream.windowed_by(windows).emit_strategy(on_close()).aggregate((), String::new, join, merge)
    });
}

#[test]
fn cogrouped_windows() {
    let cogroup = |one: &Grouped, other: &Grouped| {
        let subtract = |_: &String, value: String, row: String| format!("{row}-{value}");
        one.cogroup(join_values).cogroup(other, subtract)
    };
    let tumbling = |grace| TimeWindows::of_size_and_grace(millis(10), millis(grace));
    let kept = || uncached().with_retention(millis(1000));
    cogroup_same_as_kafka_streams("cogroup_tumbling", times(), |one, other| {
        cogroup(one, other).windowed_by(tumbling(0)).aggregate(kept(), String::new)
    });
    cogroup_same_as_kafka_streams("cogroup_tumbling_cached", times(), |one, other| {
        cogroup(one, other).windowed_by(tumbling(5)).aggregate(().with_retention(millis(1000)), String::new)
    });
    cogroup_same_as_kafka_streams("cogroup_hopping", times(), |one, other| {
        let windows = tumbling(5).advance_by(millis(5));
        cogroup(one, other).windowed_by(windows).aggregate(kept(), String::new)
    });
    cogroup_same_as_kafka_streams("cogroup_sliding", times(), |one, other| {
        let windows = SlidingWindows::of_time_difference_and_grace(millis(10), millis(5));
        cogroup(one, other).windowed_by(windows).aggregate(kept(), String::new)
    });
    let sessions_of = || SessionWindows::of_inactivity_gap_and_grace(millis(5), millis(7));
    let kept_sessions = || uncached().with_retention(millis(1000));
    cogroup_same_as_kafka_streams("cogroup_sessions", sessions(), |one, other| {
        cogroup(one, other).windowed_by(sessions_of()).aggregate(kept_sessions(), String::new, merge)
    });
    cogroup_same_as_kafka_streams("cogroup_sessions_cached", sessions(), |one, other| {
        let kept = ().with_retention(millis(1000));
        cogroup(one, other).windowed_by(sessions_of()).aggregate(kept, String::new, merge)
    });
}

#[test]
fn every_golden_text_is_compared() {
    KAFKA_STREAMS.are_all_compared(&[include_str!("windows.rs")]);
}
