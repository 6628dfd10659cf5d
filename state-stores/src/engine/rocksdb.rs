//! Rows on disk: one RocksDB per task, one column family per store, metadata and changelog positions in the default one.
//!
//! Rows come in as finished files, those of a store and of its companion in one: RocksDB takes a file, or does not. Write buffers hold
//! positions and metadata alone, and are flushed after the rows. There is no write-ahead log: the changelog is the log. All column families are
//! flushed together (`atomic_flush`), so that a store that was cleared does not come back without its position.

mod ingest;
mod options;

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBRawIterator, ErrorKind, Options, WriteBatch, properties,
};

use super::{EncodedEntry, Engine, EngineScan, EngineSizes};
use crate::directory::{StateOwner, TaskDirectory};
use crate::error::{EngineFailure, StoreError};
use crate::expiry::Expiry;
use crate::format::{companion, metadata};
use crate::key_range::{Direction, KeyRange};
use crate::memory::StateMemory;
use crate::overlay::Overlay;
use crate::types::{LogPartition, LogPosition, StoreIndex, TaskId, TopicId};

/// A store of the task as the engine sees it.
pub(crate) struct RocksDbStore {
    /// Its name.
    pub(crate) name: String,
    /// How it is kept together with its companion, if it has one.
    pub(crate) companion: Option<String>,
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
    /// Per table, those of the stores in the order of the task, then those of their companions: where its rows are, if they are kept here.
    tables: Vec<Option<TableColumn>>,
    /// For files that are written beside the database.
    file_options: Options,
    path: PathBuf,
    /// Dropped after the database: the lock outlives the files' use.
    directory: TaskDirectory,
}

impl RocksDbStore {
    /// What its column family is called, and what the metadata knows it by.
    fn column(&self) -> String {
        metadata::column(&self.name, self.companion.as_deref())
    }
}

/// Where the rows of a table are.
struct TableColumn {
    name: String,
    column_family: String,
    /// What their keys begin with, where a store shares its column family with its companion.
    prefix: Option<u8>,
    expiry: Option<Arc<Expiry>>,
}

impl TableColumn {
    fn of_store(store: &RocksDbStore) -> Self {
        let name = store.column();
        TableColumn {
            column_family: metadata::column_family(&name),
            name,
            prefix: store.companion.as_ref().map(|_| companion::STORE_PREFIX),
            expiry: store.expiry.clone(),
        }
    }

    fn of_companion(store: &RocksDbStore) -> Self {
        TableColumn { prefix: Some(companion::COMPANION_PREFIX), expiry: None, ..Self::of_store(store) }
    }

    /// A key as it is in the column family; `buffer` is used if it is another one.
    fn key<'key>(&self, key: &'key [u8], buffer: &'key mut Vec<u8>) -> &'key [u8] {
        let Some(prefix) = self.prefix else { return key };
        buffer.clear();
        buffer.push(prefix);
        buffer.extend_from_slice(key);
        buffer
    }

    /// A range of keys as it is in the column family.
    fn range(&self, range: KeyRange) -> KeyRange {
        match self.prefix {
            None => range,
            Some(prefix) => range.under(prefix),
        }
    }
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
        let found_columns = || found.iter().filter_map(|family| metadata::column_of_family(family));

        let is_known =
            |found: &str| stores.iter().any(|store| store.name == metadata::store_of_column(found));
        let unknown = found_columns().filter(|found| !is_known(found)).map(metadata::store_of_column);
        let unknown: Vec<String> = unknown.map(str::to_owned).collect();
        if !unknown.is_empty() {
            return Err(StoreError::IncompatibleTopology { task, path, unknown });
        }

        let kept: Vec<&RocksDbStore> = stores.iter().filter(|store| store.is_persistent).collect();
        let mut column_families: Vec<String> =
            kept.iter().map(|store| metadata::column_family(&store.column())).collect();
        let dropped: Vec<&str> =
            found_columns().filter(|found| kept.iter().all(|store| store.column() != *found)).collect();
        column_families.extend(dropped.iter().map(|store| metadata::column_family(store)));
        column_families.push(rocksdb::DEFAULT_COLUMN_FAMILY_NAME.to_owned());

