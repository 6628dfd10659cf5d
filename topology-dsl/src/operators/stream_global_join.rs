//! `on`, and the `join` and `left_join` of a stream with a global table behind it.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
use millstream_processor::{BoxError, CommittedStore, Error, RecordField};

use super::with_key::{Joined, WithKey, joined};
use crate::global_table::GlobalKTable;
use crate::join::StreamJoinKind;
use crate::logical::{Operation, OperationKind};
use crate::stream::KStream;

impl<K: Clone + 'static, V: RecordField> KStream<K, V> {
    /// Chooses the key by which each record looks something up in a global table: `orders.on(|_, order| order.sku.clone()).join(&products, ..)`.
    /// The records keep their own keys. The key may be an `Option`, whose `None` finds nothing.
    ///
    /// Kafka Streams gives the selector to the join itself; here it comes first, so that the types of its arguments are known.
    #[doc(alias = "KeyValueMapper")]
    pub fn on<G, F>(&self, select: F) -> StreamOn<K, V, F>
    where
        F: Fn(&K, &V::NonNull) -> G + Send + Sync + 'static,
    {
        StreamOn { stream: self.clone(), select }
    }
}

/// A stream together with the key by which each of its records looks something up. Made by [`KStream::on`].
pub struct StreamOn<K, V, F> {
    stream: KStream<K, V>,
    select: F,
}

impl<K: Clone + 'static, V: RecordField, F> StreamOn<K, V, F> {
    /// Joins each record with the global table's row of the selected key, as the table is when the record is processed. Records without a
    /// row give no output; those with a null value, or for which no key is selected, are dropped and counted. A change of the table gives no
    /// output either.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let prices = builder.global_table::<String, i64>("prices", ());
    /// let orders = builder.stream::<u64, String>("orders");
    /// orders.on(|_number, sku| sku.clone()).join(&prices, |sku, cents| format!("{sku} for {cents}")).to("priced-orders");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("prices").pipe_input("apples", 30)?;
    /// let orders = driver.input_topic::<u64, String>("orders");
    /// orders.pipe_input(1_u64, "apples")?;
    /// orders.pipe_input(2_u64, "pears")?;
    /// let priced = driver.output_topic::<u64, String>("priced-orders");
    /// assert_eq!(priced.read_key_values_to_list()?, [(1, "apples for 30".into())]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn join<KG, VG, G, V2>(
        self,
        table: &GlobalKTable<KG, VG>,
        joiner: impl Fn(V::NonNull, &VG) -> V2 + Send + Sync + 'static,
    ) -> KStream<K, V2>
    where
        KG: 'static,
        VG: 'static,
        V2: Clone + 'static,
        G: Into<Option<KG>>,
        F: Fn(&K, &V::NonNull) -> G + Send + Sync + 'static,
    {
        self.try_join(table, move |value, row| Ok::<_, Infallible>(joiner(value, row)))
    }

    /// [`join`](Self::join) with a closure that can fail. A record it fails on goes to the handler of the stage `process`.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let prices = builder.global_table::<String, String>("prices", ());
    /// let orders = builder.stream::<u64, String>("orders");
    /// let cents = orders.on(|_number, sku| sku.clone()).try_join(&prices, |_sku, price| price.parse::<i64>());
    /// cents.to("prices-of-orders");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn try_join<KG, VG, G, V2, E>(
        self,
        table: &GlobalKTable<KG, VG>,
        joiner: impl Fn(V::NonNull, &VG) -> Result<V2, E> + Send + Sync + 'static,
    ) -> KStream<K, V2>
    where
        KG: 'static,
        VG: 'static,
        V2: Clone + 'static,
        G: Into<Option<KG>>,
        F: Fn(&K, &V::NonNull) -> G + Send + Sync + 'static,
        E: Into<BoxError>,
    {
        self.with_key().try_join(table, move |_key, value, row| joiner(value, row))
    }

    /// [`join`](Self::join), but a record without a row, or for which no key is selected, is joined with `None` (KIP-962).
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let prices = builder.global_table::<String, i64>("prices", ());
    /// let orders = builder.stream::<u64, String>("orders");
    /// orders.on(|_number, sku| sku.clone()).left_join(&prices, |_sku, cents| cents.copied().unwrap_or(-1)).to("prices-of-orders");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<u64, String>("orders").pipe_input(1_u64, "apples")?;
    /// let prices = driver.output_topic::<u64, i64>("prices-of-orders");
    /// assert_eq!(prices.read_key_value()?, Some((1, -1)));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "leftJoin")]
    #[track_caller]
    pub fn left_join<KG, VG, G, V2>(
        self,
        table: &GlobalKTable<KG, VG>,
        joiner: impl Fn(V::NonNull, Option<&VG>) -> V2 + Send + Sync + 'static,
    ) -> KStream<K, V2>
    where
        KG: 'static,
        VG: 'static,
        V2: Clone + 'static,
        G: Into<Option<KG>>,
        F: Fn(&K, &V::NonNull) -> G + Send + Sync + 'static,
    {
        self.try_left_join(table, move |value, row| Ok::<_, Infallible>(joiner(value, row)))
    }

    /// [`left_join`](Self::left_join) with a closure that can fail. See [`try_join`](Self::try_join).
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let prices = builder.global_table::<String, String>("prices", ());
    /// let orders = builder.stream::<u64, String>("orders");
    /// let cents = orders.on(|_number, sku| sku.clone()).try_left_join(&prices, |_sku, price| {
    ///     price.map_or(Ok(0), |price| price.parse::<i64>())
    /// });
    /// cents.to("prices-of-orders");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<u64, String>("orders").pipe_input(1_u64, "apples")?;
    /// let prices = driver.output_topic::<u64, i64>("prices-of-orders");
    /// assert_eq!(prices.read_key_value()?, Some((1, 0)));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn try_left_join<KG, VG, G, V2, E>(
        self,
        table: &GlobalKTable<KG, VG>,
        joiner: impl Fn(V::NonNull, Option<&VG>) -> Result<V2, E> + Send + Sync + 'static,
    ) -> KStream<K, V2>
    where
        KG: 'static,
        VG: 'static,
        V2: Clone + 'static,
        G: Into<Option<KG>>,
        F: Fn(&K, &V::NonNull) -> G + Send + Sync + 'static,
        E: Into<BoxError>,
    {
        self.with_key().try_left_join(table, move |_key, value, row| joiner(value, row))
    }
}

