//! The methods that fill a topology. They refuse what is wrong at the place where it is written.

use std::sync::Arc;

use millstream_state_stores::{SerdeRef, StoreBuilder};

use super::factory::{ProcessorFactory, SinkFactory};
use super::graph::{NodeKind, NodeSpec, RecordType, RepartitionTopic, StoreSpec, TopicName, Topology};
use super::naming::validate_name;
use super::sink::SinkTopic;
use super::source::Consumed;
use crate::api::{Processor, Wiring};
use crate::error::{Error, Result};

impl Topology {
    /// An empty topology.
    pub fn new() -> Self {
        Topology::default()
    }

    /// Adds a source that reads the topics. A topic may have one source only.
    ///
    /// # Errors
    /// `Invalid` for a bad or taken name, no topics, or a topic that is read already.
    pub fn add_source<K, V>(
        &mut self,
        name: &str,
        topics: Vec<TopicName>,
        consumed: Consumed<K, V>,
    ) -> Result<()>
    where
        K: Clone + 'static,
        V: Clone + 'static,
    {
        if topics.is_empty() {
            return Err(Error::invalid(format!("source {name} reads no topic")));
        }
        for topic in &topics {
            let reader = self
                .nodes
                .iter()
                .find(|node| matches!(&node.kind, NodeKind::Source { topics, .. } if topics.contains(topic)));
            if let Some(reader) = reader {
                return Err(Error::invalid(format!(
                    "topic {} is read by source {} already: connect {name}'s children to that source",
                    topic.undecorated(),
                    reader.name
                )));
            }
        }
        let kind = NodeKind::Source { topics, factory: Arc::new(consumed) };
        self.add_node(name, kind, &[], None, Some(RecordType::of::<K, V>()))
    }

