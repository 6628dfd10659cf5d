//! What a record's journey carries along: where it came from, the task's time, and the outputs it leaves.

use std::sync::Arc;

use millstream_state_stores::{Encoded, Offset, SerdeRef, TaskId, Timestamp};
use rustc_hash::FxHashMap;

use super::edge::{Child, Failure};
use super::processor::NodePlace;
use super::punctuation::{Interval, Punctuation, PunctuationType, Punctuations, Schedule};
use super::record::{Headers, Record};
use crate::error::RecordLocation;

/// What a processor may ask of its task, and how it forwards. `K` and `V` are what it forwards.
pub struct ProcessorContext<'a, K, V> {
    place: &'a NodePlace<K, V>,
    task: &'a mut TaskContext,
}

impl<'a, K: Clone + 'static, V: Clone + 'static> ProcessorContext<'a, K, V> {
    #[inline]
    pub(crate) fn new(place: &'a NodePlace<K, V>, task: &'a mut TaskContext) -> Self {
        ProcessorContext { place, task }
    }

    /// The same for a shorter time.
    #[inline]
    pub(super) fn reborrow(&mut self) -> ProcessorContext<'_, K, V> {
        ProcessorContext { place: self.place, task: self.task }
    }

    /// Hands the record to every child, in declaration order, before it returns.
    #[inline]
    pub fn forward(&mut self, record: Record<K, V>) -> Result<(), Failure> {
        self.place.output.forward(record, self.task)
    }

    /// Forwards a record that was held back as it came: those below see where it came from, and not the record that released it.
    pub fn forward_held(
        &mut self,
        record: Record<K, V>,
        location: Option<RecordLocation>,
    ) -> Result<(), Failure> {
        let releasing = std::mem::replace(&mut self.task.location, location);
        let forwarded = self.place.output.forward(record, self.task);
        self.task.location = releasing;
        forwarded
    }

    /// Forwards the change of a versioned table, and says whether it is of the newest version of its row (KIP-914). Whoever may only see
    /// the newest asks [`TaskContext::is_superseded`].
    pub fn forward_version(&mut self, record: Record<K, V>, is_latest: bool) -> Result<(), Failure> {
        let before = std::mem::replace(&mut self.task.is_superseded, !is_latest);
        let forwarded = self.place.output.forward(record, self.task);
        self.task.is_superseded = before;
        forwarded
    }

    /// Hands the record to one child: one that [`Wiring::child`](super::Wiring::child) found by its name when the task was built, or by its
    /// position among the children in declaration order.
    ///
    /// ```
    /// use millstream_processor::HasSerde;
    /// use millstream_processor::api::{Child, Failure, Processor, ProcessorContext, Record};
    /// use millstream_processor::testing::TopologyTestDriver;
    /// use millstream_processor::topology::{Consumed, Topology};
    ///
    /// /// Sends large orders one way and all others another.
    /// struct BySize { large: Child, others: Child }
    ///
    /// impl Processor for BySize {
    ///     type KeyIn = String;
    ///     type ValueIn = i64;
    ///     type KeyOut = String;
    ///     type ValueOut = i64;
    ///
    ///     fn process(
    ///         &mut self,
    ///         order: Record<String, i64>,
    ///         context: &mut ProcessorContext<'_, String, i64>,
    ///     ) -> Result<(), Failure> {
    ///         let child = if order.value > 100 { self.large } else { self.others };
    ///         context.forward_to(child, order)
    ///     }
    /// }
    ///
    /// let mut topology = Topology::new();
    /// topology.add_source("orders", ["orders"], Consumed::with(String::serde(), i64::serde()))?;
    /// topology.add_processor("by-size", &["orders"], &[], |wiring| {
    ///     Ok(BySize { large: wiring.child("large")?, others: wiring.child("others")? })
    /// })?;
    /// topology.add_sink("large", &["by-size"], "large-orders", String::serde(), i64::serde())?;
    /// topology.add_sink("others", &["by-size"], "small-orders", String::serde(), i64::serde())?;
    ///
    /// let driver = TopologyTestDriver::new(topology)?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("apples", 500)?;
    /// assert_eq!(driver.output_topic::<String, i64>("large-orders").len(), 1);
    /// assert_eq!(driver.output_topic::<String, i64>("small-orders").len(), 0);
    /// # Ok::<(), millstream_processor::Error>(())
    /// ```
    #[inline]
    pub fn forward_to(&mut self, child: impl Into<Child>, record: Record<K, V>) -> Result<(), Failure> {
        self.place.output.forward_to(child.into(), record, self.task)
    }

    /// Asks for calls of [`Processor::punctuate`](super::Processor::punctuate) at this interval, until it is cancelled or the processor is
    /// closed. The calls come on the task's thread, between records: by stream time right after the record that moved it on, by the wall
    /// clock as soon as the thread has gone through a burst of records. A task that is paused misses no more than the last of them.
    ///
    /// # Errors
    /// If the interval is shorter than a millisecond, or if the processor keeps a global store: that is a function of its topic alone.
    pub fn schedule(
        &mut self,
        interval: impl Into<Interval>,
        kind: PunctuationType,
    ) -> Result<Schedule, Failure> {
        self.task.schedule(self.place.index, interval.into(), kind)
    }

    /// Ends a schedule. One that has ended already is left alone.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use millstream_processor::api::{
    ///     Failure, Processor, ProcessorContext, Punctuation, PunctuationType, Record, Schedule,
    /// };
    ///
    /// /// Forwards an order a second after it came, unless another one comes before.
    /// struct Settled { order: Option<(Record<String, i64>, Schedule)> }
    ///
    /// impl Processor for Settled {
    ///     type KeyIn = String;
    ///     type ValueIn = i64;
    ///     type KeyOut = String;
    ///     type ValueOut = i64;
    ///
    ///     fn process(
    ///         &mut self,
    ///         order: Record<String, i64>,
    ///         context: &mut ProcessorContext<'_, String, i64>,
    ///     ) -> Result<(), Failure> {
    ///         if let Some((_, schedule)) = self.order.take() {
    ///             context.cancel(schedule);
    ///         }
    ///         let schedule = context.schedule(Duration::from_secs(1), PunctuationType::WallClockTime)?;
    ///         self.order = Some((order, schedule));
    ///         Ok(())
    ///     }
    ///
    ///     fn punctuate(
    ///         &mut self,
    ///         punctuation: Punctuation,
    ///         context: &mut ProcessorContext<'_, String, i64>,
    ///     ) -> Result<(), Failure> {
    ///         context.cancel(punctuation.schedule);
    ///         match self.order.take() {
    ///             Some((order, _)) => context.forward(order),
    ///             None => Ok(()),
    ///         }
    ///     }
    /// }
    /// ```
    pub fn cancel(&mut self, schedule: Schedule) {
        self.task.punctuations.cancel(schedule);
    }

    /// The task this processor runs in, and what it knows of the current record.
    pub fn task(&mut self) -> &mut TaskContext {
        self.task
    }
}

