//! Carries a redrive out, in transactions that put records back and tell so.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use millstream_state_stores::{Offset, TopicId};

use super::cluster::{LetterCluster, LetterTransactions};
use super::letter::{FailedRecord, LetterId, TopicEntry};
use super::plan::{Redrive, RedrivePlan};
use super::reading::LetterTopic;
use super::request::Repair;
use super::{headers, marker};
use crate::api::Headers;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::patience::{PROPAGATION, patiently};
use crate::runtime::ensure_compacted_topic;
use crate::topology::{redrive_transactional_id, redriven_topic};

/// How many records one transaction puts back at most.
const MOST_RECORDS: usize = 500;
/// How many bytes of keys and values, about.
const MOST_BYTES: usize = 4 << 20;

/// How often a transaction is tried that must be aborted though no record of it is to blame.
const MOST_TRIES: u32 = 5;

/// A part of a redrive that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedriveStep {
    /// No other redrive can go on, and so many records are to be put back.
    Begun(usize),
    /// So many records, and that they are put back, are in their topics, in a transaction that is open: nobody sees them yet.
    Written(usize),
    /// The transaction is committed: so many records are put back.
    Committed(usize),
    /// The record of this letter was not taken; the letter stays.
    Refused(LetterId),
}

/// What a redrive came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedriveOutcome {
    /// How many records were put back.
    pub redriven: usize,
    /// How many of the plan's had been put back since it was made, by another redrive.
    pub redriven_before: usize,
    /// The letters whose records their topics did not take, and why: a record may be too large, or the user may not write to the topic. They
    /// stay.
    pub refused: Vec<(LetterId, String)>,
    /// The letters that were deleted since the plan was made, as the topic's retention has it.
    pub gone: Vec<LetterId>,
}

/// Which letters were redriven is looked up once no other redrive can go on.
pub(super) fn execute(
    cluster: &impl LetterCluster,
    clock: &dyn Clock,
    plan: &RedrivePlan,
    mut on_step: impl FnMut(&RedriveStep),
) -> Result<RedriveOutcome> {
    let name = &plan.dead_letter_topic;
    if plan.is_empty() {
        return Ok(RedriveOutcome::default());
    }
    let topic = LetterTopic::find(cluster, clock, name)?;
    if topic.id != plan.topic_id {
        return Err(Error::invalid(format!(
            "{name} was deleted and made again since the redrive was planned, and has other letters: plan it again"
        )));
    }
    let markers = redriven_topic(name);
    let ensure = || ensure_compacted_topic(cluster.admin(), &markers, "redriven letters");
    patiently(clock, PROPAGATION, || false, ensure).map_err(explained)?;
    let transactions = cluster.transactions(&redrive_transactional_id(name)).map_err(explained)?;
    let redriven = topic.redriven_behind_fence(clock)?;
    let waiting = plan.redriven.iter().filter(|redrive| !redriven.contains_key(&redrive.letter));
    let mut waiting: BTreeMap<LetterId, &Redrive> =
        waiting.map(|redrive| (redrive.letter, redrive)).collect();
    on_step(&RedriveStep::Begun(waiting.len()));
    let redriven_before = plan.redriven.len() - waiting.len();
    let outcome = RedriveOutcome { redriven_before, ..RedriveOutcome::default() };
    let mut redriver = Redriver { transactions, markers, topic_id: plan.topic_id, clock, on_step, outcome };

    let mut batch = Batch::default();
    cluster.read(name, &first_of_each(&waiting), &mut |entry| {
        if let Some(redrive) = waiting.remove(&entry.id) {
            batch.add(redrive, redriven_record(&entry, &plan.repair)?);
            if batch.is_full() {
                redriver.put_back(std::mem::take(&mut batch).records)?;
            }
        }
        Ok(if waiting.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    redriver.put_back(batch.records)?;
    redriver.outcome.gone = waiting.into_keys().collect();
    Ok(redriver.outcome)
}

/// Where each partition is read from.
fn first_of_each(letters: &BTreeMap<LetterId, &Redrive>) -> BTreeMap<i32, Offset> {
    let mut first = BTreeMap::new();
    for letter in letters.keys() {
        first.entry(letter.partition).or_insert(letter.offset);
    }
    first
}

/// The record as it is put back: as it was, or repaired, with how often that happened.
fn redriven_record(entry: &TopicEntry, repair: &Repair) -> Result<FailedRecord> {
    let letter = entry.letter().map_err(|why| {
        Error::invalid(format!("letter {} is none any more, as {why}: plan the redrive again", entry.id))
    })?;
    let mut record = entry.record();
    record.headers.remove(headers::REDRIVEN);
    let times = letter.times_redriven.saturating_add(1);
    record.headers.push(headers::REDRIVEN, Some(Bytes::from(times.to_string())));
    record.key = repair.key.clone().or(record.key);
    record.value = repair.value.clone().or(record.value);
    Ok(record)
}

/// What one transaction puts back.
#[derive(Default)]
struct Batch<'a> {
    records: Records<'a>,
    bytes: usize,
}

type Records<'a> = Vec<(&'a Redrive, FailedRecord)>;

impl<'a> Batch<'a> {
    fn add(&mut self, redrive: &'a Redrive, record: FailedRecord) {
        self.bytes += record.key.as_ref().map_or(0, Bytes::len) + record.value.as_ref().map_or(0, Bytes::len);
        self.records.push((redrive, record));
    }

    fn is_full(&self) -> bool {
        self.records.len() >= MOST_RECORDS || self.bytes >= MOST_BYTES
    }
}

struct Redriver<'a, T, F> {
    transactions: T,
    /// The topic of the markers.
    markers: String,
    topic_id: Option<TopicId>,
    clock: &'a dyn Clock,
    on_step: F,
    outcome: RedriveOutcome,
}

