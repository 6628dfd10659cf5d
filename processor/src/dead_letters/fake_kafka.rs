//! A Kafka in memory, whose clients can die at any point, and each other's.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use millstream_state_stores::{Offset, Timestamp, TopicId};
use parking_lot::{Mutex, MutexGuard};

use super::execute::execute;
use super::reading::LetterTopic;
use super::{
    FailedRecord, LetterCluster, LetterFilter, LetterId, LetterList, LetterTransactions, RedriveOutcome,
    RedrivePlan, RedriveRequest, RedriveStep, TopicEntry, headers,
};
use crate::api::Headers;
use crate::clock::ManualClock;
use crate::error::{Error, ErrorKind, Result};
use crate::kafka::{ClusterAdmin, NewTopic};

pub(super) const LETTERS: &str = "shop-dead-letters";
pub(super) const MARKERS: &str = "shop-dead-letters-redriven";

/// When everything happens.
pub(super) const NOW: Timestamp = Timestamp::from_millis(9_000);

/// Records of a partition; those of a transaction are in it once it is committed.
pub(super) type Log = Vec<TopicEntry>;

/// What somebody else does.
type Rival = Box<dyn FnOnce(&FakeKafka) -> Result<()> + Send>;

/// Topics, and the one transactional id that a redrive has.
#[derive(Clone, Default)]
pub(super) struct FakeKafka(Arc<Mutex<State>>);

#[derive(Default)]
pub(super) struct State {
    pub(super) topics: BTreeMap<String, Vec<Log>>,
    pub(super) policies: BTreeMap<String, String>,
    /// None where the brokers give topics no ids.
    pub(super) topic_id: Option<u8>,
    /// Questions for ids that are put to brokers who have yet to hear of the topics.
    pub(super) ids_not_told: u32,
    /// Which producer of the id is the current one.
    epoch: u32,
    /// What somebody does just before the next producer of the id is made.
    pub(super) rival: Option<Rival>,
    /// Effects that are left before the process dies.
    pub(super) effects_left: Option<usize>,
    /// Commits that fail before others succeed, and leave the transaction to be aborted.
    pub(super) failing_commits: u32,
    /// Whether no transaction can be aborted.
    pub(super) fails_to_abort: bool,
    /// Values longer than this are not taken by `orders`.
    pub(super) most_bytes: Option<usize>,
    /// Whether the brokers refuse a record as soon as it is sent, and not when they are waited for.
    pub(super) refuses_at_once: bool,
    /// Topics that the user may not write to.
    pub(super) denied: BTreeSet<String>,
}

impl State {
    fn effect(&mut self) -> Result<()> {
        if self.effects_left == Some(0) {
            return Err(Error::fatal("the process died"));
        }
        self.effects_left = self.effects_left.map(|left| left - 1);
        Ok(())
    }

    pub(super) fn append(&mut self, topic: &str, partition: i32, record: &FailedRecord) {
        let log = &mut self.topics.get_mut(topic).unwrap()[usize::try_from(partition).unwrap()];
        let offset = log.last().map_or(Offset::new(0), |last| last.id.offset.next());
        log.push(TopicEntry {
            id: LetterId { partition, offset },
            timestamp: record.timestamp,
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers.clone(),
        });
    }
}

pub(super) struct FakeProducer {
    kafka: FakeKafka,
    epoch: u32,
    open: Vec<(String, i32, FailedRecord)>,
}

impl FakeProducer {
    /// # Errors
    /// That the brokers do not take what was sent.
    fn refusal(&self, state: &State) -> Result<()> {
        let most = state.most_bytes.unwrap_or(usize::MAX);
        let length = |record: &FailedRecord| record.value.as_ref().map_or(0, Bytes::len);
        for (topic, _, record) in &self.open {
            if topic == "orders" && length(record) > most {
                return Err(Error::new(ErrorKind::Record, "a record is too large"));
            }
            if state.denied.contains(topic) {
                return Err(Error::invalid("the topic may not be written to"));
            }
        }
        Ok(())
    }
}

impl FakeKafka {
    /// With two partitions of `orders`, and letters of these records of them: value, then partition.
    pub(super) fn with_letters(records: &[(&str, i32)]) -> Self {
        let kafka = FakeKafka::default();
        {
            let mut state = kafka.0.lock();
            state.topic_id = Some(1);
            state.topics.insert("orders".into(), vec![Log::new(), Log::new()]);
            state.topics.insert(LETTERS.into(), vec![Log::new()]);
        }
        for (value, partition) in records {
            let partition = partition.to_string();
            let said = [(headers::TOPIC, "orders"), (headers::PARTITION, &partition), (headers::OFFSET, "7")];
            kafka.write_letter(value, &said);
        }
        kafka
    }

    pub(super) fn write_letter(&self, value: &str, said: &[(&str, &str)]) {
        let mut all = Headers::default();
        all.push("trace", Some(Bytes::from_static(b"abc")));
        all.push(headers::EXCEPTION, Some(Bytes::from_static(b"SerdeError::Json")));
        for (name, value) in said {
            all.push(*name, Some(Bytes::copy_from_slice(value.as_bytes())));
        }
        self.0.lock().append(LETTERS, 0, &record(value, all));
    }

    pub(super) fn plan(&self) -> Result<RedrivePlan> {
        self.topic()?.plan(&RedriveRequest::default())
    }

