//! Kafka Streams-style stream processing: `KStream` and `KTable` over locally kept, changelogged state.
//!
//! This is the crate a program depends on. It turns closures over typed records into a [`Topology`], with the names that
//! Kafka Streams gives, and re-exports the runtime that runs one. Nothing in it runs a record by itself: it does not know
//! threads, brokers or disks.
//!
//! ```
//! use millstream::prelude::*;
//!
//! const COUNTS: StoreName<String, u64> = StoreName::new("orders-per-sku");
//!
//! let builder = StreamsBuilder::new();
//! builder
//!     .stream::<String, String>("orders")
//!     .group_by(|_order_id, sku| sku.clone())
//!     .count(COUNTS)
//!     .to_stream()
//!     .to("order-counts");
//! let topology = builder.build()?;
//! assert!(topology.describe().contains("KSTREAM-AGGREGATE-0000000002 (stores: [orders-per-sku])"));
//! # Ok::<(), millstream::Error>(())
//! ```
//!
//! # Closures
//! One rule for all operators: a closure borrows what the operator passes on and owns what it replaces or consumes. So
//! `filter`, `peek` and `select_key` get `(&K, &V)`, `map_values` and `aggregate` get `(&K, V)`, `map` and `for_each` get `(K, V)`.
//! A closure that can fail goes to the operator of the same name with `try_` before it; its error goes to the handler of
//! the stage `process`.
//!
//! # Names
//! Nodes, stores and topics have the names Kafka Streams gives to the same program. `named(..)` on what an operator
//! returns names its node (and, where it writes a repartition topic, the topic); it changes no other name.

mod builder;
mod grouped;
mod join;
mod logical;
mod operators;
mod options;
pub mod prelude;
mod stream;
mod table;

pub use builder::StreamsBuilder;
pub use grouped::{KGroupedStream, KGroupedTable};
pub use join::JoinTarget;
pub use millstream_processor::*;
pub use operators::{AggregateResult, Split};
pub use options::{Materialized, Produced, Repartitioned, Source, StoreOptions};
pub use stream::{KStream, StreamEnd};
pub use table::KTable;
