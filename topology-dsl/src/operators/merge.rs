//! `merge`: the records of two streams as one.

use std::marker::PhantomData;
use std::rc::Rc;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};

use crate::logical::{Operation, OperationKind};
use crate::stream::KStream;

/// What a stream with keys `K` and values `V` can be merged with: a `&KStream` of the same types.
///
/// The trait cannot be implemented outside of this crate.
#[diagnostic::on_unimplemented(
    message = "a stream with keys `{K}` and values `{V}` cannot be merged with `{Self}`",
    label = "the types differ, or this is no stream",
    note = "records of one stream are of one type: give both streams the same keys and values with `map` or `map_values` first",
    note = "a stream is merged by reference: `web.merge(&shop)`; a table is one after `to_stream`"
)]
pub trait MergeTarget<K, V>: sealed::Sealed {
    #[doc(hidden)]
    fn stream(&self) -> &KStream<K, V>;
}

impl<K, V> MergeTarget<K, V> for &KStream<K, V> {
    fn stream(&self) -> &KStream<K, V> {
        self
    }
}

mod sealed {
    pub trait Sealed {}
    impl<K, V> Sealed for &crate::stream::KStream<K, V> {}
}

impl<K: Clone + 'static, V: Clone + 'static> KStream<K, V> {
    /// The records of both streams. Order is kept within each of them, not between them.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let web = builder.stream::<String, i64>("web-orders");
    /// let shop = builder.stream::<String, i64>("shop-orders");
    /// web.merge(&shop).to("orders");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("shop-orders").pipe_input("apples", 1)?;
    /// driver.input_topic::<String, i64>("web-orders").pipe_input("pears", 2)?;
    /// let orders = driver.output_topic::<String, i64>("orders");
    /// assert_eq!(orders.read_key_values_to_list()?, [("apples".into(), 1), ("pears".into(), 2)]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    ///
    /// # Panics
    /// If the streams were made from different builders.
    #[track_caller]
    pub fn merge(&self, other: impl MergeTarget<K, V>) -> KStream<K, V> {
        let other = other.stream();
        assert!(Rc::ptr_eq(&self.graph, &other.graph), "only streams of one StreamsBuilder can be merged");
        KStream::declare(
            &self.graph,
            Operation {
                kind: OperationKind::Merge,
                parents: vec![self.id, other.id],
                name: None,
                store: None,
                write: Box::new(|place| place.add_processor(|_| Ok(PassOn::<K, V> { types: PhantomData }))),
            },
        )
    }
}

/// Hands records on as they are: where streams meet, or part.
pub(super) struct PassOn<K, V> {
    pub(super) types: PhantomData<(K, V)>,
}

impl<K: Clone + 'static, V: Clone + 'static> Processor for PassOn<K, V> {
    type KeyIn = K;
    type ValueIn = V;
    type KeyOut = K;
    type ValueOut = V;

    #[inline]
    fn process(
        &mut self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, K, V>,
    ) -> Result<(), Failure> {
        context.forward(record)
    }
}

#[cfg(test)]
mod tests {
    use crate::StreamsBuilder;
    use crate::operators::test_support::{driver, pipe_all, text, written};

    #[test]
    fn one_changed_key_above_is_enough_to_repartition() {
        let driver = driver(|builder| {
            let web = builder.stream::<String, i64>("web-orders");
            let shop =
                builder.stream::<String, i64>("shop-orders").select_key(|till, _| till.replace("till-", ""));
            web.merge(&shop).group_by_key().count(()).to_stream().to("counts");
        });
        pipe_all(&driver.input_topic::<String, i64>("shop-orders"), [("till-apples", 1)]);
        pipe_all(&driver.input_topic::<String, i64>("web-orders"), [("apples", 1)]);
        assert_eq!(written(&driver.output_topic("counts")), [(text("apples"), 1_u64), (text("apples"), 2)]);
    }

    #[test]
    #[should_panic(expected = "only streams of one StreamsBuilder can be merged")]
    fn streams_of_two_builders_are_refused() {
        let (one, other) = (StreamsBuilder::new(), StreamsBuilder::new());
        one.stream::<String, i64>("orders").merge(&other.stream("orders"));
    }
}