    pub(super) fn topic(&self) -> Result<LetterTopic<'_, FakeKafka>> {
        LetterTopic::find(self, &*ManualClock::at(NOW), LETTERS)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    pub(super) fn redrive(&self) -> Result<RedriveOutcome> {
        self.execute(&self.plan()?, |_| ())
    }

    pub(super) fn execute(
        &self,
        plan: &RedrivePlan,
        on_step: impl FnMut(&RedriveStep),
    ) -> Result<RedriveOutcome> {
        execute(self, &*ManualClock::at(NOW), plan, on_step)
    }

    pub(super) fn list(&self) -> Result<LetterList> {
        self.topic()?.list(&LetterFilter::default())
    }

    pub(super) fn log(&self, topic: &str) -> Vec<TopicEntry> {
        self.0.lock().topics[topic].concat()
    }

    /// The values in `orders`, sorted.
    pub(super) fn orders(&self) -> Vec<String> {
        let value = |entry: TopicEntry| String::from_utf8(entry.value.unwrap().to_vec()).unwrap();
        let mut orders: Vec<String> = self.log("orders").into_iter().map(value).collect();
        orders.sort();
        orders
    }
}

pub(super) fn record(value: &str, headers: Headers) -> FailedRecord {
    FailedRecord {
        timestamp: Timestamp::from_millis(2_000),
        key: Some(Bytes::from_static(b"apples")),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers,
    }
}

impl ClusterAdmin for FakeKafka {
    fn partition_counts(&self, topics: &[String]) -> Result<BTreeMap<String, i32>> {
        let mut counts = self.all_partition_counts()?;
        counts.retain(|name, _| topics.contains(name));
        Ok(counts)
    }

    fn all_partition_counts(&self) -> Result<BTreeMap<String, i32>> {
        let count = |partitions: &Vec<Log>| i32::try_from(partitions.len()).unwrap();
        Ok(self.0.lock().topics.iter().map(|(name, logs)| (name.clone(), count(logs))).collect())
    }

    fn create_topic(&self, topic: &NewTopic) -> Result<()> {
        let mut state = self.0.lock();
        state.effect()?;
        assert_eq!(topic.config["cleanup.policy"], "compact");
        let logs = vec![Log::new(); usize::try_from(topic.partitions).unwrap()];
        state.topics.entry(topic.name.clone()).or_insert(logs);
        Ok(())
    }

    fn topic_config(&self, topic: &str) -> Result<BTreeMap<String, String>> {
        let state = self.0.lock();
        let policy = state.policies.get(topic).cloned().unwrap_or_else(|| "compact".into());
        Ok(BTreeMap::from([("cleanup.policy".into(), policy)]))
    }

    fn topic_ids(&self, topics: &[String]) -> Result<BTreeMap<String, Option<TopicId>>> {
        let mut state = self.0.lock();
        if state.ids_not_told > 0 {
            state.ids_not_told -= 1;
            return Ok(BTreeMap::new());
        }
        let id = state.topic_id.map(|id| TopicId::from_bytes([id; 16]));
        Ok(topics.iter().map(|topic| (topic.clone(), id)).collect())
    }
}

impl LetterCluster for FakeKafka {
    type Transactions = FakeProducer;

    fn admin(&self) -> &dyn ClusterAdmin {
        self
    }

    fn read(
        &self,
        topic: &str,
        from: &BTreeMap<i32, Offset>,
        each: &mut dyn FnMut(TopicEntry) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        if from.is_empty() {
            return Ok(());
        }
        let is_asked =
            |entry: &TopicEntry| from.get(&entry.id.partition).is_some_and(|from| entry.id.offset >= *from);
        for entry in self.log(topic).into_iter().filter(is_asked) {
            if each(entry)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn transactions(&self, transactional_id: &str) -> Result<FakeProducer> {
        assert_eq!(transactional_id, "shop-dead-letters-redrive");
        let rival = self.0.lock().rival.take();
        if let Some(rival) = rival {
            rival(self)?;
        }
        let mut state = self.0.lock();
        state.effect()?;
        state.epoch += 1;
        Ok(FakeProducer { kafka: self.clone(), epoch: state.epoch, open: Vec::new() })
    }
}

impl LetterTransactions for FakeProducer {
    fn send(&mut self, topic: &str, partition: Option<i32>, record: &FailedRecord) -> Result<()> {
        let mut state = self.kafka.0.lock();
        state.effect()?;
        if state.refuses_at_once && self.refusal(&state).is_err() {
            return Err(Error::new(ErrorKind::Abortable, "the transaction has failed"));
        }
        drop(state);
        self.open.push((topic.to_owned(), partition.unwrap_or(0), record.clone()));
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.refusal(&self.kafka.0.lock())
    }

    fn commit(&mut self) -> Result<()> {
        let mut state = self.kafka.0.lock();
        state.effect()?;
        if state.epoch != self.epoch {
            return Err(Error::new(ErrorKind::Migrated, "fenced"));
        }
        if state.failing_commits > 0 {
            state.failing_commits -= 1;
            return Err(Error::new(ErrorKind::Abortable, "it must be aborted"));
        }
        self.open.drain(..).for_each(|(topic, partition, record)| state.append(&topic, partition, &record));
        // It may be committed, and nobody hears of it.
        state.effect()
    }

    fn abort(&mut self) -> Result<()> {
        self.open.clear();
        let state = self.kafka.0.lock();
        match state.epoch == self.epoch && !state.fails_to_abort {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Migrated, "fenced")),
        }
    }
}
