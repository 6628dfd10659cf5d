//! A task: one sub-topology for one partition, with its stores and queues. The same code runs on Kafka and in the test driver.
//!
//! Does not know the Kafka client or threads: messages come in through [`Task::enqueue`], outputs leave through a [`RecordSender`].

mod build;
mod execute;
mod failure;
mod heartbeat;
mod nodes;
mod punctuate;
mod queue;
mod recency;
mod state;

use std::sync::Arc;
use std::time::Duration;

use millstream_state_stores::{
    LogPartition, LogPosition, Offset, PartitionId, Position, StoreIndex, TaskId, TaskStores, Timestamp,
};

use crate::api::{Headers, TaskContext};
use crate::error::{Error, Result};
use crate::handlers::Handlers;
use crate::topology::RawRecord;

pub(crate) use build::{RestoredFrom, TaskPlan, TaskSite};
pub(crate) use failure::FailedOutput;
use failure::FailureLog;
use nodes::Nodes;
pub(crate) use queue::PartitionQueue;
pub(crate) use recency::Recency;
pub use state::TaskState;

/// Records a task processes before its outputs are handed to the producer.
pub(crate) const BURST: usize = 1000;

/// A record of the input, as whatever holds it. Kafka's messages on a cluster, owned bytes in tests.
pub(crate) trait InputMessage {
    fn offset(&self) -> Offset;
    fn raw(&self) -> RawRecord<'_>;
    fn headers(&self) -> Headers;
}

/// A topic as a [`RecordSender`] refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderTopic(pub(crate) u32);

/// Where the offsets of one changelog partition's acknowledged records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChangelogSlot(pub(crate) u32);

/// A record on its way out.
#[derive(Debug)]
pub(crate) struct OutgoingRecord<'a> {
    pub(crate) topic: SenderTopic,
    /// None: by the hash of the key, as Kafka's default partitioner; without a key, spread evenly.
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<&'a [u8]>,
    /// How many bytes at the end of the key have no say in its partition.
    pub(crate) unhashed_key_bytes: usize,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) timestamp: Timestamp,
    pub(crate) headers: &'a Headers,
    /// Set for changelog records, so that the acknowledged offset can be asked for.
    pub(crate) changelog: Option<ChangelogSlot>,
}

impl<'a> OutgoingRecord<'a> {
    /// The part of the key that decides the partition.
    pub(crate) fn hashed_key(&self) -> Option<&'a [u8]> {
        self.key.map(|key| &key[..key.len().saturating_sub(self.unhashed_key_bytes)])
    }
}

/// Takes the records that leave tasks.
pub(crate) trait RecordSender {
    fn resolve(&mut self, topic: &str) -> Result<SenderTopic>;
    /// # Errors
    /// `Record` if this one record cannot be sent, whatever is tried; any other kind if none can.
    fn send(&mut self, record: &OutgoingRecord<'_>) -> Result<()>;
    fn open_changelog(&mut self) -> ChangelogSlot;
    /// The offset after the last acknowledged record of the slot; none before the first.
    fn acknowledged(&self, slot: ChangelogSlot) -> Option<Offset>;
}

/// What a task counts, in plain integers on the path; copied out now and then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TaskCounters {
    pub(crate) processed: u64,
    pub(crate) punctuations: u64,
    pub(crate) dropped: u64,
    pub(crate) skipped: [u64; 3],
    pub(crate) dead_letters: [u64; 3],
}

/// See the module's description.
pub(crate) struct Task<M> {
    id: TaskId,
    state: TaskState,
    queues: Vec<PartitionQueue<M>>,
    /// By queue: the log that it is of a store which is a copy of what it reads.
    sources: Vec<Option<SourceLog>>,
    nodes: Nodes,
    context: TaskContext,
    sender_topics: Vec<SenderTopic>,
    /// Outputs that the sender refused and no handler was asked about yet.
    refused: Vec<FailedOutput>,
    stores: TaskStores,
    changelogs: Vec<Option<Changelog>>,
    /// How recent the state was at the last checkpoint.
    checkpointed_as_of: Option<Timestamp>,
    handlers: Handlers,
    can_take_back: bool,
    dead_letter_topic: Arc<str>,
    max_idle: Option<Duration>,
    /// Since when a full input waits for an empty one.
    waiting_since: Option<Duration>,
    counters: TaskCounters,
    failure_log: FailureLog,
    /// Whether its processors have begun.
    is_initialized: bool,
    /// Whether something happened since the last commit that no input record led to.
    acted_by_itself: bool,
    /// Whether anything happened since the last commit.
    needs_commit: bool,
    /// When the task has read a heartbeat since the last commit, by the monotonic clock.
    heartbeat_read_at: Option<Duration>,
    /// Whether the first half of a commit is done and the second is not.
    is_prepared: bool,
}

