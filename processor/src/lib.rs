//! Runtime of millstream: topologies, tasks, threads, Kafka I/O, queries, metrics.
//!
//! This crate runs a [`Topology`]; it does not know the DSL that usually writes one. Only `kafka/` knows the Kafka client.

pub mod api;
mod clients;
pub mod clock;
pub mod config;
pub mod dead_letters;
pub mod error;
pub mod handlers;
mod http;
pub mod kafka;
mod membership;
pub mod metrics;
mod patience;
pub mod query;
pub mod reset;
pub mod runtime;
mod step;
mod task;
pub mod testing;
pub mod topology;

pub use config::{GroupProtocol, OffsetReset, ProcessingGuarantee, Settings};
pub use error::{BoxError, Error, ErrorKind, RecordLocation, Result};
pub use millstream_state_stores::*;
pub use runtime::{ClientState, Streams};
pub use task::TaskState;
pub use topology::Topology;
