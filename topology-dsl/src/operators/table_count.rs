//! `count` of a grouped table.

use millstream_processor::HasSerde;

use super::count::counting;
use crate::grouped::KGroupedTable;
use crate::options::StoreFor;
use crate::table::KTable;

impl<K: HasSerde, V: HasSerde> KGroupedTable<K, V> {
    /// Counts the rows of each group. A group whose last row left stays, with the count 0, as in Kafka Streams.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// const PER_SHELF: StoreName<String, u64> = StoreName::new("products-per-shelf");
    ///
    /// let builder = StreamsBuilder::new();
    /// let shelves = builder.table::<String, String>("shelf-of-product");
    /// shelves.group_by(|sku, shelf| (shelf, sku.clone())).count(PER_SHELF).to_stream().to("shelf-sizes");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn count(&self, store: impl StoreFor<K, u64>) -> KTable<K, u64> {
        self.declare_aggregation("KTABLE-AGGREGATE-", store.into(), counting, |_key, _row, count| {
            Some(count.saturating_sub(1))
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::operators::test_support::{driver, pipe_all, text, written};

    #[test]
    fn a_group_that_lost_its_last_row_stays_with_zero() {
        let driver = driver(|builder| {
            let shelves = builder.table::<String, String>("shelf-of-product");
            shelves.group_by(|sku, shelf| (shelf, sku.clone())).count(()).to_stream().to("sizes");
        });
        let shelves = driver.input_topic::<String, Option<String>>("shelf-of-product");
        pipe_all(&shelves, [("apples", Some(text("fruit"))), ("apples", None)]);
        assert_eq!(written(&driver.output_topic("sizes")), [(text("fruit"), 1_u64), (text("fruit"), 0)]);
    }
}
