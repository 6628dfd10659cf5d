//! `count` of a windowed stream.

use millstream_processor::{RecordField, SessionKind, WindowKind, Windowed};

use super::count::counting;
use super::stream_aggregation::Aggregation;
use crate::options::StoreFor;
use crate::table::KTable;
use crate::windowed::{SessionWindowedKStream, SlidingWindowedKStream, TimeWindowedKStream};

impl<K: RecordField, V: RecordField> TimeWindowedKStream<K, V> {
    /// Counts the records of each key in each window. Records with a null key are dropped and counted as such; those with a null value
    /// are records as any other.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const PER_HOUR: WindowStoreName<String, u64> = WindowStoreName::new("orders-per-hour");
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders").group_by_key();
    /// orders.windowed_by(TimeWindows::of_size_and_grace(hours(1), minutes(5))).count(PER_HOUR);
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let orders = driver.input_topic::<String, i64>("orders");
    /// orders.pipe_input_at("apples", 500, Timestamp::from_millis(1_000))?;
    /// orders.pipe_input_at("apples", 5, Timestamp::from_millis(2_000))?;
    /// let row = driver.window_store(PER_HOUR)?.fetch(&"apples".into(), Timestamp::from_millis(0))?;
    /// assert_eq!(row.map(|row| row.value), Some(2));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn count(
        &self,
        store: impl StoreFor<K::NonNull, u64, WindowKind>,
    ) -> KTable<Windowed<K::NonNull>, u64> {
        self.declare_aggregation(Aggregation::Count, store.into(), counting)
    }
}

impl<K: RecordField, V: RecordField> SlidingWindowedKStream<K, V> {
    /// Counts the records of each key in each window. Records with a null key or value are dropped and counted as such.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const ATTEMPTS: WindowStoreName<String, u64> = WindowStoreName::new("attempts-within-a-minute");
    ///
    /// let builder = StreamsBuilder::new();
    /// let attempts = builder.stream::<String, String>("failed-logins").group_by_key();
    /// attempts.windowed_by(SlidingWindows::of_time_difference_with_no_grace(minutes(1))).count(ATTEMPTS);
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let attempts = driver.input_topic::<String, String>("failed-logins");
    /// for second in [100, 130] {
    ///     attempts.pipe_input_at("ann", "wrong password", Timestamp::from_millis(second * 1000))?;
    /// }
    /// let until_the_last = driver.window_store(ATTEMPTS)?.fetch(&"ann".into(), Timestamp::from_millis(70_000))?;
    /// assert_eq!(until_the_last.map(|row| row.value), Some(2));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn count(
        &self,
        store: impl StoreFor<K::NonNull, u64, WindowKind>,
    ) -> KTable<Windowed<K::NonNull>, u64> {
        // Kafka Streams names it as an aggregation: it uses up no number as its other counts do.
        self.declare_aggregation(Aggregation::Aggregate, store.into(), counting)
    }
}

impl<K: RecordField, V: RecordField> SessionWindowedKStream<K, V> {
    /// Counts the records of each session. Records with a null key are dropped and counted as such; those with a null value are records as
    /// any other.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const VISITS: SessionStoreName<String, u64> = SessionStoreName::new("visits");
    ///
    /// let builder = StreamsBuilder::new();
    /// let clicks = builder.stream::<String, String>("clicks").group_by_key();
    /// clicks.windowed_by(SessionWindows::of_inactivity_gap_with_no_grace(minutes(30))).count(VISITS);
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let clicks = driver.input_topic::<String, String>("clicks");
    /// let at = |minute: i64| Timestamp::from_millis(minute * 60_000);
    /// for minute in [0, 10, 90] {
    ///     clicks.pipe_input_at("ann", "/", at(minute))?;
    /// }
    /// let visits = driver.session_store(VISITS)?;
    /// assert_eq!(visits.fetch_session(&"ann".into(), Window::new(at(90), at(90)))?.map(|row| row.value), Some(1));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn count(
        &self,
        store: impl StoreFor<K::NonNull, u64, SessionKind>,
    ) -> KTable<Windowed<K::NonNull>, u64> {
        self.declare_aggregation(Aggregation::Count, store.into(), counting, |_key, one, other| {
            Ok(one.unwrap_or(0) + other)
        })
    }
}
