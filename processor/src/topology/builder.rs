//! The methods that fill a topology. They refuse what is wrong at the place where it is written.

use std::sync::Arc;

use millstream_state_stores::{SerdeRef, StoreBuilder};

use super::factory::{ProcessorFactory, SinkFactory};
use super::graph::{NodeKind, NodeSpec, RecordType, RepartitionTopic, StoreSpec, TopicName, Topology};
use super::naming::validate_name;
use super::pattern::TopicPattern;
use super::sink::{Sink, SinkTopic};
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
        topics: impl IntoIterator<Item = impl Into<TopicName>>,
        consumed: Consumed<K, V>,
    ) -> Result<()>
    where
        K: Clone + 'static,
        V: Clone + 'static,
    {
        let topics: Vec<TopicName> = topics.into_iter().map(Into::into).collect();
        if topics.is_empty() {
            return Err(Error::invalid(format!("source {name} reads no topic")));
        }
        let is_read = |topic: &&TopicName, read: &[TopicName], pattern: Option<&TopicPattern>| match pattern {
            Some(pattern) => is_external(topic, pattern),
            None => read.contains(topic),
        };
        self.check_not_read(name, |read, pattern| topics.iter().find(|topic| is_read(topic, read, pattern)))?;
        let kind = NodeKind::Source { topics, pattern: None, factory: Arc::new(consumed) };
        self.add_node(name, kind, &[], None, Some(RecordType::of::<K, V>()))
    }

    /// Adds a source that reads all topics whose names match, also those that are created later: an instance looks for them as often as
    /// [`Settings::metadata_max_age`](crate::config::Settings::metadata_max_age) says, and begins anew with them.
    ///
    /// # Errors
    /// `Invalid` for a bad or taken name, or a topic that is read already.
    ///
    /// ```
    /// use millstream_processor::testing::TopologyTestDriver;
    /// use millstream_processor::topology::{Consumed, TopicPattern, Topology};
    /// use millstream_processor::HasSerde;
    ///
    /// let mut topology = Topology::new();
    /// let orders = TopicPattern::new("orders-.*")?;
    /// topology.add_source_of_pattern("orders", orders, Consumed::with(String::serde(), i64::serde()))?;
    /// topology.add_sink("all", &["orders"], "all-orders", String::serde(), i64::serde())?;
    ///
    /// let driver = TopologyTestDriver::builder(topology).existing_topics(["orders-eu", "orders-us"]).build()?;
    /// driver.input_topic::<String, i64>("orders-us").pipe_input("apples", 3)?;
    /// assert_eq!(driver.output_topic::<String, i64>("all-orders").len(), 1);
    /// # Ok::<(), millstream_processor::Error>(())
    /// ```
    pub fn add_source_of_pattern<K, V>(
        &mut self,
        name: &str,
        pattern: TopicPattern,
        consumed: Consumed<K, V>,
    ) -> Result<()>
    where
        K: Clone + 'static,
        V: Clone + 'static,
    {
        self.check_not_read(name, |read, other| match other {
            Some(other) => read.first().filter(|_| other.as_str() == pattern.as_str()),
            None => read.iter().find(|topic| is_external(topic, &pattern)),
        })?;
        let topics = vec![TopicName::External(pattern.to_string())];
        let kind = NodeKind::Source { topics, pattern: Some(pattern), factory: Arc::new(consumed) };
        self.add_node(name, kind, &[], None, Some(RecordType::of::<K, V>()))
    }

    /// A topic has one source: `shared` finds what a new one would share with another, which reads these topics, or those of a pattern.
    fn check_not_read<'t>(
        &'t self,
        source: &str,
        shared: impl Fn(&'t [TopicName], Option<&TopicPattern>) -> Option<&'t TopicName>,
    ) -> Result<()> {
        for node in &self.nodes {
            if let NodeKind::Source { topics, pattern, .. } = &node.kind
                && let Some(topic) = shared(topics, pattern.as_ref())
            {
                return Err(Error::invalid(format!(
                    "topic {} is read by source {} already: connect {source}'s children to that source",
                    topic.undecorated(),
                    node.name
                )));
            }
        }
        Ok(())
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
        self.check_stores(name, stores)?;
        let kind = NodeKind::Processor {
            stores: stores.iter().map(ToString::to_string).collect(),
            factory: Arc::new(ProcessorFactory { supplier }),
        };
        let accepts = RecordType::of::<P::KeyIn, P::ValueIn>();
        self.add_node(name, kind, parents, Some(accepts), Some(RecordType::of::<P::KeyOut, P::ValueOut>()))
    }

    /// Connects a processor with more stores than it was added with (Kafka Streams' `connectProcessorAndStateStores`).
    ///
    /// # Errors
    /// `Invalid` for an unknown processor or store.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
    /// # use millstream_processor::topology::{Consumed, Topology};
    /// # use millstream_processor::{HasSerde, KeyValueStoreBuilder};
    /// # struct PassOn;
    /// # impl Processor for PassOn {
    /// #     type KeyIn = String;
    /// #     type ValueIn = i64;
    /// #     type KeyOut = String;
    /// #     type ValueOut = i64;
    /// #     fn process(
    /// #         &mut self,
    /// #         order: Record<String, i64>,
    /// #         context: &mut ProcessorContext<'_, String, i64>,
    /// #     ) -> Result<(), Failure> {
    /// #         context.forward(order)
    /// #     }
    /// # }
    /// let mut topology = Topology::new();
    /// topology.add_source("orders", ["orders"], Consumed::with(String::serde(), i64::serde()))?;
    /// topology.add_processor("check", &["orders"], &[], |_wiring| Ok(PassOn))?;
    /// let stock = KeyValueStoreBuilder::new("stock", String::serde(), i64::serde());
    /// topology.add_state_store(Arc::new(stock))?;
    /// topology.connect("check", &["stock"])?;
    /// assert!(topology.describe().contains("Processor: check (stores: [stock])"));
    /// # Ok::<(), millstream_processor::Error>(())
    /// ```
    #[doc(alias = "connectProcessorAndStateStores")]
    pub fn connect(&mut self, processor: &str, stores: &[&str]) -> Result<()> {
        self.check_stores(processor, stores)?;
        let index = self.node_index(processor);
        let Some(NodeKind::Processor { stores: connected, .. }) =
            index.map(|index| &mut self.nodes[index].kind)
        else {
            return Err(Error::invalid(format!(
                "{processor} is to be connected to a store, but is no processor of the topology: add it first"
            )));
        };
        let new = stores.iter().filter(|store| !connected.iter().any(|other| other == *store));
        let new: Vec<String> = new.map(ToString::to_string).collect();
        connected.extend(new);
        Ok(())
    }

    /// Adds a sink below its parents: to a topic of this name, or as a [`Sink`] says.
    ///
    /// # Errors
    /// `Invalid` for a bad or taken name, an unknown parent, or a parent that sends another type.
    pub fn add_sink<K, V>(
        &mut self,
        name: &str,
        parents: &[&str],
        sink: impl Into<Sink<K, V>>,
        key_serde: SerdeRef<K>,
        value_serde: SerdeRef<V>,
    ) -> Result<()>
    where
        K: Clone + 'static,
        V: Clone + 'static,
    {
        let sink = sink.into();
        let topic = match &sink.topic {
            SinkTopic::Fixed(topic) => Some(topic.clone()),
            SinkTopic::PerRecord(_) => None,
        };
        let kind = NodeKind::Sink { topic, factory: Arc::new(SinkFactory { sink, key_serde, value_serde }) };
        self.add_node(name, kind, parents, Some(RecordType::of::<K, V>()), None)
    }

    /// Adds a state store. Processors that name it share it within their task. The same builder may be added by everybody who brings it.
    ///
    /// # Errors
    /// `Invalid` for a bad name, or one that another store has.
    pub fn add_state_store(&mut self, builder: Arc<dyn StoreBuilder>) -> Result<()> {
        validate_name("store", builder.name())?;
        if let Some(added) = self.store(builder.name()) {
            if Arc::ptr_eq(added, &builder) {
                return Ok(());
            }
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

    fn check_stores(&self, processor: &str, stores: &[&str]) -> Result<()> {
        match stores.iter().find(|store| self.store(store).is_none()) {
            None => Ok(()),
            Some(store) => Err(Error::invalid(format!(
                "processor {processor} names store {store}, which the topology does not have: add the store first"
            ))),
        }
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
            if *parent_name == name {
                return Err(Error::invalid(format!(
                    "node {name} is its own parent: records go down only, so write to a topic and read it again"
                )));
            }
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

fn is_external(topic: &TopicName, of: &TopicPattern) -> bool {
    topic.external().is_some_and(|name| of.matches(name))
}

#[cfg(test)]
mod tests;
