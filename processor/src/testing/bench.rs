//! Runs a topology over records that lie ready in memory: what a stream thread does to a record, without Kafka's share.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use millstream_state_stores::{Offset, RecordField, RecordPart, Timestamp};

use super::tasks::DriverTasks;
use super::topics::encode;
use crate::api::Headers;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::task::{BURST, ChangelogSlot, InputMessage, OutgoingRecord, RecordSender, SenderTopic};
use crate::topology::{PartitionCount, RawRecord, Topology};

/// Runs a topology over prepared records, to measure what its operators and stores cost per record.
///
/// Its loop is that of a stream thread: records are processed in bursts, outputs delivered after each. What is delivered is counted
/// and dropped, also what goes to a repartition topic: a measurement is of the sub-topology that reads the records. Stores are in memory.
///
/// ```
/// use millstream_processor::testing::TopologyBench;
/// use millstream_processor::topology::{Consumed, Topology};
/// use millstream_processor::{HasSerde, Timestamp};
///
/// let mut topology = Topology::new();
/// topology.add_source("orders", ["orders"], Consumed::with(String::serde(), i64::serde()))?;
/// topology.add_sink("copies", &["orders"], "copies", String::serde(), i64::serde())?;
///
/// let mut bench = TopologyBench::new(topology)?;
/// let orders = (0..5000).map(|order| (format!("sku-{}", order % 10), order, Timestamp::from_millis(order)));
/// let orders = bench.prepare::<String, i64>("orders", orders)?;
/// bench.process(&orders)?; // measure this
/// bench.commit()?;
/// assert_eq!(bench.delivered().records, 5000);
/// # Ok::<(), millstream_processor::Error>(())
/// ```
pub struct TopologyBench {
    tasks: DriverTasks<PreparedMessage>,
    delivered: Delivered,
    next_offset: Offset,
}

/// Encoded records of one topic, to be processed as often as one likes.
pub struct PreparedRecords {
    task: usize,
    input: usize,
    records: Vec<Rc<PreparedRecord>>,
}

/// What left the tasks, changelog records included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Records.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

impl TopologyBench {
    /// Builds the tasks, with default settings.
    ///
    /// # Errors
    /// `Invalid` if the topology is.
    pub fn new(topology: Topology) -> Result<Self> {
        let one_partition: PartitionCount = Arc::new(|_topic| Ok(1));
        Ok(TopologyBench {
            tasks: DriverTasks::build(topology, "bench", &Settings::new("none"), &one_partition)?,
            delivered: Delivered::default(),
            next_offset: Offset::new(0),
        })
    }

    /// Encodes records of a topic: key, value and event time of each.
    ///
    /// # Errors
    /// `Invalid` if the topology does not read the topic; `Record` if a record does not encode.
    pub fn prepare<K: RecordField, V: RecordField>(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = (K, V, Timestamp)>,
    ) -> Result<PreparedRecords> {
        let task = self.tasks.reader(topic)?;
        let mut queues = self.tasks.all[task].queues().iter();
        let input = queues
            .position(|queue| **queue.topic() == *topic)
            .ok_or_else(|| Error::fatal(format!("the task that reads topic {topic} has no queue for it")))?;
        let keys = self.tasks.to_write(topic, RecordPart::Key, &K::field_serde())?;
        let values = self.tasks.to_write(topic, RecordPart::Value, &V::field_serde())?;
        let records = records.into_iter().map(|(key, value, timestamp)| {
            let (key, value) = (encode(&keys, &key)?, encode(&values, &value)?);
            Ok(Rc::new(PreparedRecord { key, value, timestamp }))
        });
        Ok(PreparedRecords { task, input, records: records.collect::<Result<_>>()? })
    }

    /// Passes the records through their sub-topology and delivers its outputs.
    ///
    /// # Errors
    /// Whatever processing fails with; then the bench should not be used further.
    pub fn process(&mut self, records: &PreparedRecords) -> Result<()> {
        let task = &mut self.tasks.all[records.task];
        for burst in records.records.chunks(BURST) {
            let queue = task.queue_mut(records.input);
            for record in burst {
                queue.push(PreparedMessage { record: Rc::clone(record), offset: self.next_offset });
                self.next_offset = self.next_offset.next();
            }
            for input in 0..task.queues().len() {
                task.queue_mut(input).reached_end(self.next_offset);
            }
            task.process(burst.len(), Timestamp::from_millis(0), Duration::ZERO)?;
            task.deliver(&mut self.delivered, Duration::ZERO)?;
        }
        self.tasks.publish_global_tables(&self.delivered)
    }

    /// Commits all tasks: caches emit, and what they emit is delivered.
    ///
    /// # Errors
    /// As [`TopologyBench::process`].
    pub fn commit(&mut self) -> Result<()> {
        for task in &mut self.tasks.all {
            task.prepare_commit()?;
            task.deliver(&mut self.delivered, Duration::ZERO)?;
            task.committed(&self.delivered)?;
        }
        Ok(())
    }

    /// What left the tasks so far.
    pub fn delivered(&self) -> Delivered {
        self.delivered
    }
}

struct PreparedRecord {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: Timestamp,
}

/// A prepared record in a queue: shared, as a record of Kafka's lies in the client's buffer.
struct PreparedMessage {
    record: Rc<PreparedRecord>,
    offset: Offset,
}

impl InputMessage for PreparedMessage {
    fn offset(&self) -> Offset {
        self.offset
    }

    fn raw(&self) -> RawRecord<'_> {
        RawRecord {
            offset: self.offset,
            timestamp: self.record.timestamp,
            key: self.record.key.as_deref(),
            value: self.record.value.as_deref(),
        }
    }

    fn headers(&self) -> Headers {
        Headers::default()
    }
}

impl RecordSender for Delivered {
    fn resolve(&mut self, _topic: &str) -> Result<SenderTopic> {
        Ok(SenderTopic(0))
    }

    fn send(&mut self, record: &OutgoingRecord<'_>) -> Result<()> {
        self.records += 1;
        self.bytes += (record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)) as u64;
        Ok(())
    }

    fn open_changelog(&mut self) -> ChangelogSlot {
        ChangelogSlot(0)
    }

    fn acknowledged(&self, _slot: ChangelogSlot) -> Option<Offset> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::topology::Consumed;
    use millstream_state_stores::HasSerde;

    fn copies() -> Result<Topology> {
        let mut topology = Topology::new();
        topology.add_source("orders", ["orders"], Consumed::with(String::serde(), i64::serde()))?;
        topology.add_sink("copies", &["orders"], "copies", String::serde(), i64::serde())?;
        Ok(topology)
    }

    #[test]
    fn records_pass_as_often_as_they_are_processed() -> Result<()> {
        let mut bench = TopologyBench::new(copies()?)?;
        let records = (0..2500).map(|order| ("apples".to_string(), order, Timestamp::from_millis(order)));
        let records = bench.prepare::<String, i64>("orders", records)?;
        for times in 1..=2 {
            bench.process(&records)?;
            bench.commit()?;
            let expected = Delivered { records: times * 2500, bytes: times * 2500 * (6 + 8) };
            assert_eq!(bench.delivered(), expected);
        }
        Ok(())
    }

    #[test]
    fn a_topic_that_nobody_reads_is_refused() -> Result<()> {
        let bench = TopologyBench::new(copies()?)?;
        let refused = bench.prepare::<String, i64>("ordres", []).err();
        assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::Invalid));
        Ok(())
    }
}
