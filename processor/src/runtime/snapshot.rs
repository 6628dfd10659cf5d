//! What a thread tells about itself now and then: plain values, read by metrics, HTTP and tests without touching the loop.

use std::sync::Arc;
use std::time::Duration;

use millstream_state_stores::{CheckpointStats, EngineSizes, Offset, StoreStats, TaskId, Timestamp};

use super::pending::PendingTask;
use super::state::ThreadState;
use super::state_updater::RestoreProgress;
use crate::clients::Consumer;
use crate::task::{InputMessage, Task, TaskState};

/// Time spent on something that happens again and again, since the thread started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeSpent {
    /// All of it.
    pub total: Duration,
    /// The longest at once.
    pub longest: Duration,
}

impl TimeSpent {
    /// Adds one time it happened.
    pub(crate) fn add(&mut self, time: Duration) {
        self.total += time;
        self.longest = self.longest.max(time);
    }
}

/// A stream thread as of its last report.
#[derive(Clone, Debug)]
pub struct ThreadSnapshot {
    /// Thread name.
    pub name: Arc<str>,
    /// Where it is in its life.
    pub state: ThreadState,
    /// Records fetched.
    pub records_consumed: u64,
    /// Bytes of keys and values fetched.
    pub bytes_consumed: u64,
    /// Records handed to the producer, changelogs included.
    pub records_produced: u64,
    /// Bytes of keys and values handed to the producer.
    pub bytes_produced: u64,
    /// Rounds of the loop.
    pub polls: u64,
    /// Time spent fetching and waiting for records.
    pub poll_time: Duration,
    /// Time spent processing.
    pub process_time: Duration,
    /// Commits made.
    pub commits: u64,
    /// Time spent committing, checkpoints begun or waited for included.
    pub commit_time: TimeSpent,
    /// Of it, in operators and stores: emitting what caches hold back, encoding, publishing, checkpoints.
    pub commit_time_in_stores: TimeSpent,
    /// Of it, for Kafka: handing records to the producer, waiting until they are acknowledged, committing offsets.
    pub commit_time_for_kafka: TimeSpent,
    /// Time the last commit took.
    pub last_commit_time: Duration,
    /// Exactly-once: transactions committed.
    pub transactions_committed: u64,
    /// Exactly-once: transactions aborted, whose records were processed again.
    pub transactions_aborted: u64,
    /// Exactly-once: time spent committing transactions, once everything in them was acknowledged.
    pub transaction_time: Duration,
    /// Assignments and revocations carried out.
    pub rebalances: u64,
    /// Commits that failed and were tried again.
    pub failures: u64,
    /// Times it began anew, because it was fenced, because the outcome of a transaction was unknown, or because it was replaced.
    pub restarts: u64,
    /// Its tasks.
    pub tasks: Vec<TaskSnapshot>,
}

impl ThreadSnapshot {
    /// What there is to tell of a thread that has not reported yet.
    pub(crate) fn before_start(name: Arc<str>) -> Self {
        ThreadSnapshot {
            name,
            state: ThreadState::Rebalancing,
            records_consumed: 0,
            bytes_consumed: 0,
            records_produced: 0,
            bytes_produced: 0,
            polls: 0,
            poll_time: Duration::ZERO,
            process_time: Duration::ZERO,
            commits: 0,
            commit_time: TimeSpent::default(),
            commit_time_in_stores: TimeSpent::default(),
            commit_time_for_kafka: TimeSpent::default(),
            last_commit_time: Duration::ZERO,
            transactions_committed: 0,
            transactions_aborted: 0,
            transaction_time: Duration::ZERO,
            rebalances: 0,
            failures: 0,
            restarts: 0,
            tasks: Vec::new(),
        }
    }
}

