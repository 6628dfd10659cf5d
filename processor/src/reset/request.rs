//! What a user asks of a reset.

use std::collections::BTreeMap;
use std::str::FromStr;

use millstream_state_stores::{Offset, Timestamp};

use super::Partition;
use crate::error::Error;

/// What is to be reset, and to where. By default everything, to the beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResetRequest {
    /// The input topics whose offsets are moved. None names all topics that the application has committed offsets of.
    pub input_topics: Vec<TopicSelection>,
    /// Where they are moved to.
    pub to: ResetTarget,
    /// Which of the application's changelog and repartition topics are deleted.
    pub internal_topics: InternalTopics,
    /// Whether the state of this machine stays. It fits no other changelog than its own.
    pub keep_local_state: bool,
    /// Whether live members are removed from the group (Kafka's `--force`). Otherwise they are an error.
    pub remove_members: bool,
}

/// An input topic, or some partitions of it: `orders`, or `orders:0,2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSelection {
    /// Its name in Kafka.
    pub topic: String,
    /// All if none is named.
    pub partitions: Vec<i32>,
}

impl FromStr for TopicSelection {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // Kafka allows no colon in a topic's name.
        let (topic, partitions) = text.split_once(':').unwrap_or((text, ""));
        let numbers = partitions.split(',').filter(|number| !number.is_empty());
        let partitions = numbers.map(|number| {
            number.trim().parse().map_err(|error: std::num::ParseIntError| {
                Error::invalid(format!(
                    "{number:?} in {text:?} is no partition number: write topic, or topic:0,1"
                ))
                .with_source(error)
            })
        });
        Ok(TopicSelection { topic: topic.to_owned(), partitions: partitions.collect::<Result<_, _>>()? })
    }
}

/// Where offsets are moved to. An offset that a partition does not have is an error, never another offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ResetTarget {
    /// To the oldest record of each partition.
    #[default]
    Earliest,
    /// After the newest record of each partition.
    Latest,
    /// They stay where they are.
    Current,
    /// To this offset in each partition.
    Offset(Offset),
    /// By so many records, back if negative.
    ShiftBy(i64),
    /// To the first record of each partition that is not older; after the newest if all are.
    Timestamp(Timestamp),
    /// To these offsets, of these partitions alone.
    Each(BTreeMap<Partition, Offset>),
}

/// Which internal topics are deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum InternalTopics {
    /// All changelog and repartition topics of the application.
    #[default]
    All,
    /// These, which must be internal topics of the application.
    Named(Vec<String>),
    /// None.
    Keep,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_topic_is_selected_whole_or_in_parts() {
        let parsed = |text: &str| text.parse::<TopicSelection>().map(|found| (found.topic, found.partitions));
        assert_eq!(parsed("orders").unwrap(), ("orders".to_owned(), vec![]));
        assert_eq!(parsed("orders:0,2").unwrap(), ("orders".to_owned(), vec![0, 2]));
        let error = parsed("orders:first").unwrap_err().to_string();
        assert!(error.contains("\"first\" in \"orders:first\" is no partition number"), "{error}");
    }

    proptest! {
        #[test]
        fn arbitrary_texts_are_selections_or_refused(text in "[a-z:,0-9 -]{0,16}|\\PC*") {
            if let Ok(selection) = text.parse::<TopicSelection>() {
                prop_assert!(text.starts_with(&selection.topic));
            }
        }
    }
}
