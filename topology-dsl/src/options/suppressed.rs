//! How long the changes of a table are held back, and how many of them.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use millstream_processor::{Timestamp, Windowed};

/// How the changes of a table are held back (Kafka Streams' `Suppressed`), for [`KTable::suppress`](crate::KTable::suppress).
///
/// ```
/// use millstream::prelude::*;
///
/// let at_most_once_a_minute = Suppressed::until_time_limit(minutes(1), BufferConfig::max_records(10_000));
/// let builder = StreamsBuilder::new();
/// builder.table::<String, i64>("stock").suppress(at_most_once_a_minute).to_stream().to("stock-levels");
/// # builder.build()?;
/// # Ok::<(), millstream::Error>(())
/// ```
pub struct Suppressed<K> {
    pub(crate) until: Until<K>,
    pub(crate) limits: BufferLimits,
}

/// When a change may go.
pub(crate) struct Until<K> {
    /// The time by which a change waits, made of its key and its event time.
    pub(crate) time: fn(&K, Timestamp) -> Timestamp,
    /// By how much stream time must have passed that.
    pub(crate) wait: Wait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    For(Duration),
    /// For the grace of the windows; only results that are final go on.
    UntilWindowCloses,
}

impl<K> Suppressed<K> {
    /// Holds the changes of a row back until stream time has passed the first of them by `limit`, and lets only the newest go on then. Stream
    /// time is that of the records that reach the operator: without records, nothing is let go.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let stock = builder.table::<String, i64>("stock");
    /// let at_most_once_a_minute = Suppressed::until_time_limit(minutes(1), BufferConfig::unbounded());
    /// stock.suppress(at_most_once_a_minute).to_stream().to("stock-levels");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let stock = driver.input_topic::<String, i64>("stock");
    /// for (on_hand, second) in [(10, 0), (7, 20), (5, 60)] {
    ///     stock.pipe_input_at("apples", on_hand, Timestamp::from_millis(second * 1_000))?;
    /// }
    /// let levels = driver.output_topic::<String, Option<i64>>("stock-levels");
    /// assert_eq!(levels.read_key_values_to_list()?, [("apples".into(), Some(5))]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "untilTimeLimit")]
    pub fn until_time_limit<F: WhenFull>(limit: Duration, buffer: BufferConfig<F>) -> Self {
        let until = Until { time: |_, timestamp| timestamp, wait: Wait::For(limit) };
        Suppressed { until, limits: buffer.into_limits() }
    }
}

impl<K> Suppressed<Windowed<K>> {
    /// Lets the result of a window go when it is final: when stream time has passed the window's end and the grace of the windows. There is one
    /// for each window then, and none for a window that was deleted. Stream time is that of the records that reach the operator: without
    /// records, nothing is let go.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders").group_by_key();
    /// let per_minute = orders.windowed_by(TimeWindows::of_size_with_no_grace(minutes(1))).count(());
    /// let results = per_minute.suppress(Suppressed::until_window_closes(BufferConfig::unbounded()));
    /// results.to_stream().map(|window, count| (window.key, count)).to("orders-per-minute");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let (orders, at) = (driver.input_topic::<String, i64>("orders"), Timestamp::from_millis);
    /// orders.pipe_input_at("apples", 1, at(10_000))?;
    /// orders.pipe_input_at("apples", 1, at(50_000))?;
    /// orders.pipe_input_at("apples", 1, at(60_000))?;
    /// let counts = driver.output_topic::<String, Option<u64>>("orders-per-minute");
    /// assert_eq!(counts.read_key_values_to_list()?, [("apples".into(), Some(2))]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "untilWindowCloses")]
    pub fn until_window_closes<F: NeverEarly>(buffer: BufferConfig<F>) -> Self {
        let until = Until { time: |key: &Windowed<K>, _| key.window.end, wait: Wait::UntilWindowCloses };
        Suppressed { until, limits: buffer.into_limits() }
    }
}

impl<K> fmt::Debug for Suppressed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suppressed").field("wait", &self.until.wait).field("limits", &self.limits).finish()
    }
}

/// How much a buffer holds, and what it does when that is not enough (Kafka Streams' `Suppressed.BufferConfig`). Whatever waits is also in a
/// changelog topic.
///
/// ```
/// use millstream::prelude::*;
///
/// let early = BufferConfig::max_records(1_000).with_max_bytes(1 << 20);
/// let strict = BufferConfig::max_bytes(64 << 20).shut_down_when_full();
/// let unbounded = BufferConfig::unbounded().with_changelog_config("segment.bytes", "10485760");
/// ```
pub struct BufferConfig<F> {
    limits: BufferLimits,
    when_full: PhantomData<F>,
}

