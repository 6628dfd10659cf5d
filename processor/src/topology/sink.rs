//! Sinks: encode a record and leave it with the task's outputs.

use std::sync::Arc;

use millstream_state_stores::SerdeRef;

use super::graph::TopicName;
use super::partitioner::{Partitions, StreamPartitioner, TaskPartitioner};
use super::serdes::{serdes_of_sink, unusable};
use crate::api::{Failure, Input, OutputBuffer, Record, TaskContext, TopicIndex, Wiring};
use crate::error::Result;

/// Names the topic of a record.
pub type TopicChooser<K, V> = Arc<dyn Fn(&Record<K, V>) -> String + Send + Sync>;

/// Where a sink writes.
pub enum SinkTopic<K, V> {
    /// Every record to this topic.
    Fixed(TopicName),
    /// Each record to the topic the function names (Kafka Streams' `TopicNameExtractor`). Such topics must exist.
    PerRecord(TopicChooser<K, V>),
}

impl<K, V> Clone for SinkTopic<K, V> {
    fn clone(&self) -> Self {
        match self {
            SinkTopic::Fixed(topic) => SinkTopic::Fixed(topic.clone()),
            SinkTopic::PerRecord(choose) => SinkTopic::PerRecord(Arc::clone(choose)),
        }
    }
}

/// Where a sink writes, and to which partitions. A topic's name converts into it, and a [`SinkTopic`].
pub struct Sink<K, V> {
    pub(crate) topic: SinkTopic<K, V>,
    pub(crate) partitioner: Option<StreamPartitioner<K, V>>,
}

impl<K, V> Sink<K, V> {
    /// Every record to this topic.
    pub fn topic(topic: impl Into<TopicName>) -> Self {
        SinkTopic::Fixed(topic.into()).into()
    }

    /// Each record to the topic the function names. Such topics must exist.
    #[doc(alias = "TopicNameExtractor")]
    pub fn per_record(choose: impl Fn(&Record<K, V>) -> String + Send + Sync + 'static) -> Self {
        SinkTopic::PerRecord(Arc::new(choose)).into()
    }

    /// Chooses the partitions of each record; the closure's second argument is how many the topic has. A partition that does not exist is a
    /// failure of the stage `produce`.
    ///
    /// ```
    /// use millstream_processor::HasSerde;
    /// use millstream_processor::testing::TopologyTestDriver;
    /// use millstream_processor::topology::{Consumed, Partitions, Sink, Topology};
    ///
    /// // Cancelled orders are of no interest; a recall concerns everybody.
    /// let to_warehouses = Sink::<String, i64>::topic("warehouses").partitioned_by(|order, partitions| match order.value {
    ///     0 => Partitions::Each(vec![]),
    ///     i64::MIN..0 => Partitions::Each((0..partitions).collect()),
    ///     _ => Partitions::ByKey,
    /// });
    /// let mut topology = Topology::new();
    /// topology.add_source("orders", ["orders"], Consumed::with(String::serde(), i64::serde()))?;
    /// topology.add_sink("warehouses", &["orders"], to_warehouses, String::serde(), i64::serde())?;
    ///
    /// let driver = TopologyTestDriver::builder(topology).partitions("warehouses", 3).build()?;
    /// let orders = driver.input_topic::<String, i64>("orders");
    /// orders.pipe_input("apples", 0)?;
    /// orders.pipe_input("apples", 5)?;
    /// orders.pipe_input("apples", -1)?;
    /// assert_eq!(driver.output_topic::<String, i64>("warehouses").len(), 1 + 3);
    /// assert_eq!(driver.dropped_records(), 1);
    /// # Ok::<(), millstream_processor::Error>(())
    /// ```
    #[doc(alias = "StreamPartitioner")]
    #[must_use]
    pub fn partitioned_by<P: Into<Partitions>>(
        mut self,
        choose: impl Fn(&Record<K, V>, i32) -> P + Send + Sync + 'static,
    ) -> Self {
        self.partitioner = Some(Arc::new(move |record, partitions| choose(record, partitions).into()));
        self
    }
}