/// The state of a task that every node sees while a record passes: its place, the time, the outputs so far.
#[derive(Debug)]
pub struct TaskContext {
    task: TaskId,
    location: Option<RecordLocation>,
    stream_time: Option<Timestamp>,
    wall_clock: Timestamp,
    /// Whether the task keeps the global tables.
    is_global: bool,
    punctuations: Punctuations,
    wants_commit: bool,
    dropped: u64,
    is_superseded: bool,
    outputs: OutputBuffer,
}

impl TaskContext {
    pub(crate) fn new(task: TaskId, is_global: bool) -> Self {
        TaskContext {
            task,
            location: None,
            stream_time: None,
            wall_clock: Timestamp::from_millis(0),
            is_global,
            punctuations: Punctuations::default(),
            wants_commit: false,
            dropped: 0,
            is_superseded: false,
            outputs: OutputBuffer::default(),
        }
    }

    /// The task's id.
    pub fn task_id(&self) -> TaskId {
        self.task
    }

    /// The input record being processed; none in `init`, in a punctuation, and while a commit emits.
    #[doc(alias = "recordMetadata")]
    pub fn location(&self) -> Option<&RecordLocation> {
        self.location.as_ref()
    }

    /// The largest timestamp the task has seen; none before its first record.
    #[doc(alias = "currentStreamTimeMs")]
    pub fn stream_time(&self) -> Option<Timestamp> {
        self.stream_time
    }

