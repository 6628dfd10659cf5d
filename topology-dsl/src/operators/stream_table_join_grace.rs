//! `with_grace`: a stream that is joined with a versioned table waits for changes of the table that come late (KIP-923).

use std::fmt;
use std::time::Duration;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
use millstream_processor::{Buffered, RecordField, TimeFirstKey, Timestamp};

use super::record_buffer::{RecordBuffer, context_of, released};
use super::stream_table_join::StreamTableJoin;
use super::with_key::Joined;
use crate::table::KTable;
use crate::windows::to_millis;

/// A table to be joined with streams whose records wait for it. Made by [`KTable::with_grace`].
pub struct TableWithGrace<'a, K, V> {
    pub(crate) table: &'a KTable<K, V>,
    pub(crate) grace: Duration,
}

impl<K: Clone + 'static, V: Clone + 'static> KTable<K, V> {
    /// Lets the records of a stream wait, when it is joined with this table, until stream time has passed them by `grace`: changes of the
    /// table that come later than the stream's records, but are older, are seen. The table must be
    /// [versioned](crate::StoreOptions::versioned), with a history retention of `grace` at least. Records that wait are kept in a store of
    /// the join, and leave it in the order of their event times; one that comes later than `grace` does not wait.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const PRICES: StoreName<String, i64> = StoreName::new("prices");
    ///
    /// let builder = StreamsBuilder::new();
    /// let prices = builder.table::<String, i64>("prices").materialized(PRICES.versioned(minutes(1)));
    /// let orders = builder.stream::<String, i64>("orders");
    /// orders.join(prices.with_grace(seconds(10)), |quantity, price| quantity * price).to("order-values");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let (orders, prices) =
    ///     (driver.input_topic::<String, i64>("orders"), driver.input_topic::<String, i64>("prices"));
    /// let at = Timestamp::from_millis;
    /// orders.pipe_input_at("apples", 2, at(5_000))?;
    /// prices.pipe_input_at("apples", 30, at(4_000))?; // late, but in time
    /// orders.pipe_input_at("apples", 1, at(15_000))?;
    /// let values = driver.output_topic::<String, i64>("order-values");
    /// assert_eq!(values.read_key_value()?, Some(("apples".into(), 60)));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "withGracePeriod")]
    pub fn with_grace(&self, grace: Duration) -> TableWithGrace<'_, K, V> {
        TableWithGrace { table: self, grace }
    }
}

impl<K, V> fmt::Debug for TableWithGrace<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} with a grace of {:?}", self.table, self.grace)
    }
}

/// A join whose stream waits.
pub(super) struct GraceJoin<K: RecordField, V: RecordField, T, V2, F> {
    join: StreamTableJoin<K, V, T, V2, F>,
    buffer: RecordBuffer<TimeFirstKey<K::NonNull>, V::NonNull>,
    grace: i64,
    /// The latest event time, since the task was built, of the stream's records that have a key and a value.
    stream_time: Option<Timestamp>,
    /// Tells apart records of the same time and key.
    number: i32,
}

impl<K: RecordField, V: RecordField, T, V2, F> GraceJoin<K, V, T, V2, F> {
    pub(super) fn new(
        join: StreamTableJoin<K, V, T, V2, F>,
        buffer: RecordBuffer<TimeFirstKey<K::NonNull>, V::NonNull>,
        grace: Duration,
    ) -> Self {
        GraceJoin { join, buffer, grace: to_millis(grace), stream_time: None, number: 0 }
    }
}

impl<K: RecordField, V: RecordField, T, V2, F> GraceJoin<K, V, T, V2, F> {
    /// Lets time come to here, if it has not; says until when records need not wait any more.
    fn move_time(&mut self, time: Timestamp) -> Result<Timestamp, Failure> {
        if self.buffer.begin_record()? {
            self.number = self.buffer.keys().map(|key| key.number).max().unwrap_or_default();
        }
        let stream_time = self.stream_time.map_or(time, |before| before.max(time));
        self.stream_time = Some(stream_time);
        Ok(Timestamp::from_millis(stream_time.as_millis().saturating_sub(self.grace)))
    }

