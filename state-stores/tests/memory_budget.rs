//! The rows of all tasks stay within their half of `state_memory`, by the bytes that are asked of the allocator: RocksDB's own
//! memory is not Rust's and does not count here. One test, because the allocator is the process'.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millstream_state_stores::{
    BackgroundThread, HasSerde, KeyValueStore, KeyValueStoreBuilder, Offset, Position, RowLimits,
    StateDirectory, StateMemory, StoreError, StoreIndex, TaskId, TaskStores, TaskStoresOptions, Timestamp,
    ValueAndTimestamp,
};

/// Counts what is allocated at the moment, and the most since it was last asked to begin anew.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

impl Counting {
    fn add(bytes: usize) {
        let now = ALLOCATED.fetch_add(bytes, Ordering::Relaxed) + bytes;
        PEAK.fetch_max(now, Ordering::Relaxed);
    }
}

// SAFETY: every call is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size());
        // SAFETY: passed on as it came.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: passed on as it came.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // Large blocks are moved by remapping them, not by copying: old and new are not held at once.
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        Self::add(bytes);
        // SAFETY: passed on as it came.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BUDGET: usize = 16 << 20;
const TASKS: usize = 4;
/// Rows of this many keys take more than ten times the budget.
const KEYS: u64 = 1_200_000;
const UPDATES: u64 = 1_500_000;
/// Between two looks at what is held.
const BURST: u64 = 1_000;

struct Task {
    stores: TaskStores,
    counts: KeyValueStore<Vec<u8>, u64>,
}

#[test]
fn rows_of_ten_times_the_budget_stay_within_it() {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let memory = StateMemory::new(BUDGET);
    let background = BackgroundThread::start("background", || Duration::ZERO).unwrap();
    let limits = memory.limits_of_thread(1);
    let before = ALLOCATED.load(Ordering::Relaxed);
    let mut tasks: Vec<Task> =
        (0..TASKS).map(|partition| open(partition, &directory, &memory, &background)).collect();
    PEAK.store(before, Ordering::Relaxed);

    let mut key = 1_u64;
    let mut next = 0;
    while next < UPDATES {
        for _ in 0..BURST {
            // A full-period step through the keys, in no order that a cache could use.
            key = (key + 7_919_999) % KEYS;
            count(&tasks[usize::try_from(key).unwrap() % TASKS], key);
        }
        next += BURST;
        tasks.iter_mut().for_each(|task| drain(&mut task.stores));
        if total(&tasks, TaskStores::uncommitted_bytes) > limits.uncommitted {
            commit_and_checkpoint(&mut tasks, limits, next);
        }
    }

    let held = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    // What a commit encodes is there twice until the tables give way, which they do when next used; these rows encoded take less
    // than half of what they take in a table.
    let most = BUDGET / 2 + limits.uncommitted / 2;
    assert!(held <= most, "{held} bytes of rows were held, {most} at most");
    assert!(held >= BUDGET / 4, "only {held} bytes were held: the budget is not used");
    let cached: usize =
        tasks.iter().flat_map(|task| task.stores.stats()).map(|store| store.cached_bytes).sum();
    assert!(cached > BUDGET / 16, "the tables were left {cached} bytes");

    drop(tasks);
    drop(background);
    assert!(memory.used() < BUDGET / 2, "{} bytes are still counted", memory.used());
}

/// What a stream thread does once its tasks hold too much.
fn commit_and_checkpoint(tasks: &mut [Task], limits: RowLimits, next: u64) {
    for Task { stores, .. } in tasks.iter_mut() {
        stores.prepare_commit().unwrap();
        drain(stores);
        stores.commit(Arc::new(Position::new())).unwrap();
        stores.poll_checkpoint().unwrap();
    }
    while total(tasks, TaskStores::uncheckpointed_bytes) > limits.uncheckpointed / 2 {
        let with_most =
            tasks.iter_mut().map(|task| &mut task.stores).max_by_key(|stores| stores.uncheckpointed_bytes());
        let stores = with_most.unwrap();
        stores.await_checkpoint().unwrap();
        stores
            .begin_checkpoint(&[(
                StoreIndex::new(0).into(),
                Offset::new(i64::try_from(next).unwrap()).into(),
            )])
            .unwrap();
    }
    for place in 0..tasks.len() {
        let held = total(tasks, |stores| stores.uncheckpointed_bytes() + stores.checkpointing_bytes());
        if held > limits.uncheckpointed {
            tasks[place].stores.await_checkpoint().unwrap();
        }
    }
}

fn open(
    partition: usize,
    directory: &StateDirectory,
    memory: &Arc<StateMemory>,
    background: &Arc<BackgroundThread>,
) -> Task {
    let task = TaskId { subtopology: 0, partition: i32::try_from(partition).unwrap() };
    let builder = KeyValueStoreBuilder::new("counts", <Vec<u8>>::serde(), u64::serde());
    let options =
        TaskStoresOptions { background: Some(Arc::clone(background)), ..TaskStoresOptions::default() };
    let locked = Some(directory.lock_task(task).unwrap());
    let stores =
        TaskStores::open(task, "shop", locked, Arc::clone(memory), options, &[Arc::new(builder)]).unwrap();
    let counts = stores.key_value("counts").unwrap();
    Task { stores, counts }
}

fn count(task: &Task, key: u64) {
    let at = Timestamp::from_millis(1);
    let counted = task.counts.update(&key.to_be_bytes().to_vec(), at, false, |count| {
        Ok::<_, StoreError>(Some(ValueAndTimestamp::new(count.map_or(0, |count| count.value) + 1, at)))
    });
    counted.unwrap();
}

fn drain(stores: &mut TaskStores) {
    stores.drain_changelog(|_| Ok::<_, StoreError>(())).unwrap();
}

fn total(tasks: &[Task], bytes: impl Fn(&TaskStores) -> usize) -> usize {
    tasks.iter().map(|task| bytes(&task.stores)).sum()
}
