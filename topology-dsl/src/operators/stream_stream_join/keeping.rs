//! Keeps the records of one side for those of the other that are still to come.

use std::marker::PhantomData;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
use millstream_processor::{RecordField, ValueAndTimestamp, WindowStore};

/// Puts each record that can be joined into a store, under its own time, and passes all of them on.
pub(super) struct KeepRecords<K: RecordField, V: RecordField> {
    store: WindowStore<K::NonNull, V::NonNull>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: RecordField, V: RecordField> KeepRecords<K, V> {
    pub(super) fn new(store: WindowStore<K::NonNull, V::NonNull>) -> Self {
        KeepRecords { store, types: PhantomData }
    }
}

impl<K: RecordField, V: RecordField> Processor for KeepRecords<K, V> {
    type KeyIn = K;
    type ValueIn = V;
    type KeyOut = K;
    type ValueOut = V;

    fn process(
        &mut self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, K, V>,
    ) -> Result<(), Failure> {
        let at = record.timestamp;
        // The other side's node alone reads the store: whether it has the record before or after it was passed on makes no difference.
        if let (Some(key), Some(value)) = (record.key.as_non_null(), record.value.as_non_null()) {
            self.store.put(key, at, Some(ValueAndTimestamp::new(value.clone(), at)))?;
        }
        context.forward(record)
    }
}
