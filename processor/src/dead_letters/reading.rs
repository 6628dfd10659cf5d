//! Reads what dead letters there are, and which of them were redriven.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use millstream_state_stores::{Offset, Timestamp, TopicId};

use super::cluster::LetterCluster;
use super::letter::{DeadLetter, FailedRecord, LetterId, OtherRecords};
use super::marker;
use super::plan::{RedriveFacts, RedrivePlan};
use super::request::{LetterFilter, RedriveRequest, Selection};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::kafka::ids_of_existing;
use crate::patience::{PROPAGATION, patiently};
use crate::topology::redriven_topic;

/// The letters that were asked for, by partition and offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterList {
    /// The letters.
    pub letters: Vec<DeadLetter>,
    /// What else is in their topic, if anything is.
    pub others: Option<OtherRecords>,
}

/// A dead-letter topic as it is at the moment.
pub(super) struct LetterTopic<'a, C> {
    cluster: &'a C,
    name: &'a str,
    /// None where the brokers give topics no ids.
    pub(super) id: Option<TopicId>,
    /// All topics of the cluster, and how many partitions they have.
    topics: BTreeMap<String, i32>,
    partitions: i32,
}

impl<'a, C: LetterCluster> LetterTopic<'a, C> {
    /// # Errors
    /// `Invalid` if there is no such topic; `Retry` if the cluster does not answer, or not everything.
    pub(super) fn find(cluster: &'a C, clock: &dyn Clock, name: &'a str) -> Result<Self> {
        patiently(clock, PROPAGATION, || false, || LetterTopic::look_for(cluster, name))
    }

    fn look_for(cluster: &'a C, name: &'a str) -> Result<Self> {
        let topics = cluster.admin().all_partition_counts()?;
        let Some(partitions) = partitions_of(&topics, name)? else {
            return Err(Error::invalid(format!(
                "there is no dead-letter topic {name}: check the application id, and that this user may Describe the topic. It is made when \
                 an application starts whose handlers may dead-letter; if its settings name another topic, name that (--dead-letter-topic)"
            )));
        };
        let id = ids_of_existing(cluster.admin(), &[name.to_owned()])?.remove(name).flatten();
        Ok(LetterTopic { cluster, name, id, topics, partitions })
    }

    pub(super) fn list(&self, filter: &LetterFilter) -> Result<LetterList> {
        let redriven = self.redriven()?;
        let (mut letters, mut others) = (Vec::new(), None);
        self.cluster.read(self.name, &whole(self.partitions), &mut |entry| {
            match entry.letter() {
                Ok(mut letter) if filter.matches(&letter) => {
                    letter.redriven_at = redriven.get(&letter.id).copied();
                    letters.push(letter);
                }
                Ok(_) => {}
                Err(why) => {
                    others.get_or_insert(OtherRecords { count: 0, first: entry.id, why }).count += 1;
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        letters.sort_by_key(|letter: &DeadLetter| letter.id);
        Ok(LetterList { letters, others })
    }

    pub(super) fn show(&self, asked: LetterId) -> Result<(DeadLetter, FailedRecord)> {
        let name = self.name;
        if !(0..self.partitions).contains(&asked.partition) {
            let last = self.partitions - 1;
            return Err(Error::invalid(format!(
                "{name} has partitions 0 to {last}, not {}",
                asked.partition
            )));
        }
        let mut found = None;
        self.cluster.read(name, &BTreeMap::from([(asked.partition, asked.offset)]), &mut |entry| {
            found = Some(entry);
            Ok(ControlFlow::Break(()))
        })?;
        let Some(entry) = found.filter(|entry| entry.id == asked) else {
            return Err(Error::invalid(format!(
                "there is no record {asked} in {name}: `millstream dead-letters list` shows what there is; old letters are deleted as the \
                 topic's retention has it"
            )));
        };
        let mut letter = entry.letter().map_err(|why| {
            Error::invalid(format!(
                "the record {asked} of {name} is no dead letter, as {why}: somebody else writes to this topic; see who does"
            ))
        })?;
        letter.redriven_at = self.redriven()?.get(&asked).copied();
        Ok((letter, entry.record()))
    }

    pub(super) fn plan(self, request: &RedriveRequest) -> Result<RedrivePlan> {
        let LetterList { letters, others } = match &request.letters {
            Selection::Matching(filter) => self.list(filter)?,
            Selection::Only(letter, _) => LetterList { letters: vec![self.show(*letter)?.0], others: None },
        };
        let facts = RedriveFacts {
            dead_letter_topic: self.name.to_owned(),
            topic_id: self.id,
            topics: self.topics,
            letters,
            others,
        };
        RedrivePlan::new(request, &facts)
    }

    /// When each letter was redriven that was, as far as it is known without keeping other redrives from going on.
    fn redriven(&self) -> Result<BTreeMap<LetterId, Timestamp>> {
        match partitions_of(&self.topics, &redriven_topic(self.name))? {
            Some(partitions) => self.marked_in(partitions),
            None => Ok(BTreeMap::new()),
        }
    }

    /// When each letter was redriven that was. Looked up behind the fence: what earlier redrives have not committed by then, they never will.
    ///
    /// # Errors
    /// `Retry` if the brokers do not tell of the whole topic of the markers, which must exist.
    pub(super) fn redriven_behind_fence(&self, clock: &dyn Clock) -> Result<BTreeMap<LetterId, Timestamp>> {
        let markers = redriven_topic(self.name);
        let ask = || {
            let counts = self.cluster.admin().partition_counts(std::slice::from_ref(&markers))?;
            partitions_of(&counts, &markers)?.ok_or_else(|| unknown_partitions(&markers))
        };
        self.marked_in(patiently(clock, PROPAGATION, || false, ask)?)
    }

    /// What so many partitions of markers say.
    fn marked_in(&self, partitions: i32) -> Result<BTreeMap<LetterId, Timestamp>> {
        let mut redriven = BTreeMap::new();
        self.cluster.read(&redriven_topic(self.name), &whole(partitions), &mut |entry| {
            // Any other key is of a letter of an earlier topic of this name, or somebody else's.
            let letter = entry.key.as_deref().and_then(|key| marker::letter_of(self.id, key));
            redriven.extend(letter.map(|letter| (letter, entry.timestamp)));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(redriven)
    }
}

/// How many partitions a topic has; none if there is no such topic.
///
/// # Errors
/// `Retry` if there is, and the brokers do not say.
fn partitions_of(topics: &BTreeMap<String, i32>, name: &str) -> Result<Option<i32>> {
    match topics.get(name) {
        Some(0) => Err(unknown_partitions(name)),
        known => Ok(known.copied()),
    }
}

fn unknown_partitions(topic: &str) -> Error {
    let problem = format!(
        "the brokers do not tell how many partitions topic {topic} has: see to it that this user may Describe it, and try again in a moment"
    );
    Error::new(ErrorKind::Retry, problem)
}

fn whole(partitions: i32) -> BTreeMap<i32, Offset> {
    (0..partitions).map(|partition| (partition, Offset::new(0))).collect()
}

#[cfg(test)]
mod tests;
