//! Sinks: encode a record and leave it with the task's outputs.

use std::sync::Arc;

use millstream_state_stores::SerdeRef;

use super::graph::TopicName;
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

/// A sink's topic within one task.
pub(crate) enum TaskTopic<K, V> {
    Fixed(TopicIndex),
    PerRecord(TopicChooser<K, V>),
}

pub(crate) struct SinkNode<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) topic: TaskTopic<K, V>,
    pub(crate) key_serde: SerdeRef<K>,
    /// How many bytes at the end of a key have no say in its partition.
    pub(crate) unhashed_key_bytes: usize,
    pub(crate) value_serde: SerdeRef<V>,
}

impl<K, V> Input<K, V> for SinkNode<K, V> {
    fn accept(&mut self, record: Record<K, V>, task: &mut TaskContext) -> Result<(), Failure> {
        let outputs = task.outputs();
        let topic = match &self.topic {
            TaskTopic::Fixed(topic) => *topic,
            TaskTopic::PerRecord(choose) => outputs.topic(&choose(&record)),
        };
        outputs
            .encode_partly_hashed(
                topic,
                None,
                &record,
                &self.key_serde,
                self.unhashed_key_bytes,
                &self.value_serde,
            )
            .map_err(|failure| failure.in_node(&self.name))
    }
}
