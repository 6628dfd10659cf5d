//! How far stores are on their way to the ends of their changelogs: plain values for listeners, metrics and HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_state_stores::{Offset, TaskId};

/// How far a store is on its way to the end of its changelog. A global table is read from its topic: its offsets are sums over the topic's
/// partitions, and its task is the one that keeps all global tables of the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreProgress {
    /// The task.
    pub task: TaskId,
    /// The store.
    pub store: Arc<str>,
    /// Where it began: the offset stored beside the data, or the start of the changelog.
    pub from: Offset,
    /// The next offset to be restored.
    pub next: Offset,
    /// Of a restore, the end of the changelog when it began; a transaction that a former owner left open before it is waited for. Of a
    /// standby, the end as of the last fetch, which moves on. Where the changelog is a topic that the task reads as well, the offset at which
    /// the task begins; of a standby, that which the application had committed when it was last asked.
    pub end: Offset,
    /// Records applied so far.
    pub records: u64,
    /// Where the changelog is a topic that the task reads as well: its records that make no row, because they cannot be read or kept and a
    /// handler passes over them, as it did when they were processed.
    pub left_out: u64,
}

impl RestoreProgress {
    /// Offsets that are left, the lag of a standby. An upper bound of the records: compacted ones leave gaps.
    pub fn remaining(&self) -> u64 {
        u64::try_from(self.end.get() - self.next.get()).unwrap_or(0)
    }

    /// Whether the store has reached the end.
    pub fn is_complete(&self) -> bool {
        self.remaining() == 0
    }

    /// Whether there was nothing to restore from the start.
    pub(super) fn was_complete(&self) -> bool {
        self.from >= self.end
    }
}

/// Told about restores: at the start, after each batch, and at the end (`is_complete`).
pub type RestoreListener = Arc<dyn Fn(&RestoreProgress) + Send + Sync>;

/// What the state updater last told about itself.
#[derive(Clone, Debug, Default)]
pub struct UpdaterSnapshot {
    /// The restores of the tasks that stream threads of this instance wait for.
    pub restoring: BTreeMap<TaskId, Vec<RestoreProgress>>,
    /// The standby tasks of this instance, with each of their logged stores; none until it is known where they stand.
    pub standbys: BTreeMap<TaskId, Vec<RestoreProgress>>,
    /// How often a stream thread was given a task whose standby was here.
    pub promotions: u64,
}
