//! `reduce` of a windowed stream.

use std::sync::Arc;

use millstream_processor::{RecordField, SessionKind, WindowKind, Windowed};

use super::reduce::reducing;
use super::stream_aggregation::Aggregation;
use crate::options::StoreFor;
use crate::table::KTable;
use crate::windowed::{SessionWindowedKStream, SlidingWindowedKStream, TimeWindowedKStream};

impl<K: RecordField, V: RecordField> TimeWindowedKStream<K, V> {
    /// Combines the values of each key in each window: the closure gets the value so far and the new one. The first value is kept as it
    /// is. Records with a null key or value are dropped and counted.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const LARGEST: WindowStoreName<String, i64> = WindowStoreName::new("largest-order-of-the-day");
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders").group_by_key();
    /// let per_day = orders.windowed_by(TimeWindows::of_size_with_no_grace(days(1)));
    /// per_day.reduce(LARGEST, |largest, order| largest.max(order));
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let orders = driver.input_topic::<String, i64>("orders");
    /// orders.pipe_input_at("apples", 500, Timestamp::from_millis(1_000))?;
    /// orders.pipe_input_at("apples", 5, Timestamp::from_millis(2_000))?;
    /// let row = driver.window_store(LARGEST)?.fetch(&"apples".into(), Timestamp::from_millis(0))?;
    /// assert_eq!(row.map(|row| row.value), Some(500));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn reduce(
        &self,
        store: impl StoreFor<K::NonNull, V::NonNull, WindowKind>,
        reducer: impl Fn(V::NonNull, V::NonNull) -> V::NonNull + Send + Sync + 'static,
    ) -> KTable<Windowed<K::NonNull>, V::NonNull> {
        self.declare_aggregation(Aggregation::Reduce, store.into(), reducing::<_, V>(reducer))
    }
}

impl<K: RecordField, V: RecordField> SlidingWindowedKStream<K, V> {
    /// Combines the values of each key in each window: the closure gets the value so far and the new one. The first value is kept as it
    /// is. Records with a null key or value are dropped and counted.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const HOTTEST: WindowStoreName<String, i64> = WindowStoreName::new("hottest-of-ten-minutes");
    ///
    /// let builder = StreamsBuilder::new();
    /// let degrees = builder.stream::<String, i64>("degrees").group_by_key();
    /// let near = degrees.windowed_by(SlidingWindows::of_time_difference_with_no_grace(minutes(10)));
    /// near.reduce(HOTTEST, |hottest, now| hottest.max(now));
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let degrees = driver.input_topic::<String, i64>("degrees");
    /// degrees.pipe_input_at("cellar", 12, Timestamp::from_millis(900_000))?;
    /// degrees.pipe_input_at("cellar", 11, Timestamp::from_millis(960_000))?;
    /// let row = driver.window_store(HOTTEST)?.fetch(&"cellar".into(), Timestamp::from_millis(360_000))?;
    /// assert_eq!(row.map(|row| row.value), Some(12));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn reduce(
        &self,
        store: impl StoreFor<K::NonNull, V::NonNull, WindowKind>,
        reducer: impl Fn(V::NonNull, V::NonNull) -> V::NonNull + Send + Sync + 'static,
    ) -> KTable<Windowed<K::NonNull>, V::NonNull> {
        self.declare_aggregation(Aggregation::Reduce, store.into(), reducing::<_, V::NonNull>(reducer))
    }
}

impl<K: RecordField, V: RecordField> SessionWindowedKStream<K, V> {
    /// Combines the values of each session: the closure gets the value so far and the new one, or the values of two sessions that become one.
    /// The first value is kept as it is. Records with a null key or value are dropped and counted.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const PAGES: SessionStoreName<String, String> = SessionStoreName::new("pages-of-a-visit");
    ///
    /// let builder = StreamsBuilder::new();
    /// let clicks = builder.stream::<String, String>("clicks").group_by_key();
    /// let visits = clicks.windowed_by(SessionWindows::of_inactivity_gap_with_no_grace(minutes(30)));
    /// visits.reduce(PAGES, |pages, page| format!("{pages} {page}"));
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let clicks = driver.input_topic::<String, String>("clicks");
    /// clicks.pipe_input_at("ann", "/", Timestamp::from_millis(0))?;
    /// clicks.pipe_input_at("ann", "/cart", Timestamp::from_millis(5_000))?;
    /// let visit = Window::new(Timestamp::from_millis(0), Timestamp::from_millis(5_000));
    /// let row = driver.session_store(PAGES)?.fetch_session(&"ann".into(), visit)?;
    /// assert_eq!(row.map(|row| row.value), Some("/ /cart".into()));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn reduce(
        &self,
        store: impl StoreFor<K::NonNull, V::NonNull, SessionKind>,
        reducer: impl Fn(V::NonNull, V::NonNull) -> V::NonNull + Send + Sync + 'static,
    ) -> KTable<Windowed<K::NonNull>, V::NonNull> {
        let reducer = Arc::new(reducer);
        let merger = Arc::clone(&reducer);
        self.declare_aggregation(
            Aggregation::Reduce,
            store.into(),
            reducing::<_, V>(move |current, value| reducer(current, value)),
            move |_key, one, other| {
                Ok(match one {
                    Some(one) => merger(one, other),
                    None => other,
                })
            },
        )
    }
}
