//! The handle of a global table.

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use crate::logical::{Operation, OperationId, SharedGraph};

/// A table that every instance keeps whole, made by [`StreamsBuilder::global_table`](crate::StreamsBuilder::global_table). Streams are joined
/// with it by any key, with [`KStream::on`](crate::KStream::on).
pub struct GlobalKTable<K, V> {
    pub(crate) graph: SharedGraph,
    pub(crate) id: OperationId,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for GlobalKTable<K, V> {
    fn clone(&self) -> Self {
        GlobalKTable { graph: Rc::clone(&self.graph), id: self.id, types: PhantomData }
    }
}

impl<K, V> fmt::Debug for GlobalKTable<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GlobalKTable<{}, {}>", std::any::type_name::<K>(), std::any::type_name::<V>())
    }
}

impl<K, V> GlobalKTable<K, V> {
    /// Names the node that keeps the table, as [`KTable::named`](crate::KTable::named) does.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("orders").to("order-archive");
    /// builder.global_table::<String, String>("products", ()).named("products");
    /// let text = builder.build()?.describe();
    /// assert!(text.contains("Source: products-source (topics: [products])\n      --> products"));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "Named")]
    pub fn named(self, name: impl Into<String>) -> Self {
        self.graph.borrow_mut().operation_mut(self.id).name = Some(name.into());
        self
    }

    pub(crate) fn declare(graph: &SharedGraph, operation: Operation) -> Self {
        let id = graph.borrow_mut().declare(operation);
        GlobalKTable { graph: Rc::clone(graph), id, types: PhantomData }
    }
}
