//! What a stream thread needs of Kafka, as traits: `kafka/` fulfils them on a cluster, a simulation in memory. All calls are
//! static; a thread is compiled for its clients.

use std::sync::Arc;
use std::time::Duration;

use millstream_state_stores::Offset;

use crate::clock::Clock;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::membership::GroupMember;
use crate::patience::MustEnd;
use crate::task::{FailedOutput, InputMessage, RecordSender};

/// Makes the clients of a stream thread.
pub(crate) trait Clients {
    type Message: InputMessage;
    type Consumer: GroupMember<Message = Self::Message>;
    type Producer: Producer<Identity = <Self::Consumer as GroupMember>::Identity>;

    /// A member of the application's group; a static one (KIP-345) if it has an instance id.
    fn group_consumer(
        &self,
        settings: &Settings,
        group: &str,
        client_id: &str,
        instance_id: Option<&str>,
    ) -> Result<Self::Consumer>;

    /// A consumer that is no member of any group, and reads what is committed of the partitions it is assigned. It can be asked what this
    /// group has committed.
    fn restore_consumer(&self, settings: &Settings, group: &str, client_id: &str) -> Result<Self::Consumer>;

    /// With a transactional id, a producer whose transactions are ready: whatever an earlier producer of this id left open is aborted or, if
    /// its commit had begun, committed. Once `must_end` says so, it waits for no more than one answer where it takes records.
    ///
    /// # Errors
    /// `Retry` if the brokers do not answer in time.
    fn producer(
        &self,
        settings: &Settings,
        client_id: &str,
        transactional_id: Option<&str>,
        clock: &Arc<dyn Clock>,
        must_end: &MustEnd,
    ) -> Result<Self::Producer>;
}

/// A consumer that hands out messages in batches and group events one by one, both on the thread that asks.
pub(crate) trait Consumer {
    type Message;

    /// Serves the client and returns the next decision of the group, if there is one. Does not wait.
    ///
    /// # Errors
    /// `Fatal` if the client can never work again, such as after being fenced.
    fn poll_group(&mut self) -> Result<Option<GroupEvent>>;

    /// Reads these partitions: instead of those read so far, or besides them if the group gives and takes partitions one by one.
    fn assign(&mut self, partitions: &[PartitionOffset]) -> Result<()>;

    /// Stops reading these partitions.
    fn unassign(&mut self, partitions: &[(Arc<str>, i32)]) -> Result<()>;

    /// The partitions being read.
    fn assigned(&self) -> &[(Arc<str>, i32)];

    /// Hands what was fetched to `sink`, with the partition's index in [`Consumer::assigned`]. Waits up to `wait` for the first message,
    /// or for the group to decide something. Returns how many messages there were.
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

    /// Reads these assigned partitions again from these offsets; what was fetched of them and not handed out is dropped.
    fn seek(&mut self, positions: &[PartitionOffset]) -> Result<()>;

    /// The end of a partition as of the last fetch of it, however long ago, be it when it was assigned before; asks nobody.
    fn last_seen_end(&self, topic: &str, partition: i32) -> Option<Offset>;

    /// The offsets that exist in a partition: of the oldest record, and after the newest one, even if its transaction is open.
    fn log_bounds(&self, topic: &str, partition: i32) -> Result<(Offset, Offset)>;

    /// The offset that the group has committed in a partition; none if it never did.
    fn committed(&self, topic: &str, partition: i32) -> Result<Option<Offset>>;

    fn traffic(&self) -> Traffic;
}

/// A producer: takes the tasks' records, and says when the brokers have them. One with a transactional id begins a transaction at the first
/// record after the last one ended.
pub(crate) trait Producer: RecordSender {
    /// What the group's coordinator needs to know to tell a member from a former one.
    type Identity;

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
    fn commit_transaction(&mut self, offsets: &[PartitionOffset], identity: &Self::Identity) -> Result<()>;

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
pub(crate) struct GroupEvent {
    pub(crate) partitions: Vec<(Arc<str>, i32)>,
    /// The generation that the member knows of: that in which it was given these partitions, or in which it had them.
    pub(crate) generation: i32,
    pub(crate) change: GroupChange,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupChange {
    /// These are all that the member has; what it had before and does not find here, it has no more.
    AssignedAll,
    /// The member has these, too. Those that belong together may come one after the other.
    AssignedMore,
    Revoked,
    /// They may have another owner already, so nothing may be committed.
    Lost,
}

/// What a fetch brought for one partition, in order.
pub(crate) enum Fetched<M> {
    Message(M),
    /// The broker has nothing more for now: this is the offset of what comes next.
    EndOfPartition(Offset),
    /// The partition does not have the record any more that comes next. It is read no further until it is assigned again.
    OutOfRange,
}

/// Why a partition that is [`Fetched::OutOfRange`] is read no further, for readers that may not pass over records.
pub(crate) fn out_of_range(topic: &str, partition: i32) -> Error {
    Error::fatal(format!(
        "partition {partition} of topic {topic} cannot be read on: the records that come next were deleted from it. Start again; where a \
         group's offsets lead there, reset them first (`millstream reset`)"
    ))
}

/// What went through a client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) records: u64,
    /// Of keys and values.
    pub(crate) bytes: u64,
}