    /// Wall-clock time as of the current burst of records.
    #[doc(alias = "currentSystemTimeMs")]
    pub fn wall_clock(&self) -> Timestamp {
        self.wall_clock
    }

    /// Whether the change that is passed on is of an older version of its row: the opposite of Kafka Streams' `isLatest`. Of interest only
    /// below a versioned table.
    pub fn is_superseded(&self) -> bool {
        self.is_superseded
    }

    /// Asks for a commit as soon as the thread has gone through its burst of records, instead of after `commit_interval`.
    #[doc(alias = "commit")]
    pub fn request_commit(&mut self) {
        self.wants_commit = true;
    }

    pub(crate) fn wants_commit(&self) -> bool {
        self.wants_commit
    }

    pub(crate) fn committed(&mut self) {
        self.wants_commit = false;
    }

    fn schedule(
        &mut self,
        node: usize,
        interval: Interval,
        kind: PunctuationType,
    ) -> Result<Schedule, Failure> {
        if self.is_global {
            let message = "a processor that keeps a global store cannot schedule anything: what the store holds must follow from its topic alone";
            return Err(Failure::process(message.into()));
        }
        let now = self.time(kind);
        self.punctuations.schedule(node, interval, kind, now)
    }

    fn time(&self, kind: PunctuationType) -> Option<Timestamp> {
        match kind {
            PunctuationType::StreamTime => self.stream_time,
            PunctuationType::WallClockTime => Some(self.wall_clock),
        }
    }

    /// When, on this clock, a node is to be punctuated next.
    pub(crate) fn next_punctuation_at(&self, kind: PunctuationType) -> Option<Timestamp> {
        self.punctuations.next_at(kind)
    }

    /// Whether a node is to be punctuated now.
    #[inline]
    pub(crate) fn must_punctuate(&self, kind: PunctuationType) -> bool {
        self.punctuations.next_at(kind).is_some_and(|at| Some(at) <= self.time(kind))
    }

    /// The punctuation that is due first, with its node; none if none is due.
    pub(crate) fn next_punctuation(&mut self, kind: PunctuationType) -> Option<(usize, Punctuation)> {
        let now = self.time(kind)?;
        self.punctuations.next_due(kind, now)
    }

    /// Counts a record that an operator drops by its semantics, such as a null key in an aggregation.
    pub fn drop_record(&mut self) {
        self.dropped += 1;
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn set_wall_clock(&mut self, now: Timestamp) {
        self.wall_clock = now;
    }

    pub(crate) fn enter_record(
        &mut self,
        topic: &Arc<str>,
        partition: i32,
        offset: Offset,
        timestamp: Timestamp,
    ) {
        match &mut self.location {
            Some(location) if Arc::ptr_eq(&location.topic, topic) => {
                location.partition = partition;
                location.offset = offset;
            }
            location => *location = Some(RecordLocation { topic: Arc::clone(topic), partition, offset }),
        }
        self.stream_time = Some(self.stream_time.map_or(timestamp, |time| time.max(timestamp)));
    }

    pub(crate) fn leave_record(&mut self) {
        self.location = None;
    }

    /// The outputs waiting to be produced.
    #[inline]
    pub fn outputs(&mut self) -> &mut OutputBuffer {
        &mut self.outputs
    }
}

/// A topic as outputs of one task refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicIndex(u32);

impl TopicIndex {
    pub(crate) fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// Outputs of a task in order, encoded once into one arena, so that a record that fails can be taken back whole.
#[derive(Debug, Default)]
pub struct OutputBuffer {
    topics: Vec<Arc<str>>,
    topic_indexes: FxHashMap<Arc<str>, TopicIndex>,
    arena: Vec<u8>,
    records: Vec<Pending>,
    /// How many of the records are handed out.
    sent: usize,
}

#[derive(Debug)]
struct Pending {
    topic: TopicIndex,
    partition: Option<i32>,
    start: usize,
    key_length: Option<usize>,
    /// How many bytes at the end of the key have no say in its partition.
    unhashed_key_bytes: usize,
    value_length: Option<usize>,
    timestamp: Timestamp,
    headers: Headers,
}

/// One output, ready for the producer.
#[derive(Debug)]
pub struct PendingOutput<'a> {
    /// Topic, as an index into [`OutputBuffer::topics`].
    pub topic: TopicIndex,
    /// The partition, where the sink chose one; else the producer hashes the key.
    pub partition: Option<i32>,
    /// Encoded key.
    pub key: Option<&'a [u8]>,
    /// How many bytes at the end of the key have no say in its partition.
    pub unhashed_key_bytes: usize,
    /// Encoded value, `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Event time.
    pub timestamp: Timestamp,
    /// Headers.
    pub headers: &'a Headers,
}

/// How far an [`OutputBuffer`] was filled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutputMark {
    arena: usize,
    records: usize,
}

