//! The two sides of a repartition topic: what is written to it is read from it, with the same types.

use std::marker::PhantomData;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
use millstream_processor::topology::{Consumed, Sink, TopicName};
use millstream_processor::{RecordField, Result, SerdeRef, Topology};

use crate::options::Partitioner;

/// Writes the nodes around a repartition topic.
pub(crate) trait RepartitionEdges {
    /// A node that lets records with a key pass, or all of them.
    fn write_filter(
        &self,
        topology: &mut Topology,
        name: &str,
        parents: &[&str],
        keeps_null_keys: bool,
    ) -> Result<()>;

    fn write_sink(&self, topology: &mut Topology, name: &str, parents: &[&str], topic: &str) -> Result<()>;

    fn write_source(&self, topology: &mut Topology, name: &str, topic: &str) -> Result<()>;
}

/// The types and serdes of a repartition topic.
pub(crate) struct TypedTopic<K, V> {
    pub(crate) key_serde: SerdeRef<K>,
    pub(crate) value_serde: SerdeRef<V>,
    /// None is that of Kafka.
    pub(crate) partitioner: Option<Partitioner<K, V>>,
}

impl<K: RecordField, V: RecordField> TypedTopic<K, V> {
    /// With the serdes of the types.
    pub(crate) fn of_types() -> Box<dyn RepartitionEdges> {
        Box::new(TypedTopic { key_serde: K::field_serde(), value_serde: V::field_serde(), partitioner: None })
    }
}

impl<K: RecordField, V: Clone + 'static> RepartitionEdges for TypedTopic<K, V> {
    fn write_filter(
        &self,
        topology: &mut Topology,
        name: &str,
        parents: &[&str],
        keeps_null_keys: bool,
    ) -> Result<()> {
        topology.add_processor(name, parents, &[], move |_| {
            Ok(KeyFilter::<K, V> { keeps_null_keys, types: PhantomData })
        })
    }

    fn write_sink(&self, topology: &mut Topology, name: &str, parents: &[&str], topic: &str) -> Result<()> {
        let sink = Sink::topic(TopicName::Internal(topic.to_string()));
        let sink = match self.partitioner.clone() {
            Some(choose) => sink.partitioned_by(move |record, partitions| choose(record, partitions)),
            None => sink,
        };
        topology.add_sink(name, parents, sink, self.key_serde.clone(), self.value_serde.clone())
    }

    fn write_source(&self, topology: &mut Topology, name: &str, topic: &str) -> Result<()> {
        let consumed = Consumed::with(self.key_serde.clone(), self.value_serde.clone());
        topology.add_source(name, vec![TopicName::Internal(topic.to_string())], consumed)
    }
}

/// Leaves out records without a key: no grouping and no inner join would find them.
struct KeyFilter<K, V> {
    keeps_null_keys: bool,
    types: PhantomData<(K, V)>,
}

impl<K: RecordField, V: Clone + 'static> Processor for KeyFilter<K, V> {
    type KeyIn = K;
    type ValueIn = V;
    type KeyOut = K;
    type ValueOut = V;

    fn process(
        &mut self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, K, V>,
    ) -> Result<(), Failure> {
        if self.keeps_null_keys || record.key.as_non_null().is_some() {
            context.forward(record)
        } else {
            Ok(())
        }
    }
}
