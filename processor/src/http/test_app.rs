//! An application as its threads leave it, made by hand: rows, states and snapshots, without Kafka and without threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millstream_state_stores::{
    CheckpointStats, EngineSizes, HasSerde, KeyValueStoreBuilder, Offset, PartitionId, Position, ProcessId,
    StateMemory, StoreBuilder, StoreStats, TaskId, TaskStores, TaskStoresOptions, Timestamp,
    ValueAndTimestamp, WindowStoreBuilder, json_serde, partition_for_key,
};
use serde::{Deserialize, Serialize};

use crate::clock::ManualClock;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::query::StoreStatus;
use crate::runtime::{
    ApplicationTopics, ClientState, PartitionSnapshot, RestoreProgress, Shared, SharedParts, StopSignal,
    TaskSnapshot, ThreadSnapshot, ThreadState, TimeSpent, UpdaterSnapshot,
};
use crate::task::TaskState;
use crate::testing::no_cluster::NoCluster;
use crate::testing::pass_on::PassOn;
use crate::topology::{Consumed, Topology};

/// An order, written as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    sku: String,
    quantity: u32,
}
json_serde!(Order);

/// The application `shop`, with two partitions:
/// - store `stock`, text to number, all of it here;
/// - store `orders`, number to JSON, versioned, of which partition 0 is here;
/// - store `prices`, which restores;
/// - store `views-per-minute`, text in windows to number, all of it here.
pub(crate) struct TestApp {
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Arc<Metrics>,
    stores: Vec<TaskStores>,
}

pub(crate) const TASKS: [TaskId; 2] =
    [TaskId { subtopology: 0, partition: 0 }, TaskId { subtopology: 0, partition: 1 }];

pub(crate) const STOCK: [(&str, i64); 6] =
    [("apples", 3), ("apples/green", -1), ("Äpfel 100%", 7), ("pears", 12), ("plums", 0), ("quinces?", 40)];

/// Views of products in minutes: product, minute, count.
const VIEWS: [(&str, i64, u64); 5] =
    [("apples", 0, 7), ("apples", 1, 8), ("apples", 3, 9), ("pears", 1, 5), ("äpfel", 2, 1)];

impl TestApp {
    /// The application in the state `Created`.
    pub(crate) fn created() -> Self {
        let topology = Arc::new(topology().expect("the topology is right"));
        let settings = Settings { num_stream_threads: 2, ..Settings::new("nowhere:9092") };
        let shared = Arc::new(Shared::new(SharedParts {
            application_id: "shop".into(),
            topology,
            settings,
            clock: ManualClock::at(Timestamp::from_millis(0)),
            admin: Arc::new(NoCluster),
            plans: Vec::new(),
            background: None,
            topics: ApplicationTopics {
                partition_counts: BTreeMap::from([("stock-movements".into(), 2)]),
                ..ApplicationTopics::default()
            },
            restore_listener: None,
            state_listener: None,
            failure_handler: None,
            process_id: ProcessId::unclaimed("process"),
            stop: StopSignal::default(),
        }));
        let stores = TASKS.map(|task| open_stores(&shared, task).expect("the rows fit their stores")).into();
        let metrics = Metrics::new(Arc::clone(&shared)).expect("each metric has a name of its own");
        TestApp { shared, metrics: Arc::new(metrics), stores }
    }

    /// The application with all its threads running.
    pub(crate) fn running() -> Self {
        let app = TestApp::created();
        app.shared.move_to(ClientState::Rebalancing);
        for thread in app.shared.threads.places() {
            app.shared.thread_is(&thread, ThreadState::Running);
        }
        assert_eq!(app.shared.state(), ClientState::Running);
        app
    }

    /// Closes the stores before the registry knows, as when a query meets a task on its way out.
    pub(crate) fn close_stores(&mut self) {
        self.stores.clear();
    }

    /// Gives the first thread a past and two tasks, one of which restores `prices`; a third has a standby here.
    pub(crate) fn with_snapshots(self) -> Self {
        let [first, second] = TASKS;
        let place = Arc::clone(&self.shared.threads.places()[0]);
        let mut thread = thread_snapshot(place.name());
        thread.tasks = vec![
            TaskSnapshot { state: TaskState::Running, ..task_snapshot(first) },
            TaskSnapshot {
                restores: vec![RestoreProgress {
                    task: second,
                    store: "prices".into(),
                    from: Offset::new(100),
                    next: Offset::new(400),
                    end: Offset::new(1000),
                    records: 250,
                    left_out: 2,
                }],
                state: TaskState::Restoring,
                ..task_snapshot(second)
            },
        ];
        place.tell(thread);
        let elsewhere = TaskId { subtopology: 0, partition: 2 };
        let standby = RestoreProgress {
            task: elsewhere,
            store: "stock".into(),
            from: Offset::new(0),
            next: Offset::new(70),
            end: Offset::new(75),
            records: 60,
            left_out: 0,
        };
        self.shared.state_updater.publish(UpdaterSnapshot {
            standbys: BTreeMap::from([(elsewhere, vec![standby])]),
            promotions: 3,
            ..UpdaterSnapshot::default()
        });
        self.shared.state_bytes.store(70_000, Ordering::Relaxed);
        self
    }
}

