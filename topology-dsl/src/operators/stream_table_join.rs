//! `join` and `left_join` of a stream with a table.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record, Wiring};
use millstream_processor::{BoxError, HasSerde, RecordField, TimeFirstKey, Timestamp};

use super::record_buffer::{RecordBuffer, buffer_store};
use super::rows::Rows;
use super::stream_table_join_grace::GraceJoin;
use super::with_key::{Joined, WithKey, joined};
use crate::join::{JoinTarget, StreamJoinKind};
use crate::logical::{Operation, OperationKind, TypedTopic};
use crate::options::BufferLimits;
use crate::stream::KStream;

impl<K: RecordField, V: RecordField> KStream<K, V> {
    /// Joins each record with the table's row of the same key, as the table is when the record is processed; with a
    /// [versioned](crate::StoreOptions::versioned) table, as it was at the record's event time. Records without a row give no output. A
    /// change of the table gives no output either. Records with a null key or value are dropped and counted.
    ///
    /// Where keys changed above, the stream gets a repartition topic. Its partition count and the table's must be equal.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let prices = builder.table::<String, i64>("prices");
    /// let orders = builder.stream::<String, i64>("orders");
    /// orders.join(&prices, |quantity, cents| quantity * cents).to("order-values");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("prices").pipe_input("apples", 30)?;
    /// let orders = driver.input_topic::<String, i64>("orders");
    /// orders.pipe_input("apples", 3)?;
    /// orders.pipe_input("pears", 4)?;
    /// let values = driver.output_topic::<String, i64>("order-values");
    /// assert_eq!(values.read_key_values_to_list()?, [("apples".into(), 90)]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn join<T: JoinTarget<K>, V2: Clone + 'static>(
        &self,
        other: T,
        joiner: impl Fn(V::NonNull, &T::Value) -> V2 + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        self.try_join(other, move |value, row| Ok::<_, Infallible>(joiner(value, row)))
    }

    /// [`join`](Self::join) with a closure that can fail. A record it fails on goes to the handler of the stage `process`.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let prices = builder.table::<String, i64>("prices");
    /// let orders = builder.stream::<String, String>("orders");
    /// let values = orders.try_join(&prices, |quantity, cents| quantity.parse::<i64>().map(|quantity| quantity * cents));
    /// values.to("order-values");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn try_join<T: JoinTarget<K>, V2: Clone + 'static, E: Into<BoxError>>(
        &self,
        other: T,
        joiner: impl Fn(V::NonNull, &T::Value) -> Result<V2, E> + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        self.with_key().try_join(other, move |_key, value, row| joiner(value, row))
    }

    /// [`join`](Self::join), but a record without a row, or with a null key, is joined with `None`. Records with a null value are
    /// dropped and counted.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let stock = builder.table::<String, i64>("stock");
    /// let orders = builder.stream::<String, i64>("orders");
    /// orders.left_join(&stock, |quantity, on_hand| on_hand.copied().unwrap_or(0) >= quantity).to("can-be-delivered");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("stock").pipe_input("apples", 30)?;
    /// let orders = driver.input_topic::<String, i64>("orders");
    /// orders.pipe_input("apples", 3)?;
    /// orders.pipe_input("pears", 4)?;
    /// let answers = driver.output_topic::<String, bool>("can-be-delivered");
    /// assert_eq!(answers.read_key_values_to_list()?, [("apples".into(), true), ("pears".into(), false)]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "leftJoin")]
    #[track_caller]
    pub fn left_join<T: JoinTarget<K>, V2: Clone + 'static>(
        &self,
        other: T,
        joiner: impl Fn(V::NonNull, Option<&T::Value>) -> V2 + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        self.try_left_join(other, move |value, row| Ok::<_, Infallible>(joiner(value, row)))
    }

    /// [`left_join`](Self::left_join) with a closure that can fail. See [`try_join`](Self::try_join).
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let stock = builder.table::<String, i64>("stock");
    /// let orders = builder.stream::<String, String>("orders");
    /// let left = orders.try_left_join(&stock, |quantity, on_hand| {
    ///     quantity.parse::<i64>().map(|quantity| on_hand.copied().unwrap_or(0) - quantity)
    /// });
    /// left.to("left-in-stock");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, String>("orders").pipe_input("apples", "3")?;
    /// let left = driver.output_topic::<String, i64>("left-in-stock");
    /// assert_eq!(left.read_key_value()?, Some(("apples".into(), -3)));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn try_left_join<T: JoinTarget<K>, V2: Clone + 'static, E: Into<BoxError>>(
        &self,
        other: T,
        joiner: impl Fn(V::NonNull, Option<&T::Value>) -> Result<V2, E> + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        self.with_key().try_left_join(other, move |_key, value, row| joiner(value, row))
    }
}

