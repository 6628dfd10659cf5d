//! From what was declared to a [`Topology`](millstream_processor::Topology).
//!
//! `graph` records operators in declaration order. `plan` gives names and decides, without types, which nodes there are, which
//! tables keep a store, and where records are repartitioned. `optimize` does without some of it, if asked to. `write` turns the plan into a
//! topology, calling each operator's own typed closure. Nothing here knows what an operator does to a record.

mod foreign_key_join;
mod graph;
mod names;
mod optimize;
mod plan;
mod repartition;
mod stream_stream_join;
mod table_join;
mod tables;
mod write;

pub(crate) use foreign_key_join::{ForeignKeyJoinNodes, ResponseNames, SubscriptionNames};
pub(crate) use graph::{
    CogroupedInput, Effect, Grouping, GroupingId, Operation, OperationId, OperationKind, ReuseTopic,
    SharedGraph, WriteNode,
};
pub(crate) use plan::Plan;
pub(crate) use repartition::{RepartitionEdges, TypedTopic};
pub(crate) use stream_stream_join::{StreamStreamJoinKind, StreamStreamJoinNames, StreamStreamJoinNodes};
pub(crate) use table_join::TableJoinKind;
pub(crate) use write::Place;
