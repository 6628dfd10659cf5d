//! `process`: a processor of the program's own in a stream.

use std::sync::Arc;

use millstream_processor::Result;
use millstream_processor::api::{Processor, Wiring};

use crate::logical::{Effect, Operation, OperationKind};
use crate::options::ConnectedStores;
use crate::stream::KStream;

impl<K: Clone + 'static, V: Clone + 'static> KStream<K, V> {
    /// Passes the stream through a [`Processor`], with the stores it is connected with. The supplier is called once for each task and makes a
    /// new processor each time.
    ///
    /// Since the processor may forward any keys, what groups or joins the result gets a repartition topic; see
    /// [`process_values`](Self::process_values) for a processor that cannot change keys.
    ///
    /// ```
    /// use millstream::api::{Failure, Processor, ProcessorContext, Record};
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    /// use millstream::KeyValueStore;
    ///
    /// const STOCK: StoreName<String, i64> = StoreName::new("stock");
    ///
    /// /// Answers an order of a sku by its number: whether all of it is on hand.
    /// struct Answer { stock: KeyValueStore<String, i64> }
    ///
    /// impl Processor for Answer {
    ///     type KeyIn = String;
    ///     type ValueIn = (u64, i64);
    ///     type KeyOut = u64;
    ///     type ValueOut = bool;
    ///
    ///     fn process(
    ///         &mut self,
    ///         order: Record<String, (u64, i64)>,
    ///         context: &mut ProcessorContext<'_, u64, bool>,
    ///     ) -> Result<(), Failure> {
    ///         let (number, quantity) = order.value;
    ///         let is_on_hand = self.stock.read(&order.key, |row| row.is_some_and(|row| row.value >= quantity))?;
    ///         context.forward(order.with_key(number).with_value(is_on_hand))
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.table::<String, i64>("stock").materialized(STOCK);
    /// let orders = builder.stream::<String, String>("orders").try_map_values(|_sku, order| {
    ///     let (number, quantity) = order.split_once(':').unwrap_or_default();
    ///     Ok::<_, std::num::ParseIntError>((number.parse()?, quantity.parse()?))
    /// });
    /// orders.process(STOCK, |wiring| Ok(Answer { stock: wiring.store(STOCK)? })).to("answers");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("stock").pipe_input("apples", 5)?;
    /// driver.input_topic::<String, String>("orders").pipe_input("apples", "17:3")?;
    /// assert_eq!(driver.output_topic::<u64, bool>("answers").read_key_value()?, Some((17, true)));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "ProcessorSupplier")]
    pub fn process<P>(
        &self,
        stores: impl Into<ConnectedStores>,
        supplier: impl Fn(&Wiring<'_>) -> Result<P> + Send + Sync + 'static,
    ) -> KStream<P::KeyOut, P::ValueOut>
    where
        P: Processor<KeyIn = K, ValueIn = V>,
    {
        self.declare_process("KSTREAM-PROCESSOR-", Effect::ChangesKeys, stores.into(), supplier)
    }

    pub(super) fn declare_process<P>(
        &self,
        prefix: &'static str,
        effect: Effect,
        stores: ConnectedStores,
        supplier: impl Fn(&Wiring<'_>) -> Result<P> + Send + Sync + 'static,
    ) -> KStream<P::KeyOut, P::ValueOut>
    where
        P: Processor<KeyIn = K, ValueIn = V>,
    {
        let supplier = Arc::new(supplier);
        let ConnectedStores { names, brought } = stores;
        brought.into_iter().for_each(|store| self.graph.borrow_mut().add_store(store));
        KStream::declare(
            &self.graph,
            Operation {
                kind: OperationKind::Process { prefix, effect, stores: names },
                parents: vec![self.id],
                name: None,
                store: None,
                write: Box::new(move |place| {
                    let supplier = Arc::clone(&supplier);
                    place.add_processor(move |wiring| supplier(wiring))
                }),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use millstream_processor::api::{
        Child, Failure, Headers, Processor, ProcessorContext, Punctuation, PunctuationType, Record, Wiring,
    };
    use millstream_processor::{
        CommittedStore, KeyValueStore, RecordLocation, Result, StoreName, ValueAndTimestamp,
    };

    use crate::operators::test_support::{at, driver, pipe_all, pipe_at, text, written, written_at};
    use crate::{ConnectedStores, StoreOptions, StreamsBuilder};

    const TOTALS: StoreName<String, i64> = StoreName::new("totals");

    type Context<'a> = ProcessorContext<'a, String, i64>;

    /// Adds orders up, and forwards the sum of each.
    struct Total {
        totals: KeyValueStore<String, i64>,
    }

    impl Total {
        fn supply(wiring: &Wiring<'_>) -> Result<Self> {
            Ok(Total { totals: wiring.store(TOTALS)? })
        }
    }

    impl Processor for Total {
        type KeyIn = String;
        type ValueIn = i64;
        type KeyOut = String;
        type ValueOut = i64;

        fn process(&mut self, order: Record<String, i64>, context: &mut Context<'_>) -> Result<(), Failure> {
            let total = self.totals.get(&order.key)?.map_or(0, |row| row.value) + order.value;
            self.totals.put(&order.key, Some(ValueAndTimestamp::new(total, order.timestamp)))?;
            if order.value == 13 {
                return Err(std::io::Error::other("an unlucky number").into());
            }
            context.forward(order.with_value(total))
        }
    }

    #[test]
    fn a_processor_sees_all_of_a_record_and_where_it_is_from_and_changes_all_of_it() {
        struct Rewrite;

        impl Processor for Rewrite {
            type KeyIn = String;
            type ValueIn = i64;
            type KeyOut = i64;
            type ValueOut = String;

            fn process(
                &mut self,
                order: Record<String, i64>,
                context: &mut ProcessorContext<'_, i64, String>,
            ) -> Result<(), Failure> {
                let location = context.task().location().cloned();
                let RecordLocation { topic, partition, offset } =
                    location.expect("a record is from somewhere");
                let Record { key, value, timestamp, headers } = order.clone();
                let source = headers.last("source").flatten();
                let seen = format!("{topic} {partition} {offset}: {key} {value} {timestamp} {source:?}");
                let mut headers = Headers::default();
                headers.push("rewritten", None);
                let rewritten = order.with_key(value).with_value(seen);
                context.forward(rewritten.with_timestamp(at(value)).with_headers(headers))
            }
        }

        let driver = driver(|builder| {
            builder.stream::<String, i64>("orders").process((), |_| Ok(Rewrite)).to("rewritten");
        });
        let orders = driver.input_topic::<String, i64>("orders");
        pipe_at(&orders, "pears", 4, 60);
        let mut headers = Headers::default();
        headers.push("source", Some("web".into()));
        let order = Record::new(text("apples"), 3, at(70)).with_headers(headers);
        orders.pipe_record(order).expect("the record is processed");
        let rewritten = driver.output_topic::<i64, String>("rewritten");
        let rewritten = rewritten.read_records_to_list().expect("outputs decode");
        let seen = text("orders 0 1: apples 3 70 Some(b\"web\")");
        let mut headers = Headers::default();
        headers.push("rewritten", None);
        assert_eq!(rewritten[1], Record { key: 3, value: seen, timestamp: at(3), headers });
    }

    #[test]
    fn a_global_store_is_kept_by_its_processor_and_read_by_all_others() {
        const SKU_OF_NAME: StoreName<String, i64> = StoreName::new("sku-of-name");

        struct ByName(KeyValueStore<String, i64>);

        impl Processor for ByName {
            type KeyIn = i64;
            type ValueIn = String;
            type KeyOut = String;
            type ValueOut = i64;

            fn process(
                &mut self,
                product: Record<i64, String>,
                context: &mut Context<'_>,
            ) -> Result<(), Failure> {
                let Record { key: sku, value: name, timestamp, .. } = product;
                self.0.put(&name, Some(ValueAndTimestamp::new(sku, timestamp)))?;
                context.forward(Record::new(name, sku, timestamp)) // goes nowhere
            }
        }

        struct Lookup(CommittedStore<String, i64>);

        impl Processor for Lookup {
            type KeyIn = String;
            type ValueIn = i64;
            type KeyOut = String;
            type ValueOut = i64;

            fn process(
                &mut self,
                order: Record<String, i64>,
                context: &mut Context<'_>,
            ) -> Result<(), Failure> {
                let sku = self.0.get(&order.key)?.map_or(0, |row| row.value);
                context.forward(order.with_value(sku))
            }
        }

        let driver = driver(|builder| {
            let supplier = |wiring: &Wiring<'_>| Ok(ByName(wiring.store(SKU_OF_NAME)?));
            builder.add_global_store(SKU_OF_NAME, "products", supplier);
            let orders = builder.stream::<String, i64>("orders");
            orders.process((), |wiring| Ok(Lookup(wiring.global_store(SKU_OF_NAME.name())?))).to("skus");
        });
        pipe_all(&driver.input_topic::<i64, String>("products"), [(17, "apples")]);
        pipe_all(&driver.input_topic::<String, i64>("orders"), [("apples", 3), ("pears", 4)]);
        assert_eq!(written(&driver.output_topic("skus")), [(text("apples"), 17_i64), (text("pears"), 0)]);
    }

    #[test]
    fn processors_share_a_store_that_was_added() {
        let driver = driver(|builder| {
            builder.add_store(TOTALS.in_memory());
            builder.stream::<String, i64>("web-orders").process(TOTALS, Total::supply).to("web");
            builder.stream::<String, i64>("shop-orders").process(TOTALS, Total::supply).to("shop");
        });
        pipe_all(&driver.input_topic::<String, i64>("web-orders"), [("apples", 3)]);
        pipe_all(&driver.input_topic::<String, i64>("shop-orders"), [("apples", 4)]);
        assert_eq!(written(&driver.output_topic("web")), [(text("apples"), 3_i64)]);
        assert_eq!(written(&driver.output_topic("shop")), [(text("apples"), 7_i64)]);
    }

    #[test]
    fn a_record_that_fails_leaves_no_trace_in_the_store() {
        let driver = driver(|builder| {
            let orders = builder.stream::<String, i64>("orders");
            orders.process(ConnectedStores::bringing(TOTALS), Total::supply).to("totals");
        });
        pipe_all(
            &driver.input_topic::<String, i64>("orders"),
            [("apples", 3), ("apples", 13), ("apples", 4)],
        );
        assert_eq!(written(&driver.output_topic("totals")), [(text("apples"), 3_i64), (text("apples"), 7)]);
        assert_eq!(driver.skipped_records(), 1);
    }

    #[test]
    fn a_table_may_lend_its_store() {
        let driver = driver(|builder| {
            let totals = builder.stream::<String, i64>("deliveries").group_by_key();
            totals.reduce(TOTALS, |sum, delivered| sum + delivered);
            builder.stream::<String, i64>("orders").process(TOTALS, Total::supply).to("totals");
        });
        pipe_all(&driver.input_topic::<String, i64>("deliveries"), [("apples", 10), ("apples", 5)]);
        pipe_all(&driver.input_topic::<String, i64>("orders"), [("apples", -1)]);
        assert_eq!(written(&driver.output_topic("totals")), [(text("apples"), 14_i64)]);
    }

    #[test]
    fn what_follows_is_repartitioned_when_it_is_grouped() {
        let builder = StreamsBuilder::new();
        builder.add_store(TOTALS);
        let totals = builder.stream::<String, i64>("orders").process(TOTALS, Total::supply);
        totals.group_by_key().count(());
        let topology = builder.build().expect("the program is right");
        assert_eq!(topology.repartition_topics().len(), 1);
    }

    /// Sends each order to a child of its own, and once a second, by stream time, how many there were to all.
    struct BySize {
        bulk: Child,
        orders: i64,
    }

    impl Processor for BySize {
        type KeyIn = String;
        type ValueIn = i64;
        type KeyOut = String;
        type ValueOut = i64;

        fn init(&mut self, context: &mut Context<'_>) -> Result<(), Failure> {
            context.schedule(Duration::from_secs(1), PunctuationType::StreamTime).map(drop)
        }

        fn process(
            &mut self,
            mut order: Record<String, i64>,
            context: &mut Context<'_>,
        ) -> Result<(), Failure> {
            self.orders += 1;
            if order.value > 100 {
                order.headers.push("size", Some("bulk".into()));
                return context.forward_to(self.bulk, order);
            }
            Ok(())
        }

        fn punctuate(&mut self, punctuation: Punctuation, context: &mut Context<'_>) -> Result<(), Failure> {
            context.forward(Record::new("orders".into(), self.orders, punctuation.time))
        }
    }

    #[test]
    fn a_named_child_gets_what_is_sent_to_it_and_all_get_the_rest() {
        let driver = driver(|builder| {
            let by_size = builder
                .stream::<String, i64>("orders")
                .process((), |wiring| Ok(BySize { bulk: wiring.child("to-bulk")?, orders: 0 }));
            by_size.to("all").named("to-all");
            by_size.filter(|_, _| true).named("to-bulk").to("bulk");
        });
        let orders = driver.input_topic::<String, i64>("orders");
        for (value, millis) in [(500, 1_000), (5, 1_500), (501, 2_100)] {
            pipe_at(&orders, "apples", value, millis);
        }
        let counts = [(text("orders"), 1_i64, 1_000), (text("orders"), 3, 2_100)];
        assert_eq!(written_at(&driver.output_topic("all")), counts);
        let bulk = driver.output_topic::<String, i64>("bulk").read_records_to_list().expect("they decode");
        let seen: Vec<(i64, bool)> =
            bulk.iter().map(|record| (record.value, record.headers.last("size").is_some())).collect();
        assert_eq!(seen, [(500, true), (1, false), (501, true), (3, false)]);
    }

    #[test]
    fn a_child_that_is_not_there_is_named_with_those_that_are() {
        let builder = StreamsBuilder::new();
        let by_size = builder
            .stream::<String, i64>("orders")
            .process((), |wiring| Ok(BySize { bulk: wiring.child("to-blulk")?, orders: 0 }));
        by_size.to("bulk").named("to-bulk");
        let topology = builder.build().expect("names are looked up when tasks are built");
        let refusal = millstream_processor::testing::TopologyTestDriver::new(topology).err();
        let refusal = refusal.map(|error| error.to_string()).unwrap_or_default();
        assert!(refusal.contains("forwards to its child to-blulk, but has to-bulk"), "{refusal}");
    }
}