/// What a buffer does if more is to wait than it may hold: [`EmitEarly`] or [`Strict`].
pub trait WhenFull: sealed::Sealed {
    #[doc(hidden)]
    const SHUTS_DOWN: bool;
}

/// A full buffer lets the changes that waited longest go before their time.
#[derive(Clone, Copy, Debug)]
pub enum EmitEarly {}

/// A full buffer stops the application, or there is no limit to it: nothing goes before its time.
#[derive(Clone, Copy, Debug)]
pub enum Strict {}

impl WhenFull for EmitEarly {
    const SHUTS_DOWN: bool = false;
}

impl WhenFull for Strict {
    const SHUTS_DOWN: bool = true;
}

/// What a buffer does that lets nothing go before its time: [`Strict`].
#[diagnostic::on_unimplemented(
    message = "a buffer that may emit early cannot wait until windows close",
    label = "a window would have several results",
    note = "end the `BufferConfig` with `.shut_down_when_full()`, or begin it with `BufferConfig::unbounded()`",
    note = "`Suppressed::until_time_limit` takes a buffer that may emit early"
)]
pub trait NeverEarly: WhenFull {}

impl NeverEarly for Strict {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::EmitEarly {}
    impl Sealed for super::Strict {}
}

/// A [`BufferConfig`] as the operator uses it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BufferLimits {
    pub(crate) records: Option<usize>,
    pub(crate) bytes: Option<usize>,
    pub(crate) shuts_down: bool,
    pub(crate) is_unlogged: bool,
    pub(crate) changelog_config: BTreeMap<String, String>,
}

impl BufferConfig<EmitEarly> {
    /// Holds so many rows, and lets the oldest go when there are more.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let stock = builder.table::<String, i64>("stock");
    /// let buffer = BufferConfig::max_records(1);
    /// stock.suppress(Suppressed::until_time_limit(minutes(1), buffer)).to_stream().to("stock-levels");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let stock = driver.input_topic::<String, i64>("stock");
    /// stock.pipe_input("apples", 10)?;
    /// stock.pipe_input("pears", 4)?;
    /// let levels = driver.output_topic::<String, Option<i64>>("stock-levels");
    /// assert_eq!(levels.read_key_values_to_list()?, [("apples".into(), Some(10))]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "maxRecords")]
    pub fn max_records(records: usize) -> Self {
        BufferConfig::of(BufferLimits { records: Some(records), ..BufferLimits::default() })
    }

    /// Holds so many bytes of keys, of values and of what is kept beside them, as Kafka Streams counts them, and lets the oldest go when there are more.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let stock = builder.table::<String, i64>("stock");
    /// let buffer = BufferConfig::max_bytes(50);
    /// stock.suppress(Suppressed::until_time_limit(minutes(1), buffer)).to_stream().to("stock-levels");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let stock = driver.input_topic::<String, i64>("stock");
    /// stock.pipe_input("apples", 10)?;
    /// stock.pipe_input("pears", 4)?;
    /// let levels = driver.output_topic::<String, Option<i64>>("stock-levels");
    /// assert_eq!(levels.read_key_values_to_list()?, [("apples".into(), Some(10))]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "maxBytes")]
    pub fn max_bytes(bytes: usize) -> Self {
        BufferConfig::of(BufferLimits { bytes: Some(bytes), ..BufferLimits::default() })
    }
}

impl BufferConfig<Strict> {
    /// Holds whatever comes. Rows that wait are in the task's stores, in memory or on its disk.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let stock = builder.table::<String, i64>("stock");
    /// let buffer = BufferConfig::unbounded();
    /// stock.suppress(Suppressed::until_time_limit(minutes(1), buffer)).to_stream().to("stock-levels");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let stock = driver.input_topic::<String, i64>("stock");
    /// stock.pipe_input("apples", 10)?;
    /// stock.pipe_input("pears", 4)?;
    /// assert!(driver.output_topic::<String, Option<i64>>("stock-levels").is_empty());
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "withNoBound")]
    pub fn unbounded() -> Self {
        BufferConfig::of(BufferLimits::default())
    }
}

