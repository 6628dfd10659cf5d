//! The stores of a task that nobody processes: open, without tables, and free to go from one thread to another.
//!
//! ```text
//! open ─> restore ... restore ─> flush ──────────┬─> wake: the stores of a running task
//!            ^ ──────────┴───────┴─> make_ready ───┤
//!            └─────────────────────────────────────┴─> close
//! ```
//! What is restored is gathered in memory; a flush brings it to the disk, and then the changelog offset it reflects. So
//! a restore that ends early, and a standby copy that is followed for years, both leave rows that the changelog completes from
//! the offset beside them. Few rows need not go to the disk before the stores wake: they are committed rows then that wait for the next
//! checkpoint, so that nobody waits for the disk who waits for the task.

use std::sync::Arc;

use crate::directory::TaskDirectory;
use crate::engine::{Engine, EngineSizes, MemoryEngine, RocksDbEngine, RocksDbStore, SimulatedEngine};
use crate::error::StoreError;
use crate::expiry::Expiry;
use crate::format::{MARK_KEY, metadata, row};
use crate::memory::StateMemory;
use crate::overlay::Overlay;
use crate::restoring::{RestoredTable, Restoring, ShortKey};
use crate::store::{Companion, StoreBuilder};
use crate::task_stores::{TaskStores, TaskStoresOptions};
use crate::types::{LogPartition, LogPosition, Offset, PartitionId, StoreIndex, TaskId, Timestamp, TopicId};

/// One record of a changelog topic, on its way back into its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreRow<'a> {
    /// The encoded key.
    pub key: &'a [u8],
    /// The encoded value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The timestamp of the Kafka record.
    pub timestamp: Timestamp,
}

/// The stores of a task before it runs, or while another instance runs it. They have one owner, who may be any thread.
///
/// ```
/// use millstream_state_stores::*;
/// use std::sync::Arc;
///
/// let stock = KeyValueStoreBuilder::new("stock", String::serde(), i64::serde());
/// let mut stores = DormantStores::open(
///     TaskId { subtopology: 0, partition: 0 }, "shop", None, StateMemory::new(16 << 20), &[Arc::new(stock)],
/// )?;
/// let store = stores.index_of("stock").expect("it was just opened");
/// let row = RestoreRow { key: b"apples", value: Some(&[0, 0, 0, 0, 0, 0, 0, 3]), timestamp: Timestamp::from_millis(7) };
/// stores.restore(store, [row].into_iter(), Offset::new(1))?;
/// assert_eq!(stores.restored_to(store), Some(Offset::new(1)));
/// assert_eq!(stores.stored_offset(store), None, "it is in memory so far");
///
/// stores.make_ready(store)?;
/// let awake = stores.wake(TaskStoresOptions::default());
/// let stock = awake.key_value::<String, i64>("stock")?;
/// assert_eq!(stock.get(&"apples".to_string())?, Some(ValueAndTimestamp::new(3, Timestamp::from_millis(7))));
/// # Ok::<(), StoreError>(())
/// ```
pub struct DormantStores {
    pub(crate) task: TaskId,
    pub(crate) builders: Vec<Arc<dyn StoreBuilder>>,
    /// In the order of the builders.
    pub(crate) stores: Vec<DormantStore>,
    /// On disk first: if a checkpoint fails there, nothing else has changed.
    pub(crate) engines: Vec<Arc<dyn Engine>>,
    pub(crate) memory: Arc<StateMemory>,
    /// Held here if no store needs the disk; else the engine holds it.
    pub(crate) directory: Option<TaskDirectory>,
}

pub(crate) struct DormantStore {
    /// Which of the engines has its rows.
    pub(crate) engine: usize,
    /// The changelog position in the engine.
    pub(crate) stored: Option<LogPosition>,
    /// How recent the rows are by now; see [`LogPosition::as_of`].
    pub(crate) as_of: Option<Timestamp>,
    /// What was restored since the last flush.
    pub(crate) restoring: Option<Restoring>,
    /// Of a store whose keys carry time: which rows are too old.
    pub(crate) expiry: Option<Arc<Expiry>>,
    pub(crate) companion: Option<DormantCompanion>,
}

/// The companion of a store: a table behind those of all stores. Its offset is that of its store.
pub(crate) struct DormantCompanion {
    pub(crate) table: StoreIndex,
    pub(crate) name: String,
    pub(crate) companion: Companion,
    pub(crate) restoring: Option<Restoring>,
}

