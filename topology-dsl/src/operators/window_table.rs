//! The store of a windowed table together with the rule when its changes go downstream: at each update, at commit, or when their
//! window is closed.

use std::cell::Cell;
use std::rc::Rc;

use millstream_processor::api::{Failure, Headers, ProcessorContext, Record, Wiring};
use millstream_processor::{Change, Result, Timestamp, ValueAndTimestamp, Window, Windowed};

use super::windowed_store::WindowedStore;
use crate::windows::EmitStrategy;

/// When the windows of a table close, and how those that have closed are found.
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowTimes {
    pub(super) emit: EmitStrategy,
    /// How far the time to which windows are closed lies behind stream time, in milliseconds.
    pub(super) delay: i64,
    /// Milliseconds from the time that orders the windows of the store to their ends.
    pub(super) to_end: i64,
}

/// Which windows are closed, and which of them were emitted.
///
/// A window is closed when its end is at or before a point in time that only moves on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    emit: EmitStrategy,
    /// Stream time: the latest event time that the operator has seen. It begins anew with each task.
    observed: Timestamp,
    /// How far the time to which windows are closed lies behind stream time.
    delay: i64,
    /// Windows that end at or before this were emitted, of an operator that emits them once.
    emitted_to: Option<Timestamp>,
    /// Whether time moved on without a record: how far windows were emitted is kept then, also if there was none.
    was_told: bool,
}

impl Closing {
    fn new(WindowTimes { emit, delay, .. }: WindowTimes, emitted_to: Option<Timestamp>) -> Self {
        Closing { emit, observed: Timestamp::from_millis(-1), delay, emitted_to, was_told: false }
    }

    /// The same as seen from a record with this event time.
    #[inline]
    pub(super) fn at(self, time: Timestamp) -> Self {
        Closing { observed: self.observed.max(time), ..self }
    }

    /// Up to which end windows are closed.
    #[inline]
    pub(super) fn closed_to(&self) -> Timestamp {
        let by_time = self.by_time();
        self.emitted_to.map_or(by_time, |emitted| emitted.max(by_time))
    }

    fn by_time(&self) -> Timestamp {
        Timestamp::from_millis(self.observed.as_millis().saturating_sub(self.delay))
    }

    /// Whether a window with this end accepts records.
    #[inline]
    pub(super) fn is_open(&self, end: Timestamp) -> bool {
        end > self.closed_to()
    }

    /// The ends of windows that were closed since this was last asked: after the first time, up to the second.
    pub(super) fn newly_closed(&mut self) -> Option<(Timestamp, Timestamp)> {
        let (before, now) = (self.emitted_to.unwrap_or(Timestamp::from_millis(-1)), self.by_time());
        if self.emit == EmitStrategy::OnWindowUpdate || now <= before {
            return None;
        }
        self.emitted_to = Some(now);
        Some((before, now))
    }
}

/// The store of a windowed table as the node that keeps the table uses it.
pub(super) struct WindowTable<S> {
    pub(super) store: S,
    /// Where windows are emitted once, all nodes that change the table share it: closed is closed for each of them. Where they are not, each
    /// has its own, as in Kafka Streams.
    closing: Rc<Cell<Closing>>,
    times: WindowTimes,
    sends_old_values: bool,
    emits_at_commit: bool,
}

impl<S: WindowedStore> WindowTable<S> {
    pub(super) fn open(
        wiring: &Wiring<'_>,
        name: &str,
        sends_old_values: bool,
        times: WindowTimes,
    ) -> Result<Self> {
        let store = S::open(wiring, name)?;
        let closing = match times.emit {
            EmitStrategy::OnWindowUpdate => Rc::new(Cell::new(Closing::new(times, None))),
            EmitStrategy::OnWindowClose => {
                let emitted_to = store.emitted_to()?;
                wiring.shared(name, || Cell::new(Closing::new(times, emitted_to)))?
            }
        };
        Ok(WindowTable { store, closing, times, sends_old_values, emits_at_commit: true })
    }

    /// Leaves it to another node of the same table to emit at commits what was held back.
    pub(super) fn without_emissions(self) -> Self {
        WindowTable { emits_at_commit: false, ..self }
    }

    /// Which windows are closed, as seen from a record with this event time.
    #[inline]
    pub(super) fn closing_at(&self, time: Timestamp) -> Closing {
        self.closing.get().at(time)
    }

    /// Lets stream time move on to where a record has seen it.
    #[inline]
    pub(super) fn set_closing(&self, closing: Closing) {
        self.closing.set(closing);
    }

    /// Lets stream time move on although no record came.
    pub(super) fn tell_the_time(&self, time: Timestamp) {
        self.set_closing(Closing { was_told: true, ..self.closing_at(time) });
    }

    /// Whether a change goes downstream before its window is closed.
    pub(super) fn emits_updates(&self) -> bool {
        self.times.emit == EmitStrategy::OnWindowUpdate
    }

