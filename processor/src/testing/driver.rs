//! Runs a topology in the calling thread, record by record: the tasks of the cluster, without Kafka.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use millstream_state_stores::{
    Custom, CustomStore, KeyValueStore, Offset, RecordField, SerdeRef, SessionStore, SessionStoreName,
    StoreError, StoreName, TaskStores, Timestamp, VersionedStore, WindowStore, WindowStoreName,
};

use super::arrivals::Arrivals;
use super::tasks::DriverTasks;
use super::topics::{TestInputTopic, TestOutputTopic};
use crate::api::Headers;
use crate::clock::{Clock, ManualClock};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::task::{ChangelogSlot, InputMessage, OutgoingRecord, RecordSender, SenderTopic, Task};
use crate::topology::{PartitionCount, RawRecord, Topology};

/// Runs a topology without Kafka, in controlled time (Kafka Streams' class of the same name).
///
/// Each record goes through all sub-topologies before `pipe_input` returns. As in Kafka Streams there is a commit after each record,
/// those of repartition topics included, so that emission caches seem off, unless the builder says otherwise. Topics have one partition;
/// stores are in memory.
///
/// ```
/// use millstream_processor::testing::TopologyTestDriver;
/// use millstream_processor::topology::{Consumed, Topology};
/// use millstream_processor::HasSerde;
///
/// let mut topology = Topology::new();
/// topology.add_source("orders", ["orders"], Consumed::with(String::serde(), i64::serde()))?;
/// topology.add_sink("copies", &["orders"], "copies", String::serde(), i64::serde())?;
///
/// let driver = TopologyTestDriver::new(topology)?;
/// driver.input_topic::<String, i64>("orders").pipe_input("apples".to_string(), 3)?;
/// let copied = driver.output_topic::<String, i64>("copies").read_key_value()?;
/// assert_eq!(copied, Some(("apples".to_string(), 3)));
/// # Ok::<(), millstream_processor::Error>(())
/// ```
pub struct TopologyTestDriver {
    core: Rc<RefCell<Core>>,
}

/// Options of a [`TopologyTestDriver`].
pub struct TopologyTestDriverBuilder {
    topology: Topology,
    application_id: String,
    settings: Settings,
    start: Timestamp,
    commits_each_record: bool,
    partitions: BTreeMap<String, i32>,
    existing: Vec<String>,
}

impl TopologyTestDriverBuilder {
    /// Handlers and limits; brokers and folders in the settings play no part.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// The application id, the prefix of internal topics; `test` unless set.
    #[must_use]
    pub fn application_id(mut self, application_id: &str) -> Self {
        self.application_id = application_id.to_string();
        self
    }

    /// Wall-clock time at the start; the epoch unless set.
    #[must_use]
    pub fn starting_at(mut self, start: Timestamp) -> Self {
        self.start = start;
        self
    }

    /// Commit only when [`TopologyTestDriver::commit`] is called, so that emission caches show their effect.
    #[must_use]
    pub fn commit_by_hand(mut self) -> Self {
        self.commits_each_record = false;
        self
    }

    /// How many partitions of an output topic a partitioner is told of; 1 unless set. What it chooses is checked, and written to one
    /// queue all the same.
    #[must_use]
    pub fn partitions(mut self, topic: &str, partitions: i32) -> Self {
        self.partitions.insert(topic.to_string(), partitions);
        self
    }

    /// The topics that exist, for sources that read whatever matches a pattern.
    #[must_use]
    pub fn existing_topics(mut self, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.existing.extend(topics.into_iter().map(Into::into));
        self
    }

