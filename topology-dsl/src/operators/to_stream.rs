//! `to_stream`: a table's changes as a stream.

use std::marker::PhantomData;

use millstream_processor::Change;
use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};

use crate::logical::{Effect, Operation, OperationKind};
use crate::stream::KStream;
use crate::table::KTable;

impl<K: Clone + 'static, V: Clone + 'static> KTable<K, V> {
    /// The changes of the table: the new value of a row, `None` when it was deleted. How many of several changes of a row
    /// come out depends on caching (see [`StoreOptions::without_caching`](crate::StoreOptions::without_caching)).
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.table::<String, i64>("prices").filter(|_sku, cents| *cents > 100).to_stream().to("dear-products");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let prices = driver.input_topic::<String, i64>("prices");
    /// prices.pipe_input("apples", 120)?;
    /// prices.pipe_input("apples", 80)?;
    /// let dear = driver.output_topic::<String, Option<i64>>("dear-products");
    /// assert_eq!(dear.read_key_values_to_list()?, [("apples".into(), Some(120)), ("apples".into(), None)]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "toStream")]
    pub fn to_stream(&self) -> KStream<K, Option<V>> {
        KStream::declare(
            &self.graph,
            Operation {
                kind: OperationKind::Step { prefix: "KTABLE-TOSTREAM-", effect: Effect::Passes },
                parents: vec![self.id],
                name: None,
                store: None,
                write: Box::new(|place| {
                    place.add_processor(|_| Ok(NewValues::<K, V> { types: PhantomData }))
                }),
            },
        )
    }
}

struct NewValues<K, V> {
    types: PhantomData<(K, V)>,
}

impl<K: Clone + 'static, V: Clone + 'static> Processor for NewValues<K, V> {
    type KeyIn = K;
    type ValueIn = Change<V>;
    type KeyOut = K;
    type ValueOut = Option<V>;

    #[inline]
    fn process(
        &mut self,
        record: Record<K, Change<V>>,
        context: &mut ProcessorContext<'_, K, Option<V>>,
    ) -> Result<(), Failure> {
        let Record { key, value, timestamp, headers } = record;
        context.forward(Record { key, value: value.new, timestamp, headers })
    }
}
