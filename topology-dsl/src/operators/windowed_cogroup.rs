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

impl<K: HasSerde, A: HasSerde> TimeWindowedCogroupedKStream<K, A> {
    /// Sends records of one of the streams that no window accepts any more to a topic, besides counting them. Each stream can have one, as each
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
    /// Sends records of one of the streams that belong to a session which is closed to a topic, besides counting them. Each stream can have one,
    /// as each has its own type of values; those of a stream that has none are only counted. The topic must exist.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let clicks = builder.stream::<String, String>("clicks").group_by_key();
    /// let orders = builder.stream::<String, i64>("orders").group_by_key();
    /// clicks
    ///     .cogroup(|_customer, _page, steps: u64| steps + 1)
    ///     .cogroup(&orders, |_customer, _order, steps| steps + 1)
    ///     .windowed_by(SessionWindows::of_inactivity_gap_with_no_grace(minutes(30)))
    ///     .late_records_of(&orders, "late-orders")
    ///     .aggregate((), || 0, |_customer, one, other| one + other);
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let at = |minute: i64| Timestamp::from_millis(minute * 60_000);
    /// let orders = driver.input_topic::<String, i64>("orders");
    /// orders.pipe_input_at("ann", 500, at(31))?;
    /// orders.pipe_input_at("bob", 200, at(0))?;
    /// let late = driver.output_topic::<String, i64>("late-orders");
    /// assert_eq!(late.read_key_value()?, Some(("bob".into(), 200)));
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
mod tests {
    use crate::operators::test_support::{
        at, driver, driver_without_commits, pipe_at, text, written, written_at,
    };
    use crate::{
        CogroupedKStream, EmitStrategy, KTable, SessionStoreName, SessionWindows, SlidingWindows,
        StoreOptions, StreamsBuilder, TimeWindows, UnlimitedWindows, Window, WindowStoreName, Windowed,
        millis,
    };

    const REVENUE: WindowStoreName<String, i64> = WindowStoreName::new("revenue");

    /// Sales add, refunds subtract.
    fn revenue(builder: &StreamsBuilder) -> CogroupedKStream<String, i64> {
        let sales = builder.stream::<Option<String>, Option<i64>>("sales").group_by_key();
        let refunds = builder.stream::<String, String>("refunds").group_by_key();
        sales
            .cogroup(|_, cents, sum: i64| sum + cents)
            .try_cogroup(&refunds, |_, cents, sum| cents.parse::<i64>().map(|cents| sum - cents))
    }

    fn tens(grace: u64) -> TimeWindows {
        TimeWindows::of_size_and_grace(millis(10), millis(grace))
    }

    /// What becomes of sales (with amounts) and refunds (negative amounts) at these times.
    fn emitted(
        emit: EmitStrategy,
        commit_after: impl Fn(usize) -> bool,
        records: &[(&str, i64, i64)],
    ) -> (Vec<(String, Option<i64>)>, u64) {
        let driver = driver_without_commits(|builder| {
            let revenue = revenue(builder).windowed_by(tens(2)).emit_strategy(emit).aggregate((), || 0);
            write_rows(&revenue);
        });
        let sales = driver.input_topic::<String, i64>("sales");
        let refunds = driver.input_topic::<String, String>("refunds");
        for (number, (sku, cents, time)) in records.iter().enumerate() {
            if *cents < 0 {
                pipe_at(&refunds, *sku, (-cents).to_string(), *time);
            } else {
                pipe_at(&sales, *sku, *cents, *time);
            }
            if commit_after(number) {
                driver.commit().expect("the commit succeeds");
            }
        }
        driver.commit().expect("the commit succeeds");
        (written(&driver.output_topic("rows")), driver.dropped_records())
    }

    fn write_rows(table: &KTable<Windowed<String>, i64>) {
        table.to_stream().map(|windowed, cents| (windowed.to_string(), cents)).to("rows");
    }

    #[test]
    fn each_stream_has_its_own_time_and_all_change_the_same_windows() {
        let records =
            [("apples", 5, 1), ("apples", 7, 12), ("apples", -2, 9), ("apples", 1, 9), ("apples", -1, 13)];
        let (rows, dropped) = emitted(EmitStrategy::on_window_update(), |_| true, &records);
        let expected = [
            ("[apples@0/10]", Some(5)),
            ("[apples@10/20]", Some(7)),
            ("[apples@0/10]", Some(3)),
            ("[apples@10/20]", Some(6)),
        ];
        assert_eq!(rows, expected.map(|(window, cents)| (text(window), cents)));
        assert_eq!(dropped, 1, "a sale of 9 is late for sales at 12, and a refund of 9 is not for refunds");
    }

