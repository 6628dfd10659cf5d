//! All stores of a task that runs: updated, committed, checkpointed and closed together.
//!
//! ```text
//! wake ─> begin_record, updates, (undo_record) ...
//!           drop_expired ─> prepare_commit ─> drain_changelog ─> commit ─> (begin_checkpoint)        or: rollback
//! (checkpoint) ─> close
//! ```
//! Before that they are [`DormantStores`], which are restored.
//!
//! The caller sends what [`TaskStores::drain_changelog`] hands out, waits until Kafka has it and has committed the input
//! offsets, and only then calls [`TaskStores::commit`]. Out of order calls are errors that change nothing. Nothing here
//! knows about Kafka.
//!
//! A checkpoint freezes what is committed, which takes no time, and is written by the background thread while the task
//! goes on, one at a time. It owns what it needs, the lock of the directory included: if the task is dropped meanwhile, nobody
//! can open the directory before it has ended.

#[cfg(test)]
mod tests;

use std::any::{Any, type_name};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::background::BackgroundThread;
use crate::checkpoint::{
    Abandoned, Checkpoint, CheckpointInFlight, CheckpointListener, CheckpointStats, FrozenStore, FrozenTable,
};
use crate::directory::TaskDirectory;
use crate::dormant::{DormantCompanion, DormantStore, DormantStores, sizes_of};
use crate::engine::{Engine, EngineSizes};
use crate::error::StoreError;
use crate::layer::{ChangelogEntry, ManagedStore, StoreStats, TaskContext};
use crate::memory::{StateMemory, TableMemory};
use crate::position::Position;
use crate::reader::{CompanionReader, StoreReader};
use crate::restoring::Restoring;
use crate::store::{
    BuiltStore, Companion, Custom, CustomStore, Expiring, KeyValueStore, SessionStore, StoreBuilder,
    StoreParts, StoreTypes, TableParts, VersionedStore, WindowStore,
};
use crate::types::{LogPartition, LogPosition, Offset, StoreIndex, TaskId};

/// How the stores of a task behave.
#[derive(Debug, Clone, Default)]
pub struct TaskStoresOptions {
    /// Whether [`TaskStores::undo_record`] works. It costs one clone of the value per update.
    pub undo: bool,
    /// Whether the changelog entries of a commit become visible together with its input offsets, or not at all: in one transaction.
    pub atomic_commits: bool,
    /// Who writes checkpoints. Without one, [`TaskStores::begin_checkpoint`] returns when it is written.
    pub background: Option<Arc<BackgroundThread>>,
    /// Who is told about the steps of checkpoints.
    pub on_checkpoint: CheckpointListener,
}

/// The stores of one task, on its thread.
///
/// ```
/// use millstream_state_stores::*;
/// use std::sync::Arc;
///
/// let stock = KeyValueStoreBuilder::new("stock", String::serde(), i64::serde());
/// let mut stores = TaskStores::open(
///     TaskId { subtopology: 0, partition: 0 }, "shop", None,
///     StateMemory::new(16 << 20), TaskStoresOptions::default(), &[Arc::new(stock)],
/// )?;
/// let stock = stores.key_value::<String, i64>("stock")?;
/// let reader = stores.reader("stock").expect("it was just opened");
///
/// stock.put(&"apples".to_string(), Some(ValueAndTimestamp::new(3, Timestamp::from_millis(7))))?;
/// assert_eq!(reader.get(b"apples")?, None, "not committed yet");
///
/// stores.prepare_commit()?;
/// stores.drain_changelog(|entry| {
///     assert_eq!(entry.key, b"apples"); // goes to the topic `shop-stock-changelog`
///     Ok::<(), StoreError>(())
/// })?;
/// let mut position = Position::new();
/// position.set("stock-movements", PartitionId::new(0), Offset::new(1));
/// stores.commit(Arc::new(position))?;
/// assert_eq!(reader.get(b"apples")?, Some((Timestamp::from_millis(7), 3_i64.to_be_bytes().to_vec())));
///
/// let index = stores.index_of("stock").expect("it was just opened");
/// stores.checkpoint(&[(index.into(), Offset::new(1).into())])?;
/// stores.close()?;
/// # Ok::<(), StoreError>(())
/// ```
pub struct TaskStores {
    task: TaskId,
    context: Rc<TaskContext>,
    /// In the order of the builders.
    stores: Vec<TaskStore>,
    /// All tables: those of the stores, then those of their companions.
    tables: Vec<TaskTable>,
    /// Stores whose rows go as time passes.
    expiring: Vec<Rc<dyn Expiring>>,
    /// On disk first: if a checkpoint fails there, nothing else has changed.
    engines: Vec<Arc<dyn Engine>>,
    background: Option<Arc<BackgroundThread>>,
    on_checkpoint: CheckpointListener,
    checkpoint: Option<TaskCheckpoint>,
    checkpoint_stats: CheckpointStats,
    last_sizes: Cell<Option<LastSizes>>,
    /// Held here if no store needs the disk; else the engine holds it.
    _directory: Option<TaskDirectory>,
}

