//! `cogroup`: several grouped streams aggregated into one table.

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use millstream_processor::{BoxError, Change, HasSerde, RecordField, SerdeRef};

use super::aggregate::{AggregateResult, aggregating};
use super::merge::PassOn;
use super::rows::{RowLookup, stored_rows};
use super::stream_aggregation::StreamAggregation;
use super::table_store::TableStore;
use super::windowed_cogroup::CogroupWindows;
use crate::grouped::KGroupedStream;
use crate::logical::{
    CogroupedInput, GroupingId, Operation, OperationId, OperationKind, RepartitionEdges, SharedGraph,
};
use crate::options::{Produced, StoreFor, StorePlan};
use crate::table::KTable;
use crate::windowed::WindowDefinition;

/// Several grouped streams about to be aggregated together, each in its own way. Made by [`KGroupedStream::cogroup`].
pub struct CogroupedKStream<K, A> {
    pub(super) graph: SharedGraph,
    inputs: Vec<Input<K, A>>,
}

/// One of the streams, whose types only its own closure knows.
struct Input<K, A> {
    stream: OperationId,
    grouping: GroupingId,
    /// Where its late records go.
    late: Option<ProducedOfInput>,
    grouped: Box<Grouped<K, A>>,
}

type Grouped<K, A> = dyn FnOnce(Cogrouping<'_, K, A>, Option<ProducedOfInput>, IsLast) -> CogroupedInput;

/// A `Produced` of the types of a stream, which only the stream's own closure knows.
type ProducedOfInput = Arc<dyn Any + Send + Sync>;

/// What all of the streams are aggregated by.
pub(super) struct Cogrouping<'a, K, A> {
    pub(super) initializer: &'a Initializer<A>,
    /// None if there is one row for a key.
    pub(super) windows: Option<&'a CogroupWindows<K, A>>,
}

impl<K, A> Clone for Cogrouping<'_, K, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, A> Copy for Cogrouping<'_, K, A> {}

pub(super) type Initializer<A> = Arc<dyn Fn() -> A + Send + Sync>;

/// Whether it is the last of the streams, whose node emits at commits what the store of all of them holds back.
pub(super) type IsLast = bool;

impl<K: RecordField, V: RecordField> KGroupedStream<K, V> {
    /// Aggregates this stream together with others of the same keys: `cogroup` for each of them, then
    /// [`aggregate`](CogroupedKStream::aggregate). The closure gets key, value and the row so far; if it returns an `Option`, `None` deletes the
    /// row. A record with a null key or value is dropped and counted.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const STOCK: StoreName<String, i64> = StoreName::new("stock");
    ///
    /// let builder = StreamsBuilder::new();
    /// let deliveries = builder.stream::<String, i64>("deliveries").group_by_key();
    /// let counts = builder.stream::<String, i64>("stocktakings").group_by_key();
    /// deliveries
    ///     .cogroup(|_sku, delivered, on_hand: i64| on_hand + delivered)
    ///     .cogroup(&counts, |_sku, counted, _on_hand| counted)
    ///     .aggregate(STOCK, || 0);
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let deliveries = driver.input_topic::<String, i64>("deliveries");
    /// deliveries.pipe_input("apples", 10)?;
    /// driver.input_topic::<String, i64>("stocktakings").pipe_input("apples", 8)?;
    /// deliveries.pipe_input("apples", 5)?;
    /// let row = driver.key_value_store(STOCK)?.get(&"apples".into())?;
    /// assert_eq!(row.map(|row| row.value), Some(13));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn cogroup<A: HasSerde, R: AggregateResult<A>>(
        &self,
        aggregator: impl Fn(&K::NonNull, V::NonNull, A) -> R + Send + Sync + 'static,
    ) -> CogroupedKStream<K::NonNull, A> {
        self.try_cogroup(move |key, value, row| Ok::<_, Infallible>(aggregator(key, value, row)))
    }

    /// [`cogroup`](Self::cogroup) with a closure that can fail. A record it fails on goes to the handler of the stage `process`, and the row
    /// stays as it was.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// const STOCK: StoreName<String, i64> = StoreName::new("stock");
    ///
    /// let builder = StreamsBuilder::new();
    /// let deliveries = builder.stream::<String, String>("deliveries").group_by_key();
    /// let counts = builder.stream::<String, String>("stocktakings").group_by_key();
    /// deliveries
    ///     .try_cogroup(|_sku, delivered, on_hand: i64| delivered.parse::<i64>().map(|delivered| on_hand + delivered))
    ///     .try_cogroup(&counts, |_sku, counted, _on_hand| counted.parse::<i64>())
    ///     .aggregate(STOCK, || 0);
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn try_cogroup<A: HasSerde, R: AggregateResult<A>, E: Into<BoxError>>(
        &self,
        aggregator: impl Fn(&K::NonNull, V::NonNull, A) -> Result<R, E> + Send + Sync + 'static,
    ) -> CogroupedKStream<K::NonNull, A> {
        let none = CogroupedKStream { graph: Rc::clone(&self.graph), inputs: Vec::new() };
        none.try_cogroup(self, aggregator)
    }
}

