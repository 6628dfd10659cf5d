//! Ways to test a topology: [`TopologyTestDriver`] runs it without Kafka, [`TopologyBench`] shows what it costs, and
//! [`EmbeddedKafka`] runs a Kafka inside the test.

mod arrivals;
mod bench;
mod driver;
#[cfg(test)]
pub(crate) mod no_cluster;
#[cfg(test)]
pub(crate) mod one_task;
#[cfg(test)]
pub(crate) mod pass_on;
#[cfg(test)]
pub(crate) mod simulation;
mod tasks;
mod topics;

pub use crate::kafka::{EmbeddedKafka, EmbeddedKafkaError};
pub use bench::{Delivered, PreparedRecords, TopologyBench};
pub use driver::{TopologyTestDriver, TopologyTestDriverBuilder};
pub use topics::{TestInputTopic, TestOutputTopic};