/// The checkpoint that is being written.
struct TaskCheckpoint {
    written: CheckpointInFlight,
    positions: Vec<(LogPartition, LogPosition)>,
}

/// What the engines said of their sizes.
#[derive(Clone, Copy)]
struct LastSizes {
    sizes: EngineSizes,
    /// How many checkpoints had been written by then.
    checkpoints: u64,
    /// How often this may be said again.
    answers_left: u32,
}

struct TaskStore {
    name: String,
    types: StoreTypes,
    handle: Box<dyn Any>,
    /// The changelog offset in the engine.
    stored_offset: Option<Offset>,
}

struct TaskTable {
    rows: Rc<dyn ManagedStore>,
    reader: Arc<StoreReader>,
    /// Which of the engines has its rows.
    engine: usize,
    /// Whose changelog its rows are made of: its own, or that of the store that it is the companion of.
    log: StoreIndex,
}

/// Runs of up to this many rows are merged by the task itself, within a millisecond; larger ones in the background.
const MERGED_AT_ONCE: usize = 8 << 10;
/// How often the same sizes are told before the engines are asked again, although no checkpoint has changed them: RocksDB compacts by
/// itself. Asking costs microseconds a store, which is most of what an idle task would cost.
const SIZES_TOLD: u32 = 20;

impl TaskStores {
    /// Opens the stores of a task. Without a directory, all of them are in memory, for tests.
    ///
    /// # Errors
    /// When the directory belongs to others, holds other stores or is corrupt; each error says what to do.
    pub fn open(
        task: TaskId,
        application_id: &str,
        directory: Option<TaskDirectory>,
        memory: Arc<StateMemory>,
        options: TaskStoresOptions,
        builders: &[Arc<dyn StoreBuilder>],
    ) -> Result<Self, StoreError> {
        Ok(DormantStores::open(task, application_id, directory, memory, builders)?.wake(options))
    }

    pub(crate) fn awake(dormant: DormantStores, options: TaskStoresOptions) -> Self {
        let DormantStores { task, builders, stores, engines, memory, directory } = dormant;
        let context = Rc::new(TaskContext::new(options.undo, options.atomic_commits));
        let mut awake = Self {
            task,
            context,
            stores: Vec::with_capacity(stores.len()),
            tables: Vec::with_capacity(stores.len()),
            expiring: Vec::new(),
            engines,
            background: options.background,
            on_checkpoint: options.on_checkpoint,
            checkpoint: None,
            checkpoint_stats: CheckpointStats::default(),
            last_sizes: Cell::new(None),
            _directory: directory,
        };
        let mut companions = Vec::new();
        for (place, (builder, dormant)) in builders.iter().zip(stores).enumerate() {
            companions.extend(awake.add(StoreIndex::new(place), &**builder, dormant, &memory));
        }
        awake.tables.extend(companions);
        awake
    }