impl<K: HasSerde, A: HasSerde> CogroupedKStream<K, A> {
    /// Adds a stream, and how its records change a row. See [`KGroupedStream::cogroup`].
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const STOCK: StoreName<String, i64> = StoreName::new("stock");
    ///
    /// let builder = StreamsBuilder::new();
    /// let deliveries = builder.stream::<String, i64>("deliveries").group_by_key();
    /// let sales = builder.stream::<String, i64>("sales").group_by_key();
    /// let deliveries = deliveries.cogroup(|_sku, delivered, on_hand: i64| on_hand + delivered);
    /// deliveries.cogroup(&sales, |_sku, sold, on_hand| on_hand - sold).aggregate(STOCK, || 0);
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("deliveries").pipe_input("apples", 10)?;
    /// driver.input_topic::<String, i64>("sales").pipe_input("apples", 3)?;
    /// let row = driver.key_value_store(STOCK)?.get(&"apples".into())?;
    /// assert_eq!(row.map(|row| row.value), Some(7));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    ///
    /// # Panics
    /// If the stream was made from another builder.
    #[track_caller]
    pub fn cogroup<K2, V, R>(
        self,
        grouped: &KGroupedStream<K2, V>,
        aggregator: impl Fn(&K, V::NonNull, A) -> R + Send + Sync + 'static,
    ) -> Self
    where
        K2: RecordField<NonNull = K>,
        V: RecordField,
        R: AggregateResult<A>,
    {
        self.try_cogroup(grouped, move |key, value, row| Ok::<_, Infallible>(aggregator(key, value, row)))
    }

    /// [`cogroup`](Self::cogroup) with a closure that can fail. See [`KGroupedStream::try_cogroup`].
    ///
    /// # Panics
    /// If the stream was made from another builder.
    #[track_caller]
    pub fn try_cogroup<K2, V, R, E>(
        mut self,
        grouped: &KGroupedStream<K2, V>,
        aggregator: impl Fn(&K, V::NonNull, A) -> Result<R, E> + Send + Sync + 'static,
    ) -> Self
    where
        K2: RecordField<NonNull = K>,
        V: RecordField,
        R: AggregateResult<A>,
        E: Into<BoxError>,
    {
        assert!(
            Rc::ptr_eq(&self.graph, &grouped.graph),
            "only streams of one StreamsBuilder can be aggregated together"
        );
        let (grouping, topic) = (grouped.grouping, grouped.topic());
        self.inputs.push(Input {
            stream: grouped.stream,
            grouping,
            late: None,
            grouped: Box::new(move |cogrouping, late, is_last| {
                let late = late.map(|late| {
                    late.downcast().expect("records of one grouping are of the same types everywhere")
                });
                input::<K2, V, A, _, _>((grouping, topic), cogrouping, aggregator, late, is_last)
            }),
        });
        self
    }