impl<K: Clone + 'static, V: RecordField, F> WithKey<StreamOn<K, V, F>> {
    /// [`StreamOn::join`] with a closure that gets the stream's key first. See [`StreamOn::with_key`].
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let products = builder.global_table::<String, String>("products", ());
    /// let orders = builder.stream::<u64, String>("orders");
    /// let named = orders.on(|_number, sku| sku.clone()).with_key();
    /// named.join(&products, |number, _sku, name| format!("order {number}: {name}")).to("ordered-products");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, String>("products").pipe_input("sku-1", "apples")?;
    /// driver.input_topic::<u64, String>("orders").pipe_input(7_u64, "sku-1")?;
    /// let ordered = driver.output_topic::<u64, String>("ordered-products");
    /// assert_eq!(ordered.read_key_value()?, Some((7, "order 7: apples".into())));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn join<KG, VG, G, V2>(
        self,
        table: &GlobalKTable<KG, VG>,
        joiner: impl Fn(&K, V::NonNull, &VG) -> V2 + Send + Sync + 'static,
    ) -> KStream<K, V2>
    where
        KG: 'static,
        VG: 'static,
        V2: Clone + 'static,
        G: Into<Option<KG>>,
        F: Fn(&K, &V::NonNull) -> G + Send + Sync + 'static,
    {
        self.try_join(table, move |key, value, row| Ok::<_, Infallible>(joiner(key, value, row)))
    }

    /// [`StreamOn::try_join`] with a closure that gets the stream's key first.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let weights = builder.global_table::<String, String>("weights", ());
    /// let orders = builder.stream::<u64, String>("orders");
    /// let weighed = orders.on(|_number, sku| sku.clone()).with_key();
    /// let lines = weighed.try_join(&weights, |number, _sku, grams| {
    ///     grams.parse::<i64>().map(|grams| format!("order {number}: {grams} g"))
    /// });
    /// lines.to("weights-of-orders");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn try_join<KG, VG, G, V2, E>(
        self,
        table: &GlobalKTable<KG, VG>,
        joiner: impl Fn(&K, V::NonNull, &VG) -> Result<V2, E> + Send + Sync + 'static,
    ) -> KStream<K, V2>
    where
        KG: 'static,
        VG: 'static,
        V2: Clone + 'static,
        G: Into<Option<KG>>,
        F: Fn(&K, &V::NonNull) -> G + Send + Sync + 'static,
        E: Into<BoxError>,
    {
        self.joined.join_global(table, StreamJoinKind::Inner, move |key, value, row| {
            row.map_or(Ok(None), |row| joined(joiner(key, value, row)))
        })
    }

    /// [`StreamOn::left_join`] with a closure that gets the stream's key first.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let products = builder.global_table::<String, String>("products", ());
    /// let orders = builder.stream::<u64, String>("orders");
    /// let named = orders.on(|_number, sku| sku.clone()).with_key();
    /// let lines = named.left_join(&products, |number, sku, name| format!("order {number}: {}", name.unwrap_or(&sku)));
    /// lines.to("ordered-products");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<u64, String>("orders").pipe_input(7_u64, "sku-1")?;
    /// let ordered = driver.output_topic::<u64, String>("ordered-products");
    /// assert_eq!(ordered.read_key_value()?, Some((7, "order 7: sku-1".into())));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "leftJoin")]
    #[track_caller]
    pub fn left_join<KG, VG, G, V2>(
        self,
        table: &GlobalKTable<KG, VG>,
        joiner: impl Fn(&K, V::NonNull, Option<&VG>) -> V2 + Send + Sync + 'static,
    ) -> KStream<K, V2>
    where
        KG: 'static,
        VG: 'static,
        V2: Clone + 'static,
        G: Into<Option<KG>>,
        F: Fn(&K, &V::NonNull) -> G + Send + Sync + 'static,
    {
        self.try_left_join(table, move |key, value, row| Ok::<_, Infallible>(joiner(key, value, row)))
    }

    /// [`StreamOn::try_left_join`] with a closure that gets the stream's key first.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let weights = builder.global_table::<String, String>("weights", ());
    /// let orders = builder.stream::<u64, String>("orders");
    /// let weighed = orders.on(|_number, sku| sku.clone()).with_key();
    /// let lines = weighed.try_left_join(&weights, |number, _sku, grams| {
    ///     let grams = grams.map_or(Ok(0), |grams| grams.parse::<i64>());
    ///     grams.map(|grams| format!("order {number}: {grams} g"))
    /// });
    /// lines.to("weights-of-orders");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn try_left_join<KG, VG, G, V2, E>(
        self,
        table: &GlobalKTable<KG, VG>,
        joiner: impl Fn(&K, V::NonNull, Option<&VG>) -> Result<V2, E> + Send + Sync + 'static,
    ) -> KStream<K, V2>
    where
        KG: 'static,
        VG: 'static,
        V2: Clone + 'static,
        G: Into<Option<KG>>,
        F: Fn(&K, &V::NonNull) -> G + Send + Sync + 'static,
        E: Into<BoxError>,
    {
        self.joined
            .join_global(table, StreamJoinKind::Left, move |key, value, row| joined(joiner(key, value, row)))
    }
}

