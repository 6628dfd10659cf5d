//! The topology as data.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_state_stores::{ApplicationSerdes, StoreBuilder};

use super::factory::NodeFactory;
use super::naming::internal_topic;
use super::pattern::TopicPattern;
use super::source::SourceFactory;
use super::source_changelog::SourceChangelog;

/// A program as a graph of sources, processors, sinks and stores.
///
/// Usually made by the DSL's `StreamsBuilder`; by hand with the `add_*` methods. Each of them refuses what is wrong with what it adds, and
/// [`validate`](Topology::validate) what is wrong with the whole. Parents come before children, so that there can be no cycle.
///
/// ```
/// use std::sync::Arc;
///
/// use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
/// use millstream_processor::testing::TopologyTestDriver;
/// use millstream_processor::topology::{Consumed, Topology};
/// use millstream_processor::{HasSerde, KeyValueStore, KeyValueStoreBuilder, StoreName, ValueAndTimestamp};
///
/// const LARGEST: StoreName<String, i64> = StoreName::new("largest-order");
///
/// /// Passes orders that are larger than all before of their sku.
/// struct Records { largest: KeyValueStore<String, i64> }
///
/// impl Processor for Records {
///     type KeyIn = String;
///     type ValueIn = i64;
///     type KeyOut = String;
///     type ValueOut = i64;
///
///     fn process(
///         &mut self,
///         order: Record<String, i64>,
///         context: &mut ProcessorContext<'_, String, i64>,
///     ) -> Result<(), Failure> {
///         if self.largest.read(&order.key, |row| row.is_some_and(|row| row.value >= order.value))? {
///             return Ok(());
///         }
///         self.largest.put(&order.key, Some(ValueAndTimestamp::new(order.value, order.timestamp)))?;
///         context.forward(order)
///     }
/// }
///
/// let mut topology = Topology::new();
/// topology.add_source("orders", ["orders"], Consumed::with(String::serde(), i64::serde()))?;
/// let largest = KeyValueStoreBuilder::new(LARGEST.name(), String::serde(), i64::serde());
/// topology.add_state_store(Arc::new(largest))?;
/// topology.add_processor("records", &["orders"], &[LARGEST.name()], |wiring| {
///     Ok(Records { largest: wiring.store(LARGEST)? })
/// })?;
/// topology.add_sink("to-records", &["records"], "record-orders", String::serde(), i64::serde())?;
/// topology.validate()?;
///
/// let driver = TopologyTestDriver::new(topology)?;
/// let orders = driver.input_topic::<String, i64>("orders");
/// for quantity in [5, 3, 8] {
///     orders.pipe_input("apples", quantity)?;
/// }
/// assert_eq!(driver.output_topic::<String, i64>("record-orders").len(), 2);
/// # Ok::<(), millstream_processor::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Topology {
    pub(crate) nodes: Vec<NodeSpec>,
    pub(crate) stores: Vec<StoreSpec>,
    /// Names of the stores that every instance keeps whole.
    pub(crate) global_stores: Vec<String>,
    pub(crate) repartition_topics: Vec<RepartitionTopic>,
    pub(crate) copartitioned: Vec<Vec<String>>,
    /// By store: the topic it is restored from, where that is not a topic of its own.
    pub(crate) source_changelogs: BTreeMap<String, SourceChangelog>,
    /// What the application settles for its serdes.
    pub(crate) serdes: ApplicationSerdes,
}

/// A topic, named by the user or belonging to the application.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicName {
    /// Exists in Kafka under this very name.
    External(String),
    /// Made by millstream, in Kafka `<application id>-<name>`.
    Internal(String),
}

impl TopicName {
    /// The name as the topology's description shows it: internal ones without the application id.
    pub fn undecorated(&self) -> &str {
        match self {
            TopicName::External(name) | TopicName::Internal(name) => name,
        }
    }

