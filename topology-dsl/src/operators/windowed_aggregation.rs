//! What the aggregations of all kinds of windows have in common: how they are declared.

use std::sync::Arc;
use std::time::Duration;

use millstream_processor::api::{Processor, Wiring};
use millstream_processor::{RecordField, Result, SerdeRef, Windowed};

use super::late_records::LateRecords;
use super::rows::rows_in_store;
use super::stream_aggregation::Aggregation;
use super::window_table::{WindowTable, WindowTimes};
use super::windowed_store::WindowedStore;
use crate::grouped::KGroupedStream;
use crate::logical::{OperationId, SharedGraph, WriteNode};
use crate::options::StorePlan;
use crate::table::KTable;
use crate::windowed::WindowOptions;

/// What an aggregation says about the table it makes.
pub(super) struct WindowedAggregation<K> {
    pub(super) store: StorePlan,
    pub(super) times: WindowTimes,
    pub(super) keys: WindowedKeys<K>,
}

/// What is known of the keys of such a table.
pub(super) struct WindowedKeys<K> {
    /// How they are written together with their windows.
    pub(super) serde: SerdeRef<Windowed<K>>,
    /// How long after its end a window may still change.
    pub(super) grace: Duration,
}

impl<K: 'static> WindowedKeys<K> {
    /// Tells what is made of the table.
    pub(super) fn note(self, graph: &SharedGraph, table: OperationId) {
        let mut graph = graph.borrow_mut();
        graph.set_key_serde(table, self.serde);
        graph.set_window_grace(table, self.grace);
    }
}

/// Writes the node that keeps such a table: `make` makes that of a task.
pub(super) fn write_windowed_node<S: WindowedStore, P: Processor>(
    times: WindowTimes,
    make: impl Fn(&Wiring<'_>, WindowTable<S>) -> Result<P> + Send + Sync + 'static,
) -> WriteNode {
    let make = Arc::new(make);
    Box::new(move |place| {
        let (store, sends_old_values) = (place.required_store()?, place.sends_old_values);
        let make = Arc::clone(&make);
        place.add_processor(move |wiring| {
            make(wiring, WindowTable::open(wiring, &store, sends_old_values, times)?)
        })
    })
}

impl<K: RecordField, V: RecordField> KGroupedStream<K, V> {
    /// Declares an aggregation in windows. `make` makes the node of a task, of its table and the way that late records take.
    pub(super) fn declare_windowed_aggregation<S, P>(
        &self,
        aggregation: Aggregation,
        options: &WindowOptions<K, V>,
        declared: WindowedAggregation<K::NonNull>,
        make: impl Fn(WindowTable<S>, LateRecords<K, V>) -> P + Send + Sync + 'static,
    ) -> KTable<Windowed<K::NonNull>, S::Value>
    where
        S: WindowedStore<Key = K::NonNull>,
        P: Processor,
    {
        let WindowedAggregation { store, times, keys } = declared;
        let late = options.late.clone();
        let write = write_windowed_node(times, move |wiring, table| {
            Ok(make(table, LateRecords::open(wiring, late.as_deref())?))
        });
        let table = self.declare_aggregated_table(aggregation, store, write, rows_in_store::<S, _, _>);
        keys.note(&self.graph, table.id);
        table
    }
}
