//! Processors that cannot change the key of a record: what they forward needs no repartitioning.

use millstream_state_stores::Timestamp;

use super::context::{ProcessorContext, TaskContext};
use super::edge::{Child, Failure};
use super::processor::Processor;
use super::punctuation::{Interval, Punctuation, PunctuationType, Schedule};
use super::record::{Headers, Record};

/// A [`Processor`] whose records keep their keys (Kafka Streams' interface of the same name). All else is as there.
///
/// It can forward only records it was given, as they are or with another value: there is no other way to make one.
///
/// ```
/// use millstream_processor::api::{
///     Failure, FixedKeyProcessor, FixedKeyProcessorContext, FixedKeyRecord,
/// };
///
/// /// Numbers the orders of its task.
/// struct Number { orders: u64 }
///
/// impl FixedKeyProcessor for Number {
///     type Key = String;
///     type ValueIn = i64;
///     type ValueOut = String;
///
///     fn process(
///         &mut self,
///         order: FixedKeyRecord<String, i64>,
///         context: &mut FixedKeyProcessorContext<'_, String, String>,
///     ) -> Result<(), Failure> {
///         self.orders += 1;
///         let line = format!("order {}: {} {}", self.orders, order.value, order.key());
///         context.forward(order.with_value(line))
///     }
/// }
/// ```
pub trait FixedKeyProcessor: 'static {
    /// Key of the records.
    type Key: Clone + 'static;
    /// Value of the records it receives.
    type ValueIn: Clone + 'static;
    /// Value of the records it forwards.
    type ValueOut: Clone + 'static;

    /// As [`Processor::init`].
    ///
    /// # Errors
    /// They end the thread.
    fn init(
        &mut self,
        context: &mut FixedKeyProcessorContext<'_, Self::Key, Self::ValueOut>,
    ) -> Result<(), Failure> {
        let _unused = context;
        Ok(())
    }

    /// Handles one record. An error goes to the handler of the stage `process`; then the record leaves no trace.
    fn process(
        &mut self,
        record: FixedKeyRecord<Self::Key, Self::ValueIn>,
        context: &mut FixedKeyProcessorContext<'_, Self::Key, Self::ValueOut>,
    ) -> Result<(), Failure>;

    /// As [`Processor::punctuate`].
    ///
    /// # Errors
    /// They go to the handler of the stage `process`, without a record; then the call leaves no trace.
    fn punctuate(
        &mut self,
        punctuation: Punctuation,
        context: &mut FixedKeyProcessorContext<'_, Self::Key, Self::ValueOut>,
    ) -> Result<(), Failure> {
        let _unused = (punctuation, context);
        Ok(())
    }

    /// As [`Processor::advance_stream_time`].
    ///
    /// # Errors
    /// They go to the handler of the stage `process`, without a record; then the call leaves no trace.
    fn advance_stream_time(
        &mut self,
        time: Timestamp,
        context: &mut FixedKeyProcessorContext<'_, Self::Key, Self::ValueOut>,
    ) -> Result<(), Failure> {
        let _unused = (time, context);
        Ok(())
    }

    /// As [`Processor::passes_stream_time`].
    fn passes_stream_time(&self) -> bool {
        true
    }

    /// As [`Processor::close`].
    fn close(&mut self) {}
}

/// A record whose key cannot be changed. It is made of a [`Record`] on the way into a [`FixedKeyProcessor`], and nowhere else.
#[derive(Clone, Debug, PartialEq)]
pub struct FixedKeyRecord<K, V> {
    key: K,
    /// The value; `Option<_>` where it may be null.
    pub value: V,
    /// Event time.
    pub timestamp: Timestamp,
    /// Kafka headers, in order.
    pub headers: Headers,
}

impl<K, V> FixedKeyRecord<K, V> {
    /// The key.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// The same record with another value.
    pub fn with_value<V2>(self, value: V2) -> FixedKeyRecord<K, V2> {
        self.map_value(|_| value)
    }

    /// The same record with a value made of the one it has.
    pub fn map_value<V2>(self, make: impl FnOnce(V) -> V2) -> FixedKeyRecord<K, V2> {
        let FixedKeyRecord { key, value, timestamp, headers } = self;
        FixedKeyRecord { key, value: make(value), timestamp, headers }
    }

    fn of(record: Record<K, V>) -> Self {
        let Record { key, value, timestamp, headers } = record;
        FixedKeyRecord { key, value, timestamp, headers }
    }

