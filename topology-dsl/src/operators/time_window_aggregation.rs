//! What `count`, `reduce` and `aggregate` in time windows have in common: one row per key and window, changed by each record.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
use millstream_processor::{
    Change, HasSerde, RecordField, SerdeRef, TimeWindowedSerde, WindowKind, Windowed,
};

use super::late_records::LateRecords;
use super::rows::window_rows;
use super::stream_aggregation::Aggregation;
use super::window_table::WindowTable;
use crate::logical::{Operation, OperationKind, TypedTopic};
use crate::options::{Materialized, WindowsToStore};
use crate::table::KTable;
use crate::windowed::TimeWindowedKStream;
use crate::windows::{EmitStrategy, TimeSpans, to_millis};

impl<K: RecordField, V: RecordField> TimeWindowedKStream<K, V> {
    /// Declares an aggregation. `change` makes a row's new value of the record and the value it has; none deletes the row.
    #[track_caller]
    pub(super) fn declare_aggregation<A, F>(
        &self,
        aggregation: Aggregation,
        store: Materialized<K::NonNull, A, WindowKind>,
        change: F,
    ) -> KTable<Windowed<K::NonNull>, A>
    where
        A: HasSerde,
        F: Fn(&K::NonNull, V, Option<A>) -> Result<Option<A>, Failure> + Send + Sync + 'static,
    {
        let (windows, emit, change) = (self.windows, self.options.emit, Arc::new(change));
        let late = LateRecords::to(self.options.late.as_deref());
        let store = store.with_inherited_key_serde(self.grouped.key_serde());
        let key_serde: SerdeRef<_> = Arc::new(TimeWindowedSerde::new(store.key_serde(), windows.size()));
        let drops_null_values = aggregation == Aggregation::Reduce;
        let table = KTable::declare(
            &self.grouped.graph,
            Operation {
                kind: OperationKind::StreamAggregate {
                    prefix: aggregation.prefix(),
                    is_count: aggregation == Aggregation::Count,
                    grouping: self.grouped.grouping,
                    topic: TypedTopic::<K, V>::of_types(),
                },
                parents: vec![self.grouped.stream],
                name: None,
                store: Some(store.into_window_plan(windows.to_store(emit))),
                write: Box::new(move |place| {
                    let (store, sends_old_values) = (place.required_store()?, place.sends_old_values);
                    let (change, late) = (Arc::clone(&change), late.clone());
                    place.add_processor(move |wiring| {
                        let (size, grace) = (to_millis(windows.size()), to_millis(windows.grace()));
                        Ok(TimeWindowAggregation::<K, V, A, F> {
                            table: WindowTable::open(wiring, &store, sends_old_values, size, emit, grace)?,
                            windows,
                            drops_null_values,
                            late: late.clone(),
                            change: Arc::clone(&change),
                            types: PhantomData,
                        })
                    })
                }),
            },
            window_rows,
        );
        let graph = Rc::clone(&self.grouped.graph);
        graph.borrow_mut().set_key_serde(table.id, key_serde);
        graph.borrow_mut().set_window_grace(table.id, self.windows.grace());
        table
    }
}

impl TimeSpans {
    /// What the store must be able to do.
    fn to_store(self, emit: EmitStrategy) -> WindowsToStore {
        WindowsToStore::new(self.size(), self.size().saturating_add(self.grace()), emit)
    }
}

struct TimeWindowAggregation<K: RecordField, V, A, F> {
    table: WindowTable<K::NonNull, A>,
    windows: TimeSpans,
    drops_null_values: bool,
    late: LateRecords<K, V>,
    change: Arc<F>,
    types: PhantomData<V>,
}

impl<K, V, A, F> Processor for TimeWindowAggregation<K, V, A, F>
where
    K: RecordField,
    V: RecordField,
    A: HasSerde,
    F: Fn(&K::NonNull, V, Option<A>) -> Result<Option<A>, Failure> + 'static,
{
    type KeyIn = K;
    type ValueIn = V;
    type KeyOut = Windowed<K::NonNull>;
    type ValueOut = Change<A>;

    fn process(
        &mut self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, Windowed<K::NonNull>, Change<A>>,
    ) -> Result<(), Failure> {
        let Record { key, value, timestamp, headers } = record;
        let Some(key) =
            key.into_non_null().filter(|_| !self.drops_null_values || value.as_non_null().is_some())
        else {
            context.task().drop_record();
            return Ok(());
        };
        let closing = self.table.closing.at(timestamp);
        let (mut value, mut is_late) = (Some(value), false);
        let mut windows = self.windows.windows_for(timestamp).peekable();
        while let Some(window) = windows.next() {
            is_late = !closing.is_open(window.end) || !self.table.store.is_kept(window.start);
            if is_late {
                context.task().drop_record();
                continue;
            }
            // The last window to come is the last to be closed: if any accepts the record, it does.
            let Some(value) = (if windows.peek().is_some() { value.clone() } else { value.take() }) else {
                break;
            };
            let change = &self.change;
            self.table.aggregate(&key, window, timestamp, &headers, context, |key, current| {
                change(key, value, current)
            })?;
        }
        if let Some(value) = value.filter(|_| is_late) {
            let key = K::from_non_null(key);
            self.late.send(context.task(), || Record { key, value, timestamp, headers })?;
        }
        self.table.closing = closing;
        Ok(())
    }

    fn prepare_commit(
        &mut self,
        context: &mut ProcessorContext<'_, Windowed<K::NonNull>, Change<A>>,
    ) -> Result<(), Failure> {
        self.table.emit(context)
    }
}