/// A task as of its thread's last report.
#[derive(Clone, Debug)]
pub struct TaskSnapshot {
    /// Task id.
    pub id: TaskId,
    /// Where it is in its life.
    pub state: TaskState,
    /// Records that went through the topology.
    pub processed: u64,
    /// Calls of what its processors scheduled.
    pub punctuations: u64,
    /// Records dropped by an operator's semantics.
    pub dropped: u64,
    /// Records skipped by a handler, by stage: decode, process, produce.
    pub skipped: [u64; 3],
    /// Records dead-lettered by a handler, by stage: decode, process, produce.
    pub dead_letters: [u64; 3],
    /// Its checkpoints.
    pub checkpoints: CheckpointStats,
    /// Largest event time seen.
    pub stream_time: Option<Timestamp>,
    /// Its input partitions.
    pub partitions: Vec<PartitionSnapshot>,
    /// Its restores since it was created.
    pub restores: Vec<RestoreProgress>,
    /// Its stores.
    pub stores: Vec<StoreStats>,
    /// Sizes of its RocksDB; none if it could not be asked.
    pub engine: Option<EngineSizes>,
}

impl TaskSnapshot {
    /// A task that runs. `restores`: those that it was made complete by.
    pub(crate) fn of(
        task: &Task<impl InputMessage>,
        consumer: &impl Consumer,
        restores: Vec<RestoreProgress>,
    ) -> Self {
        let counters = task.counters();
        let partitions = task.queues().iter().map(|queue| {
            let end = consumer.last_seen_end(queue.topic(), queue.partition());
            let lag = end
                .zip(queue.processed_to())
                .map(|(end, next)| u64::try_from(end.get() - next.get()).unwrap_or(0));
            PartitionSnapshot {
                topic: Arc::clone(queue.topic()),
                partition: queue.partition(),
                processed_to: queue.processed_to(),
                committed_to: queue.committed_to(),
                lag,
                buffered: queue.len(),
            }
        });
        TaskSnapshot {
            id: task.id(),
            state: task.state(),
            processed: counters.processed,
            punctuations: counters.punctuations,
            dropped: counters.dropped,
            skipped: counters.skipped,
            dead_letters: counters.dead_letters,
            checkpoints: task.stores().checkpoint_stats(),
            stream_time: task.stream_time(),
            partitions: partitions.collect(),
            restores,
            stores: task.stores().stats(),
            engine: task.stores().engine_sizes().ok(),
        }
    }
}

impl TaskSnapshot {
    /// A task whose stores are not complete yet, and how far they are.
    pub(crate) fn pending(task: &PendingTask, restores: Vec<RestoreProgress>) -> Self {
        let partitions = task.starts.iter().map(|start| PartitionSnapshot {
            topic: Arc::clone(&start.topic),
            partition: start.partition,
            processed_to: None,
            committed_to: None,
            lag: None,
            buffered: 0,
        });
        TaskSnapshot {
            partitions: partitions.collect(),
            restores,
            ..TaskSnapshot::created(task.id, TaskState::Restoring)
        }
    }

    /// What there is to tell of a task that has done nothing yet.
    pub(crate) fn created(id: TaskId, state: TaskState) -> Self {
        TaskSnapshot {
            id,
            state,
            processed: 0,
            punctuations: 0,
            dropped: 0,
            skipped: [0; 3],
            dead_letters: [0; 3],
            checkpoints: CheckpointStats::default(),
            stream_time: None,
            partitions: Vec::new(),
            restores: Vec::new(),
            stores: Vec::new(),
            engine: None,
        }
    }
}

/// An input partition as of its thread's last report.
#[derive(Clone, Debug)]
pub struct PartitionSnapshot {
    /// Topic in Kafka.
    pub topic: Arc<str>,
    /// Partition number.
    pub partition: i32,
    /// The offset after the last record processed.
    pub processed_to: Option<Offset>,
    /// The offset of the last commit.
    pub committed_to: Option<Offset>,
    /// Records between what was processed and the end that the last fetch saw.
    pub lag: Option<u64>,
    /// Records fetched that wait for the task.
    pub buffered: usize,
}
