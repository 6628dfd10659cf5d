//! From the letters there are and what is asked to what is put back. Pure: no Kafka, no clock.

use std::collections::BTreeMap;
use std::fmt;

use millstream_state_stores::{Timestamp, TopicId};
use serde_json::{Value, json};

use super::letter::{DeadLetter, LetterId, OtherRecords};
use super::request::{RedriveRequest, Repair, Selection};
use crate::error::{Error, Result};

/// What there is to redrive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedriveFacts {
    /// The dead-letter topic.
    pub dead_letter_topic: String,
    /// Its id, where the brokers give topics one.
    pub topic_id: Option<TopicId>,
    /// All topics of the cluster, and how many partitions they have.
    pub topics: BTreeMap<String, i32>,
    /// The letters that were asked for.
    pub letters: Vec<DeadLetter>,
    /// What else is in the topic, if all of it was read and anything is.
    pub others: Option<OtherRecords>,
}

/// What a redrive will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedrivePlan {
    /// The dead-letter topic.
    pub dead_letter_topic: String,
    /// Its id. A topic that was deleted and made again has other letters.
    pub topic_id: Option<TopicId>,
    /// The letters whose records are put back.
    pub redriven: Vec<Redrive>,
    /// What takes the place of the record's bytes. Only of a single letter.
    pub repair: Repair,
    /// The letters that were asked for and stay.
    pub left: Vec<LeftLetter>,
    /// What else is in the topic and stays, if all of it was read and anything is.
    pub others: Option<OtherRecords>,
}

/// A record that is put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redrive {
    /// Its letter.
    pub letter: LetterId,
    /// The topic it goes to.
    pub topic: String,
    /// Its partition there; `None` leaves it to the key.
    pub partition: Option<i32>,
}

/// A letter that stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftLetter {
    /// The letter.
    pub letter: LetterId,
    /// Why.
    pub why: WhyLeft,
}

/// Why a letter's record is not put back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyLeft {
    /// It was, already.
    RedrivenBefore(Timestamp),
    /// There is none, as of a punctuation that failed.
    NoRecord,
    /// The topic it came from is gone.
    NoTopic(String),
    /// The topic it came from has fewer partitions.
    NoPartition {
        /// The topic.
        topic: String,
        /// The partition it came from.
        partition: i32,
        /// How many there are.
        partitions: i32,
    },
}

impl fmt::Display for WhyLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WhyLeft::RedrivenBefore(_) => {
                f.write_str("redriven before, which happens once: if the record failed again, that is a letter of its own")
            }
            WhyLeft::NoRecord => f.write_str("of a failure without a record, such as of a punctuation: there is nothing to put back"),
            WhyLeft::NoTopic(topic) => write!(f, "from topic {topic}, which does not exist: create it first"),
            WhyLeft::NoPartition { topic, partition, partitions } => write!(
                f,
                "from partition {partition} of topic {topic}, which has {partitions}: let the key decide with --by-key"
            ),
        }
    }
}

