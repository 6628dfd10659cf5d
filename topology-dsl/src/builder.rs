//! Where a program begins: streams and tables from topics, and the topology at the end.

use std::sync::Arc;

use millstream_processor::api::{Processor, Wiring};
use millstream_processor::{HasSerde, RecordField, Result, Topology};

use crate::global_table::GlobalKTable;
use crate::logical::{Operation, OperationKind, Place, ReuseTopic, SharedGraph, WriteNode};
use crate::operators::{TableKeeper, stored_rows};
use crate::options::{AddedStore, Materialized, Source, SourceTopics, StoreFor, TopologyOptimization};
use crate::stream::KStream;
use crate::table::KTable;

/// Collects a program and makes a [`Topology`] of it. Handles made from one builder stay connected to it; `build` borrows, so they
/// need not be dropped.
///
/// ```
/// use millstream::prelude::*;
///
/// let builder = StreamsBuilder::new();
/// builder.stream::<String, i64>("stock-movements").filter(|_sku, moved| *moved != 0).to("real-movements");
/// println!("{}", builder.build()?.describe());
/// # Ok::<(), millstream::Error>(())
/// ```
#[derive(Default)]
pub struct StreamsBuilder {
    graph: SharedGraph,
}

impl StreamsBuilder {
    /// A program without operators.
    pub fn new() -> Self {
        StreamsBuilder::default()
    }

    /// Lets [`build`](Self::build) leave out topics and stores that the results do not need; [`TopologyOptimization`] says which. Without this,
    /// a program is built as it was declared.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// const PER_CUSTOMER: StoreName<String, u64> = StoreName::new("orders-per-customer");
    ///
    /// let builder = StreamsBuilder::new().optimized(TopologyOptimization::ALL);
    /// let customers = builder.table::<String, String>("customers");
    /// let orders = builder.stream::<u64, String>("orders").select_key(|_number, customer| customer.clone());
    /// orders.group_by_key().count(PER_CUSTOMER);
    /// orders.join(&customers, |_order, customer| customer.clone()).to("ordering-customers");
    ///
    /// // One topic for both the count and the join; and `customers` is its own changelog.
    /// let topology = builder.build()?;
    /// let repartitioned: Vec<_> = topology.repartition_topics().iter().map(|topic| topic.name.as_str()).collect();
    /// assert_eq!(repartitioned, ["orders-per-customer-repartition"]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "topology.optimization")]
    #[must_use]
    pub fn optimized(self, optimization: TopologyOptimization) -> Self {
        self.graph.borrow_mut().optimization = optimization;
        self
    }