    /// Lets a record wait that has a key and a value.
    fn wait<V3: Clone + 'static>(
        &mut self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, K, V3>,
    ) -> Result<(), Failure> {
        let Record { key, value, timestamp, headers } = record;
        let (Some(key), Some(value)) = (key.into_non_null(), value.into_non_null()) else { return Ok(()) };
        self.number = self.number.wrapping_add(1) & i32::MAX;
        let key = TimeFirstKey { time: timestamp, key, number: self.number };
        let context = context_of(timestamp, &headers, context.task());
        // Its time is part of the key; Kafka Streams writes none here.
        let time = Timestamp::from_millis(0);
        self.buffer.put(key, |_| Buffered { prior: None, old: None, new: Some(value), time, context })
    }
}

impl<K, V, T, V2, F> Processor for GraceJoin<K, V, T, V2, F>
where
    K: RecordField,
    V: RecordField,
    T: Clone + 'static,
    V2: Clone + 'static,
    F: Fn(&K, V::NonNull, Option<&T>) -> Joined<V2> + 'static,
{
    type KeyIn = K;
    type ValueIn = V;
    type KeyOut = K;
    type ValueOut = V2;

    fn process(
        &mut self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, K, V2>,
    ) -> Result<(), Failure> {
        if record.key.as_non_null().is_none() || record.value.as_non_null().is_none() {
            // It is dropped, or finds nothing whenever it is joined; and others wait on.
            return self.join.process(record, context);
        }
        let horizon = self.move_time(record.timestamp)?;
        if record.timestamp >= horizon {
            self.wait(record, context)?;
        } else {
            // It comes too late to wait.
            self.join.process(record, context)?;
        }
        self.join_until(horizon, context)
    }

    fn advance_stream_time(
        &mut self,
        time: Timestamp,
        context: &mut ProcessorContext<'_, K, V2>,
    ) -> Result<(), Failure> {
        let horizon = self.move_time(time)?;
        self.join_until(horizon, context)
    }

    fn passes_stream_time(&self) -> bool {
        false
    }
}

