//! Which tables keep a store, and which send the old value with each change: only those of which a table or join below needs
//! it.

use millstream_processor::{Error, Result};

use super::graph::{OperationId, OperationKind};
use super::plan::Planner;

impl Planner<'_> {
    /// Refuses what a store cannot be.
    ///
    /// # Errors
    /// `Invalid`, with the remedy.
    pub(super) fn check_store(&self, id: OperationId) -> Result<()> {
        let operation = self.graph.operation(id);
        let Some(store) = &operation.store else { return Ok(()) };
        let name = store.name.as_deref().unwrap_or("without a name");
        let is_global = matches!(operation.kind, OperationKind::GlobalTable { .. });
        let is_view = matches!(operation.kind, OperationKind::TableView { .. });
        match (store.is_versioned, store.has_ttl) {
            (true, true) => Err(Error::invalid(format!(
                "store {name} is versioned and has a time to live: a versioned store forgets by its history \
                 retention, so leave `with_ttl` out"
            ))),
            (true, false) if is_global => Err(Error::invalid(format!(
                "the global table with store {name} is versioned, which no global table can be: leave \
                 `versioned` out, or read the topic as a table"
            ))),
            _ if matches!(operation.kind, OperationKind::Suppress) && store.name.is_some() => {
                Err(Error::invalid(format!(
                    "store {name} was given to a `suppress`, which keeps what it holds back in a buffer of its own: \
                     `materialized` the table above it, or one below"
                )))
            }
            (true, false) if is_view && store.name.is_none() => Err(Error::invalid(
                "the versioned store of a `filter` or `map_values` has no name: give it one with a `StoreName`",
            )),
            _ => Ok(()),
        }
    }

    /// Notes whether what an operator reads is a versioned table, or computed from one.
    pub(super) fn note_versions(&mut self, id: OperationId) {
        let reads_versions = self.graph.operation(id).parents.iter().any(|parent| self.is_versioned(*parent));
        self.plan.operations[id.index()].reads_versions = reads_versions;
    }

    /// Whether the changes of a table may be of older versions of their rows.
    pub(super) fn is_versioned(&self, table: OperationId) -> bool {
        let operation = self.graph.operation(table);
        match operation.kind {
            OperationKind::TableView { .. } if !self.plan.operation(table).is_materialized => {
                self.is_versioned(operation.parents[0])
            }
            _ => operation.store.as_ref().is_some_and(|store| store.is_versioned),
        }
    }

    /// What an operator asks of the tables it reads.
    pub(super) fn request_from_parents(&mut self, id: OperationId) {
        let operation = self.graph.operation(id);
        match operation.kind {
            OperationKind::StreamTableJoin { .. } => self.request_lookups(operation.parents[1]),
            // Who looks a row up that is held back sees the value that was there before.
            OperationKind::TableGrouping | OperationKind::Suppress => {
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
        match operation.kind {
            OperationKind::TableView { .. } if !self.plan.operation(table).is_materialized => {
                self.store_owner(operation.parents[0])
            }
            OperationKind::Suppress => self.store_owner(operation.parents[0]),
            _ => table,
        }
    }

    /// Makes the table send old values if it can; it is given a store for that only if `force` says so.
    fn request_old_values(&mut self, table: OperationId, force: bool) -> bool {
        let operation = self.graph.operation(table);
        let is_materialized = self.plan.operation(table).is_materialized;
        let sends = match operation.kind {
            _ if self.plan.operation(table).sends_old_values => true,
            OperationKind::TableView { .. } if !is_materialized => {
                self.request_old_values(operation.parents[0], force)
            }
            _ => is_materialized || force,
        };
        if sends {
            let plan = &mut self.plan.operations[table.index()];
            plan.sends_old_values = true;
            plan.is_materialized |= !matches!(operation.kind, OperationKind::TableView { .. });
        }
        sends
    }
}
