//! What the stores of a task cost: `cargo bench --workspace --bench stores -- <filter>`, one module per subject.
//!
//! All of them work on [`KEYS`] keys of a store on disk, visited in a scattered order, as records arrive.

mod commit;
mod read;
mod restore;
mod update;

use std::path::Path;
use std::sync::Arc;

use criterion::Criterion;
use criterion::measurement::{Measurement, WallTime};
use millstream_state_stores::{
    BackgroundThread, DormantStores, HasSerde, KeyValueStore, KeyValueStoreBuilder, Position, StateDirectory,
    StateMemory, StoreError, StoreIndex, TaskId, TaskStores, TaskStoresOptions, Timestamp, ValueAndTimestamp,
};

const KEYS: usize = 100_000;
const TASK: TaskId = TaskId { subtopology: 0, partition: 0 };

type Counts = KeyValueStore<String, i64>;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    update::bench(&mut criterion);
    commit::bench(&mut criterion);
    read::bench(&mut criterion);
    restore::bench(&mut criterion);
    criterion.final_summary();
}

/// The stores of a task under `root`, with one store of counts whose emission is cached or not.
fn open(root: &Path, is_cached: bool, state_memory: usize) -> (TaskStores, Counts) {
    let start = WallTime.start();
    let background = BackgroundThread::start("bench-background", move || WallTime.end(start));
    let background = Some(background.expect("one more thread"));
    let options = TaskStoresOptions { background, ..TaskStoresOptions::default() };
    let stores = open_dormant(root, is_cached, state_memory).wake(options);
    let counts = stores.key_value("counts").expect("just declared");
    (stores, counts)
}

/// The same stores before they are given tables.
fn open_dormant(root: &Path, is_cached: bool, state_memory: usize) -> DormantStores {
    let builder = KeyValueStoreBuilder::new("counts", String::serde(), i64::serde()).with_caching(is_cached);
    let directory =
        StateDirectory::new(root, "bench").lock_task(TASK).expect("nobody else knows the directory");
    let memory = StateMemory::new(state_memory);
    DormantStores::open(TASK, "bench", Some(directory), memory, &[Arc::new(builder)])
        .expect("the directory is new or this task's")
}

fn store() -> StoreIndex {
    StoreIndex::new(0)
}

/// Keys as strings, in a scattered order: neighbours in time are no neighbours in the table or on disk.
fn scattered_keys(count: usize) -> Vec<String> {
    const STRIDE: usize = 7_919;
    (0..count).map(|place| format!("customer-{:08}", place * STRIDE % count)).collect()
}

/// One more of `key`, as a count does it.
fn count_up(counts: &Counts, key: &String) {
    let at = Timestamp::from_millis(1);
    let counted = counts.update(key, at, false, |count| {
        Ok::<_, StoreError>(Some(ValueAndTimestamp::new(count.map_or(0, |count| count.value) + 1, at)))
    });
    counted.expect("counts can be encoded");
}

/// A commit with a broker that takes everything at once.
fn commit(stores: &mut TaskStores) {
    stores.prepare_commit().expect("counts can be encoded");
    send_changelog(stores);
    stores.commit(Arc::new(Position::new())).expect("prepared and sent");
}

fn send_changelog(stores: &mut TaskStores) {
    stores.drain_changelog(|_| Ok::<_, StoreError>(())).expect("nothing is refused");
}