    #[test]
    fn a_caching_store_emits_the_newest_value_once_whichever_stream_changed_it() {
        let records = [("apples", 5, 1), ("apples", -2, 9), ("pears", 1, 3)];
        let (rows, _) = emitted(EmitStrategy::on_window_update(), |_| false, &records);
        assert_eq!(rows, [(text("[apples@0/10]"), Some(3)), (text("[pears@0/10]"), Some(1))]);
    }

    #[test]
    fn a_window_that_is_emitted_once_is_closed_for_all_streams() {
        let records = [
            ("apples", 5, 1),
            ("pears", -3, 2),
            ("apples", -2, 9),
            ("apples", 7, 12), // [0, 10) is closed
            ("apples", -1, 9),
            ("pears", -1, 30),
        ];
        let expected = ["[apples@0/10]", "[pears@0/10]", "[apples@10/20]"].map(text);
        let expected: Vec<_> = expected.into_iter().zip([3, -3, 7].map(Some)).collect();
        for every in [1, 2, 10] {
            let commit_after = |number: usize| number % every == every - 1;
            let (rows, dropped) = emitted(EmitStrategy::on_window_close(), commit_after, &records);
            assert_eq!((rows, dropped), (expected.clone(), 1), "a commit after {every} records");
        }
    }

    #[test]
    fn late_records_of_each_stream_go_where_it_sends_them() {
        let driver = driver(|builder| {
            let sales = builder.stream::<String, i64>("sales").group_by_key();
            let refunds = builder.stream::<String, String>("refunds").group_by_key();
            let claims = builder.stream::<String, u64>("claims").group_by_key();
            let revenue = sales.cogroup(|_, cents, sum: i64| sum + cents);
            let revenue = revenue.cogroup(&refunds, |_, _, sum| sum).cogroup(&claims, |_, _, sum| sum);
            let revenue = revenue.windowed_by(tens(2)).late_records_of(&refunds, "late-refunds");
            drop(revenue.late_records_of(&sales, "late-sales").aggregate((), || 0));
        });
        let sales = driver.input_topic::<String, i64>("sales");
        let refunds = driver.input_topic::<String, String>("refunds");
        let claims = driver.input_topic::<String, u64>("claims");
        for time in [1, 12, 9] {
            pipe_at(&sales, "apples", time, time);
            pipe_at(&refunds, "pears", text("damaged"), time);
            pipe_at(&claims, "plums", 1_u64, time);
        }
        let late_sales = written_at(&driver.output_topic::<String, i64>("late-sales"));
        assert_eq!(late_sales, [(text("apples"), 9, 9)]);
        let late_refunds = written_at(&driver.output_topic::<String, String>("late-refunds"));
        assert_eq!(late_refunds, [(text("pears"), text("damaged"), 9)]);
        assert_eq!(driver.dropped_records(), 3, "a late claim is only counted");
    }

    #[test]
    fn late_records_of_sliding_windows_and_of_sessions_go_to_a_topic() {
        let driver = driver(|builder| {
            let clicks = builder.stream::<String, String>("clicks").group_by_key();
            let orders = builder.stream::<String, i64>("orders").group_by_key();
            let steps = || clicks.cogroup(|_, _, n: i64| n + 1).cogroup(&orders, |_, _, n| n + 1);
            let sliding = SlidingWindows::of_time_difference_with_no_grace(millis(5));
            let sliding = steps().windowed_by(sliding).late_records_of(&orders, "late-in-sliding");
            drop(sliding.aggregate((), || 0));
            let sessions = SessionWindows::of_inactivity_gap_with_no_grace(millis(5));
            let sessions = steps().windowed_by(sessions).late_records_of(&clicks, "late-in-sessions");
            drop(sessions.aggregate((), || 0, |_, one, other| one + other));
        });
        let clicks = driver.input_topic::<String, String>("clicks");
        let orders = driver.input_topic::<String, i64>("orders");
        for time in [20, 1] {
            pipe_at(&clicks, "ann", text("/cart"), time);
            pipe_at(&orders, "bob", time, time);
        }
        let late_in_sliding = written_at(&driver.output_topic::<String, i64>("late-in-sliding"));
        assert_eq!(late_in_sliding, [(text("bob"), 1, 1)]);
        let late_in_sessions = written_at(&driver.output_topic::<String, String>("late-in-sessions"));
        assert_eq!(late_in_sessions, [(text("ann"), text("/cart"), 1)]);
    }

