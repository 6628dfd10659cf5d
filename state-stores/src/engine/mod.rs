//! Where checkpointed rows rest: RocksDB on disk, memory, or a disk that is simulated.
//!
//! An engine holds encoded rows and the changelog positions they reflect, and knows nothing of commits, caches or types.
//! One engine serves all stores of a task. Rows come sorted, and in bulk: from a checkpoint or from a restore.

mod memory;
mod rocksdb;
mod simulated;

use std::sync::Arc;

use crate::error::StoreError;
use crate::key_range::{Direction, KeyRange};
use crate::overlay::Overlay;
use crate::types::{LogPartition, LogPosition, StoreIndex, TopicId};

pub(crate) use memory::MemoryEngine;
pub(crate) use rocksdb::{RocksDbEngine, RocksDbStore};
pub use simulated::{DiskAnswer, DiskRequest, SimulatedDisk, SurvivingStore};
pub(crate) use simulated::{ProcessDisk, SimulatedEngine, SimulatedLock};

/// An encoded key with its encoded row.
pub(crate) type EncodedEntry = (Vec<u8>, Vec<u8>);

/// The rows of a range, in order, as they were when the scan began.
pub(crate) type EngineScan = Box<dyn Iterator<Item = Result<EncodedEntry, StoreError>> + Send>;

/// The rows of all stores of one task. Shared between the task, which writes, and readers on any thread.
pub(crate) trait Engine: Send + Sync {
    /// Replaces the content of `row` by the row of `key`. Returns false, with `row` empty, if there is none.
    fn get(&self, store: StoreIndex, key: &[u8], row: &mut Vec<u8>) -> Result<bool, StoreError>;

    /// The rows of a range. Later writes are not seen; what the scan holds on to is freed when it is dropped.
    fn scan(
        self: Arc<Self>,
        store: StoreIndex,
        range: KeyRange,
        direction: Direction,
    ) -> Result<EngineScan, StoreError>;

    /// Puts rows over those of the tables of one store, its own and then that of its companion, and to the disk: all of them or none. What
    /// one of the two says is made of what the other says, so that a replay over half of it would not end at the same.
    fn write(&self, tables: &[(StoreIndex, &Overlay)]) -> Result<(), StoreError>;

    /// Sets the positions in logs that rows written before reflect, and brings them to the disk. A crash in between leaves rows
    /// with older positions: what is restored from there ends at the same rows.
    fn set_positions(&self, positions: &[(LogPartition, LogPosition)]) -> Result<(), StoreError>;

    /// Sets the topic that a store's rows and positions come from. It is on the disk when the next position is, not before: until then
    /// there is nothing that could be another topic's.
    fn set_changelog(&self, store: StoreIndex, topic: TopicId) -> Result<(), StoreError>;

    /// The topic that a store's rows and positions come from; `None` if it was never set.
    fn changelog(&self, store: StoreIndex) -> Result<Option<TopicId>, StoreError>;

    /// Removes all rows of the tables of one store, as of [`Engine::write`], and the positions they reflect, from the disk: the log may have
    /// grown past these positions when it is looked at again. The topic they come from is kept: more of it may be on its way.
    fn clear(&self, tables: &[StoreIndex]) -> Result<(), StoreError>;

    /// The position that was last written for this partition of a store's log.
    fn position(&self, log: LogPartition) -> Result<Option<LogPosition>, StoreError>;

    /// Whether a position was written for any partition of a store's log.
    fn has_position(&self, store: StoreIndex) -> Result<bool, StoreError>;

    /// How many rows a store has, roughly; those of its companion may be among them.
    fn approximate_num_entries(&self, store: StoreIndex) -> Result<u64, StoreError>;

    /// How much memory and disk is used.
    fn sizes(&self) -> Result<EngineSizes, StoreError>;
}

/// Memory and disk used by the stores of a task, in bytes, and their rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineSizes {
    /// Bytes in RocksDB's write buffers.
    pub memtable_bytes: u64,
    /// Bytes in RocksDB's files.
    pub sst_bytes: u64,
    /// Rows in all stores, estimated.
    pub estimated_keys: u64,
}

impl std::ops::AddAssign for EngineSizes {
    fn add_assign(&mut self, other: Self) {
        self.memtable_bytes += other.memtable_bytes;
        self.sst_bytes += other.sst_bytes;
        self.estimated_keys += other.estimated_keys;
    }
}