    /// Gives a row a new value made from the one it has; `at` is the event time of the record that does it.
    #[inline]
    pub(super) fn aggregate(
        &self,
        key: &S::Key,
        window: Window,
        at: Timestamp,
        headers: &Headers,
        context: &mut ProcessorContext<'_, Windowed<S::Key>, Change<S::Value>>,
        change: impl FnOnce(Option<S::Value>) -> Result<Option<S::Value>, Failure>,
    ) -> Result<(), Failure> {
        let mut time = S::time_of_row(None, at);
        let changed = self.store.update(key, window, at, self.sends_old_values, |row| {
            let current = row.map(|row| {
                time = S::time_of_row(Some(row.timestamp), at);
                row.value
            });
            let value = change(current)?;
            Ok(value.map(|value| ValueAndTimestamp { value, timestamp: time }))
        })?;
        match changed {
            Some((value, _)) if self.emits_updates() => {
                let (key, headers) = (Windowed::new(key.clone(), window), headers.clone());
                context.forward(Record { key, value, timestamp: S::time_of_change(window, time), headers })
            }
            _ => Ok(()),
        }
    }

    /// Forwards what was held back until the commit: changes of a caching store, or windows that were closed since the last one.
    pub(super) fn emit(
        &mut self,
        context: &mut ProcessorContext<'_, Windowed<S::Key>, Change<S::Value>>,
    ) -> Result<(), Failure> {
        if !self.emits_at_commit {
            return Ok(());
        }
        if self.emits_updates() {
            if self.store.is_cached() {
                for emission in self.store.emissions()? {
                    let Change { old, new } = emission.change;
                    let change = Change { old: old.filter(|_| self.sends_old_values), new };
                    let time = S::time_of_change(emission.key.window, emission.timestamp);
                    context.forward(Record::new(emission.key, change, time))?;
                }
            }
            return Ok(());
        }
        let mut closing = self.closing.get();
        let Some((before, now)) = closing.newly_closed() else { return Ok(()) };
        let mut is_kept = std::mem::take(&mut closing.was_told);
        self.closing.set(closing);
        let ordered_at = |end: Timestamp| end.as_millis().saturating_sub(self.times.to_end);
        let (from, to) = (ordered_at(before).saturating_add(1).max(0), ordered_at(now));
        if to >= from {
            for row in self.store.by_time(Timestamp::from_millis(from), Timestamp::from_millis(to))? {
                let (key, row) = row?;
                let time = S::time_of_change(key.window, row.timestamp);
                context.forward(Record::new(key, Change { old: None, new: Some(row.value) }, time))?;
                is_kept = true;
            }
        }
        if is_kept {
            self.store.set_emitted_to(now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::operators::test_support::{driver, driver_without_commits, pipe_at, text, written};
    use crate::{EmitStrategy, StreamsBuilder, TimeWindows, millis};

    /// Counts in windows of ten milliseconds, written once they are closed.
    fn final_counts(builder: &StreamsBuilder) {
        let orders = builder.stream::<String, i64>("orders").group_by_key();
        let windows = orders.windowed_by(TimeWindows::of_size_and_grace(millis(10), millis(2)));
        let counts = windows.emit_strategy(EmitStrategy::on_window_close()).count(());
        counts.to_stream().map(|windowed, count| (windowed.to_string(), count)).to("counts");
    }

    #[test]
    fn windows_are_the_same_however_many_records_a_commit_has() {
        let records: Vec<(String, i64)> =
            (0..400).map(|number| (format!("sku-{}", number % 3), number * 7 % 60 + number)).collect();
        let outputs = [1, 7, 400].map(|per_commit| {
            let driver = driver_without_commits(final_counts);
            let orders = driver.input_topic::<String, i64>("orders");
            for batch in records.chunks(per_commit) {
                for (sku, time) in batch {
                    pipe_at(&orders, sku.clone(), 1, *time);
                }
                driver.commit().expect("the commit succeeds");
            }
            written(&driver.output_topic::<String, Option<u64>>("counts"))
        });
        assert!(outputs[0].len() > 60, "{:?}", outputs[0]);
        assert_eq!(outputs[0], outputs[1]);
        assert_eq!(outputs[0], outputs[2]);
    }

    #[test]
    fn a_leap_of_stream_time_loses_no_window() {
        let driver = driver(final_counts);
        let orders = driver.input_topic::<String, i64>("orders");
        for time in [5, 21, 1_000_000, 30, 1_000_012] {
            pipe_at(&orders, "apples", 1, time);
        }
        let counts = written(&driver.output_topic::<String, Option<u64>>("counts"));
        let windows = ["[apples@0/10]", "[apples@20/30]", "[apples@1000000/1000010]"];
        assert_eq!(counts, windows.map(|window| (text(window), Some(1))));
        assert_eq!(driver.dropped_records(), 1);
    }
}
