//! `within`, then `join`, `left_join` and `outer_join`: two streams joined by equal keys and times that are near each other.

mod joining;
mod joining_itself;
mod keeping;
mod waiting;

use std::any::Any;
use std::cell::RefCell;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use millstream_processor::{BoxError, HasSerde, JoinSide, RecordField, Result, SerdeRef};

use self::joining::{JoinRecords, LeftSide, RightSide, Side};
use self::joining_itself::JoinWithItself;
use self::keeping::KeepRecords;
use self::waiting::Waiting;
use super::merge::PassOn;
use super::with_key::{Joined, WithKey, joined};
use crate::logical::{
    Operation, OperationKind, Place, StreamStreamJoinKind, StreamStreamJoinNames, StreamStreamJoinNodes,
    TypedTopic,
};
use crate::options::StreamJoined;
use crate::stream::KStream;
use crate::windows::JoinWindows;

/// A stream with the span of time in which it is joined with another. Made by [`KStream::within`].
pub struct StreamWithin<K, V> {
    stream: KStream<K, V>,
    windows: JoinWindows,
    stored: StreamJoined,
}

impl<K: RecordField, V: RecordField> KStream<K, V> {
    /// Says how far apart in event time records of this stream and of another may be to be joined: a
    /// [`Duration`](std::time::Duration), or [`JoinWindows`] that differ before and after this stream's records, or have a grace.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders");
    /// let payments = builder.stream::<String, i64>("payments");
    /// let on_account = JoinWindows::from(minutes(0)).after(hours(1));
    /// orders.within(on_account).join(&payments, |cents, paid| cents - paid).to("open-amounts");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let at = |minute: i64| Timestamp::from_millis(minute * 60_000);
    /// driver.input_topic::<String, i64>("orders").pipe_input_at("order-1", 500, at(10))?;
    /// let payments = driver.input_topic::<String, i64>("payments");
    /// payments.pipe_input_at("order-1", 100, at(9))?;
    /// payments.pipe_input_at("order-1", 200, at(40))?;
    /// let open = driver.output_topic::<String, i64>("open-amounts");
    /// assert_eq!(open.read_key_values_to_list()?, [("order-1".into(), 300)]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "JoinWindows")]
    pub fn within(&self, windows: impl Into<JoinWindows>) -> StreamWithin<K, V> {
        StreamWithin { stream: self.clone(), windows: windows.into(), stored: StreamJoined::default() }
    }
}