    /// Builds the tasks and begins their processors.
    ///
    /// # Errors
    /// `Invalid` if the topology is, or if no topic that exists matches a pattern of it; whatever a processor fails with.
    pub fn build(self) -> Result<TopologyTestDriver> {
        let existing = self.existing.iter().map(String::as_str);
        let topology = self.topology.bound_to(existing, &self.application_id)?;
        let partitions = self.partitions;
        let partition_count: PartitionCount =
            Arc::new(move |topic| Ok(partitions.get(topic).copied().unwrap_or(1)));
        let tasks = DriverTasks::build(topology, &self.application_id, &self.settings, &partition_count)?;
        let mut core = Core {
            tasks,
            produced: Produced::default(),
            arrivals: Arrivals::default(),
            next_offsets: BTreeMap::new(),
            clock: ManualClock::at(self.start),
            commits_each_record: self.commits_each_record,
        };
        core.settle()?;
        Ok(TopologyTestDriver { core: Rc::new(RefCell::new(core)) })
    }
}

impl TopologyTestDriver {
    /// A driver with default settings.
    ///
    /// # Errors
    /// `Invalid` if the topology is.
    pub fn new(topology: Topology) -> Result<Self> {
        TopologyTestDriver::builder(topology).build()
    }

    /// A driver with options.
    pub fn builder(topology: Topology) -> TopologyTestDriverBuilder {
        TopologyTestDriverBuilder {
            topology,
            application_id: "test".into(),
            settings: Settings::new("none"),
            start: Timestamp::from_millis(0),
            commits_each_record: true,
            partitions: BTreeMap::new(),
            existing: Vec::new(),
        }
    }

    /// A topic to write into. Writing to a topic that the topology does not read is an error.
    pub fn input_topic<K: RecordField, V: RecordField>(&self, topic: &str) -> TestInputTopic<K, V> {
        TestInputTopic::new(Rc::clone(&self.core), topic)
    }

    /// A topic to read from, each record once. Repartition and changelog topics may be read, too.
    pub fn output_topic<K: RecordField, V: RecordField>(&self, topic: &str) -> TestOutputTopic<K, V> {
        self.output_topic_with_serdes(topic, K::field_serde(), V::field_serde())
    }

    /// The same, with serdes other than those of the types: those of the keys of a windowed table for instance, which know the size of its
    /// windows.
    pub fn output_topic_with_serdes<K, V>(
        &self,
        topic: &str,
        key_serde: SerdeRef<K>,
        value_serde: SerdeRef<V>,
    ) -> TestOutputTopic<K, V> {
        TestOutputTopic::new(Rc::clone(&self.core), topic, key_serde, value_serde)
    }

    /// A store as processors see it.
    ///
    /// # Errors
    /// `Invalid` if there is no such store or it holds other types.
    pub fn key_value_store<K: 'static, V: 'static>(
        &self,
        name: StoreName<K, V>,
    ) -> Result<KeyValueStore<K, V>> {
        self.with_stores(name.name(), |stores| stores.key_value(name.name()))
    }

    /// A window store as processors see it.
    ///
    /// # Errors
    /// As [`TopologyTestDriver::key_value_store`].
    pub fn window_store<K: 'static, V: 'static>(
        &self,
        name: WindowStoreName<K, V>,
    ) -> Result<WindowStore<K, V>> {
        self.with_stores(name.name(), |stores| stores.window(name.name()))
    }

    /// A session store as processors see it.
    ///
    /// # Errors
    /// As [`TopologyTestDriver::key_value_store`].
    pub fn session_store<K: 'static, V: 'static>(
        &self,
        name: SessionStoreName<K, V>,
    ) -> Result<SessionStore<K, V>> {
        self.with_stores(name.name(), |stores| stores.session(name.name()))
    }

    /// A versioned store as processors see it.
    ///
    /// # Errors
    /// As [`TopologyTestDriver::key_value_store`].
    pub fn versioned_store<K: 'static, V: Clone + 'static>(
        &self,
        name: StoreName<K, V>,
    ) -> Result<VersionedStore<K, V>> {
        self.with_stores(name.name(), |stores| stores.versioned(name.name()))
    }

