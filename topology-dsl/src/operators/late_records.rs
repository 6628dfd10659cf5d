//! Records that no window accepts any more: sent to a topic, if there is one for them.

use millstream_processor::api::{Failure, Record, TaskContext, Wiring};
use millstream_processor::topology::TaskSink;
use millstream_processor::{RecordField, Result};

use crate::options::Produced;

/// Where the late records of an aggregation go, as its operator knows it.
pub(super) struct LateRecords<K, V> {
    sink: Option<TaskSink<K, V>>,
}

impl<K: RecordField, V: RecordField> LateRecords<K, V> {
    /// Without a topic they are only counted.
    pub(super) fn open(wiring: &Wiring<'_>, to: Option<&Produced<K, V>>) -> Result<Self> {
        let sink = to.map(|Produced { sink, key_serde, value_serde }| {
            let key_serde = key_serde.clone().unwrap_or_else(K::field_serde);
            wiring.sink(sink, key_serde, value_serde.clone())
        });
        Ok(LateRecords { sink: sink.transpose()? })
    }

    /// Sends what `record` makes to the topic, if there is one.
    pub(super) fn send(
        &mut self,
        task: &mut TaskContext,
        record: impl FnOnce() -> Record<K, V>,
    ) -> Result<(), Failure> {
        match &mut self.sink {
            Some(sink) => sink.write(&record(), task),
            None => Ok(()),
        }
    }
}
