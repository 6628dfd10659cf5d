//! `on`, and the `join` and `left_join` of a table with another one by a key in its rows (KIP-213, KIP-1104).
//!
//! A row of the left table subscribes to the row of the right table that it refers to, which lives in another task: a record goes there
//! through one topic, and answers come back through another. `send` is the left side of the first, `receive` its right side, `answer` the
//! right side of the second, and `resolve` its left side.

mod answer;
mod receive;
mod resolve;
mod send;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use millstream_processor::api::{Failure, Record};
use millstream_processor::topology::{Consumed, Partitions, RepartitionTopic, Sink, TopicName};
use millstream_processor::{
    BoxError, HasSerde, KeyValueStoreBuilder, OptionSerde, Result, SerdeRef, SubscriptionResponseWrapper,
    SubscriptionResponseWrapperSerde, SubscriptionWrapper, SubscriptionWrapperSerde, ValueHash,
};

use self::answer::{AnswerChange, AnswerSubscription};
use self::receive::SubscriptionReceive;
use self::resolve::ResponseResolver;
use self::send::SubscriptionSend;
use super::newest_only::NewestOnly;
use super::rows::{RowLookup, stored_rows};
use super::table_keeper::TableKeeper;
use super::with_key::{Joined, joined};
use crate::logical::{
    ForeignKeyJoinNodes, Operation, OperationKind, Place, ResponseNames, SubscriptionNames,
};
use crate::options::Materialized;
use crate::table::KTable;

impl<K: HasSerde, V: HasSerde> KTable<K, V> {
    /// Chooses the key of another table that each row refers to: `orders.on(|id, order| order.customer.clone()).join(&customers, ..)`. The
    /// rows keep their own keys. The key may be an `Option`, whose `None` refers to nothing.
    ///
    /// Kafka Streams gives the selector to the join itself; here it comes first, so that the types of its arguments are known.
    #[doc(alias = "foreignKeyExtractor")]
    pub fn on<G, F>(&self, select: F) -> TableOn<K, V, F>
    where
        F: Fn(&K, &V) -> G + Send + Sync + 'static,
    {
        TableOn { table: self.clone(), select }
    }
}

/// A table together with the key of another table that each of its rows refers to. Made by [`KTable::on`].
pub struct TableOn<K, V, F> {
    table: KTable<K, V>,
    select: F,
}