    /// The name of one that the user named.
    pub fn external(&self) -> Option<&str> {
        match self {
            TopicName::External(name) => Some(name),
            TopicName::Internal(_) => None,
        }
    }

    /// The name in Kafka.
    pub fn in_application(&self, application_id: &str) -> String {
        match self {
            TopicName::External(name) => name.clone(),
            TopicName::Internal(name) => internal_topic(application_id, name),
        }
    }
}

impl From<&str> for TopicName {
    fn from(name: &str) -> Self {
        TopicName::External(name.to_string())
    }
}

impl From<String> for TopicName {
    fn from(name: String) -> Self {
        TopicName::External(name)
    }
}

/// A topic through which the application sends records to itself, so that equal keys meet in one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepartitionTopic {
    /// Name without the application id, such as `by-sku-repartition`.
    pub name: String,
    /// Partition count, if the user fixed it; else that of the largest topic it is fed from or joined with.
    pub partitions: Option<i32>,
}

#[derive(Clone)]
pub(crate) struct NodeSpec {
    pub(crate) name: Arc<str>,
    pub(crate) kind: NodeKind,
    pub(crate) parents: Vec<usize>,
    pub(crate) children: Vec<usize>,
    /// What it accepts from its parents; none for a source.
    pub(crate) accepts: Option<RecordType>,
    /// What it sends to its children; none for a sink.
    pub(crate) sends: Option<RecordType>,
}

#[derive(Clone)]
pub(crate) enum NodeKind {
    /// Of a pattern, the topics are those that it was bound to last; before, its text stands for them.
    Source {
        topics: Vec<TopicName>,
        pattern: Option<TopicPattern>,
        factory: Arc<dyn SourceFactory>,
    },
    Processor {
        stores: Vec<String>,
        factory: Arc<dyn NodeFactory>,
    },
    /// `topic` is none where each record chooses its own.
    Sink {
        topic: Option<TopicName>,
        factory: Arc<dyn NodeFactory>,
    },
}

#[derive(Clone)]
pub(crate) struct StoreSpec {
    pub(crate) builder: Arc<dyn StoreBuilder>,
}

/// The Rust type of the records on an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordType {
    pub(crate) id: TypeId,
    pub(crate) name: &'static str,
}

impl RecordType {
    pub(crate) fn of<K: 'static, V: 'static>() -> Self {
        RecordType { id: TypeId::of::<(K, V)>(), name: std::any::type_name::<(K, V)>() }
    }
}

impl Topology {
    pub(crate) fn node_index(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| &*node.name == name)
    }

    /// The builder of a store of this topology.
    pub fn store(&self, name: &str) -> Option<&Arc<dyn StoreBuilder>> {
        self.stores.iter().map(|store| &store.builder).find(|builder| builder.name() == name)
    }

    /// The builders of all stores, in the order they were added.
    pub fn stores(&self) -> impl Iterator<Item = &Arc<dyn StoreBuilder>> {
        self.stores.iter().map(|store| &store.builder)
    }

    /// The repartition topics, in the order they were added.
    pub fn repartition_topics(&self) -> &[RepartitionTopic] {
        &self.repartition_topics
    }

    /// All topics read, without repetition, in the order their sources were added.
    pub fn source_topics(&self) -> Vec<&TopicName> {
        let mut topics = Vec::new();
        for node in &self.nodes {
            if let NodeKind::Source { topics: of_node, .. } = &node.kind {
                topics.extend(of_node.iter().filter(|topic| !topics.contains(topic)).collect::<Vec<_>>());
            }
        }
        topics
    }

    /// The topics written by a fixed name, without repetition.
    pub fn sink_topics(&self) -> Vec<&TopicName> {
        let mut topics = Vec::new();
        for node in &self.nodes {
            if let NodeKind::Sink { topic: Some(topic), .. } = &node.kind
                && !topics.contains(&topic)
            {
                topics.push(topic);
            }
        }
        topics
    }
}

impl std::fmt::Debug for Topology {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe())
    }
}