impl<K: RecordField, V: RecordField> StreamWithin<K, V> {
    /// Names the stores in which records of both streams are kept for each other, or says how they are kept.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders");
    /// let payments = builder.stream::<String, i64>("payments");
    /// orders.within(minutes(5)).stored("paid").join(&payments, |cents, paid| cents - paid).to("open-amounts");
    /// assert!(builder.build()?.store("paid-this-join-store").is_some());
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "StreamJoined")]
    #[must_use]
    pub fn stored(self, stored: impl Into<StreamJoined>) -> Self {
        StreamWithin { stored: stored.into(), ..self }
    }

    /// An output for each pair of records with equal keys whose times are near enough. It comes when the second of them does, and has the
    /// later of their times. Records with a null key or value are dropped and counted.
    ///
    /// The closure borrows both values, which stay in the stores of the join. Where keys changed above, a stream gets a repartition topic.
    /// The partition counts of both must be equal.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders");
    /// let payments = builder.stream::<String, i64>("payments");
    /// orders.within(minutes(5)).join(&payments, |cents, paid| cents == paid).to("paid-in-full");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("payments").pipe_input("order-1", 500)?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("order-1", 500)?;
    /// let paid = driver.output_topic::<String, bool>("paid-in-full");
    /// assert_eq!(paid.read_key_values_to_list()?, [("order-1".into(), true)]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn join<V2, R>(
        self,
        other: &KStream<K, V2>,
        joiner: impl Fn(&V::NonNull, &V2::NonNull) -> R + Send + Sync + 'static,
    ) -> KStream<K, R>
    where
        V2: RecordField,
        R: Clone + 'static,
    {
        self.try_join(other, move |left, right| Ok::<_, Infallible>(joiner(left, right)))
    }

    /// [`join`](Self::join) with a closure that can fail. A record it fails on goes to the handler of the stage `process`; none of its pairs
    /// gives an output.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, String>("orders");
    /// let payments = builder.stream::<String, i64>("payments");
    /// let open = orders.within(minutes(5)).try_join(&payments, |cents, paid| cents.parse::<i64>().map(|cents| cents - paid));
    /// open.to("open-amounts");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn try_join<V2, R, E>(
        self,
        other: &KStream<K, V2>,
        joiner: impl Fn(&V::NonNull, &V2::NonNull) -> Result<R, E> + Send + Sync + 'static,
    ) -> KStream<K, R>
    where
        V2: RecordField,
        R: Clone + 'static,
        E: Into<BoxError>,
    {
        self.with_key().try_join(other, move |_key, left, right| joiner(left, right))
    }

    /// [`join`](Self::join), but a record of this stream that finds none of the other is joined with `None`: when its window has closed,
    /// or at once if it has no key (KIP-962).
    ///
    /// A window closes when a record of either stream, or a heartbeat ([`Source::with_heartbeats`](crate::Source::with_heartbeats)), moves stream
    /// time past its end and the grace.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders");
    /// let payments = builder.stream::<String, i64>("payments");
    /// orders.within(minutes(5)).left_join(&payments, |cents, paid| cents - paid.unwrap_or(&0)).to("open-amounts");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let at = |minute: i64| Timestamp::from_millis(minute * 60_000);
    /// let orders = driver.input_topic::<String, i64>("orders");
    /// orders.pipe_input_at("order-1", 500, at(10))?;
    /// orders.pipe_input_at("order-2", 700, at(16))?;
    /// let open = driver.output_topic::<String, i64>("open-amounts");
    /// assert_eq!(open.read_key_values_to_list()?, [("order-1".into(), 500)]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "leftJoin")]
    #[track_caller]
    pub fn left_join<V2, R>(
        self,
        other: &KStream<K, V2>,
        joiner: impl Fn(&V::NonNull, Option<&V2::NonNull>) -> R + Send + Sync + 'static,
    ) -> KStream<K, R>
    where
        V2: RecordField,
        R: Clone + 'static,
    {
        self.try_left_join(other, move |left, right| Ok::<_, Infallible>(joiner(left, right)))
    }

    /// [`left_join`](Self::left_join) with a closure that can fail. See [`try_join`](Self::try_join). If it fails on a record that is emitted
    /// alone, the record that closed its window goes to the handler, and the next one drops and counts it.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders");
    /// let payments = builder.stream::<String, String>("payments");
    /// let open = orders.within(minutes(5)).try_left_join(&payments, |cents, paid| {
    ///     paid.map_or(Ok(0), |paid| paid.parse::<i64>()).map(|paid| cents - paid)
    /// });
    /// open.to("open-amounts");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("order-1", 500)?;
    /// driver.input_topic::<String, String>("payments").pipe_input("order-1", "200")?;
    /// let open = driver.output_topic::<String, i64>("open-amounts");
    /// assert_eq!(open.read_key_value()?, Some(("order-1".into(), 300)));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn try_left_join<V2, R, E>(
        self,
        other: &KStream<K, V2>,
        joiner: impl Fn(&V::NonNull, Option<&V2::NonNull>) -> Result<R, E> + Send + Sync + 'static,
    ) -> KStream<K, R>
    where
        V2: RecordField,
        R: Clone + 'static,
        E: Into<BoxError>,
    {
        self.with_key().try_left_join(other, move |_key, left, right| joiner(left, right))
    }

    /// [`left_join`](Self::left_join), but a record of the other stream that finds none of this one is joined with `None`, too. The closure
    /// never gets `None` twice.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let ordered = builder.stream::<String, i64>("orders");
    /// let paid = builder.stream::<String, i64>("payments");
    /// let open = |cents: Option<&i64>, paid: Option<&i64>| cents.unwrap_or(&0) - paid.unwrap_or(&0);
    /// ordered.within(minutes(5)).outer_join(&paid, open).to("open-amounts");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let at = |minute: i64| Timestamp::from_millis(minute * 60_000);
    /// driver.input_topic::<String, i64>("payments").pipe_input_at("order-1", 500, at(10))?;
    /// driver.input_topic::<String, i64>("orders").pipe_input_at("order-2", 700, at(16))?;
    /// let open = driver.output_topic::<String, i64>("open-amounts");
    /// assert_eq!(open.read_key_values_to_list()?, [("order-1".into(), -500)]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "outerJoin")]
    #[track_caller]
    pub fn outer_join<V2, R>(
        self,
        other: &KStream<K, V2>,
        joiner: impl Fn(Option<&V::NonNull>, Option<&V2::NonNull>) -> R + Send + Sync + 'static,
    ) -> KStream<K, R>
    where
        V2: RecordField,
        R: Clone + 'static,
    {
        self.try_outer_join(other, move |left, right| Ok::<_, Infallible>(joiner(left, right)))
    }

    /// [`outer_join`](Self::outer_join) with a closure that can fail. See [`try_left_join`](Self::try_left_join).
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders");
    /// let payments = builder.stream::<String, String>("payments");
    /// let open = orders.within(minutes(5)).try_outer_join(&payments, |cents, paid| {
    ///     let paid = paid.map_or(Ok(0), |paid| paid.parse::<i64>())?;
    ///     Ok::<_, std::num::ParseIntError>(cents.unwrap_or(&0) - paid)
    /// });
    /// open.to("open-amounts");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("order-1", 500)?;
    /// driver.input_topic::<String, String>("payments").pipe_input("order-1", "200")?;
    /// let open = driver.output_topic::<String, i64>("open-amounts");
    /// assert_eq!(open.read_key_value()?, Some(("order-1".into(), 300)));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn try_outer_join<V2, R, E>(
        self,
        other: &KStream<K, V2>,
        joiner: impl Fn(Option<&V::NonNull>, Option<&V2::NonNull>) -> Result<R, E> + Send + Sync + 'static,
    ) -> KStream<K, R>
    where
        V2: RecordField,
        R: Clone + 'static,
        E: Into<BoxError>,
    {
        self.with_key().try_outer_join(other, move |_key, left, right| joiner(left, right))
    }
}

