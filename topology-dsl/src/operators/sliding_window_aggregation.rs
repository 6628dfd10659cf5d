//! What `count`, `reduce` and `aggregate` in sliding windows have in common: one row per key and window, of which a record changes those
//! it lies in, and makes up to three.
//!
//! For each record there is a window that ends with it (its left window) and, once there is a later record within reach, one that begins
//! right after it (its right window). A window that would begin before 1970 is the one that begins then: early records share it.

use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::sync::Arc;

use millstream_processor::api::{Failure, Headers, Processor, ProcessorContext, Record};
use millstream_processor::{
    Change, Direction, HasSerde, RecordField, TimeWindowedSerde, Timestamp, ValueAndTimestamp, Window,
    WindowKind, WindowStore, Windowed,
};

use super::late_records::LateRecords;
use super::stream_aggregation::Aggregation;
use super::window_table::{WindowTable, WindowTimes};
use super::windowed_aggregation::{WindowedAggregation, WindowedKeys};
use crate::durations::millis;
use crate::options::{Materialized, WindowsToStore};
use crate::table::KTable;
use crate::windowed::SlidingWindowedKStream;
use crate::windows::{EmitStrategy, SlidingWindows, to_millis};

impl<K: RecordField, V: RecordField> SlidingWindowedKStream<K, V> {
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
        F: Fn(&K::NonNull, V::NonNull, Option<A>) -> Result<Option<A>, Failure> + Send + Sync + 'static,
    {
        let (windows, change) = (self.windows, Arc::new(change));
        let store = store.with_inherited_key_serde(self.grouped.key_serde());
        let declared = windows.aggregated_in(store, self.options.emit);
        self.grouped.declare_windowed_aggregation(aggregation, &self.options, declared, move |table, late| {
            SlidingWindowAggregation::<K, V, A, F>::new(table, windows, late, &change)
        })
    }
}

impl SlidingWindows {
    /// A table of what is aggregated in these windows, kept in this store: the windows of a record that is just not too late are found by
    /// those before it.
    #[track_caller]
    pub(super) fn aggregated_in<K: HasSerde, A: HasSerde>(
        self,
        store: Materialized<K, A, WindowKind>,
        emit: EmitStrategy,
    ) -> WindowedAggregation<K> {
        let (difference, grace) = (self.time_difference(), self.grace());
        let least = difference.saturating_mul(2).saturating_add(grace);
        let until_closed = difference.saturating_add(grace).saturating_add(millis(1));
        let to_store = WindowsToStore::new(difference, least, emit).needing(least.max(until_closed));
        let serde = Arc::new(TimeWindowedSerde::new(store.key_serde(), difference));
        // Their ends belong to the windows: they are closed when stream time is past them.
        let delay = to_millis(grace).saturating_add(1);
        WindowedAggregation {
            store: store.into_window_plan(to_store),
            times: WindowTimes { emit, delay, to_end: to_millis(difference) },
            keys: WindowedKeys { serde, grace },
        }
    }
}

pub(super) struct SlidingWindowAggregation<K: RecordField, V, A, F> {
    table: WindowTable<WindowStore<K::NonNull, A>>,
    /// Milliseconds from the start of a window to its end.
    difference: i64,
    late: LateRecords<K, V>,
    change: Arc<F>,
    types: PhantomData<V>,
}

/// What a record does to one window. Windows are named by their starts, in milliseconds.
enum Step<A> {
    /// It becomes part of a window that exists.
    Join(i64),
    /// It becomes part of a new window, on top of this value.
    Begin(i64, Option<A>),
    /// The window right after it is made of what came later.
    Follow(i64, ValueAndTimestamp<A>),
}

/// What the store says about the surroundings of a record.
struct Surroundings<A> {
    steps: Vec<Step<A>>,
    /// Starts of the windows that exist.
    starts: Vec<i64>,
    /// The records before, as far as the new record's left window reaches: their value, and when the last of them was.
    left: Option<A>,
    previous: Option<i64>,
    /// The records after, as far as a window that contains the new record reaches.
    right: Option<ValueAndTimestamp<A>>,
    is_complete: bool,
}

impl<A> Surroundings<A> {
    fn unknown() -> Self {
        let (steps, starts) = (Vec::new(), Vec::new());
        Surroundings { steps, starts, left: None, previous: None, right: None, is_complete: false }
    }
}

