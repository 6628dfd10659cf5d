//! Kafka Streams-style stream processing: `KStream` and `KTable` over locally kept, changelogged state.
//!
//! This is the crate a program depends on. It turns closures over typed records into a [`Topology`], with the names that
//! Kafka Streams gives, and re-exports the runtime that runs one. Nothing in it runs a record by itself: it does not know
//! threads, brokers or disks.
//!
//! ```no_run
//! use millstream::prelude::*;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Serialize, Deserialize)]
//! struct Order { sku: String, quantity: i64 }
//!
//! #[derive(Clone, Serialize, Deserialize)]
//! struct StockMoved { quantity: i64 }
//!
//! #[derive(Clone, Serialize, Deserialize)]
//! struct Availability { sku: String, can_be_delivered: bool }
//!
//! json_serde!(Order, StockMoved, Availability);
//!
//! const STOCK: StoreName<String, i64> = StoreName::new("stock");
//!
//! fn topology() -> Result<Topology> {
//!     let builder = StreamsBuilder::new();
//!     let orders = builder.stream::<String, Order>("orders");
//!     let stock = builder
//!         .stream::<String, StockMoved>("stock-movements")
//!         .group_by_key()
//!         .aggregate(STOCK, || 0, |_sku, moved, on_hand| on_hand + moved.quantity);
//!
//!     orders
//!         .select_key(|_, order| order.sku.clone())
//!         .left_join(&stock, |order, on_hand| Availability {
//!             can_be_delivered: on_hand.copied().unwrap_or(0) >= order.quantity,
//!             sku: order.sku,
//!         })
//!         .to("order-availability");
//!     builder.build()
//! }
//!
//! fn main() -> Result<()> {
//!     let app = Streams::builder("shop", topology()?).settings(Settings::from_env()?).start()?;
//!     let stock = app.store(STOCK)?;
//!     println!("{:?}", stock.get(&"apples".into())?);
//!     app.run_until_signal()
//! }
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
//! returns names its node (and, where it writes a repartition topic, the topic); it changes no other name, except that a named
//! [`process`](KStream::process) or [`process_values`](KStream::process_values) takes no number, so that those below it count from one less.

mod builder;
mod durations;
mod global_table;
mod grouped;
mod join;
mod logical;
mod operators;
mod options;
pub mod prelude;
#[cfg(feature = "schema-registry")]
pub mod schema_registry;
mod stream;
mod table;
mod windowed;
mod windows;

pub use builder::StreamsBuilder;
pub use durations::{days, hours, millis, minutes, seconds};
pub use global_table::GlobalKTable;
pub use grouped::{KGroupedStream, KGroupedTable};
pub use join::{JoinTarget, TableJoinTarget};
pub use millstream_processor::*;
pub use operators::{
    AggregateResult, CogroupedKStream, MergeTarget, SessionWindowedCogroupedKStream, Split, StreamOn,
    StreamWithin, TableOn, TableWithGrace, TimeWindowedCogroupedKStream, ValueTransformer, WithKey,
};
pub use options::{
    AddedStore, BufferConfig, ConnectedStores, EmitEarly, Materialized, NeverEarly, Produced, Repartitioned,
    Source, StoreFor, StoreOptions, StreamJoined, Strict, Suppressed, TopologyOptimization, UntimedKind,
    WhenFull,
};
pub use stream::{KStream, StreamEnd};
pub use table::KTable;
pub use windowed::{SessionWindowedKStream, SlidingWindowedKStream, TimeWindowedKStream, WindowDefinition};
pub use windows::{EmitStrategy, JoinWindows, SessionWindows, SlidingWindows, TimeWindows, UnlimitedWindows};

/// The README's program must compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// The guide's programs must run.
#[cfg(doctest)]
pub mod guide {
    #[doc = include_str!("../../docs/guide/first-topology.md")]
    pub struct FirstTopology;

    #[doc = include_str!("../../docs/guide/joins.md")]
    pub struct Joins;

    #[doc = include_str!("../../docs/guide/keys-and-partitions.md")]
    pub struct KeysAndPartitions;

    #[doc = include_str!("../../docs/guide/porting.md")]
    pub struct Porting;

    #[doc = include_str!("../../docs/guide/processor-api.md")]
    pub struct ProcessorApi;

    #[cfg(all(feature = "avro", feature = "protobuf", feature = "schema-registry"))]
    #[doc = include_str!("../../docs/guide/schemas.md")]
    pub struct Schemas;

    #[doc = include_str!("../../docs/guide/tables.md")]
    pub struct Tables;

    #[doc = include_str!("../../docs/guide/testing.md")]
    pub struct Testing;

    #[doc = include_str!("../../docs/guide/windows.md")]
    pub struct Windows;
}