    /// Adds a store, and returns the table of its companion.
    fn add(
        &mut self,
        store: StoreIndex,
        builder: &dyn StoreBuilder,
        dormant: DormantStore,
        memory: &Arc<StateMemory>,
    ) -> Option<TaskTable> {
        let logged_to = dormant.restored_to();
        // Named one by one: whatever a store has besides must not be left behind.
        let DormantStore {
            engine,
            stored,
            as_of: _told_with_the_next_checkpoint,
            restoring,
            expiry,
            companion,
        } = dormant;
        let reader_of = |name: &str, table, companion, expiry, restoring: Option<Restoring>| {
            let (engine, memory) = (Arc::clone(&self.engines[engine]), Arc::clone(memory));
            let reader = Arc::new(StoreReader::new(name, table, companion, engine, memory, expiry));
            if let Some(restoring) = restoring {
                reader.publish(restoring.into_rows(), &reader.position());
            }
            reader
        };
        let beside = companion.map(|companion| {
            let DormantCompanion { table, name, companion: Companion(kind), restoring } = companion;
            CompanionReader { rows: reader_of(&name, table, None, None, restoring), kind }
        });
        let companion_reader = beside.as_ref().map(|beside| Arc::clone(&beside.rows));
        let reader = reader_of(builder.name(), store, beside, expiry.clone(), restoring);
        // The store's time is that of the records it gets from now on: what was restored may be ahead of them.
        expiry.iter().for_each(|expiry| expiry.begin());
        let parts_of = |reader: &Arc<StoreReader>| TableParts {
            committed: Arc::clone(reader),
            memory: TableMemory::new(Arc::clone(memory)),
        };
        let built = builder.build(StoreParts {
            store,
            context: Rc::clone(&self.context),
            table: parts_of(&reader),
            companion: companion_reader.as_ref().map(parts_of),
            expiry,
            logged_to,
        });
        let BuiltStore { rows, handle, companion } = built;
        self.tables.push(TaskTable { rows, reader, engine, log: store });
        let (name, types) = (builder.name().to_owned(), builder.types());
        self.stores.push(TaskStore { name, types, handle, stored_offset: stored.map(|stored| stored.next) });
        let ((rows, expiring), reader) = companion.zip(companion_reader)?;
        self.expiring.push(expiring);
        Some(TaskTable { rows, reader, engine, log: store })
    }

    /// Which store has this name.
    pub fn index_of(&self, name: &str) -> Option<StoreIndex> {
        self.stores.iter().position(|store| store.name == name).map(StoreIndex::new)
    }