/// A log that is read as input, and how recent it makes the store that is a copy of it.
struct SourceLog {
    log: LogPartition,
    recency: Recency,
}

/// A store's changelog: the topic in Kafka and, once the task sends to it, where its acknowledged offset is kept.
pub(crate) struct Changelog {
    pub(crate) topic: Arc<str>,
    headers: Headers,
    sending: Option<(SenderTopic, ChangelogSlot)>,
    /// The changelog position that the committed state reflects.
    reflected: Option<LogPosition>,
}

impl<M: InputMessage> Task<M> {
    pub(crate) fn id(&self) -> TaskId {
        self.id
    }

    pub(crate) fn state(&self) -> TaskState {
        self.state
    }

    /// Moves to another state.
    ///
    /// # Errors
    /// `Fatal` if the diagram at [`TaskState`] has no such arrow.
    pub(crate) fn become_state(&mut self, next: TaskState) -> Result<()> {
        self.state = self.state.become_state(next).map_err(|error| error.in_task(self.id))?;
        Ok(())
    }

    /// Stops where the last commit was, with everything open.
    ///
    /// # Errors
    /// `Fatal` if something is not committed: whoever has the task next would not know of it.
    pub(crate) fn suspend(&mut self) -> Result<()> {
        if self.needs_commit {
            return Err(Error::fatal("suspended with what it has not committed").in_task(self.id));
        }
        self.queues.iter_mut().for_each(PartitionQueue::suspend);
        self.waiting_since = None;
        self.become_state(TaskState::Suspended)
    }

    pub(crate) fn queues(&self) -> &[PartitionQueue<M>] {
        &self.queues
    }

    pub(crate) fn queues_mut(&mut self) -> &mut [PartitionQueue<M>] {
        &mut self.queues
    }

    pub(crate) fn queue_mut(&mut self, input: usize) -> &mut PartitionQueue<M> {
        &mut self.queues[input]
    }

    pub(crate) fn stores(&self) -> &TaskStores {
        &self.stores
    }

    pub(crate) fn changelogs(&self) -> impl Iterator<Item = (StoreIndex, &Changelog)> {
        let indexed = self.changelogs.iter().enumerate();
        indexed.filter_map(|(index, changelog)| {
            changelog.as_ref().map(|changelog| (StoreIndex::new(index), changelog))
        })
    }

    /// Notes that the store holds everything of its changelog before a position.
    pub(crate) fn restored_to(&mut self, store: StoreIndex, position: LogPosition) {
        self.checkpointed_as_of = self.checkpointed_as_of.max(position.as_of);
        if let Some(Some(changelog)) = self.changelogs.get_mut(store.get()) {
            changelog.reflected = Some(position);
        }
        for source in self.sources.iter_mut().flatten().filter(|source| source.log == store.into()) {
            source.recency = Recency::new(position.as_of);
        }
    }

    /// Says how recent a table is as far as it is a copy of what one of the queues reads.
    pub(crate) fn begins_as(&mut self, input: usize, recency: Recency) {
        if let Some(Some(source)) = self.sources.get_mut(input) {
            source.recency = recency;
        }
    }

    /// Takes note of where the partitions end now that tables are copies of, given what is known of them.
    pub(crate) fn look_at_ends(&mut self, end_of: impl Fn(&str, i32) -> Option<Offset>, now: Timestamp) {
        for (queue, source) in self.queues.iter().zip(&mut self.sources) {
            let Some((source, next)) = source.as_mut().zip(queue.resume_at()) else { continue };
            source.recency.reached(next);
            if queue.has_heard()
                && let Some(end) = end_of(queue.topic(), queue.partition())
            {
                source.recency.saw_end(next, end, now);
            }
        }
    }

    pub(crate) fn counters(&self) -> TaskCounters {
        TaskCounters { dropped: self.context.dropped() + self.counters.dropped, ..self.counters }
    }

    pub(crate) fn stream_time(&self) -> Option<Timestamp> {
        self.context.stream_time()
    }

    pub(crate) fn needs_commit(&self) -> bool {
        self.needs_commit
    }

    /// Whether a processor asked for a commit since the last one.
    pub(crate) fn wants_commit(&self) -> bool {
        self.needs_commit && self.context.wants_commit()
    }

    /// The input offsets that the state reflects so far.
    fn position(&self) -> Position {
        let mut position = Position::default();
        for queue in &self.queues {
            if let Some(next) = queue.processed_to() {
                position.set(queue.topic(), PartitionId::new(queue.partition()), next);
            }
        }
        position
    }

    /// Gives up the stores; what is not checkpointed is in the changelog.
    pub(crate) fn into_stores(self) -> TaskStores {
        self.stores
    }
}
