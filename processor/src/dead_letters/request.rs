//! What a user asks of dead letters: which ones, and what to do with them.

use bytes::Bytes;
use millstream_state_stores::Timestamp;

use super::letter::{DeadLetter, LetterId};
use crate::api::FailureStage;

/// Which letters. All that is set must hold; by default, all letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterFilter {
    /// Of records read from this topic, or of outputs that it did not take.
    pub source_topic: Option<String>,
    /// Of this stage.
    pub stage: Option<FailureStage>,
    /// That failed in this topology node.
    pub node: Option<String>,
    /// With this kind of error, such as `SerdeError::Json`.
    pub error: Option<String>,
    /// That failed then or later.
    pub since: Option<Timestamp>,
}

impl LetterFilter {
    pub(super) fn matches(&self, letter: &DeadLetter) -> bool {
        fn is<T: PartialEq + ?Sized>(asked: Option<&T>, found: Option<&T>) -> bool {
            asked.is_none() || asked == found
        }
        let source_topic = letter.source.as_ref().map(|source| source.topic());
        is(self.source_topic.as_deref(), source_topic)
            && is(self.stage.as_ref(), letter.stage.as_ref())
            && is(self.node.as_deref(), letter.node.as_deref())
            && is(self.error.as_deref(), Some(letter.error.as_str()))
            && self.since.is_none_or(|since| letter.failed_at >= since)
    }
}

/// What is to be put back, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedriveRequest {
    /// Which letters.
    pub letters: Selection,
    /// Whether the keys decide the partitions, as Kafka's default partitioner does (murmur2). Otherwise a record goes to the partition it
    /// came from, unless its key is repaired.
    pub by_key: bool,
}

impl Default for RedriveRequest {
    fn default() -> Self {
        RedriveRequest { letters: Selection::Matching(LetterFilter::default()), by_key: false }
    }
}

/// Which letters are put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Those, as they are. What cannot be put back stays, and the plan says why.
    Matching(LetterFilter),
    /// This one, which must be there and not be redriven yet.
    Only(LetterId, Repair),
}

/// What takes the place of a record's bytes. By default, nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// Another key.
    pub key: Option<Bytes>,
    /// Another value.
    pub value: Option<Bytes>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::tests::letter;

    #[test]
    fn all_that_is_asked_must_hold() {
        let letter = DeadLetter {
            stage: Some(FailureStage::Decode),
            node: Some("orders-source".into()),
            error: "SerdeError::Json".into(),
            failed_at: Timestamp::from_millis(5_000),
            ..letter(17, "orders", 0)
        };
        let all = LetterFilter::default();
        let asked = LetterFilter {
            source_topic: Some("orders".into()),
            stage: Some(FailureStage::Decode),
            node: Some("orders-source".into()),
            error: Some("SerdeError::Json".into()),
            since: Some(Timestamp::from_millis(5_000)),
        };
        assert!(all.matches(&letter) && asked.matches(&letter));
        let others = [
            LetterFilter { source_topic: Some("order".into()), ..all.clone() },
            LetterFilter { stage: Some(FailureStage::Process), ..all.clone() },
            LetterFilter { node: Some("orders".into()), ..all.clone() },
            LetterFilter { error: Some("SerdeError".into()), ..all.clone() },
            LetterFilter { since: Some(Timestamp::from_millis(5_001)), ..all },
        ];
        for other in others {
            assert!(!other.matches(&letter), "{other:?}");
        }
        let of_no_record = DeadLetter { source: None, ..letter };
        assert!(!asked.matches(&of_no_record));
    }
}
