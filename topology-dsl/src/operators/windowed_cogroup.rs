//! `windowed_by` of streams that are aggregated together: one row per key and window, changed by records of all of them.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use millstream_processor::api::Failure;
use millstream_processor::{
    BoxError, HasSerde, RecordField, SessionKind, SessionStore, WindowKind, WindowStore, Windowed,
};

use super::cogroup::{CogroupedKStream, Cogrouping, Initializer, IsLast};
use super::late_records::LateRecords;
use super::rows::rows_in_store;
use super::session_aggregation::SessionAggregation;
use super::sliding_window_aggregation::SlidingWindowAggregation;
use super::time_window_aggregation::TimeWindowAggregation;
use super::window_table::{WindowTable, WindowTimes};
use super::windowed_aggregation::{WindowedAggregation, write_windowed_node};
use super::windowed_store::WindowedStore;
use crate::grouped::KGroupedStream;
use crate::logical::WriteNode;
use crate::options::{Produced, StoreFor};
use crate::table::KTable;
use crate::windowed::check_that_windows_close;
use crate::windows::{EmitStrategy, SessionWindows, SlidingWindows, TimeSpans};

/// Several grouped streams whose records are gathered in windows of a fixed size, or in one without an end. Made by
/// [`CogroupedKStream::windowed_by`].
pub struct TimeWindowedCogroupedKStream<K, A> {
    cogrouped: CogroupedKStream<K, A>,
    windows: FixedWindows,
    emit: EmitStrategy,
}

/// Several grouped streams whose records are gathered in sessions. Made by [`CogroupedKStream::windowed_by`].
pub struct SessionWindowedCogroupedKStream<K, A> {
    cogrouped: CogroupedKStream<K, A>,
    windows: SessionWindows,
    emit: EmitStrategy,
}

/// Windows that are all of one size.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FixedWindows {
    Time(TimeSpans),
    Sliding(SlidingWindows),
}

impl FixedWindows {
    fn close(self) -> bool {
        !matches!(self, FixedWindows::Time(TimeSpans::Unlimited(_)))
    }
}

impl<K, A> TimeWindowedCogroupedKStream<K, A> {
    pub(crate) fn new(cogrouped: CogroupedKStream<K, A>, windows: FixedWindows) -> Self {
        TimeWindowedCogroupedKStream { cogrouped, windows, emit: EmitStrategy::default() }
    }

    /// Says when the aggregation emits: with each update (the default), or once for each window, when it is closed for all of the streams.
    /// See [`TimeWindowedKStream::emit_strategy`](crate::TimeWindowedKStream::emit_strategy).
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let sales = builder.stream::<String, i64>("sales").group_by_key();
    /// let refunds = builder.stream::<String, i64>("refunds").group_by_key();
    /// let revenue = sales
    ///     .cogroup(|_sku, cents, sum: i64| sum + cents)
    ///     .cogroup(&refunds, |_sku, cents, sum| sum - cents)
    ///     .windowed_by(TimeWindows::of_size_with_no_grace(hours(1)))
    ///     .emit_strategy(EmitStrategy::on_window_close())
    ///     .aggregate((), || 0);
    /// revenue.to_stream().map(|windowed, cents| (windowed.key, cents)).to("revenue-per-hour");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let at = |minute: i64| Timestamp::from_millis(minute * 60_000);
    /// driver.input_topic::<String, i64>("sales").pipe_input_at("apples", 500, at(10))?;
    /// driver.input_topic::<String, i64>("refunds").pipe_input_at("apples", 200, at(50))?;
    /// let revenue = driver.output_topic::<String, Option<i64>>("revenue-per-hour");
    /// assert!(revenue.is_empty());
    /// driver.input_topic::<String, i64>("refunds").pipe_input_at("pears", 30, at(60))?;
    /// assert_eq!(revenue.read_key_values_to_list()?, [("apples".into(), Some(300))]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    ///
    /// # Panics
    /// When windows that never end are to be emitted when they are closed.
    #[doc(alias = "emitStrategy")]
    #[track_caller]
    #[must_use]
    pub fn emit_strategy(self, strategy: EmitStrategy) -> Self {
        check_that_windows_close(self.windows.close(), strategy);
        TimeWindowedCogroupedKStream { emit: strategy, ..self }
    }
}