impl<K: HasSerde, V: HasSerde, F> TableOn<K, V, F> {
    /// A row, under its own key, for each row that refers to a row that is there. It is made anew when either changes, and deleted when either
    /// is, or when the row refers to nothing any more. A row that refers to nothing is dropped and counted.
    ///
    /// Many rows may refer to one, and a change of that one row makes all of them anew. Both tables are kept in stores, and the references in
    /// another; the result is if it is given one by [`KTable::materialized`], or if an operator below needs one. Requests and answers go
    /// through two topics, so the result is up to date a moment later; answers to a value that a row no longer has are dropped. The value must
    /// therefore always be written as the same bytes. A foreign value that is written as no bytes at all counts as none.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let customer_of_order = builder.table::<u64, String>("customer-of-order");
    /// let addresses = builder.table::<String, String>("addresses");
    /// customer_of_order
    ///     .on(|_order, customer| customer.clone())
    ///     .join(&addresses, |customer, address| format!("{customer}, {address}"))
    ///     .to_stream()
    ///     .to("shipping-labels");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let addresses = driver.input_topic::<String, String>("addresses");
    /// addresses.pipe_input("Ann", "Paris")?;
    /// driver.input_topic::<u64, String>("customer-of-order").pipe_input(7_u64, "Ann")?;
    /// addresses.pipe_input("Ann", "Rome")?;
    /// let labels = driver.output_topic::<u64, String>("shipping-labels");
    /// assert_eq!(labels.read_key_values_to_list()?, [(7, "Ann, Paris".into()), (7, "Ann, Rome".into())]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn join<KF, VF, G, R>(
        self,
        table: &KTable<KF, VF>,
        joiner: impl Fn(&V, &VF) -> R + Send + Sync + 'static,
    ) -> KTable<K, R>
    where
        KF: HasSerde,
        VF: HasSerde,
        R: HasSerde,
        G: Into<Option<KF>>,
        F: Fn(&K, &V) -> G + Send + Sync + 'static,
    {
        self.try_join(table, move |value, foreign| Ok::<_, Infallible>(joiner(value, foreign)))
    }

    /// [`join`](Self::join) with a closure that can fail. The answer it fails on goes to the handler of the stage `process`, and the row stays
    /// as it was.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.table::<u64, String>("orders");
    /// let prices = builder.table::<String, String>("prices");
    /// let cents = orders.on(|_order, sku| sku.clone()).try_join(&prices, |_sku, price| price.parse::<i64>());
    /// cents.to_stream().to("prices-of-orders");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn try_join<KF, VF, G, R, E>(
        self,
        table: &KTable<KF, VF>,
        joiner: impl Fn(&V, &VF) -> Result<R, E> + Send + Sync + 'static,
    ) -> KTable<K, R>
    where
        KF: HasSerde,
        VF: HasSerde,
        R: HasSerde,
        G: Into<Option<KF>>,
        F: Fn(&K, &V) -> G + Send + Sync + 'static,
        E: Into<BoxError>,
    {
        self.join_foreign(table, ForeignKeyJoinKind::Inner, move |value, foreign| {
            foreign.map_or(Ok(None), |foreign| joined(joiner(value, foreign)))
        })
    }

    /// [`join`](Self::join), but a row that refers to nothing, or to a row that is not there, is joined with `None`.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let customer_of_order = builder.table::<u64, String>("customer-of-order");
    /// let addresses = builder.table::<String, String>("addresses");
    /// customer_of_order
    ///     .on(|_order, customer| Some(customer.clone()).filter(|customer| customer != "guest"))
    ///     .left_join(&addresses, |customer, address| format!("{customer}, {}", address.map_or("to be asked", |address| address)))
    ///     .to_stream()
    ///     .to("shipping-labels");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let orders = driver.input_topic::<u64, String>("customer-of-order");
    /// orders.pipe_input(7_u64, "guest")?;
    /// orders.pipe_input(8_u64, "Ann")?;
    /// driver.input_topic::<String, String>("addresses").pipe_input("Ann", "Paris")?;
    /// let labels = driver.output_topic::<u64, String>("shipping-labels").read_key_values_to_list()?;
    /// assert_eq!(labels, [(7, "guest, to be asked".into()), (8, "Ann, to be asked".into()), (8, "Ann, Paris".into())]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "leftJoin")]
    #[track_caller]
    pub fn left_join<KF, VF, G, R>(
        self,
        table: &KTable<KF, VF>,
        joiner: impl Fn(&V, Option<&VF>) -> R + Send + Sync + 'static,
    ) -> KTable<K, R>
    where
        KF: HasSerde,
        VF: HasSerde,
        R: HasSerde,
        G: Into<Option<KF>>,
        F: Fn(&K, &V) -> G + Send + Sync + 'static,
    {
        self.try_left_join(table, move |value, foreign| Ok::<_, Infallible>(joiner(value, foreign)))
    }

    /// [`left_join`](Self::left_join) with a closure that can fail. See [`try_join`](Self::try_join).
    #[track_caller]
    pub fn try_left_join<KF, VF, G, R, E>(
        self,
        table: &KTable<KF, VF>,
        joiner: impl Fn(&V, Option<&VF>) -> Result<R, E> + Send + Sync + 'static,
    ) -> KTable<K, R>
    where
        KF: HasSerde,
        VF: HasSerde,
        R: HasSerde,
        G: Into<Option<KF>>,
        F: Fn(&K, &V) -> G + Send + Sync + 'static,
        E: Into<BoxError>,
    {
        self.join_foreign(table, ForeignKeyJoinKind::Left, move |value, foreign| {
            joined(joiner(value, foreign))
        })
    }

    /// Declares the join. `join` makes a row of a row and the one it refers to, if these make one.
    #[track_caller]
    fn join_foreign<KF, VF, G, R, J>(
        self,
        foreign: &KTable<KF, VF>,
        kind: ForeignKeyJoinKind,
        join: J,
    ) -> KTable<K, R>
    where
        KF: HasSerde,
        VF: HasSerde,
        R: HasSerde,
        G: Into<Option<KF>>,
        F: Fn(&K, &V) -> G + Send + Sync + 'static,
        J: Fn(&V, Option<&VF>) -> Joined<R> + Send + Sync + 'static,
    {
        let TableOn { table, select } = self;
        assert!(Rc::ptr_eq(&table.graph, &foreign.graph), "only tables of one StreamsBuilder can be joined");
        let (key_serde, foreign_key_serde) = {
            let graph = table.graph.borrow();
            (
                graph.key_serde::<K>(table.id),
                graph.key_serde::<KF>(foreign.id).unwrap_or_else(KF::default_serde),
            )
        };
        let store = Materialized::<K, R>::from(()).with_inherited_key_serde(key_serde.clone());
        let nodes = ForeignKeyJoin {
            kind,
            key_serde: key_serde.unwrap_or_else(K::default_serde),
            foreign_key_serde,
            rows: Rc::clone(&table.rows),
            foreign_rows: Rc::clone(&foreign.rows),
            select: Arc::new(move |key: &K, value: &V| -> Option<KF> { select(key, value).into() }),
            join: Arc::new(join),
            types: PhantomData,
        };
        KTable::declare(
            &table.graph,
            Operation {
                kind: OperationKind::ForeignKeyJoin { nodes: Box::new(nodes) },
                parents: vec![table.id, foreign.id],
                name: None,
                store: Some(store.into_plan()),
                write: TableKeeper::<K, Option<R>>::write(),
            },
            stored_rows,
        )
    }
}

