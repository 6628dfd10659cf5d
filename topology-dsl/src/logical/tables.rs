//! Which tables keep a store, and which send the old value with each change: only those of which a table or join below needs
//! it.

use super::graph::{OperationId, OperationKind};
use super::plan::Planner;

impl Planner<'_> {
    /// What an operator asks of the tables it reads.
    pub(super) fn request_from_parents(&mut self, id: OperationId) {
        let operation = self.graph.operation(id);
        match operation.kind {
            OperationKind::StreamTableJoin { .. } => self.request_lookups(operation.parents[1]),
            OperationKind::TableGrouping => {
                self.request_old_values(operation.parents[0], true);
            }
            OperationKind::TableView { is_filter: true, .. } => {
                // With old values the filter can leave out tombstones for rows that never passed; it is not worth a store.
                let has_old_values = self.request_old_values(operation.parents[0], false);
                self.plan.operations[id.index()].sends_old_values = has_old_values;
            }
            _ => {}
        }
    }

    /// Makes sure that rows of the table can be looked up: in its own store, or computed from that of a table above.
    fn request_lookups(&mut self, table: OperationId) {
        let owner = self.store_owner(table);
        self.plan.operations[owner.index()].is_materialized = true;
    }

    fn store_owner(&self, table: OperationId) -> OperationId {
        let operation = self.graph.operation(table);
        if operation.kind.is_computed_table() && !self.plan.operation(table).is_materialized {
            self.store_owner(operation.parents[0])
        } else {
            table
        }
    }

    /// Makes the table send old values if it can; it is given a store for that only if `force` says so.
    fn request_old_values(&mut self, table: OperationId, force: bool) -> bool {
        let operation = self.graph.operation(table);
        let is_materialized = self.plan.operation(table).is_materialized;
        let sends = if self.plan.operation(table).sends_old_values {
            true
        } else if operation.kind.is_computed_table() && !is_materialized {
            self.request_old_values(operation.parents[0], force)
        } else {
            is_materialized || force
        };
        if sends {
            let plan = &mut self.plan.operations[table.index()];
            plan.sends_old_values = true;
            plan.is_materialized |= !operation.kind.is_computed_table();
        }
        sends
    }
}
