//! Grouped streams cut into windows, about to be aggregated.

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use millstream_processor::RecordField;

use crate::grouped::KGroupedStream;
use crate::operators::{
    CogroupedKStream, FixedWindows, SessionWindowedCogroupedKStream, TimeWindowedCogroupedKStream,
};
use crate::options::Produced;
use crate::windows::{
    EmitStrategy, SessionWindows, SlidingWindows, TimeSpans, TimeWindows, UnlimitedWindows,
};

/// A grouped stream whose records are gathered in windows of a fixed size, or in one without an end. Made by
/// [`windowed_by`](KGroupedStream::windowed_by).
pub struct TimeWindowedKStream<K, V> {
    pub(crate) grouped: KGroupedStream<K, V>,
    pub(crate) windows: TimeSpans,
    pub(crate) options: WindowOptions<K, V>,
}

/// A grouped stream whose records are gathered in windows that lie around them. Made by
/// [`windowed_by`](KGroupedStream::windowed_by).
pub struct SlidingWindowedKStream<K, V> {
    pub(crate) grouped: KGroupedStream<K, V>,
    pub(crate) windows: SlidingWindows,
    pub(crate) options: WindowOptions<K, V>,
}

/// A grouped stream whose records are gathered in sessions. Made by [`windowed_by`](KGroupedStream::windowed_by).
pub struct SessionWindowedKStream<K, V> {
    pub(crate) grouped: KGroupedStream<K, V>,
    pub(crate) windows: SessionWindows,
    pub(crate) options: WindowOptions<K, V>,
}

/// What can be said of the aggregations of any windowed stream.
pub(crate) struct WindowOptions<K, V> {
    pub(crate) emit: EmitStrategy,
    /// Where records go that come too late.
    pub(crate) late: Option<Arc<Produced<K, V>>>,
}

impl<K, V> Default for WindowOptions<K, V> {
    fn default() -> Self {
        WindowOptions { emit: EmitStrategy::OnWindowUpdate, late: None }
    }
}

/// How a grouped stream, or several that are aggregated together, can be cut into windows: [`TimeWindows`], [`SlidingWindows`], [`SessionWindows`] or [`UnlimitedWindows`].
///
/// The trait cannot be implemented outside of this crate.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how a stream is cut into windows",
    label = "no windows",
    note = "use `TimeWindows`, `SlidingWindows`, `SessionWindows` or `UnlimitedWindows`"
)]
pub trait WindowDefinition: sealed::Sealed {
    /// The stream, cut into windows.
    type Windowed<K, V>;

    /// The streams that are aggregated together, cut into windows.
    type Cogrouped<K, A>;

    #[doc(hidden)]
    fn window<K, V>(self, grouped: KGroupedStream<K, V>) -> Self::Windowed<K, V>;

    #[doc(hidden)]
    fn window_cogrouped<K, A>(self, cogrouped: CogroupedKStream<K, A>) -> Self::Cogrouped<K, A>;
}

mod sealed {
    use super::{SessionWindows, SlidingWindows, TimeWindows, UnlimitedWindows};

    pub trait Sealed {}
    impl Sealed for TimeWindows {}
    impl Sealed for UnlimitedWindows {}
    impl Sealed for SlidingWindows {}
    impl Sealed for SessionWindows {}
}

impl WindowDefinition for TimeWindows {
    type Windowed<K, V> = TimeWindowedKStream<K, V>;
    type Cogrouped<K, A> = TimeWindowedCogroupedKStream<K, A>;

    fn window<K, V>(self, grouped: KGroupedStream<K, V>) -> TimeWindowedKStream<K, V> {
        let (windows, options) = (TimeSpans::Aligned(self), WindowOptions::default());
        TimeWindowedKStream { grouped, windows, options }
    }

    fn window_cogrouped<K, A>(self, cogrouped: CogroupedKStream<K, A>) -> TimeWindowedCogroupedKStream<K, A> {
        TimeWindowedCogroupedKStream::new(cogrouped, FixedWindows::Time(TimeSpans::Aligned(self)))
    }
}

