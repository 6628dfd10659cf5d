//! Kafka I/O: the only place that knows the client library.
//!
//! Consuming is in batches from a queue of our own, decoded by borrowing the client's buffers; producing is one producer a
//! thread with our own flush. Why: `docs/performance.md`.

mod admin;
mod client;
mod consumer;
pub mod embedded;
mod message;
mod producer;

pub use admin::{ClusterAdmin, KafkaAdmin, NewTopic};
pub(crate) use consumer::{Consumer, Fetched, GroupEvent, PartitionOffset};
pub(crate) use message::KafkaMessage;
pub(crate) use producer::Producer;