impl DormantStore {
    /// The changelog offset after the newest of its rows, on the disk or not.
    pub(crate) fn restored_to(&self) -> Option<Offset> {
        self.restoring.as_ref().map(Restoring::next).or(self.stored.map(|stored| stored.next))
    }
}

impl DormantStores {
    /// Opens the stores of a task. Without a directory, all of them are in memory, for tests.
    ///
    /// # Errors
    /// When the directory belongs to others, holds other stores or is corrupt; each error says what to do.
    pub fn open(
        task: TaskId,
        application_id: &str,
        directory: Option<TaskDirectory>,
        memory: Arc<StateMemory>,
        builders: &[Arc<dyn StoreBuilder>],
    ) -> Result<Self, StoreError> {
        check_names(task, builders)?;
        let is_on_disk = |builder: &dyn StoreBuilder| directory.is_some() && builder.is_persistent();
        let on_disk: Vec<bool> = builders.iter().map(|builder| is_on_disk(&**builder)).collect();
        let expiry_of =
            |builder: &Arc<dyn StoreBuilder>| builder.timed().map(|layout| Arc::new(Expiry::new(layout)));
        let expiries: Vec<Option<Arc<Expiry>>> = builders.iter().map(expiry_of).collect();
        // Behind the stores are the tables of their companions, whose keys carry no such time.
        let of_tables: Vec<_> = expiries.iter().cloned().chain(companions(builders).map(|_| None)).collect();

        let mut engines: Vec<Arc<dyn Engine>> = Vec::new();
        let directory = match directory {
            Some(directory) if on_disk.contains(&true) => {
                engines.push(match directory.into_simulated() {
                    Ok(lock) => Arc::new(SimulatedEngine::open(lock, of_tables.clone())),
                    Err(directory) => {
                        let stores = rocksdb_stores(builders, &expiries);
                        Arc::new(RocksDbEngine::open(task, application_id, directory, &memory, &stores)?)
                    }
                });
                None
            }
            directory => directory,
        };
        engines.push(Arc::new(MemoryEngine::new(of_tables)));

        let stores = on_disk.iter().zip(expiries).enumerate().map(|(place, (is_on_disk, expiry))| {
            let engine = if *is_on_disk { 0 } else { engines.len() - 1 };
            let stored = engines[engine].position(StoreIndex::new(place).into())?;
            if let Some(expiry) = &expiry {
                let mut row = Vec::new();
                engines[engine].get(StoreIndex::new(place), MARK_KEY, &mut row)?;
                row::split(&row).into_iter().for_each(|(mark, _)| expiry.emitted_to(mark));
            }
            let as_of = stored.and_then(|stored| stored.as_of);
            Ok(DormantStore { engine, stored, as_of, restoring: None, expiry, companion: None })
        });
        let mut stores = stores.collect::<Result<Vec<_>, StoreError>>()?;
        for (number, (place, name, companion)) in companions(builders).enumerate() {
            let table = StoreIndex::new(builders.len() + number);
            stores[place].companion = Some(DormantCompanion { table, name, companion, restoring: None });
        }
        Ok(Self { task, builders: builders.to_vec(), stores, engines, memory, directory })
    }

    /// Whose stores they are.
    pub fn task(&self) -> TaskId {
        self.task
    }

    /// Which store has this name.
    pub fn index_of(&self, name: &str) -> Option<StoreIndex> {
        self.builders.iter().position(|builder| builder.name() == name).map(StoreIndex::new)
    }

    /// The name of a store.
    pub fn name_of(&self, store: StoreIndex) -> &str {
        self.builders[store.get()].name()
    }

    /// The changelog offset that the disk reflects; `None` is the start.
    pub fn stored_offset(&self, store: StoreIndex) -> Option<Offset> {
        self.stores[store.get()].stored.map(|stored| stored.next)
    }

    /// The changelog offset to go on from: that of the last batch, else that of the disk; `None` is the start.
    pub fn restored_to(&self, store: StoreIndex) -> Option<Offset> {
        self.stores[store.get()].restored_to()
    }

    /// How recent the rows are: [`LogPosition::as_of`] of what the disk has, or what [`Self::set_as_of`] said since.
    pub fn as_of(&self, store: StoreIndex) -> Option<Timestamp> {
        self.stores[store.get()].as_of
    }

