//! What a stream thread needs of Kafka, as traits: `kafka/` fulfils them on a cluster, a simulation in memory. All calls are
//! static; a thread is compiled for its clients.

use std::sync::Arc;
use std::time::Duration;

use millstream_state_stores::Offset;

use crate::clock::Clock;
use crate::config::{OffsetReset, Settings};
use crate::error::Result;
use crate::task::{FailedOutput, InputMessage, RecordSender};

/// Makes the clients of a stream thread.
pub(crate) trait Clients {
    type Message: InputMessage;
    type Consumer: Consumer<Message = Self::Message>;
    type Producer: Producer<GroupMetadata = <Self::Consumer as Consumer>::GroupMetadata>;

    /// A member of the application's group.
    fn group_consumer(&self, settings: &Settings, group: &str, client_id: &str) -> Result<Self::Consumer>;

    /// A consumer outside of any group, which reads what is committed of the partitions it is assigned.
    fn restore_consumer(&self, settings: &Settings, client_id: &str) -> Result<Self::Consumer>;

    /// With a transactional id, a producer whose transactions are ready: whatever an earlier producer of this id left open is aborted or, if
    /// its commit had begun, committed.
    ///
    /// # Errors
    /// `Retry` if the brokers do not answer in time.
    fn producer(
        &self,
        settings: &Settings,
        client_id: &str,
        transactional_id: Option<&str>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self::Producer>;
}

/// A consumer that hands out messages in batches and group events one by one, both on the thread that asks.
pub(crate) trait Consumer {
    type Message;
    /// What the group's coordinator needs to know to tell a member from a former one.
    type GroupMetadata;

    fn subscribe(&self, topics: &[&str]) -> Result<()>;

    /// Serves the client and returns the next decision of the group, if there is one. Does not wait.
    ///
    /// # Errors
    /// `Fatal` if the client can never work again, such as after being fenced.
    fn poll_group(&mut self) -> Result<Option<GroupEvent>>;

    /// Reads these partitions, besides those already read under the cooperative protocol, else instead of them.
    fn assign(&mut self, partitions: &[PartitionOffset]) -> Result<()>;

    /// Stops reading these partitions.
    fn unassign(&mut self, partitions: &[(Arc<str>, i32)]) -> Result<()>;

    /// The partitions being read.
    fn assigned(&self) -> &[(Arc<str>, i32)];

    /// Where to start in these partitions: at the committed offset, else where `reset` says for the topic.
    ///
    /// # Errors
    /// `Retry` if the brokers do not answer.
    fn starts(
        &self,
        partitions: &[(Arc<str>, i32)],
        reset: impl Fn(&str) -> OffsetReset,
    ) -> Result<Vec<PartitionOffset>>;

    /// Hands what was fetched to `sink`, with the partition's index in [`Consumer::assigned`]. Waits up to `wait` for the first message.
    /// Returns how many messages there were.
    ///
    /// # Errors
    /// A partition that cannot be read, or whatever `sink` fails with.
    fn fetch(
        &mut self,
        wait: Duration,
        sink: impl FnMut(usize, Fetched<Self::Message>) -> Result<()>,
    ) -> Result<usize>;

    /// Stops or resumes fetching an assigned partition.
    fn pause(&self, assigned: usize, pause: bool) -> Result<()>;

    /// Commits input offsets and waits for the broker's answer.
    fn commit(&self, offsets: &[PartitionOffset]) -> Result<()>;

    /// Reads these assigned partitions again from these offsets; what was fetched of them and not handed out is dropped.
    fn seek(&mut self, positions: &[PartitionOffset]) -> Result<()>;

    fn group_metadata(&self) -> Result<Self::GroupMetadata>;

    /// The end of a partition as of the last fetch; asks nobody.
    fn last_seen_end(&self, topic: &str, partition: i32) -> Option<Offset>;

    /// The offsets that exist in a partition: of the oldest record, and after the newest one, even if its transaction is open.
    fn log_bounds(&self, topic: &str, partition: i32) -> Result<(Offset, Offset)>;

    fn traffic(&self) -> Traffic;
}

/// A producer: takes the tasks' records, and says when the brokers have them. One with a transactional id begins a transaction at the first
/// record after the last one ended.
pub(crate) trait Producer: RecordSender {
    type GroupMetadata;

    /// Serves delivery reports. Does not wait.
    fn poll(&self);

    /// Waits until every record is acknowledged or has failed, in a transaction until one of them has; see [`Producer::take_failed`].
    ///
    /// # Errors
    /// `Retry` if the brokers do not answer in time, `Fatal` if the producer cannot go on.
    fn flush(&self) -> Result<()>;

    /// Whether records are on their way. They may still reach the brokers, unless the producer is dropped, which discards them.
    fn has_unacknowledged(&self) -> bool;

    /// The records that could not be delivered since the last call.
    fn take_failed(&self) -> Vec<FailedOutput>;

    /// Sends the records again that may have failed for a neighbour in their batch, each alone, and returns those that no one but
    /// themselves can be blamed for.
    ///
    /// # Errors
    /// As [`Producer::flush`].
    fn send_alone(&mut self, failed: Vec<FailedOutput>) -> Result<Vec<FailedOutput>>;

    /// Commits what was sent and these input offsets as one; does nothing if there is neither. Everything must be acknowledged.
    ///
    /// # Errors
    /// `Abortable` if the transaction must be aborted. `Migrated` if the producer was fenced, or if it cannot be told whether the transaction
    /// was committed: the producer is of no more use, and what its successor finds in Kafka is the truth.
    fn commit_transaction(&mut self, offsets: &[PartitionOffset], group: &Self::GroupMetadata) -> Result<()>;

    /// Takes back what was sent since the last commit; does nothing if nothing was.
    ///
    /// # Errors
    /// `Migrated` if the producer is of no more use; its successor aborts what it left.
    fn abort_transaction(&mut self) -> Result<()>;

    fn traffic(&self) -> Traffic;
}

/// A partition, and an offset in it if one is to be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionOffset {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) offset: Option<Offset>,
}

/// What the group decided. The consumer waits until it is carried out with `assign` or `unassign`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GroupEvent {
    Assigned(Vec<(Arc<str>, i32)>),
    /// `lost`: they may have another owner already, so nothing may be committed.
    Revoked {
        partitions: Vec<(Arc<str>, i32)>,
        lost: bool,
    },
}

/// What a fetch brought for one partition, in order.
pub(crate) enum Fetched<M> {
    Message(M),
    /// The broker has nothing more for now: this is the offset of what comes next.
    EndOfPartition(Offset),
}

/// What went through a client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) records: u64,
    /// Of keys and values.
    pub(crate) bytes: u64,
}
