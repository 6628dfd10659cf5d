//! `reduce` of a grouped stream.

use millstream_processor::RecordField;
use millstream_processor::api::Failure;

use super::stream_aggregation::Aggregation;
use crate::grouped::KGroupedStream;
use crate::options::StoreFor;
use crate::table::KTable;

impl<K: RecordField, V: RecordField> KGroupedStream<K, V> {
    /// Combines the values of each key: the closure gets the value so far and the new one. The first value is kept as it is. A
    /// record with a null key or value is dropped and counted.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const LARGEST: StoreName<String, i64> = StoreName::new("largest-order");
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("orders").group_by_key().reduce(LARGEST, |largest, order| largest.max(order));
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let orders = driver.input_topic::<String, i64>("orders");
    /// orders.pipe_input("apples", 500)?;
    /// orders.pipe_input("apples", 5)?;
    /// let row = driver.key_value_store(LARGEST)?.get(&"apples".into())?;
    /// assert_eq!(row.map(|row| row.value), Some(500));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn reduce(
        &self,
        store: impl StoreFor<K::NonNull, V::NonNull>,
        reducer: impl Fn(V::NonNull, V::NonNull) -> V::NonNull + Send + Sync + 'static,
    ) -> KTable<K::NonNull, V::NonNull> {
        self.declare_aggregation(Aggregation::Reduce, store.into(), reducing::<_, V::NonNull>(reducer))
    }
}

/// What becomes of a row; none: it stays away.
type Reduced<V> = Result<Option<<V as RecordField>::NonNull>, Failure>;

/// A row's new value: made of the one it has, or the first one as it is. A null changes nothing.
pub(super) fn reducing<K, V: RecordField>(
    reducer: impl Fn(V::NonNull, V::NonNull) -> V::NonNull + Send + Sync + 'static,
) -> impl Fn(&K, V, Option<V::NonNull>) -> Reduced<V> + Send + Sync + 'static {
    move |_key, value, current| {
        Ok(match (current, value.into_non_null()) {
            (Some(current), Some(value)) => Some(reducer(current, value)),
            (current, value) => current.or(value),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::operators::test_support::{driver, pipe_all, text, written};

    #[test]
    fn the_first_value_is_kept_as_it_is_and_the_older_one_comes_first() {
        let driver = driver(|builder| {
            let notes = builder.stream::<String, String>("notes").group_by_key();
            notes.reduce((), |all, note| format!("{all}+{note}")).to_stream().to("out");
        });
        pipe_all(&driver.input_topic::<String, String>("notes"), [("ann", "a"), ("ann", "b"), ("bob", "c")]);
        let expected = [(text("ann"), text("a")), (text("ann"), text("a+b")), (text("bob"), text("c"))];
        assert_eq!(written(&driver.output_topic("out")), expected);
    }
}