impl<K, V> Clone for Sink<K, V> {
    fn clone(&self) -> Self {
        Sink { topic: self.topic.clone(), partitioner: self.partitioner.clone() }
    }
}

impl<K, V> From<SinkTopic<K, V>> for Sink<K, V> {
    fn from(topic: SinkTopic<K, V>) -> Self {
        Sink { topic, partitioner: None }
    }
}

impl<K, V> From<&str> for Sink<K, V> {
    fn from(topic: &str) -> Self {
        Sink::topic(topic)
    }
}

/// A sink within one task. That of a processor's own (see [`Wiring::sink`]) is no node of the topology.
pub struct TaskSink<K, V> {
    topic: TaskTopic<K, V>,
    partitioner: Option<TaskPartitioner<K, V>>,
    encoder: RecordEncoder<K, V>,
}

enum TaskTopic<K, V> {
    Fixed(TopicIndex),
    PerRecord(TopicChooser<K, V>),
}

impl<K, V> TaskSink<K, V> {
    /// With its serdes as they are in the topic.
    ///
    /// # Errors
    /// If a serde cannot be used there.
    pub(crate) fn in_place(
        sink: &Sink<K, V>,
        key_serde: &SerdeRef<K>,
        value_serde: &SerdeRef<V>,
        wiring: &Wiring<'_>,
    ) -> Result<Self> {
        let topic = match &sink.topic {
            SinkTopic::Fixed(topic) => Some(topic.in_application(wiring.application_id)),
            SinkTopic::PerRecord(_) => None,
        };
        let (key_serde, value_serde) =
            serdes_of_sink(topic.as_deref(), wiring.serdes, key_serde, value_serde)
                .map_err(|error| unusable(error, "a sink within node", wiring.node))?;
        Ok(TaskSink::new(sink, key_serde, value_serde, wiring))
    }

    pub(crate) fn new(
        sink: &Sink<K, V>,
        key_serde: SerdeRef<K>,
        value_serde: SerdeRef<V>,
        wiring: &Wiring<'_>,
    ) -> Self {
        let topic = match &sink.topic {
            SinkTopic::Fixed(topic) => {
                TaskTopic::Fixed((wiring.topic_index)(&topic.in_application(wiring.application_id)))
            }
            SinkTopic::PerRecord(choose) => TaskTopic::PerRecord(Arc::clone(choose)),
        };
        let partitioner = sink
            .partitioner
            .as_ref()
            .map(|choose| TaskPartitioner::new(Arc::clone(choose), Arc::clone(wiring.partition_count)));
        TaskSink { topic, partitioner, encoder: RecordEncoder::new(key_serde, value_serde) }
    }

    /// Writes a record to the topic and partitions that the sink chooses for it.
    ///
    /// # Errors
    /// A record that a serde fails on, or a partition that does not exist, is a failure of the stage `produce`.
    #[inline]
    pub fn write(&mut self, record: &Record<K, V>, task: &mut TaskContext) -> Result<(), Failure> {
        let outputs = task.outputs();
        let topic = match &self.topic {
            TaskTopic::Fixed(topic) => *topic,
            TaskTopic::PerRecord(choose) => outputs.topic(&choose(record)),
        };
        match &mut self.partitioner {
            None => self.encoder.encode(topic, None, record, outputs),
            Some(partitioner) => self.encoder.encode_where_chosen(partitioner, topic, record, task),
        }
    }
}

/// How the records of a sink become bytes among a task's outputs.
struct RecordEncoder<K, V> {
    key_serde: SerdeRef<K>,
    /// How many bytes at the end of a key have no say in its partition.
    unhashed_key_bytes: usize,
    value_serde: SerdeRef<V>,
}

impl<K, V> RecordEncoder<K, V> {
    fn new(key_serde: SerdeRef<K>, value_serde: SerdeRef<V>) -> Self {
        RecordEncoder { unhashed_key_bytes: key_serde.unhashed_key_bytes(), key_serde, value_serde }
    }