    /// Reads topics as a stream. `Option<..>` as a type lets nulls through; without it a null is an error of the stage `decode`.
    ///
    /// Two streams of the same topics share one source node.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("orders").to("order-archive");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("apples", 3)?;
    /// let archive = driver.output_topic::<String, i64>("order-archive");
    /// assert_eq!(archive.read_key_value()?, Some(("apples".into(), 3)));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn stream<K: RecordField, V: RecordField>(&self, source: impl Into<Source<K, V>>) -> KStream<K, V> {
        let source = source.into();
        let heartbeats = source.heartbeats();
        let (topics, write) = read(source);
        let topics = topics.names();
        let kind = OperationKind::StreamSource { topics, types: std::any::type_name::<(K, V)>(), heartbeats };
        let operation = Operation { kind, parents: Vec::new(), name: None, store: None, write };
        KStream::declare(&self.graph, operation)
    }

    /// Reads a topic as a table: each record replaces the row of its key, a null value deletes it. A record with a null key is
    /// dropped and counted.
    ///
    /// The table keeps a store if it is given one by [`KTable::materialized`], or if an operator below needs one.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const PRODUCTS: StoreName<String, String> = StoreName::new("products");
    ///
    /// let builder = StreamsBuilder::new();
    /// let products = builder.table::<String, String>("products").materialized(PRODUCTS);
    /// let orders = builder.stream::<String, i64>("orders");
    /// orders.join(&products, |quantity, product| format!("{quantity} x {product}")).to("order-lines");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, String>("products").pipe_input("sku-1", "apples")?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("sku-1", 3)?;
    /// let lines = driver.output_topic::<String, String>("order-lines");
    /// assert_eq!(lines.read_key_value()?, Some(("sku-1".into(), "3 x apples".into())));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn table<K: HasSerde, V: HasSerde>(
        &self,
        source: impl Into<Source<Option<K>, Option<V>>>,
    ) -> KTable<K, V> {
        let source = source.into();
        let reuse_topic = reuse(&source);
        let (topics, write_source) = read(source);
        let operation = Operation {
            kind: OperationKind::TableSource { topics, write_source, reuse_topic },
            parents: Vec::new(),
            name: None,
            store: Some(Materialized::<K, V>::from(()).into_plan()),
            write: TableKeeper::<Option<K>, Option<V>>::write(),
        };
        KTable::declare(&self.graph, operation, stored_rows)
    }

    /// Reads a topic as a global table: every instance keeps all of it, in a store of its own. A stream of any key joins with it
    /// ([`KStream::on`]), without repartitioning; the store is queried by its name. Each record replaces the row of its key, a null value
    /// deletes it; a record with a null key is dropped and counted.
    ///
    /// The table is complete before the application processes its first record, and kept up from then on: a join sees the table as it is when
    /// its record is processed, in no order with the records of the topic. A record that cannot be read is skipped where its handler says
    /// dead letter: every instance would send one.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const PRODUCTS: StoreName<String, String> = StoreName::new("products");
    ///
    /// let builder = StreamsBuilder::new();
    /// let products = builder.global_table::<String, String>("products", PRODUCTS);
    /// let orders = builder.stream::<u64, String>("orders");
    /// orders.on(|_number, sku| sku.clone()).join(&products, |_sku, product| product.clone()).to("ordered-products");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, String>("products").pipe_input("sku-1", "apples")?;
    /// driver.input_topic::<u64, String>("orders").pipe_input(7_u64, "sku-1")?;
    /// let ordered = driver.output_topic::<u64, String>("ordered-products");
    /// assert_eq!(ordered.read_key_value()?, Some((7, "apples".into())));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "globalTable")]
    pub fn global_table<K: HasSerde, V: HasSerde>(
        &self,
        source: impl Into<Source<Option<K>, Option<V>>>,
        store: impl StoreFor<K, V>,
    ) -> GlobalKTable<K, V> {
        let write = TableKeeper::<Option<K>, Option<V>>::write();
        GlobalKTable::declare(&self.graph, keep_everywhere(source.into(), store.into(), write))
    }

    /// Adds a store for processors, which are connected with it by its name ([`ConnectedStores`](crate::ConnectedStores)). It is logged, kept on
    /// disk and caches what it logs, unless its options say otherwise.
    ///
    /// ```
    /// use millstream::api::{Failure, Processor, ProcessorContext, Record};
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    /// use millstream::{KeyValueStore, ValueAndTimestamp};
    ///
    /// const LAST_ORDER: StoreName<String, i64> = StoreName::new("last-order");
    ///
    /// /// By how much each order of a sku differs from the one before.
    /// struct Differences { last: KeyValueStore<String, i64> }
    ///
    /// impl Processor for Differences {
    ///     type KeyIn = String;
    ///     type ValueIn = i64;
    ///     type KeyOut = String;
    ///     type ValueOut = i64;
    ///
    ///     fn process(
    ///         &mut self,
    ///         order: Record<String, i64>,
    ///         context: &mut ProcessorContext<'_, String, i64>,
    ///     ) -> Result<(), Failure> {
    ///         let before = self.last.get(&order.key)?.map_or(0, |row| row.value);
    ///         self.last.put(&order.key, Some(ValueAndTimestamp::new(order.value, order.timestamp)))?;
    ///         let difference = order.value - before;
    ///         context.forward(order.with_value(difference))
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.add_store(LAST_ORDER.in_memory());
    /// builder
    ///     .stream::<String, i64>("orders")
    ///     .process(LAST_ORDER, |wiring| Ok(Differences { last: wiring.store(LAST_ORDER)? }))
    ///     .to("differences");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let orders = driver.input_topic::<String, i64>("orders");
    /// orders.pipe_input("apples", 10)?;
    /// orders.pipe_input("apples", 7)?;
    /// let differences = driver.output_topic::<String, i64>("differences");
    /// assert_eq!(differences.read_key_values_to_list()?, [("apples".into(), 10), ("apples".into(), -3)]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "addStateStore")]
    pub fn add_store(&self, store: impl Into<AddedStore>) {
        self.graph.borrow_mut().add_store(store.into().plan);
    }

    /// Adds a store that every instance keeps whole, filled from the topic by a processor of the program's own. All others may read it, by
    /// [`Wiring::global_store`](crate::api::Wiring::global_store), without being connected with it; it is queried by its name.
    ///
    /// As a [global table](Self::global_table), it is complete before the application processes its first record. It has no changelog: whenever
    /// the topic is read again, the processor processes it again, and must make the same rows of it. What it forwards goes nowhere.
    ///
    /// ```
    /// use millstream::api::{Failure, Processor, ProcessorContext, Record};
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    /// use millstream::{KeyValueStore, ValueAndTimestamp};
    ///
    /// const SKU_OF_NAME: StoreName<String, String> = StoreName::new("sku-of-name");
    ///
    /// /// Products by their names instead of their skus.
    /// struct ByName { skus: KeyValueStore<String, String> }
    ///
    /// impl Processor for ByName {
    ///     type KeyIn = String;
    ///     type ValueIn = String;
    ///     type KeyOut = ();
    ///     type ValueOut = ();
    ///
    ///     fn process(
    ///         &mut self,
    ///         product: Record<String, String>,
    ///         _context: &mut ProcessorContext<'_, (), ()>,
    ///     ) -> Result<(), Failure> {
    ///         let Record { key: sku, value: name, timestamp, .. } = product;
    ///         Ok(self.skus.put(&name, Some(ValueAndTimestamp::new(sku, timestamp)))?)
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.add_global_store(SKU_OF_NAME, "products", |wiring| {
    ///     Ok(ByName { skus: wiring.store(SKU_OF_NAME)? })
    /// });
    /// builder.stream::<String, i64>("orders").to("order-archive");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, String>("products").pipe_input("sku-1", "apples")?;
    /// let row = driver.key_value_store(SKU_OF_NAME)?.get(&"apples".into())?;
    /// assert_eq!(row.map(|row| row.value), Some("sku-1".into()));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "addGlobalStore")]
    pub fn add_global_store<K, V, P>(
        &self,
        store: impl StoreFor<K, V>,
        source: impl Into<Source<P::KeyIn, P::ValueIn>>,
        supplier: impl Fn(&Wiring<'_>) -> Result<P> + Send + Sync + 'static,
    ) where
        K: HasSerde,
        V: HasSerde,
        P: Processor<KeyIn: RecordField, ValueIn: RecordField>,
    {
        let supplier = Arc::new(supplier);
        let write: WriteNode = Box::new(move |place| {
            let supplier = Arc::clone(&supplier);
            place.add_processor(move |wiring| supplier(wiring))
        });
        self.graph.borrow_mut().declare(keep_everywhere(source.into(), store.into(), write));
    }

    /// The program so far, as a topology with all names given. It warns of stores and topics that keep data under a name that was generated
    /// ([`Topology::generated_names`]).
    ///
    /// # Errors
    /// `Invalid` for a name that is bad or taken, a topic that is read in two ways, a store whose types differ from its
    /// table's, or a program that reads nothing.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("orders").to("order-archive");
    /// let topology = builder.build()?;
    /// assert!(topology.describe().contains("Sink: KSTREAM-SINK-0000000001 (topic: order-archive)"));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn build(&self) -> Result<Topology> {
        let topology = self.graph.borrow().build()?;
        topology.warn_of_generated_names();
        Ok(topology)
    }
}

/// The topics of a source, and what writes the node that reads them.
fn read<K: RecordField, V: RecordField>(source: Source<K, V>) -> (SourceTopics, WriteNode) {
    let (topics, consumed) = source.into_parts();
    let read = topics.clone();
    let write = move |place: &mut Place<'_>| {
        let consumed = consumed.clone();
        match &read {
            SourceTopics::Named(topics) => place.topology.add_source(place.name, topics.clone(), consumed),
            SourceTopics::Matching(pattern) => {
                place.topology.add_source_of_pattern(place.name, pattern.clone(), consumed)
            }
        }
    };
    (topics, Box::new(write))
}

/// What makes a table's topic the changelog of its store.
fn reuse<K: HasSerde, V: HasSerde>(source: &Source<Option<K>, Option<V>>) -> ReuseTopic {
    let (topics, consumed) = source.clone().into_parts();
    // The planner refuses a table that does not read one topic before this is called.
    Box::new(move |topology, store| {
        topology.connect_source_store_and_topic(store, topics.names()[0].clone(), consumed.clone())
    })
}

/// Keeps in a store of every instance what the node that is written so makes of a topic.
fn keep_everywhere<KIn, VIn, K, V>(
    source: Source<KIn, VIn>,
    store: Materialized<K, V>,
    write: WriteNode,
) -> Operation
where
    KIn: RecordField,
    VIn: RecordField,
    K: HasSerde,
    V: HasSerde,
{
    assert!(
        source.heartbeats().is_none(),
        "a global table takes no heartbeats: no operator waits for its time; give them to a stream"
    );
    let (topics, write_source) = read(source);
    Operation {
        kind: OperationKind::GlobalTable { topics, write_source },
        parents: Vec::new(),
        name: None,
        store: Some(store.into_global_plan()),
        write,
    }
}