/// What each of the windowed ones can do.
macro_rules! late_records_of {
    ($stream:ident) => {
        impl<K: HasSerde, A: HasSerde> $stream<K, A> {
            /// Sends records of one of the streams that no window, or no session that is open, accepts to a topic, besides counting them. Each stream can have one, as each
            /// has its own type of values; those of a stream that has none are only counted. The topic must exist.
            ///
            /// ```
            /// use millstream::prelude::*;
            /// use millstream::testing::TopologyTestDriver;
            ///
            /// let builder = StreamsBuilder::new();
            /// let sales = builder.stream::<String, i64>("sales").group_by_key();
            /// let refunds = builder.stream::<String, String>("refunds").group_by_key();
            /// sales
            ///     .cogroup(|_sku, cents, sum: i64| sum + cents)
            ///     .try_cogroup(&refunds, |_sku, cents, sum| cents.parse::<i64>().map(|cents| sum - cents))
            ///     .windowed_by(TimeWindows::of_size_with_no_grace(hours(1)))
            ///     .late_records_of(&sales, "late-sales")
            ///     .late_records_of(&refunds, "late-refunds")
            ///     .aggregate((), || 0);
            ///
            /// let driver = TopologyTestDriver::new(builder.build()?)?;
            /// let at = |minute: i64| Timestamp::from_millis(minute * 60_000);
            /// let refunds = driver.input_topic::<String, String>("refunds");
            /// refunds.pipe_input_at("apples", "500", at(60))?;
            /// refunds.pipe_input_at("pears", "200", at(59))?;
            /// let late = driver.output_topic::<String, String>("late-refunds");
            /// assert_eq!(late.read_key_value()?, Some(("pears".into(), "200".into())));
            /// # Ok::<(), millstream::Error>(())
            /// ```
            ///
            /// # Panics
            /// If the stream is none of those that are aggregated.
            #[track_caller]
            #[must_use]
            pub fn late_records_of<K2: RecordField<NonNull = K>, V: RecordField>(
                mut self,
                grouped: &KGroupedStream<K2, V>,
                produced: impl Into<Produced<K2, V>>,
            ) -> Self {
                self.cogrouped.send_late_records(grouped, produced.into());
                self
            }
        }
    };
}

late_records_of!(TimeWindowedCogroupedKStream);
late_records_of!(SessionWindowedCogroupedKStream);

impl<K: HasSerde, A: HasSerde> TimeWindowedCogroupedKStream<K, A> {
    /// The table of the aggregates. A row, which is that of a key in a window, begins as what `initializer` makes; each record of any of the
    /// streams changes the rows of its key in its windows. A record with a null key or value is dropped and counted.
    ///
    /// See [`CogroupedKStream::windowed_by`], and [`CogroupedKStream::aggregate`] on partitions.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const REVENUE: WindowStoreName<String, i64> = WindowStoreName::new("revenue-per-hour");
    ///
    /// let builder = StreamsBuilder::new();
    /// let sales = builder.stream::<String, i64>("sales").group_by_key();
    /// let refunds = builder.stream::<String, i64>("refunds").group_by_key();
    /// sales
    ///     .cogroup(|_sku, cents, sum: i64| sum + cents)
    ///     .cogroup(&refunds, |_sku, cents, sum| sum - cents)
    ///     .windowed_by(TimeWindows::of_size_and_grace(hours(1), minutes(5)))
    ///     .aggregate(REVENUE, || 0);
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let at = |minute: i64| Timestamp::from_millis(minute * 60_000);
    /// driver.input_topic::<String, i64>("sales").pipe_input_at("apples", 500, at(59))?;
    /// driver.input_topic::<String, i64>("sales").pipe_input_at("apples", 30, at(60))?;
    /// driver.input_topic::<String, i64>("refunds").pipe_input_at("apples", 200, at(10))?;
    /// let revenue = driver.window_store(REVENUE)?;
    /// assert_eq!(revenue.fetch(&"apples".into(), at(0))?.map(|row| row.value), Some(300));
    /// assert_eq!(revenue.fetch(&"apples".into(), at(60))?.map(|row| row.value), Some(30));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn aggregate(
        self,
        store: impl StoreFor<K, A, WindowKind>,
        initializer: impl Fn() -> A + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A> {
        let store = store.into().with_inherited_key_serde(self.cogrouped.key_serde());
        let (declared, windows) = match self.windows {
            FixedWindows::Time(windows) => {
                let declared = windows.aggregated_in(store, self.emit);
                let windows = CogroupWindows::Time(windows, declared.times);
                (declared, windows)
            }
            FixedWindows::Sliding(windows) => {
                let declared = windows.aggregated_in(store, self.emit);
                let windows = CogroupWindows::Sliding(windows, declared.times);
                (declared, windows)
            }
        };
        self.cogrouped.declare_windowed_table::<WindowStore<K, A>>(declared, &windows, Arc::new(initializer))
    }
}

