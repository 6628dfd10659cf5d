//! What a record's journey carries along: where it came from, the task's time, and the outputs it leaves.

use std::sync::Arc;

use millstream_state_stores::{Encoded, Offset, SerdeRef, TaskId, Timestamp};
use rustc_hash::FxHashMap;

use super::edge::{Failure, Output};
use super::record::{Headers, Record};
use crate::error::RecordLocation;

/// What a processor may ask of its task, and how it forwards. `K` and `V` are what it forwards.
pub struct ProcessorContext<'a, K, V> {
    output: &'a Output<K, V>,
    task: &'a mut TaskContext,
}

impl<'a, K: Clone + 'static, V: Clone + 'static> ProcessorContext<'a, K, V> {
    pub(crate) fn new(output: &'a Output<K, V>, task: &'a mut TaskContext) -> Self {
        ProcessorContext { output, task }
    }

    /// Hands the record to every child, in declaration order, before it returns.
    #[inline]
    pub fn forward(&mut self, record: Record<K, V>) -> Result<(), Failure> {
        self.output.forward(record, self.task)
    }

    /// Forwards a record that was held back as it came: those below see where it came from, and not the record that released it.
    pub fn forward_held(
        &mut self,
        record: Record<K, V>,
        location: Option<RecordLocation>,
    ) -> Result<(), Failure> {
        let releasing = std::mem::replace(&mut self.task.location, location);
        let forwarded = self.output.forward(record, self.task);
        self.task.location = releasing;
        forwarded
    }

    /// Forwards the change of a table that concerns an older version of its row, not the newest (KIP-914). Whoever may only see the newest
    /// asks [`TaskContext::is_superseded`].
    pub fn forward_superseded(&mut self, record: Record<K, V>) -> Result<(), Failure> {
        let before = std::mem::replace(&mut self.task.is_superseded, true);
        let forwarded = self.output.forward(record, self.task);
        self.task.is_superseded = before;
        forwarded
    }

    /// Hands the record to one child, by its position among the children in declaration order.
    #[inline]
    pub fn forward_to(&mut self, child: usize, record: Record<K, V>) -> Result<(), Failure> {
        self.output.forward_to(child, record, self.task)
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
    dropped: u64,
    is_superseded: bool,
    outputs: OutputBuffer,
}

impl TaskContext {
    pub(crate) fn new(task: TaskId) -> Self {
        TaskContext {
            task,
            location: None,
            stream_time: None,
            wall_clock: Timestamp::from_millis(0),
            dropped: 0,
            is_superseded: false,
            outputs: OutputBuffer::default(),
        }
    }

    /// The task's id.
    pub fn task_id(&self) -> TaskId {
        self.task
    }

    /// The input record being processed; none while a commit emits.
    pub fn location(&self) -> Option<&RecordLocation> {
        self.location.as_ref()
    }

    /// The largest timestamp the task has seen; none before its first record.
    pub fn stream_time(&self) -> Option<Timestamp> {
        self.stream_time
    }

    /// Wall-clock time as of the current burst of records.
    pub fn wall_clock(&self) -> Timestamp {
        self.wall_clock
    }

    /// Whether the change that is passed on is of an older version of its row: the opposite of Kafka Streams' `isLatest`. Of interest only
    /// below a versioned table.
    pub fn is_superseded(&self) -> bool {
        self.is_superseded
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
    #[inline]
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

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The outputs, in order.
    pub fn iter(&self) -> impl Iterator<Item = PendingOutput<'_>> {
        self.records.iter().map(|pending| {
            let key_end = pending.start + pending.key_length.unwrap_or(0);
            let value = |length: usize| &self.arena[key_end..key_end + length];
            PendingOutput {
                topic: pending.topic,
                partition: pending.partition,
                key: pending.key_length.map(|_| &self.arena[pending.start..key_end]),
                unhashed_key_bytes: pending.unhashed_key_bytes,
                value: pending.value_length.map(value),
                timestamp: pending.timestamp,
                headers: &pending.headers,
            }
        })
    }

    /// Forgets the outputs and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.arena.clear();
        self.records.clear();
    }
}
