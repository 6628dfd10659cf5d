//! `transform_values` of a table: rows computed with the help of stores.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record, Wiring};
use millstream_processor::{Change, Result, Timestamp, ValueAndTimestamp};

use super::rows::{NO_TIME, RowLookup, RowRef, Rows, stored_or_computed_rows};
use super::table_store::{PlannedChanges, TableStore};
use crate::logical::{Operation, OperationId, OperationKind};
use crate::options::ConnectedStores;
use crate::table::KTable;

/// Computes the rows of a table of those of another one (Kafka Streams' `ValueTransformerWithKey`). One instance per task and use.
///
/// A table that is not kept in a store of its own is computed again, by another instance, whenever a row is looked up. So a transformer must give
/// the same result for the same row and the same stores at any time, and does not know which record it works for.
pub trait ValueTransformer: 'static {
    /// Key of the rows.
    type Key: Clone + 'static;
    /// Value of the rows it receives.
    type ValueIn: Clone + 'static;
    /// Value of the rows it makes.
    type ValueOut: Clone + 'static;

    /// The row made of this one; `None` is a row that is not there, before and after.
    ///
    /// # Errors
    /// They go to the handler of the stage `process`.
    fn transform(
        &mut self,
        key: &Self::Key,
        value: Option<Self::ValueIn>,
    ) -> Result<Option<Self::ValueOut>, Failure>;
}

