//! Names, nodes and repartition topics of a declared program, decided in declaration order and without types.
//!
//! Every decision follows Kafka Streams 4.3.1, down to which calls use up a number, so that the same program has the same
//! names in both.

use std::collections::BTreeSet;
use std::time::Duration;

use millstream_processor::{Error, Result};

use super::foreign_key_join::ForeignKeyJoinPart;
use super::graph::{CogroupedInput, Effect, Graph, GroupingId, Operation, OperationId, OperationKind};
use super::names::{Names, RepartitionNames};
use super::stream_stream_join::{StreamStreamJoinKind, StreamStreamJoinNames};
use crate::options::SourceTopics;

/// A node to be written, or the three nodes around a repartition topic.
pub(crate) struct PlannedNode {
    /// The name its children know it by.
    pub(crate) name: String,
    pub(crate) parents: Vec<usize>,
    pub(crate) kind: PlannedKind,
    /// Which of its operator's inputs it belongs to, where these have nodes of their own.
    pub(crate) input: usize,
    /// Nodes are written in this order, parents first.
    pub(crate) priority: usize,
    /// Whether a left join below accepts null keys, so that they must not be filtered out.
    pub(crate) keeps_null_keys: bool,
}

pub(crate) enum PlannedKind {
    /// An operator's own node.
    Node(OperationId),
    /// The node that aggregates one input of several.
    CogroupedInput(OperationId),
    /// A table's source, and the node that keeps the table.
    TableSource { operation: OperationId, source: String },
    /// Filter, sink and source around a topic; the operator knows its types. Tables need no filter.
    Repartition {
        operation: OperationId,
        topic: String,
        partitions: Option<i32>,
        filter: Option<String>,
        sink: String,
    },
    /// The node that keeps the records of one side of a join of streams, or of both.
    StreamWindow { operation: OperationId, store: String, is_for_both: bool },
    /// The nodes that join the records of either side, and the one in which the results meet.
    StreamStreamJoin { operation: OperationId, names: StreamStreamJoinNames },
    /// The nodes for the changes of either side, and the one in which they meet.
    TableJoin { operation: OperationId, sides: [String; 2] },
    /// The nodes of one part of a foreign-key join.
    ForeignKeyJoin { operation: OperationId, part: ForeignKeyJoinPart },
    /// What another node does as well.
    LeftOut,
}

/// What was decided for one operator.
#[derive(Clone, Debug, Default)]
pub(crate) struct OperationPlan {
    /// The planned node that sends this operator's records.
    pub(crate) node: usize,
    /// The name of a table's store, also if it turns out not to be needed.
    pub(crate) store: Option<String>,
    pub(crate) is_materialized: bool,
    pub(crate) sends_old_values: bool,
    /// For how long it knows older versions of its rows, if its changes may be of these (KIP-914).
    pub(crate) history_retention: Option<Duration>,
    pub(super) needs_repartition: bool,
    /// The planned nodes through which its records come into the sub-topology.
    pub(super) sources: BTreeSet<usize>,
    /// The repartition topic made for a join of this stream; the next join uses it again.
    pub(super) join_repartition: Option<usize>,
}

impl OperationPlan {
    /// Whether its changes may be of older versions of their rows.
    pub(super) fn is_versioned(&self) -> bool {
        self.history_retention.is_some()
    }
}

/// All decisions.
pub(crate) struct Plan {
    pub(crate) nodes: Vec<PlannedNode>,
    pub(crate) operations: Vec<OperationPlan>,
    /// Groups of nodes whose topics must have equal partition counts.
    pub(crate) copartitioned: Vec<BTreeSet<usize>>,
}

