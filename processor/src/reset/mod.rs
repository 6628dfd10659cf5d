//! Resetting an application so that it reads history again: its offsets are moved, its internal topics deleted, its local
//! state removed.
//!
//! What is to be done is decided without Kafka, from [`ResetFacts`] to a [`ResetPlan`] that can be looked at; only then is it
//! carried out. A reset that ends half-way can be run again and ends right: until it is finished, an instance that starts is
//! refused.

mod execute;
mod offsets_file;
mod plan;
mod request;

pub use execute::{ApplicationReset, ResetStep};
pub(crate) use execute::{ResetCluster, UNFINISHED};
pub use offsets_file::read_offsets_file;
pub use plan::{GroupMember, OffsetMove, PartitionFacts, ResetFacts, ResetPlan, StateRemoval};
pub use request::{InternalTopics, ResetRequest, ResetTarget, TopicSelection};

/// A partition: topic and number.
pub type Partition = (String, i32);