impl<K: RecordField, V: RecordField> WithKey<KStream<K, V>> {
    /// [`KStream::join`] with a closure that gets the key first. See [`KStream::with_key`].
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let prices = builder.table::<String, i64>("prices");
    /// let orders = builder.stream::<String, i64>("orders").with_key();
    /// orders.join(&prices, |sku, quantity, cents| format!("{quantity} {sku} at {cents}")).to("invoices");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("prices").pipe_input("apples", 30)?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("apples", 3)?;
    /// let invoices = driver.output_topic::<String, String>("invoices");
    /// assert_eq!(invoices.read_key_value()?, Some(("apples".into(), "3 apples at 30".into())));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn join<T: JoinTarget<K>, V2: Clone + 'static>(
        self,
        other: T,
        joiner: impl Fn(&K, V::NonNull, &T::Value) -> V2 + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        self.try_join(other, move |key, value, row| Ok::<_, Infallible>(joiner(key, value, row)))
    }

    /// [`KStream::try_join`] with a closure that gets the key first.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let weights = builder.table::<u64, i64>("weight-of-parcel");
    /// let parcels = builder.stream::<u64, String>("parcels").with_key();
    /// let labels = parcels.try_join(&weights, |number, zone, grams| {
    ///     zone.parse::<i64>().map(|zone| format!("{number}: zone {zone}, {grams} g"))
    /// });
    /// labels.to("labels");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn try_join<T: JoinTarget<K>, V2: Clone + 'static, E: Into<BoxError>>(
        self,
        other: T,
        joiner: impl Fn(&K, V::NonNull, &T::Value) -> Result<V2, E> + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        join_stream_with_table(&self.joined, &other, StreamJoinKind::Inner, move |key, value, row| {
            row.map_or(Ok(None), |row| joined(joiner(key, value, row)))
        })
    }

    /// [`KStream::left_join`] with a closure that gets the key first, which is null for a record without one.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let prices = builder.table::<String, i64>("prices");
    /// let orders = builder.stream::<String, i64>("orders").with_key();
    /// let lines = orders.left_join(&prices, |sku, quantity, cents| match cents {
    ///     Some(cents) => format!("{quantity} {sku} at {cents}"),
    ///     None => format!("{quantity} {sku}, price on request"),
    /// });
    /// lines.to("offers");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("apples", 3)?;
    /// let offers = driver.output_topic::<String, String>("offers");
    /// assert_eq!(offers.read_key_value()?, Some(("apples".into(), "3 apples, price on request".into())));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "leftJoin")]
    #[track_caller]
    pub fn left_join<T: JoinTarget<K>, V2: Clone + 'static>(
        self,
        other: T,
        joiner: impl Fn(&K, V::NonNull, Option<&T::Value>) -> V2 + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        self.try_left_join(other, move |key, value, row| Ok::<_, Infallible>(joiner(key, value, row)))
    }

    /// [`KStream::try_left_join`] with a closure that gets the key first, which is null for a record without one.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let names = builder.table::<String, String>("names");
    /// let orders = builder.stream::<String, String>("orders").with_key();
    /// let lines = orders.try_left_join(&names, |sku, quantity, name| {
    ///     quantity.parse::<i64>().map(|quantity| format!("{quantity} {}", name.unwrap_or(sku)))
    /// });
    /// lines.to("order-lines");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn try_left_join<T: JoinTarget<K>, V2: Clone + 'static, E: Into<BoxError>>(
        self,
        other: T,
        joiner: impl Fn(&K, V::NonNull, Option<&T::Value>) -> Result<V2, E> + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        join_stream_with_table(&self.joined, &other, StreamJoinKind::Left, move |key, value, row| {
            joined(joiner(key, value, row))
        })
    }
}

