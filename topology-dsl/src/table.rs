//! The handle of a table. Its operators are in `operators`, one file each.

use std::fmt;
use std::rc::Rc;

use millstream_processor::HasSerde;

use crate::logical::{Operation, OperationId, SharedGraph};
use crate::operators::RowLookup;
use crate::options::StoreFor;

/// A table: the newest value of each key, and the stream of its changes. A value is never null; a deleted row has none.
///
/// Whether the rows are kept in a store depends on how the table was made: aggregations always keep one. Other tables keep one
/// when they are given one by [`KTable::materialized`], or when an operator below needs to look rows up.
pub struct KTable<K, V> {
    pub(crate) graph: SharedGraph,
    pub(crate) id: OperationId,
    pub(crate) rows: RowLookup<K, V>,
}

impl<K, V> Clone for KTable<K, V> {
    fn clone(&self) -> Self {
        KTable { graph: Rc::clone(&self.graph), id: self.id, rows: Rc::clone(&self.rows) }
    }
}

impl<K, V> fmt::Debug for KTable<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KTable<{}, {}>", std::any::type_name::<K>(), std::any::type_name::<V>())
    }
}

impl<K: Clone + 'static, V: Clone + 'static> KTable<K, V> {
    /// Names the node of the operator that returned this table. Its store is not named by this, but by its [`Materialized`].
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let products = builder.table::<String, String>("products").named("products");
    /// products.to_stream().to("product-changes");
    /// let text = builder.build()?.describe();
    /// assert!(text.contains("Source: products-source (topics: [products])\n      --> products"));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "Named")]
    pub fn named(self, name: impl Into<String>) -> Self {
        self.graph.borrow_mut().operation_mut(self.id).name = Some(name.into());
        self
    }

    /// Keeps this table in a store, which can be queried by its name. The last store given counts.
    ///
    /// What `filter`, `filter_not`, `map_values` and `transform_values` return is not kept in a store without a name: its rows are computed from
    /// those above when they are looked up, as in Kafka Streams.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// const SHORT: StoreName<String, i64> = StoreName::new("short-of-stock");
    ///
    /// let builder = StreamsBuilder::new();
    /// let stock = builder.table::<String, i64>("stock");
    /// stock.filter(|_sku, on_hand| *on_hand < 10).materialized(SHORT);
    /// assert!(builder.build()?.store("short-of-stock").is_some());
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn materialized(self, store: impl StoreFor<K, V>) -> Self
    where
        K: HasSerde,
        V: HasSerde,
    {
        let mut graph = self.graph.borrow_mut();
        let store = store.into().with_inherited_key_serde(graph.key_serde(self.id));
        graph.operation_mut(self.id).store = Some(store.into_plan());
        drop(graph);
        self
    }

    /// Declares a table; `rows` says how its rows are looked up, given its own id.
    pub(crate) fn declare(
        graph: &SharedGraph,
        operation: Operation,
        rows: impl FnOnce(OperationId) -> RowLookup<K, V>,
    ) -> Self {
        let id = graph.borrow_mut().declare(operation);
        KTable { graph: Rc::clone(graph), id, rows: rows(id) }
    }
}
