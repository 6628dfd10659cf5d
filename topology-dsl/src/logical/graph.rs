//! The program as it was declared: operators in declaration order, with everything their handles may still change.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use millstream_processor::{Error, Result, SerdeRef, Topology};

use super::foreign_key_join::ForeignKeyJoinNodes;
use super::repartition::RepartitionEdges;
use super::stream_stream_join::{StreamStreamJoinKind, StreamStreamJoinNodes};
use super::table_join::TableJoinKind;
use super::write::Place;
use crate::options::{LoggedTo, SourceTopics, StorePlan, TopologyOptimization};

/// The graph that all handles of one builder share.
pub(crate) type SharedGraph = Rc<RefCell<Graph>>;

/// Adds an operator's own node to the topology; knows its types.
pub(crate) type WriteNode = Box<dyn Fn(&mut Place<'_>) -> Result<()>>;

/// Makes the topic of a table's source the changelog of the table's store, whose types it knows.
pub(crate) type ReuseTopic = Box<dyn Fn(&mut Topology, &str) -> Result<()>>;

#[derive(Default)]
pub(crate) struct Graph {
    /// What is to be done beyond what was declared.
    pub(crate) optimization: TopologyOptimization,
    pub(crate) operations: Vec<Operation>,
    pub(crate) groupings: Vec<Grouping>,
    /// Serdes of keys that know more than their type: a [`SerdeRef`] by the operator whose keys it writes.
    key_serdes: BTreeMap<OperationId, Box<dyn Any>>,
    /// Serdes of repartition topics that are named: those of keys and values, by the grouping.
    grouping_serdes: BTreeMap<GroupingId, Box<dyn Any>>,
    /// Of windowed aggregations: how long after its end a window may still change.
    window_graces: BTreeMap<OperationId, Duration>,
    /// Stores that no table keeps.
    added_stores: Vec<StorePlan>,
}

/// An operator, by declaration order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OperationId(usize);

impl OperationId {
    pub(crate) fn index(self) -> usize {
        self.0
    }
}

/// A grouping of a stream or table, by declaration order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GroupingId(usize);

impl GroupingId {
    pub(crate) fn index(self) -> usize {
        self.0
    }
}

/// One operator.
pub(crate) struct Operation {
    pub(crate) kind: OperationKind,
    /// The operators it reads, the one whose records it processes first.
    pub(crate) parents: Vec<OperationId>,
    /// The name given by the user.
    pub(crate) name: Option<String>,
    /// The store of a table, none for a view that was given none; or that in which records wait.
    pub(crate) store: Option<StorePlan>,
    pub(crate) write: WriteNode,
}

/// What a stream step does to records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It lets them pass as they are, or not at all.
    Passes,
    /// Each record has the key of the record it was made from, and another value.
    ChangesValues,
    /// Keys may differ, so equal keys may lie in different partitions.
    ChangesKeys,
}

