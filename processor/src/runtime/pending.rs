//! The tasks of a stream thread whose stores are not complete yet. Their input waits in Kafka.

use std::sync::Arc;

use millstream_state_stores::TaskId;

use super::state_updater::{Restored, Ticket};
use crate::clients::PartitionOffset;

/// A task that was assigned and does not exist yet.
pub(crate) struct PendingTask {
    pub(crate) id: TaskId,
    /// What its stores come back under.
    pub(crate) ticket: Ticket,
    /// Its input partitions that were assigned, and where each is to be read from.
    pub(crate) starts: Vec<PartitionOffset>,
    /// Its stores, once they are complete.
    pub(crate) restored: Option<Restored>,
    /// Whether the group took its input away, and has yet to say whether it comes back.
    pub(crate) is_suspended: bool,
}

impl PendingTask {
    pub(crate) fn reads(&self, (topic, partition): &(Arc<str>, i32)) -> bool {
        self.starts.iter().any(|start| (&start.topic, start.partition) == (topic, *partition))
    }
}
