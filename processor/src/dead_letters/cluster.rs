//! What dead letters need of a cluster. On Kafka: `processor/src/kafka/letters.rs`; in memory, for tests: `fake_kafka.rs`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use millstream_state_stores::Offset;

use super::letter::{FailedRecord, TopicEntry};
use crate::error::Result;
use crate::kafka::ClusterAdmin;

/// A cluster as dead letters need it.
pub(crate) trait LetterCluster {
    type Transactions: LetterTransactions;

    fn admin(&self) -> &dyn ClusterAdmin;

    /// Hands out the committed records of these partitions, from these offsets on or from their oldest record, up to their present ends or
    /// until `each` has seen enough.
    fn read(
        &self,
        topic: &str,
        from: &BTreeMap<i32, Offset>,
        each: &mut dyn FnMut(TopicEntry) -> Result<ControlFlow<()>>,
    ) -> Result<()>;

    /// A producer under this id, the only one from here on: an earlier one commits nothing any more, and what it left open is aborted or, if
    /// its commit had begun, committed.
    fn transactions(&self, transactional_id: &str) -> Result<Self::Transactions>;
}

/// A transactional producer. A transaction begins with the first record after the last one ended.
pub(crate) trait LetterTransactions {
    /// Takes a record for a topic; without a partition, the key decides.
    ///
    /// # Errors
    /// `Record` if this record is to blame, `Invalid` if its topic is; `Abortable` also if a record that was sent before was refused meanwhile:
    /// why, the flush tells.
    fn send(&mut self, topic: &str, partition: Option<i32>, record: &FailedRecord) -> Result<()>;

    /// Waits until the brokers have what was sent, or have refused some of it.
    ///
    /// # Errors
    /// `Record` if one of the records is to blame, `Invalid` if one of their topics is.
    fn flush(&mut self) -> Result<()>;

    /// # Errors
    /// `Migrated` if there is another producer of this id, or it cannot be told whether the transaction is committed.
    fn commit(&mut self) -> Result<()>;

    fn abort(&mut self) -> Result<()>;
}