impl<K: Clone + 'static, V: Clone + 'static> KTable<K, V> {
    /// A new value for each row, made by a [`ValueTransformer`] with the help of the stores it is connected with. The supplier is called for each
    /// task, and for each join that looks rows up, and makes a new transformer each time.
    ///
    /// ```
    /// use millstream::api::Failure;
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    /// use millstream::{KeyValueStore, ValueTransformer};
    ///
    /// const RATES: StoreName<String, i64> = StoreName::new("rates");
    ///
    /// /// Prices with the tax that is in force when they change.
    /// struct WithTax { rates: KeyValueStore<String, i64> }
    ///
    /// impl ValueTransformer for WithTax {
    ///     type Key = String;
    ///     type ValueIn = i64;
    ///     type ValueOut = i64;
    ///
    ///     fn transform(&mut self, sku: &String, cents: Option<i64>) -> Result<Option<i64>, Failure> {
    ///         let percent = self.rates.get(sku)?.map_or(0, |row| row.value);
    ///         Ok(cents.map(|cents| cents + cents * percent / 100))
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.table::<String, i64>("rates").materialized(RATES);
    /// let prices = builder.table::<String, i64>("prices");
    /// prices.transform_values(RATES, |wiring| Ok(WithTax { rates: wiring.store(RATES)? })).to_stream().to("taxed-prices");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("rates").pipe_input("apples", 7)?;
    /// driver.input_topic::<String, i64>("prices").pipe_input("apples", 200)?;
    /// let taxed = driver.output_topic::<String, i64>("taxed-prices");
    /// assert_eq!(taxed.read_key_value()?, Some(("apples".into(), 214)));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "transformValues")]
    pub fn transform_values<T>(
        &self,
        stores: impl Into<ConnectedStores>,
        supplier: impl Fn(&Wiring<'_>) -> Result<T> + Send + Sync + 'static,
    ) -> KTable<K, T::ValueOut>
    where
        T: ValueTransformer<Key = K, ValueIn = V>,
    {
        let supplier = Arc::new(supplier);
        let for_lookups = Arc::clone(&supplier);
        let ConnectedStores { names, brought } = stores.into();
        brought.into_iter().for_each(|store| self.graph.borrow_mut().add_store(store));
        KTable::declare(
            &self.graph,
            Operation {
                kind: OperationKind::TableTransform { stores: names },
                parents: vec![self.id],
                name: None,
                store: None,
                write: TableStore::write_optional(
                    move |wiring, store, PlannedChanges { sends_old_values, .. }| {
                        Ok(TableTransform { store, sends_old_values, transformer: supplier(wiring)? })
                    },
                ),
            },
            |id| transformed_rows(id, Rc::clone(&self.rows), for_lookups),
        )
    }
}

/// Rows of the table: in its store if it has one, else computed from the rows of its parent.
fn transformed_rows<K, V, T>(
    table: OperationId,
    parent: RowLookup<K, V>,
    supplier: Arc<impl Fn(&Wiring<'_>) -> Result<T> + Send + Sync + 'static>,
) -> RowLookup<K, T::ValueOut>
where
    K: Clone + 'static,
    V: Clone + 'static,
    T: ValueTransformer<Key = K, ValueIn = V>,
{
    stored_or_computed_rows(table, move |plan| {
        let (open_parent, supplier) = (parent(plan)?, Arc::clone(&supplier));
        Ok(Arc::new(move |wiring: &Wiring<'_>| {
            let transformer = RefCell::new(supplier(wiring)?);
            Ok(Box::new(TransformedRows { parent: open_parent(wiring)?, transformer }))
        }))
    })
}

struct TransformedRows<K, V, T> {
    parent: Box<dyn Rows<K, V>>,
    transformer: RefCell<T>,
}

impl<K, V, T> Rows<K, T::ValueOut> for TransformedRows<K, V, T>
where
    V: Clone,
    T: ValueTransformer<Key = K, ValueIn = V>,
{
    fn read_as_of(
        &self,
        key: &K,
        as_of: Option<Timestamp>,
        use_row: &mut dyn FnMut(Option<RowRef<'_, T::ValueOut>>),
    ) -> Result<(), Failure> {
        // Copied out, as the transformer may look into the store the row is in.
        let row = self.parent.copy_as_of(key, as_of)?;
        let (value, timestamp) = row.map_or((None, NO_TIME), |row| (Some(row.value), row.timestamp));
        let value = self.transformer.borrow_mut().transform(key, value)?;
        use_row(value.as_ref().map(|value| ValueAndTimestamp::new(value, timestamp)));
        Ok(())
    }
}

struct TableTransform<T: ValueTransformer> {
    store: Option<TableStore<T::Key, T::ValueOut>>,
    sends_old_values: bool,
    transformer: T,
}

impl<T: ValueTransformer> Processor for TableTransform<T> {
    type KeyIn = T::Key;
    type ValueIn = Change<T::ValueIn>;
    type KeyOut = T::Key;
    type ValueOut = Change<T::ValueOut>;

    fn process(
        &mut self,
        record: Record<T::Key, Change<T::ValueIn>>,
        context: &mut ProcessorContext<'_, T::Key, Change<T::ValueOut>>,
    ) -> Result<(), Failure> {
        let Record { key, value: change, timestamp, headers } = record;
        let new = self.transformer.transform(&key, change.new)?;
        if let Some(store) = &self.store {
            return store.put(Record { key, value: new, timestamp, headers }, context);
        }
        let old = match self.sends_old_values {
            true => self.transformer.transform(&key, change.old)?,
            false => None,
        };
        context.forward(Record { key, value: Change { old, new }, timestamp, headers })
    }

    fn prepare_commit(
        &mut self,
        context: &mut ProcessorContext<'_, T::Key, Change<T::ValueOut>>,
    ) -> Result<(), Failure> {
        self.store.as_ref().map_or(Ok(()), |store| store.emit(context))
    }
}

#[cfg(test)]
mod tests {
    use millstream_processor::api::{Failure, Wiring};
    use millstream_processor::{KeyValueStore, Result, StoreName};

    use super::ValueTransformer;
    use crate::operators::test_support::{driver, driver_without_commits, pipe_all, text, written};
    use crate::{ConnectedStores, KTable, StoreOptions, StreamsBuilder};

    const RATES: StoreName<String, i64> = StoreName::new("rates");
    const TAXED: StoreName<String, i64> = StoreName::new("taxed");

    /// Prices with the tax in force; a product that has none costs nothing.
    struct WithTax {
        rates: KeyValueStore<String, i64>,
    }

    impl WithTax {
        fn supply(wiring: &Wiring<'_>) -> Result<Self> {
            Ok(WithTax { rates: wiring.store(RATES)? })
        }
    }

    impl ValueTransformer for WithTax {
        type Key = String;
        type ValueIn = i64;
        type ValueOut = i64;

        fn transform(&mut self, sku: &String, cents: Option<i64>) -> Result<Option<i64>, Failure> {
            if cents == Some(13) {
                return Err(std::io::Error::other("an unlucky number").into());
            }
            let rate = self.rates.get(sku)?.map(|row| row.value);
            Ok(rate.map(|rate| cents.unwrap_or(0) * (100 + rate) / 100))
        }
    }

    fn taxed(builder: &StreamsBuilder) -> KTable<String, i64> {
        builder.table::<String, i64>("rates").materialized(RATES);
        builder.table::<String, i64>("prices").transform_values(RATES, WithTax::supply)
    }

    const PRICES: [(&str, Option<i64>); 4] =
        [("apples", Some(200)), ("pears", Some(300)), ("apples", Some(13)), ("apples", None)];

    #[test]
    fn deleted_rows_are_asked_about_too_and_failures_leave_the_row_as_it_was() {
        let driver = driver(|builder| drop(taxed(builder).to_stream().to("taxed")));
        pipe_all(&driver.input_topic::<String, i64>("rates"), [("apples", 7)]);
        pipe_all(&driver.input_topic::<String, Option<i64>>("prices"), PRICES);
        let expected = [(text("apples"), Some(214)), (text("pears"), None), (text("apples"), Some(0))];
        assert_eq!(written(&driver.output_topic::<String, Option<i64>>("taxed")), expected);
        assert_eq!(driver.skipped_records(), 1);
    }

    #[test]
    fn a_store_of_its_own_keeps_what_was_computed() {
        let driver = driver_without_commits(|builder| {
            let taxed = taxed(builder).materialized(TAXED.without_caching());
            taxed.to_stream().to("taxed");
            let orders = builder.stream::<String, i64>("orders");
            orders.join(&taxed, |pieces, cents| pieces * cents).to("to-pay");
        });
        let rates = driver.input_topic::<String, i64>("rates");
        pipe_all(&rates, [("apples", 7)]);
        pipe_all(&driver.input_topic::<String, i64>("prices"), [("apples", 200)]);
        pipe_all(&rates, [("apples", 19)]);
        pipe_all(&driver.input_topic::<String, i64>("orders"), [("apples", 2)]);
        assert_eq!(written(&driver.output_topic("to-pay")), [(text("apples"), 428_i64)]);
        assert_eq!(written(&driver.output_topic("taxed")), [(text("apples"), 214_i64)]);
    }

    #[test]
    fn without_one_a_join_computes_rows_when_it_looks_them_up() {
        let driver = driver(|builder| {
            let taxed = taxed(builder).filter(|_, cents| *cents > 100);
            let orders = builder.stream::<String, i64>("orders");
            orders.join(&taxed, |pieces, cents| pieces * cents).to("to-pay");
        });
        let rates = driver.input_topic::<String, i64>("rates");
        let orders = driver.input_topic::<String, i64>("orders");
        pipe_all(&driver.input_topic::<String, i64>("prices"), [("apples", 200), ("pears", 10)]);
        pipe_all(&rates, [("apples", 7), ("pears", 7)]);
        pipe_all(&orders, [("apples", 2), ("pears", 2)]);
        pipe_all(&rates, [("apples", 19)]);
        pipe_all(&orders, [("apples", 2)]);
        let expected = [(text("apples"), 428_i64), (text("apples"), 476)];
        assert_eq!(written(&driver.output_topic("to-pay")), expected);
    }

    #[test]
    fn aggregates_of_it_take_the_old_row_out() {
        let driver = driver(|builder| {
            let brought = ConnectedStores::bringing(RATES);
            let prices = builder.table::<String, i64>("prices");
            let taxed =
                prices.transform_values(brought, |wiring| Ok(Doubled { _stores: wiring.store(RATES)? }));
            taxed
                .group_by(|_, cents| ("all".to_string(), cents))
                .reduce((), |a, b| a + b, |a, b| a - b)
                .to_stream()
                .to("sum");
        });
        pipe_all(
            &driver.input_topic::<String, Option<i64>>("prices"),
            [("apples", Some(2)), ("pears", Some(3)), ("apples", Some(10)), ("pears", None)],
        );
        let sums: Vec<i64> =
            written::<String, i64>(&driver.output_topic("sum")).into_iter().map(|(_, sum)| sum).collect();
        assert_eq!(sums.last(), Some(&20), "{sums:?}");
    }

    struct Doubled {
        _stores: KeyValueStore<String, i64>,
    }

    impl ValueTransformer for Doubled {
        type Key = String;
        type ValueIn = i64;
        type ValueOut = i64;

        fn transform(&mut self, _sku: &String, cents: Option<i64>) -> Result<Option<i64>, Failure> {
            Ok(cents.map(|cents| 2 * cents))
        }
    }
}