impl<T: LetterTransactions, F: FnMut(&RedriveStep)> Redriver<'_, T, F> {
    /// Puts records back in one transaction; if some of them are to blame that this fails, in two, and so on, until they are found.
    fn put_back(&mut self, records: Records<'_>) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let Err(error) = self.put_back_together(&records) else {
            self.outcome.redriven += records.len();
            (self.on_step)(&RedriveStep::Committed(records.len()));
            return Ok(());
        };
        let (some, others) = match error.kind() {
            ErrorKind::Record => halves(records),
            ErrorKind::Invalid => by_destination(records),
            _ => return Err(explained(error)),
        };
        if others.is_empty() {
            self.refused(&some, &error);
            return Ok(());
        }
        self.put_back(some)?;
        self.put_back(others)
    }

    fn refused(&mut self, records: &[(&Redrive, FailedRecord)], why: &Error) {
        for (redrive, _) in records {
            self.outcome.refused.push((redrive.letter, why.to_string()));
            (self.on_step)(&RedriveStep::Refused(redrive.letter));
        }
    }

    /// Tries again as long as the transaction must be aborted for no fault of its records, as is the one after one in which a record was
    /// refused: the client numbers its records anew.
    ///
    /// # Errors
    /// `Record` if a record is to blame, `Invalid` if the topic of one is. Then, too, the transaction is aborted.
    fn put_back_together(&mut self, records: &[(&Redrive, FailedRecord)]) -> Result<()> {
        let mut tries = 0;
        loop {
            let Err(error) = self.try_to_put_back(records) else { return Ok(()) };
            // Whether the producer was fenced, the end of the transaction tells.
            if let Err(aborting) = self.transactions.abort() {
                let problem = format!("{aborting}; the transaction was to be aborted because of this");
                return Err(Error::new(aborting.kind(), problem).with_source(error));
            }
            tries += 1;
            if error.kind() != ErrorKind::Abortable || tries == MOST_TRIES {
                return Err(error);
            }
        }
    }

    fn try_to_put_back(&mut self, records: &[(&Redrive, FailedRecord)]) -> Result<()> {
        // The markers first, and alone: no record is to blame that they are not taken.
        self.mark(records).map_err(|error| self.not_marked(error))?;
        let send = |(redrive, record): &(&Redrive, FailedRecord)| {
            self.transactions.send(&redrive.topic, redrive.partition, record)
        };
        let sent = records.iter().try_for_each(send);
        self.transactions.flush().and(sent)?;
        (self.on_step)(&RedriveStep::Written(records.len()));
        self.transactions.commit()
    }

    /// Tells of each of the letters that it was redriven.
    fn mark(&mut self, records: &[(&Redrive, FailedRecord)]) -> Result<()> {
        let send = |(redrive, _): &(&Redrive, FailedRecord)| {
            let marker = FailedRecord {
                timestamp: self.clock.wall_clock(),
                key: Some(marker::key(self.topic_id, redrive.letter).into()),
                value: Some(marker::value(redrive).into()),
                headers: Headers::default(),
            };
            self.transactions.send(&self.markers, None, &marker)
        };
        let sent = records.iter().try_for_each(send);
        self.transactions.flush().and(sent)
    }

    fn not_marked(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Record | ErrorKind::Invalid => Error::fatal(format!(
                "topic {}, which tells what was put back, does not take what is written to it: allow this user to Write to it, and see \
                 to its configuration",
                self.markers
            ))
            .with_source(error),
            _ => error,
        }
    }
}

/// Where one record is to blame: the second half is empty once it is found.
fn halves(mut records: Records<'_>) -> (Records<'_>, Records<'_>) {
    let second = records.split_off(records.len().div_ceil(2));
    (records, second)
}

/// Where a topic, or a partition of it, is to blame: what goes where the first record goes, and the rest.
fn by_destination(records: Records<'_>) -> (Records<'_>, Records<'_>) {
    let destination = |redrive: &Redrive| (redrive.topic.clone(), redrive.partition);
    let first = records.first().map(|(redrive, _)| destination(redrive));
    records.into_iter().partition(|(redrive, _)| Some(destination(redrive)) == first)
}

/// An error that ends a redrive, with what to do about it.
fn explained(error: Error) -> Error {
    let what = match error.kind() {
        ErrorKind::Migrated => {
            "another redrive of the same dead letters has begun, or nobody can tell whether the last records were put back: run the redrive \
             again; what was put back is not put back twice"
        }
        ErrorKind::Abortable | ErrorKind::Retry => {
            "the last records could not be put back: run the redrive again; it goes on where this one was"
        }
        _ => return error,
    };
    Error::new(error.kind(), what).with_source(error)
}

#[cfg(test)]
mod tests;