impl OutputBuffer {
    /// The index of a topic; the same name always gives the same index.
    pub fn topic(&mut self, name: &str) -> TopicIndex {
        if let Some(index) = self.topic_indexes.get(name) {
            return *index;
        }
        let index = TopicIndex(u32::try_from(self.topics.len()).unwrap_or(u32::MAX));
        let name: Arc<str> = name.into();
        self.topics.push(Arc::clone(&name));
        self.topic_indexes.insert(name, index);
        index
    }

    /// Topic names by index.
    pub fn topics(&self) -> &[Arc<str>] {
        &self.topics
    }

    /// Encodes a record and appends it. On an error nothing is appended.
    #[inline]
    pub fn encode<K, V>(
        &mut self,
        topic: TopicIndex,
        partition: Option<i32>,
        record: &Record<K, V>,
        key_serde: &SerdeRef<K>,
        value_serde: &SerdeRef<V>,
    ) -> Result<(), Failure> {
        self.encode_partly_hashed(topic, partition, record, key_serde, 0, value_serde)
    }

    /// [`OutputBuffer::encode`] with a key whose last bytes have no say in its partition.
    // Whoever has partitions chosen calls it, too, so that it would be a call in each sink.
    #[inline(always)]
    pub(crate) fn encode_partly_hashed<K, V>(
        &mut self,
        topic: TopicIndex,
        partition: Option<i32>,
        record: &Record<K, V>,
        key_serde: &SerdeRef<K>,
        unhashed_key_bytes: usize,
        value_serde: &SerdeRef<V>,
    ) -> Result<(), Failure> {
        let start = self.arena.len();
        let encoded = key_serde.encode(&record.key, &mut self.arena).and_then(|key| {
            let key_end = self.arena.len();
            let value = value_serde.encode(&record.value, &mut self.arena)?;
            Ok((key, key_end, value))
        });
        let (key, key_end, value) = match encoded {
            Ok(encoded) => encoded,
            Err(error) => {
                self.arena.truncate(start);
                return Err(Failure::produce(error));
            }
        };
        self.records.push(Pending {
            topic,
            partition,
            start,
            key_length: (key == Encoded::Bytes).then_some(key_end - start),
            unhashed_key_bytes,
            value_length: (value == Encoded::Bytes).then_some(self.arena.len() - key_end),
            timestamp: record.timestamp,
            headers: record.headers.clone(),
        });
        Ok(())
    }

    /// Appends a record that is encoded already.
    pub fn push(&mut self, output: &PendingOutput<'_>) {
        let start = self.arena.len();
        self.arena.extend_from_slice(output.key.unwrap_or_default());
        self.arena.extend_from_slice(output.value.unwrap_or_default());
        self.records.push(Pending {
            topic: output.topic,
            partition: output.partition,
            start,
            key_length: output.key.map(<[u8]>::len),
            unhashed_key_bytes: output.unhashed_key_bytes,
            value_length: output.value.map(<[u8]>::len),
            timestamp: output.timestamp,
            headers: output.headers.clone(),
        });
    }

