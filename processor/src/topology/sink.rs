//! Sinks: encode a record and leave it with the task's outputs.

use std::sync::Arc;

use millstream_state_stores::SerdeRef;

use super::graph::TopicName;
use super::partitioner::{Partitions, StreamPartitioner, TaskPartitioner};
use crate::api::{Failure, Input, Record, TaskContext, TopicIndex};

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

/// A sink's topic within one task.
pub(crate) enum TaskTopic<K, V> {
    Fixed(TopicIndex),
    PerRecord(TopicChooser<K, V>),
}

pub(crate) struct SinkNode<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) topic: TaskTopic<K, V>,
    pub(crate) partitioner: Option<TaskPartitioner<K, V>>,
    pub(crate) key_serde: SerdeRef<K>,
    pub(crate) value_serde: SerdeRef<V>,
}

impl<K, V> SinkNode<K, V> {
    fn write(&mut self, record: &Record<K, V>, task: &mut TaskContext) -> Result<(), Failure> {
        let outputs = task.outputs();
        let topic = match &self.topic {
            TaskTopic::Fixed(topic) => *topic,
            TaskTopic::PerRecord(choose) => outputs.topic(&choose(record)),
        };
        let Some(partitioner) = &mut self.partitioner else {
            return outputs.encode(topic, None, record, &self.key_serde, &self.value_serde);
        };
        let partitions = partitioner.partitions_of(record, topic, outputs)?;
        let mut encode =
            |partition| outputs.encode(topic, partition, record, &self.key_serde, &self.value_serde);
        match partitions {
            Partitions::ByKey => encode(None),
            Partitions::One(partition) => encode(Some(partition)),
            Partitions::Each(none) if none.is_empty() => {
                task.drop_record();
                Ok(())
            }
            Partitions::Each(partitions) => {
                partitions.into_iter().try_for_each(|partition| encode(Some(partition)))
            }
        }
    }
}

impl<K, V> Input<K, V> for SinkNode<K, V> {
    fn accept(&mut self, record: Record<K, V>, task: &mut TaskContext) -> Result<(), Failure> {
        self.write(&record, task).map_err(|failure| failure.in_node(&self.name))
    }
}
