//! `suppress` of a table: its changes are held back, and of each row only the newest goes on.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record, Wiring};
use millstream_processor::{Buffered, Change, Error, HasSerde, KeyValueStore, Result, Timestamp};

use super::record_buffer::{RecordBuffer, buffer_store, context_of, released};
use super::rows::{RowLookup, Rows};
use crate::logical::{Operation, OperationId, OperationKind};
use crate::options::{BufferLimits, Suppressed};
use crate::table::KTable;

impl<K: HasSerde, V: HasSerde> KTable<K, V> {
    /// Holds the changes of this table back, so that of several changes of a row within a span of time one goes on, with the row's newest
    /// value and the event time and headers of the newest change. A row waits from its first change on; later ones do not make it wait
    /// longer. What waits is kept in a store, and survives a restart.
    ///
    /// A table without rows that wait looks as the one above it; a row that waits is looked up as it was before.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let stock = builder.table::<String, i64>("stock");
    /// let once_a_minute = Suppressed::until_time_limit(Duration::from_secs(60), BufferConfig::unbounded());
    /// stock.suppress(once_a_minute).to_stream().to("stock-levels");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let (stock, at) = (driver.input_topic::<String, i64>("stock"), Timestamp::from_millis);
    /// stock.pipe_input_at("apples", 3, at(0))?;
    /// stock.pipe_input_at("apples", 2, at(30_000))?;
    /// stock.pipe_input_at("pears", 5, at(60_000))?;
    /// let levels = driver.output_topic::<String, i64>("stock-levels");
    /// assert_eq!(levels.read_key_values_to_list()?, [("apples".into(), 2)]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn suppress(&self, suppressed: Suppressed<K>) -> KTable<K, V> {
        let Suppressed { time, wait, limits } = suppressed;
        let mut store = buffer_store::<K, V>(limits.changelog_config.clone(), limits.is_unlogged);
        store.is_given = true;
        KTable::declare(
            &self.graph,
            Operation {
                kind: OperationKind::Suppress,
                parents: vec![self.id],
                name: None,
                store: Some(store),
                write: Box::new(move |place| {
                    let (store, sends_old_values) = (place.required_store()?, place.sends_old_values);
                    let (wait, limits) = (millis(wait), limits.clone());
                    place.add_processor(move |wiring| {
                        let buffer = RecordBuffer::<K, V>::open(wiring, &store, limits.bytes.is_some())?;
                        let (limits, stream_time) = (limits.clone(), None);
                        Ok(Suppress { buffer, time, wait, sends_old_values, limits, stream_time })
                    })
                }),
            },
            |id| suppressed_rows(id, Rc::clone(&self.rows)),
        )
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

struct Suppress<K, V> {
    buffer: RecordBuffer<K, V>,
    /// The time by which a change waits.
    time: fn(&K, Timestamp) -> Timestamp,
    /// By how many milliseconds stream time must have passed it.
    wait: i64,
    sends_old_values: bool,
    limits: BufferLimits,
    /// The latest event time since the task was built.
    stream_time: Option<Timestamp>,
}

impl<K: HasSerde, V: HasSerde> Suppress<K, V> {
    fn is_too_full(&self) -> bool {
        self.limits.records.is_some_and(|most| self.buffer.len() > most)
            || self.limits.bytes.is_some_and(|most| self.buffer.bytes() > most)
    }

    fn emit_next(&mut self, context: &mut ProcessorContext<'_, K, Change<V>>) -> Result<(), Failure> {
        let Some((key, Buffered { prior, new, context: came_with, .. })) = self.buffer.pop()? else {
            return Ok(());
        };
        let change = Change { old: prior.filter(|_| self.sends_old_values), new };
        let (record, location) = released(key, change, came_with);
        context.forward_held(record, location)
    }
}

impl<K: HasSerde, V: HasSerde> Processor for Suppress<K, V> {
    type KeyIn = K;
    type ValueIn = Change<V>;
    type KeyOut = K;
    type ValueOut = Change<V>;

