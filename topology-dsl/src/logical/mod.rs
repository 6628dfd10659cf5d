//! From what was declared to a [`Topology`](millstream_processor::Topology).
//!
//! `graph` records operators in declaration order. `plan` gives names and decides, without types, which nodes there are, which
//! tables keep a store, and where records are repartitioned. `write` turns the plan into a topology, calling each operator's
//! own typed closure. Nothing here knows what an operator does to a record.

mod foreign_key_join;
mod graph;
mod names;
mod plan;
mod repartition;
mod table_join;
mod tables;
mod write;

pub(crate) use foreign_key_join::{ForeignKeyJoinNodes, ResponseNames, SubscriptionNames};
pub(crate) use graph::{
    CogroupedInput, Grouping, GroupingId, KeyEffect, Operation, OperationId, OperationKind, SharedGraph,
    WriteNode,
};
pub(crate) use plan::Plan;
pub(crate) use repartition::TypedTopic;
pub(crate) use table_join::TableJoinKind;
pub(crate) use write::Place;
