//! The node that makes a table of records: each replaces or deletes the row of its key. Behind `table` and `to_table`.

use std::marker::PhantomData;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
use millstream_processor::{Change, RecordField};

use super::table_store::TableStore;
use crate::logical::WriteNode;

/// Keeps the newest value of each key, in the order of the records' offsets, not of their event times.
pub(crate) struct TableKeeper<K: RecordField, V: RecordField> {
    store: Option<TableStore<K::NonNull, V::NonNull>>,
    types: PhantomData<(K, V)>,
}

impl<K: RecordField, V: RecordField> TableKeeper<K, V> {
    pub(crate) fn write() -> WriteNode {
        TableStore::write_optional(|_, store, _| Ok(TableKeeper::<K, V> { store, types: PhantomData }))
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

#[cfg(test)]
mod tests {
    use crate::operators::test_support::{
        driver, driver_without_commits, pipe_all, pipe_at, text, written, written_at,
    };
    use crate::{StoreName, StoreOptions};

    const PRICES: StoreName<String, i64> = StoreName::new("prices");

    #[test]
    fn a_null_deletes_the_row_and_a_null_key_is_dropped() {
        let driver = driver(|builder| {
            builder.table::<String, i64>("prices").materialized(PRICES).to_stream().to("changes");
        });
        let prices = driver.input_topic::<Option<String>, Option<i64>>("prices");
        pipe_all(&prices, [(Some(text("apples")), Some(30)), (None, Some(9)), (Some(text("apples")), None)]);
        let changes = [(text("apples"), Some(30)), (text("apples"), None)];
        assert_eq!(written(&driver.output_topic::<String, Option<i64>>("changes")), changes);
        let store = driver.key_value_store(PRICES).expect("the table has a store");
        assert_eq!(store.get(&text("apples")).expect("it can be read"), None);
        assert_eq!(driver.dropped_records(), 1);
    }

    #[test]
    fn offsets_decide_which_value_is_newest_not_event_times() {
        let driver = driver(|builder| {
            builder
                .table::<String, i64>("prices")
                .materialized(PRICES.without_caching())
                .to_stream()
                .to("changes");
        });
        let prices = driver.input_topic::<String, i64>("prices");
        pipe_at(&prices, "apples", 30, 100);
        pipe_at(&prices, "apples", 20, 50);
        let changes = [(text("apples"), 30_i64, 100), (text("apples"), 20, 50)];
        assert_eq!(written_at(&driver.output_topic("changes")), changes);
    }

    #[test]
    fn without_a_store_every_change_passes_at_once() {
        let driver = driver_without_commits(|builder| {
            builder.stream::<String, Option<i64>>("prices").to_table().to_stream().to("changes");
        });
        let prices = driver.input_topic::<String, Option<i64>>("prices");
        pipe_all(&prices, [("apples", Some(1)), ("apples", Some(2)), ("apples", None)]);
        let changes = [(text("apples"), Some(1)), (text("apples"), Some(2)), (text("apples"), None)];
        assert_eq!(written(&driver.output_topic::<String, Option<i64>>("changes")), changes);
    }

    #[test]
    fn a_caching_store_emits_the_newest_value_at_commit() {
        let driver = driver_without_commits(|builder| {
            builder.table::<String, i64>("prices").materialized(PRICES).to_stream().to("changes");
        });
        let prices = driver.input_topic::<String, i64>("prices");
        let changes = driver.output_topic::<String, i64>("changes");
        pipe_all(&prices, [("apples", 1), ("pears", 5), ("apples", 2)]);
        assert_eq!(written(&changes), []);
        driver.commit().expect("the commit succeeds");
        assert_eq!(written(&changes), [(text("apples"), 2), (text("pears"), 5)]);
    }
}
