//! How RocksDB is configured, and why.
//!
//! The write-back cache above absorbs hot keys, so that RocksDB sees one file of sorted rows per checkpoint, and point reads
//! of cold keys in between. Hence *level* compaction, where Kafka Streams has *universal*: a read touches one file per level
//! and the space used stays close to the data, without the twofold disk space that universal needs while it compacts;
//! its higher write amplification applies only to what the cache lets through.

use std::ffi::CStr;
use std::path::Path;
use std::sync::Arc;

use rocksdb::compaction_filter::{CompactionFilter, Decision};
use rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompactionStyle,
    DBCompressionType, Error, FlushOptions, InfoLogger, LogLevel, Options, ReadOptions,
};

use crate::expiry::Expiry;
use crate::key_range::KeyRange;
use crate::memory::StateMemory;

/// Rows do not pass through write buffers; offsets and metadata are few. But RocksDB keeps the indexes and filters of young files
/// in the cache if they are not much larger than a write buffer.
const WRITE_BUFFER_BYTES: usize = 16 << 20;
const BLOOM_BITS_PER_KEY: f64 = 10.0;
const MAX_BACKGROUND_JOBS: i32 = 2;
const MAX_OPEN_FILES: i32 = 512;
/// Set aside on the disk for the list of files, which is small; by itself it would be 4 MiB, of each task.
const MANIFEST_BYTES: usize = 64 << 10;
/// The table of open files is asked by few threads at a time; by itself it is split in 64.
const TABLE_CACHE_SHARD_BITS: i32 = 2;

/// Opens the database with these column families, creating what is missing.
pub(super) fn open(path: &Path, families: impl Iterator<Item = ColumnFamilyDescriptor>) -> Result<DB, Error> {
    DB::open_cf_descriptors(&database_options(path), path, families)
}

/// Writes the memory of these column families to disk, all or nothing.
pub(super) fn flush(database: &DB, families: &[&ColumnFamily]) -> Result<(), Error> {
    let mut options = FlushOptions::default();
    options.set_wait(true);
    database.flush_cfs_opt(families, &options)
}

/// A scan that stays inside the range.
pub(super) fn scan(range: &KeyRange) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(range.start());
    if let Some(end) = range.end() {
        options.set_iterate_upper_bound(end);
    }
    options
}

fn database_options(path: &Path) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_atomic_flush(true);
    options.set_max_background_jobs(MAX_BACKGROUND_JOBS);
    options.set_max_open_files(MAX_OPEN_FILES);
    options.set_manifest_preallocation_size(MANIFEST_BYTES);
    options.set_table_cache_num_shard_bits(TABLE_CACHE_SHARD_BITS);
    options.set_info_logger(logger(path));
    options
}

/// What RocksDB reports goes where everything else does. By itself each database would keep a file open for it, and write its options down
/// there at each start.
fn logger(path: &Path) -> InfoLogger {
    let path = path.to_owned();
    InfoLogger::new_callback_logger(LogLevel::Error, move |level, message| {
        if matches!(level, LogLevel::Error | LogLevel::Fatal) {
            tracing::error!(path = %path.display(), "RocksDB: {}", message.trim_end());
        }
    })
}

/// How the rows of a store are kept, and which of them compactions drop.
pub(super) fn of_store(memory: &StateMemory, expiry: Option<Arc<Expiry>>) -> Options {
    let mut options = of_stores(memory);
    if let Some(expiry) = expiry {
        options.set_periodic_compaction_seconds(seconds_between_compactions(&expiry));
        options.set_compaction_filter_factory(DropExpired { expiry });
    }
    options
}

/// Files are compacted at least so often: keys that only grow give old files no other occasion.
fn seconds_between_compactions(expiry: &Expiry) -> u64 {
    const HOUR: u64 = 60 * 60;
    (expiry.retention().unsigned_abs() / 1000).clamp(HOUR, 30 * 24 * HOUR)
}

/// Drops rows that are too old.
struct DropExpired {
    expiry: Arc<Expiry>,
}

const FILTER_NAME: &CStr = c"millstream-expiry";

impl CompactionFilterFactory for DropExpired {
    type Filter = Self;

    fn create(&mut self, _context: CompactionFilterContext) -> Self {
        DropExpired { expiry: Arc::clone(&self.expiry) }
    }

    fn name(&self) -> &CStr {
        FILTER_NAME
    }
}

impl CompactionFilter for DropExpired {
    fn filter(&mut self, _level: u32, key: &[u8], _row: &[u8]) -> Decision {
        if self.expiry.has_expired(key) { Decision::Remove } else { Decision::Keep }
    }

    fn name(&self) -> &CStr {
        FILTER_NAME
    }
}

fn of_stores(memory: &StateMemory) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(memory.block_cache());
    blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    // Indexes and filters count against the budget too, in pieces: one that is evicted is read back with a page, not with the
    // filter of a whole file.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);

    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_compaction_style(DBCompactionStyle::Level);
    options.set_level_compaction_dynamic_level_bytes(true);
    let (none, lz4) = (DBCompressionType::None, DBCompressionType::Lz4);
    options.set_compression_per_level(&[none, none, lz4, lz4, lz4, lz4, lz4]);
    options
}

/// How a file is written that becomes part of a store: as above, but most live too briefly to be worth compressing. Compactions
/// compress what lasts.
pub(super) fn of_files(memory: &StateMemory) -> Options {
    let mut options = of_stores(memory);
    options.set_compression_per_level(&[DBCompressionType::None]);
    options
}
