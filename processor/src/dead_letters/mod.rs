//! The dead letters of an application: what there is, and putting their records back where they came from.
//!
//! What is put back is decided without Kafka, from [`RedriveFacts`] to a [`RedrivePlan`] that can be looked at; only then is it
//! carried out. A record is put back at most once, ever: it is written in one transaction with a record in a topic beside the dead
//! letters (`<dead-letter topic>-redriven`) that says so, by a transactional id (`<dead-letter topic>-redrive`) of which Kafka knows one
//! producer at a time. A redrive that ends half-way is run again, and goes on where it was.

mod application;
mod cluster;
mod execute;
#[cfg(test)]
mod fake_kafka;
pub(crate) mod headers;
mod letter;
mod marker;
mod plan;
mod reading;
mod request;
mod source;

pub use application::DeadLetters;
pub(crate) use cluster::{LetterCluster, LetterTransactions};
pub use execute::{RedriveOutcome, RedriveStep};
pub(crate) use letter::TopicEntry;
pub use letter::{DeadLetter, FailedRecord, LetterId, OtherRecords};
pub use plan::{LeftLetter, Redrive, RedriveFacts, RedrivePlan, WhyLeft};
pub use reading::LetterList;
pub use request::{LetterFilter, RedriveRequest, Repair, Selection};
pub use source::LetterSource;

#[cfg(test)]
mod tests {
    //! What the tests of this module have in common.

    use millstream_state_stores::{Offset, Timestamp};

    use super::*;
    use crate::error::RecordLocation;

    /// A letter at this offset, of a record that was read from this partition.
    pub(super) fn letter(offset: i64, topic: &str, partition: i32) -> DeadLetter {
        let location = RecordLocation { topic: topic.into(), partition, offset: Offset::new(100 + offset) };
        DeadLetter {
            id: LetterId { partition: 0, offset: Offset::new(offset) },
            failed_at: Timestamp::from_millis(1_000),
            source: Some(LetterSource::Input(location)),
            stage: None,
            task: None,
            node: None,
            error: "SerdeError::Json".into(),
            message: String::new(),
            times_redriven: 0,
            redriven_at: None,
        }
    }
}
