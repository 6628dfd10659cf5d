//! Reads what dead letters there are, and carries a redrive out.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millstream_state_stores::{Offset, Timestamp, TopicId};

use super::letter::{DeadLetter, FailedRecord, LetterId, TopicEntry};
use super::plan::{Redrive, RedriveFacts, RedrivePlan};
use super::request::{LetterFilter, RedriveRequest, Repair, Selection};
use super::{headers, marker};
use crate::api::Headers;
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::kafka::{ClusterAdmin, KafkaLetters};
use crate::patience::patiently;
use crate::runtime::{compacted_topic, ensure_internal_topics};
use crate::topology::redriven_topic;

/// How many records one transaction puts back at most.
const MOST_RECORDS: usize = 500;
/// How many bytes of keys and values, about.
const MOST_BYTES: usize = 4 << 20;

/// How often a transaction is tried that must be aborted though no record of it is to blame.
const MOST_TRIES: u32 = 5;

/// How long brokers may take to hear of the topic of the markers, which another redrive may have made a moment ago.
const PATIENCE: Duration = Duration::from_secs(10);

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
    /// `Record` if this one record is to blame.
    fn send(&mut self, topic: &str, partition: Option<i32>, record: &FailedRecord) -> Result<()>;

    /// Waits until the brokers have what was sent.
    ///
    /// # Errors
    /// `Record` if one of the records is to blame.
    fn flush(&mut self) -> Result<()>;

    /// # Errors
    /// `Migrated` if there is another producer of this id, or it cannot be told whether the transaction is committed.
    fn commit(&mut self) -> Result<()>;

    fn abort(&mut self) -> Result<()>;
}

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
    /// The letters whose records were not taken, and why: too large for their topic, for instance. Repair them one by one.
    pub refused: Vec<(LetterId, String)>,
    /// The letters that were deleted since the plan was made, as the topic's retention has it.
    pub gone: Vec<LetterId>,
}

/// The letters that were asked for, by partition and offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterList {
    /// The letters.
    pub letters: Vec<DeadLetter>,
    /// How many records of the topic are no dead letters, and why the first of them is none. Somebody else writes to it.
    pub others: Option<(usize, String)>,
}

/// The dead letters of one application.
///
/// ```no_run
/// use millstream_processor::Settings;
/// use millstream_processor::dead_letters::{DeadLetters, LetterFilter, RedriveRequest, Selection};
///
/// let dead_letters = DeadLetters::new("shop", &Settings::new("localhost:9092"))?;
/// let of_orders = LetterFilter { source_topic: Some("orders".into()), ..LetterFilter::default() };
/// for letter in dead_letters.list(&of_orders)?.letters {
///     println!("{}: {}", letter.id, letter.message);
/// }
/// let plan = dead_letters.plan(&RedriveRequest { letters: Selection::Matching(of_orders), by_key: false })?;
/// println!("{:#}", plan.to_json());
/// let outcome = dead_letters.execute(&plan, |step| println!("{step:?}"))?;
/// println!("{} records were put back", outcome.redriven);
/// # Ok::<(), millstream_processor::Error>(())
/// ```
pub struct DeadLetters {
    topic: String,
    cluster: KafkaLetters,
    clock: Arc<dyn Clock>,
}

impl DeadLetters {
    /// Of the application with this id, in the topic that these settings name or that is its own. Nothing is connected yet.
    ///
    /// # Errors
    /// `Invalid` if a property of the settings is not accepted.
    pub fn new(application_id: &str, settings: &Settings) -> Result<Self> {
        let topic = settings.dead_letter_topic_of(application_id);
        let clock = SystemClock::shared();
        let cluster = KafkaLetters::new(settings, &format!("{topic}-tool"), Arc::clone(&clock))?;
        Ok(DeadLetters { topic, cluster, clock })
    }

    /// The dead-letter topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The letters that match, without their records.
    ///
    /// # Errors
    /// `Invalid` if there is no such topic; `Retry` if the cluster does not answer.
    pub fn list(&self, filter: &LetterFilter) -> Result<LetterList> {
        list(&self.cluster, &Topic::find(&self.cluster, &self.topic)?, filter)
    }

