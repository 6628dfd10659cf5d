//! What a membership needs of a client.

use super::TopicPartition;
use crate::clients::{Consumer, PartitionOffset};
use crate::config::OffsetReset;
use crate::error::Result;

/// A consumer that is a member of the application's group.
pub(crate) trait GroupMember: Consumer {
    /// What the group's coordinator needs to know to tell a member from a former one. Offsets are committed under it.
    type Identity;

    /// Joins the group for these topics.
    fn subscribe(&self, topics: &[&str]) -> Result<()>;

    /// Where to start in these partitions: at the committed offset, else where `reset` says for the topic.
    ///
    /// # Errors
    /// `Retry` if the brokers do not answer.
    fn starts(
        &self,
        partitions: &[TopicPartition],
        reset: impl Fn(&str) -> OffsetReset,
    ) -> Result<Vec<PartitionOffset>>;

    /// Commits input offsets and waits for the broker's answer.
    fn commit(&self, offsets: &[PartitionOffset]) -> Result<()>;

    fn identity(&self) -> Result<Self::Identity>;

    /// When it is dropped, it is not coming back: without this, a static member is waited for until its session ends.
    fn leave_for_good(&mut self);
}