    fn process(
        &mut self,
        record: Record<K, Change<V>>,
        context: &mut ProcessorContext<'_, K, Change<V>>,
    ) -> Result<(), Failure> {
        self.buffer.begin_record()?;
        let Record { key, value: Change { old, new }, timestamp, headers } = record;
        let stream_time = self.stream_time.map_or(timestamp, |time| time.max(timestamp));
        self.stream_time = Some(stream_time);
        let time = (self.time)(&key, timestamp);
        let came_with = context_of(timestamp, &headers, context.task());
        self.buffer.put(key, |waiting| {
            let (prior, time) = match waiting {
                Some(waiting) => (waiting.prior, waiting.time),
                None => (old.clone(), time),
            };
            Buffered { prior, old, new, time, context: came_with }
        })?;
        let horizon = Timestamp::from_millis(stream_time.as_millis().saturating_sub(self.wait));
        while self.buffer.first_time().is_some_and(|time| time <= horizon) {
            self.emit_next(context)?;
        }
        while self.is_too_full() {
            if self.limits.shuts_down {
                return Err(self.buffer.full().into());
            }
            self.emit_next(context)?;
        }
        Ok(())
    }
}

/// Rows of a table that is held back: as they were before they began to wait, or as they are above.
fn suppressed_rows<K: HasSerde, V: HasSerde>(table: OperationId, parent: RowLookup<K, V>) -> RowLookup<K, V> {
    Rc::new(move |plan| {
        let store = plan.operation(table).store.clone();
        let store = store.ok_or_else(|| Error::fatal("a table was to be held back without a store"))?;
        let open_parent = parent(plan)?;
        Ok(Arc::new(move |wiring: &Wiring<'_>| {
            let waiting = wiring.key_value_store(&store)?;
            Ok(Box::new(SuppressedRows { waiting, parent: open_parent(wiring)? }))
        }))
    })
}

struct SuppressedRows<K, V> {
    waiting: KeyValueStore<K, Buffered<V>>,
    parent: Box<dyn Rows<K, V>>,
}