impl<K: RecordField, V: RecordField> WithKey<StreamWithin<K, V>> {
    /// [`StreamWithin::join`] with a closure that gets the key first. See [`StreamWithin::with_key`].
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders");
    /// let payments = builder.stream::<String, i64>("payments");
    /// let pairs = orders.within(minutes(5)).with_key();
    /// pairs.join(&payments, |order, cents, paid| format!("{order}: {}", cents - paid)).to("open-amounts");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("order-1", 500)?;
    /// driver.input_topic::<String, i64>("payments").pipe_input("order-1", 200)?;
    /// let open = driver.output_topic::<String, String>("open-amounts");
    /// assert_eq!(open.read_key_value()?, Some(("order-1".into(), "order-1: 300".into())));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn join<V2, R>(
        self,
        other: &KStream<K, V2>,
        joiner: impl Fn(&K, &V::NonNull, &V2::NonNull) -> R + Send + Sync + 'static,
    ) -> KStream<K, R>
    where
        V2: RecordField,
        R: Clone + 'static,
    {
        self.try_join(other, move |key, left, right| Ok::<_, Infallible>(joiner(key, left, right)))
    }

    /// [`StreamWithin::try_join`] with a closure that gets the key first.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders");
    /// let payments = builder.stream::<String, String>("payments");
    /// let pairs = orders.within(minutes(5)).with_key();
    /// let open = pairs.try_join(&payments, |order, cents, paid| {
    ///     paid.parse::<i64>().map(|paid| format!("{order}: {}", cents - paid))
    /// });
    /// open.to("open-amounts");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn try_join<V2, R, E>(
        self,
        other: &KStream<K, V2>,
        joiner: impl Fn(&K, &V::NonNull, &V2::NonNull) -> Result<R, E> + Send + Sync + 'static,
    ) -> KStream<K, R>
    where
        V2: RecordField,
        R: Clone + 'static,
        E: Into<BoxError>,
    {
        self.joined.join_streams(other, StreamStreamJoinKind::Inner, move |key, left, right| {
            left.zip(right).map_or(Ok(None), |(left, right)| joined(joiner(key, left, right)))
        })
    }

    /// [`StreamWithin::left_join`] with a closure that gets the key first, which is null for a record without one.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders");
    /// let payments = builder.stream::<String, i64>("payments");
    /// let pairs = orders.within(minutes(5)).with_key();
    /// let open = pairs.left_join(&payments, |order, cents, paid| format!("{order}: {}", cents - paid.unwrap_or(&0)));
    /// open.to("open-amounts");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("order-1", 500)?;
    /// driver.input_topic::<String, i64>("payments").pipe_input("order-1", 200)?;
    /// let open = driver.output_topic::<String, String>("open-amounts");
    /// assert_eq!(open.read_key_value()?, Some(("order-1".into(), "order-1: 300".into())));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "leftJoin")]
    #[track_caller]
    pub fn left_join<V2, R>(
        self,
        other: &KStream<K, V2>,
        joiner: impl Fn(&K, &V::NonNull, Option<&V2::NonNull>) -> R + Send + Sync + 'static,
    ) -> KStream<K, R>
    where
        V2: RecordField,
        R: Clone + 'static,
    {
        self.try_left_join(other, move |key, left, right| Ok::<_, Infallible>(joiner(key, left, right)))
    }

    /// [`StreamWithin::try_left_join`] with a closure that gets the key first, which is null for a record without one.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders");
    /// let payments = builder.stream::<String, String>("payments");
    /// let pairs = orders.within(minutes(5)).with_key();
    /// let open = pairs.try_left_join(&payments, |order, cents, paid| {
    ///     let paid = paid.map_or(Ok(0), |paid| paid.parse::<i64>());
    ///     paid.map(|paid| format!("{order}: {}", cents - paid))
    /// });
    /// open.to("open-amounts");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn try_left_join<V2, R, E>(
        self,
        other: &KStream<K, V2>,
        joiner: impl Fn(&K, &V::NonNull, Option<&V2::NonNull>) -> Result<R, E> + Send + Sync + 'static,
    ) -> KStream<K, R>
    where
        V2: RecordField,
        R: Clone + 'static,
        E: Into<BoxError>,
    {
        self.joined.join_streams(other, StreamStreamJoinKind::Left, move |key, left, right| {
            left.map_or(Ok(None), |left| joined(joiner(key, left, right)))
        })
    }

    /// [`StreamWithin::outer_join`] with a closure that gets the key first, which is null for a record without one.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders");
    /// let payments = builder.stream::<String, i64>("payments");
    /// let pairs = orders.within(minutes(5)).with_key();
    /// let open = pairs.outer_join(&payments, |order, cents, paid| {
    ///     format!("{order}: {}", cents.unwrap_or(&0) - paid.unwrap_or(&0))
    /// });
    /// open.to("open-amounts");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("order-1", 500)?;
    /// driver.input_topic::<String, i64>("payments").pipe_input("order-1", 200)?;
    /// let open = driver.output_topic::<String, String>("open-amounts");
    /// assert_eq!(open.read_key_value()?, Some(("order-1".into(), "order-1: 300".into())));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "outerJoin")]
    #[track_caller]
    pub fn outer_join<V2, R>(
        self,
        other: &KStream<K, V2>,
        joiner: impl Fn(&K, Option<&V::NonNull>, Option<&V2::NonNull>) -> R + Send + Sync + 'static,
    ) -> KStream<K, R>
    where
        V2: RecordField,
        R: Clone + 'static,
    {
        self.try_outer_join(other, move |key, left, right| Ok::<_, Infallible>(joiner(key, left, right)))
    }

    /// [`StreamWithin::try_outer_join`] with a closure that gets the key first, which is null for a record without one.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders");
    /// let payments = builder.stream::<String, String>("payments");
    /// let pairs = orders.within(minutes(5)).with_key();
    /// let open = pairs.try_outer_join(&payments, |order, cents, paid| {
    ///     let paid = paid.map_or(Ok(0), |paid| paid.parse::<i64>());
    ///     paid.map(|paid| format!("{order}: {}", cents.unwrap_or(&0) - paid))
    /// });
    /// open.to("open-amounts");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn try_outer_join<V2, R, E, F>(self, other: &KStream<K, V2>, joiner: F) -> KStream<K, R>
    where
        V2: RecordField,
        R: Clone + 'static,
        E: Into<BoxError>,
        F: Fn(&K, Option<&V::NonNull>, Option<&V2::NonNull>) -> Result<R, E> + Send + Sync + 'static,
    {
        self.joined.join_streams(other, StreamStreamJoinKind::Outer, move |key, left, right| {
            joined(joiner(key, left, right))
        })
    }
}

