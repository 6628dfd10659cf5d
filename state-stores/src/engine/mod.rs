//! Where checkpointed rows rest: RocksDB on disk, memory, or a disk that is simulated.
//!
//! An engine holds encoded rows and the changelog offsets they reflect, and knows nothing of commits, caches or types.
//! One engine serves all stores of a task. Rows come sorted, and in bulk: from a checkpoint or from a restore.

mod memory;
mod rocksdb;
mod simulated;

use std::sync::Arc;

use crate::error::StoreError;
use crate::key_range::{Direction, KeyRange};
use crate::overlay::Overlay;
use crate::types::{LogPartition, Offset, StoreIndex, TopicId};

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

    /// Puts rows over those of a store, and to the disk.
    fn write(&self, store: StoreIndex, rows: &Overlay) -> Result<(), StoreError>;

    /// Sets the offsets of logs that rows written before reflect, and brings them to the disk. A crash in between leaves rows
    /// with older offsets: what is restored from there ends at the same rows.
    fn set_offsets(&self, offsets: &[(LogPartition, Offset)]) -> Result<(), StoreError>;

    /// Sets the topic that a store's rows and offsets come from, and brings it to the disk.
    fn set_changelog(&self, store: StoreIndex, topic: TopicId) -> Result<(), StoreError>;

    /// The topic that a store's rows and offsets come from; `None` if it was never set.
    fn changelog(&self, store: StoreIndex) -> Result<Option<TopicId>, StoreError>;

    /// Removes all rows of a store, the offsets they reflect, and the topic they come from.
    fn clear(&self, store: StoreIndex) -> Result<(), StoreError>;

    /// The offset that was last written for this partition of a store's log.
    fn offset(&self, log: LogPartition) -> Result<Option<Offset>, StoreError>;

    /// How many rows a store has, roughly.
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
