//! `count` of a grouped stream.

use millstream_processor::RecordField;
use millstream_processor::api::Failure;

use super::stream_aggregation::Aggregation;
use crate::grouped::KGroupedStream;
use crate::options::StoreFor;
use crate::table::KTable;

impl<K: RecordField, V: RecordField> KGroupedStream<K, V> {
    /// Counts the records of each key. A record with a null key or value is dropped and counted as such.
    ///
    /// The bytes of a count are those of Kafka Streams' `Long`.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const COUNTS: StoreName<String, u64> = StoreName::new("orders-per-sku");
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("orders").group_by_key().count(COUNTS);
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let orders = driver.input_topic::<String, i64>("orders");
    /// orders.pipe_input("apples", 500)?;
    /// orders.pipe_input("apples", 5)?;
    /// let row = driver.key_value_store(COUNTS)?.get(&"apples".into())?;
    /// assert_eq!(row.map(|row| row.value), Some(2));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn count(&self, store: impl StoreFor<K::NonNull, u64>) -> KTable<K::NonNull, u64> {
        self.declare_aggregation(Aggregation::Count, store.into(), counting)
    }
}

/// One more than the count so far, whatever the value is.
pub(super) fn counting<K, V>(_key: &K, _value: V, count: Option<u64>) -> Result<Option<u64>, Failure> {
    Ok(Some(count.unwrap_or(0) + 1))
}