impl WindowDefinition for UnlimitedWindows {
    type Windowed<K, V> = TimeWindowedKStream<K, V>;
    type Cogrouped<K, A> = TimeWindowedCogroupedKStream<K, A>;

    fn window<K, V>(self, grouped: KGroupedStream<K, V>) -> TimeWindowedKStream<K, V> {
        let (windows, options) = (TimeSpans::Unlimited(self), WindowOptions::default());
        TimeWindowedKStream { grouped, windows, options }
    }

    fn window_cogrouped<K, A>(self, cogrouped: CogroupedKStream<K, A>) -> TimeWindowedCogroupedKStream<K, A> {
        TimeWindowedCogroupedKStream::new(cogrouped, FixedWindows::Time(TimeSpans::Unlimited(self)))
    }
}

impl WindowDefinition for SlidingWindows {
    type Windowed<K, V> = SlidingWindowedKStream<K, V>;
    type Cogrouped<K, A> = TimeWindowedCogroupedKStream<K, A>;

    fn window<K, V>(self, grouped: KGroupedStream<K, V>) -> SlidingWindowedKStream<K, V> {
        SlidingWindowedKStream { grouped, windows: self, options: WindowOptions::default() }
    }

    fn window_cogrouped<K, A>(self, cogrouped: CogroupedKStream<K, A>) -> TimeWindowedCogroupedKStream<K, A> {
        TimeWindowedCogroupedKStream::new(cogrouped, FixedWindows::Sliding(self))
    }
}

impl WindowDefinition for SessionWindows {
    type Windowed<K, V> = SessionWindowedKStream<K, V>;
    type Cogrouped<K, A> = SessionWindowedCogroupedKStream<K, A>;

    fn window<K, V>(self, grouped: KGroupedStream<K, V>) -> SessionWindowedKStream<K, V> {
        SessionWindowedKStream { grouped, windows: self, options: WindowOptions::default() }
    }

    fn window_cogrouped<K, A>(
        self,
        cogrouped: CogroupedKStream<K, A>,
    ) -> SessionWindowedCogroupedKStream<K, A> {
        SessionWindowedCogroupedKStream::new(cogrouped, self)
    }
}

impl<K: RecordField, V: RecordField> KGroupedStream<K, V> {
    /// Gathers the records of each key in windows of event time. What is aggregated is a table of keys within windows.
    ///
    /// A record that comes after its window was closed is dropped and counted: a window is closed when stream time, the latest event
    /// time the aggregation has seen, has reached its end and the grace after it.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const PER_MINUTE: WindowStoreName<String, u64> = WindowStoreName::new("orders-per-minute");
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders").group_by_key();
    /// orders.windowed_by(TimeWindows::of_size_with_no_grace(minutes(1))).count(PER_MINUTE);
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let orders = driver.input_topic::<String, i64>("orders");
    /// let at = |second: i64| Timestamp::from_millis(second * 1000);
    /// for second in [10, 59, 61] {
    ///     orders.pipe_input_at("apples", 1, at(second))?;
    /// }
    /// orders.pipe_input_at("apples", 1, at(50))?; // too late
    /// let per_minute = driver.window_store(PER_MINUTE)?;
    /// assert_eq!(per_minute.fetch(&"apples".into(), at(60))?.map(|row| row.value), Some(1));
    /// assert_eq!(driver.dropped_records(), 1);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "windowedBy")]
    pub fn windowed_by<W: WindowDefinition>(&self, windows: W) -> W::Windowed<K, V> {
        let (graph, stream, grouping) = (Rc::clone(&self.graph), self.stream, self.grouping);
        windows.window(KGroupedStream { graph, stream, grouping, types: PhantomData })
    }
}

/// Refuses to emit windows when they are closed if they never are.
#[track_caller]
pub(crate) fn check_that_windows_close(close: bool, strategy: EmitStrategy) {
    assert!(
        close || strategy == EmitStrategy::OnWindowUpdate,
        "a window without an end is never closed: let it emit on_window_update"
    );
}