/// What happens to a row that refers to nothing, or to a row that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ForeignKeyJoinKind {
    /// It gives no row.
    Inner,
    /// It is joined with `None`.
    Left,
}

/// The typed nodes of a join of a table of `K` and `V` with one of `KF` and `VF`.
struct ForeignKeyJoin<K, V, KF, VF, R, F, J> {
    kind: ForeignKeyJoinKind,
    key_serde: SerdeRef<K>,
    foreign_key_serde: SerdeRef<KF>,
    rows: RowLookup<K, V>,
    foreign_rows: RowLookup<KF, VF>,
    select: Arc<F>,
    join: Arc<J>,
    types: PhantomData<fn() -> R>,
}

impl<K, V, KF, VF, R, F, J> ForeignKeyJoinNodes for ForeignKeyJoin<K, V, KF, VF, R, F, J>
where
    K: HasSerde,
    V: HasSerde,
    KF: HasSerde,
    VF: HasSerde,
    R: HasSerde,
    F: Fn(&K, &V) -> Option<KF> + Send + Sync + 'static,
    J: Fn(&V, Option<&VF>) -> Joined<R> + Send + Sync + 'static,
{
    fn write_subscription(&self, place: &mut Place<'_>, names: &SubscriptionNames) -> Result<()> {
        let SubscriptionNames { topic, send, sink } = names;
        let (kind, select, newest_only) = (self.kind, Arc::clone(&self.select), NewestOnly::of(place));
        let foreign_key_serde = self.foreign_key_serde.clone();
        place.topology.add_processor(send, &place.parents, &[], move |_| {
            let (select, foreign_key_serde) = (Arc::clone(&select), foreign_key_serde.clone());
            Ok(SubscriptionSend::<K, V, KF, F>::new(kind, select, newest_only, foreign_key_serde))
        })?;
        let foreign_key_serde: SerdeRef<Option<KF>> =
            Arc::new(OptionSerde::new(self.foreign_key_serde.clone()));
        let serdes = (foreign_key_serde, self.subscription_serde());
        let to = Sink::topic(TopicName::Internal(topic.clone()));
        write_topic(place, topic, sink, &[send], to, serdes)
    }

    fn write_response(&self, place: &mut Place<'_>, names: &ResponseNames) -> Result<()> {
        let ResponseNames { store, receive, join, foreign_join, topic, sink } = names;
        let [registration, foreign_table] = [0, 1].map(|parent| place.parents.get(parent).copied());
        let subscriptions = KeyValueStoreBuilder::new(store, Vec::<u8>::serde(), self.subscription_serde());
        place.topology.add_state_store(Arc::new(subscriptions))?;
        let store_of_receive = store.clone();
        let (parent, stores) = (registration.as_slice(), [store.as_str()]);
        let serdes = (self.key_serde.clone(), self.foreign_key_serde.clone());
        place.topology.add_processor(receive, parent, &stores, move |wiring| {
            let subscriptions = wiring.key_value_store(&store_of_receive)?;
            Ok(SubscriptionReceive::<K, KF>::new(subscriptions, serdes.clone()))
        })?;
        let open_rows = (self.foreign_rows)(place.plan)?;
        place.topology.add_processor(join, &[receive], &place.stores, move |wiring| {
            Ok(AnswerSubscription::<K, KF, VF>::new(open_rows(wiring)?))
        })?;
        let (store_of_change, newest_only) = (store.clone(), NewestOnly::of(place));
        let foreign_key_serde = self.foreign_key_serde.clone();
        place.topology.add_processor(foreign_join, foreign_table.as_slice(), &stores, move |wiring| {
            let subscriptions = wiring.key_value_store(&store_of_change)?;
            Ok(AnswerChange::<K, KF, VF>::new(subscriptions, foreign_key_serde.clone(), newest_only))
        })?;
        let response_serde: SerdeRef<SubscriptionResponseWrapper<VF>> =
            Arc::new(SubscriptionResponseWrapperSerde::new(VF::default_serde()));
        // The answer goes to the partition of the row, however the left table's topic is partitioned.
        let to = Sink::topic(TopicName::Internal(topic.clone())).partitioned_by(
            |answer: &Record<K, SubscriptionResponseWrapper<VF>>, _| match answer.value.primary_partition {
                Some(partition) => Partitions::One(partition.get()),
                None => Partitions::ByKey,
            },
        );
        write_topic(place, topic, sink, &[join, foreign_join], to, (self.key_serde.clone(), response_serde))
    }

    fn write_resolver(&self, place: &mut Place<'_>) -> Result<()> {
        let (open_rows, join) = ((self.rows)(place.plan)?, Arc::clone(&self.join));
        place.add_processor(move |wiring| {
            Ok(ResponseResolver::<K, V, VF, R, J>::new(open_rows(wiring)?, Arc::clone(&join)))
        })
    }
}

