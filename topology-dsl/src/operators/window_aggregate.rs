//! `aggregate` of a windowed stream.

use std::convert::Infallible;
use std::sync::Arc;

use millstream_processor::api::Failure;
use millstream_processor::{BoxError, HasSerde, RecordField, SessionKind, WindowKind, Windowed};

use super::aggregate::{AggregateResult, aggregating};
use super::stream_aggregation::Aggregation;
use crate::options::StoreFor;
use crate::table::KTable;
use crate::windowed::{SessionWindowedKStream, SlidingWindowedKStream, TimeWindowedKStream};

impl<K: RecordField, V: RecordField> TimeWindowedKStream<K, V> {
    /// Aggregates the values of each key in each window: a row begins as what `initializer` makes, and the closure gets key, value and the
    /// row so far. If it returns an `Option`, `None` deletes the row. Records with a null key are dropped and counted; a null value is given
    /// to the closure.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const SOLD: WindowStoreName<String, i64> = WindowStoreName::new("sold-per-minute");
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders").group_by_key();
    /// let per_minute = orders.windowed_by(TimeWindows::of_size_with_no_grace(minutes(1)));
    /// per_minute.aggregate(SOLD, || 0, |_sku, quantity, sold| sold + quantity);
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let orders = driver.input_topic::<String, i64>("orders");
    /// orders.pipe_input_at("apples", 10, Timestamp::from_millis(0))?;
    /// orders.pipe_input_at("apples", 3, Timestamp::from_millis(59_999))?;
    /// let row = driver.window_store(SOLD)?.fetch(&"apples".into(), Timestamp::from_millis(0))?;
    /// assert_eq!(row.map(|row| row.value), Some(13));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn aggregate<A: HasSerde, R: AggregateResult<A>>(
        &self,
        store: impl StoreFor<K::NonNull, A, WindowKind>,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K::NonNull, V, A) -> R + Send + Sync + 'static,
    ) -> KTable<Windowed<K::NonNull>, A> {
        self.try_aggregate(store, initializer, move |key, value, row| {
            Ok::<_, Infallible>(aggregator(key, value, row))
        })
    }

    /// [`aggregate`](Self::aggregate) with a closure that can fail. A record it fails on goes to the handler of the stage
    /// `process`, and all rows stay as they were.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, String>("orders").group_by_key();
    /// let per_minute = orders.windowed_by(TimeWindows::of_size_with_no_grace(minutes(1)));
    /// per_minute.try_aggregate((), || 0, |_sku, quantity, sold| quantity.parse::<i64>().map(|quantity| sold + quantity));
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn try_aggregate<A: HasSerde, R: AggregateResult<A>, E: Into<BoxError>>(
        &self,
        store: impl StoreFor<K::NonNull, A, WindowKind>,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K::NonNull, V, A) -> Result<R, E> + Send + Sync + 'static,
    ) -> KTable<Windowed<K::NonNull>, A> {
        self.declare_aggregation(Aggregation::Aggregate, store.into(), aggregating(initializer, aggregator))
    }
}

impl<K: RecordField, V: RecordField> SlidingWindowedKStream<K, V> {
    /// Aggregates the values of each key in each window: a row begins as what `initializer` makes, and the closure gets key, value and the
    /// row so far. If it returns an `Option`, `None` deletes the row. Records with a null key or value are dropped and counted.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const SPENT: WindowStoreName<String, i64> = WindowStoreName::new("spent-within-an-hour");
    ///
    /// let builder = StreamsBuilder::new();
    /// let payments = builder.stream::<String, i64>("payments").group_by_key();
    /// let near = payments.windowed_by(SlidingWindows::of_time_difference_and_grace(hours(1), minutes(1)));
    /// near.aggregate(SPENT, || 0, |_card, cents, spent| spent + cents);
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let payments = driver.input_topic::<String, i64>("payments");
    /// payments.pipe_input_at("card-1", 500, Timestamp::from_millis(3_600_000))?;
    /// payments.pipe_input_at("card-1", 700, Timestamp::from_millis(3_660_000))?;
    /// let row = driver.window_store(SPENT)?.fetch(&"card-1".into(), Timestamp::from_millis(60_000))?;
    /// assert_eq!(row.map(|row| row.value), Some(1_200));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn aggregate<A: HasSerde, R: AggregateResult<A>>(
        &self,
        store: impl StoreFor<K::NonNull, A, WindowKind>,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K::NonNull, V::NonNull, A) -> R + Send + Sync + 'static,
    ) -> KTable<Windowed<K::NonNull>, A> {
        self.try_aggregate(store, initializer, move |key, value, row| {
            Ok::<_, Infallible>(aggregator(key, value, row))
        })
    }

    /// [`aggregate`](Self::aggregate) with a closure that can fail. A record it fails on goes to the handler of the stage
    /// `process`, and all rows stay as they were.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let payments = builder.stream::<String, String>("payments").group_by_key();
    /// let near = payments.windowed_by(SlidingWindows::of_time_difference_with_no_grace(hours(1)));
    /// near.try_aggregate((), || 0, |_card, cents, spent| cents.parse::<i64>().map(|cents| spent + cents));
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn try_aggregate<A: HasSerde, R: AggregateResult<A>, E: Into<BoxError>>(
        &self,
        store: impl StoreFor<K::NonNull, A, WindowKind>,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K::NonNull, V::NonNull, A) -> Result<R, E> + Send + Sync + 'static,
    ) -> KTable<Windowed<K::NonNull>, A> {
        self.declare_aggregation(Aggregation::Aggregate, store.into(), aggregating(initializer, aggregator))
    }
}

