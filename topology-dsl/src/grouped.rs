//! Streams and tables grouped by key, about to be aggregated.

use std::fmt;
use std::marker::PhantomData;

use millstream_processor::{RecordField, SerdeRef};

use crate::logical::{GroupingId, OperationId, RepartitionEdges, SharedGraph, TypedTopic};

/// A stream whose records are grouped by key. Made by [`group_by_key`](crate::KStream::group_by_key) and
/// [`group_by`](crate::KStream::group_by).
///
/// Where keys changed before, each aggregation gets a repartition topic, named after its store; a grouping with a name has
/// one for all its aggregations.
pub struct KGroupedStream<K, V> {
    pub(crate) graph: SharedGraph,
    pub(crate) stream: OperationId,
    pub(crate) grouping: GroupingId,
    pub(crate) types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> KGroupedStream<K, V> {
    /// Names the repartition topic: in Kafka it is `<application id>-<name>-repartition`. The node that selects the key, where
    /// there is one, has the name too.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, String>("orders");
    /// orders.group_by(|_id, customer| customer.clone()).named("by-customer").count(());
    /// assert_eq!(builder.build()?.repartition_topics()[0].name, "by-customer-repartition");
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "Grouped")]
    pub fn named(self, name: impl Into<String>) -> Self {
        self.graph.borrow_mut().name_grouping(self.grouping, name.into());
        self
    }
}

impl<K: RecordField, V: RecordField> KGroupedStream<K, V> {
    /// Uses these serdes in the repartition topics of the grouping, where there are any, instead of those of the types. Those of stores are chosen there
    /// ([`StoreOptions::with_serdes`](crate::StoreOptions::with_serdes)).
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    /// use millstream::JsonSerde;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders");
    /// let by_size = orders.group_by(|_id, quantity| *quantity).named("by-size");
    /// by_size.with_serdes(Arc::new(JsonSerde::new()), i64::serde()).count(());
    ///
    /// let driver = TopologyTestDriver::builder(builder.build()?).application_id("shop").build()?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("order-1", 42)?;
    /// let topic = driver.output_topic_with_serdes("shop-by-size-repartition", String::serde(), i64::serde());
    /// assert_eq!(topic.read_key_value()?, Some(("42".into(), 42)));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "Grouped")]
    pub fn with_serdes(self, key: SerdeRef<K>, value: SerdeRef<V>) -> Self {
        self.graph.borrow_mut().set_grouping_serdes(self.grouping, key, value);
        self
    }

    /// Its repartition topics.
    pub(crate) fn topic(&self) -> Box<dyn RepartitionEdges> {
        match self.graph.borrow().grouping_serdes::<K, V>(self.grouping) {
            Some((key_serde, value_serde)) => {
                Box::new(TypedTopic { key_serde, value_serde, partitioner: None })
            }
            None => TypedTopic::<K, V>::of_types(),
        }
    }
}

impl<K: RecordField, V> KGroupedStream<K, V> {
    /// The serde of the keys, if they are those of windows.
    pub(crate) fn key_serde(&self) -> Option<SerdeRef<K::NonNull>> {
        self.graph.borrow().key_serde(self.stream)
    }
}

impl<K, V> fmt::Debug for KGroupedStream<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KGroupedStream<{}, {}>", std::any::type_name::<K>(), std::any::type_name::<V>())
    }
}

/// A table whose rows are grouped by a new key. Made by [`KTable::group_by`](crate::KTable::group_by).
///
/// Its aggregations follow the table: when a row changes, its old value is taken out of the aggregate and the new one put
/// in. The changes go through a repartition topic, named after the aggregation's store, or after the grouping.
pub struct KGroupedTable<K, V> {
    pub(crate) graph: SharedGraph,
    pub(crate) table: OperationId,
    pub(crate) grouping: GroupingId,
    pub(crate) types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> KGroupedTable<K, V> {
    /// Names the repartition topic and the node that selects the key, as [`KGroupedStream::named`] does.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let shelves = builder.table::<String, String>("shelf-of-product");
    /// shelves.group_by(|sku, shelf| (shelf, sku.clone())).named("by-shelf").count(());
    /// assert_eq!(builder.build()?.repartition_topics()[0].name, "by-shelf-repartition");
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "Grouped")]
    pub fn named(self, name: impl Into<String>) -> Self {
        self.graph.borrow_mut().name_grouping(self.grouping, name.into());
        self
    }
}

impl<K, V> fmt::Debug for KGroupedTable<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KGroupedTable<{}, {}>", std::any::type_name::<K>(), std::any::type_name::<V>())
    }
}