    pub(crate) fn mark(&self) -> OutputMark {
        OutputMark { arena: self.arena.len(), records: self.records.len() }
    }

    pub(crate) fn truncate(&mut self, mark: OutputMark) {
        self.arena.truncate(mark.arena);
        self.records.truncate(mark.records);
    }

    /// Whether nothing waits to be sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.len() == self.sent
    }

    /// The outputs that wait to be sent, in order.
    pub fn iter(&self) -> impl Iterator<Item = PendingOutput<'_>> {
        self.records[self.sent..].iter().map(|pending| pending.in_arena(&self.arena))
    }

    /// Hands out the outputs in order, then forgets them and keeps the memory. Where `send` fails, that output and those after it are kept
    /// for the next call.
    pub(crate) fn drain<E>(
        &mut self,
        mut send: impl FnMut(&[Arc<str>], &PendingOutput<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for pending in &self.records[self.sent..] {
            send(&self.topics, &pending.in_arena(&self.arena))?;
            self.sent += 1;
        }
        self.arena.clear();
        self.records.clear();
        self.sent = 0;
        Ok(())
    }
}

impl Pending {
    fn in_arena<'a>(&'a self, arena: &'a [u8]) -> PendingOutput<'a> {
        let key_end = self.start + self.key_length.unwrap_or(0);
        let value = |length: usize| &arena[key_end..key_end + length];
        PendingOutput {
            topic: self.topic,
            partition: self.partition,
            key: self.key_length.map(|_| &arena[self.start..key_end]),
            unhashed_key_bytes: self.unhashed_key_bytes,
            value: self.value_length.map(value),
            timestamp: self.timestamp,
            headers: &self.headers,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use millstream_state_stores::{HasSerde, TimeWindowedSerde, Window, Windowed};

    use super::*;

    #[test]
    fn what_could_not_be_sent_yet_is_sent_next_and_nothing_twice() -> Result<(), Failure> {
        let mut outputs = OutputBuffer::default();
        let topic = outputs.topic("orders");
        for quantity in 0..4_i64 {
            let order = Record::new("apples".to_string(), quantity, Timestamp::from_millis(0));
            outputs.encode(topic, None, &order, &String::serde(), &i64::serde())?;
        }
        let mut sent = Vec::new();
        let mut send_before = |full_at: usize, outputs: &mut OutputBuffer| {
            outputs.drain(|topics, output| {
                assert_eq!(&*topics[output.topic.as_usize()], "orders");
                if sent.len() == full_at {
                    return Err("full");
                }
                sent.push(output.value.and_then(|value| value.last().copied()));
                Ok(())
            })
        };
        assert_eq!(send_before(2, &mut outputs), Err("full"));
        assert!(!outputs.is_empty());
        assert_eq!(send_before(2, &mut outputs), Err("full"));
        assert_eq!(send_before(9, &mut outputs), Ok(()));
        assert!(outputs.is_empty());
        assert_eq!(send_before(9, &mut outputs), Ok(()));
        assert_eq!(sent, [Some(0), Some(1), Some(2), Some(3)]);
        Ok(())
    }

    #[test]
    fn a_windowed_key_says_which_of_its_bytes_choose_the_partition() -> Result<(), Failure> {
        let at = Timestamp::from_millis;
        let serde: SerdeRef<Windowed<String>> =
            Arc::new(TimeWindowedSerde::new(String::serde(), Duration::from_millis(10)));
        let mut outputs = OutputBuffer::default();
        let topic = outputs.topic("counts");
        let record =
            Record::new(Windowed::new("apples".to_string(), Window::new(at(0), at(10))), 7_i64, at(5));
        let unhashed = serde.unhashed_key_bytes();
        outputs.encode_partly_hashed(topic, None, &record, &serde, unhashed, &i64::serde())?;
        let output = outputs.iter().next().expect("it was just encoded");
        assert_eq!(
            output.key.map(|key| &key[..key.len() - output.unhashed_key_bytes]),
            Some(b"apples".as_slice())
        );
        Ok(())
    }
}
