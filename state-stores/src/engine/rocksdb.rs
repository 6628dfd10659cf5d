//! Rows on disk: one RocksDB per task, one column family per store, metadata and changelog offsets in the default one.
//!
//! Rows come in as finished files; write buffers hold offsets and metadata alone, and are flushed after the rows. There is no
//! write-ahead log: the changelog is the log. All column families are flushed together (`atomic_flush`), so that a store
//! that was cleared does not come back without its offset.

mod ingest;
mod options;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBRawIterator, ErrorKind, Options, WriteBatch, properties,
};

use super::{EncodedEntry, Engine, EngineScan, EngineSizes};
use crate::directory::{StateOwner, TaskDirectory};
use crate::error::{EngineFailure, StoreError};
use crate::expiry::Expiry;
use crate::format::metadata;
use crate::key_range::{Direction, KeyRange};
use crate::memory::StateMemory;
use crate::overlay::Overlay;
use crate::types::{LogPartition, Offset, StoreIndex, TaskId, TopicId};

/// A store of the task as the engine sees it.
pub(crate) struct RocksDbStore {
    /// Its name.
    pub(crate) name: String,
    /// Whether its rows are to be kept here; otherwise rows kept here earlier are dropped.
    pub(crate) is_persistent: bool,
    /// For people who look into the database.
    pub(crate) description: String,
    /// Which rows are to be dropped, if rows can be too old.
    pub(crate) expiry: Option<Arc<Expiry>>,
}

/// The database of one task, open. The directory stays locked until the last reader is done with it.
pub(crate) struct RocksDbEngine {
    database: DB,
    /// Per store, in the order of the task: its name and column family, if its rows are kept here.
    stores: Vec<Option<StoreColumn>>,
    /// For files that are written beside the database.
    file_options: Options,
    path: PathBuf,
    /// Dropped after the database: the lock outlives the files' use.
    directory: TaskDirectory,
}

struct StoreColumn {
    name: String,
    column_family: String,
    expiry: Option<Arc<Expiry>>,
}

impl RocksDbEngine {
    /// Opens or creates the database in `directory` for the stores of a task, and checks that it is this task's.
    pub(crate) fn open(
        task: TaskId,
        application_id: &str,
        directory: TaskDirectory,
        memory: &StateMemory,
        stores: &[RocksDbStore],
    ) -> Result<Self, StoreError> {
        let path = directory.rocksdb_path();
        let found = existing_column_families(&path)?;
        let found_stores = || found.iter().filter_map(|family| metadata::store_of_column_family(family));

        let is_known = |name: &str| stores.iter().any(|store| store.name == name);
        // What a store kept besides its rows goes if it is kept in another way now.
        let is_of_known =
            |found: &str| is_known(found) || metadata::store_of_companion(found).is_some_and(is_known);
        let unknown: Vec<String> =
            found_stores().filter(|found| !is_of_known(found)).map(str::to_owned).collect();
        if !unknown.is_empty() {
            return Err(StoreError::IncompatibleTopology { task, path, unknown });
        }

        let kept: Vec<&RocksDbStore> = stores.iter().filter(|store| store.is_persistent).collect();
        let mut column_families: Vec<String> =
            kept.iter().map(|store| metadata::column_family(&store.name)).collect();
        let dropped: Vec<&str> =
            found_stores().filter(|found| kept.iter().all(|store| store.name != *found)).collect();
        column_families.extend(dropped.iter().map(|store| metadata::column_family(store)));
        column_families.push(rocksdb::DEFAULT_COLUMN_FAMILY_NAME.to_owned());

        let expiry_of = |family: &str| {
            let name = metadata::store_of_column_family(family)?;
            kept.iter().find(|store| store.name == name)?.expiry.clone()
        };
        let families = column_families.into_iter().map(|family| {
            let options = options::of_store(memory, expiry_of(&family));
            ColumnFamilyDescriptor::new(family, options)
        });
        let mut database = options::open(&path, families).map_err(|e| failure(&path, e))?;
        let owner = directory.owner();
        check_identity(&database, &path, application_id, owner)?;
        let mut batch = WriteBatch::default();
        for store in &dropped {
            tracing::info!(%task, store, "the store is not kept on disk any more; its rows there are removed");
            database.drop_cf(&metadata::column_family(store)).map_err(|e| failure(&path, e))?;
            batch.delete(metadata::description_key(store));
            batch.delete(metadata::offset_key(store, None));
            let [from, to] = metadata::partition_offset_keys(store);
            batch.delete_range(from, to);
            batch.delete(metadata::changelog_key(store));
        }
        warn_of_changed_types(&database, &path, task, &kept)?;
        write_identity(&mut batch, application_id, owner, &kept);
        database.write_without_wal(batch).map_err(|e| failure(&path, e))?;

        let stores = stores
            .iter()
            .map(|store| {
                store.is_persistent.then(|| StoreColumn {
                    name: store.name.clone(),
                    column_family: metadata::column_family(&store.name),
                    expiry: store.expiry.clone(),
                })
            })
            .collect();
        Ok(Self { database, stores, file_options: options::of_files(memory), path, directory })
    }