impl<K, V, T, V2, F> GraceJoin<K, V, T, V2, F>
where
    K: RecordField,
    V: RecordField,
    T: Clone + 'static,
    V2: Clone + 'static,
    F: Fn(&K, V::NonNull, Option<&T>) -> Joined<V2> + 'static,
{
    /// Joins the records whose time has come.
    fn join_until(
        &mut self,
        horizon: Timestamp,
        context: &mut ProcessorContext<'_, K, V2>,
    ) -> Result<(), Failure> {
        while self.buffer.first_time().is_some_and(|time| time <= horizon) {
            let GraceJoin { join, buffer, .. } = self;
            buffer.release(
                context,
                |TimeFirstKey { key, .. }, Buffered { new, context: came_with, .. }, context| {
                    let (key, Some(value)) = (K::from_non_null(key), new) else { return Ok(()) };
                    let Some(value) = join.join(&key, value, came_with.timestamp)? else { return Ok(()) };
                    let (record, location) = released(key, value, came_with);
                    context.forward_held(record, location)
                },
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use millstream_processor::testing::{TestInputTopic, TopologyTestDriver};

    use crate::operators::test_support::{at, driver, text, written_at};
    use crate::{StoreName, StoreOptions, StreamsBuilder};

    const PRICES: StoreName<String, i64> = StoreName::new("prices");
    const TEN: Duration = Duration::from_millis(10);

    type Orders = TestInputTopic<Option<String>, Option<i64>>;
    type Prices = TestInputTopic<String, Option<i64>>;

    fn joined(declare: impl FnOnce(&StreamsBuilder)) -> (TopologyTestDriver, Orders, Prices) {
        let driver = driver(declare);
        let (orders, prices) = (driver.input_topic("orders"), driver.input_topic("prices"));
        (driver, orders, prices)
    }

    fn inner(builder: &StreamsBuilder) {
        let prices = builder
            .table::<String, i64>("prices")
            .materialized(PRICES.versioned(Duration::from_millis(1_000)));
        let orders = builder.stream::<Option<String>, Option<i64>>("orders");
        orders.join(prices.with_grace(TEN), |quantity, price| quantity * price).to("values");
    }

    fn order(orders: &Orders, sku: &str, quantity: i64, time: i64) {
        orders.pipe_input_at(text(sku), quantity, at(time)).expect("the record is processed");
    }

    fn price(prices: &Prices, sku: &str, cents: Option<i64>, time: i64) {
        prices.pipe_input_at(sku, cents, at(time)).expect("the record is processed");
    }

    fn values(driver: &TopologyTestDriver) -> Vec<(Option<String>, i64, i64)> {
        written_at(&driver.output_topic("values"))
    }

    #[test]
    fn a_table_is_refused_that_forgets_before_the_stream_looks() {
        for (retention, remedy) in [
            (None, "give it a versioned store"),
            (Some(9), "a history retention of 10ms at least"),
            (Some(10), ""),
        ] {
            let builder = StreamsBuilder::new();
            let prices = builder.table::<String, i64>("prices");
            let prices = match retention.map(Duration::from_millis) {
                Some(retention) => prices.materialized(PRICES.versioned(retention)),
                None => prices,
            };
            let orders = builder.stream::<Option<String>, Option<i64>>("orders");
            orders.join(prices.with_grace(TEN), |quantity, price| quantity * price).to("values");
            let refused = builder.build().err().map(|error| error.to_string()).unwrap_or_default();
            assert!(refused.contains(remedy), "{retention:?}: {refused}");
            assert_eq!(refused.is_empty(), remedy.is_empty(), "{retention:?}: {refused}");
        }
    }

    #[test]
    fn without_a_grace_a_stream_sees_the_table_as_of_its_own_time() {
        let (driver, orders, prices) = joined(|builder| {
            let prices = builder
                .table::<String, i64>("prices")
                .materialized(PRICES.versioned(Duration::from_millis(1_000)));
            let dear = prices.filter(|_, cents| *cents >= 30).map_values(|_, cents| cents * 10);
            let orders = builder.stream::<Option<String>, Option<i64>>("orders");
            orders.left_join(&dear, |_, price| price.copied().unwrap_or(-1)).to("values");
        });
        price(&prices, "apples", Some(30), 100);
        price(&prices, "apples", Some(40), 200);
        price(&prices, "apples", None, 250);
        price(&prices, "apples", Some(20), 150);
        for time in [99, 100, 149, 150, 200, 249, 250] {
            order(&orders, "apples", 1, time);
        }
        let seen: Vec<i64> = values(&driver).into_iter().map(|row| row.1).collect();
        assert_eq!(seen, [-1, 300, 300, -1, 400, 400, -1]);
    }

    #[test]
    fn a_record_on_which_the_joiner_fails_is_given_up_and_others_come_later() {
        let (driver, orders, prices) = joined(|builder| {
            let prices = builder
                .table::<String, i64>("prices")
                .materialized(PRICES.versioned(Duration::from_millis(1_000)));
            let orders = builder.stream::<Option<String>, Option<i64>>("orders");
            let value = |quantity: i64, price: &i64| match quantity {
                0 => Err("it is poison"),
                _ => Ok(quantity * price),
            };
            orders.try_join(prices.with_grace(TEN), value).to("values");
        });
        price(&prices, "apples", Some(30), 90);
        order(&orders, "apples", 1, 100);
        order(&orders, "apples", 0, 101);
        order(&orders, "apples", 2, 102);
        // It fails with what it lets go.
        order(&orders, "apples", 3, 120);
        assert_eq!(values(&driver), []);
        order(&orders, "apples", 4, 121);
        let apples = Some(text("apples"));
        assert_eq!(values(&driver), [(apples.clone(), 30, 100), (apples.clone(), 60, 102)]);
        order(&orders, "apples", 5, 150);
        assert_eq!(values(&driver), [(apples, 120, 121)]);
        assert_eq!((driver.skipped_records(), driver.dropped_records()), (1, 1));
    }

    #[test]
    fn records_wait_for_the_table_and_leave_in_the_order_of_time() {
        let (driver, orders, prices) = joined(inner);
        order(&orders, "apples", 2, 105);
        order(&orders, "apples", 1, 100);
        order(&orders, "apples", 3, 105);
        assert_eq!(values(&driver), []);
        price(&prices, "apples", Some(30), 90);
        price(&prices, "apples", Some(40), 104);
        order(&orders, "pears", 1, 115);
        let apples = Some(text("apples"));
        let expected = [(apples.clone(), 30, 100), (apples.clone(), 80, 105), (apples, 120, 105)];
        assert_eq!(values(&driver), expected);
    }

    #[test]
    fn what_comes_too_late_to_wait_is_joined_at_once() {
        let (driver, orders, prices) = joined(inner);
        price(&prices, "apples", Some(30), 0);
        order(&orders, "pears", 1, 200);
        order(&orders, "apples", 1, 189);
        assert_eq!(values(&driver), [(Some(text("apples")), 30, 189)]);
        order(&orders, "apples", 2, 190);
        assert_eq!(values(&driver), [(Some(text("apples")), 60, 190)], "its time has come");
    }

    #[test]
    fn nulls_do_not_wait() {
        let (driver, orders, _) = joined(|builder| {
            let prices = builder.table::<String, i64>("prices").materialized(PRICES.versioned(TEN));
            let orders = builder.stream::<Option<String>, Option<i64>>("orders");
            let left = orders.left_join(prices.with_grace(TEN), |quantity, _| quantity);
            left.merge(&orders.join(prices.with_grace(TEN), |quantity, _| -quantity)).to("values");
        });
        orders.pipe_input_at(None::<String>, 7, at(100)).expect("the record is processed");
        assert_eq!(driver.dropped_records(), 1, "the inner join drops the null key");
        assert_eq!(values(&driver), [(None, 7, 100)]);
        orders.pipe_input_at(text("apples"), None::<i64>, at(100)).expect("the record is processed");
        assert_eq!(driver.dropped_records(), 3, "both drop the null value");
    }

    #[test]
    fn a_null_lets_nothing_go() {
        let (driver, orders, prices) = joined(inner);
        price(&prices, "apples", Some(30), 90);
        order(&orders, "apples", 2, 100);
        orders.pipe_input_at(text("pears"), None::<i64>, at(150)).expect("the record is processed");
        orders.pipe_input_at(None::<String>, 1, at(150)).expect("the record is processed");
        assert_eq!(values(&driver), []);
        order(&orders, "pears", 1, 110);
        assert_eq!(values(&driver), [(Some(text("apples")), 60, 100)]);
    }

    #[test]
    fn the_buffer_is_named_after_the_join_and_has_a_changelog() {
        let (driver, orders, _) = joined(inner);
        order(&orders, "apples", 2, 105);
        let changelog = text("test-KSTREAM-JOIN-0000000003-Buffer-changelog");
        assert!(driver.produced_topic_names().contains(&changelog), "{:?}", driver.produced_topic_names());
    }

    #[test]
    fn a_table_without_versions_is_refused() {
        let builder = StreamsBuilder::new();
        let prices = builder.table::<String, i64>("prices").materialized(PRICES);
        builder.stream::<String, i64>("orders").join(prices.with_grace(TEN), |_, price| *price).to("values");
        let error = builder.build().expect_err("there is nothing to wait for").to_string();
        assert!(error.contains(".materialized(STORE.versioned(..))"), "{error}");
    }
}
