//! What the aggregations of all kinds of windows have in common: how they are declared.

use std::sync::Arc;
use std::time::Duration;

use millstream_processor::api::Processor;
use millstream_processor::{RecordField, SerdeRef, Windowed};

use super::late_records::LateRecords;
use super::rows::rows_in_store;
use super::stream_aggregation::Aggregation;
use super::window_table::{Closing, WindowTable};
use super::windowed_store::WindowedStore;
use crate::grouped::KGroupedStream;
use crate::options::StorePlan;
use crate::table::KTable;
use crate::windowed::WindowOptions;

/// What an aggregation says about the table it makes.
pub(super) struct WindowedAggregation<K> {
    pub(super) aggregation: Aggregation,
    pub(super) store: StorePlan,
    /// How keys are written together with their windows.
    pub(super) key_serde: SerdeRef<Windowed<K>>,
    /// How long after its end a window may still change.
    pub(super) grace: Duration,
    /// How far the time to which windows are closed lies behind stream time, in milliseconds.
    pub(super) delay: i64,
    /// Milliseconds from the time that orders the windows of the store to their ends.
    pub(super) to_end: i64,
}

impl<K: RecordField, V: RecordField> KGroupedStream<K, V> {
    /// Declares an aggregation in windows. `make` makes the node of a task, of its table and the way that late records take.
    pub(super) fn declare_windowed_aggregation<S, P>(
        &self,
        options: &WindowOptions<K, V>,
        declared: WindowedAggregation<K::NonNull>,
        make: impl Fn(WindowTable<S>, LateRecords<K, V>) -> P + Send + Sync + 'static,
    ) -> KTable<Windowed<K::NonNull>, S::Value>
    where
        S: WindowedStore<Key = K::NonNull>,
        P: Processor,
    {
        let WindowedAggregation { aggregation, store, key_serde, grace, delay, to_end } = declared;
        let (closing, late) = (Closing::new(options.emit, delay), options.late.clone());
        let make = Arc::new(make);
        let table = self.declare_aggregated_table(
            aggregation,
            store,
            Box::new(move |place| {
                let (store, sends_old_values) = (place.required_store()?, place.sends_old_values);
                let (make, late) = (Arc::clone(&make), late.clone());
                place.add_processor(move |wiring| {
                    let table = WindowTable::open(wiring, &store, sends_old_values, closing, to_end)?;
                    Ok(make(table, LateRecords::open(wiring, late.as_deref())))
                })
            }),
            rows_in_store::<S, _, _>,
        );
        let mut graph = self.graph.borrow_mut();
        graph.set_key_serde(table.id, key_serde);
        graph.set_window_grace(table.id, grace);
        drop(graph);
        table
    }
}