impl<K: Clone + 'static, V: RecordField, F> StreamOn<K, V, F> {
    /// Declares the join. `joiner` gets the stream's key and value and the table's value, and makes an output or none.
    #[track_caller]
    fn join_global<KG, VG, G, V2, J>(
        self,
        table: &GlobalKTable<KG, VG>,
        kind: StreamJoinKind,
        joiner: J,
    ) -> KStream<K, V2>
    where
        KG: 'static,
        VG: 'static,
        V2: Clone + 'static,
        G: Into<Option<KG>>,
        F: Fn(&K, &V::NonNull) -> G + Send + Sync + 'static,
        J: Fn(&K, V::NonNull, Option<&VG>) -> Joined<V2> + Send + Sync + 'static,
    {
        let StreamOn { stream, select } = self;
        assert!(
            Rc::ptr_eq(&stream.graph, &table.graph),
            "only streams and tables of one StreamsBuilder can be joined"
        );
        let (select, joiner, table) = (Arc::new(select), Arc::new(joiner), table.id);
        KStream::declare(
            &stream.graph,
            Operation {
                kind: OperationKind::GlobalJoin { accepts_null_keys: kind == StreamJoinKind::Left },
                parents: vec![stream.id],
                name: None,
                store: None,
                write: Box::new(move |place| {
                    let store = place.plan.operation(table).store.clone();
                    let store =
                        store.ok_or_else(|| Error::fatal("a global table was planned without a store"))?;
                    let (select, joiner) = (Arc::clone(&select), Arc::clone(&joiner));
                    place.add_processor(move |wiring| {
                        Ok(GlobalJoin::<K, V, KG, VG, V2, F, J> {
                            rows: wiring.global_store(&store)?,
                            kind,
                            select: Arc::clone(&select),
                            joiner: Arc::clone(&joiner),
                            types: PhantomData,
                        })
                    })
                }),
            },
        )
    }
}