    #[test]
    #[should_panic(expected = "late records are those of a stream that is aggregated: cogroup it first")]
    fn late_records_of_a_stream_that_is_not_aggregated_are_refused() {
        let builder = StreamsBuilder::new();
        let claims = builder.stream::<String, i64>("claims").group_by_key();
        drop(revenue(&builder).windowed_by(tens(0)).late_records_of(&claims, "late-claims"));
    }

    #[test]
    fn records_without_key_or_value_are_dropped_and_those_that_fail_are_skipped() {
        let driver = driver(|builder| {
            let table = revenue(builder).windowed_by(tens(0)).aggregate(REVENUE, || 0);
            write_rows(&table);
        });
        let sales = driver.input_topic::<Option<String>, Option<i64>>("sales");
        pipe_at(&sales, None::<String>, Some(1_i64), 1);
        pipe_at(&sales, Some(text("apples")), None::<i64>, 1);
        pipe_at(&driver.input_topic::<String, String>("refunds"), "apples", "some", 1);
        assert_eq!((driver.dropped_records(), driver.skipped_records()), (2, 1));
        assert!(written::<String, i64>(&driver.output_topic("rows")).is_empty());
    }

    #[test]
    fn sliding_windows_see_the_records_of_all_streams() {
        let driver = driver(|builder| {
            let windows = SlidingWindows::of_time_difference_and_grace(millis(10), millis(50));
            let table = revenue(builder).windowed_by(windows).aggregate(().without_caching(), || 0);
            write_rows(&table);
        });
        pipe_at(&driver.input_topic::<String, i64>("sales"), "apples", 5, 20);
        pipe_at(&driver.input_topic::<String, String>("refunds"), "apples", "2", 25);
        let rows = written(&driver.output_topic::<String, Option<i64>>("rows"));
        let expected = [("[apples@10/20]", 5), ("[apples@21/31]", -2), ("[apples@15/25]", 3)];
        assert_eq!(rows, expected.map(|(window, cents)| (text(window), Some(cents))));
    }

    #[test]
    fn a_record_of_one_stream_makes_one_session_of_those_of_another() {
        const VISITS: SessionStoreName<String, i64> = SessionStoreName::new("visits");
        let driver = driver(|builder| {
            let windows = SessionWindows::of_inactivity_gap_and_grace(millis(5), millis(50));
            let visits = revenue(builder).windowed_by(windows);
            write_rows(&visits.aggregate(VISITS.without_caching(), || 0, |_, one, other| one + other));
        });
        let sales = driver.input_topic::<String, i64>("sales");
        for time in [1, 9] {
            pipe_at(&sales, "ann", time, time);
        }
        pipe_at(&driver.input_topic::<String, String>("refunds"), "ann", "3", 5);
        let rows = written(&driver.output_topic::<String, Option<i64>>("rows"));
        let expected = [
            ("[ann@1/1]", Some(1)),
            ("[ann@9/9]", Some(9)),
            ("[ann@1/1]", None),
            ("[ann@9/9]", None),
            ("[ann@1/9]", Some(7)),
        ];
        assert_eq!(rows, expected.map(|(window, cents)| (text(window), cents)));
        let visits = driver.session_store(VISITS).expect("it is there");
        let row = visits.fetch_session(&text("ann"), Window::new(at(1), at(9))).expect("it can be read");
        assert_eq!(row.map(|row| row.value), Some(7));
    }

    #[test]
    fn sessions_that_are_emitted_once_are_closed_for_all_streams() {
        let driver = driver(|builder| {
            let windows = SessionWindows::of_inactivity_gap_with_no_grace(millis(5));
            let visits = revenue(builder).windowed_by(windows).emit_strategy(EmitStrategy::on_window_close());
            write_rows(&visits.aggregate((), || 0, |_, one, other| one + other));
        });
        let sales = driver.input_topic::<String, i64>("sales");
        let refunds = driver.input_topic::<String, String>("refunds");
        pipe_at(&sales, "ann", 1, 1);
        pipe_at(&refunds, "ann", "3", 5);
        pipe_at(&refunds, "bob", "1", 11);
        pipe_at(&sales, "ann", 1, 5);
        let rows = written(&driver.output_topic::<String, Option<i64>>("rows"));
        assert_eq!(rows, [(text("[ann@1/5]"), Some(-2))]);
        assert_eq!(driver.dropped_records(), 1);
    }

    #[test]
    #[should_panic(expected = "a window without an end is never closed")]
    fn what_never_closes_is_not_emitted_at_its_close() {
        let builder = StreamsBuilder::new();
        let forever = revenue(&builder).windowed_by(UnlimitedWindows::of());
        drop(forever.emit_strategy(EmitStrategy::on_window_close()));
    }
}