/// The options that all windowed streams have.
macro_rules! window_options {
    ($stream:ident) => {
        impl<K: RecordField, V: RecordField> $stream<K, V> {
            /// Says when aggregations emit: with each update (the default), or once for each window, when it is closed.
            ///
            /// Closed windows are emitted at a commit, in the order of time, then of their keys' bytes, each once, also after a restart.
            /// Which they are depends on the records alone; how many come out at one commit does not.
            ///
            /// ```
            /// use millstream::prelude::*;
            /// use millstream::testing::TopologyTestDriver;
            ///
            /// let builder = StreamsBuilder::new();
            /// let orders = builder.stream::<String, i64>("orders").group_by_key();
            /// let per_minute = orders
            ///     .windowed_by(TimeWindows::of_size_and_grace(minutes(1), seconds(10)))
            ///     .emit_strategy(EmitStrategy::on_window_close())
            ///     .count(());
            /// per_minute.to_stream().map(|apples, count| (apples.key, count)).to("final-counts");
            ///
            /// let driver = TopologyTestDriver::new(builder.build()?)?;
            /// let orders = driver.input_topic::<String, i64>("orders");
            /// let counts = driver.output_topic::<String, Option<u64>>("final-counts");
            /// for second in [10, 61, 59] {
            ///     orders.pipe_input_at("apples", 1, Timestamp::from_millis(second * 1000))?;
            ///     assert!(counts.is_empty(), "the first minute is not over");
            /// }
            /// orders.pipe_input_at("pears", 1, Timestamp::from_millis(70_000))?;
            /// assert_eq!(counts.read_key_values_to_list()?, [("apples".into(), Some(2))]);
            /// # Ok::<(), millstream::Error>(())
            /// ```
            ///
            /// # Panics
            /// When windows that never end are to be emitted when they are closed.
            #[doc(alias = "emitStrategy")]
            #[track_caller]
            #[must_use]
            pub fn emit_strategy(mut self, strategy: EmitStrategy) -> Self {
                check_that_windows_close(self.closes(), strategy);
                self.options.emit = strategy;
                self
            }

            /// Sends records that no window accepts any more to a topic, besides counting them. The topic must exist.
            ///
            /// ```
            /// use millstream::prelude::*;
            /// use millstream::testing::TopologyTestDriver;
            ///
            /// let builder = StreamsBuilder::new();
            /// let orders = builder.stream::<String, i64>("orders").group_by_key();
            /// let minutes = orders.windowed_by(TimeWindows::of_size_with_no_grace(minutes(1)));
            /// minutes.late_records_to("late-orders").count(());
            ///
            /// let driver = TopologyTestDriver::new(builder.build()?)?;
            /// let orders = driver.input_topic::<String, i64>("orders");
            /// orders.pipe_input_at("apples", 7, Timestamp::from_millis(60_000))?;
            /// orders.pipe_input_at("pears", 8, Timestamp::from_millis(59_999))?;
            /// let late = driver.output_topic::<String, i64>("late-orders");
            /// assert_eq!(late.read_key_value()?, Some(("pears".into(), 8)));
            /// # Ok::<(), millstream::Error>(())
            /// ```
            #[must_use]
            pub fn late_records_to(mut self, produced: impl Into<Produced<K, V>>) -> Self {
                self.options.late = Some(Arc::new(produced.into()));
                self
            }
        }

        impl<K, V> fmt::Debug for $stream<K, V> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let (key, value) = (std::any::type_name::<K>(), std::any::type_name::<V>());
                write!(f, "{}<{key}, {value}>({:?})", stringify!($stream), self.windows)
            }
        }
    };
}

window_options!(TimeWindowedKStream);
window_options!(SlidingWindowedKStream);
window_options!(SessionWindowedKStream);

impl<K, V> TimeWindowedKStream<K, V> {
    fn closes(&self) -> bool {
        matches!(self.windows, TimeSpans::Aligned(_))
    }
}

impl<K, V> SlidingWindowedKStream<K, V> {
    fn closes(&self) -> bool {
        true
    }
}

impl<K, V> SessionWindowedKStream<K, V> {
    fn closes(&self) -> bool {
        true
    }
}