struct GlobalJoin<K, V, KG, VG, V2, F, J> {
    rows: CommittedStore<KG, VG>,
    kind: StreamJoinKind,
    select: Arc<F>,
    joiner: Arc<J>,
    types: PhantomData<(K, V, V2)>,
}

impl<K, V, KG, VG, G, V2, F, J> Processor for GlobalJoin<K, V, KG, VG, V2, F, J>
where
    K: Clone + 'static,
    V: RecordField,
    KG: 'static,
    VG: 'static,
    V2: Clone + 'static,
    G: Into<Option<KG>>,
    F: Fn(&K, &V::NonNull) -> G + 'static,
    J: Fn(&K, V::NonNull, Option<&VG>) -> Joined<V2> + 'static,
{
    type KeyIn = K;
    type ValueIn = V;
    type KeyOut = K;
    type ValueOut = V2;

    fn process(
        &mut self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, K, V2>,
    ) -> Result<(), Failure> {
        let Record { key, value, timestamp, headers } = record;
        let Some(value) = value.into_non_null() else {
            context.task().drop_record();
            return Ok(());
        };
        let row = match ((self.select)(&key, &value).into(), self.kind) {
            (Some(selected), _) => self.rows.get(&selected)?,
            (None, StreamJoinKind::Left) => None,
            (None, StreamJoinKind::Inner) => {
                context.task().drop_record();
                return Ok(());
            }
        };
        match (self.joiner)(&key, value, row.as_ref().map(|row| &row.value))? {
            Some(value) => context.forward(Record { key, value, timestamp, headers }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::operators::test_support::{
        driver, driver_without_commits, pipe_all, pipe_at, text, written, written_at,
    };
    use crate::{StoreName, StreamsBuilder};

    const PRICES: StoreName<String, i64> = StoreName::new("prices");

    #[test]
    fn the_selected_key_decides_and_the_records_keep_their_own() {
        let driver = driver(|builder| {
            let prices = builder.global_table::<String, i64>("prices", PRICES);
            let orders = builder.stream::<u64, String>("orders");
            orders.on(|_, sku| sku.clone()).join(&prices, |sku, cents| format!("{sku} {cents}")).to("priced");
        });
        let prices = driver.input_topic::<String, Option<i64>>("prices");
        let orders = driver.input_topic::<u64, String>("orders");
        pipe_all(&prices, [("apples", Some(30)), ("pears", Some(40))]);
        pipe_all(&orders, [(1_u64, "apples"), (2, "pears"), (3, "plums")]);
        pipe_all(&prices, [("apples", None), ("pears", Some(41))]);
        pipe_at(&orders, 4_u64, "pears", 7);
        pipe_all(&orders, [(5_u64, "apples")]);
        let expected = [(1_u64, text("apples 30")), (2, text("pears 40")), (4, text("pears 41"))];
        let found = written_at(&driver.output_topic::<u64, String>("priced"));
        assert_eq!(found.last().map(|(key, _, time)| (*key, *time)), Some((4, 7)), "the stream's time");
        let found: Vec<_> = found.into_iter().map(|(key, value, _)| (key, value)).collect();
        assert_eq!(found, expected);
        let store = driver.key_value_store(PRICES).expect("the table has a store");
        assert_eq!(store.get(&text("apples")).expect("it can be read"), None);
    }

    #[test]
    fn nulls_are_dropped_by_an_inner_join_and_values_by_a_left_join() {
        let driver = driver(|builder| {
            let prices = builder.global_table::<String, i64>("prices", ());
            let orders = builder.stream::<Option<u64>, Option<String>>("orders");
            let sku = |_: &Option<u64>, sku: &String| Some(sku.clone()).filter(|sku| !sku.is_empty());
            orders.on(sku).join(&prices, |sku, cents| format!("{sku} {cents}")).to("inner");
            orders.on(sku).left_join(&prices, |sku, cents| format!("{sku} {cents:?}")).to("left");
        });
        pipe_all(
            &driver.input_topic::<Option<String>, i64>("prices"),
            [(Some(text("apples")), 30), (None, 9)],
        );
        assert_eq!(driver.dropped_records(), 1, "the table drops a null key");
        let orders = driver.input_topic::<Option<u64>, Option<String>>("orders");
        pipe_all(&orders, [(Some(1_u64), Some(text("apples"))), (None, Some(text("apples")))]);
        pipe_all(&orders, [(Some(2_u64), Some(text(""))), (Some(3), Some(text("plums")))]);
        assert_eq!(driver.dropped_records(), 2, "the inner join drops what selects no key");
        pipe_all(&orders, [(Some(4_u64), None)]);
        assert_eq!(driver.dropped_records(), 4, "both joins drop a null value");
        let inner = [(Some(1_u64), text("apples 30")), (None, text("apples 30"))];
        assert_eq!(written(&driver.output_topic::<Option<u64>, String>("inner")), inner);
        let left = [
            (Some(1), text("apples Some(30)")),
            (None, text("apples Some(30)")),
            (Some(2), text(" None")),
            (Some(3), text("plums None")),
        ];
        assert_eq!(written(&driver.output_topic::<Option<u64>, String>("left")), left);
    }

    #[test]
    fn a_joiner_may_see_the_key_and_may_fail() {
        let driver = driver(|builder| {
            let prices = builder.global_table::<String, String>("prices", ());
            let orders = builder.stream::<u64, String>("orders");
            let on_sku = || orders.on(|_, sku| sku.clone()).with_key();
            on_sku()
                .try_join(&prices, |number, _, cents| cents.parse().map(|cents: u64| number * cents))
                .to("inner");
            on_sku().left_join(&prices, |number, sku, cents| format!("{number} {sku} {cents:?}")).to("left");
        });
        let prices = driver.input_topic::<String, String>("prices");
        pipe_all(&prices, [("apples", "30"), ("pears", "dear")]);
        let orders = driver.input_topic::<u64, String>("orders");
        pipe_all(&orders, [(2_u64, "apples"), (3, "pears"), (4, "plums")]);
        assert_eq!(driver.skipped_records(), 1);
        assert_eq!(written(&driver.output_topic::<u64, u64>("inner")), [(2, 60)]);
        let left = [(2, text("2 apples Some(\"30\")")), (4, text("4 plums None"))];
        assert_eq!(written(&driver.output_topic::<u64, String>("left")), left);
    }

    #[test]
    fn a_change_of_the_table_is_seen_without_a_commit_and_gives_no_output() {
        let driver = driver_without_commits(|builder| {
            let orders = builder.stream::<u64, String>("orders");
            let prices = builder.global_table::<String, i64>("prices", ());
            orders.on(|_, sku| sku.clone()).join(&prices, |_, cents| *cents).to("prices-of-orders");
        });
        let (prices, orders) =
            (driver.input_topic::<String, i64>("prices"), driver.input_topic::<u64, String>("orders"));
        let written_prices = driver.output_topic::<u64, i64>("prices-of-orders");
        for cents in [30, 31] {
            pipe_all(&prices, [("apples", cents)]);
            assert_eq!(written(&written_prices), []);
            pipe_all(&orders, [(1_u64, "apples")]);
            assert_eq!(written(&written_prices), [(1, cents)]);
        }
        assert!(!driver.produced_topic_names().iter().any(|topic| topic.ends_with("-changelog")));
    }

    #[test]
    fn what_cannot_be_read_is_skipped_also_where_it_was_to_be_a_dead_letter() {
        let builder = StreamsBuilder::new();
        let prices = builder.global_table::<String, i64>("prices", ());
        let orders = builder.stream::<u64, String>("orders");
        orders.on(|_, sku| sku.clone()).join(&prices, |_, cents| *cents).to("prices-of-orders");
        let mut settings = millstream_processor::Settings::new("none");
        settings.handlers = millstream_processor::handlers::Handlers::all(
            millstream_processor::handlers::Reaction::DeadLetter,
        );
        let topology = builder.build().expect("the program is right");
        let driver = millstream_processor::testing::TopologyTestDriver::builder(topology);
        let driver = driver.settings(settings).build().expect("the topology can be run");
        let prices = driver.input_topic::<String, i64>("prices");
        prices.pipe_raw(Some(b"apples"), Some(b"no number")).expect("it is skipped");
        pipe_all(&prices, [("apples", 30)]);
        pipe_all(&driver.input_topic::<u64, String>("orders"), [(1_u64, "apples")]);
        assert_eq!(driver.skipped_records(), 1);
        assert_eq!(written(&driver.output_topic::<u64, i64>("prices-of-orders")), [(1, 30)]);
    }

    #[test]
    fn several_streams_and_tables_meet() {
        let driver = driver(|builder| {
            let names = builder.global_table::<String, String>("names", ());
            let prices = builder.global_table::<String, i64>("prices", PRICES);
            let orders = builder.stream::<u64, String>("orders");
            let named = orders.on(|_, sku| sku.clone()).join(&names, |sku, name| (sku, name.clone()));
            let priced = named.map_values(|_, (sku, name)| format!("{sku}/{name}"));
            let sku = |_: &u64, text: &String| text.split('/').next().map(str::to_owned);
            priced.on(sku).join(&prices, |text, cents| format!("{text}/{cents}")).to("priced");
            let returns = builder.stream::<u64, String>("returns");
            returns.on(|_, sku| sku.clone()).join(&prices, |_, cents| -cents).to("refunds");
        });
        pipe_all(&driver.input_topic::<String, String>("names"), [("sku-1", "apples")]);
        pipe_all(&driver.input_topic::<String, i64>("prices"), [("sku-1", 30)]);
        pipe_all(&driver.input_topic::<u64, String>("orders"), [(1_u64, "sku-1")]);
        pipe_all(&driver.input_topic::<u64, String>("returns"), [(2_u64, "sku-1")]);
        assert_eq!(written(&driver.output_topic::<u64, String>("priced")), [(1, text("sku-1/apples/30"))]);
        assert_eq!(written(&driver.output_topic::<u64, i64>("refunds")), [(2, -30)]);
    }

    #[test]
    #[should_panic(expected = "only streams and tables of one StreamsBuilder can be joined")]
    fn a_table_of_another_builder_is_refused() {
        let (one, other) = (StreamsBuilder::new(), StreamsBuilder::new());
        let prices = other.global_table::<String, i64>("prices", ());
        one.stream::<u64, String>("orders").on(|_, sku| sku.clone()).join(&prices, |_, cents| *cents);
    }
}
