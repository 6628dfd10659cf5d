//! `to_table`: a stream as a table.

use millstream_processor::RecordField;

use super::rows::stored_rows;
use super::table_keeper::TableKeeper;
use crate::logical::{Operation, OperationKind, TypedTopic};
use crate::options::Materialized;
use crate::stream::KStream;
use crate::table::KTable;

impl<K: RecordField, V: RecordField> KStream<K, V> {
    /// Takes the stream for the changes of a table: each record replaces the row of its key, a null value deletes it. A record
    /// with a null key is dropped and counted. Where keys changed above, the table gets a repartition topic.
    ///
    /// The table keeps a store if it is given one by [`KTable::materialized`], or if an operator below needs one.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const STATUS: StoreName<String, String> = StoreName::new("order-status");
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, String>("order-events").to_table().materialized(STATUS);
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let events = driver.input_topic::<String, String>("order-events");
    /// events.pipe_input("order-1", "paid")?;
    /// events.pipe_input("order-1", "shipped")?;
    /// let row = driver.key_value_store(STATUS)?.get(&"order-1".into())?;
    /// assert_eq!(row.map(|row| row.value), Some("shipped".into()));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "toTable")]
    pub fn to_table(&self) -> KTable<K::NonNull, V::NonNull> {
        KTable::declare(
            &self.graph,
            Operation {
                kind: OperationKind::ToTable { topic: TypedTopic::<K, V>::of_types() },
                parents: vec![self.id],
                name: None,
                store: Some(Materialized::<K::NonNull, V::NonNull>::from(()).into_plan()),
                write: TableKeeper::<K, V>::write(),
            },
            stored_rows,
        )
    }
}