impl<K: RecordField, V, A, F> SlidingWindowAggregation<K, V, A, F> {
    pub(super) fn new(
        table: WindowTable<WindowStore<K::NonNull, A>>,
        windows: SlidingWindows,
        late: LateRecords<K, V>,
        change: &Arc<F>,
    ) -> Self {
        let (difference, change) = (to_millis(windows.time_difference()), Arc::clone(change));
        SlidingWindowAggregation { table, difference, late, change, types: PhantomData }
    }
}

impl<K, V, A, F> SlidingWindowAggregation<K, V, A, F>
where
    K: RecordField,
    V: RecordField,
    A: HasSerde,
    F: Fn(&K::NonNull, V::NonNull, Option<A>) -> Result<Option<A>, Failure> + 'static,
{
    /// What a record at `time`, whose left window begins in 1970 or later, does.
    fn steps(&self, key: &K::NonNull, time: i64) -> Result<Vec<Step<A>>, Failure> {
        let difference = self.difference;
        let mut around = Surroundings::unknown();
        let (mut has_left, mut has_right, mut looked_right) = (false, false, false);
        let reach = Timestamp::from_millis(time.saturating_sub(difference.saturating_mul(2)))
            ..=Timestamp::from_millis(time.saturating_add(1));
        self.table.store.visit_range(key, reach, Direction::Reverse, |start, row| {
            let (start, newest) = (start.as_millis(), row.timestamp.as_millis());
            let end = start.saturating_add(difference);
            around.starts.push(start);
            if start > time {
                has_right = true;
            } else if end > time {
                if !std::mem::replace(&mut looked_right, true) && newest > time && !has_right {
                    around.right = Some(row.clone());
                }
                around.steps.push(Step::Join(start));
            } else if end == time {
                has_left = true;
                around.steps.push(Step::Join(start));
                if newest == time {
                    // A record of the same time was here before: it made all windows that this one needs.
                    around.is_complete = true;
                    return ControlFlow::Break(());
                }
                around.previous = Some(newest);
            } else {
                around.left = (newest >= time - difference && !has_left).then(|| row.value.clone());
                around.previous = Some(newest);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        let Surroundings { mut steps, starts, left, previous, right, is_complete } = around;
        if is_complete {
            return Ok(steps);
        }
        if let Some(start) = previous.map(|previous| previous + 1)
            && !starts.contains(&start)
            && start.saturating_add(difference) >= time
        {
            steps.push(Step::Begin(start, None));
        }
        if !has_left {
            steps.push(Step::Begin(time - difference, left));
        }
        steps.extend(right.map(|right| Step::Follow(time + 1, right)));
        Ok(steps)
    }

    /// What a record at `time` does whose left window would begin before 1970.
    fn early_steps(&self, key: &K::NonNull, time: i64) -> Result<Vec<Step<A>>, Failure> {
        let mut around = Surroundings::unknown();
        let (mut has_shared, mut has_right) = (false, false);
        let reach = Timestamp::from_millis(0)..=Timestamp::from_millis(time.saturating_add(1));
        let mut later_in_shared = None;
        self.table.store.visit_range(key, reach, Direction::Forward, |start, row| {
            let (start, newest) = (start.as_millis(), row.timestamp.as_millis());
            around.starts.push(start);
            if start == 0 {
                has_shared = true;
                if newest < time {
                    around.previous = Some(newest);
                } else if newest > time {
                    later_in_shared = Some(row.clone());
                }
            } else if start <= time {
                around.right = Some(row.clone());
                around.steps.push(Step::Join(start));
            } else {
                has_right = true;
            }
            ControlFlow::Continue(())
        })?;
        let Surroundings { mut steps, starts, previous, right, .. } = around;
        // Without another window after the first, all that the first one has is later than this record, or nothing is.
        let right = right.or(later_in_shared).filter(|right| right.timestamp.as_millis() > time);
        if !has_right {
            steps.extend(right.map(|right| Step::Follow(time + 1, right)));
        }
        if let Some(start) = previous.map(|previous| previous + 1)
            && !starts.contains(&start)
        {
            steps.push(Step::Begin(start, None));
        }
        steps.push(if has_shared { Step::Join(0) } else { Step::Begin(0, None) });
        Ok(steps)
    }

    fn window(&self, start: i64) -> Window {
        let end = start.saturating_add(self.difference);
        Window::new(Timestamp::from_millis(start), Timestamp::from_millis(end))
    }

    fn take(
        &self,
        step: Step<A>,
        key: &K::NonNull,
        value: V::NonNull,
        timestamp: Timestamp,
        headers: &Headers,
        context: &mut ProcessorContext<'_, Windowed<K::NonNull>, Change<A>>,
    ) -> Result<(), Failure> {
        let change = &self.change;
        match step {
            Step::Join(start) => {
                self.table.aggregate(key, self.window(start), timestamp, headers, context, |current| {
                    change(key, value, current)
                })
            }
            Step::Begin(start, base) => {
                self.table.aggregate(key, self.window(start), timestamp, headers, context, |_nothing| {
                    change(key, value, base)
                })
            }
            Step::Follow(start, row) => {
                self.table.aggregate(key, self.window(start), row.timestamp, headers, context, |_nothing| {
                    Ok(Some(row.value))
                })
            }
        }
    }
}

impl<K, V, A, F> Processor for SlidingWindowAggregation<K, V, A, F>
where
    K: RecordField,
    V: RecordField,
    A: HasSerde,
    F: Fn(&K::NonNull, V::NonNull, Option<A>) -> Result<Option<A>, Failure> + 'static,
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
        let (Some(key), Some(value)) = (key.into_non_null(), value.into_non_null()) else {
            context.task().drop_record();
            return Ok(());
        };
        let (time, closing) = (timestamp.as_millis(), self.table.closing_at(timestamp));
        // The last window that can contain the record begins with it.
        if !closing.is_open(self.window(time).end) || !self.table.store.is_kept(timestamp) {
            context.task().drop_record();
            let (key, value) = (K::from_non_null(key), V::from_non_null(value));
            self.late.send(context.task(), || Record { key, value, timestamp, headers })?;
            self.table.set_closing(closing);
            return Ok(());
        }
        let steps =
            if time < self.difference { self.early_steps(&key, time)? } else { self.steps(&key, time)? };
        let (mut steps, mut value) = (steps.into_iter().peekable(), Some(value));
        while let Some(step) = steps.next() {
            let (Step::Join(start) | Step::Begin(start, _) | Step::Follow(start, _)) = &step;
            let window = self.window(*start);
            if !matches!(step, Step::Follow(..)) && !closing.is_open(window.end) {
                context.task().drop_record();
                continue;
            }
            let value = if steps.peek().is_some() { value.clone() } else { value.take() };
            let Some(value) = value else { break };
            self.take(step, &key, value, timestamp, &headers, context)?;
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
    use crate::operators::test_support::{driver, pipe_at, text, written_at};
    use crate::{SlidingWindows, WindowStoreName, millis};

    const COUNTS: WindowStoreName<String, u64> = WindowStoreName::new("counts");

    #[test]
    fn null_values_are_dropped_and_early_records_share_the_first_window() {
        let driver = driver(|builder| {
            let orders = builder.stream::<String, Option<i64>>("orders").group_by_key();
            let sliding = SlidingWindows::of_time_difference_and_grace(millis(10), millis(50));
            orders.windowed_by(sliding).count(COUNTS);
        });
        let orders = driver.input_topic::<String, Option<i64>>("orders");
        for (value, time) in [(Some(1_i64), 3), (None, 4), (Some(1), 7)] {
            pipe_at(&orders, "apples", value, time);
        }
        let counts = driver.window_store(COUNTS).expect("it is there");
        let rows = counts.all().expect("it can be read").map(|row| row.expect("it decodes"));
        let rows: Vec<_> = rows.map(|(key, row)| (key.window.to_string(), row.value)).collect();
        assert_eq!(rows, [(text("0/10"), 2), (text("4/14"), 1)]);
        assert_eq!(driver.dropped_records(), 1);
    }

    #[test]
    fn a_record_too_late_for_all_windows_goes_to_its_topic() {
        let driver = driver(|builder| {
            let orders = builder.stream::<String, i64>("orders").group_by_key();
            let sliding = SlidingWindows::of_time_difference_with_no_grace(millis(10));
            orders.windowed_by(sliding).late_records_to("late").count(());
        });
        let orders = driver.input_topic::<String, i64>("orders");
        for time in [50, 40, 39] {
            pipe_at(&orders, "apples", time, time);
        }
        assert_eq!(written_at(&driver.output_topic::<String, i64>("late")), [(text("apples"), 39, 39)]);
    }
}