    fn column(&self, store: StoreIndex) -> (&StoreColumn, &ColumnFamily) {
        let column =
            self.stores[store.get()].as_ref().expect("the task asks its database for the stores kept in it");
        let family = self.database.cf_handle(&column.column_family).expect("opened with every column family");
        (column, family)
    }

    fn offset_key(&self, log: LogPartition) -> Vec<u8> {
        let (column, _) = self.column(log.store());
        let partition = match log {
            LogPartition::Changelog(_) => None,
            LogPartition::Source(_, partition) => Some(partition),
        };
        metadata::offset_key(&column.name, partition)
    }

    fn default_family(&self) -> &ColumnFamily {
        self.database.cf_handle(rocksdb::DEFAULT_COLUMN_FAMILY_NAME).expect("every RocksDB has it")
    }

    /// The column families of all stores kept here, and the default one.
    fn families(&self) -> Vec<&ColumnFamily> {
        let stores = self.stores.iter().flatten().map(|column| {
            self.database.cf_handle(&column.column_family).expect("opened with every column family")
        });
        stores.chain([self.default_family()]).collect()
    }

    /// Returns once the batch, and what was written before it, is on the disk.
    fn write_to_disk(&self, batch: WriteBatch) -> Result<(), StoreError> {
        self.database.write_without_wal(batch).map_err(|e| self.failure(e))?;
        options::flush(&self.database, &self.families()).map_err(|e| self.failure(e))
    }

    /// A row of the default family, if it is there.
    fn metadata<T>(&self, key: &[u8], decode: fn(&[u8]) -> Option<T>) -> Result<Option<T>, StoreError> {
        let Some(row) = self.database.get_pinned(key).map_err(|e| self.failure(e))? else {
            return Ok(None);
        };
        let corrupt = || StoreError::Corrupt {
            path: self.path.clone(),
            source: EngineFailure::new(format!(
                "the row `{}` of {} bytes cannot be read",
                String::from_utf8_lossy(key),
                row.len()
            )),
        };
        decode(&row).ok_or_else(corrupt).map(Some)
    }

    fn failure(&self, error: rocksdb::Error) -> StoreError {
        failure(&self.path, error)
    }
}

impl Engine for RocksDbEngine {
    fn get(&self, store: StoreIndex, key: &[u8], row: &mut Vec<u8>) -> Result<bool, StoreError> {
        row.clear();
        let (_, family) = self.column(store);
        let found = self.database.get_pinned_cf(family, key).map_err(|e| self.failure(e))?;
        Ok(found.map(|found| row.extend_from_slice(&found)).is_some())
    }

