//! A disk in memory, for simulations: it fails when it is told to, and outlives the processes that use it.
//!
//! It has RocksDB's promises and no others: rows of one store are all there or not at all, those of its companion included, and survive a
//! crash once they are written; positions in logs come after them, and with the first of them the topics that stores come from. What a
//! process had in its own memory is gone with it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::memory::{MemoryEngine, MemoryStore};
use super::{Engine, EngineScan, EngineSizes};
use crate::directory::StateDirectory;
use crate::error::{EngineFailure, StoreError};
use crate::expiry::Expiry;
use crate::format::row;
use crate::key_range::{Direction, KeyRange};
use crate::overlay::Overlay;
use crate::reader::ScannedRow;
use crate::types::{LogPartition, LogPosition, Offset, StoreIndex, TaskId, TopicId};

/// The state of a machine's tasks. Cloning it leads to the same disk.
///
/// ```
/// use millstream_state_stores::*;
/// use std::sync::Arc;
///
/// let (disk, task) = (SimulatedDisk::default(), TaskId { subtopology: 0, partition: 0 });
/// let directory = disk.directory("shop", |_task, _request| DiskAnswer::Done);
/// let stock = KeyValueStoreBuilder::new("stock", String::serde(), i64::serde());
/// let mut stores = DormantStores::open(
///     task, "shop", Some(directory.lock_task(task)?), StateMemory::new(16 << 20), &[Arc::new(stock)],
/// )?;
/// let store = stores.index_of("stock").expect("it was just opened");
/// let row = RestoreRow { key: b"apples", value: Some(b"3"), timestamp: Timestamp::from_millis(7) };
/// stores.restore(store, [row].into_iter(), Offset::new(1))?;
/// stores.flush(store)?;
/// assert_eq!(disk.survivors(task)[0].next, Some(Offset::new(1)));
/// # Ok::<(), StoreError>(())
/// ```
#[derive(Clone, Default)]
pub struct SimulatedDisk {
    tasks: Arc<Mutex<BTreeMap<TaskId, TaskFiles>>>,
}

#[derive(Default)]
struct TaskFiles {
    is_locked: bool,
    /// Made when the task is opened for the first time.
    engine: Option<Arc<MemoryEngine>>,
}

/// What a process asks of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskRequest {
    /// To take rows of a store, and of its companion.
    PutRows,
    /// To set the positions in logs that the rows reflect, and the topics that stores come from.
    SetPositions,
    /// To drop a store's rows and their positions.
    Clear,
}

/// What the disk makes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskAnswer {
    /// It is done, and survives a crash.
    Done,
    /// An error, and nothing has changed.
    Failed,
    /// An error, although it is done.
    DoneAndFailed,
}

/// One store as it would be found after a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurvivingStore {
    /// Its rows, by their keys.
    pub rows: Vec<ScannedRow>,
    /// The changelog offset from which it would be restored; none if from the start.
    pub next: Option<Offset>,
}

type Answer = dyn Fn(TaskId, DiskRequest) -> DiskAnswer + Send + Sync;

/// A disk as one process sees it.
#[derive(Clone)]
pub(crate) struct ProcessDisk {
    disk: SimulatedDisk,
    answer: Arc<Answer>,
}

/// A task's lock, held until it is dropped.
pub(crate) struct SimulatedLock {
    process: ProcessDisk,
    task: TaskId,
    path: PathBuf,
}

impl SimulatedDisk {
    /// The state directory of a process on this machine. `answer` decides about each request of the process. There are no files, so
    /// that only tasks can be locked and opened in it.
    pub fn directory(
        &self,
        application_id: &str,
        answer: impl Fn(TaskId, DiskRequest) -> DiskAnswer + Send + Sync + 'static,
    ) -> StateDirectory {
        let process = ProcessDisk { disk: self.clone(), answer: Arc::new(answer) };
        StateDirectory::simulated(application_id, process)
    }

    /// The stores of a task as they would be found after a crash now, in the order of their builders.
    pub fn survivors(&self, task: TaskId) -> Vec<SurvivingStore> {
        let rows_of = |store: &MemoryStore| {
            let split = |(key, row): (&Arc<[u8]>, &Arc<[u8]>)| {
                row::split(row).map(|(timestamp, value)| (key.to_vec(), timestamp, value.to_vec()))
            };
            store.rows.iter().filter_map(split).collect()
        };
        let tasks = self.tasks.lock();
        let engine = tasks.get(&task).and_then(|files| files.engine.as_ref());
        let stores = engine.into_iter().flat_map(|engine| engine.stores());
        let survivor = |(place, store): (usize, MemoryStore)| SurvivingStore {
            rows: rows_of(&store),
            next: store.positions.get(&StoreIndex::new(place).into()).map(|position| position.next),
        };
        stores.enumerate().map(survivor).collect()
    }
}

