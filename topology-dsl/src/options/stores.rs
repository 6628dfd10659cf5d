//! Stores of processors: added to a program, connected to a processor, or brought along by it.

use std::sync::Arc;

use millstream_processor::{HasSerde, KeyValueStoreBuilder, StoreBuilder, StoreName};

use super::materialized::{Materialized, StorePlan};

/// A store for [`StreamsBuilder::add_store`](crate::StreamsBuilder::add_store): a [`StoreName`], one with
/// [`StoreOptions`](crate::StoreOptions), or any builder of a store converts into it.
pub struct AddedStore {
    pub(crate) plan: StorePlan,
}

impl<K: HasSerde, V: HasSerde> From<Materialized<K, V>> for AddedStore {
    fn from(store: Materialized<K, V>) -> Self {
        AddedStore { plan: store.into_plan() }
    }
}

impl<K: HasSerde, V: HasSerde> From<StoreName<K, V>> for AddedStore {
    fn from(store: StoreName<K, V>) -> Self {
        Materialized::from(store).into()
    }
}

impl From<Arc<dyn StoreBuilder>> for AddedStore {
    fn from(builder: Arc<dyn StoreBuilder>) -> Self {
        let name = Some(builder.name().to_string());
        let build = Box::new(move |_name: &str, _logged_to| Arc::clone(&builder));
        // For how long it knows older versions matters to tables alone, which keep no rows in stores that were added.
        AddedStore {
            plan: StorePlan { name, is_given: true, history_retention: None, has_ttl: false, build },
        }
    }
}

impl<K: Clone + 'static, V: Clone + 'static> From<KeyValueStoreBuilder<K, V>> for AddedStore {
    fn from(builder: KeyValueStoreBuilder<K, V>) -> Self {
        let builder: Arc<dyn StoreBuilder> = Arc::new(builder);
        builder.into()
    }
}

/// The stores a processor is connected with, and may take from its [`Wiring`](crate::api::Wiring). `()` is none; a [`StoreName`], a string,
/// an array or a vector of strings names stores that the program has: of its tables, or added by
/// [`StreamsBuilder::add_store`](crate::StreamsBuilder::add_store).
///
/// Processors that are connected with the same store belong to one sub-topology: each task of it has one partition of the store.
///
/// ```
/// use millstream::prelude::*;
///
/// const STOCK: StoreName<String, i64> = StoreName::new("stock");
/// const SEEN: StoreName<String, u64> = StoreName::new("seen");
///
/// let one: ConnectedStores = STOCK.into();
/// let two: ConnectedStores = [STOCK.name(), SEEN.name()].into();
/// let with_one_of_its_own = ConnectedStores::bringing(SEEN.in_memory()).and(STOCK);
/// ```
#[derive(Default)]
pub struct ConnectedStores {
    pub(crate) names: Vec<String>,
    pub(crate) brought: Vec<StorePlan>,
}

impl ConnectedStores {
    /// A store that the processor brings along: it is added to the program, and connected (Kafka Streams' `ConnectedStoreProvider`).
    ///
    /// ```
    /// use millstream::api::{Failure, Processor, ProcessorContext, Record};
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    /// use millstream::{KeyValueStore, ValueAndTimestamp};
    ///
    /// const SEEN: StoreName<String, bool> = StoreName::new("seen-orders");
    ///
    /// struct FirstOnly { seen: KeyValueStore<String, bool> }
    ///
    /// impl Processor for FirstOnly {
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
    ///         if self.seen.get(&order.key)?.is_some() {
    ///             return Ok(());
    ///         }
    ///         self.seen.put(&order.key, Some(ValueAndTimestamp::new(true, order.timestamp)))?;
    ///         context.forward(order)
    ///     }
    /// }
    ///
    /// /// Nobody who calls this has to know that it keeps state.
    /// fn without_repetitions(orders: &KStream<String, i64>) -> KStream<String, i64> {
    ///     orders.process(ConnectedStores::bringing(SEEN), |wiring| Ok(FirstOnly { seen: wiring.store(SEEN)? }))
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// without_repetitions(&builder.stream("orders")).to("first-orders");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let orders = driver.input_topic::<String, i64>("orders");
    /// orders.pipe_input("order-1", 3)?;
    /// orders.pipe_input("order-1", 3)?;
    /// assert_eq!(driver.output_topic::<String, i64>("first-orders").len(), 1);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "ConnectedStoreProvider")]
    pub fn bringing(store: impl Into<AddedStore>) -> Self {
        let AddedStore { plan } = store.into();
        ConnectedStores { names: plan.name.iter().cloned().collect(), brought: vec![plan] }
    }

    /// These and others.
    #[must_use]
    pub fn and(mut self, others: impl Into<ConnectedStores>) -> Self {
        let others = others.into();
        self.names.extend(others.names);
        self.brought.extend(others.brought);
        self
    }
}

impl From<()> for ConnectedStores {
    fn from((): ()) -> Self {
        ConnectedStores::default()
    }
}

impl<K, V> From<StoreName<K, V>> for ConnectedStores {
    fn from(store: StoreName<K, V>) -> Self {
        store.name().into()
    }
}

impl From<&str> for ConnectedStores {
    fn from(store: &str) -> Self {
        [store].into()
    }
}

impl<const COUNT: usize> From<[&str; COUNT]> for ConnectedStores {
    fn from(stores: [&str; COUNT]) -> Self {
        stores.map(str::to_string).to_vec().into()
    }
}

impl From<Vec<String>> for ConnectedStores {
    fn from(names: Vec<String>) -> Self {
        ConnectedStores { names, brought: Vec::new() }
    }
}