        let expiry_of = |family: &str| {
            let name = metadata::column_of_family(family)?;
            kept.iter().find(|store| store.column() == name)?.expiry.clone()
        };
        let families = column_families.into_iter().map(|family| {
            let options = options::of_store(memory, expiry_of(&family));
            ColumnFamilyDescriptor::new(family, options)
        });
        let mut database = options::open(&path, families).map_err(|e| failure(&path, e))?;
        let owner = directory.owner();
        check_identity(&database, &path, application_id, owner)?;
        let mut batch = WriteBatch::default();
        for column in &dropped {
            let store = metadata::store_of_column(column);
            if kept.iter().any(|kept| kept.name == store) {
                tracing::info!(%task, store, "the store is kept in another way now and is rebuilt");
            } else {
                tracing::info!(%task, store, "the store is not kept on disk any more; its rows there are removed");
            }
            batch.delete(metadata::description_key(column));
            batch.delete(metadata::changelog_key(column));
            delete_positions(&mut batch, column);
        }
        warn_of_changed_types(&database, &path, task, &kept)?;
        write_identity(&mut batch, application_id, owner, &kept);
        database.write_without_wal(batch).map_err(|e| failure(&path, e))?;
        if !dropped.is_empty() {
            // A position must not outlive its rows.
            options::flush(&database, &[default_family(&database)]).map_err(|e| failure(&path, e))?;
        }
        for column in &dropped {
            database.drop_cf(&metadata::column_family(column)).map_err(|e| failure(&path, e))?;
        }

        let of_stores = stores.iter().map(|store| store.is_persistent.then(|| TableColumn::of_store(store)));
        let with_companions = stores.iter().filter(|store| store.companion.is_some());
        let of_companions =
            with_companions.map(|store| store.is_persistent.then(|| TableColumn::of_companion(store)));
        let tables = of_stores.chain(of_companions).collect();
        Ok(Self { database, tables, file_options: options::of_files(memory), path, directory })
    }

    fn column(&self, table: StoreIndex) -> (&TableColumn, &ColumnFamily) {
        let column =
            self.tables[table.get()].as_ref().expect("the task asks its database for the stores kept in it");
        let family = self.database.cf_handle(&column.column_family).expect("opened with every column family");
        (column, family)
    }

    fn position_key(&self, log: LogPartition) -> Vec<u8> {
        let (column, _) = self.column(log.store());
        let partition = match log {
            LogPartition::Changelog(_) => None,
            LogPartition::Source(_, partition) => Some(partition),
        };
        metadata::position_key(&column.name, partition)
    }

    /// The column families of all stores kept here, and the default one.
    fn families(&self) -> Vec<&ColumnFamily> {
        // A companion's is that of its store.
        let is_counted = |column: &&TableColumn| column.prefix != Some(companion::COMPANION_PREFIX);
        let stores = self.tables.iter().flatten().filter(is_counted).map(|column| {
            self.database.cf_handle(&column.column_family).expect("opened with every column family")
        });
        stores.chain([default_family(&self.database)]).collect()
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
        let (column, family) = self.column(store);
        let mut buffer = Vec::new();
        let key = column.key(key, &mut buffer);
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
        let prefix_length = usize::from(self.column(store).0.prefix.is_some());
        let mut cursor = Cursor::new(self, |engine| {
            let (column, family) = engine.column(store);
            engine.database.raw_iterator_cf_opt(family, options::scan(&column.range(range)))
        });
        cursor.with_dependent_mut(|_, rows| match direction {
            Direction::Forward => rows.seek_to_first(),
            Direction::Reverse => rows.seek_to_last(),
        });
        Ok(Box::new(RocksDbScan { cursor: Some(cursor), direction, prefix_length }))
    }

    fn write(&self, tables: &[(StoreIndex, &Overlay)]) -> Result<(), StoreError> {
        self.ingest(tables)
    }

    fn set_positions(&self, positions: &[(LogPartition, LogPosition)]) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for (log, position) in positions {
            batch.put(self.position_key(*log), metadata::encode_position(*position));
        }
        self.write_to_disk(batch)
    }

    fn set_changelog(&self, store: StoreIndex, topic: TopicId) -> Result<(), StoreError> {
        let (column, _) = self.column(store);
        let mut batch = WriteBatch::default();
        batch.put(metadata::changelog_key(&column.name), topic.to_bytes());
        // Flushed with the next position, from the same write buffer: with a flush of its own for each new store a first start takes long.
        self.database.write_without_wal(batch).map_err(|e| self.failure(e))
    }

    fn changelog(&self, store: StoreIndex) -> Result<Option<TopicId>, StoreError> {
        let (column, _) = self.column(store);
        self.metadata(&metadata::changelog_key(&column.name), metadata::decode_changelog)
    }

    fn clear(&self, tables: &[StoreIndex]) -> Result<(), StoreError> {
        // They share one column family.
        let Some(table) = tables.first() else { return Ok(()) };
        let (column, family) = self.column(*table);
        let mut batch = WriteBatch::default();
        let mut rows = self.database.raw_iterator_cf(family);
        rows.seek_to_last();
        if let Some(last) = rows.key() {
            batch.delete_range_cf(family, [].as_slice(), last);
            batch.delete_cf(family, last);
        }
        rows.status().map_err(|e| self.failure(e))?;
        if batch.is_empty() && !self.has_position(*table)? {
            return Ok(());
        }
        delete_positions(&mut batch, &column.name);
        self.write_to_disk(batch)
    }

    fn position(&self, log: LogPartition) -> Result<Option<LogPosition>, StoreError> {
        self.metadata(&self.position_key(log), metadata::decode_position)
    }

    fn has_position(&self, store: StoreIndex) -> Result<bool, StoreError> {
        if self.position(store.into())?.is_some() {
            return Ok(true);
        }
        let (column, _) = self.column(store);
        let [from, to] = metadata::partition_position_keys(&column.name);
        let range = KeyRange::new(Bound::Included(from), Bound::Excluded(to));
        let mut positions = self.database.raw_iterator_opt(options::scan(&range));
        positions.seek_to_first();
        positions.status().map_err(|e| self.failure(e))?;
        Ok(positions.valid())
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
    /// How many bytes come before the keys.
    prefix_length: usize,
}

