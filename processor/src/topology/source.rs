//! Sources: decode a raw record, give it its event time, send it on its way.

use std::sync::Arc;
use std::time::Duration;

use millstream_state_stores::{
    ApplicationSerdes, Offset, RecordPart, SerdeError, SerdePlace, SerdeRef, Timestamp,
};

use crate::api::{ErasedInput, Failure, FailureStage, Headers, Output, Record, TaskContext, typed_output};
use crate::error::Result;

/// A record as Kafka gave it.
#[derive(Clone, Copy, Debug)]
pub struct RawRecord<'a> {
    /// Offset in its partition.
    pub offset: Offset,
    /// The record's own timestamp.
    pub timestamp: Timestamp,
    /// Key bytes, `None` for null.
    pub key: Option<&'a [u8]>,
    /// Value bytes, `None` for null.
    pub value: Option<&'a [u8]>,
}

/// Gives a record its event time from its content; the last argument is Kafka's own timestamp.
pub type TimestampExtractor<K, V> = Arc<dyn Fn(&K, &V, Timestamp) -> Timestamp + Send + Sync>;

/// How a source reads its topics: serdes and event time (Kafka Streams' `Consumed`).
pub struct Consumed<K, V> {
    pub(crate) key_serde: SerdeRef<K>,
    pub(crate) value_serde: SerdeRef<V>,
    pub(crate) timestamp_extractor: Option<TimestampExtractor<K, V>>,
    pub(crate) heartbeats: Option<Duration>,
}

impl<K, V> Consumed<K, V> {
    /// With these serdes, and event time from Kafka's record timestamp.
    pub fn with(key_serde: SerdeRef<K>, value_serde: SerdeRef<V>) -> Self {
        Consumed { key_serde, value_serde, timestamp_extractor: None, heartbeats: None }
    }

    /// Takes event time from the record's content. A record with a negative event time is dropped and counted.
    #[must_use]
    pub fn with_timestamp_extractor(
        mut self,
        extractor: impl Fn(&K, &V, Timestamp) -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        self.timestamp_extractor = Some(Arc::new(extractor));
        self
    }

    /// Lets time go on while no records come. Where nothing has come to a partition for `every` by the wall clock, the task that reads it
    /// writes a heartbeat to its end: a record without key and value, with the header [`HEARTBEAT_HEADER`](super::HEARTBEAT_HEADER), that says
    /// that all records which are older than `every` have come. When its turn comes, stream time moves there for the processors below
    /// ([`Processor::advance_stream_time`](crate::api::Processor::advance_stream_time)), at a commit right behind it. Whoever writes the topic
    /// may write heartbeats, too.
    ///
    /// # Panics
    /// If `every` is shorter than a millisecond.
    #[track_caller]
    #[must_use]
    pub fn with_heartbeats(mut self, every: Duration) -> Self {
        assert!(every.as_millis() > 0, "heartbeats every {every:?} are too many: a millisecond is the least");
        self.heartbeats = Some(every);
        self
    }
}

impl<K, V> Consumed<K, V> {
    /// With its serdes as they are in a topic.
    pub(super) fn in_place(&self, topic: &str, serdes: &ApplicationSerdes) -> Result<Self, SerdeError> {
        let place = |part| SerdePlace::new(topic, part, serdes).only_read();
        Ok(Consumed {
            key_serde: place(RecordPart::Key).bind(&self.key_serde)?,
            value_serde: place(RecordPart::Value).bind(&self.value_serde)?,
            ..self.clone()
        })
    }
}

impl<K, V> Clone for Consumed<K, V> {
    fn clone(&self) -> Self {
        Consumed {
            key_serde: self.key_serde.clone(),
            value_serde: self.value_serde.clone(),
            timestamp_extractor: self.timestamp_extractor.clone(),
            heartbeats: self.heartbeats,
        }
    }
}