    /// One letter, and the record that failed.
    ///
    /// # Errors
    /// `Invalid` if there is no record at this place, or it is no dead letter; `Retry` if the cluster does not answer.
    pub fn show(&self, letter: LetterId) -> Result<(DeadLetter, FailedRecord)> {
        show(&self.cluster, &Topic::find(&self.cluster, &self.topic)?, letter)
    }

    /// What redriving as requested would do. Changes nothing.
    ///
    /// # Errors
    /// `Invalid` if there is no such topic, or a single letter is asked for that is not there or cannot be put back; `Retry` if the cluster
    /// does not answer.
    pub fn plan(&self, request: &RedriveRequest) -> Result<RedrivePlan> {
        plan(&self.cluster, &self.topic, request)
    }

    /// Does what a plan says, and tells of each part that is done. If it ends with an error, run it again, or make another plan and run
    /// that: no record is put back twice.
    ///
    /// # Errors
    /// `Migrated` if another redrive has begun; `Invalid` if the topic was made anew since the plan was made; `Retry` if the cluster does not
    /// answer.
    pub fn execute(&self, plan: &RedrivePlan, on_step: impl FnMut(&RedriveStep)) -> Result<RedriveOutcome> {
        execute(&self.cluster, &*self.clock, plan, on_step)
    }
}

/// The dead-letter topic as it is now.
struct Topic<'a> {
    name: &'a str,
    id: Option<TopicId>,
    /// All topics of the cluster, and how many partitions they have.
    topics: BTreeMap<String, i32>,
    partitions: i32,
}

impl<'a> Topic<'a> {
    fn find(cluster: &impl LetterCluster, name: &'a str) -> Result<Self> {
        let topics = cluster.admin().all_partition_counts()?;
        let Some(partitions) = topics.get(name).copied() else {
            return Err(Error::invalid(format!(
                "there is no dead-letter topic {name}: check the application id. It is made when an application starts whose handlers may \
                 dead-letter; if its settings name another topic, name that (--dead-letter-topic)"
            )));
        };
        let mut ids = cluster.admin().topic_ids(&[name.to_owned()])?;
        Ok(Topic { name, id: ids.remove(name), topics, partitions })
    }

    /// How many partitions the topic of the markers has, if there is one.
    fn marker_partitions(&self) -> Option<i32> {
        self.topics.get(&redriven_topic(self.name)).copied()
    }