impl<K: RecordField, V: RecordField> StreamWithin<K, V> {
    /// Declares the join. `join` makes an output of the key and the values of both sides, if these make one.
    #[track_caller]
    fn join_streams<V2, R, J>(
        self,
        other: &KStream<K, V2>,
        kind: StreamStreamJoinKind,
        join: J,
    ) -> KStream<K, R>
    where
        V2: RecordField,
        R: Clone + 'static,
        J: Fn(&K, Option<&V::NonNull>, Option<&V2::NonNull>) -> Joined<R> + Send + Sync + 'static,
    {
        let StreamWithin { stream, windows, stored } = self;
        assert!(Rc::ptr_eq(&stream.graph, &other.graph), "only streams of one StreamsBuilder can be joined");
        let store_name = stored.store_name.clone();
        let key_serde = stream.graph.borrow().key_serde::<K::NonNull>(stream.id);
        let nodes = StreamStreamJoin::<K, V, V2, R, J> {
            kind,
            windows,
            stored,
            key_serde: key_serde.unwrap_or_else(K::NonNull::serde),
            join: Arc::new(join),
            types: PhantomData,
        };
        KStream::declare(
            &stream.graph,
            Operation {
                kind: OperationKind::StreamStreamJoin {
                    kind,
                    store_name,
                    topics: [TypedTopic::<K, V>::of_types(), TypedTopic::<K, V2>::of_types()],
                    nodes: Box::new(nodes),
                },
                parents: vec![stream.id, other.id],
                name: None,
                store: None,
                write: Box::new(|place| place.add_processor(|_| Ok(PassOn::<K, R> { types: PhantomData }))),
            },
        )
    }
}

