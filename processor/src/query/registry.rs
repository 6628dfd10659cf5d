//! Which stores of which tasks this instance has, kept by the stream threads and read by queries.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use millstream_state_stores::{StoreReader, TaskId, partition_for_key};
use parking_lot::RwLock;

use super::counts::{QueryCounts, QueryKind};
use super::error::QueryError;
use crate::topology::{TopicName, Topology};

/// A store in one task.
#[derive(Clone)]
pub(crate) enum StoreStatus {
    /// Catching up with its changelog.
    Restoring,
    /// Readable.
    Open(Arc<StoreReader>),
}

/// Who told of a store, and may take it away: a task can come to one thread before its sibling, who had it, hears that it has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreOwner(u64);

/// All stores of an instance.
pub(crate) struct StoreRegistry {
    stores: BTreeMap<String, Partitions>,
    owners: AtomicU64,
}

struct Partitions {
    count: AtomicI32,
    queries: QueryCounts,
    tasks: RwLock<BTreeMap<TaskId, Entry>>,
}

struct Entry {
    owner: StoreOwner,
    status: StoreStatus,
}

impl StoreRegistry {
    pub(crate) fn new(topology: &Topology, counts: &BTreeMap<TopicName, i32>) -> Self {
        let partitions =
            |count| Partitions { count, queries: QueryCounts::default(), tasks: RwLock::default() };
        let stores = counts_of_stores(topology, counts);
        let stores = stores.map(|(store, count)| (store, partitions(AtomicI32::new(count)))).collect();
        StoreRegistry { stores, owners: AtomicU64::new(0) }
    }

    /// The topics are others, and with them the number of partitions of each store.
    pub(crate) fn become_as_many(&self, topology: &Topology, counts: &BTreeMap<TopicName, i32>) {
        for (store, count) in counts_of_stores(topology, counts) {
            if let Some(partitions) = self.stores.get(&store) {
                partitions.count.store(count, Ordering::Relaxed);
            }
        }
    }

    /// Somebody new who has stores.
    pub(crate) fn new_owner(&self) -> StoreOwner {
        StoreOwner(self.owners.fetch_add(1, Ordering::Relaxed))
    }

    /// Tells of a store, over what anybody has told before.
    pub(crate) fn set(&self, owner: StoreOwner, store: &str, task: TaskId, status: StoreStatus) {
        if let Some(partitions) = self.stores.get(store) {
            partitions.tasks.write().insert(task, Entry { owner, status });
        }
    }

    /// Takes the stores of a task away, unless somebody else has told of them since.
    pub(crate) fn remove_task(&self, owner: StoreOwner, task: TaskId) {
        for partitions in self.stores.values() {
            partitions.tasks.write().retain(|id, entry| *id != task || entry.owner != owner);
        }
    }

    /// Notes that a query was asked. One for a store that does not exist is not counted anywhere.
    pub(crate) fn count_query(&self, store: &str, kind: QueryKind) {
        if let Some(partitions) = self.stores.get(store) {
            partitions.queries.add(kind);
        }
    }

    /// How many queries of each kind each store was asked.
    pub(crate) fn query_counts(&self) -> impl Iterator<Item = (&str, QueryKind, u64)> {
        self.stores.iter().flat_map(|(store, partitions)| {
            QueryKind::ALL.map(|kind| (store.as_str(), kind, partitions.queries.of(kind)))
        })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.stores.keys().map(String::as_str)
    }

    fn partitions(&self, store: &str) -> Result<&Partitions, QueryError> {
        self.stores.get(store).ok_or_else(|| QueryError::UnknownStore {
            store: store.to_string(),
            known: self.stores.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// How many of the store's partitions are open here, and how many there are.
    pub(crate) fn coverage(&self, store: &str) -> Result<(usize, i32), QueryError> {
        let partitions = self.partitions(store)?;
        let tasks = partitions.tasks.read();
        let open = tasks.values().filter(|entry| matches!(entry.status, StoreStatus::Open(_))).count();
        Ok((open, partitions.count.load(Ordering::Relaxed)))
    }

    /// The readers of all partitions that this instance has.
    ///
    /// # Errors
    /// `Restoring` if one of them is not readable yet; `NotHere` if there is none.
    pub(crate) fn readers(&self, store: &str) -> Result<Vec<Arc<StoreReader>>, QueryError> {
        let partitions = self.partitions(store)?;
        let tasks = partitions.tasks.read();
        let mut readers = Vec::with_capacity(tasks.len());
        for (task, entry) in &*tasks {
            match &entry.status {
                StoreStatus::Open(reader) => readers.push(Arc::clone(reader)),
                StoreStatus::Restoring => {
                    return Err(QueryError::Restoring { store: store.to_string(), task: *task });
                }
            }
        }
        if readers.is_empty() {
            return Err(QueryError::NotHere { store: store.to_string(), partition: 0 });
        }
        Ok(readers)
    }

    /// The readers that may have a key: first that of the partition the default partitioner gives it, then the others, because
    /// a producer of the input may have placed it differently.
    ///
    /// The flag says whether "not found in these" means that the key does not exist.
    pub(crate) fn readers_for_key(
        &self,
        store: &str,
        key: &[u8],
    ) -> Result<(Vec<Arc<StoreReader>>, bool), QueryError> {
        let partitions = self.partitions(store)?;
        let partition = partition_for_key(key, partitions.count.load(Ordering::Relaxed));
        let tasks = partitions.tasks.read();
        let home = tasks.iter().find(|(task, _)| task.partition == partition);
        if let Some((task, Entry { status: StoreStatus::Restoring, .. })) = home {
            return Err(QueryError::Restoring { store: store.to_string(), task: *task });
        }
        let mut readers = Vec::with_capacity(tasks.len());
        let others = tasks.iter().filter(|(task, _)| task.partition != partition);
        for (_, entry) in home.into_iter().chain(others) {
            if let StoreStatus::Open(reader) = &entry.status {
                readers.push(Arc::clone(reader));
            }
        }
        Ok((readers, home.is_some()))
    }

    /// The error for a key that was not found here although its partition is elsewhere.
    pub(crate) fn not_here(&self, store: &str, key: &[u8]) -> QueryError {
        let count = self.stores.get(store).map_or(1, |partitions| partitions.count.load(Ordering::Relaxed));
        QueryError::NotHere { store: store.to_string(), partition: partition_for_key(key, count) }
    }
}

/// Each store with the number of its partitions.
fn counts_of_stores(
    topology: &Topology,
    counts: &BTreeMap<TopicName, i32>,
) -> impl Iterator<Item = (String, i32)> {
    topology.subtopologies().into_iter().flat_map(move |part| {
        // Every instance has all of a global table.
        let topics = part.source_topics.iter().filter(|_| !part.is_global);
        let count = topics.filter_map(|topic| counts.get(topic)).max().copied().unwrap_or(1);
        part.stores.into_iter().map(move |store| (store, count))
    })
}
