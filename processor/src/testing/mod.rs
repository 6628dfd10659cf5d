//! Ways to test a topology: [`TopologyTestDriver`] runs it without Kafka, [`EmbeddedKafka`] runs a Kafka inside the test.

mod driver;
mod topics;

pub use crate::kafka::{EmbeddedKafka, EmbeddedKafkaError};
pub use driver::{TopologyTestDriver, TopologyTestDriverBuilder};
pub use topics::{TestInputTopic, TestOutputTopic};