impl<F: WhenFull> BufferConfig<F> {
    fn of(limits: BufferLimits) -> Self {
        BufferConfig { limits, when_full: PhantomData }
    }

    fn into_limits(self) -> BufferLimits {
        BufferLimits { shuts_down: F::SHUTS_DOWN, ..self.limits }
    }

    /// Bounds the rows, also.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let stock = builder.table::<String, i64>("stock");
    /// let buffer = BufferConfig::max_bytes(64 << 20).with_max_records(1);
    /// stock.suppress(Suppressed::until_time_limit(minutes(1), buffer)).to_stream().to("stock-levels");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let stock = driver.input_topic::<String, i64>("stock");
    /// stock.pipe_input("apples", 10)?;
    /// stock.pipe_input("pears", 4)?;
    /// let levels = driver.output_topic::<String, Option<i64>>("stock-levels");
    /// assert_eq!(levels.read_key_values_to_list()?, [("apples".into(), Some(10))]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[must_use]
    pub fn with_max_records(mut self, records: usize) -> Self {
        self.limits.records = Some(records);
        self
    }

    /// Bounds the bytes, also.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let stock = builder.table::<String, i64>("stock");
    /// let buffer = BufferConfig::max_records(1_000).with_max_bytes(50);
    /// stock.suppress(Suppressed::until_time_limit(minutes(1), buffer)).to_stream().to("stock-levels");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let stock = driver.input_topic::<String, i64>("stock");
    /// stock.pipe_input("apples", 10)?;
    /// stock.pipe_input("pears", 4)?;
    /// let levels = driver.output_topic::<String, Option<i64>>("stock-levels");
    /// assert_eq!(levels.read_key_values_to_list()?, [("apples".into(), Some(10))]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[must_use]
    pub fn with_max_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = Some(bytes);
        self
    }

    /// Stops the application when the buffer is full, whatever its handlers say of records that fail: nothing goes before its time.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let stock = builder.table::<String, i64>("stock");
    /// let buffer = BufferConfig::max_records(1).shut_down_when_full();
    /// stock.suppress(Suppressed::until_time_limit(minutes(1), buffer)).to_stream().to("stock-levels");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let stock = driver.input_topic::<String, i64>("stock");
    /// stock.pipe_input("apples", 10)?;
    /// assert!(stock.pipe_input("pears", 4).is_err());
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[must_use]
    pub fn shut_down_when_full(self) -> BufferConfig<Strict> {
        BufferConfig::of(self.limits)
    }

    /// Lets the changes that waited longest go before their time when the buffer is full.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let stock = builder.table::<String, i64>("stock");
    /// let buffer = BufferConfig::unbounded().with_max_records(1).emit_early_when_full();
    /// stock.suppress(Suppressed::until_time_limit(minutes(1), buffer)).to_stream().to("stock-levels");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let stock = driver.input_topic::<String, i64>("stock");
    /// stock.pipe_input("apples", 10)?;
    /// stock.pipe_input("pears", 4)?;
    /// let levels = driver.output_topic::<String, Option<i64>>("stock-levels");
    /// assert_eq!(levels.read_key_values_to_list()?, [("apples".into(), Some(10))]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[must_use]
    pub fn emit_early_when_full(self) -> BufferConfig<EmitEarly> {
        BufferConfig::of(self.limits)
    }

    /// Keeps no changelog topic: what waits is lost with the task's directory.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let stock = builder.table::<String, i64>("stock");
    /// let buffer = BufferConfig::unbounded().without_logging();
    /// stock.suppress(Suppressed::until_time_limit(minutes(1), buffer)).to_stream().to("stock-levels");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "withLoggingDisabled")]
    pub fn without_logging(mut self) -> Self {
        self.limits.is_unlogged = true;
        self
    }

    /// Sets a topic configuration of the changelog, such as `segment.bytes`.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let stock = builder.table::<String, i64>("stock");
    /// let buffer = BufferConfig::unbounded().with_changelog_config("segment.bytes", "10485760");
    /// stock.suppress(Suppressed::until_time_limit(minutes(1), buffer)).to_stream().to("stock-levels");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "withLoggingEnabled")]
    pub fn with_changelog_config(mut self, name: &str, value: &str) -> Self {
        self.limits.changelog_config.insert(name.to_string(), value.to_string());
        self
    }
}

impl<F> fmt::Debug for BufferConfig<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BufferConfig").field(&self.limits).finish()
    }
}
