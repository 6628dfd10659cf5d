//! Which tables keep a store, and which send the old value with each change: only those of which a table or join below needs
//! it.

use std::time::Duration;

use millstream_processor::{Error, Result};

use super::graph::{OperationId, OperationKind};
use super::plan::Planner;

impl Planner<'_> {
    /// Refuses what the store of a table cannot be.
    ///
    /// # Errors
    /// `Invalid`, with the remedy.
    pub(super) fn check_store(&self, id: OperationId) -> Result<()> {
        let operation = self.graph.operation(id);
        let Some(store) = &operation.store else { return Ok(()) };
        store.check()?;
        match (&operation.kind, store.name.as_deref()) {
            (OperationKind::GlobalTable { .. }, name) if store.history_retention.is_some() => {
                let name = name.unwrap_or("without a name");
                Err(Error::invalid(format!(
                    "the global table with store {name} is versioned, which no global table can be: leave `versioned` out, or read \
                     the topic as a table"
                )))
            }
            (OperationKind::Suppress, Some(name)) => Err(Error::invalid(format!(
                "store {name} was given to a `suppress`, which keeps what it holds back in a buffer of its own: `materialized` the \
                 table above it, or one below"
            ))),
            (OperationKind::TableView { .. } | OperationKind::TableTransform { .. }, None)
                if store.history_retention.is_some() =>
            {
                Err(Error::invalid(
                    "the versioned store of a table that is computed row by row has no name: give it one with a `StoreName`",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Notes whether the changes of a table may be of older versions of their rows: whether its store is versioned, or, if it has none,
    /// the table that it is computed from row by row.
    pub(super) fn note_versions(&mut self, id: OperationId) {
        let operation = self.graph.operation(id);
        let history_retention = match operation.kind {
            OperationKind::TableView { .. } | OperationKind::TableTransform { .. }
                if !self.plan.operation(id).is_materialized =>
            {
                self.plan.operation(operation.parents[0]).history_retention
            }
            _ => operation.store.as_ref().and_then(|store| store.history_retention),
        };
        self.plan.operations[id.index()].history_retention = history_retention;
    }

    /// Refuses a table whose rows are not known for as long as a stream waits for it.
    ///
    /// # Errors
    /// `Invalid`, with the remedy.
    pub(super) fn check_history(&self, table: OperationId, grace: Duration) -> Result<()> {
        match self.plan.operation(table).history_retention {
            None => Err(Error::invalid(
                "a table that is joined `with_grace` keeps no versions, so that there is nothing to wait for: give it a \
                 versioned store (`.materialized(STORE.versioned(..))`)",
            )),
            Some(retention) if retention < grace => Err(Error::invalid(format!(
                "a table that is joined `with_grace({grace:?})` keeps its versions for {retention:?}, so that rows would be gone \
                 when they are looked up: give its store a history retention of {grace:?} at least, or shorten the grace"
            ))),
            Some(_) => Ok(()),
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
            OperationKind::TableJoin { kind, .. } => {
                // An inner join has no row to delete where the other side has none; the others tell by the old value.
                for (table, stands_alone) in operation.parents.iter().zip(kind.sides_that_stand_alone()) {
                    if stands_alone {
                        self.request_old_values(*table, true);
                    }
                }
                operation.parents.iter().for_each(|table| self.request_lookups(*table));
            }
            OperationKind::ForeignKeyJoin { .. } => {
                for table in &operation.parents {
                    self.request_old_values(*table, true);
                    self.request_lookups(*table);
                }
            }
            _ => {}
        }
    }

    /// Makes sure that rows of the table can be looked up: in its own store, or computed from those of the tables above.
    fn request_lookups(&mut self, table: OperationId) {
        let operation = self.graph.operation(table);
        let is_whole = match operation.kind {
            // Those of its rows that wait, for which it always has a store.
            OperationKind::Suppress => false,
            _ => !operation.kind.is_computed_table() || self.plan.operation(table).is_materialized,
        };
        if is_whole {
            self.plan.operations[table.index()].is_materialized = true;
        } else {
            operation.parents.iter().for_each(|parent| self.request_lookups(*parent));
        }
    }

    /// Makes the table send old values if it can; it is given a store for that only if `force` says so.
    fn request_old_values(&mut self, table: OperationId, force: bool) -> bool {
        let operation = self.graph.operation(table);
        let is_materialized = self.plan.operation(table).is_materialized;
        let sends = if self.plan.operation(table).sends_old_values {
            true
        } else if let OperationKind::TableJoin { .. } = operation.kind {
            operation.parents.iter().for_each(|parent| {
                self.request_old_values(*parent, true);
            });
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