impl ProcessDisk {
    pub(crate) fn lock(&self, task: TaskId, path: &Path) -> Result<SimulatedLock, StoreError> {
        let path = path.to_owned();
        let mut tasks = self.disk.tasks.lock();
        let files = tasks.entry(task).or_default();
        if std::mem::replace(&mut files.is_locked, true) {
            return Err(StoreError::Locked { path });
        }
        Ok(SimulatedLock { process: self.clone(), task, path })
    }
}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        self.process.disk.tasks.lock().entry(self.task).or_default().is_locked = false;
    }
}

/// The stores of one task on a simulated disk.
pub(crate) struct SimulatedEngine {
    written: Arc<MemoryEngine>,
    lock: SimulatedLock,
    /// By store: which rows are too old, as this process knows it.
    expiries: Vec<Option<Arc<Expiry>>>,
    /// The topics that stores come from, where no position was set since that was said.
    changelogs: Mutex<BTreeMap<StoreIndex, TopicId>>,
}

impl SimulatedEngine {
    /// Opens what survived; the task has a store for each of `expiries`.
    pub(crate) fn open(lock: SimulatedLock, expiries: Vec<Option<Arc<Expiry>>>) -> Self {
        let mut tasks = lock.process.disk.tasks.lock();
        let files = tasks.entry(lock.task).or_default();
        let new = || Arc::new(MemoryEngine::new(vec![None; expiries.len()]));
        let written = Arc::clone(files.engine.get_or_insert_with(new));
        drop(tasks);
        Self { written, lock, expiries, changelogs: Mutex::default() }
    }

    /// Puts a request to the disk and carries it out.
    fn request(
        &self,
        request: DiskRequest,
        carry_out: impl FnOnce(&MemoryEngine) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let answer = (self.lock.process.answer)(self.lock.task, request);
        if answer != DiskAnswer::Failed {
            carry_out(&self.written)?;
        }
        if answer != DiskAnswer::Done {
            let source = EngineFailure::new(format!("the simulated disk refused {request:?}"));
            return Err(StoreError::Engine { path: self.lock.path.clone(), source });
        }
        Ok(())
    }
}

impl Engine for SimulatedEngine {
    fn get(&self, store: StoreIndex, key: &[u8], row: &mut Vec<u8>) -> Result<bool, StoreError> {
        self.written.get(store, key, row)
    }

    fn scan(
        self: Arc<Self>,
        store: StoreIndex,
        range: KeyRange,
        direction: Direction,
    ) -> Result<EngineScan, StoreError> {
        Arc::clone(&self.written).scan(store, range, direction)
    }

    fn write(&self, tables: &[(StoreIndex, &Overlay)]) -> Result<(), StoreError> {
        if tables.iter().all(|(_, rows)| rows.is_empty()) {
            return Ok(());
        }
        self.request(DiskRequest::PutRows, |written| {
            for (table, rows) in tables {
                written.put(*table, rows, self.expiries[table.get()].as_deref());
            }
            Ok(())
        })
    }

    fn set_positions(&self, positions: &[(LogPartition, LogPosition)]) -> Result<(), StoreError> {
        self.request(DiskRequest::SetPositions, |written| {
            let mut changelogs = std::mem::take(&mut *self.changelogs.lock()).into_iter();
            changelogs.try_for_each(|(store, topic)| written.set_changelog(store, topic))?;
            written.set_positions(positions)
        })
    }

    fn set_changelog(&self, store: StoreIndex, topic: TopicId) -> Result<(), StoreError> {
        self.changelogs.lock().insert(store, topic);
        Ok(())
    }

    fn changelog(&self, store: StoreIndex) -> Result<Option<TopicId>, StoreError> {
        let said = self.changelogs.lock().get(&store).copied();
        said.map_or_else(|| self.written.changelog(store), |topic| Ok(Some(topic)))
    }

    fn clear(&self, tables: &[StoreIndex]) -> Result<(), StoreError> {
        self.request(DiskRequest::Clear, |written| written.clear(tables))
    }

    fn position(&self, log: LogPartition) -> Result<Option<LogPosition>, StoreError> {
        self.written.position(log)
    }

    fn has_position(&self, store: StoreIndex) -> Result<bool, StoreError> {
        self.written.has_position(store)
    }

    fn approximate_num_entries(&self, store: StoreIndex) -> Result<u64, StoreError> {
        self.written.approximate_num_entries(store)
    }