    fn scan(
        self: Arc<Self>,
        store: StoreIndex,
        range: KeyRange,
        direction: Direction,
    ) -> Result<EngineScan, StoreError> {
        if range.is_empty() {
            return Ok(Box::new(std::iter::empty()));
        }
        let mut cursor = Cursor::new(self, |engine| {
            let (_, family) = engine.column(store);
            engine.database.raw_iterator_cf_opt(family, options::scan(&range))
        });
        cursor.with_dependent_mut(|_, rows| match direction {
            Direction::Forward => rows.seek_to_first(),
            Direction::Reverse => rows.seek_to_last(),
        });
        Ok(Box::new(RocksDbScan { cursor: Some(cursor), direction }))
    }

    fn write(&self, store: StoreIndex, rows: &Overlay) -> Result<(), StoreError> {
        self.ingest(store, rows)
    }

    fn set_offsets(&self, offsets: &[(LogPartition, Offset)]) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for (log, next) in offsets {
            batch.put(self.offset_key(*log), metadata::encode_offset(*next));
        }
        self.write_to_disk(batch)
    }

    fn set_changelog(&self, store: StoreIndex, topic: TopicId) -> Result<(), StoreError> {
        let (column, _) = self.column(store);
        let mut batch = WriteBatch::default();
        batch.put(metadata::changelog_key(&column.name), topic.to_bytes());
        self.write_to_disk(batch)
    }

    fn changelog(&self, store: StoreIndex) -> Result<Option<TopicId>, StoreError> {
        let (column, _) = self.column(store);
        self.metadata(&metadata::changelog_key(&column.name), metadata::decode_changelog)
    }

    fn clear(&self, store: StoreIndex) -> Result<(), StoreError> {
        let (column, family) = self.column(store);
        let mut batch = WriteBatch::default();
        let mut rows = self.database.raw_iterator_cf(family);
        rows.seek_to_last();
        if let Some(last) = rows.key() {
            batch.delete_range_cf(family, [].as_slice(), last);
            batch.delete_cf(family, last);
        }
        rows.status().map_err(|e| self.failure(e))?;
        batch.delete(metadata::offset_key(&column.name, None));
        let [from, to] = metadata::partition_offset_keys(&column.name);
        batch.delete_range(from, to);
        batch.delete(metadata::changelog_key(&column.name));
        self.database.write_without_wal(batch).map_err(|e| self.failure(e))
    }

    fn offset(&self, log: LogPartition) -> Result<Option<Offset>, StoreError> {
        self.metadata(&self.offset_key(log), metadata::decode_offset)
    }

    fn approximate_num_entries(&self, store: StoreIndex) -> Result<u64, StoreError> {
        let (_, family) = self.column(store);
        let estimate = self.database.property_int_value_cf(family, properties::ESTIMATE_NUM_KEYS);
        Ok(estimate.map_err(|e| self.failure(e))?.unwrap_or_default())
    }

    fn sizes(&self) -> Result<EngineSizes, StoreError> {
        let mut sizes = EngineSizes::default();
        for family in self.families() {
            let property = |name| {
                let value = self.database.property_int_value_cf(family, name);
                value.map(Option::unwrap_or_default).map_err(|e| self.failure(e))
            };
            sizes += EngineSizes {
                memtable_bytes: property(properties::SIZE_ALL_MEM_TABLES)?,
                sst_bytes: property(properties::TOTAL_SST_FILES_SIZE)?,
                estimated_keys: property(properties::ESTIMATE_NUM_KEYS)?,
            };
        }
        Ok(sizes)
    }
}

self_cell::self_cell!(
    /// An iterator together with the engine it reads, so that it can outlive the call that made it.
    struct Cursor {
        owner: Arc<RocksDbEngine>,
        #[not_covariant]
        dependent: DBRawIterator,
    }
);

/// Hands out the rows under the cursor; gives the cursor up at the end.
struct RocksDbScan {
    cursor: Option<Cursor>,
    direction: Direction,
}