/// What an operator is, as far as names, stores and repartitioning depend on it. Prefixes are those of generated names.
pub(crate) enum OperationKind {
    /// Reads topics as a stream of records of these Rust types.
    StreamSource { topics: Vec<String>, types: &'static str, heartbeats: Option<Duration> },
    /// Reads a topic as a table: a source and the node that keeps the table.
    TableSource { topics: SourceTopics, write_source: WriteNode, reuse_topic: ReuseTopic },
    /// Reads a topic as a global table: a source and the node that keeps the table, in every instance.
    GlobalTable { topics: SourceTopics, write_source: WriteNode },
    /// One node without state.
    Step { prefix: &'static str, effect: Effect },
    /// A processor of the user's, with the names of its stores.
    Process { prefix: &'static str, effect: Effect, stores: Vec<String> },
    /// One way out of a split; the default branch has the number 0, the others count from 1.
    Branch { number: usize },
    /// The records of several streams as one.
    Merge,
    /// A repartition topic the user asked for.
    Repartition { partitions: Option<i32>, topic: Box<dyn RepartitionEdges> },
    /// Keeps a stream as a table.
    ToTable { topic: Box<dyn RepartitionEdges> },
    /// Aggregates a grouped stream.
    StreamAggregate {
        prefix: &'static str,
        is_count: bool,
        grouping: GroupingId,
        topic: Box<dyn RepartitionEdges>,
    },
    /// Aggregates several grouped streams into one table; each of them is the parent of the same number.
    Cogroup { inputs: Vec<CogroupedInput> },
    /// A table computed row by row from another one.
    TableView { prefix: &'static str, is_filter: bool },
    /// Holds a table's changes back, in a store.
    Suppress,
    /// The same, by a transformer that looks things up in these stores.
    TableTransform { stores: Vec<String> },
    /// Gives a table's changes new keys.
    TableGrouping,
    /// Aggregates a grouped table.
    TableAggregate { prefix: &'static str, grouping: GroupingId, topic: Box<dyn RepartitionEdges> },
    /// Joins a stream with a global table, by a key of the stream's choice.
    GlobalJoin { accepts_null_keys: bool },
    /// Joins a stream (the first parent) with a table (the second); with a grace, the stream's records wait in a store.
    StreamTableJoin {
        prefix: &'static str,
        accepts_null_keys: bool,
        grace: Option<Duration>,
        topic: Box<dyn RepartitionEdges>,
    },
    /// Joins two streams within a span of time.
    StreamStreamJoin {
        kind: StreamStreamJoinKind,
        /// The name its stores were given.
        store_name: Option<String>,
        /// Of the left stream, and of the right one.
        topics: [Box<dyn RepartitionEdges>; 2],
        nodes: Box<dyn StreamStreamJoinNodes>,
    },
    /// Joins two tables by equal keys: a node for the changes of each side, then the operator's own.
    TableJoin { kind: TableJoinKind, write_sides: [WriteNode; 2] },
    /// Joins a table (the first parent) with another (the second) by a key in the first one's rows.
    ForeignKeyJoin { nodes: Box<dyn ForeignKeyJoinNodes> },
}

/// One of the grouped streams that are aggregated together.
pub(crate) struct CogroupedInput {
    pub(crate) grouping: GroupingId,
    pub(crate) topic: Box<dyn RepartitionEdges>,
    pub(crate) write: WriteNode,
}

impl OperationKind {
    /// Whether it is a table whose rows can be computed from those of its parents, so that it keeps a store only if it was given one.
    pub(crate) fn is_computed_table(&self) -> bool {
        matches!(
            self,
            OperationKind::TableView { .. }
                | OperationKind::TableTransform { .. }
                | OperationKind::TableJoin { .. }
        )
    }

    /// The stores that the user connected it with.
    pub(crate) fn connected_stores(&self) -> &[String] {
        match self {
            OperationKind::Process { stores, .. } | OperationKind::TableTransform { stores } => stores,
            _ => &[],
        }
    }
}

/// What belongs to a grouping rather than to one aggregation of it.
pub(crate) struct Grouping {
    /// The name of its repartition topic.
    pub(crate) name: Option<String>,
    /// The operator that selects the key, if the grouping has one: it takes the grouping's name.
    pub(crate) key_selection: Option<OperationId>,
}

impl Graph {
    pub(crate) fn declare(&mut self, operation: Operation) -> OperationId {
        self.operations.push(operation);
        OperationId(self.operations.len() - 1)
    }

    pub(crate) fn group(&mut self, grouping: Grouping) -> GroupingId {
        self.groupings.push(grouping);
        GroupingId(self.groupings.len() - 1)
    }

    /// Adds a store that no table keeps.
    pub(crate) fn add_store(&mut self, store: StorePlan) {
        self.added_stores.push(store);
    }

    pub(crate) fn write_added_stores(&self, topology: &mut Topology) -> Result<()> {
        self.added_stores.iter().try_for_each(|store| {
            let name = store.name.as_deref().ok_or_else(|| {
                Error::invalid(
                    "a store is added without a name: add it by its `StoreName`, so that processors find it",
                )
            })?;
            store.check()?;
            topology.add_state_store((store.build)(name, LoggedTo::OwnTopic))
        })
    }

    pub(crate) fn operation(&self, id: OperationId) -> &Operation {
        &self.operations[id.0]
    }

    pub(crate) fn operation_mut(&mut self, id: OperationId) -> &mut Operation {
        &mut self.operations[id.0]
    }

    /// Says how the keys of an operator's records are written, and those of what is made of them.
    pub(crate) fn set_key_serde<K: 'static>(&mut self, id: OperationId, serde: SerdeRef<K>) {
        self.key_serdes.insert(id, Box::new(serde));
    }

    /// How the keys of an operator's records are written, if that was said of it or of what it is made of.
    pub(crate) fn key_serde<K: 'static>(&self, id: OperationId) -> Option<SerdeRef<K>> {
        if let Some(serde) = self.key_serdes.get(&id) {
            return serde.downcast_ref::<SerdeRef<K>>().cloned();
        }
        let operation = self.operation(id);
        match operation.kind {
            OperationKind::Step { effect: Effect::ChangesKeys, .. }
            | OperationKind::Process { effect: Effect::ChangesKeys, .. }
            | OperationKind::TableGrouping => None,
            _ => self.key_serde(*operation.parents.first()?),
        }
    }

    /// Says how long after its end a window of an operator may still change.
    pub(crate) fn set_window_grace(&mut self, id: OperationId, grace: Duration) {
        self.window_graces.insert(id, grace);
    }

    /// How long after its end a window of an operator's keys may still change: the longest such time of all it is made of. None if one of
    /// those has no windows.
    pub(crate) fn window_grace(&self, id: OperationId) -> Option<Duration> {
        let mut graces: Vec<Option<Duration>> = Vec::with_capacity(id.0 + 1);
        // Parents are declared before what is made of them.
        for (number, operation) in self.operations[..=id.0].iter().enumerate() {
            let own = self.window_graces.get(&OperationId(number)).copied();
            let of_parents = operation.parents.iter().map(|parent| graces[parent.0]);
            let of_parents: Option<Vec<Duration>> = of_parents.collect();
            graces.push(own.or_else(|| of_parents?.into_iter().max()));
        }
        graces[id.0]
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = OperationId> + use<> {
        (0..self.operations.len()).map(OperationId)
    }

    pub(crate) fn name_grouping(&mut self, id: GroupingId, name: String) {
        if let Some(operation) = self.groupings[id.0].key_selection {
            self.operation_mut(operation).name = Some(name.clone());
        }
        self.groupings[id.0].name = Some(name);
    }

    /// Says how the records of a grouping's repartition topics are written.
    pub(crate) fn set_grouping_serdes<K: 'static, V: 'static>(
        &mut self,
        id: GroupingId,
        key: SerdeRef<K>,
        value: SerdeRef<V>,
    ) {
        self.grouping_serdes.insert(id, Box::new((key, value)));
    }

    /// How they are written, if that was said.
    pub(crate) fn grouping_serdes<K: 'static, V: 'static>(
        &self,
        id: GroupingId,
    ) -> Option<(SerdeRef<K>, SerdeRef<V>)> {
        self.grouping_serdes.get(&id)?.downcast_ref::<(SerdeRef<K>, SerdeRef<V>)>().cloned()
    }
}
