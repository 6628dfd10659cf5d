//! What `count`, `reduce` and `aggregate` in time windows have in common: one row per key and window, changed by each record.

use std::marker::PhantomData;
use std::sync::Arc;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
use millstream_processor::{
    Change, HasSerde, RecordField, TimeWindowedSerde, Timestamp, WindowKind, WindowStore, Windowed,
};

use super::late_records::LateRecords;
use super::stream_aggregation::Aggregation;
use super::window_table::{WindowTable, WindowTimes};
use super::windowed_aggregation::{WindowedAggregation, WindowedKeys};
use crate::options::{Materialized, WindowsToStore};
use crate::table::KTable;
use crate::windowed::TimeWindowedKStream;
use crate::windows::{EmitStrategy, TimeSpans, to_millis};

impl<K: RecordField, V: RecordField> TimeWindowedKStream<K, V> {
    /// Declares an aggregation. `change` makes a row's new value of the record and the value it has; none deletes the row.
    #[track_caller]
    pub(super) fn declare_aggregation<A, F>(
        &self,
        aggregation: Aggregation,
        store: Materialized<K::NonNull, A, WindowKind>,
        change: F,
    ) -> KTable<Windowed<K::NonNull>, A>
    where
        A: HasSerde,
        F: Fn(&K::NonNull, V, Option<A>) -> Result<Option<A>, Failure> + Send + Sync + 'static,
    {
        let (windows, change) = (self.windows, Arc::new(change));
        let store = store.with_inherited_key_serde(self.grouped.key_serde());
        let drops_null_values = aggregation == Aggregation::Reduce;
        let declared = windows.aggregated_in(store, self.options.emit);
        self.grouped.declare_windowed_aggregation(aggregation, &self.options, declared, move |table, late| {
            TimeWindowAggregation::<K, V, A, F>::new(table, windows, drops_null_values, late, &change)
        })
    }
}

impl TimeSpans {
    /// A table of what is aggregated in these windows, kept in this store.
    #[track_caller]
    pub(super) fn aggregated_in<K: HasSerde, A: HasSerde>(
        self,
        store: Materialized<K, A, WindowKind>,
        emit: EmitStrategy,
    ) -> WindowedAggregation<K> {
        let (size, grace) = (self.size(), self.grace());
        let serde = Arc::new(TimeWindowedSerde::new(store.key_serde(), size));
        WindowedAggregation {
            store: store.into_window_plan(WindowsToStore::new(size, size.saturating_add(grace), emit)),
            times: WindowTimes { emit, delay: to_millis(grace), to_end: to_millis(size) },
            keys: WindowedKeys { serde, grace },
        }
    }
}

pub(super) struct TimeWindowAggregation<K: RecordField, V, A, F> {
    table: WindowTable<WindowStore<K::NonNull, A>>,
    windows: TimeSpans,
    drops_null_values: bool,
    late: LateRecords<K, V>,
    change: Arc<F>,
    types: PhantomData<V>,
}

impl<K: RecordField, V, A, F> TimeWindowAggregation<K, V, A, F> {
    pub(super) fn new(
        table: WindowTable<WindowStore<K::NonNull, A>>,
        windows: TimeSpans,
        drops_null_values: bool,
        late: LateRecords<K, V>,
        change: &Arc<F>,
    ) -> Self {
        let (change, types) = (Arc::clone(change), PhantomData);
        TimeWindowAggregation { table, windows, drops_null_values, late, change, types }
    }
}