    /// A store of your own kind as processors see it.
    ///
    /// # Errors
    /// As [`TopologyTestDriver::key_value_store`].
    pub fn custom_store<S: CustomStore>(&self, name: &str) -> Result<Custom<S>> {
        self.with_stores(name, |stores| stores.custom(name))
    }

    /// Calls the function with the stores of the task that has this one.
    fn with_stores<S>(
        &self,
        name: &str,
        open: impl FnOnce(&TaskStores) -> Result<S, StoreError>,
    ) -> Result<S> {
        let core = self.core.borrow();
        let task = core.tasks.all.iter().find(|task| task.stores().index_of(name).is_some());
        let task = task.ok_or_else(|| Error::invalid(format!("the topology has no store {name}")))?;
        Ok(open(task.stores())?)
    }

    /// Moves wall-clock time forward, and does what is due then: punctuations, once, however many intervals have passed, and heartbeats.
    ///
    /// # Errors
    /// Whatever processing fails with.
    #[doc(alias = "advanceWallClockTime")]
    pub fn advance_wall_clock_time(&self, by: Duration) -> Result<()> {
        let mut core = self.core.borrow_mut();
        core.clock.advance(by);
        core.settle()
    }

    /// Commits all tasks: caches emit, and what they emit goes through.
    ///
    /// # Errors
    /// Whatever processing fails with.
    pub fn commit(&self) -> Result<()> {
        self.core.borrow_mut().commit()
    }

    /// Names of the topics written so far, changelogs included, in order.
    pub fn produced_topic_names(&self) -> Vec<String> {
        self.core.borrow().produced.by_topic.keys().cloned().collect()
    }

    /// Records that operators dropped by their semantics, such as null keys in aggregations.
    pub fn dropped_records(&self) -> u64 {
        self.core.borrow().tasks.all.iter().map(|task| task.counters().dropped).sum()
    }

    /// Records that handlers skipped, in all stages.
    pub fn skipped_records(&self) -> u64 {
        self.core.borrow().tasks.all.iter().flat_map(|task| task.counters().skipped).sum()
    }
}

pub(super) struct Core {
    pub(super) tasks: DriverTasks<OwnedMessage>,
    produced: Produced,
    arrivals: Arrivals,
    next_offsets: BTreeMap<Arc<str>, i64>,
    clock: Arc<ManualClock>,
    commits_each_record: bool,
}

/// An encoded record of the driver.
#[derive(Clone, Debug)]
pub(super) struct OwnedMessage {
    pub(super) offset: Offset,
    pub(super) timestamp: Timestamp,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Headers,
}

impl InputMessage for OwnedMessage {
    fn offset(&self) -> Offset {
        self.offset
    }

    fn raw(&self) -> RawRecord<'_> {
        RawRecord {
            offset: self.offset,
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
        }
    }

    fn headers(&self) -> Headers {
        self.headers.clone()
    }
}

impl Core {
    pub(super) fn now(&self) -> Timestamp {
        self.clock.wall_clock()
    }

    pub(super) fn take_output(&mut self, topic: &str) -> Option<OwnedMessage> {
        self.produced.by_topic.get_mut(topic)?.pop_front()
    }

    pub(super) fn output_len(&self, topic: &str) -> usize {
        self.produced.by_topic.get(topic).map_or(0, VecDeque::len)
    }

    pub(super) fn pipe(&mut self, topic: &str, message: OwnedMessage) -> Result<()> {
        self.tasks.reader(topic)?;
        self.arrivals.push(&topic.into(), message);
        self.run()
    }

    /// Lets processors begin, and do what is due at this time.
    fn settle(&mut self) -> Result<()> {
        let (wall_clock, now) = (self.clock.wall_clock(), self.clock.monotonic());
        for task in &mut self.tasks.all {
            task.process(usize::MAX, wall_clock, now)?;
            task.deliver(&mut self.produced, now)?;
        }
        self.feed_back();
        self.commit_if_wanted()?;
        self.run()
    }