/// The typed nodes of a join of a stream of `V` with one of `V2`.
struct StreamStreamJoin<K: RecordField, V, V2, R, J> {
    kind: StreamStreamJoinKind,
    windows: JoinWindows,
    stored: StreamJoined,
    key_serde: SerdeRef<K::NonNull>,
    join: Arc<J>,
    types: Types<V, V2, R>,
}

/// The values of both sides, and of the result.
type Types<V, V2, R> = PhantomData<fn() -> (V, V2, R)>;

impl<K, V, V2, R, J> StreamStreamJoinNodes for StreamStreamJoin<K, V, V2, R, J>
where
    K: RecordField,
    V: RecordField,
    V2: RecordField,
    R: Clone + 'static,
    J: Fn(&K, Option<&V::NonNull>, Option<&V2::NonNull>) -> Joined<R> + Send + Sync + 'static,
{
    fn write_window(&self, place: &mut Place<'_>, side: JoinSide, store: &str) -> Result<()> {
        match side {
            JoinSide::Left => self.write_keeping::<V>(place, store),
            JoinSide::Right => self.write_keeping::<V2>(place, store),
        }
    }

    fn write_joins(&self, place: &mut Place<'_>, names: &StreamStreamJoinNames) -> Result<()> {
        if let Some(waiting) = &names.waiting_store {
            let store = self.stored.waiting_store::<V::NonNull, V2::NonNull>(waiting);
            place.topology.add_state_store(store)?;
        }
        self.write_joining::<LeftSide, V>(place, names, [0, 1])?;
        self.write_joining::<RightSide, V2>(place, names, [1, 0])
    }

    fn write_only_window(&self, place: &mut Place<'_>, store: &str) -> Result<()> {
        self.add_window_store::<V>(place, store)?;
        place.add_processor(|_| Ok(PassOn::<K, V> { types: PhantomData }))
    }

    fn write_self_join(&self, place: &mut Place<'_>, store: &str) -> Result<()> {
        let (store, windows, join) = (store.to_string(), self.windows, Arc::clone(&self.join));
        // The compiler cannot know that a stream which is joined with itself has values of one type.
        let join = Arc::new(move |key: &K, left: &V::NonNull, right: &V::NonNull| {
            join(key, Some(left), (right as &dyn Any).downcast_ref::<V2::NonNull>())
        });
        place.add_processor(move |wiring| {
            let records = wiring.window_store(&store)?;
            Ok(JoinWithItself::<K, V, R, _>::new(records, windows, Arc::clone(&join)))
        })
    }
}

