//! Sinks: encode a record and leave it with the task's outputs.

use std::sync::Arc;

use millstream_state_stores::{PartitionId, SerdeRef};

use super::graph::TopicName;
use crate::api::{Failure, Input, Record, TaskContext, TopicIndex};

/// Names the topic of a record.
pub type TopicChooser<K, V> = Arc<dyn Fn(&Record<K, V>) -> String + Send + Sync>;

/// Chooses the partition of a record; none to leave it to the hash of the key.
pub type PartitionChooser<K, V> = Arc<dyn Fn(&Record<K, V>) -> Option<PartitionId> + Send + Sync>;

/// Where a sink writes.
pub enum SinkTopic<K, V> {
    /// Every record to this topic.
    Fixed(TopicName),
    /// Every record to this topic, and there to the partition the function chooses, which the topic must have.
    Partitioned(TopicName, PartitionChooser<K, V>),
    /// Each record to the topic the function names (Kafka Streams' `TopicNameExtractor`). Such topics must exist.
    PerRecord(TopicChooser<K, V>),
}

impl<K, V> Clone for SinkTopic<K, V> {
    fn clone(&self) -> Self {
        match self {
            SinkTopic::Fixed(topic) => SinkTopic::Fixed(topic.clone()),
            SinkTopic::Partitioned(topic, choose) => {
                SinkTopic::Partitioned(topic.clone(), Arc::clone(choose))
            }
            SinkTopic::PerRecord(choose) => SinkTopic::PerRecord(Arc::clone(choose)),
        }
    }
}

/// A sink's topic within one task.
pub(crate) enum TaskTopic<K, V> {
    Fixed(TopicIndex),
    Partitioned(TopicIndex, PartitionChooser<K, V>),
    PerRecord(TopicChooser<K, V>),
}

pub(crate) struct SinkNode<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) topic: TaskTopic<K, V>,
    pub(crate) key_serde: SerdeRef<K>,
    pub(crate) value_serde: SerdeRef<V>,
}

impl<K, V> Input<K, V> for SinkNode<K, V> {
    fn accept(&mut self, record: Record<K, V>, task: &mut TaskContext) -> Result<(), Failure> {
        let outputs = task.outputs();
        let (topic, partition) = match &self.topic {
            TaskTopic::Fixed(topic) => (*topic, None),
            TaskTopic::Partitioned(topic, choose) => (*topic, choose(&record)),
            TaskTopic::PerRecord(choose) => (outputs.topic(&choose(&record)), None),
        };
        outputs
            .encode(topic, partition.map(PartitionId::get), &record, &self.key_serde, &self.value_serde)
            .map_err(|failure| failure.in_node(&self.name))
    }
}

#[cfg(test)]
mod tests {
    use millstream_state_stores::{HasSerde, TaskId, Timestamp};

    use super::*;

    #[test]
    fn a_partition_that_is_chosen_goes_with_the_record() {
        let mut task = TaskContext::new(TaskId { subtopology: 0, partition: 0 });
        let topic = task.outputs().topic("answers");
        let choose: PartitionChooser<String, i64> =
            Arc::new(|record| u8::try_from(record.value).ok().map(|value| PartitionId::new(value.into())));
        let mut sink = SinkNode {
            name: "answers".into(),
            topic: TaskTopic::Partitioned(topic, choose),
            key_serde: String::serde(),
            value_serde: i64::serde(),
        };
        for value in [7, -1] {
            let record = Record::new("apples".to_string(), value, Timestamp::from_millis(0));
            sink.accept(record, &mut task).expect("the record can be written");
        }
        let partitions: Vec<Option<i32>> = task.outputs().iter().map(|output| output.partition).collect();
        assert_eq!(partitions, [Some(7), None], "without a choice the key decides");
    }
}