    /// Adds a processor below its parents. The supplier is called once for each task and must make a new processor each time;
    /// `stores` are those it takes from its [`Wiring`].
    ///
    /// # Errors
    /// `Invalid` for a bad or taken name, an unknown parent or store, or a parent that sends another type.
    pub fn add_processor<P, F>(
        &mut self,
        name: &str,
        parents: &[&str],
        stores: &[&str],
        supplier: F,
    ) -> Result<()>
    where
        P: Processor,
        F: Fn(&Wiring<'_>) -> Result<P> + Send + Sync + 'static,
    {
        for store in stores {
            if self.store(store).is_none() {
                return Err(Error::invalid(format!(
                    "processor {name} names store {store}, which the topology does not have: add the store first"
                )));
            }
        }
        let kind = NodeKind::Processor {
            stores: stores.iter().map(ToString::to_string).collect(),
            factory: Arc::new(ProcessorFactory { supplier }),
        };
        let accepts = RecordType::of::<P::KeyIn, P::ValueIn>();
        self.add_node(name, kind, parents, Some(accepts), Some(RecordType::of::<P::KeyOut, P::ValueOut>()))
    }

    /// Adds a sink below its parents.
    ///
    /// # Errors
    /// `Invalid` for a bad or taken name, an unknown parent, or a parent that sends another type.
    pub fn add_sink<K, V>(
        &mut self,
        name: &str,
        parents: &[&str],
        topic: SinkTopic<K, V>,
        key_serde: SerdeRef<K>,
        value_serde: SerdeRef<V>,
    ) -> Result<()>
    where
        K: Clone + 'static,
        V: Clone + 'static,
    {
        let fixed = match &topic {
            SinkTopic::Fixed(topic) | SinkTopic::Partitioned(topic, _) => Some(topic.clone()),
            SinkTopic::PerRecord(_) => None,
        };
        let kind =
            NodeKind::Sink { topic: fixed, factory: Arc::new(SinkFactory { topic, key_serde, value_serde }) };
        self.add_node(name, kind, parents, Some(RecordType::of::<K, V>()), None)
    }

    /// Adds a state store. Processors that name it share it within their task.
    ///
    /// # Errors
    /// `Invalid` for a bad or taken name.
    pub fn add_state_store(&mut self, builder: Arc<dyn StoreBuilder>) -> Result<()> {
        validate_name("store", builder.name())?;
        if self.store(builder.name()).is_some() {
            return Err(Error::invalid(format!(
                "there are two stores named {}: give one another name",
                builder.name()
            )));
        }
        self.stores.push(StoreSpec { builder });
        Ok(())
    }

    /// Adds a store that every instance keeps whole: a copy of the topic whose source the processor that names the store has as its parent.
    /// The two make no tasks. All processors may read the store, by [`Wiring::global_store`].
    ///
    /// # Errors
    /// `Invalid` for a bad or taken name, or a store with a changelog: the topic is its changelog.
    pub fn add_global_store(&mut self, builder: Arc<dyn StoreBuilder>) -> Result<()> {
        if builder.is_logged() {
            return Err(Error::invalid(format!(
                "global store {} has a changelog: build it without logging, it is read again from its topic",
                builder.name()
            )));
        }
        let name = builder.name().to_string();
        self.add_state_store(builder)?;
        self.global_stores.push(name);
        Ok(())
    }

    /// Declares a repartition topic. Its sink and its source are added under `TopicName::Internal` with the same name.
    ///
    /// # Errors
    /// `Invalid` for a bad or taken name, or a partition count below one.
    pub fn add_repartition_topic(&mut self, topic: RepartitionTopic) -> Result<()> {
        validate_name("repartition topic", &topic.name)?;
        if self.repartition_topics.iter().any(|other| other.name == topic.name) {
            return Err(Error::invalid(format!(
                "there are two repartition topics named {}: give one grouping or join another name",
                topic.name
            )));
        }
        if topic.partitions.is_some_and(|partitions| partitions < 1) {
            return Err(Error::invalid(format!(
                "repartition topic {} needs at least one partition",
                topic.name
            )));
        }
        self.repartition_topics.push(topic);
        Ok(())
    }

    /// Declares that the topics of these sources are joined by key, so they must have equal partition counts.
    ///
    /// # Errors
    /// `Invalid` if a name is not that of a source.
    pub fn copartition(&mut self, sources: &[&str]) -> Result<()> {
        for source in sources {
            let is_source = self
                .node_index(source)
                .is_some_and(|index| matches!(self.nodes[index].kind, NodeKind::Source { .. }));
            if !is_source {
                return Err(Error::invalid(format!("{source} is to be co-partitioned but is not a source")));
            }
        }
        self.copartitioned.push(sources.iter().map(ToString::to_string).collect());
        Ok(())
    }

    fn add_node(
        &mut self,
        name: &str,
        kind: NodeKind,
        parents: &[&str],
        accepts: Option<RecordType>,
        sends: Option<RecordType>,
    ) -> Result<()> {
        validate_name("node", name)?;
        if self.node_index(name).is_some() {
            return Err(Error::invalid(format!("there are two nodes named {name}: give one another name")));
        }
        if accepts.is_some() && parents.is_empty() {
            return Err(Error::invalid(format!("node {name} has no parent: nothing would ever reach it")));
        }
        let index = self.nodes.len();
        let mut parent_indexes = Vec::with_capacity(parents.len());
        for parent_name in parents {
            let parent = self.node_index(parent_name).ok_or_else(|| {
                Error::invalid(format!(
                    "node {name} names parent {parent_name}, which the topology does not have: add parents first"
                ))
            })?;
            let sent = self.nodes[parent].sends;
            match (sent, accepts) {
                (None, _) => {
                    return Err(Error::invalid(format!(
                        "node {name} has the sink {parent_name} as its parent"
                    )));
                }
                (Some(sent), Some(accepted)) if sent.id != accepted.id => {
                    return Err(Error::invalid(format!(
                        "node {name} accepts {} but its parent {parent_name} sends {}",
                        accepted.name, sent.name
                    )));
                }
                _ => parent_indexes.push(parent),
            }
        }
        for parent in &parent_indexes {
            self.nodes[*parent].children.push(index);
        }
        self.nodes.push(NodeSpec {
            name: name.into(),
            kind,
            parents: parent_indexes,
            children: Vec::new(),
            accepts,
            sends,
        });
        Ok(())
    }
}