    fn sizes(&self) -> Result<EngineSizes, StoreError> {
        self.written.sizes()
    }
}

impl fmt::Debug for ProcessDisk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ProcessDisk")
    }
}

impl fmt::Debug for SimulatedLock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SimulatedLock").field("task", &self.task).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::Run;
    use crate::types::Timestamp;

    const TASK: TaskId = TaskId { subtopology: 0, partition: 0 };
    fn first() -> StoreIndex {
        StoreIndex::new(0)
    }

    fn open(disk: &SimulatedDisk, answer: fn(DiskRequest) -> DiskAnswer) -> SimulatedEngine {
        let directory = disk.directory("shop", move |_task, request| answer(request));
        let lock = directory.lock_task(TASK).unwrap().into_simulated().unwrap();
        SimulatedEngine::open(lock, vec![None])
    }

    fn checkpoint(engine: &SimulatedEngine, key: &[u8], next: i64) -> Result<(), StoreError> {
        let mut value = Vec::new();
        row::begin(Timestamp::from_millis(next), &mut value);
        let mut run = Run::default();
        run.put(key, Some(&value));
        let mut rows = Overlay::default();
        rows.extend([Arc::new(run)]);
        engine.write(&[(first(), &rows)])?;
        engine.set_positions(&[(first().into(), Offset::new(next).into())])
    }

    fn survivors(disk: &SimulatedDisk) -> (Vec<Vec<u8>>, Option<i64>) {
        let SurvivingStore { rows, next } = disk.survivors(TASK).remove(0);
        (rows.into_iter().map(|(key, ..)| key).collect(), next.map(Offset::get))
    }

    #[test]
    fn the_next_process_finds_what_was_written() {
        let disk = SimulatedDisk::default();
        let engine = open(&disk, |_| DiskAnswer::Done);
        checkpoint(&engine, b"apples", 1).unwrap();
        drop(engine);
        let reopened = open(&disk, |_| DiskAnswer::Done);
        assert_eq!(reopened.position(first().into()).unwrap(), Some(Offset::new(1).into()));
        assert!(reopened.get(first(), b"apples", &mut Vec::new()).unwrap());
        assert_eq!(survivors(&disk), (vec![b"apples".to_vec()], Some(1)));
    }

    #[test]
    fn a_store_is_of_a_topic_once_it_has_a_position_in_it() {
        let topic = TopicId::from_bytes([7; 16]);
        let disk = SimulatedDisk::default();
        let reopened = || open(&disk, |_| DiskAnswer::Done);
        let engine = reopened();
        engine.set_changelog(first(), topic).unwrap();
        assert_eq!(engine.changelog(first()).unwrap(), Some(topic));
        drop(engine);
        let engine = reopened();
        assert_eq!(engine.changelog(first()).unwrap(), None);
        engine.set_changelog(first(), topic).unwrap();
        checkpoint(&engine, b"apples", 1).unwrap();
        drop(engine);
        assert_eq!(reopened().changelog(first()).unwrap(), Some(topic));
    }

    #[test]
    fn rows_survive_a_failure_between_them_and_their_offset() {
        let disk = SimulatedDisk::default();
        let engine = open(&disk, |request| match request {
            DiskRequest::SetPositions => DiskAnswer::Failed,
            DiskRequest::PutRows | DiskRequest::Clear => DiskAnswer::Done,
        });
        assert!(matches!(checkpoint(&engine, b"apples", 5), Err(StoreError::Engine { .. })));
        assert_eq!(survivors(&disk), (vec![b"apples".to_vec()], None));
    }

    #[test]
    fn an_error_says_nothing_about_the_effect() {
        let (refused, done) = (SimulatedDisk::default(), SimulatedDisk::default());
        assert!(checkpoint(&open(&refused, |_| DiskAnswer::Failed), b"apples", 5).is_err());
        assert_eq!(survivors(&refused), (vec![], None));
        assert!(checkpoint(&open(&done, |_| DiskAnswer::DoneAndFailed), b"apples", 5).is_err());
        assert_eq!(survivors(&done), (vec![b"apples".to_vec()], None));
    }

    #[test]
    fn a_task_is_locked_until_its_engine_is_gone() {
        let disk = SimulatedDisk::default();
        let engine = open(&disk, |_| DiskAnswer::Done);
        let other = disk.directory("shop", |_task, _request| DiskAnswer::Done);
        assert!(matches!(other.lock_task(TASK), Err(StoreError::Locked { .. })));
        drop(engine);
        other.lock_task(TASK).unwrap();
    }
}