impl<K: RecordField, V: RecordField> SessionWindowedKStream<K, V> {
    /// Aggregates the values of each session: it begins as what `initializer` makes, and the aggregator gets key, value and the session's
    /// value so far. If it returns an `Option`, `None` deletes the session. The merger makes one value of those of two sessions that become
    /// one; it also gets what `initializer` makes as the first of them. Records with a null key are dropped and counted; a null value is
    /// given to the aggregator.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const SPENT: SessionStoreName<String, i64> = SessionStoreName::new("spent-per-visit");
    ///
    /// let builder = StreamsBuilder::new();
    /// let payments = builder.stream::<String, i64>("payments").group_by_key();
    /// let visits = payments.windowed_by(SessionWindows::of_inactivity_gap_with_no_grace(minutes(30)));
    /// visits.aggregate(SPENT, || 0, |_customer, cents, spent| spent + cents, |_customer, one, other| one + other);
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let payments = driver.input_topic::<String, i64>("payments");
    /// let at = |minute: i64| Timestamp::from_millis(minute * 60_000);
    /// for (minute, cents) in [(0, 500), (50, 700), (25, 30)] {
    ///     payments.pipe_input_at("ann", cents, at(minute))?;
    /// }
    /// let row = driver.session_store(SPENT)?.fetch_session(&"ann".into(), Window::new(at(0), at(50)))?;
    /// assert_eq!(row.map(|row| row.value), Some(1_230));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn aggregate<A: HasSerde, R: AggregateResult<A>>(
        &self,
        store: impl StoreFor<K::NonNull, A, SessionKind>,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K::NonNull, V, A) -> R + Send + Sync + 'static,
        merger: impl Fn(&K::NonNull, A, A) -> A + Send + Sync + 'static,
    ) -> KTable<Windowed<K::NonNull>, A> {
        self.try_aggregate(
            store,
            initializer,
            move |key, value, row| Ok::<_, Infallible>(aggregator(key, value, row)),
            move |key, one, other| Ok(merger(key, one, other)),
        )
    }

    /// [`aggregate`](Self::aggregate) with closures that can fail. A record they fail on goes to the handler of the stage
    /// `process`, and all sessions stay as they were.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let payments = builder.stream::<String, String>("payments").group_by_key();
    /// let visits = payments.windowed_by(SessionWindows::of_inactivity_gap_with_no_grace(minutes(30)));
    /// visits.try_aggregate(
    ///     (),
    ///     || 0,
    ///     |_customer, cents, spent| cents.parse::<i64>().map(|cents| spent + cents),
    ///     |_customer, one, other| Ok(one + other),
    /// );
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn try_aggregate<A: HasSerde, R: AggregateResult<A>, E: Into<BoxError>>(
        &self,
        store: impl StoreFor<K::NonNull, A, SessionKind>,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K::NonNull, V, A) -> Result<R, E> + Send + Sync + 'static,
        merger: impl Fn(&K::NonNull, A, A) -> Result<A, E> + Send + Sync + 'static,
    ) -> KTable<Windowed<K::NonNull>, A> {
        let initializer = Arc::new(initializer);
        let seed = Arc::clone(&initializer);
        self.declare_aggregation(
            Aggregation::Aggregate,
            store.into(),
            aggregating(move || initializer(), aggregator),
            move |key, one, other| {
                let one = one.unwrap_or_else(|| seed());
                merger(key, one, other).map_err(|error| Failure::process(error.into()))
            },
        )
    }
}