impl<K, V, A, F> Processor for TimeWindowAggregation<K, V, A, F>
where
    K: RecordField,
    V: RecordField,
    A: HasSerde,
    F: Fn(&K::NonNull, V, Option<A>) -> Result<Option<A>, Failure> + 'static,
{
    type KeyIn = K;
    type ValueIn = V;
    type KeyOut = Windowed<K::NonNull>;
    type ValueOut = Change<A>;

    fn process(
        &mut self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, Windowed<K::NonNull>, Change<A>>,
    ) -> Result<(), Failure> {
        let Record { key, value, timestamp, headers } = record;
        let Some(key) =
            key.into_non_null().filter(|_| !self.drops_null_values || value.as_non_null().is_some())
        else {
            context.task().drop_record();
            return Ok(());
        };
        let closing = self.table.closing_at(timestamp);
        let (mut value, mut is_late) = (Some(value), false);
        let mut windows = self.windows.windows_for(timestamp).peekable();
        while let Some(window) = windows.next() {
            is_late = !closing.is_open(window.end) || !self.table.store.is_kept(window.start);
            if is_late {
                context.task().drop_record();
                continue;
            }
            // The last window to come is the last to be closed: if any accepts the record, it does.
            let Some(value) = (if windows.peek().is_some() { value.clone() } else { value.take() }) else {
                break;
            };
            let change = &self.change;
            self.table.aggregate(&key, window, timestamp, &headers, context, |current| {
                change(&key, value, current)
            })?;
        }
        if let Some(value) = value.filter(|_| is_late) {
            let key = K::from_non_null(key);
            self.late.send(context.task(), || Record { key, value, timestamp, headers })?;
        }
        self.table.set_closing(closing);
        Ok(())
    }

    fn advance_stream_time(
        &mut self,
        time: Timestamp,
        _context: &mut ProcessorContext<'_, Windowed<K::NonNull>, Change<A>>,
    ) -> Result<(), Failure> {
        self.table.tell_the_time(time);
        Ok(())
    }

    fn passes_stream_time(&self) -> bool {
        self.table.emits_updates()
    }

    fn prepare_commit(
        &mut self,
        context: &mut ProcessorContext<'_, Windowed<K::NonNull>, Change<A>>,
    ) -> Result<(), Failure> {
        self.table.emit(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::operators::test_support::{
        at, driver, driver_without_commits, pipe_at, text, written, written_at,
    };
    use crate::{
        HasSerde, StoreOptions, TimeWindowedSerde, TimeWindows, UnlimitedWindows, Window, WindowStoreName,
        Windowed, millis,
    };

    const COUNTS: WindowStoreName<String, u64> = WindowStoreName::new("counts");

    fn tens() -> TimeWindows {
        TimeWindows::of_size_with_no_grace(millis(10))
    }

    #[test]
    fn a_null_value_is_counted_and_a_null_key_is_not() {
        let driver = driver(|builder| {
            let orders = builder.stream::<Option<String>, Option<i64>>("orders").group_by_key();
            orders.windowed_by(tens()).count(COUNTS);
        });
        let orders = driver.input_topic::<Option<String>, Option<i64>>("orders");
        for (key, value) in [(Some("apples"), Some(1_i64)), (Some("apples"), None), (None, Some(1))] {
            pipe_at(&orders, key.map(text), value, 5);
        }
        let counts = driver.window_store(COUNTS).expect("it is there");
        let row = counts.fetch(&text("apples"), at(0)).expect("it can be read");
        assert_eq!(row.map(|row| row.value), Some(2));
        assert_eq!(driver.dropped_records(), 1);
    }

    #[test]
    fn a_record_goes_to_the_topic_of_late_ones_if_no_window_takes_it() {
        let driver = driver(|builder| {
            let orders = builder.stream::<Option<String>, Option<i64>>("orders").group_by_key();
            let hopping = orders.windowed_by(tens().advance_by(millis(5)));
            hopping.late_records_to("late").count(COUNTS);
        });
        let orders = driver.input_topic::<String, Option<i64>>("orders");
        for (time, value) in [(12, Some(1_i64)), (6, Some(2)), (3, Some(3)), (2, None)] {
            pipe_at(&orders, "apples", value, time);
        }
        let late = written_at(&driver.output_topic::<String, Option<i64>>("late"));
        assert_eq!(late, [(text("apples"), Some(3), 3), (text("apples"), None, 2)]);
        assert_eq!(driver.dropped_records(), 3, "6 is late for one of its windows");
    }

    #[test]
    fn a_record_the_closure_fails_on_leaves_all_windows_as_they_were() {
        let driver = driver(|builder| {
            let orders = builder.stream::<String, String>("orders").group_by_key();
            let hopping = orders.windowed_by(tens().advance_by(millis(5)));
            let sums = hopping.try_aggregate(
                ().without_caching(),
                || 0,
                |_, order, sum| order.parse::<i64>().map(|order| sum + order),
            );
            sums.to_stream().map(|windowed, sum| (windowed.window.start.as_millis(), sum)).to("sums");
        });
        let orders = driver.input_topic::<String, String>("orders");
        // If the failed record counted, stream time would be past the window of the last one.
        for (order, time) in [("5", 7), ("some", 99), ("2", 8)] {
            pipe_at(&orders, "apples", order, time);
        }
        let sums = written(&driver.output_topic::<i64, Option<i64>>("sums"));
        assert_eq!(sums, [(0, Some(5)), (5, Some(5)), (0, Some(7)), (5, Some(7))]);
        assert_eq!((driver.skipped_records(), driver.dropped_records()), (1, 0));
    }

    #[test]
    fn a_caching_store_emits_the_newest_value_of_each_window_at_commit() {
        let driver = driver_without_commits(|builder| {
            let orders = builder.stream::<String, i64>("orders").group_by_key();
            orders.windowed_by(tens()).count(COUNTS).to_stream().to("counts");
        });
        let orders = driver.input_topic::<String, i64>("orders");
        let keys = Arc::new(TimeWindowedSerde::new(String::serde(), millis(10)));
        let counts = driver.output_topic_with_serdes("counts", keys, u64::serde());
        for time in [1, 2, 15, 3] {
            pipe_at(&orders, "apples", 1, time);
        }
        assert!(counts.is_empty());
        driver.commit().expect("the commit succeeds");
        let windowed = |start| Windowed::new(text("apples"), Window::new(at(start), at(start + 10)));
        let read = counts.read_records_to_list().expect("outputs decode");
        let read: Vec<_> =
            read.into_iter().map(|record| (record.key, record.value, record.timestamp)).collect();
        assert_eq!(read, [(windowed(0), 2, at(2)), (windowed(10), 1, at(15))]);
    }

    #[test]
    fn an_unlimited_window_takes_what_comes_from_its_start_on() {
        let driver = driver(|builder| {
            let orders = builder.stream::<String, i64>("orders").group_by_key();
            orders.windowed_by(UnlimitedWindows::of().start_on(at(5))).count(COUNTS);
        });
        let orders = driver.input_topic::<String, i64>("orders");
        for time in [7, 1_000_000, 4, 5] {
            pipe_at(&orders, "apples", 1, time);
        }
        let counts = driver.window_store(COUNTS).expect("it is there");
        let rows: Vec<_> =
            counts.all().expect("it can be read").map(|row| row.expect("it decodes")).collect();
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].0.window, rows[0].1.value), (Window::new(at(5), at(i64::MAX)), 3));
        assert_eq!(driver.dropped_records(), 0);
    }

    #[test]
    fn rows_of_a_windowed_table_are_looked_up_by_key_and_window() {
        let driver = driver(|builder| {
            let orders = builder.stream::<String, i64>("orders").group_by_key();
            let counts = orders.windowed_by(TimeWindows::of_size_and_grace(millis(10), millis(90))).count(());
            let asked = builder
                .stream::<String, i64>("asked")
                .map(|sku, start| (Windowed::new(sku, Window::new(at(start), at(start + 10))), start));
            let found = asked.repartition(()).left_join(&counts, |_, count| count.copied());
            found.map(|windowed, count| (windowed.key, count)).to("found");
        });
        let orders = driver.input_topic::<String, i64>("orders");
        for time in [1, 2, 15] {
            pipe_at(&orders, "apples", 1, time);
        }
        let asked = driver.input_topic::<String, i64>("asked");
        for start in [0, 10, 20] {
            asked.pipe_input("apples", start).expect("the record is processed");
        }
        let found = written(&driver.output_topic::<String, Option<u64>>("found"));
        assert_eq!(found.into_iter().map(|(_, count)| count).collect::<Vec<_>>(), [Some(2), Some(1), None]);
    }

    #[test]
    fn a_windowed_table_is_grouped_again_with_its_old_values() {
        let driver = driver(|builder| {
            let counts = builder.stream::<String, i64>("orders").group_by_key().windowed_by(tens()).count(());
            let per_sku = counts.group_by(|windowed, count| (windowed.key.clone(), count));
            let totals = per_sku.aggregate((), || 0, |_, new, sum| sum + new, |_, old, sum| sum - old);
            totals.to_stream().to("totals");
        });
        let orders = driver.input_topic::<String, i64>("orders");
        for time in [1, 2, 15, 16, 17] {
            pipe_at(&orders, "apples", 1, time);
        }
        let totals = written(&driver.output_topic::<String, Option<u64>>("totals"));
        assert_eq!(totals.last(), Some(&(text("apples"), Some(5))), "{totals:?}");
    }

    #[test]
    #[should_panic(
        expected = "store counts keeps its rows for 14ms, but its windows with their grace need 15ms"
    )]
    fn rows_are_kept_as_long_as_they_may_change() {
        let builder = crate::StreamsBuilder::new();
        let orders = builder.stream::<String, i64>("orders").group_by_key();
        let windows = TimeWindows::of_size_and_grace(millis(10), millis(5));
        orders.windowed_by(windows).count(COUNTS.with_retention(millis(14)));
    }

    #[test]
    #[should_panic(expected = "a window without an end is never closed")]
    fn what_never_closes_is_not_emitted_at_its_close() {
        let builder = crate::StreamsBuilder::new();
        let orders = builder.stream::<String, i64>("orders").group_by_key();
        let _forever =
            orders.windowed_by(UnlimitedWindows::of()).emit_strategy(crate::EmitStrategy::on_window_close());
    }
}
