//! What the operators' tests share: a driver for a small program, and short names for its types.

use millstream_processor::handlers::{Handlers, Reaction};
use millstream_processor::testing::{
    TestInputTopic, TestOutputTopic, TopologyTestDriver, TopologyTestDriverBuilder,
};
use millstream_processor::{RecordField, Settings, Timestamp};

use crate::{KTable, StreamsBuilder};

/// A driver for the program, whose failing records are skipped and counted.
pub(super) fn driver(declare: impl FnOnce(&StreamsBuilder)) -> TopologyTestDriver {
    driver_builder(declare).build().expect("the topology can be run")
}

/// The same, which commits only when told to.
pub(super) fn driver_without_commits(declare: impl FnOnce(&StreamsBuilder)) -> TopologyTestDriver {
    driver_builder(declare).commit_by_hand().build().expect("the topology can be run")
}

fn driver_builder(declare: impl FnOnce(&StreamsBuilder)) -> TopologyTestDriverBuilder {
    let builder = StreamsBuilder::new();
    declare(&builder);
    let mut settings = Settings::new("none");
    settings.handlers = Handlers::all(Reaction::Skip);
    TopologyTestDriver::builder(builder.build().expect("the program is right")).settings(settings)
}

pub(super) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(super) fn text(text: &str) -> String {
    text.to_string()
}

/// A table of texts.
pub(super) fn table(builder: &StreamsBuilder, topic: &str) -> KTable<String, String> {
    builder.table(topic)
}

/// Changes a row of such a table, at this time in milliseconds.
pub(super) fn change_row(
    driver: &TopologyTestDriver,
    topic: &str,
    key: &str,
    value: Option<&str>,
    millis: i64,
) {
    let topic = driver.input_topic::<String, Option<String>>(topic);
    pipe_at(&topic, key, value.map(str::to_string), millis);
}

/// Pipes records without regard to time.
pub(super) fn pipe_all<K: RecordField, V: RecordField>(
    topic: &TestInputTopic<K, V>,
    records: impl IntoIterator<Item = (impl Into<K>, impl Into<V>)>,
) {
    for (key, value) in records {
        topic.pipe_input(key, value).expect("the record is processed");
    }
}

/// Pipes a record of this time in milliseconds.
#[track_caller]
pub(super) fn pipe_at<K: RecordField, V: RecordField>(
    topic: &TestInputTopic<K, V>,
    key: impl Into<K>,
    value: impl Into<V>,
    millis: i64,
) {
    topic.pipe_input_at(key, value, at(millis)).expect("the record is processed");
}

/// All that was written to the topic since it was last read.
pub(super) fn written<K: RecordField, V: RecordField>(topic: &TestOutputTopic<K, V>) -> Vec<(K, V)> {
    topic.read_key_values_to_list().expect("outputs decode")
}

/// The same with event times.
pub(super) fn written_at<K: RecordField, V: RecordField>(topic: &TestOutputTopic<K, V>) -> Vec<(K, V, i64)> {
    let records = topic.read_records_to_list().expect("outputs decode");
    records.into_iter().map(|record| (record.key, record.value, record.timestamp.as_millis())).collect()
}