fn topology() -> Result<Topology> {
    let mut topology = Topology::new();
    topology.add_source("movements", ["stock-movements"], Consumed::with(String::serde(), i64::serde()))?;
    for builder in builders() {
        topology.add_state_store(builder)?;
    }
    let stores = ["stock", "orders", "prices", "views-per-minute"];
    topology.add_processor("count", &["movements"], &stores, |_| Ok(PassOn))?;
    topology.add_sink("levels", &["count"], "stock-levels", String::serde(), i64::serde())?;
    Ok(topology)
}

fn builders() -> [Arc<dyn StoreBuilder>; 4] {
    let (day, minute) = (Duration::from_secs(86_400), Duration::from_secs(60));
    [
        Arc::new(KeyValueStoreBuilder::new("stock", String::serde(), i64::serde())),
        Arc::new(KeyValueStoreBuilder::new("orders", u64::serde(), Order::serde()).versioned(minute)),
        Arc::new(KeyValueStoreBuilder::new("prices", Vec::<u8>::serde(), f64::serde())),
        Arc::new(WindowStoreBuilder::new("views-per-minute", day, minute, String::serde(), u64::serde())),
    ]
}

/// Fills the stores of a task, commits, and lets queries see them.
fn open_stores(shared: &Shared, task: TaskId) -> Result<TaskStores> {
    let memory = StateMemory::new(16 << 20);
    let options = TaskStoresOptions::default();
    let mut stores = TaskStores::open(task, "shop", None, memory, options, &builders())?;
    let at = |millis| Timestamp::from_millis(millis);
    let stock = stores.key_value::<String, i64>("stock")?;
    for (sku, quantity) in STOCK {
        if partition_for_key(sku.as_bytes(), 2) == task.partition {
            stock.put(&sku.to_string(), Some(ValueAndTimestamp::new(quantity, at(1_700))))?;
        }
    }
    let views = stores.window::<String, u64>("views-per-minute")?;
    for (sku, minute, count) in VIEWS {
        if partition_for_key(sku.as_bytes(), 2) == task.partition {
            let start = at(minute * 60_000);
            views.put(&sku.to_string(), start, Some(ValueAndTimestamp::new(count, start)))?;
        }
    }
    let orders = stores.versioned::<u64, Order>("orders")?;
    for number in (0..20).filter(|number: &u64| partition_for_key(&number.to_be_bytes(), 2) == task.partition)
    {
        for (quantity, millis) in [(5, 1_000), (1, 1_800)] {
            let order = Order { sku: "apples".into(), quantity };
            orders.put(&number, Some(order), at(millis))?;
        }
    }
    stores.prepare_commit()?;
    stores.drain_changelog(|_entry| Ok::<(), Error>(()))?;
    let mut position = Position::new();
    position.set("stock-movements", PartitionId::new(task.partition), Offset::new(42));
    stores.commit(Arc::new(position))?;

    let owner = shared.stores.new_owner();
    let open = |store| StoreStatus::Open(stores.reader(store).expect("the task has the store"));
    shared.stores.set(owner, "stock", task, open("stock"));
    shared.stores.set(owner, "views-per-minute", task, open("views-per-minute"));
    if task.partition == 0 {
        shared.stores.set(owner, "orders", task, open("orders"));
    }
    shared.stores.set(owner, "prices", task, StoreStatus::Restoring);
    Ok(stores)
}

fn thread_snapshot(name: &Arc<str>) -> ThreadSnapshot {
    ThreadSnapshot {
        state: ThreadState::Running,
        records_consumed: 1_000,
        bytes_consumed: 20_000,
        records_produced: 900,
        bytes_produced: 18_000,
        polls: 70,
        poll_time: Duration::from_millis(7_500),
        process_time: Duration::from_millis(1_250),
        commits: 12,
        commit_time: spent(480, 95),
        commit_time_in_stores: spent(120, 15),
        commit_time_for_kafka: spent(360, 80),
        last_commit_time: Duration::from_millis(40),
        rebalances: 2,
        failures: 1,
        transactions_committed: 11,
        transactions_aborted: 2,
        transaction_time: Duration::from_millis(125),
        restarts: 1,
        ..ThreadSnapshot::before_start(Arc::clone(name))
    }
}

fn spent(total_millis: u64, longest_millis: u64) -> TimeSpent {
    TimeSpent { total: Duration::from_millis(total_millis), longest: Duration::from_millis(longest_millis) }
}

fn task_snapshot(id: TaskId) -> TaskSnapshot {
    TaskSnapshot {
        processed: 990,
        punctuations: 12,
        dropped: 3,
        skipped: [4, 5, 6],
        dead_letters: [7, 8, 9],
        checkpoints: CheckpointStats { written: 2, time: Duration::from_millis(1_500), is_in_flight: true },
        stream_time: Some(Timestamp::from_millis(1_700_000_000_250)),
        partitions: vec![PartitionSnapshot {
            topic: "stock-movements".into(),
            partition: id.partition,
            processed_to: Some(Offset::new(42)),
            committed_to: Some(Offset::new(40)),
            lag: Some(8),
            buffered: 5,
        }],
        stores: vec![StoreStats {
            store: "stock".into(),
            cache_hits: 880,
            cache_misses: 110,
            cached_entries: 60,
            cached_bytes: 6_000,
            uncommitted_entries: 10,
            overlay_entries: 30,
            overlay_bytes: 3_000,
        }],
        engine: Some(EngineSizes { memtable_bytes: 4_096, sst_bytes: 65_536, estimated_keys: 500 }),
        ..TaskSnapshot::created(id, TaskState::Created)
    }
}
