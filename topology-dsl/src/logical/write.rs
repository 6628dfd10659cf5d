//! Writes a plan as a topology. The only step that meets the operators' types.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use millstream_processor::api::{Processor, Wiring};
use millstream_processor::topology::RepartitionTopic;
use millstream_processor::{Error, JoinSide, Result, Topology};

use super::graph::{Graph, OperationId, OperationKind};
use super::plan::{Plan, PlannedKind};
use super::repartition::RepartitionEdges;
use crate::options::LoggedTo;

/// Where an operator's node goes, and what was decided about it.
pub(crate) struct Place<'a> {
    pub(crate) topology: &'a mut Topology,
    pub(crate) name: &'a str,
    pub(crate) parents: Vec<&'a str>,
    /// The stores the node works with: a table's own, those of a join's other side, those of a processor.
    pub(crate) stores: Vec<&'a str>,
    /// The table's own store, if it keeps one.
    pub(crate) own_store: Option<&'a str>,
    /// Whether a table must send the old value with each change.
    pub(crate) sends_old_values: bool,
    /// Whether the changes of the table it reads may be of older versions of their rows.
    pub(crate) reads_versions: bool,
    pub(crate) plan: &'a Plan,
}

impl Place<'_> {
    pub(crate) fn add_processor<P: Processor>(
        &mut self,
        supplier: impl Fn(&Wiring<'_>) -> Result<P> + Send + Sync + 'static,
    ) -> Result<()> {
        self.topology.add_processor(self.name, &self.parents, &self.stores, supplier)
    }

    /// The name of the table's own store, if it keeps one.
    pub(crate) fn own_store(&self) -> Option<String> {
        self.own_store.map(str::to_string)
    }

    /// The name of the store of a table that always keeps one.
    pub(crate) fn required_store(&self) -> Result<String> {
        self.own_store()
            .ok_or_else(|| Error::fatal(format!("node {} was planned without its store", self.name)))
    }
}

impl Graph {
    /// The declared program as a topology.
    ///
    /// # Errors
    /// `Invalid` for names that are bad or taken, topics read in two ways, and whatever a topology refuses.
    pub(crate) fn build(&self) -> Result<Topology> {
        let plan = Plan::of(self)?;
        let mut topology = Topology::new();
        self.write_added_stores(&mut topology)?;
        for node in plan.in_writing_order() {
            self.write_node(&plan, node, &mut topology)?;
        }
        for group in &plan.copartitioned {
            let sources: Vec<&str> = group.iter().map(|node| plan.source_name(*node)).collect();
            topology.copartition(&sources)?;
        }
        topology.validate()?;
        Ok(topology)
    }

    fn write_node(&self, plan: &Plan, index: usize, topology: &mut Topology) -> Result<()> {
        let node = &plan.nodes[index];
        let parents: Vec<&str> =
            node.parents.iter().map(|parent| plan.nodes[*parent].name.as_str()).collect();
        match &node.kind {
            PlannedKind::Node(id) => self.write_operation(plan, *id, topology, &node.name, parents),
            PlannedKind::CogroupedInput(id) => {
                self.write_cogrouped_input(plan, *id, node.input, topology, &node.name, parents)
            }
            PlannedKind::TableSource { operation, source } => {
                if let OperationKind::TableSource { write_source, .. }
                | OperationKind::GlobalTable { write_source, .. } = &self.operation(*operation).kind
                {
                    write_source(&mut place(topology, source, Vec::new(), plan))?;
                }
                self.write_operation(plan, *operation, topology, &node.name, vec![source])
            }
            PlannedKind::Repartition { operation, topic, partitions, filter, sink } => {
                let edges = self.repartition_edges(*operation, node.input)?;
                topology.add_repartition_topic(RepartitionTopic {
                    name: topic.clone(),
                    partitions: *partitions,
                })?;
                match filter {
                    Some(filter) => {
                        edges.write_filter(topology, filter, &parents, node.keeps_null_keys)?;
                        edges.write_sink(topology, sink, &[filter], topic)?;
                    }
                    None => edges.write_sink(topology, sink, &parents, topic)?,
                }
                edges.write_source(topology, &node.name, topic)
            }
            PlannedKind::StreamWindow { operation, store, is_for_both } => {
                let side = if node.input == 0 { JoinSide::Left } else { JoinSide::Right };
                let of_side = ((!is_for_both).then_some(side), store.as_str());
                self.write_stream_window(plan, *operation, topology, &node.name, parents, of_side)
            }
            PlannedKind::StreamStreamJoin { operation, names } => {
                self.write_stream_stream_join(plan, *operation, topology, &node.name, parents, names)
            }
            PlannedKind::TableJoin { operation, sides } => {
                self.write_table_join(plan, *operation, topology, &node.name, sides)
            }
            PlannedKind::ForeignKeyJoin { operation, part } => {
                self.write_foreign_key_join(plan, *operation, topology, &node.name, parents, part)
            }
            PlannedKind::LeftOut => Ok(()),
        }
    }