impl RedrivePlan {
    /// Decides what is put back, and where.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use millstream_processor::dead_letters::{DeadLetter, LetterId, LetterSource, RedriveFacts, RedrivePlan, RedriveRequest};
    /// use millstream_processor::{Offset, RecordLocation, Timestamp};
    ///
    /// let letter = DeadLetter {
    ///     id: LetterId { partition: 0, offset: Offset::new(17) },
    ///     failed_at: Timestamp::from_millis(1_000),
    ///     source: Some(LetterSource::Input(RecordLocation { topic: "orders".into(), partition: 3, offset: Offset::new(12) })),
    ///     stage: None,
    ///     task: None,
    ///     node: None,
    ///     error: "SerdeError::Json".into(),
    ///     message: "line 1, column 9 (field quantity) is no JSON of a `shop::Order`".into(),
    ///     times_redriven: 0,
    ///     redriven_at: None,
    /// };
    /// let facts = RedriveFacts {
    ///     dead_letter_topic: "shop-dead-letters".into(),
    ///     topics: BTreeMap::from([("orders".into(), 4)]),
    ///     letters: vec![letter],
    ///     ..RedriveFacts::default()
    /// };
    /// let plan = RedrivePlan::new(&RedriveRequest::default(), &facts)?;
    /// assert_eq!((plan.redriven[0].topic.as_str(), plan.redriven[0].partition), ("orders", Some(3)));
    /// # Ok::<(), millstream_processor::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` if a single letter is asked for and its record cannot be put back.
    pub fn new(request: &RedriveRequest, facts: &RedriveFacts) -> Result<Self> {
        let repair = match &request.letters {
            Selection::Only(_, repair) => repair.clone(),
            Selection::Matching(_) => Repair::default(),
        };
        let by_key = request.by_key || repair.key.is_some();
        let (mut redriven, mut left) = (Vec::new(), Vec::new());
        for letter in &facts.letters {
            match destination(letter, by_key, &facts.topics) {
                Ok((topic, partition)) => {
                    redriven.push(Redrive { letter: letter.id, topic: topic.to_owned(), partition });
                }
                Err(why) => left.push(LeftLetter { letter: letter.id, why }),
            }
        }
        if let (Selection::Only(..), Some(LeftLetter { letter, why })) = (&request.letters, left.first()) {
            let topic = &facts.dead_letter_topic;
            return Err(Error::invalid(format!(
                "letter {letter} of {topic} cannot be redriven: it is {why}"
            )));
        }
        Ok(RedrivePlan {
            dead_letter_topic: facts.dead_letter_topic.clone(),
            topic_id: facts.topic_id,
            redriven,
            repair,
            left,
            others: facts.others.clone(),
        })
    }

    /// Whether nothing is put back.
    pub fn is_empty(&self) -> bool {
        self.redriven.is_empty()
    }

    /// The plan for programs.
    pub fn to_json(&self) -> Value {
        let redrive = |redrive: &Redrive| {
            json!({
                "partition": redrive.letter.partition,
                "offset": redrive.letter.offset.get(),
                "to": { "topic": redrive.topic, "partition": redrive.partition },
            })
        };
        let left = |left: &LeftLetter| {
            json!({
                "partition": left.letter.partition,
                "offset": left.letter.offset.get(),
                "why": left.why.to_string(),
            })
        };
        json!({
            "dead_letter_topic": self.dead_letter_topic,
            "redriven": self.redriven.iter().map(redrive).collect::<Vec<_>>(),
            "has_repaired_key": self.repair.key.is_some(),
            "has_repaired_value": self.repair.value.is_some(),
            "left": self.left.iter().map(left).collect::<Vec<_>>(),
            "others": self.others.as_ref().map(OtherRecords::to_json),
        })
    }
}