    /// Says how recent the rows are that were restored so far; see [`LogPosition::as_of`]. The next flush brings it to the disk, if there is
    /// something else to be written, or if what the disk has is older by an hour.
    pub fn set_as_of(&mut self, store: StoreIndex, as_of: Timestamp) {
        self.stores[store.get()].as_of = Some(as_of);
    }

    /// Of a global table: from where to read on in a partition of its topic; `None` means from the start.
    ///
    /// # Errors
    /// What the engine says.
    pub fn source_position(
        &self,
        store: StoreIndex,
        partition: PartitionId,
    ) -> Result<Option<LogPosition>, StoreError> {
        self.engine(store).position(LogPartition::Source(store, partition))
    }

    /// Puts a batch of a store's changelog back, which ends before the offset `next`. Returns the number of rows. They are
    /// gathered in memory and flushed when they are many.
    ///
    /// # Errors
    /// What the engine says if it fails, [`StoreError::MalformedKey`], or that earlier rows cannot be read. What was not flushed is to be
    /// restored again then.
    pub fn restore<'a>(
        &mut self,
        store: StoreIndex,
        rows: impl Iterator<Item = RestoreRow<'a>>,
        next: Offset,
    ) -> Result<u64, StoreError> {
        let restored = &mut self.stores[store.get()];
        let begin = |expiry| Restoring::new(&self.memory, next, expiry);
        let restoring = restored.restoring.get_or_insert_with(|| begin(restored.expiry.clone()));
        let Some(companion) = &mut restored.companion else {
            let count = restoring.add(rows, next).map_err(|ShortKey(found)| {
                let store = self.builders[store.get()].name().to_owned();
                StoreError::MalformedKey { store, found }
            })?;
            if restoring.is_full() {
                self.flush(store)?;
            }
            return Ok(count);
        };
        let beside = companion.restoring.get_or_insert_with(|| begin(None));
        let engine = &*self.engines[restored.engine];
        let name = self.builders[store.get()].name();
        let count = companion.companion.replay(
            rows,
            RestoredTable { restoring: &mut *restoring, engine, store, name },
            RestoredTable { restoring: &mut *beside, engine, store: companion.table, name: &companion.name },
        )?;
        restoring.reached(next);
        if restoring.is_full() || beside.is_full() {
            self.flush(store)?;
        }
        Ok(count)
    }

    /// Brings everything that was restored of a store to the disk, and then the changelog offset it reflects.
    ///
    /// # Errors
    /// What the engine says. What was not flushed is to be restored again then.
    pub fn flush(&mut self, store: StoreIndex) -> Result<(), StoreError> {
        let engine = Arc::clone(self.engine(store));
        let flushed = &mut self.stores[store.get()];
        let Some(next) = flushed.restored_to() else { return Ok(()) };
        let position = LogPosition { next, as_of: flushed.as_of };
        let is_renewed =
            flushed.stored.is_some_and(|stored| LogPosition::is_worth_renewing(stored.as_of, position.as_of));
        if flushed.restoring.is_none() && !is_renewed {
            return Ok(());
        }
        // Their memory counts until they are written.
        let mut restored = flushed.restoring.take();
        let mut beside = flushed.companion.as_mut().and_then(|companion| companion.restoring.take());
        let rows = restored.as_mut().map(|restoring| (store, restoring.take()));
        let table = flushed.companion.as_ref().map(|companion| companion.table);
        let rows_beside = table.zip(beside.as_mut()).map(|(table, restoring)| (table, restoring.take()));
        let tables: Vec<(StoreIndex, &Overlay)> =
            rows.iter().chain(&rows_beside).map(|(table, rows)| (*table, rows)).collect();
        engine.write(&tables)?;
        engine.set_positions(&[(store.into(), position)])?;
        flushed.stored = Some(position);
        Ok(())
    }

    /// Flushes what was restored of a store if it is too much to be handed over in memory at once. It may take long, so the thread that wakes
    /// the stores should not be the one that has to wait for it.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub fn make_ready(&mut self, store: StoreIndex) -> Result<(), StoreError> {
        match &self.stores[store.get()].restoring {
            Some(restoring) if !restoring.is_indexed() => self.flush(store),
            _ => Ok(()),
        }
    }

    /// Removes all rows of a store and its position: they belong to another history than its changelog. Which topic that is stays known.
    ///
    /// # Errors
    /// What the engine says if it fails.
    pub fn wipe(&mut self, store: StoreIndex) -> Result<(), StoreError> {
        let engine = Arc::clone(self.engine(store));
        let wiped = &mut self.stores[store.get()];
        let beside = wiped.companion.as_ref().map(|companion| companion.table);
        let tables: Vec<StoreIndex> = std::iter::once(store).chain(beside).collect();
        engine.clear(&tables)?;
        (wiped.stored, wiped.as_of, wiped.restoring) = (None, None, None);
        wiped.expiry.iter().for_each(|expiry| expiry.clear());
        if let Some(companion) = &mut wiped.companion {
            companion.restoring = None;
        }
        Ok(())
    }

    /// Says which topic a store's changelog is. If its rows come from another one, deleted since, or nobody ever said from which, they are
    /// removed: returns whether they were.
    ///
    /// # Errors
    /// As [`Self::wipe`].
    pub fn set_changelog(&mut self, store: StoreIndex, topic: TopicId) -> Result<bool, StoreError> {
        let engine = Arc::clone(self.engine(store));
        let before = engine.changelog(store)?;
        if before == Some(topic) {
            return Ok(false);
        }
        let is_of_another = before.is_some() || engine.has_position(store)?;
        if is_of_another {
            self.wipe(store)?;
        }
        engine.set_changelog(store, topic)?;
        Ok(is_of_another)
    }

    /// Memory and disk used by the engines.
    ///
    /// # Errors
    /// What the engine says.
    pub fn engine_sizes(&self) -> Result<EngineSizes, StoreError> {
        sizes_of(&self.engines)
    }

    /// Gives them the tables of a running task, on its thread. What was restored and is not on the disk waits for the first checkpoint, as
    /// if it were of a commit; [`Self::make_ready`] sees to it that this takes no time.
    pub fn wake(self, options: TaskStoresOptions) -> TaskStores {
        TaskStores::awake(self, options)
    }

    /// Flushes what was restored, and releases the directory.
    ///
    /// # Errors
    /// What the engine says; the stores are closed all the same.
    pub fn close(mut self) -> Result<(), StoreError> {
        (0..self.stores.len()).map(StoreIndex::new).try_for_each(|store| self.flush(store))
    }

    fn engine(&self, store: StoreIndex) -> &Arc<dyn Engine> {
        &self.engines[self.stores[store.get()].engine]
    }
}