impl<K, A> SessionWindowedCogroupedKStream<K, A> {
    pub(crate) fn new(cogrouped: CogroupedKStream<K, A>, windows: SessionWindows) -> Self {
        SessionWindowedCogroupedKStream { cogrouped, windows, emit: EmitStrategy::default() }
    }

    /// Says when the aggregation emits: with each update (the default), or once for each session, when it is closed for all of the streams.
    /// See [`TimeWindowedCogroupedKStream::emit_strategy`].
    #[doc(alias = "emitStrategy")]
    #[must_use]
    pub fn emit_strategy(self, strategy: EmitStrategy) -> Self {
        SessionWindowedCogroupedKStream { emit: strategy, ..self }
    }
}

impl<K: HasSerde, A: HasSerde> SessionWindowedCogroupedKStream<K, A> {
    /// The table of the aggregates. A session begins as what `initializer` makes; each record of any of the streams changes the session that it
    /// belongs to. `merger` makes one value of those of two sessions that become one; it also gets what `initializer` makes as the first of
    /// them. A record with a null key or value is dropped and counted.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const STEPS: SessionStoreName<String, u64> = SessionStoreName::new("steps-of-a-visit");
    ///
    /// let builder = StreamsBuilder::new();
    /// let clicks = builder.stream::<String, String>("clicks").group_by_key();
    /// let orders = builder.stream::<String, i64>("orders").group_by_key();
    /// clicks
    ///     .cogroup(|_customer, _page, steps: u64| steps + 1)
    ///     .cogroup(&orders, |_customer, _order, steps| steps + 1)
    ///     .windowed_by(SessionWindows::of_inactivity_gap_with_no_grace(minutes(30)))
    ///     .aggregate(STEPS, || 0, |_customer, one, other| one + other);
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let at = |minute: i64| Timestamp::from_millis(minute * 60_000);
    /// driver.input_topic::<String, String>("clicks").pipe_input_at("ann", "/cart", at(0))?;
    /// driver.input_topic::<String, i64>("orders").pipe_input_at("ann", 500, at(20))?;
    /// let row = driver.session_store(STEPS)?.fetch_session(&"ann".into(), Window::new(at(0), at(20)))?;
    /// assert_eq!(row.map(|row| row.value), Some(2));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn aggregate(
        self,
        store: impl StoreFor<K, A, SessionKind>,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        merger: impl Fn(&K, A, A) -> A + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A> {
        self.try_aggregate(store, initializer, move |key, one, other| {
            Ok::<_, Infallible>(merger(key, one, other))
        })
    }

