//! `aggregate` of a grouped stream.

use std::convert::Infallible;

use millstream_processor::api::Failure;
use millstream_processor::{BoxError, HasSerde, RecordField};

use super::stream_aggregation::Aggregation;
use crate::grouped::KGroupedStream;
use crate::options::StoreFor;
use crate::table::KTable;

/// What an aggregating closure may return: the new value `A`, or `Option<A>` where `None` deletes the row.
#[diagnostic::on_unimplemented(
    message = "an aggregation into `{A}` cannot go on with `{Self}`",
    label = "return the new value, or an `Option` of it to be able to delete the row",
    note = "`{A}` is the value type of the store, or what the initializer makes",
    note = "a closure that can fail goes to the operator of the same name with `try_` before it: `try_aggregate`, say"
)]
pub trait AggregateResult<A>: 'static {
    /// The row's new value, none to delete the row.
    fn into_row(self) -> Option<A>;
}

impl<A: HasSerde> AggregateResult<A> for A {
    fn into_row(self) -> Option<A> {
        Some(self)
    }
}

impl<A: HasSerde> AggregateResult<A> for Option<A> {
    fn into_row(self) -> Option<A> {
        self
    }
}

impl<K: RecordField, V: RecordField> KGroupedStream<K, V> {
    /// Aggregates the values of each key: a row begins as what `initializer` makes, and the closure gets key, value and the row
    /// so far. If it returns an `Option`, `None` deletes the row. A record with a null key or value is dropped and counted.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const STOCK: StoreName<String, i64> = StoreName::new("stock");
    ///
    /// let builder = StreamsBuilder::new();
    /// let movements = builder.stream::<String, i64>("stock-movements").group_by_key();
    /// movements.aggregate(STOCK, || 0, |_sku, moved, on_hand| on_hand + moved);
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let movements = driver.input_topic::<String, i64>("stock-movements");
    /// movements.pipe_input("apples", 10)?;
    /// movements.pipe_input("apples", -3)?;
    /// let row = driver.key_value_store(STOCK)?.get(&"apples".into())?;
    /// assert_eq!(row.map(|row| row.value), Some(7));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn aggregate<A: HasSerde, R: AggregateResult<A>>(
        &self,
        store: impl StoreFor<K::NonNull, A>,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K::NonNull, V::NonNull, A) -> R + Send + Sync + 'static,
    ) -> KTable<K::NonNull, A> {
        self.try_aggregate(store, initializer, move |key, value, row| {
            Ok::<_, Infallible>(aggregator(key, value, row))
        })
    }

    /// [`aggregate`](Self::aggregate) with a closure that can fail. A record it fails on goes to the handler of the stage
    /// `process`, and the row stays as it was.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// const STOCK: StoreName<String, i64> = StoreName::new("stock");
    ///
    /// let builder = StreamsBuilder::new();
    /// let movements = builder.stream::<String, String>("stock-movements").group_by_key();
    /// movements.try_aggregate(STOCK, || 0, |_sku, moved, on_hand| moved.parse::<i64>().map(|moved| on_hand + moved));
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn try_aggregate<A: HasSerde, R: AggregateResult<A>, E: Into<BoxError>>(
        &self,
        store: impl StoreFor<K::NonNull, A>,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K::NonNull, V::NonNull, A) -> Result<R, E> + Send + Sync + 'static,
    ) -> KTable<K::NonNull, A> {
        self.declare_aggregation(Aggregation::Aggregate, store.into(), aggregating(initializer, aggregator))
    }
}

/// A row's new value: made of the one it has, or of what an initializer makes.
pub(super) fn aggregating<K, V, A: HasSerde, R: AggregateResult<A>, E: Into<BoxError>>(
    initializer: impl Fn() -> A + Send + Sync + 'static,
    aggregator: impl Fn(&K, V, A) -> Result<R, E> + Send + Sync + 'static,
) -> impl Fn(&K, V, Option<A>) -> Result<Option<A>, Failure> + Send + Sync + 'static {
    move |key, value, current| {
        let current = current.unwrap_or_else(&initializer);
        let row = aggregator(key, value, current).map_err(|error| Failure::process(error.into()))?;
        Ok(row.into_row())
    }
}

#[cfg(test)]
mod tests {
    use crate::operators::test_support::{driver, pipe_all, pipe_at, text, written_at};
    use crate::{StoreName, StoreOptions};

    const STOCK: StoreName<String, i64> = StoreName::new("stock");

    #[test]
    fn none_deletes_the_row_and_the_next_record_begins_anew() {
        let driver = driver(|builder| {
            let moves = builder.stream::<String, i64>("moves").group_by_key();
            let stock = moves.aggregate(
                STOCK.without_caching(),
                || 100,
                |_, moved, on_hand| {
                    let left = on_hand + moved;
                    (left > 0).then_some(left)
                },
            );
            stock.to_stream().to("out");
        });
        let moves = driver.input_topic::<String, i64>("moves");
        for (moved, millis) in [(-40, 70), (-60, 50), (1, 60)] {
            pipe_at(&moves, "apples", moved, millis);
        }
        let expected =
            [(text("apples"), Some(60), 70), (text("apples"), None, 70), (text("apples"), Some(101), 60)];
        assert_eq!(written_at(&driver.output_topic::<String, Option<i64>>("out")), expected);
    }

    #[test]
    fn a_record_the_closure_fails_on_leaves_the_row_as_it_was() {
        let driver = driver(|builder| {
            let moves = builder.stream::<String, String>("moves").group_by_key();
            moves.try_aggregate(
                STOCK,
                || 0,
                |_, moved, on_hand| moved.parse::<i64>().map(|moved| on_hand + moved),
            );
        });
        pipe_all(
            &driver.input_topic::<String, String>("moves"),
            [("apples", "5"), ("apples", "some"), ("apples", "2")],
        );
        let row = driver
            .key_value_store(STOCK)
            .and_then(|store| Ok(store.get(&text("apples"))?))
            .expect("it can be read");
        assert_eq!(row.map(|row| row.value), Some(7));
        assert_eq!(driver.skipped_records(), 1);
    }
}