    /// The table of the aggregates. A row begins as what `initializer` makes; each record of any of the streams changes the row of its key.
    ///
    /// The streams must have equal partition counts. Where keys changed, a stream gets a repartition topic, named after the table's store or, if
    /// more than one of them needs one, after its grouping, which must have a name then.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let sales = builder.stream::<String, i64>("sales").group_by_key();
    /// let refunds = builder.stream::<String, i64>("refunds").group_by_key();
    /// let revenue = sales
    ///     .cogroup(|_sku, cents, sum: i64| sum + cents)
    ///     .cogroup(&refunds, |_sku, cents, sum| sum - cents)
    ///     .aggregate((), || 0);
    /// revenue.to_stream().to("revenue");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn aggregate(
        self,
        store: impl StoreFor<K, A>,
        initializer: impl Fn() -> A + Send + Sync + 'static,
    ) -> KTable<K, A> {
        let store = store.into().with_inherited_key_serde(self.key_serde());
        let initializer: Initializer<A> = Arc::new(initializer);
        let cogrouping = Cogrouping { initializer: &initializer, windows: None };
        self.declare_table(store.into_plan(), cogrouping, stored_rows)
    }

    /// Gathers the records of each key, whichever stream they come from, in windows of event time. What is aggregated is a table of keys
    /// within windows.
    ///
    /// A record that comes after its window was closed is dropped and counted: a window is closed when stream time, the latest event time
    /// that its stream has seen, has reached its end and the grace after it. If windows are
    /// [emitted when they are closed](crate::TimeWindowedCogroupedKStream::emit_strategy), it is the latest that any of the streams has seen.
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
    /// driver.input_topic::<String, i64>("sales").pipe_input_at("apples", 500, at(10))?;
    /// driver.input_topic::<String, i64>("refunds").pipe_input_at("apples", 200, at(50))?;
    /// driver.input_topic::<String, i64>("sales").pipe_input_at("apples", 30, at(70))?;
    /// let row = driver.window_store(REVENUE)?.fetch(&"apples".into(), at(0))?;
    /// assert_eq!(row.map(|row| row.value), Some(300));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "windowedBy")]
    pub fn windowed_by<W: WindowDefinition>(self, windows: W) -> W::Cogrouped<K, A> {
        windows.window_cogrouped(self)
    }

    /// The serde of the keys, if they are those of windows.
    pub(super) fn key_serde(&self) -> Option<SerdeRef<K>> {
        self.inputs.first().and_then(|input| self.graph.borrow().key_serde(input.stream))
    }

    /// Says where records of this stream go that no window accepts any more.
    #[track_caller]
    pub(super) fn send_late_records<K2: RecordField<NonNull = K>, V: RecordField>(
        &mut self,
        grouped: &KGroupedStream<K2, V>,
        produced: Produced<K2, V>,
    ) {
        let is_one_of_them = Rc::ptr_eq(&self.graph, &grouped.graph);
        let mut inputs = self.inputs.iter_mut();
        let input = inputs.find(|input| is_one_of_them && input.grouping == grouped.grouping);
        let input = input.expect("late records are those of a stream that is aggregated: cogroup it first");
        input.late = Some(Arc::new(produced));
    }

    /// Declares the table, which is kept in this store.
    pub(super) fn declare_table<K2: Clone + 'static>(
        self,
        store: StorePlan,
        cogrouping: Cogrouping<'_, K, A>,
        rows: impl FnOnce(OperationId) -> RowLookup<K2, A>,
    ) -> KTable<K2, A> {
        let parents = self.inputs.iter().map(|input| input.stream).collect();
        let last = self.inputs.len() - 1;
        let inputs = self.inputs.into_iter().enumerate();
        let inputs = inputs.map(|(number, input)| (input.grouped)(cogrouping, input.late, number == last));
        KTable::declare(
            &self.graph,
            Operation {
                kind: OperationKind::Cogroup { inputs: inputs.collect() },
                parents,
                name: None,
                store: Some(store),
                write: Box::new(|place| {
                    place.add_processor(|_| Ok(PassOn::<K2, Change<A>> { types: PhantomData }))
                }),
            },
            rows,
        )
    }
}

impl<K, A> fmt::Debug for CogroupedKStream<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CogroupedKStream({} streams)", self.inputs.len())
    }
}

fn input<K, V, A, R, E>(
    (grouping, topic): (GroupingId, Box<dyn RepartitionEdges>),
    cogrouping: Cogrouping<'_, K::NonNull, A>,
    aggregator: impl Fn(&K::NonNull, V::NonNull, A) -> Result<R, E> + Send + Sync + 'static,
    late: Option<Arc<Produced<K, V>>>,
    is_last: IsLast,
) -> CogroupedInput
where
    K: RecordField,
    V: RecordField,
    A: HasSerde,
    R: AggregateResult<A>,
    E: Into<BoxError>,
{
    let initializer = Arc::clone(cogrouping.initializer);
    let change = Arc::new(aggregating(move || initializer(), aggregator));
    let write = match cogrouping.windows {
        Some(windows) => windows.write_input::<K, V, _>(&change, late, is_last),
        None => TableStore::write(move |store| {
            let aggregation = StreamAggregation::<K, V, A, _>::new(store, &change);
            if is_last { aggregation } else { aggregation.without_emissions() }
        }),
    };
    CogroupedInput { grouping, topic, write }
}

#[cfg(test)]
mod tests {
    use crate::operators::test_support::{
        driver, driver_without_commits, pipe_all, pipe_at, text, written, written_at,
    };
    use crate::{KTable, StoreName, StoreOptions, StreamsBuilder};

    const STOCK: StoreName<String, i64> = StoreName::new("stock");

    /// Deliveries add, sales subtract, and a stocktaking says what there is; nothing at all is no row.
    fn stock(builder: &StreamsBuilder, store: impl crate::StoreFor<String, i64>) -> KTable<String, i64> {
        let deliveries = builder.stream::<Option<String>, Option<i64>>("deliveries").group_by_key();
        let sales = builder.stream::<String, String>("sales").group_by_key();
        let takings = builder.stream::<String, i64>("stocktakings").group_by_key();
        deliveries
            .cogroup(|_, delivered, on_hand: i64| on_hand + delivered)
            .try_cogroup(&sales, |_, sold, on_hand| sold.parse::<i64>().map(|sold| on_hand - sold))
            .cogroup(&takings, |_, counted, _| (counted > 0).then_some(counted))
            .aggregate(store, || 100)
    }

