//! The handle of a stream. Its operators are in `operators`, one file each.

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use millstream_processor::api::Processor;
use millstream_processor::{RecordField, SerdeRef};

use crate::logical::{Effect, Operation, OperationId, OperationKind, SharedGraph};

/// A stream of records, each a fact by itself. What an operator returns is a new stream; the old one can be used on.
///
/// `K` and `V` are what closures see: `Option<..>` where nulls are let through.
pub struct KStream<K, V> {
    pub(crate) graph: SharedGraph,
    pub(crate) id: OperationId,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for KStream<K, V> {
    fn clone(&self) -> Self {
        KStream { graph: Rc::clone(&self.graph), id: self.id, types: PhantomData }
    }
}

impl<K, V> fmt::Debug for KStream<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KStream<{}, {}>", std::any::type_name::<K>(), std::any::type_name::<V>())
    }
}

impl<K: Clone + 'static, V: Clone + 'static> KStream<K, V> {
    /// Names the node of the operator that returned this stream, and the repartition topic it writes, if any. On a branch the
    /// name is put behind that of the split. The last name counts.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders").named("read-orders");
    /// orders.filter(|_sku, quantity| *quantity > 100).named("keep-bulk").to("bulk-orders").named("write-bulk");
    /// let text = builder.build()?.describe();
    /// assert!(text.contains("Processor: keep-bulk (stores: [])\n      --> write-bulk\n      <-- read-orders"));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "Named")]
    pub fn named(self, name: impl Into<String>) -> Self {
        self.graph.borrow_mut().operation_mut(self.id).name = Some(name.into());
        self
    }

    pub(crate) fn declare(graph: &SharedGraph, operation: Operation) -> Self {
        let id = graph.borrow_mut().declare(operation);
        KStream { graph: Rc::clone(graph), id, types: PhantomData }
    }

    /// The serde of the keys: that of the windows they come from, or that of their type.
    pub(crate) fn key_serde(&self) -> SerdeRef<K>
    where
        K: RecordField,
    {
        self.graph.borrow().key_serde(self.id).unwrap_or_else(K::field_serde)
    }

    /// Declares a step below this stream: a processor without state, made anew for each task.
    pub(crate) fn step<P>(
        &self,
        prefix: &'static str,
        effect: Effect,
        make: impl Fn() -> P + Clone + Send + Sync + 'static,
    ) -> KStream<P::KeyOut, P::ValueOut>
    where
        P: Processor<KeyIn = K, ValueIn = V>,
    {
        let operation = Operation {
            kind: OperationKind::Step { prefix, effect },
            parents: vec![self.id],
            name: None,
            store: None,
            write: Box::new(move |place| {
                let make = make.clone();
                place.add_processor(move |_| Ok(make()))
            }),
        };
        KStream::declare(&self.graph, operation)
    }
}

/// The end of a stream: what `to` and `for_each` return, so that they can be named.
pub struct StreamEnd {
    pub(crate) graph: SharedGraph,
    pub(crate) id: OperationId,
}

impl StreamEnd {
    /// Names the node, as [`KStream::named`] does.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("orders").to("order-archive").named("archive");
    /// assert!(builder.build()?.describe().contains("Sink: archive (topic: order-archive)"));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn named(self, name: impl Into<String>) -> Self {
        self.graph.borrow_mut().operation_mut(self.id).name = Some(name.into());
        self
    }
}

impl fmt::Debug for StreamEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamEnd")
    }
}