    /// Not inlined, so that sinks without a partitioner do not pay for it.
    #[inline(never)]
    fn encode_where_chosen(
        &self,
        partitioner: &mut TaskPartitioner<K, V>,
        topic: TopicIndex,
        record: &Record<K, V>,
        task: &mut TaskContext,
    ) -> Result<(), Failure> {
        let outputs = task.outputs();
        match partitioner.partitions_of(record, topic, outputs)? {
            Partitions::ByKey => self.encode(topic, None, record, outputs),
            Partitions::One(partition) => self.encode(topic, Some(partition), record, outputs),
            Partitions::Each(none) if none.is_empty() => {
                task.drop_record();
                Ok(())
            }
            Partitions::Each(partitions) => partitions
                .into_iter()
                .try_for_each(|partition| self.encode(topic, Some(partition), record, outputs)),
        }
    }

    /// To this partition; without one, to the one that belongs to the key.
    #[inline]
    fn encode(
        &self,
        topic: TopicIndex,
        partition: Option<i32>,
        record: &Record<K, V>,
        outputs: &mut OutputBuffer,
    ) -> Result<(), Failure> {
        let (key_serde, value_serde) = (&self.key_serde, &self.value_serde);
        outputs.encode_partly_hashed(
            topic,
            partition,
            record,
            key_serde,
            self.unhashed_key_bytes,
            value_serde,
        )
    }
}

pub(crate) struct SinkNode<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) sink: TaskSink<K, V>,
}

impl<K, V> Input<K, V> for SinkNode<K, V> {
    #[inline]
    fn accept(&mut self, record: Record<K, V>, task: &mut TaskContext) -> Result<(), Failure> {
        self.sink.write(&record, task).map_err(|failure| failure.in_node(&self.name))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use millstream_state_stores::{HasSerde, TaskId, TimeWindowedSerde, Timestamp, Window, Windowed};

    use super::*;

    #[test]
    fn a_windowed_key_is_partitioned_without_its_window_where_no_partition_is_chosen() {
        let mut task = TaskContext::new(TaskId { subtopology: 0, partition: 0 }, false);
        let key_serde: SerdeRef<Windowed<String>> =
            Arc::new(TimeWindowedSerde::new(String::serde(), Duration::from_millis(10)));
        let choose: StreamPartitioner<Windowed<String>, i64> = Arc::new(|record, _| {
            u8::try_from(record.value).map_or(Partitions::ByKey, |value| i32::from(value).into())
        });
        let mut sink = TaskSink {
            topic: TaskTopic::Fixed(task.outputs().topic("sales-per-window")),
            partitioner: Some(TaskPartitioner::new(choose, Arc::new(|_| Ok(8)))),
            encoder: RecordEncoder::new(key_serde, i64::serde()),
        };
        for value in [7, -1] {
            let at = Timestamp::from_millis(0);
            let window = Window { start: at, end: Timestamp::from_millis(10) };
            let record = Record::new(Windowed { key: "apples".to_string(), window }, value, at);
            sink.write(&record, &mut task).expect("the record can be written");
        }
        let outputs: Vec<(Option<i32>, usize)> =
            task.outputs().iter().map(|output| (output.partition, output.unhashed_key_bytes)).collect();
        assert_eq!(outputs, [(Some(7), 8), (None, 8)]);
    }

    #[test]
    fn a_record_for_no_partition_is_dropped_and_one_for_two_is_sent_twice() {
        let mut task = TaskContext::new(TaskId { subtopology: 0, partition: 0 }, false);
        let choose: StreamPartitioner<String, i64> = Arc::new(|record, _| {
            Partitions::Each((0..).take(usize::try_from(record.value).unwrap_or(0)).collect())
        });
        let mut sink = TaskSink {
            topic: TaskTopic::Fixed(task.outputs().topic("warehouses")),
            partitioner: Some(TaskPartitioner::new(choose, Arc::new(|_| Ok(8)))),
            encoder: RecordEncoder::new(String::serde(), i64::serde()),
        };
        for value in [0, 2] {
            let record = Record::new("apples".to_string(), value, Timestamp::from_millis(0));
            sink.write(&record, &mut task).expect("the record can be written");
        }
        let partitions: Vec<Option<i32>> = task.outputs().iter().map(|output| output.partition).collect();
        assert_eq!((partitions, task.dropped()), (vec![Some(0), Some(1)], 1));
    }
}