    pub(super) fn write_operation(
        &self,
        plan: &Plan,
        id: OperationId,
        topology: &mut Topology,
        name: &str,
        parents: Vec<&str>,
    ) -> Result<()> {
        let operation = self.operation(id);
        let own_store = match operation.kind {
            // Its inputs have it.
            OperationKind::Cogroup { .. } => None,
            _ => self.add_own_store(plan, id, topology)?,
        };
        let mut stores: Vec<&str> = own_store.into_iter().collect();
        if let OperationKind::StreamTableJoin { .. } = operation.kind {
            stores.extend(self.stores_for_lookups(plan, operation.parents[1]));
        }
        stores.extend(operation.kind.connected_stores().iter().map(String::as_str));
        let sends_old_values = plan.operation(id).sends_old_values;
        let reads_versions = operation.parents.iter().any(|parent| plan.operation(*parent).is_versioned());
        (operation.write)(&mut Place {
            stores,
            own_store,
            sends_old_values,
            reads_versions,
            ..place(topology, name, parents, plan)
        })
    }

    fn write_cogrouped_input(
        &self,
        plan: &Plan,
        id: OperationId,
        input: usize,
        topology: &mut Topology,
        name: &str,
        parents: Vec<&str>,
    ) -> Result<()> {
        let OperationKind::Cogroup { inputs } = &self.operation(id).kind else { return Ok(()) };
        if input == 0 {
            self.add_own_store(plan, id, topology)?;
        }
        let planned = plan.operation(id);
        let (own_store, sends_old_values) = (planned.store.as_deref(), planned.sends_old_values);
        let stores = own_store.into_iter().collect();
        let place = place(topology, name, parents, plan);
        (inputs[input].write)(&mut Place { stores, own_store, sends_old_values, ..place })
    }

    /// Adds the store that a table keeps, if it keeps one, and returns its name.
    fn add_own_store<'p>(
        &self,
        plan: &'p Plan,
        id: OperationId,
        topology: &mut Topology,
    ) -> Result<Option<&'p str>> {
        let (operation, planned) = (self.operation(id), plan.operation(id));
        let (true, Some(store), Some(name)) = (planned.is_materialized, &operation.store, &planned.store)
        else {
            return Ok(None);
        };
        let build = |logged_to| (store.build)(name, logged_to);
        match &operation.kind {
            OperationKind::GlobalTable { .. } => topology.add_global_store(build(LoggedTo::OwnTopic))?,
            OperationKind::TableSource { reuse_topic, .. }
                if self.optimization.reuse_ktable_source_topics && store.has_rows_of_records() =>
            {
                topology.add_state_store(build(LoggedTo::SourceTopic))?;
                reuse_topic(topology, name)?;
            }
            _ => topology.add_state_store(build(LoggedTo::OwnTopic))?,
        }
        Ok(Some(name))
    }

    /// The stores in which a table's rows are found: its own, or those of the tables it is computed from, and those that this takes; of a
    /// table that is held back, both.
    pub(super) fn stores_for_lookups<'p>(&'p self, plan: &'p Plan, table: OperationId) -> Vec<&'p str> {
        let (operation, planned) = (self.operation(table), plan.operation(table));
        let own = planned.store.as_deref().filter(|_| planned.is_materialized);
        let mut stores: Vec<&str> = own.into_iter().collect();
        if own.is_some() && !matches!(operation.kind, OperationKind::Suppress) {
            return stores;
        }
        let of_parents = operation.parents.iter().flat_map(|parent| self.stores_for_lookups(plan, *parent));
        let taken_to_compute = operation.kind.connected_stores().iter().map(String::as_str);
        for store in of_parents.chain(taken_to_compute) {
            if !stores.contains(&store) {
                stores.push(store);
            }
        }
        stores
    }

    fn repartition_edges(&self, id: OperationId, input: usize) -> Result<&dyn RepartitionEdges> {
        match &self.operation(id).kind {
            OperationKind::Cogroup { inputs } => Ok(&*inputs[input].topic),
            OperationKind::StreamStreamJoin { topics, .. } => Ok(&*topics[input]),
            OperationKind::Repartition { topic, .. }
            | OperationKind::ToTable { topic }
            | OperationKind::StreamAggregate { topic, .. }
            | OperationKind::TableAggregate { topic, .. }
            | OperationKind::StreamTableJoin { topic, .. } => Ok(&**topic),
            _ => Err(Error::fatal("an operator without a repartition topic was planned to have one")),
        }
    }
}

/// A place without stores.
pub(super) fn place<'a>(
    topology: &'a mut Topology,
    name: &'a str,
    parents: Vec<&'a str>,
    plan: &'a Plan,
) -> Place<'a> {
    Place {
        topology,
        name,
        parents,
        stores: Vec::new(),
        own_store: None,
        sends_old_values: false,
        reads_versions: false,
        plan,
    }
}

impl Plan {
    /// By priority, and parents before children: a child may have been declared before a parent it shares with others.
    fn in_writing_order(&self) -> Vec<usize> {
        let mut waiting_for: Vec<usize> = self.nodes.iter().map(|node| node.parents.len()).collect();
        let mut ready: BinaryHeap<Reverse<(usize, usize)>> = BinaryHeap::new();
        for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.parents.is_empty()) {
            ready.push(Reverse((node.priority, index)));
        }
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some(Reverse((_, index))) = ready.pop() {
            order.push(index);
            for (child, node) in
                self.nodes.iter().enumerate().filter(|(_, node)| node.parents.contains(&index))
            {
                waiting_for[child] -= 1;
                if waiting_for[child] == 0 {
                    ready.push(Reverse((node.priority, child)));
                }
            }
        }
        order
    }

    /// The source node through which a planned node's topics are read.
    fn source_name(&self, index: usize) -> &str {
        match &self.nodes[index].kind {
            PlannedKind::TableSource { source, .. } => source,
            _ => &self.nodes[index].name,
        }
    }
}