    /// Processes until nothing is left, record by record, feeding repartition topics back.
    fn run(&mut self) -> Result<()> {
        while let Some((topic, message)) = self.arrivals.pop() {
            self.process(&topic, message)?;
            self.commit_if_wanted()?;
        }
        Ok(())
    }

    fn process(&mut self, topic: &Arc<str>, mut message: OwnedMessage) -> Result<()> {
        let reader = self.tasks.reader(topic)?;
        let next = self.next_offsets.entry(Arc::clone(topic)).or_default();
        message.offset = Offset::new(*next);
        *next += 1;
        let task = &mut self.tasks.all[reader];
        for queue in task.queues_mut() {
            if **queue.topic() == **topic {
                queue.push(message.clone());
            }
            let end = self.next_offsets.get(queue.topic()).copied().unwrap_or_default();
            queue.reached_end(Offset::new(end));
        }
        let now = self.clock.monotonic();
        task.process(usize::MAX, self.clock.wall_clock(), now)?;
        task.deliver(&mut self.produced, now)?;
        self.tasks.publish_global_tables(&self.produced)?;
        self.feed_back();
        Ok(())
    }

    /// Takes up what was sent to topics that the topology reads.
    fn feed_back(&mut self) {
        for (topic, message) in self.produced.new.drain(..) {
            if self.tasks.reads(&topic) {
                self.arrivals.push(&topic, message);
            }
        }
    }

    /// Commits unless that is left to the test and no processor asks for it.
    fn commit_if_wanted(&mut self) -> Result<()> {
        let is_wanted = self.commits_each_record || self.tasks.all.iter().any(Task::wants_commit);
        if is_wanted { self.commit_tasks() } else { Ok(()) }
    }

    fn commit_tasks(&mut self) -> Result<()> {
        for task in &mut self.tasks.all {
            task.prepare_commit()?;
            task.deliver(&mut self.produced, self.clock.monotonic())?;
            task.committed(&self.produced)?;
        }
        self.feed_back();
        Ok(())
    }

    /// Commits until caches emit nothing more.
    fn commit(&mut self) -> Result<()> {
        loop {
            self.commit_tasks()?;
            if self.arrivals.is_empty() {
                return Ok(());
            }
            self.run()?;
        }
    }
}

/// What the tasks sent, by topic.
#[derive(Default)]
struct Produced {
    names: Vec<Arc<str>>,
    by_topic: BTreeMap<String, VecDeque<OwnedMessage>>,
    /// Sent since the last look, for those who read it back.
    new: Vec<(Arc<str>, OwnedMessage)>,
    acknowledged: Vec<i64>,
}

impl RecordSender for Produced {
    fn resolve(&mut self, topic: &str) -> Result<SenderTopic> {
        let index = self.names.iter().position(|name| **name == *topic).unwrap_or_else(|| {
            self.names.push(topic.into());
            self.names.len() - 1
        });
        Ok(SenderTopic(u32::try_from(index).unwrap_or(u32::MAX)))
    }

    fn send(&mut self, record: &OutgoingRecord<'_>) -> Result<()> {
        let topic = Arc::clone(&self.names[record.topic.0 as usize]);
        let queue = self.by_topic.entry(topic.to_string()).or_default();
        let message = OwnedMessage {
            offset: Offset::new(0),
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.clone(),
        };
        queue.push_back(message.clone());
        self.new.push((topic, message));
        if let Some(ChangelogSlot(slot)) = record.changelog {
            self.acknowledged[slot as usize] += 1;
        }
        Ok(())
    }

    fn open_changelog(&mut self) -> ChangelogSlot {
        self.acknowledged.push(0);
        ChangelogSlot(u32::try_from(self.acknowledged.len() - 1).unwrap_or(u32::MAX))
    }

    fn acknowledged(&self, slot: ChangelogSlot) -> Option<Offset> {
        self.acknowledged.get(slot.0 as usize).copied().map(Offset::new)
    }
}

#[cfg(test)]
mod heartbeats;
#[cfg(test)]
mod tests;