impl Plan {
    /// Plans all operators of the graph.
    pub(crate) fn of(graph: &Graph) -> Result<Plan> {
        let plan = Plan { nodes: Vec::new(), operations: Vec::new(), copartitioned: Vec::new() };
        let mut planner = Planner {
            graph,
            plan,
            names: Names::default(),
            next_priority: 0,
            grouping_repartitions: vec![None; graph.groupings.len()],
        };
        for id in graph.ids() {
            planner.check_store(id)?;
            let planned = planner.operation(id)?;
            planner.plan.operations.push(planned);
            planner.note_versions(id);
            planner.request_from_parents(id);
        }
        let read_by_others = planner.optimize();
        let mut plan = planner.plan;
        plan.keep_null_keys_above_left_joins(graph);
        for node in read_by_others {
            plan.nodes[node].keeps_null_keys = true;
        }
        Ok(plan)
    }

    pub(crate) fn operation(&self, id: OperationId) -> &OperationPlan {
        &self.operations[id.index()]
    }

    /// The name of the node that sends an operator's records.
    pub(crate) fn node_name(&self, id: OperationId) -> &str {
        &self.nodes[self.operation(id).node].name
    }

    /// A left join emits records without a key too, so no repartition topic above it may leave them out (KIP-962).
    fn keep_null_keys_above_left_joins(&mut self, graph: &Graph) {
        let accepting = graph.ids().filter(|id| match graph.operation(*id).kind {
            OperationKind::StreamTableJoin { accepts_null_keys, .. }
            | OperationKind::GlobalJoin { accepts_null_keys } => accepts_null_keys,
            OperationKind::StreamStreamJoin { kind, .. } => kind != StreamStreamJoinKind::Inner,
            _ => false,
        });
        let mut pending: Vec<usize> = accepting.map(|id| self.operation(id).node).collect();
        while let Some(node) = pending.pop() {
            if !self.nodes[node].keeps_null_keys {
                self.nodes[node].keeps_null_keys = true;
                pending.extend(&self.nodes[node].parents);
            }
        }
    }
}

pub(super) struct Planner<'g> {
    pub(super) graph: &'g Graph,
    pub(super) plan: Plan,
    pub(super) names: Names,
    next_priority: usize,
    /// The repartition topic of a grouping that has a name; all its aggregations share it.
    grouping_repartitions: Vec<Option<usize>>,
}

