//! The three nodes of a join of two tables: one for the changes of each side, and one in which they meet.

use std::collections::BTreeSet;

use millstream_processor::{Error, Result, Topology};

use super::graph::{Graph, Operation, OperationId, OperationKind};
use super::plan::{OperationPlan, Plan, PlannedKind, Planner};
use super::write::place;

/// Which rows a join of tables has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableJoinKind {
    /// Those of keys that both tables have.
    Inner,
    /// Those of keys that the left table has.
    Left,
    /// Those of keys that either table has.
    Outer,
}

impl TableJoinKind {
    /// Whether a row of the left table, and one of the right, gives a row also if the other table has none.
    pub(crate) fn sides_that_stand_alone(self) -> [bool; 2] {
        match self {
            TableJoinKind::Inner => [false, false],
            TableJoinKind::Left => [true, false],
            TableJoinKind::Outer => [true, true],
        }
    }
}

impl Planner<'_> {
    pub(super) fn table_join(&mut self, id: OperationId, operation: &Operation) -> OperationPlan {
        let has_store = operation.store.is_some();
        let store = has_store.then(|| self.store_name(operation, "KTABLE-MERGE-").0);
        let name = operation.name.as_deref();
        let merge = self.names.given_or_node(name, "KTABLE-MERGE-");
        let sides = [("-join-this", "KTABLE-JOINTHIS-"), ("-join-other", "KTABLE-JOINOTHER-")]
            .map(|(suffix, prefix)| self.names.suffixed_or_node(name, suffix, prefix));
        let tables = operation.parents.iter().map(|table| self.plan.operation(*table));
        let sources: BTreeSet<usize> = tables.clone().flat_map(|table| table.sources.clone()).collect();
        // A table joined with itself is one parent.
        let parents: BTreeSet<usize> = tables.map(|table| table.node).collect();
        self.plan.copartitioned.push(sources.clone());
        let kind = PlannedKind::TableJoin { operation: id, sides };
        let node = self.node(merge, parents.into_iter().collect(), kind);
        OperationPlan { node, store, is_materialized: has_store, sources, ..OperationPlan::default() }
    }
}

impl Graph {
    pub(super) fn write_table_join(
        &self,
        plan: &Plan,
        id: OperationId,
        topology: &mut Topology,
        name: &str,
        sides: &[String; 2],
    ) -> Result<()> {
        let operation = self.operation(id);
        let (OperationKind::TableJoin { write_sides, .. }, [left, right]) =
            (&operation.kind, operation.parents.as_slice())
        else {
            return Err(Error::fatal(format!("node {name} was planned as a join of tables and is none")));
        };
        for ((side, write), (table, other)) in
            sides.iter().zip(write_sides).zip([(*left, *right), (*right, *left)])
        {
            let mut place = place(topology, side, vec![plan.node_name(table)], plan);
            place.reads_versions = plan.operation(table).is_versioned();
            place.stores = self.stores_for_lookups(plan, other);
            place.sends_old_values = plan.operation(id).sends_old_values;
            write(&mut place)?;
        }
        self.write_operation(plan, id, topology, name, sides.iter().map(String::as_str).collect())
    }
}
