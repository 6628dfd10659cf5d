//! With which settings the sides run: as each is shipped, or matched to each other.

use serde::{Deserialize, Serialize};

use crate::sides::Side;

/// The settings of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Column {
    /// Each side as it is shipped. The JVM takes the heap it takes.
    Defaults,
    /// The same commit interval, linger, batches, fetches and polls on both sides.
    Matched,
    /// As matched, with a linger of 5 ms: for latency.
    ShortLinger,
    /// As with a short linger, for instances that come and go: with the classic protocol and little time to detect a death.
    ClassicGroup,
    /// The same with the streams protocol (KIP-1071), which only Kafka Streams has.
    StreamsGroup,
}

/// Name and value for a side.
type Property = (&'static str, &'static str);

impl Column {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Column::Defaults => "defaults",
            Column::Matched => "matched",
            Column::ShortLinger => "linger 5 ms",
            Column::ClassicGroup => "classic protocol",
            Column::StreamsGroup => "streams protocol",
        }
    }

    /// The heap of the JVM.
    pub(crate) fn heap(self) -> Option<&'static str> {
        match self {
            Column::Defaults => None,
            Column::Matched | Column::ShortLinger => Some("2g"),
            // There are several.
            Column::ClassicGroup | Column::StreamsGroup => Some("1g"),
        }
    }

    /// As `name=value`.
    pub(crate) fn properties(self, side: Side) -> Vec<String> {
        let properties: &[Property] = match (self, side) {
            (Column::Defaults, Side::Ours | Side::Peer) => &[],
            // The limit has no defaults of its own.
            (Column::Defaults | Column::Matched, Side::Limit) => &MATCHED_OURS,
            (Column::Matched, Side::Ours) => &MATCHED_OURS,
            (Column::Matched, Side::Peer) => &MATCHED_PEER,
            (Column::ShortLinger, Side::Ours | Side::Limit) => &SHORT_LINGER_OURS,
            (Column::ShortLinger, Side::Peer) => &SHORT_LINGER_PEER,
            (Column::ClassicGroup | Column::StreamsGroup, Side::Ours | Side::Limit) => &GROUP_OURS,
            (Column::ClassicGroup, Side::Peer) => &CLASSIC_GROUP_PEER,
            (Column::StreamsGroup, Side::Peer) => &STREAMS_GROUP_PEER,
        };
        properties.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

const MATCHED_OURS: [Property; 5] = [
    ("commit.interval.ms", "1000"),
    ("producer.linger.ms", "100"),
    ("producer.batch.size", "262144"),
    ("consumer.fetch.message.max.bytes", "1048576"),
    ("consumer.check.crcs", "true"),
];

const MATCHED_PEER: [Property; 6] = [
    ("commit.interval.ms", "1000"),
    ("producer.linger.ms", "100"),
    ("producer.batch.size", "262144"),
    ("consumer.max.partition.fetch.bytes", "1048576"),
    ("consumer.max.poll.records", "1000"),
    ("producer.acks", "all"),
];

const SHORT_LINGER_OURS: [Property; 2] = [("commit.interval.ms", "1000"), ("producer.linger.ms", "5")];

const SHORT_LINGER_PEER: [Property; 2] = [("commit.interval.ms", "1000"), ("producer.linger.ms", "5")];

const GROUP_OURS: [Property; 4] = [
    ("commit.interval.ms", "1000"),
    ("producer.linger.ms", "5"),
    ("session.timeout.ms", "3000"),
    ("consumer.heartbeat.interval.ms", "100"),
];

const CLASSIC_GROUP_PEER: [Property; 5] = [
    ("commit.interval.ms", "1000"),
    ("producer.linger.ms", "5"),
    ("statestore.cache.max.bytes", "0"),
    ("consumer.session.timeout.ms", "3000"),
    ("consumer.heartbeat.interval.ms", "100"),
];

/// What members of a classic group decide by themselves is a setting of the group here.
const STREAMS_GROUP_PEER: [Property; 6] = [
    ("commit.interval.ms", "1000"),
    ("producer.linger.ms", "5"),
    ("statestore.cache.max.bytes", "0"),
    ("group.protocol", "streams"),
    ("bench.group.streams.session.timeout.ms", "3000"),
    ("bench.group.streams.heartbeat.interval.ms", "100"),
];