/// Declares the join. `joiner` gets the stream's key and value and the table's value, and makes an output or none.
#[track_caller]
fn join_stream_with_table<K, V, T, V2, F>(
    stream: &KStream<K, V>,
    other: &T,
    kind: StreamJoinKind,
    joiner: F,
) -> KStream<K, V2>
where
    K: RecordField,
    V: RecordField,
    T: JoinTarget<K>,
    V2: Clone + 'static,
    F: Fn(&K, V::NonNull, Option<&T::Value>) -> Joined<V2> + Send + Sync + 'static,
{
    let (table, grace) = (other.table(), other.grace());
    assert!(
        Rc::ptr_eq(&stream.graph, &table.graph),
        "only streams and tables of one StreamsBuilder can be joined"
    );
    let (joiner, rows) = (Arc::new(joiner), Rc::clone(&table.rows));
    let prefix = match kind {
        StreamJoinKind::Inner => "KSTREAM-JOIN-",
        StreamJoinKind::Left => "KSTREAM-LEFTJOIN-",
    };
    let accepts_null_keys = kind == StreamJoinKind::Left;
    KStream::declare(
        &stream.graph,
        Operation {
            kind: OperationKind::StreamTableJoin {
                prefix,
                accepts_null_keys,
                grace,
                topic: TypedTopic::<K, V>::of_types(),
            },
            parents: vec![stream.id, table.id],
            name: None,
            store: grace.map(|_| {
                buffer_store::<TimeFirstKey<K::NonNull>, V::NonNull>(
                    HasSerde::default_serde(),
                    &BufferLimits::default(),
                    None,
                )
            }),
            write: Box::new(move |place| {
                let (open_rows, joiner) = (rows(place.plan)?, Arc::clone(&joiner));
                let join = move |wiring: &Wiring<'_>| {
                    Ok(StreamTableJoin::<K, V, T::Value, V2, F> {
                        rows: open_rows(wiring)?,
                        kind,
                        joiner: Arc::clone(&joiner),
                        types: PhantomData,
                    })
                };
                let Some(grace) = grace else { return place.add_processor(join) };
                let buffer = place.required_store()?;
                place.add_processor(move |wiring| {
                    Ok(GraceJoin::new(
                        join(wiring)?,
                        RecordBuffer::open(
                            wiring,
                            &buffer,
                            HasSerde::default_serde(),
                            |key: &TimeFirstKey<_>, _| key.time,
                            false,
                        )?,
                        grace,
                    ))
                })
            }),
        },
    )
}

pub(super) struct StreamTableJoin<K: RecordField, V, T, V2, F> {
    rows: Box<dyn Rows<K::NonNull, T>>,
    kind: StreamJoinKind,
    joiner: Arc<F>,
    types: PhantomData<(V, V2)>,
}

impl<K, V, T, V2, F> StreamTableJoin<K, V, T, V2, F>
where
    K: RecordField,
    V: RecordField,
    T: Clone + 'static,
    F: Fn(&K, V::NonNull, Option<&T>) -> Joined<V2> + 'static,
{
    /// What a value is joined to, if to anything, with the table as of this time.
    #[inline]
    pub(super) fn join(&self, key: &K, value: V::NonNull, as_of: Timestamp) -> Joined<V2> {
        let Some(row_key) = key.as_non_null() else { return (self.joiner)(key, value, None) };
        let (mut value, mut joined) = (Some(value), Ok(None));
        self.rows.read_as_of(row_key, Some(as_of), &mut |row| {
            if let Some(value) = value.take() {
                joined = (self.joiner)(key, value, row.map(|row| row.value));
            }
        })?;
        joined
    }
}

