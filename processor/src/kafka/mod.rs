//! Kafka I/O: the only place that knows the client library.
//!
//! Consuming is in batches from a queue of our own, decoded by borrowing the client's buffers; producing is one producer a
//! thread with our own flush. Why: `docs/performance.md`.

mod admin;
mod client;
mod clients;
mod closing;
mod consumer;
mod described_group;
mod embedded;
mod embedded_admin;
mod group;
mod group_assignment;
mod group_members;
mod leave_group;
mod letters;
mod member;
mod message;
mod native_request;
mod own_queue;
mod producer;
mod topic_ids;
mod topic_reader;
mod topic_writer;
mod transactions;

pub(crate) use admin::ids_of_existing;
pub use admin::{ClusterAdmin, KafkaAdmin, NewTopic};
pub(crate) use clients::KafkaClients;
pub(crate) use consumer::KafkaConsumer;
pub use embedded::{EmbeddedKafka, EmbeddedKafkaError};
pub(crate) use group::KafkaGroup;
pub use group::{PartitionLag, group_lag};
pub use group_assignment::{GroupAssignment, MemberAssignment};
pub(crate) use letters::KafkaLetters;
pub use topic_reader::{TopicReader, TopicRecord};
pub use topic_writer::TopicWriter;