    /// The names of the stores, in the order of their builders.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.stores.iter().map(|store| store.name.as_str())
    }

    /// The kind of a store and the names of its types.
    pub fn types(&self, name: &str) -> Option<StoreTypes> {
        self.index_of(name).map(|index| self.stores[index.get()].types)
    }

    /// The typed handle of a key-value store.
    ///
    /// # Errors
    /// [`StoreError::UnknownStore`], or [`StoreError::WrongType`] if it was declared with other types.
    pub fn key_value<K: 'static, V: 'static>(&self, name: &str) -> Result<KeyValueStore<K, V>, StoreError> {
        self.handle(name, types_of::<K, V>("key-value"))
    }

    /// The typed handle of a window store.
    ///
    /// # Errors
    /// As [`Self::key_value`].
    pub fn window<K: 'static, V: 'static>(&self, name: &str) -> Result<WindowStore<K, V>, StoreError> {
        self.handle(name, types_of::<K, V>("window"))
    }

    /// The typed handle of a session store.
    ///
    /// # Errors
    /// As [`Self::key_value`].
    pub fn session<K: 'static, V: 'static>(&self, name: &str) -> Result<SessionStore<K, V>, StoreError> {
        self.handle(name, types_of::<K, V>("session"))
    }

    /// The typed handle of a versioned store.
    ///
    /// # Errors
    /// As [`Self::key_value`].
    pub fn versioned<K: 'static, V: Clone + 'static>(
        &self,
        name: &str,
    ) -> Result<VersionedStore<K, V>, StoreError> {
        self.handle(name, types_of::<K, V>("versioned"))
    }

    /// The handle of a store of a user's own.
    ///
    /// # Errors
    /// As [`Self::key_value`].
    pub fn custom<S: CustomStore>(&self, name: &str) -> Result<Custom<S>, StoreError> {
        self.handle(name, types_of::<S::Key, S::Value>(S::KIND))
    }

    fn handle<H: Clone + 'static>(&self, name: &str, expected: StoreTypes) -> Result<H, StoreError> {
        let Some(index) = self.index_of(name) else {
            return Err(StoreError::UnknownStore {
                task: self.task,
                store: name.to_owned(),
                known: self.names().map(str::to_owned).collect(),
            });
        };
        let store = &self.stores[index.get()];
        store.handle.downcast_ref::<H>().cloned().ok_or_else(|| StoreError::WrongType {
            store: name.to_owned(),
            expected: expected.to_string(),
            found: store.types.to_string(),
        })
    }

    /// The committed rows of a store, for any thread.
    pub fn reader(&self, name: &str) -> Option<Arc<StoreReader>> {
        self.index_of(name).map(|index| Arc::clone(&self.tables[index.get()].reader))
    }

    /// The changelog offset that the disk reflects; `None` is the start.
    pub fn stored_offset(&self, store: StoreIndex) -> Option<Offset> {
        self.stores[store.get()].stored_offset
    }

    /// Begins a record: what follows, up to the next call, is what [`Self::undo_record`] reverts.
    pub fn begin_record(&mut self) {
        if self.context.can_undo {
            self.context.record.set(self.context.record.get() + 1);
            self.context.changelog.borrow_mut().begin_record();
        }
    }

    /// Reverts every change and changelog entry since [`Self::begin_record`]: the record leaves no trace. Must come before
    /// its changelog entries are drained.
    ///
    /// # Panics
    /// When undo is not among the options.
    #[track_caller]
    pub fn undo_record(&mut self) {
        assert!(self.context.can_undo, "open the stores with `undo: true` to undo records");
        for table in &self.tables {
            table.rows.undo_record();
        }
        self.context.changelog.borrow_mut().undo_record();
    }

    /// Hands out what is to be sent to the changelog topics, in order. If `send` fails, that entry and the rest are
    /// handed out again next time.
    ///
    /// # Errors
    /// Those of `send`.
    pub fn drain_changelog<E>(
        &mut self,
        send: impl FnMut(ChangelogEntry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.context.changelog.borrow_mut().drain(send)
    }

    /// Whether changelog entries wait to be drained.
    pub fn has_changelog(&self) -> bool {
        !self.context.changelog.borrow().is_empty()
    }

    /// Whether anything changed since the last commit.
    pub fn has_uncommitted(&self) -> bool {
        self.tables.iter().any(|table| table.rows.uncommitted().rows > 0) || self.has_changelog()
    }

    /// Estimated bytes that only a commit or a rollback frees: changed rows, what committing them takes, and waiting changelog
    /// entries.
    pub fn uncommitted_bytes(&self) -> usize {
        let rows: usize = self.tables.iter().map(|table| table.rows.uncommitted().bytes).sum();
        rows + self.context.changelog.borrow().bytes()
    }

    /// Deletes rows that have expired, some at each call. To be called first when a commit begins: its emissions tell of them.
    ///
    /// # Errors
    /// What the engine says, or that a row cannot be read; roll back then.
    pub fn drop_expired(&mut self) -> Result<(), StoreError> {
        self.expiring.iter().try_for_each(|store| store.drop_expired())
    }

    /// Encodes everything that changed; cached stores add theirs to the changelog. To be called after their emissions were
    /// forwarded and before the changelog is drained for the commit; calling it again adds only what changed since.
    ///
    /// # Errors
    /// When a value cannot be encoded, or a store is poisoned; roll back then.
    pub fn prepare_commit(&mut self) -> Result<(), StoreError> {
        self.tables.iter().try_for_each(|table| table.rows.prepare_commit())
    }

    /// Publishes what changed to the readers, with the input position it reflects. The input offsets are committed and the
    /// changelog acknowledged: there is no way back.
    ///
    /// # Errors
    /// [`StoreError::OutOfOrder`] if changes were not prepared or changelog entries not drained; nothing is published.
    pub fn commit(&mut self, position: Arc<Position>) -> Result<(), StoreError> {
        if !self.tables.iter().all(|table| table.rows.is_prepared()) {
            return Err(
                self.out_of_order("commit", "rows changed after they were prepared; call `prepare_commit`")
            );
        }
        if self.has_changelog() {
            return Err(
                self.out_of_order("commit", "changelog entries wait to be sent; call `drain_changelog`")
            );
        }
        for table in &self.tables {
            table.rows.commit(&position);
            self.merge_runs(&table.reader);
        }
        Ok(())
    }

    /// Brings the stores back to the last commit and forgets what was to be sent.
    pub fn rollback(&mut self) {
        for table in &self.tables {
            table.rows.roll_back();
        }
        for store in &self.expiring {
            store.rolled_back();
        }
        self.context.changelog.borrow_mut().clear();
    }

    /// Bytes of committed rows that wait for the next checkpoint; those that one is writing do not count.
    pub fn uncheckpointed_bytes(&self) -> usize {
        self.tables.iter().map(|table| table.reader.overlay_bytes()).sum()
    }

    /// Bytes of committed rows that a checkpoint is writing.
    pub fn checkpointing_bytes(&self) -> usize {
        self.tables.iter().map(|table| table.reader.frozen_bytes()).sum()
    }

    /// Begins to move the committed rows into the engine, followed by the positions they reflect (for each logged store, the offset after its
    /// last changelog entry of the last commit; for a global table, the next one in each partition of its topic), and to the disk. Only
    /// right after a commit, and one at a time.
    ///
    /// # Errors
    /// [`StoreError::OutOfOrder`] if something changed since the commit, or while a checkpoint is being written. Whether this
    /// one could be written says [`Self::poll_checkpoint`].
    pub fn begin_checkpoint(&mut self, positions: &[(LogPartition, LogPosition)]) -> Result<(), StoreError> {
        self.check_all_committed("begin_checkpoint")?;
        if self.checkpoint.is_some() {
            return Err(
                self.out_of_order("begin_checkpoint", "a checkpoint is being written; wait until it is")
            );
        }
        let frozen = self.tables[..self.stores.len()].iter().enumerate().map(|(place, table)| {
            let store = StoreIndex::new(place);
            let tables = self.tables.iter().enumerate().filter(|(_, table)| table.log == store);
            let frozen = |(place, table): (usize, &TaskTable)| FrozenTable {
                table: StoreIndex::new(place),
                rows: table.reader.freeze(),
                reader: Arc::clone(&table.reader),
            };
            FrozenStore {
                engine: table.engine,
                tables: tables.map(frozen).collect(),
                positions: positions.iter().filter(|(log, _)| log.store() == store).copied().collect(),
            }
        });
        let checkpoint = Checkpoint {
            engines: self.engines.clone(),
            stores: frozen.collect(),
            listener: self.on_checkpoint.clone(),
        };
        let written = checkpoint.begin(self.background.as_deref());
        self.checkpoint = Some(TaskCheckpoint { written, positions: positions.to_vec() });
        Ok(())
    }

    /// Takes note of a checkpoint that has ended meanwhile.
    ///
    /// # Errors
    /// What the engine said if it could not be written. Nothing is lost: its rows wait for the next one.
    pub fn poll_checkpoint(&mut self) -> Result<(), StoreError> {
        let ended = self.checkpoint.as_ref().and_then(|checkpoint| checkpoint.written.poll());
        ended.map_or(Ok(()), |ended| self.checkpoint_ended(ended))
    }

    /// Waits for the checkpoint that is being written, if there is one.
    ///
    /// # Errors
    /// As [`Self::poll_checkpoint`].
    pub fn await_checkpoint(&mut self) -> Result<(), StoreError> {
        if let (Some(_), Some(background)) = (&self.checkpoint, &self.background) {
            background.before_waiting();
        }
        let ended = self.checkpoint.as_ref().map(|checkpoint| checkpoint.written.wait());
        ended.map_or(Ok(()), |ended| self.checkpoint_ended(ended))
    }

    /// Brings everything committed into the engine and to the disk before it returns, as [`Self::begin_checkpoint`] does
    /// it behind the task.
    ///
    /// # Errors
    /// As [`Self::begin_checkpoint`] and [`Self::poll_checkpoint`].
    pub fn checkpoint(&mut self, positions: &[(LogPartition, LogPosition)]) -> Result<(), StoreError> {
        self.check_all_committed("checkpoint")?;
        self.await_checkpoint()?;
        self.begin_checkpoint(positions)?;
        self.await_checkpoint()
    }

    /// How many checkpoints were written, and whether one is now.
    pub fn checkpoint_stats(&self) -> CheckpointStats {
        CheckpointStats { is_in_flight: self.checkpoint.is_some(), ..self.checkpoint_stats }
    }

    fn checkpoint_ended(
        &mut self,
        ended: Result<Result<Duration, StoreError>, Abandoned>,
    ) -> Result<(), StoreError> {
        let checkpoint = self.checkpoint.take();
        let task = self.task;
        let time = ended.map_err(|Abandoned| StoreError::BackgroundThreadEnded { task })??;
        self.checkpoint_stats.written += 1;
        self.checkpoint_stats.time += time;
        for (log, position) in checkpoint.into_iter().flat_map(|checkpoint| checkpoint.positions) {
            if let LogPartition::Changelog(store) = log {
                self.stores[store.get()].stored_offset = Some(position.next);
            }
        }
        Ok(())
    }

    /// Counters and sizes of each store, and of what stores keep besides their rows: `<store>/expiry`, `<store>/history-..`.
    pub fn stats(&self) -> Vec<StoreStats> {
        self.tables.iter().map(|table| table.rows.stats()).collect()
    }

    /// Memory and disk used by the engines, as of the last checkpoint, or of one of the last calls if there was none since.
    ///
    /// # Errors
    /// What the engine says.
    pub fn engine_sizes(&self) -> Result<EngineSizes, StoreError> {
        let checkpoints = self.checkpoint_stats.written;
        let last = match self.last_sizes.get() {
            Some(last) if last.checkpoints == checkpoints && last.answers_left > 0 => {
                LastSizes { answers_left: last.answers_left - 1, ..last }
            }
            _ => LastSizes { sizes: sizes_of(&self.engines)?, checkpoints, answers_left: SIZES_TOLD },
        };
        self.last_sizes.set(Some(last));
        Ok(last.sizes)
    }

    /// Turns readers away and releases the directory, as soon as the last scan in progress has ended. A checkpoint that is being
    /// written is waited for. What was not checkpointed is restored from the changelog next time.
    ///
    /// # Errors
    /// What the engine says; the stores are closed all the same.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.await_checkpoint()
    }

    /// Keeps the committed rows of a store few and quick to find.
    fn merge_runs(&self, reader: &Arc<StoreReader>) {
        let Some(runs) = reader.begin_merge() else { return };
        match &self.background {
            Some(background) if runs.rows() > MERGED_AT_ONCE => {
                let reader = Arc::clone(reader);
                background.run(move || reader.merge(&runs));
            }
            _ => reader.merge(&runs),
        }
    }

    fn check_all_committed(&self, call: &'static str) -> Result<(), StoreError> {
        if self.has_uncommitted() {
            return Err(self.out_of_order(call, "changes wait for a commit; commit or roll back first"));
        }
        Ok(())
    }

    fn out_of_order(&self, call: &'static str, reason: &'static str) -> StoreError {
        StoreError::OutOfOrder { task: self.task, call, reason }
    }
}

impl Drop for TaskStores {
    fn drop(&mut self) {
        for table in &self.tables {
            table.reader.close();
        }
    }
}

/// The kind of a store and the names of its types.
fn types_of<K, V>(kind: &'static str) -> StoreTypes {
    StoreTypes { kind, key: type_name::<K>(), value: type_name::<V>() }
}