impl<K, V, T, V2, F> Processor for StreamTableJoin<K, V, T, V2, F>
where
    K: RecordField,
    V: RecordField,
    T: Clone + 'static,
    V2: Clone + 'static,
    F: Fn(&K, V::NonNull, Option<&T>) -> Joined<V2> + 'static,
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
        let Some(value) = value
            .into_non_null()
            .filter(|_| self.kind == StreamJoinKind::Left || key.as_non_null().is_some())
        else {
            context.task().drop_record();
            return Ok(());
        };
        match self.join(&key, value, timestamp)? {
            Some(value) => context.forward(Record { key, value, timestamp, headers }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::operators::test_support::{driver, pipe_all, pipe_at, text, written, written_at};

    #[test]
    fn an_inner_join_drops_nulls_and_a_left_join_only_null_values() {
        let driver = driver(|builder| {
            let prices = builder.table::<String, i64>("prices");
            let orders = builder.stream::<Option<String>, Option<i64>>("orders");
            orders.join(&prices, |quantity, price| quantity * price).to("inner");
            orders.left_join(&prices, |quantity, price| quantity * price.copied().unwrap_or(-1)).to("left");
        });
        pipe_all(&driver.input_topic::<String, i64>("prices"), [("apples", 30)]);
        let orders = driver.input_topic::<Option<String>, Option<i64>>("orders");
        pipe_all(&orders, [(Some(text("apples")), Some(2)), (Some(text("pears")), Some(3)), (None, Some(4))]);
        assert_eq!(driver.dropped_records(), 1, "the inner join drops the null key");
        pipe_all(&orders, [(Some(text("apples")), None)]);
        assert_eq!(driver.dropped_records(), 3, "both joins drop the null value");

        assert_eq!(written(&driver.output_topic("inner")), [(text("apples"), 60_i64)]);
        let left = [(Some(text("apples")), 60_i64), (Some(text("pears")), -3), (None, -4)];
        assert_eq!(written(&driver.output_topic("left")), left);
    }

    #[test]
    fn a_joiner_may_see_the_key_and_may_fail() {
        let driver = driver(|builder| {
            let prices = builder.table::<String, i64>("prices");
            let orders = builder.stream::<Option<String>, String>("orders");
            let value = |sku: &Option<String>, quantity: String, price: Option<&i64>| {
                quantity.parse::<i64>().map(|quantity| format!("{sku:?} {}", quantity * price.unwrap_or(&-1)))
            };
            orders.with_key().try_left_join(&prices, value).to("left");
            let inner =
                orders.with_key().try_join(&prices, move |sku, order, price| value(sku, order, Some(price)));
            inner.to("inner");
            orders
                .with_key()
                .join(&prices, |sku, order, price| format!("{sku:?} {order} {price}"))
                .to("seen");
        });
        pipe_all(&driver.input_topic::<String, i64>("prices"), [("apples", 30)]);
        let orders = driver.input_topic::<Option<String>, String>("orders");
        pipe_all(&orders, [(Some(text("apples")), "2"), (Some(text("apples")), "some"), (None, "4")]);
        assert_eq!(driver.skipped_records(), 1, "all of the record is taken back");
        let written = |topic| written(&driver.output_topic::<Option<String>, String>(topic));
        let apples = Some(text("apples"));
        let joined = (apples.clone(), text("Some(\"apples\") 60"));
        assert_eq!(written("inner"), std::slice::from_ref(&joined));
        assert_eq!(written("left"), [joined, (None, text("None -4"))]);
        assert_eq!(written("seen"), [(apples, text("Some(\"apples\") 2 30"))]);
    }

    #[test]
    fn a_change_of_the_table_alone_gives_no_output() {
        let driver = driver(|builder| {
            let prices = builder.table::<String, i64>("prices");
            builder
                .stream::<String, i64>("orders")
                .join(&prices, |quantity, price| quantity * price)
                .to("values");
        });
        let (orders, prices) = (
            driver.input_topic::<String, i64>("orders"),
            driver.input_topic::<String, Option<i64>>("prices"),
        );
        pipe_all(&orders, [("apples", 1)]);
        pipe_all(&prices, [("apples", Some(30))]);
        assert_eq!(written(&driver.output_topic::<String, i64>("values")), []);
        pipe_at(&orders, "apples", 2, 7);
        pipe_all(&prices, [("apples", None::<i64>)]);
        pipe_all(&orders, [("apples", 3)]);
        assert_eq!(written_at(&driver.output_topic("values")), [(text("apples"), 60_i64, 7)]);
    }

    #[test]
    fn rows_of_views_are_computed_from_the_table_above() {
        let driver = driver(|builder| {
            let prices = builder.table::<String, i64>("prices");
            let tags =
                prices.filter(|_, cents| *cents > 10).map_values(|sku, cents| format!("{sku} {cents}"));
            builder.stream::<String, i64>("orders").left_join(&tags, |_, tag| tag.cloned()).to("tags");
        });
        pipe_all(&driver.input_topic::<String, i64>("prices"), [("apples", 30), ("pears", 5)]);
        pipe_all(&driver.input_topic::<String, i64>("orders"), [("apples", 1), ("pears", 1), ("plums", 1)]);
        let expected =
            [(text("apples"), Some(text("apples 30"))), (text("pears"), None), (text("plums"), None)];
        assert_eq!(written(&driver.output_topic::<String, Option<String>>("tags")), expected);
    }

    #[test]
    fn changed_keys_go_through_a_repartition_topic() {
        let driver = driver(|builder| {
            let on_hand =
                builder.stream::<String, i64>("moves").group_by_key().reduce((), |sum, moved| sum + moved);
            let orders = builder.stream::<String, String>("orders").select_key(|_, sku| sku.clone());
            orders.join(&on_hand, |_, on_hand| *on_hand).to("on-hand");
        });
        pipe_all(&driver.input_topic::<String, i64>("moves"), [("apples", 5), ("apples", -1)]);
        pipe_all(&driver.input_topic::<String, String>("orders"), [("order-1", "apples")]);
        assert_eq!(written(&driver.output_topic("on-hand")), [(text("apples"), 4_i64)]);
        let repartitioned = text("test-KSTREAM-KEY-SELECT-0000000004-repartition");
        assert!(
            driver.produced_topic_names().contains(&repartitioned),
            "{:?}",
            driver.produced_topic_names()
        );
    }

    #[test]
    #[should_panic(expected = "only streams and tables of one StreamsBuilder can be joined")]
    fn a_table_of_another_builder_is_refused() {
        let (one, other) = (crate::StreamsBuilder::new(), crate::StreamsBuilder::new());
        one.stream::<String, i64>("orders")
            .join(&other.table::<String, i64>("prices"), |quantity, _| quantity);
    }
}