    #[test]
    fn each_stream_changes_the_rows_in_its_own_way() {
        let driver = driver(|builder| drop(stock(builder, STOCK.without_caching()).to_stream().to("stock")));
        let deliveries = driver.input_topic::<String, i64>("deliveries");
        let takings = driver.input_topic::<String, i64>("stocktakings");
        pipe_at(&deliveries, "apples", 10, 70);
        pipe_at(&driver.input_topic::<String, String>("sales"), "apples", "3", 50);
        pipe_at(&takings, "apples", 0, 60);
        pipe_at(&deliveries, "apples", 1, 40);
        let expected = [
            (text("apples"), Some(110_i64), 70),
            (text("apples"), Some(107), 70),
            (text("apples"), None, 70),
            (text("apples"), Some(101), 40),
        ];
        assert_eq!(written_at(&driver.output_topic::<String, Option<i64>>("stock")), expected);
    }

    #[test]
    fn what_a_caching_store_holds_back_is_emitted_once() {
        let driver = driver_without_commits(|builder| drop(stock(builder, STOCK).to_stream().to("stock")));
        pipe_all(&driver.input_topic::<String, i64>("deliveries"), [("apples", 10), ("pears", 5)]);
        pipe_all(&driver.input_topic::<String, String>("sales"), [("apples", "3")]);
        assert!(written::<String, i64>(&driver.output_topic("stock")).is_empty());
        driver.commit().expect("the commit succeeds");
        assert_eq!(written(&driver.output_topic("stock")), [(text("apples"), 107_i64), (text("pears"), 105)]);
    }

    #[test]
    fn records_without_key_or_value_are_dropped_and_those_that_fail_are_skipped() {
        let driver = driver(|builder| drop(stock(builder, STOCK).to_stream().to("stock")));
        let deliveries = driver.input_topic::<Option<String>, Option<i64>>("deliveries");
        pipe_all(&deliveries, [(None, Some(1)), (Some(text("apples")), None)]);
        pipe_all(&driver.input_topic::<String, String>("sales"), [("apples", "some")]);
        assert_eq!((driver.dropped_records(), driver.skipped_records()), (2, 1));
        assert!(written::<String, i64>(&driver.output_topic("stock")).is_empty());
    }

    #[test]
    fn changes_carry_the_old_value_whichever_stream_they_come_from() {
        let driver = driver(|builder| {
            let all = stock(builder, STOCK).group_by(|_, on_hand| ("all".to_string(), on_hand));
            all.reduce((), |sum, on_hand| sum + on_hand, |sum, on_hand| sum - on_hand).to_stream().to("sum");
        });
        pipe_all(&driver.input_topic::<String, i64>("deliveries"), [("apples", 10), ("pears", 5)]);
        pipe_all(&driver.input_topic::<String, String>("sales"), [("apples", "3")]);
        let sums = written::<String, i64>(&driver.output_topic("sum"));
        assert_eq!(sums.last(), Some(&(text("all"), 107 + 105)), "{sums:?}");
    }

    #[test]
    fn streams_whose_keys_changed_meet_through_topics_of_their_own() {
        let driver = driver(|builder| {
            let orders = builder.stream::<String, String>("orders");
            let orders = orders.group_by(|_, customer| customer.clone()).named("orders-by-customer");
            let returns = builder.stream::<String, String>("returns");
            let returns = returns.group_by(|_, customer| customer.clone()).named("returns-by-customer");
            let kept = orders.cogroup(|_, _, kept: i64| kept + 1).cogroup(&returns, |_, _, kept| kept - 1);
            kept.aggregate((), || 0).to_stream().to("kept");
        });
        pipe_all(&driver.input_topic::<String, String>("orders"), [("order-1", "ann"), ("order-2", "ann")]);
        pipe_all(&driver.input_topic::<String, String>("returns"), [("return-1", "ann")]);
        let kept = [(text("ann"), 1_i64), (text("ann"), 2), (text("ann"), 1)];
        assert_eq!(written(&driver.output_topic("kept")), kept);
    }

    #[test]
    #[should_panic(expected = "only streams of one StreamsBuilder can be aggregated together")]
    fn streams_of_two_builders_are_refused() {
        let (one, other) = (StreamsBuilder::new(), StreamsBuilder::new());
        let orders = one.stream::<String, i64>("orders").group_by_key();
        let returns = other.stream::<String, i64>("returns").group_by_key();
        drop(orders.cogroup(|_, _, n: i64| n + 1).cogroup(&returns, |_, _, n| n - 1));
    }
}