impl Iterator for RocksDbScan {
    type Item = Result<EncodedEntry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Self { direction, prefix_length, .. } = *self;
        let entry = self.cursor.as_mut()?.with_dependent_mut(|engine, rows| match rows.item() {
            Some((key, row)) => {
                let entry = (key[prefix_length..].to_vec(), row.to_vec());
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

fn default_family(database: &DB) -> &ColumnFamily {
    database.cf_handle(rocksdb::DEFAULT_COLUMN_FAMILY_NAME).expect("every RocksDB has it")
}

fn delete_positions(batch: &mut WriteBatch, column: &str) {
    batch.delete(metadata::position_key(column, None));
    let [from, to] = metadata::partition_position_keys(column);
    batch.delete_range(from, to);
}

/// The column families of the database at `path`; none if there is no database.
fn existing_column_families(path: &Path) -> Result<Vec<String>, StoreError> {
    // RocksDB creates this file last, and never removes it: without it there is nothing to open, or what there was has lost its root.
    let current = path.join("CURRENT");
    let look_failed = |source| StoreError::Directory { action: "look at", path: current.clone(), source };
    if !current.try_exists().map_err(look_failed)? {
        return match has_rows(path)? {
            false => Ok(Vec::new()),
            true => Err(StoreError::Corrupt {
                path: path.to_owned(),
                source: EngineFailure::new("the file CURRENT is missing, and there are rows".to_owned()),
            }),
        };
    }
    DB::list_cf(&rocksdb::Options::default(), path).map_err(|e| failure(path, e))
}

/// Whether there are files with rows, whoever they belong to.
fn has_rows(path: &Path) -> Result<bool, StoreError> {
    let list_failed = |source| StoreError::Directory { action: "list", path: path.to_owned(), source };
    let mut files = match fs::read_dir(path) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(list_failed(error)),
    };
    files.try_fold(false, |has_rows, file| {
        let path = file.map_err(list_failed)?.path();
        Ok(has_rows || path.extension().is_some_and(|extension| extension == "sst"))
    })
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
        let row = database.get(metadata::description_key(&store.column())).map_err(|e| failure(path, e))?;
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
        batch.put(metadata::description_key(&store.column()), &store.description);
    }
}

fn failure(path: &Path, error: rocksdb::Error) -> StoreError {
    let path = path.to_owned();
    let is_corrupt = error.kind() == ErrorKind::Corruption;
    let source = EngineFailure::new(error.into_string());
    if is_corrupt { StoreError::Corrupt { path, source } } else { StoreError::Engine { path, source } }
}