/// One topic's way into a task. `event_time` is called once for each record that comes to the head of its queue,
/// then `process` for the same record, unless `event_time` failed.
pub(crate) trait SourceEntry {
    fn event_time(&mut self, raw: &RawRecord<'_>) -> Result<Timestamp, Failure>;

    fn process(
        &mut self,
        raw: &RawRecord<'_>,
        headers: Headers,
        event_time: Timestamp,
        task: &mut TaskContext,
    ) -> Result<(), Failure>;
}

pub(crate) trait SourceFactory: Send + Sync {
    fn build(&self, name: &Arc<str>, children: &[(&Arc<str>, &ErasedInput)]) -> Result<Box<dyn SourceEntry>>;

    /// The factory with its serdes as they are in the topics it reads.
    fn in_places(
        &self,
        topics: &[String],
        serdes: &ApplicationSerdes,
    ) -> Result<Arc<dyn SourceFactory>, SerdeError>;

    /// After how long without a record heartbeats are written, if they are.
    fn heartbeats(&self) -> Option<Duration>;
}

impl<K: Clone + 'static, V: Clone + 'static> SourceFactory for Consumed<K, V> {
    fn build(&self, name: &Arc<str>, children: &[(&Arc<str>, &ErasedInput)]) -> Result<Box<dyn SourceEntry>> {
        let output = typed_output(name, children)?;
        Ok(Box::new(SourceNode { name: Arc::clone(name), consumed: self.clone(), head: None, output }))
    }

    fn in_places(
        &self,
        topics: &[String],
        serdes: &ApplicationSerdes,
    ) -> Result<Arc<dyn SourceFactory>, SerdeError> {
        // All of them are read by the same serdes, which must fit each.
        let settled =
            topics.iter().map(|topic| self.in_place(topic, serdes)).collect::<Result<Vec<_>, _>>()?;
        Ok(Arc::new(settled.into_iter().next().unwrap_or_else(|| self.clone())))
    }

    fn heartbeats(&self) -> Option<Duration> {
        self.heartbeats
    }
}

struct SourceNode<K, V> {
    name: Arc<str>,
    consumed: Consumed<K, V>,
    /// The head of the queue, decoded already because its event time is in its content.
    head: Option<(K, V)>,
    output: Output<K, V>,
}

impl<K, V> SourceNode<K, V> {
    // On the path of every record, and too large for the compiler to inline twice: key and value are built where they are used.
    #[inline(always)]
    fn decode(&self, raw: &RawRecord<'_>) -> Result<(K, V), Failure> {
        let key = decode_field(&self.consumed.key_serde, raw.key);
        let key = key.map_err(|error| self.undecodable(error))?;
        let value = decode_field(&self.consumed.value_serde, raw.value);
        let value = value.map_err(|error| self.undecodable(error))?;
        Ok((key, value))
    }

    #[cold]
    fn undecodable(&self, error: SerdeError) -> Failure {
        Failure::at_stage(FailureStage::Decode, error).in_node(&self.name)
    }
}

#[inline]
pub(super) fn decode_field<T>(serde: &SerdeRef<T>, bytes: Option<&[u8]>) -> Result<T, SerdeError> {
    match bytes {
        Some(bytes) => serde.decode(bytes),
        None => serde.decode_null(),
    }
}

impl<K: Clone + 'static, V: Clone + 'static> SourceEntry for SourceNode<K, V> {
    fn event_time(&mut self, raw: &RawRecord<'_>) -> Result<Timestamp, Failure> {
        let Some(extract) = &self.consumed.timestamp_extractor else { return Ok(raw.timestamp) };
        let (key, value) = self.decode(raw)?;
        let event_time = extract(&key, &value, raw.timestamp);
        self.head = Some((key, value));
        Ok(event_time)
    }

    fn process(
        &mut self,
        raw: &RawRecord<'_>,
        headers: Headers,
        event_time: Timestamp,
        task: &mut TaskContext,
    ) -> Result<(), Failure> {
        let (key, value) = match self.head.take() {
            Some(head) => head,
            None => self.decode(raw)?,
        };
        self.output.forward(Record { key, value, timestamp: event_time, headers }, task)
    }
}
