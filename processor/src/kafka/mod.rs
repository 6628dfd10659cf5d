//! Kafka I/O: the only place that knows the Kafka client.

pub mod embedded;