/// Memory and disk used by all engines of a task.
pub(crate) fn sizes_of(engines: &[Arc<dyn Engine>]) -> Result<EngineSizes, StoreError> {
    let mut sizes = EngineSizes::default();
    for engine in engines {
        sizes += engine.sizes()?;
    }
    Ok(sizes)
}

fn check_names(task: TaskId, builders: &[Arc<dyn StoreBuilder>]) -> Result<(), StoreError> {
    for (place, builder) in builders.iter().enumerate() {
        if builders[..place].iter().any(|earlier| earlier.name() == builder.name()) {
            return Err(StoreError::DuplicateStore { task, store: builder.name().to_owned() });
        }
    }
    Ok(())
}

/// The companions of stores, in the order of their tables: the place of the store, the name of the table, and what it is for.
fn companions(builders: &[Arc<dyn StoreBuilder>]) -> impl Iterator<Item = (usize, String, Companion)> {
    builders.iter().enumerate().filter_map(|(place, builder)| {
        let companion = builder.companion()?;
        Some((place, companion.name(builder.name()), companion))
    })
}

fn rocksdb_stores(builders: &[Arc<dyn StoreBuilder>], expiries: &[Option<Arc<Expiry>>]) -> Vec<RocksDbStore> {
    let stores = builders.iter().zip(expiries);
    let stores = stores.map(|(builder, expiry)| RocksDbStore {
        name: builder.name().to_owned(),
        companion: builder.companion().map(Companion::kept_as),
        is_persistent: builder.is_persistent(),
        description: metadata::description(builder.types()),
        expiry: expiry.clone(),
    });
    stores.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dormant_stores_go_from_thread_to_thread() {
        fn may_be_sent<T: Send>() {}
        may_be_sent::<DormantStores>();
    }
}
