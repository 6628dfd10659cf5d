//! What a program is made of: nodes, stores and topics. A value without side effects, the same for the same program.
//!
//! A [`Topology`] is filled by the `add_*` methods, checked by [`Topology::validate`], cut into [`Subtopology`]s at
//! repartition topics, and described as text or picture. It knows neither threads nor Kafka.

mod builder;
mod describe;
mod diagram;
mod factory;
mod generated_names;
mod graph;
mod heartbeat;
mod naming;
mod partitioner;
mod pattern;
mod serdes;
mod sink;
mod source;
mod source_changelog;
mod subtopology;
mod validate;

pub(crate) use factory::Site;
pub use generated_names::{GeneratedName, NamedResource};
pub(crate) use graph::NodeKind;
pub use graph::{RepartitionTopic, TopicName, Topology};
pub use heartbeat::HEARTBEAT_HEADER;
pub(crate) use heartbeat::{heartbeat, heartbeat_headers, time_of_heartbeat};
pub use naming::{changelog_topic, dead_letter_topic, internal_topic, redriven_topic, validate_name};
pub(crate) use naming::{letter_topics, redrive_transactional_id};
pub(crate) use partitioner::PartitionCount;
pub use partitioner::Partitions;
pub use pattern::TopicPattern;
pub(crate) use serdes::unusable;
pub use sink::{Sink, SinkTopic, TaskSink, TopicChooser};
pub(crate) use source::SourceEntry;
pub use source::{Consumed, RawRecord, TimestampExtractor};
pub(crate) use source_changelog::{EncodedRow, RowsOfTopic, SourceChangelog};
pub use subtopology::Subtopology;