impl<K, V, V2, R, J> StreamStreamJoin<K, V, V2, R, J>
where
    K: RecordField,
    V: RecordField,
    V2: RecordField,
    R: Clone + 'static,
    J: Fn(&K, Option<&V::NonNull>, Option<&V2::NonNull>) -> Joined<R> + Send + Sync + 'static,
{
    fn add_window_store<T: RecordField>(&self, place: &mut Place<'_>, store: &str) -> Result<()> {
        let builder =
            self.stored.window_store::<K::NonNull, T::NonNull>(store, self.windows, self.key_serde.clone());
        place.topology.add_state_store(builder)
    }

    fn write_keeping<T: RecordField>(&self, place: &mut Place<'_>, store: &str) -> Result<()> {
        self.add_window_store::<T>(place, store)?;
        let store = store.to_string();
        place.add_processor(move |wiring| Ok(KeepRecords::<K, T>::new(wiring.window_store(&store)?)))
    }

    /// The node for records of a side, whose number is the first one; the other's is the second.
    fn write_joining<S, T>(
        &self,
        place: &mut Place<'_>,
        names: &StreamStreamJoinNames,
        [this, other]: [usize; 2],
    ) -> Result<()>
    where
        T: RecordField,
        S: Side<V::NonNull, V2::NonNull, This = T::NonNull>,
    {
        let (others, waiting_store) = (names.window_stores[other].clone(), names.waiting_store.clone());
        let (windows, stands_alone) = (self.windows, self.kind.stands_alone(S::SIDE));
        let waits = [JoinSide::Left, JoinSide::Right].map(|side| self.kind.stands_alone(side));
        let (join, key_serde) = (Arc::clone(&self.join), self.key_serde.clone());
        let stores: Vec<&str> =
            names.waiting_store.iter().chain([&names.window_stores[other]]).map(String::as_str).collect();
        place.topology.add_processor(&names.joins[this], &[place.parents[this]], &stores, move |wiring| {
            let open_waiting = |name: &String| -> Result<_> {
                let (store, key_serde) = (wiring.key_value_store(name)?, key_serde.clone());
                let make = || RefCell::new(Waiting::new(store, key_serde, windows, waits));
                wiring.shared::<RefCell<Waiting<K::NonNull, V::NonNull, V2::NonNull>>>(name, make)
            };
            Ok(JoinRecords::<S, K, T, V::NonNull, V2::NonNull, R, J>::new(
                wiring.window_store(&others)?,
                windows,
                stands_alone,
                waiting_store.as_ref().map(open_waiting).transpose()?,
                Arc::clone(&join),
            ))
        })
    }
}

#[cfg(test)]
mod tests;