impl<K: HasSerde, V: HasSerde> Rows<K, V> for SuppressedRows<K, V> {
    fn read(&self, key: &K, use_value: &mut dyn FnMut(Option<&V>)) -> Result<(), Failure> {
        let is_waiting =
            self.waiting.read(key, |row| row.map(|row| use_value(row.value.prior.as_ref())).is_some())?;
        if is_waiting { Ok(()) } else { self.parent.read(key, use_value) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use millstream_processor::api::{Headers, Record};
    use millstream_processor::handlers::{Handlers, Reaction};
    use millstream_processor::testing::{TestInputTopic, TopologyTestDriver};
    use millstream_processor::{ErrorKind, Settings};

    use crate::operators::test_support::{at, driver, driver_without_commits, text, written, written_at};
    use crate::{BufferConfig, StoreName, StoreOptions, StreamsBuilder, Suppressed};

    type Stock = TestInputTopic<String, Option<i64>>;

    const STOCK: StoreName<String, i64> = StoreName::new("stock");
    const TEN: Duration = Duration::from_millis(10);

    fn held_back(suppressed: impl FnOnce() -> Suppressed<String>) -> (TopologyTestDriver, Stock) {
        let driver = driver(|builder| {
            // A caching store would emit at commits, and keeps no headers.
            let stock = builder.table::<String, i64>("stock").materialized(STOCK.without_caching());
            stock.suppress(suppressed()).to_stream().to("levels");
        });
        let stock = driver.input_topic("stock");
        (driver, stock)
    }

    fn pipe(stock: &Stock, records: &[(&str, Option<i64>, i64)]) {
        for (sku, on_hand, time) in records {
            stock.pipe_input_at(*sku, *on_hand, at(*time)).expect("the record is processed");
        }
    }

    fn levels(driver: &TopologyTestDriver) -> Vec<(String, Option<i64>, i64)> {
        written_at(&driver.output_topic("levels"))
    }

    #[test]
    fn an_update_keeps_the_first_deadline_and_the_newest_value_goes_on() {
        let (driver, stock) = held_back(|| Suppressed::until_time_limit(TEN, BufferConfig::unbounded()));
        pipe(&stock, &[("apples", Some(1), 100), ("apples", Some(2), 108), ("pears", Some(7), 109)]);
        assert_eq!(levels(&driver), []);
        pipe(&stock, &[("plums", Some(9), 110)]);
        assert_eq!(levels(&driver), [(text("apples"), Some(2), 108)]);
        pipe(&stock, &[("apples", Some(3), 119)]);
        assert_eq!(levels(&driver), [(text("pears"), Some(7), 109)], "apples begin to wait anew");
        pipe(&stock, &[("apples", None, 120), ("plums", Some(9), 129)]);
        assert_eq!(levels(&driver), [(text("plums"), Some(9), 110), (text("apples"), None, 120)]);
    }

    #[test]
    fn nothing_is_let_go_while_no_record_comes() {
        let (driver, stock) = held_back(|| Suppressed::until_time_limit(TEN, BufferConfig::unbounded()));
        pipe(&stock, &[("apples", Some(1), 100)]);
        driver.advance_wall_clock(Duration::from_secs(3600));
        driver.commit().expect("the commit succeeds");
        assert_eq!(levels(&driver), []);
    }

    #[test]
    fn without_a_limit_of_time_each_change_goes_at_once() {
        let (driver, stock) =
            held_back(|| Suppressed::until_time_limit(Duration::ZERO, BufferConfig::unbounded()));
        pipe(&stock, &[("apples", Some(1), 100), ("apples", Some(2), 90), ("pears", Some(3), 100)]);
        let expected =
            [(text("apples"), Some(1), 100), (text("apples"), Some(2), 90), (text("pears"), Some(3), 100)];
        assert_eq!(levels(&driver), expected);
    }

    #[test]
    fn a_change_goes_on_with_its_own_headers() {
        let (driver, stock) = held_back(|| Suppressed::until_time_limit(TEN, BufferConfig::unbounded()));
        let mut headers = Headers::default();
        headers.push("shop", Some("north".into()));
        headers.push("seen", None);
        let record =
            Record { key: text("apples"), value: Some(1), timestamp: at(100), headers: headers.clone() };
        stock.pipe_record(record).expect("the record is processed");
        pipe(&stock, &[("pears", Some(7), 110)]);
        let record = driver.output_topic::<String, Option<i64>>("levels").read_record().expect("it decodes");
        assert_eq!(record.map(|record| record.headers), Some(headers));
    }

    #[test]
    fn an_eager_buffer_that_is_full_lets_the_oldest_go() {
        let (driver, stock) = held_back(|| Suppressed::until_time_limit(TEN, BufferConfig::max_records(2)));
        pipe(&stock, &[("apples", Some(1), 101), ("pears", Some(2), 100), ("apples", Some(3), 102)]);
        assert_eq!(levels(&driver), []);
        pipe(&stock, &[("plums", Some(4), 103)]);
        assert_eq!(levels(&driver), [(text("pears"), Some(2), 100)]);

        // Each takes some 70 bytes.
        let (driver, stock) = held_back(|| Suppressed::until_time_limit(TEN, BufferConfig::max_bytes(150)));
        pipe(&stock, &[("apples", Some(1), 101), ("apples", Some(2), 102), ("pears", Some(2), 102)]);
        assert_eq!(levels(&driver), []);
        pipe(&stock, &[("plums", Some(4), 103)]);
        assert_eq!(levels(&driver), [(text("apples"), Some(2), 102)]);
    }

    #[test]
    fn a_strict_buffer_that_is_full_stops_the_task_whatever_the_handlers_say() {
        let builder = StreamsBuilder::new();
        let strict = BufferConfig::max_records(1).shut_down_when_full();
        let stock = builder.table::<String, i64>("stock").materialized(STOCK.without_caching());
        stock.suppress(Suppressed::until_time_limit(TEN, strict)).named("held").to_stream().to("levels");
        let settings = Settings { handlers: Handlers::all(Reaction::Skip), ..Settings::new("none") };
        let topology = builder.build().expect("the program is right");
        let driver = TopologyTestDriver::builder(topology).settings(settings).build().expect("it can be run");
        let stock = driver.input_topic::<String, i64>("stock");
        stock.pipe_input_at("apples", 1, at(100)).expect("there is room");
        let error = stock.pipe_input_at("pears", 1, at(100)).expect_err("there is none");
        assert_eq!(error.kind(), ErrorKind::Fatal);
        assert!(error.to_string().contains("buffer `held-store` is full: 2 records"), "{error}");
    }

    #[test]
    fn a_record_that_fails_leaves_nothing_that_waits() {
        let driver = driver(|builder| {
            let stock = builder.table::<String, i64>("stock").materialized(STOCK.without_caching());
            let held = stock.suppress(Suppressed::until_time_limit(TEN, BufferConfig::unbounded()));
            let levels = held.to_stream().try_map_values(|_, on_hand| match on_hand {
                Some(on_hand) if on_hand < 0 => Err(std::io::Error::other("less than nothing")),
                on_hand => Ok(on_hand.unwrap_or_default()),
            });
            levels.to("levels");
        });
        let stock: Stock = driver.input_topic("stock");
        pipe(&stock, &[("apples", Some(-1), 100), ("pears", Some(2), 109)]);
        // It releases apples, which fail: so it does not wait itself, and apples wait still.
        pipe(&stock, &[("plums", Some(3), 110)]);
        assert_eq!(driver.skipped_records(), 1);
        pipe(&stock, &[("apples", Some(4), 111), ("figs", Some(5), 121)]);
        let written = written_at::<String, i64>(&driver.output_topic("levels"));
        assert_eq!(written, [(text("apples"), 4, 111), (text("pears"), 2, 109)]);
    }

    #[test]
    fn groups_below_take_out_what_they_know_of() {
        let driver = driver_without_commits(|builder| {
            let stock = builder.table::<String, i64>("stock").materialized(STOCK.without_caching());
            let held = stock.suppress(Suppressed::until_time_limit(TEN, BufferConfig::unbounded()));
            let all = held.group_by(|_, on_hand| (text("all"), on_hand));
            all.reduce(().without_caching(), |sum, on_hand| sum + on_hand, |sum, on_hand| sum - on_hand)
                .to_stream()
                .to("total");
        });
        let stock: Stock = driver.input_topic("stock");
        pipe(&stock, &[("apples", Some(5), 100), ("pears", Some(100), 110)]);
        pipe(&stock, &[("apples", Some(7), 111), ("apples", Some(9), 112), ("figs", Some(0), 121)]);
        let totals: Vec<i64> =
            written::<String, i64>(&driver.output_topic("total")).into_iter().map(|row| row.1).collect();
        assert_eq!(totals, [5, 105, 109], "7 was never there");
    }

    #[test]
    fn a_join_sees_a_row_that_waits_as_it_was_before() {
        let driver = driver(|builder| {
            let stock = builder.table::<String, i64>("stock").materialized(STOCK.without_caching());
            let held = stock.suppress(Suppressed::until_time_limit(TEN, BufferConfig::unbounded()));
            let orders = builder.stream::<String, i64>("orders");
            orders.left_join(&held, |_, on_hand| on_hand.copied().unwrap_or(-1)).to("seen");
        });
        let stock: Stock = driver.input_topic("stock");
        let orders = driver.input_topic::<String, i64>("orders");
        let seen = || {
            orders.pipe_input("apples", 1).expect("the record is processed");
            written::<String, i64>(&driver.output_topic("seen")).pop().map(|row| row.1)
        };
        pipe(&stock, &[("apples", Some(5), 100)]);
        assert_eq!(seen(), Some(-1));
        pipe(&stock, &[("figs", Some(1), 110)]);
        assert_eq!(seen(), Some(5), "it waits no more");
        pipe(&stock, &[("apples", Some(6), 111)]);
        assert_eq!(seen(), Some(5), "it waits again");
    }

    #[test]
    fn what_cannot_be_held_back_is_refused() {
        let builder = StreamsBuilder::new();
        let prices = builder.table::<String, i64>("stock").materialized(STOCK.versioned(TEN));
        let held = prices.filter(|_, _| true);
        held.suppress(Suppressed::until_time_limit(TEN, BufferConfig::unbounded())).to_stream().to("levels");
        let error = builder.build().expect_err("it is versioned").to_string();
        assert!(error.contains("`suppress`") && error.contains("versioned"), "{error}");

        let builder = StreamsBuilder::new();
        let stock = builder.table::<String, i64>("stock");
        stock.suppress(Suppressed::until_time_limit(TEN, BufferConfig::unbounded())).materialized(STOCK);
        let error = builder.build().expect_err("it has a buffer already").to_string();
        assert!(error.contains("stock") && error.contains("`suppress`"), "{error}");
    }
}