/// A topic between two tasks: its sink below these nodes, and its source, which the place names.
fn write_topic<K: Clone + 'static, V: Clone + 'static>(
    place: &mut Place<'_>,
    topic: &str,
    sink: &str,
    parents: &[&str],
    to: Sink<K, V>,
    (key_serde, value_serde): (SerdeRef<K>, SerdeRef<V>),
) -> Result<()> {
    let source_topics = vec![TopicName::Internal(topic.to_string())];
    let consumed = Consumed::with(key_serde.clone(), value_serde.clone());
    place.topology.add_repartition_topic(RepartitionTopic { name: topic.to_string(), partitions: None })?;
    place.topology.add_sink(sink, parents, to, key_serde, value_serde)?;
    place.topology.add_source(place.name, source_topics, consumed)
}

impl<K: HasSerde, V, KF, VF, R, F, J> ForeignKeyJoin<K, V, KF, VF, R, F, J> {
    fn subscription_serde(&self) -> SerdeRef<SubscriptionWrapper<K>> {
        Arc::new(SubscriptionWrapperSerde::new(self.key_serde.clone()))
    }
}

/// Hashes the values of the left table, as they are written.
struct ValueHasher<V> {
    serde: SerdeRef<V>,
    /// Reused for encoded values.
    bytes: Vec<u8>,
}

impl<V: HasSerde> ValueHasher<V> {
    fn new() -> Self {
        ValueHasher { serde: V::serde(), bytes: Vec::new() }
    }

    /// The hash of a row's value; none if there is no row.
    fn hash(&mut self, value: Option<&V>) -> Result<Option<ValueHash>, Failure> {
        let Some(value) = value else { return Ok(None) };
        self.bytes.clear();
        self.serde.encode(value, &mut self.bytes)?;
        Ok(Some(ValueHash::of(&self.bytes)))
    }
}
