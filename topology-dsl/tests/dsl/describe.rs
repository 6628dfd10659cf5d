//! The same program has the same names as in Kafka Streams: `describe()` compared with what Kafka Streams 4.3.1 prints.
//!
//! `describe/kafka-streams.txt` was printed by `describe/Describe.java`, whose programs have the names used here.

use millstream::prelude::*;

use crate::golden::GoldenTexts;

mod aggregations;
mod joins;
mod optimized;
mod processors;
mod stream_joins;
mod streams;
mod tables;

const KAFKA_STREAMS: GoldenTexts = GoldenTexts(include_str!("describe/kafka-streams.txt"));

/// With the names of each arrow, and the stores of each processor, sorted: Kafka Streams puts several of them in an order that depends on
/// their hash codes.
fn with_sorted_names(text: &str) -> String {
    let mut sorted = String::new();
    for line in text.trim_end().lines() {
        let start = ["      --> ", "      <-- ", "(stores: ["]
            .into_iter()
            .find_map(|start| line.find(start).map(|at| at + start.len()))
            .unwrap_or(line.len());
        let (start, list) = line.split_at(start);
        let (list, end) = list.split_at(list.find("])").unwrap_or(list.len()));
        let mut names: Vec<&str> = list.split(", ").collect();
        names.sort_unstable();
        sorted += &format!("{start}{}{end}\n", names.join(", "));
    }
    sorted
}

#[track_caller]
fn same_as_kafka_streams(program: &str, declare: impl Fn(&StreamsBuilder)) {
    same(KAFKA_STREAMS.of(program), &StreamsBuilder::new(), program, declare);
}

#[track_caller]
fn same(theirs: &str, builder: &StreamsBuilder, program: &str, declare: impl Fn(&StreamsBuilder)) {
    declare(builder);
    let topology = builder.build().unwrap_or_else(|error| panic!("{program}: {error}"));
    let (ours, theirs) = (with_sorted_names(&topology.describe()), with_sorted_names(theirs));
    assert_eq!(ours, theirs, "{program}");
    let again = builder.build().expect("building does not change the program");
    assert_eq!(again.describe(), topology.describe(), "{program} built twice");
}

fn stream(builder: &StreamsBuilder, topic: &str) -> KStream<String, String> {
    builder.stream(topic)
}

fn table(builder: &StreamsBuilder, topic: &str) -> KTable<String, String> {
    builder.table(topic)
}

/// `select_key` as the programs here use it.
fn by_value(stream: &KStream<String, String>) -> KStream<String, String> {
    stream.select_key(|_, value| value.clone())
}

fn first<T: ToString>(left: T, _right: &String) -> String {
    left.to_string()
}

#[test]
fn every_golden_text_is_compared() {
    KAFKA_STREAMS.are_all_compared(&[
        include_str!("describe/aggregations.rs"),
        include_str!("describe/joins.rs"),
        include_str!("describe/processors.rs"),
        include_str!("describe/stream_joins.rs"),
        include_str!("describe/streams.rs"),
        include_str!("describe/tables.rs"),
    ]);
}
