//! The node that makes a table of records: each replaces or deletes the row of its key. Behind `table` and `to_table`.

use std::marker::PhantomData;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
use millstream_processor::{Change, RecordField};

use super::table_store::TableStore;
use crate::logical::WriteNode;

/// Keeps the newest value of each key, in the order of the records' offsets, not of their event times.
pub(crate) struct TableKeeper<K: RecordField, V: RecordField> {
    store: Option<TableStore<K::NonNull, V::NonNull>>,
    types: PhantomData<fn(K, V)>,
}

impl<K: RecordField, V: RecordField> TableKeeper<K, V> {
    pub(crate) fn write() -> WriteNode {
        Box::new(|place| {
            let (store, sends_old_values) = (place.own_store(), place.sends_old_values);
            place.add_processor(move |wiring| {
                let store = store
                    .as_ref()
                    .map(|name| TableStore::open(wiring, name, sends_old_values))
                    .transpose()?;
                Ok(TableKeeper::<K, V> { store, types: PhantomData })
            })
        })
    }
}

impl<K: RecordField, V: RecordField> Processor for TableKeeper<K, V> {
    type KeyIn = K;
    type ValueIn = V;
    type KeyOut = K::NonNull;
    type ValueOut = Change<V::NonNull>;

    fn process(
        &mut self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, K::NonNull, Change<V::NonNull>>,
    ) -> Result<(), Failure> {
        let Record { key, value, timestamp, headers } = record;
        let Some(key) = key.into_non_null() else {
            context.task().drop_record();
            return Ok(());
        };
        let value = value.into_non_null();
        match &self.store {
            Some(store) => store.put(Record { key, value, timestamp, headers }, context),
            None => {
                context.forward(Record { key, value: Change { old: None, new: value }, timestamp, headers })
            }
        }
    }

    fn prepare_commit(
        &mut self,
        context: &mut ProcessorContext<'_, K::NonNull, Change<V::NonNull>>,
    ) -> Result<(), Failure> {
        self.store.as_ref().map_or(Ok(()), |store| store.emit(context))
    }
}