impl Planner<'_> {
    fn operation(&mut self, id: OperationId) -> Result<OperationPlan> {
        let operation = self.graph.operation(id);
        let name = operation.name.as_deref();
        Ok(match &operation.kind {
            OperationKind::StreamSource { topics, types, heartbeats } => {
                self.stream_source(id, name, topics, (types, *heartbeats))?
            }
            OperationKind::TableSource { topics, .. } | OperationKind::GlobalTable { topics, .. } => {
                let topic = match topics {
                    SourceTopics::Named(topics) if topics.len() == 1 => &topics[0],
                    topics => {
                        return Err(Error::invalid(format!(
                            "a table reads one topic, not {:?}: read a stream of them and use `to_table`",
                            topics.names()
                        )));
                    }
                };
                let is_global = matches!(operation.kind, OperationKind::GlobalTable { .. });
                let table = self.table_source(id, operation, topic);
                OperationPlan { is_materialized: is_global || table.is_materialized, ..table }
            }
            OperationKind::GlobalJoin { .. } => {
                // Kafka Streams calls the inner join so, too.
                let name = self.names.given_or_node(name, "KSTREAM-LEFTJOIN-");
                self.below(id, operation.parents[0], name)
            }
            OperationKind::Step { prefix, effect } => {
                let name = self.names.given_or_node(name, prefix);
                self.step(id, operation, name, *effect)
            }
            OperationKind::Process { prefix, effect, .. } => {
                // The one operator whose given name does not use up a number.
                let name = name.map_or_else(|| self.names.node(prefix), str::to_string);
                self.step(id, operation, name, *effect)
            }
            OperationKind::Branch { number } => {
                self.names.skip();
                let split = &self.plan.nodes[self.plan.operation(operation.parents[0]).node].name;
                let name = format!("{split}{}", name.map_or_else(|| number.to_string(), str::to_string));
                self.below(id, operation.parents[0], name)
            }
            OperationKind::Merge => self.merge(id, operation),
            OperationKind::Repartition { partitions, .. } => {
                let base = name.map_or_else(|| self.names.node("KSTREAM-REPARTITION-"), str::to_string);
                let names = self.names.repartition(&base);
                let parent = self.plan.operation(operation.parents[0]).node;
                let node = self.repartition_node(id, parent, names, *partitions);
                OperationPlan { node, sources: BTreeSet::from([node]), ..OperationPlan::default() }
            }
            OperationKind::ToTable { .. } => self.table_of_stream(id, operation),
            OperationKind::StreamAggregate { prefix, is_count, grouping, .. } => {
                // Kafka Streams' `count` once named a store in vain; the number is still used up.
                if *is_count
                    && operation.store.as_ref().is_some_and(|store| store.is_given && store.name.is_none())
                {
                    self.names.skip();
                }
                self.stream_aggregate(id, operation, prefix, *grouping)
            }
            OperationKind::Cogroup { inputs } => self.cogroup(id, operation, inputs),
            OperationKind::TableView { prefix, .. } => {
                let store = operation.store.as_ref();
                if store.is_some_and(|store| store.name.is_none()) {
                    self.names.skip();
                }
                let name = self.names.given_or_node(name, prefix);
                let store = store.and_then(|store| store.name.clone());
                OperationPlan {
                    is_materialized: store.is_some(),
                    store,
                    ..self.below(id, operation.parents[0], name)
                }
            }
            OperationKind::Suppress => {
                let table = operation.parents[0];
                if self.plan.operation(table).is_versioned() {
                    return Err(Error::invalid(
                        "`suppress` of a versioned table, or of one computed from it: an older version would overtake a newer one, so \
                         leave `versioned` out, or suppress a table that is aggregated from it",
                    ));
                }
                // A given name uses up no number here.
                let node = name.map_or_else(|| self.names.node("KTABLE-SUPPRESS-"), str::to_string);
                let store = match name {
                    Some(name) => format!("{name}-store"),
                    None => self.names.store("KTABLE-SUPPRESS-"),
                };
                OperationPlan { is_materialized: true, store: Some(store), ..self.below(id, table, node) }
            }
            OperationKind::TableTransform { .. } => {
                let name = self.names.given_or_node(name, "KTABLE-TRANSFORMVALUES-");
                let store = operation.store.as_ref().and_then(|store| store.name.clone());
                OperationPlan {
                    is_materialized: store.is_some(),
                    store,
                    ..self.below(id, operation.parents[0], name)
                }
            }
            OperationKind::TableGrouping => {
                let name = self.names.given_or_node(name, "KTABLE-SELECT-");
                self.below(id, operation.parents[0], name)
            }
            OperationKind::TableAggregate { prefix, grouping, .. } => {
                self.table_aggregate(id, operation, prefix, *grouping)
            }
            OperationKind::StreamTableJoin { prefix, grace, .. } => {
                if let Some(grace) = *grace {
                    self.check_history(operation.parents[1], grace)?;
                }
                self.stream_table_join(id, operation, prefix)
            }
            OperationKind::StreamStreamJoin { kind, store_name, .. } => {
                self.stream_stream_join(id, operation, *kind, store_name.as_deref())
            }
            OperationKind::TableJoin { .. } => self.table_join(id, operation),
            OperationKind::ForeignKeyJoin { .. } => self.foreign_key_join(id, operation),
        })
    }

    /// Two streams of the same topics share one source. Both use up a number, and the first gives the name.
    fn stream_source(
        &mut self,
        id: OperationId,
        name: Option<&str>,
        topics: &[String],
        read_as: (&str, Option<Duration>),
    ) -> Result<OperationPlan> {
        let name = self.names.given_or_node(name, "KSTREAM-SOURCE-");
        let node = match self.source_shared_with(topics, read_as)? {
            Some(node) => node,
            None => self.node(name, Vec::new(), PlannedKind::Node(id)),
        };
        Ok(OperationPlan { node, sources: BTreeSet::from([node]), ..OperationPlan::default() })
    }

    /// The source of an earlier stream that reads the same topics.
    fn source_shared_with(
        &self,
        topics: &[String],
        (types, heartbeats): (&str, Option<Duration>),
    ) -> Result<Option<usize>> {
        for (index, node) in self.plan.nodes.iter().enumerate() {
            let PlannedKind::Node(other) = node.kind else { continue };
            let other = &self.graph.operation(other).kind;
            let OperationKind::StreamSource { topics: read, types: read_as, heartbeats: beats } = other
            else {
                continue;
            };
            let Some(shared) = topics.iter().find(|topic| read.contains(topic)) else { continue };
            if BTreeSet::from_iter(topics) != BTreeSet::from_iter(read) {
                return Err(Error::invalid(format!(
                    "topic {shared} is read by two streams that do not read the same topics, {read:?} and \
                     {topics:?}: read each topic by itself and `merge`"
                )));
            }
            if types != *read_as {
                return Err(Error::invalid(format!(
                    "topic {shared} is read as {read_as} and as {types}: read it once and convert with `map`"
                )));
            }
            if heartbeats != *beats {
                let said = |every: Option<Duration>| match every {
                    Some(every) => format!("with heartbeats every {every:?}"),
                    None => "without heartbeats".to_string(),
                };
                return Err(Error::invalid(format!(
                    "topic {shared} is read {} and {}: they are of the topic, so give all its streams the same",
                    said(*beats),
                    said(heartbeats)
                )));
            }
            return Ok(Some(index));
        }
        Ok(None)
    }

    fn table_source(&mut self, id: OperationId, operation: &Operation, topic: &str) -> OperationPlan {
        let (store, is_materialized) = self.store_name(operation, &format!("{topic}-"));
        let name = operation.name.as_deref();
        let source = self.names.suffixed_or_node(name, "-source", "KSTREAM-SOURCE-");
        let name = self.names.given_or_node(name, "KTABLE-SOURCE-");
        let node = self.node(name, Vec::new(), PlannedKind::TableSource { operation: id, source });
        let sources = BTreeSet::from([node]);
        OperationPlan { node, store: Some(store), is_materialized, sources, ..OperationPlan::default() }
    }

    fn merge(&mut self, id: OperationId, operation: &Operation) -> OperationPlan {
        let name = self.names.given_or_node(operation.name.as_deref(), "KSTREAM-MERGE-");
        let mut merged = OperationPlan::default();
        let mut parents = Vec::new();
        for parent in &operation.parents {
            let parent = self.plan.operation(*parent);
            merged.needs_repartition |= parent.needs_repartition;
            merged.sources.extend(&parent.sources);
            if !parents.contains(&parent.node) {
                parents.push(parent.node);
            }
        }
        merged.node = self.node(name, parents, PlannedKind::Node(id));
        merged
    }

    fn table_of_stream(&mut self, id: OperationId, operation: &Operation) -> OperationPlan {
        let name = self.names.given_or_node(operation.name.as_deref(), "KSTREAM-TOTABLE-");
        let (store, is_materialized) = self.store_name(operation, "KSTREAM-TOTABLE-");
        let stream = self.plan.operation(operation.parents[0]).clone();
        let (parent, sources) = if stream.needs_repartition {
            let names = self.names.repartition(&name);
            let node = self.repartition_node(id, stream.node, names, None);
            (node, BTreeSet::from([node]))
        } else {
            (stream.node, stream.sources)
        };
        let node = self.node(name, vec![parent], PlannedKind::Node(id));
        OperationPlan { node, store: Some(store), is_materialized, sources, ..OperationPlan::default() }
    }

    fn stream_aggregate(
        &mut self,
        id: OperationId,
        operation: &Operation,
        prefix: &str,
        grouping: GroupingId,
    ) -> OperationPlan {
        let (store, _) = self.store_name(operation, prefix);
        let name = self.names.given_or_node(operation.name.as_deref(), prefix);
        let (parent, sources) = self.grouped_input(id, 0, grouping, &store);
        let node = self.node(name, vec![parent], PlannedKind::Node(id));
        OperationPlan { node, store: Some(store), is_materialized: true, sources, ..OperationPlan::default() }
    }

    /// A node for each grouped stream, all of which change rows of the same store, and one in which their changes meet.
    fn cogroup(
        &mut self,
        id: OperationId,
        operation: &Operation,
        inputs: &[CogroupedInput],
    ) -> OperationPlan {
        let prefix = "COGROUPKSTREAM-AGGREGATE-";
        let name = operation.name.as_deref();
        let (store, _) = self.store_name(operation, prefix);
        let grouped: Vec<(usize, BTreeSet<usize>)> = inputs
            .iter()
            .enumerate()
            .map(|(input, CogroupedInput { grouping, .. })| self.grouped_input(id, input, *grouping, &store))
            .collect();
        let sources: BTreeSet<usize> =
            grouped.iter().flat_map(|(_, sources)| sources.iter().copied()).collect();
        self.plan.copartitioned.push(sources.clone());
        let mut aggregates = Vec::with_capacity(grouped.len());
        for (input, (parent, _)) in grouped.into_iter().enumerate() {
            let name = self.names.suffixed_or_node(name, &format!("-cogroup-agg-{input}"), prefix);
            let node = self.node(name, vec![parent], PlannedKind::CogroupedInput(id));
            self.plan.nodes[node].input = input;
            aggregates.push(node);
        }
        let name = self.names.suffixed_or_node(name, "-cogroup-merge", "COGROUPKSTREAM-MERGE-");
        let node = self.node(name, aggregates, PlannedKind::Node(id));
        OperationPlan { node, store: Some(store), is_materialized: true, sources, ..OperationPlan::default() }
    }

    /// The node through which a grouped stream comes to its aggregation, by a repartition topic where its keys changed.
    fn grouped_input(
        &mut self,
        id: OperationId,
        input: usize,
        grouping: GroupingId,
        store: &str,
    ) -> (usize, BTreeSet<usize>) {
        let stream = self.plan.operation(self.graph.operation(id).parents[input]).clone();
        if !stream.needs_repartition {
            return (stream.node, stream.sources);
        }
        let given = self.graph.groupings[grouping.index()].name.as_deref();
        let names = self.names.repartition(given.unwrap_or(store));
        let shared = self.grouping_repartitions[grouping.index()].filter(|_| given.is_some());
        let node = match shared {
            Some(node) => self.declared_again(node),
            None => {
                let node = self.repartition_node(id, stream.node, names, None);
                self.plan.nodes[node].input = input;
                node
            }
        };
        self.grouping_repartitions[grouping.index()] = Some(node);
        (node, BTreeSet::from([node]))
    }

    fn table_aggregate(
        &mut self,
        id: OperationId,
        operation: &Operation,
        prefix: &str,
        grouping: GroupingId,
    ) -> OperationPlan {
        let (store, _) = self.store_name(operation, "KTABLE-AGGREGATE-");
        let name = operation.name.as_deref();
        let sink = self.names.suffixed_or_node(name, "-sink", "KSTREAM-SINK-");
        let source = self.names.suffixed_or_node(name, "-source", "KSTREAM-SOURCE-");
        let name = self.names.given_or_node(name, prefix);
        let given = self.graph.groupings[grouping.index()].name.as_deref();
        let shared = self.grouping_repartitions[grouping.index()].filter(|_| given.is_some());
        let topic = format!("{}-repartition", given.unwrap_or(&store));
        let parent = match shared {
            Some(node) => self.declared_again(node),
            None => {
                let kind =
                    PlannedKind::Repartition { operation: id, topic, partitions: None, filter: None, sink };
                let table = self.plan.operation(operation.parents[0]).node;
                self.node(source, vec![table], kind)
            }
        };
        self.grouping_repartitions[grouping.index()] = Some(parent);
        let node = self.node(name, vec![parent], PlannedKind::Node(id));
        let sources = BTreeSet::from([parent]);
        OperationPlan { node, store: Some(store), is_materialized: true, sources, ..OperationPlan::default() }
    }

    fn stream_table_join(&mut self, id: OperationId, operation: &Operation, prefix: &str) -> OperationPlan {
        let name = operation.name.as_deref();
        let (stream, table) = (operation.parents[0], operation.parents[1]);
        let (parent, mut sources) = self.joined_stream(id, stream, 0, name);
        sources.extend(&self.plan.operation(table).sources);
        self.plan.copartitioned.push(sources.clone());
        let name = self.names.given_or_node(name, prefix);
        let store = operation.store.as_ref().map(|_| format!("{name}-Buffer"));
        let node = self.node(name, vec![parent], PlannedKind::Node(id));
        OperationPlan { node, is_materialized: store.is_some(), store, sources, ..OperationPlan::default() }
    }

    /// The node through which a stream comes to a join, by a repartition topic where its keys changed; and its sources from there on.
    /// Joins that give the topic no name share it.
    pub(super) fn joined_stream(
        &mut self,
        id: OperationId,
        stream_id: OperationId,
        input: usize,
        given: Option<&str>,
    ) -> (usize, BTreeSet<usize>) {
        let stream = self.plan.operation(stream_id).clone();
        if !stream.needs_repartition {
            return (stream.node, stream.sources);
        }
        let base = given.map_or_else(|| self.plan.nodes[stream.node].name.clone(), str::to_string);
        let names = self.names.repartition(&base);
        let node = match stream.join_repartition.filter(|_| given.is_none()) {
            Some(shared) => shared,
            None => {
                let node = self.repartition_node(id, stream.node, names, None);
                self.plan.nodes[node].input = input;
                node
            }
        };
        self.plan.operations[stream_id.index()].join_repartition = Some(node);
        (node, BTreeSet::from([node]))
    }

    /// One node below one parent, which may change its keys.
    fn step(
        &mut self,
        id: OperationId,
        operation: &Operation,
        name: String,
        effect: Effect,
    ) -> OperationPlan {
        let below = self.below(id, operation.parents[0], name);
        let needs_repartition = below.needs_repartition || effect == Effect::ChangesKeys;
        OperationPlan { needs_repartition, ..below }
    }

    /// One node below one parent, with keys and sources of the parent.
    fn below(&mut self, id: OperationId, parent: OperationId, name: String) -> OperationPlan {
        let parent = self.plan.operation(parent);
        let (needs_repartition, sources) = (parent.needs_repartition, parent.sources.clone());
        let node = self.node(name, vec![parent.node], PlannedKind::Node(id));
        OperationPlan { node, needs_repartition, sources, ..OperationPlan::default() }
    }

    /// The store's name, and whether it is kept whoever needs it: the user gave the name, or wants versions.
    pub(super) fn store_name(&mut self, operation: &Operation, prefix: &str) -> (String, bool) {
        match operation.store.as_ref().and_then(|store| store.name.clone()) {
            Some(given) => (given, true),
            None => (
                self.names.store(prefix),
                operation.store.as_ref().is_some_and(|store| store.history_retention.is_some()),
            ),
        }
    }

    pub(super) fn repartition_node(
        &mut self,
        operation: OperationId,
        parent: usize,
        names: RepartitionNames,
        partitions: Option<i32>,
    ) -> usize {
        let RepartitionNames { topic, filter, sink, source } = names;
        let kind = PlannedKind::Repartition { operation, topic, partitions, filter: Some(filter), sink };
        self.node(source, vec![parent], kind)
    }

    pub(super) fn node(&mut self, name: String, parents: Vec<usize>, kind: PlannedKind) -> usize {
        let priority = self.take_priority();
        self.plan.nodes.push(PlannedNode { name, parents, kind, input: 0, priority, keeps_null_keys: false });
        self.plan.nodes.len() - 1
    }

    /// Kafka Streams writes a shared node where it is used last.
    fn declared_again(&mut self, node: usize) -> usize {
        self.plan.nodes[node].priority = self.take_priority();
        node
    }

    fn take_priority(&mut self) -> usize {
        self.next_priority += 1;
        self.next_priority
    }
}