/// The topic and partition that a letter's record goes to.
fn destination<'a>(
    letter: &'a DeadLetter,
    by_key: bool,
    topics: &BTreeMap<String, i32>,
) -> Result<(&'a str, Option<i32>), WhyLeft> {
    if let Some(at) = letter.redriven_at {
        return Err(WhyLeft::RedrivenBefore(at));
    }
    let source = letter.source.as_ref().ok_or(WhyLeft::NoRecord)?;
    let topic = source.topic();
    let partitions = *topics.get(topic).ok_or_else(|| WhyLeft::NoTopic(topic.to_owned()))?;
    match source.partition().filter(|_| !by_key) {
        Some(partition) if !(0..partitions).contains(&partition) => {
            Err(WhyLeft::NoPartition { topic: topic.to_owned(), partition, partitions })
        }
        partition => Ok((topic, partition)),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use millstream_state_stores::Offset;

    use super::*;
    use crate::dead_letters::LetterSource;
    use crate::dead_letters::tests::letter;

    fn facts(letters: Vec<DeadLetter>) -> RedriveFacts {
        RedriveFacts {
            dead_letter_topic: "shop-dead-letters".into(),
            topics: BTreeMap::from([("orders".into(), 2), ("totals".into(), 1)]),
            letters,
            ..RedriveFacts::default()
        }
    }

    fn all() -> Vec<DeadLetter> {
        let output = LetterSource::Output { topic: "totals".into(), partition: Some(0) };
        vec![
            letter(0, "orders", 1),
            DeadLetter { redriven_at: Some(Timestamp::from_millis(7)), ..letter(1, "orders", 0) },
            DeadLetter { source: None, ..letter(2, "", 0) },
            letter(3, "old-orders", 0),
            letter(4, "orders", 5),
            DeadLetter { source: Some(output), ..letter(5, "", 0) },
        ]
    }

    #[test]
    fn records_go_where_they_came_from_and_what_cannot_stays() -> Result<()> {
        let plan = RedrivePlan::new(&RedriveRequest::default(), &facts(all()))?;
        let put_back: Vec<_> = plan
            .redriven
            .iter()
            .map(|to| (to.letter.offset.get(), to.topic.as_str(), to.partition))
            .collect();
        assert_eq!(put_back, [(0, "orders", Some(1)), (5, "totals", Some(0))]);
        let left: Vec<_> =
            plan.left.iter().map(|left| (left.letter.offset.get(), left.why.clone())).collect();
        let no_partition = WhyLeft::NoPartition { topic: "orders".into(), partition: 5, partitions: 2 };
        let expected = [
            (1, WhyLeft::RedrivenBefore(Timestamp::from_millis(7))),
            (2, WhyLeft::NoRecord),
            (3, WhyLeft::NoTopic("old-orders".into())),
            (4, no_partition),
        ];
        assert_eq!(left, expected);
        assert!(!plan.is_empty());
        let json = plan.to_json();
        assert_eq!(
            json["redriven"][0],
            json!({ "partition": 0, "offset": 0, "to": { "topic": "orders", "partition": 1 } })
        );
        assert!(json["left"][3]["why"].as_str().is_some_and(|why| why.contains("--by-key")), "{json}");
        Ok(())
    }

    #[test]
    fn keys_decide_where_they_are_asked_to_or_are_other_keys() -> Result<()> {
        let request = RedriveRequest { by_key: true, ..RedriveRequest::default() };
        let plan = RedrivePlan::new(&request, &facts(vec![letter(4, "orders", 5)]))?;
        assert_eq!((plan.redriven[0].partition, plan.left.len()), (None, 0));

        let only = |repair: Repair| RedriveRequest {
            letters: Selection::Only(LetterId { partition: 0, offset: Offset::new(0) }, repair),
            by_key: false,
        };
        let bytes = Some(Bytes::from_static(b"7"));
        let facts = facts(vec![letter(0, "orders", 1)]);
        let plan = RedrivePlan::new(&only(Repair { key: bytes.clone(), value: None }), &facts)?;
        assert_eq!((plan.redriven[0].partition, &plan.repair.key), (None, &bytes));
        let plan = RedrivePlan::new(&only(Repair { key: None, value: bytes.clone() }), &facts)?;
        assert_eq!((plan.redriven[0].partition, &plan.repair.value), (Some(1), &bytes));
        Ok(())
    }

    #[test]
    fn a_single_letter_that_cannot_be_put_back_is_an_error() {
        let said = [
            (1, "redriven before, which happens once"),
            (2, "without a record"),
            (3, "from topic old-orders, which does not exist"),
            (4, "from partition 5 of topic orders, which has 2"),
        ];
        for (offset, said) in said {
            let asked = all().swap_remove(offset);
            let request =
                RedriveRequest { letters: Selection::Only(asked.id, Repair::default()), by_key: false };
            let error = RedrivePlan::new(&request, &facts(vec![asked])).unwrap_err().to_string();
            assert!(error.contains(&format!("letter 0:{offset} of shop-dead-letters")), "{error}");
            assert!(error.contains(said), "{error}");
        }
    }
}