    fn into_record(self) -> Record<K, V> {
        let FixedKeyRecord { key, value, timestamp, headers } = self;
        Record { key, value, timestamp, headers }
    }
}

/// The [`ProcessorContext`] of a [`FixedKeyProcessor`].
pub struct FixedKeyProcessorContext<'a, K, V> {
    context: ProcessorContext<'a, K, V>,
}

impl<'a, K: Clone + 'static, V: Clone + 'static> FixedKeyProcessorContext<'a, K, V> {
    #[inline]
    fn of(context: &'a mut ProcessorContext<'_, K, V>) -> Self {
        FixedKeyProcessorContext { context: context.reborrow() }
    }

    /// As [`ProcessorContext::forward`].
    #[inline]
    pub fn forward(&mut self, record: FixedKeyRecord<K, V>) -> Result<(), Failure> {
        self.context.forward(record.into_record())
    }

    /// As [`ProcessorContext::forward_to`].
    #[inline]
    pub fn forward_to(
        &mut self,
        child: impl Into<Child>,
        record: FixedKeyRecord<K, V>,
    ) -> Result<(), Failure> {
        self.context.forward_to(child, record.into_record())
    }

    /// As [`ProcessorContext::schedule`].
    ///
    /// # Errors
    /// As there.
    pub fn schedule(
        &mut self,
        interval: impl Into<Interval>,
        kind: PunctuationType,
    ) -> Result<Schedule, Failure> {
        self.context.schedule(interval, kind)
    }

    /// As [`ProcessorContext::cancel`].
    pub fn cancel(&mut self, schedule: Schedule) {
        self.context.cancel(schedule);
    }

    /// As [`ProcessorContext::task`].
    pub fn task(&mut self) -> &mut TaskContext {
        self.context.task()
    }
}

/// A [`FixedKeyProcessor`] as a [`Processor`], for topologies made by hand.
///
/// ```
/// # use millstream_processor::api::{Failure, FixedKeyProcessor, FixedKeyProcessorContext, FixedKeyRecord};
/// use millstream_processor::HasSerde;
/// use millstream_processor::api::FixedKey;
/// use millstream_processor::topology::{Consumed, Topology};
/// # struct Number { orders: u64 }
/// # impl FixedKeyProcessor for Number {
/// #     type Key = String;
/// #     type ValueIn = i64;
/// #     type ValueOut = i64;
/// #     fn process(
/// #         &mut self,
/// #         order: FixedKeyRecord<String, i64>,
/// #         context: &mut FixedKeyProcessorContext<'_, String, i64>,
/// #     ) -> Result<(), Failure> {
/// #         context.forward(order)
/// #     }
/// # }
///
/// let mut topology = Topology::new();
/// topology.add_source("orders", ["orders"], Consumed::with(String::serde(), i64::serde()))?;
/// topology.add_processor("number", &["orders"], &[], |_wiring| Ok(FixedKey(Number { orders: 0 })))?;
/// # Ok::<(), millstream_processor::Error>(())
/// ```
pub struct FixedKey<P>(pub P);

impl<P: FixedKeyProcessor> Processor for FixedKey<P> {
    type KeyIn = P::Key;
    type ValueIn = P::ValueIn;
    type KeyOut = P::Key;
    type ValueOut = P::ValueOut;

    fn init(&mut self, context: &mut ProcessorContext<'_, P::Key, P::ValueOut>) -> Result<(), Failure> {
        self.0.init(&mut FixedKeyProcessorContext::of(context))
    }

    #[inline]
    fn process(
        &mut self,
        record: Record<P::Key, P::ValueIn>,
        context: &mut ProcessorContext<'_, P::Key, P::ValueOut>,
    ) -> Result<(), Failure> {
        self.0.process(FixedKeyRecord::of(record), &mut FixedKeyProcessorContext::of(context))
    }

    fn punctuate(
        &mut self,
        punctuation: Punctuation,
        context: &mut ProcessorContext<'_, P::Key, P::ValueOut>,
    ) -> Result<(), Failure> {
        self.0.punctuate(punctuation, &mut FixedKeyProcessorContext::of(context))
    }

    fn advance_stream_time(
        &mut self,
        time: Timestamp,
        context: &mut ProcessorContext<'_, P::Key, P::ValueOut>,
    ) -> Result<(), Failure> {
        self.0.advance_stream_time(time, &mut FixedKeyProcessorContext::of(context))
    }

    fn passes_stream_time(&self) -> bool {
        self.0.passes_stream_time()
    }

    fn close(&mut self) {
        self.0.close();
    }
}