impl Iterator for RocksDbScan {
    type Item = Result<EncodedEntry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let direction = self.direction;
        let entry = self.cursor.as_mut()?.with_dependent_mut(|engine, rows| match rows.item() {
            Some((key, row)) => {
                let entry = (key.to_vec(), row.to_vec());
                match direction {
                    Direction::Forward => rows.next(),
                    Direction::Reverse => rows.prev(),
                }
                Some(Ok(entry))
            }
            None => rows.status().err().map(|error| Err(engine.failure(error))),
        });
        if !entry.as_ref().is_some_and(Result::is_ok) {
            self.cursor = None;
        }
        entry
    }
}

/// The column families of the database at `path`; none if there is no database.
fn existing_column_families(path: &Path) -> Result<Vec<String>, StoreError> {
    // RocksDB creates this file last; without it there is nothing to open.
    if !path.join("CURRENT").exists() {
        return Ok(Vec::new());
    }
    DB::list_cf(&rocksdb::Options::default(), path).map_err(|e| failure(path, e))
}

fn check_identity(
    database: &DB,
    path: &Path,
    application_id: &str,
    owner: StateOwner,
) -> Result<(), StoreError> {
    let read = |key: &[u8]| database.get(key).map_err(|e| failure(path, e));
    let Some(format) = read(metadata::FORMAT_KEY)? else {
        // Nothing was ever flushed: atomic flush writes this row together with the first others.
        return Ok(());
    };
    if format != metadata::FORMAT_VERSION.to_be_bytes() {
        let found = format.as_slice().try_into().map(u32::from_be_bytes).ok();
        return Err(StoreError::UnsupportedFormat {
            path: path.to_owned(),
            found: found.map_or_else(|| format!("{format:?}"), |version| version.to_string()),
            expected: metadata::FORMAT_VERSION,
        });
    }
    let text = |key| read(key).map(|row| String::from_utf8_lossy(&row.unwrap_or_default()).into_owned());
    let identity =
        |application_id: &str, task: &str| format!("task {task} of application `{application_id}`");
    let found = identity(&text(metadata::APPLICATION_KEY)?, &text(metadata::TASK_KEY)?);
    let expected = identity(application_id, &owner.identity());
    if found != expected {
        return Err(StoreError::OtherApplication { path: path.to_owned(), found, expected });
    }
    Ok(())
}

/// Other types may well read the same bytes (a type was renamed), so this is no error; but if they do not, this says why.
fn warn_of_changed_types(
    database: &DB,
    path: &Path,
    task: TaskId,
    stores: &[&RocksDbStore],
) -> Result<(), StoreError> {
    for store in stores {
        let row = database.get(metadata::description_key(&store.name)).map_err(|e| failure(path, e))?;
        let Some(found) = row.filter(|row| row != store.description.as_bytes()) else { continue };
        let (store, found, now) = (&store.name, String::from_utf8_lossy(&found), &store.description);
        tracing::warn!(
            %task, store, %found, now,
            "the types of the store changed; if its rows cannot be read, remove the state directory to rebuild it"
        );
    }
    Ok(())
}

fn write_identity(batch: &mut WriteBatch, application_id: &str, owner: StateOwner, stores: &[&RocksDbStore]) {
    batch.put(metadata::FORMAT_KEY, metadata::FORMAT_VERSION.to_be_bytes());
    batch.put(metadata::APPLICATION_KEY, application_id);
    batch.put(metadata::TASK_KEY, owner.identity());
    for store in stores {
        batch.put(metadata::description_key(&store.name), &store.description);
    }
}

fn failure(path: &Path, error: rocksdb::Error) -> StoreError {
    let path = path.to_owned();
    let is_corrupt = error.kind() == ErrorKind::Corruption;
    let source = EngineFailure::new(error.into_string());
    if is_corrupt { StoreError::Corrupt { path, source } } else { StoreError::Engine { path, source } }
}
