//! Records that no window accepts any more: counted, and sent to a topic if there is one for them.

use millstream_processor::api::{Failure, Record, TaskContext, TopicIndex};
use millstream_processor::topology::SinkTopic;
use millstream_processor::{RecordField, SerdeRef};

use crate::options::Produced;

/// Where the late records of an aggregation go, as its operator knows it.
pub(super) struct LateRecords<K, V> {
    topic: Option<LateTopic<K, V>>,
}

struct LateTopic<K, V> {
    topic: SinkTopic<K, V>,
    key_serde: SerdeRef<K>,
    value_serde: SerdeRef<V>,
    /// Once a record was sent, of a topic that is always the same.
    index: Option<TopicIndex>,
}

impl<K: RecordField, V: RecordField> LateRecords<K, V> {
    pub(super) fn to(produced: Option<&Produced<K, V>>) -> Self {
        let topic = produced.map(|produced| LateTopic {
            topic: produced.topic.clone(),
            key_serde: produced.key_serde.clone().unwrap_or_else(K::field_serde),
            value_serde: produced.value_serde.clone(),
            index: None,
        });
        LateRecords { topic }
    }

    /// Sends what `record` makes to the topic, if there is one.
    pub(super) fn send(
        &mut self,
        task: &mut TaskContext,
        record: impl FnOnce() -> Record<K, V>,
    ) -> Result<(), Failure> {
        let Some(late) = &mut self.topic else { return Ok(()) };
        let (record, outputs) = (record(), task.outputs());
        let topic = match (&late.topic, late.index) {
            (_, Some(index)) => index,
            (SinkTopic::Fixed(topic), None) => *late.index.insert(outputs.topic(topic.undecorated())),
            (SinkTopic::PerRecord(choose), None) => outputs.topic(&choose(&record)),
        };
        outputs.encode(topic, None, &record, &late.key_serde, &late.value_serde)
    }
}

impl<K, V> Clone for LateRecords<K, V> {
    fn clone(&self) -> Self {
        let topic = self.topic.as_ref().map(|late| LateTopic {
            topic: late.topic.clone(),
            key_serde: late.key_serde.clone(),
            value_serde: late.value_serde.clone(),
            index: late.index,
        });
        LateRecords { topic }
    }
}