    /// [`aggregate`](Self::aggregate) with a merger that can fail. A record it fails on goes to the handler of the stage `process`, and all
    /// sessions stay as they were.
    #[track_caller]
    pub fn try_aggregate<E: Into<BoxError>>(
        self,
        store: impl StoreFor<K, A, SessionKind>,
        initializer: impl Fn() -> A + Send + Sync + 'static,
        merger: impl Fn(&K, A, A) -> Result<A, E> + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A> {
        let store = store.into().with_inherited_key_serde(self.cogrouped.key_serde());
        let declared = self.windows.aggregated_in(store, self.emit);
        let initializer: Initializer<A> = Arc::new(initializer);
        let seed = Arc::clone(&initializer);
        let merger: Merger<K, A> = Arc::new(move |key, one, other| {
            let one = one.unwrap_or_else(|| seed());
            merger(key, one, other).map_err(|error| Failure::process(error.into()))
        });
        let windows = CogroupWindows::Session(self.windows, declared.times, merger);
        self.cogrouped.declare_windowed_table::<SessionStore<K, A>>(declared, &windows, initializer)
    }
}

/// Makes one value of those of two sessions, the first of which may not have begun.
type Merger<K, A> = Arc<dyn Fn(&K, Option<A>, A) -> Result<A, Failure> + Send + Sync>;

/// The windows in which streams are aggregated together, and when they close.
pub(super) enum CogroupWindows<K, A> {
    Time(TimeSpans, WindowTimes),
    Sliding(SlidingWindows, WindowTimes),
    Session(SessionWindows, WindowTimes, Merger<K, A>),
}

impl<K: HasSerde, A: HasSerde> CogroupedKStream<K, A> {
    fn declare_windowed_table<S: WindowedStore<Key = K, Value = A>>(
        self,
        declared: WindowedAggregation<K>,
        windows: &CogroupWindows<K, A>,
        initializer: Initializer<A>,
    ) -> KTable<Windowed<K>, A> {
        let cogrouping = Cogrouping { initializer: &initializer, windows: Some(windows) };
        let table = self.declare_table(declared.store, cogrouping, rows_in_store::<S, _, _>);
        declared.keys.note(&table.graph, table.id);
        table
    }
}

impl<K: HasSerde, A: HasSerde> CogroupWindows<K, A> {
    /// Writes the node for the records of one stream, whose late ones go to `late`.
    pub(super) fn write_input<K2, V, F>(
        &self,
        change: &Arc<F>,
        late: Option<Arc<Produced<K2, V>>>,
        is_last: IsLast,
    ) -> WriteNode
    where
        K2: RecordField<NonNull = K>,
        V: RecordField,
        F: Fn(&K, V::NonNull, Option<A>) -> Result<Option<A>, Failure> + Send + Sync + 'static,
    {
        let change = Arc::clone(change);
        match self {
            CogroupWindows::Time(windows, times) => {
                let (windows, change) = (*windows, Arc::new(of_field::<K, V, A, F>(change)));
                write_windowed_node(*times, move |wiring, table| {
                    let table = of_input(table, is_last);
                    let late = LateRecords::open(wiring, late.as_deref())?;
                    Ok(TimeWindowAggregation::<K2, V, A, _>::new(table, windows, true, late, &change))
                })
            }
            CogroupWindows::Sliding(windows, times) => {
                let windows = *windows;
                write_windowed_node(*times, move |wiring, table| {
                    let table = of_input(table, is_last);
                    let late = LateRecords::open(wiring, late.as_deref())?;
                    Ok(SlidingWindowAggregation::<K2, V, A, F>::new(table, windows, late, &change))
                })
            }
            CogroupWindows::Session(windows, times, merger) => {
                let (windows, change) = (*windows, Arc::new(of_field::<K, V, A, F>(change)));
                let merger = Arc::clone(merger);
                let merge = Arc::new(move |key: &K, one: Option<A>, other: A| merger(key, one, other));
                write_windowed_node(*times, move |wiring, table| {
                    let table = of_input(table, is_last);
                    let late = LateRecords::open(wiring, late.as_deref())?;
                    Ok(SessionAggregation::<K2, V, A, _, _>::new(table, windows, true, late, &change, &merge))
                })
            }
        }
    }
}

/// The table as one of several nodes sees it, the last of which emits for all.
fn of_input<S: WindowedStore>(table: WindowTable<S>, is_last: IsLast) -> WindowTable<S> {
    if is_last { table } else { table.without_emissions() }
}

/// The same for a value that may be null in its type, though not here: records with a null are dropped before.
fn of_field<K, V, A, F>(
    change: Arc<F>,
) -> impl Fn(&K, V, Option<A>) -> Result<Option<A>, Failure> + Send + Sync + 'static
where
    K: 'static,
    V: RecordField,
    A: 'static,
    F: Fn(&K, V::NonNull, Option<A>) -> Result<Option<A>, Failure> + Send + Sync + 'static,
{
    move |key, value, current| match value.into_non_null() {
        Some(value) => change(key, value, current),
        None => Ok(current),
    }
}

impl<K, A> fmt::Debug for TimeWindowedCogroupedKStream<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimeWindowedCogroupedKStream({:?}, {:?})", self.cogrouped, self.windows)
    }
}

impl<K, A> fmt::Debug for SessionWindowedCogroupedKStream<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionWindowedCogroupedKStream({:?}, {:?})", self.cogrouped, self.windows)
    }
}

#[cfg(test)]
mod tests;