    /// When each letter was redriven that was, as so many partitions of markers say.
    fn redriven(
        &self,
        cluster: &impl LetterCluster,
        marker_partitions: i32,
    ) -> Result<BTreeMap<LetterId, Timestamp>> {
        let mut redriven = BTreeMap::new();
        cluster.read(&redriven_topic(self.name), &whole(marker_partitions), &mut |entry| {
            let letter = entry.key.as_deref().and_then(|key| marker::letter_of(self.id, key));
            redriven.extend(letter.map(|letter| (letter, entry.timestamp)));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(redriven)
    }
}

fn whole(partitions: i32) -> BTreeMap<i32, Offset> {
    (0..partitions).map(|partition| (partition, Offset::new(0))).collect()
}

fn list(cluster: &impl LetterCluster, topic: &Topic<'_>, filter: &LetterFilter) -> Result<LetterList> {
    let redriven = topic.redriven(cluster, topic.marker_partitions().unwrap_or(0))?;
    let mut list = LetterList::default();
    cluster.read(topic.name, &whole(topic.partitions), &mut |entry| {
        match entry.letter() {
            Ok(mut letter) if filter.matches(&letter) => {
                letter.redriven_at = redriven.get(&letter.id).copied();
                list.letters.push(letter);
            }
            Ok(_) => {}
            Err(why) => list.others.get_or_insert_with(|| (0, format!("{}: {why}", entry.id))).0 += 1,
        }
        Ok(ControlFlow::Continue(()))
    })?;
    list.letters.sort_by_key(|letter| letter.id);
    Ok(list)
}

fn show(
    cluster: &impl LetterCluster,
    topic: &Topic<'_>,
    asked: LetterId,
) -> Result<(DeadLetter, FailedRecord)> {
    let name = topic.name;
    if !(0..topic.partitions).contains(&asked.partition) {
        let last = topic.partitions - 1;
        return Err(Error::invalid(format!("{name} has partitions 0 to {last}, not {}", asked.partition)));
    }
    let mut found = None;
    cluster.read(name, &BTreeMap::from([(asked.partition, asked.offset)]), &mut |entry| {
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
    let redriven = topic.redriven(cluster, topic.marker_partitions().unwrap_or(0))?;
    letter.redriven_at = redriven.get(&asked).copied();
    Ok((letter, entry.record()))
}

fn plan(cluster: &impl LetterCluster, topic: &str, request: &RedriveRequest) -> Result<RedrivePlan> {
    let topic = Topic::find(cluster, topic)?;
    let letters = match &request.letters {
        Selection::Matching(filter) => list(cluster, &topic, filter)?.letters,
        Selection::Only(letter, _) => vec![show(cluster, &topic, *letter)?.0],
    };
    let facts = RedriveFacts {
        dead_letter_topic: topic.name.to_owned(),
        topic_id: topic.id,
        topics: topic.topics,
        letters,
    };
    RedrivePlan::new(request, &facts)
}

/// Which letters were redriven is looked up behind the fence: what earlier redrives have not committed by then, they never will. The markers
/// are read whether or not a broker has heard of their topic yet, which another redrive may have made a moment ago.
fn execute(
    cluster: &impl LetterCluster,
    clock: &dyn Clock,
    plan: &RedrivePlan,
    mut on_step: impl FnMut(&RedriveStep),
) -> Result<RedriveOutcome> {
    let name = &plan.dead_letter_topic;
    if plan.is_empty() {
        return Ok(RedriveOutcome::default());
    }
    let topic = Topic::find(cluster, name)?;
    if topic.id != plan.topic_id {
        return Err(Error::invalid(format!(
            "{name} was deleted and made again since the redrive was planned, and has other letters: plan it again"
        )));
    }
    let markers = redriven_topic(name);
    let partitions = topic.marker_partitions().unwrap_or(1);
    let required = [compacted_topic(markers.clone(), partitions, "redriven letters")];
    let ensure = || ensure_internal_topics(cluster.admin(), &required);
    patiently(clock, PATIENCE, || false, ensure).map_err(explained)?;
    let transactions = cluster.transactions(&format!("{name}-redrive")).map_err(explained)?;
    let redriven = topic.redriven(cluster, partitions)?;
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
                redriver.put_back(&std::mem::take(&mut batch).records)?;
            }
        }
        Ok(if waiting.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    redriver.put_back(&batch.records)?;
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
    records: Vec<(&'a Redrive, FailedRecord)>,
    bytes: usize,
}

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
    /// Puts records back in one transaction; if one of them is to blame that this fails, in two, and so on, until it is found.
    fn put_back(&mut self, batch: &[(&Redrive, FailedRecord)]) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut tries = 0;
        let error = loop {
            let Err(error) = self.try_to_put_back(batch) else {
                self.outcome.redriven += batch.len();
                (self.on_step)(&RedriveStep::Committed(batch.len()));
                return Ok(());
            };
            // Whether the producer was fenced, the end of the transaction tells.
            self.transactions.abort().map_err(explained)?;
            tries += 1;
            // The transaction after one in which a record was refused is such a case: the client numbers its records anew.
            if error.kind() != ErrorKind::Abortable || tries == MOST_TRIES {
                break error;
            }
        };
        if error.kind() != ErrorKind::Record {
            return Err(explained(error));
        }
        if let [(redrive, _)] = batch {
            self.outcome.refused.push((redrive.letter, error.to_string()));
            (self.on_step)(&RedriveStep::Refused(redrive.letter));
            return Ok(());
        }
        let (first, second) = batch.split_at(batch.len() / 2);
        self.put_back(first)?;
        self.put_back(second)
    }

    fn try_to_put_back(&mut self, batch: &[(&Redrive, FailedRecord)]) -> Result<()> {
        for (redrive, record) in batch {
            self.transactions.send(&redrive.topic, redrive.partition, record)?;
            let marker = FailedRecord {
                timestamp: self.clock.wall_clock(),
                key: Some(marker::key(self.topic_id, redrive.letter).into()),
                value: Some(marker::value(redrive).into()),
                headers: Headers::default(),
            };
            self.transactions.send(&self.markers, None, &marker)?;
        }
        self.transactions.flush()?;
        (self.on_step)(&RedriveStep::Written(batch.len()));
        self.transactions.commit()
    }
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
