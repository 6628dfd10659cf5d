//! The store of a windowed table together with the rule when its changes go downstream: at each update, at commit, or when their
//! window is closed.

use millstream_processor::api::{Failure, Headers, ProcessorContext, Record, Wiring};
use millstream_processor::{Change, Result, Timestamp, ValueAndTimestamp, Window, WindowStore, Windowed};

use crate::windows::EmitStrategy;

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
}

impl Closing {
    pub(super) fn new(emit: EmitStrategy, delay: i64, emitted_to: Option<Timestamp>) -> Self {
        Closing { emit, observed: Timestamp::from_millis(-1), delay, emitted_to }
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

    pub(super) fn emits_updates(&self) -> bool {
        self.emit == EmitStrategy::OnWindowUpdate
    }

    /// The ends of windows that were closed since this was last asked: after the first time, up to the second.
    pub(super) fn newly_closed(&mut self) -> Option<(Timestamp, Timestamp)> {
        let (before, now) = (self.emitted_to.unwrap_or(Timestamp::from_millis(-1)), self.by_time());
        if self.emits_updates() || now <= before {
            return None;
        }
        self.emitted_to = Some(now);
        Some((before, now))
    }
}

/// The store of a windowed table as the node that keeps the table uses it.
pub(super) struct WindowTable<K, V> {
    pub(super) store: WindowStore<K, V>,
    pub(super) closing: Closing,
    sends_old_values: bool,
    /// Milliseconds that a window lasts.
    size: i64,
}

impl<K: Clone + 'static, V: Clone + 'static> WindowTable<K, V> {
    /// Opens the store; `delay` is how far the time to which windows are closed lies behind stream time.
    pub(super) fn open(
        wiring: &Wiring<'_>,
        name: &str,
        sends_old_values: bool,
        size: i64,
        emit: EmitStrategy,
        delay: i64,
    ) -> Result<Self> {
        let store: WindowStore<K, V> = wiring.window_store(name)?;
        let emitted_to = match emit {
            EmitStrategy::OnWindowClose => store.emitted_to()?,
            EmitStrategy::OnWindowUpdate => None,
        };
        Ok(WindowTable { store, closing: Closing::new(emit, delay, emitted_to), sends_old_values, size })
    }

    /// Gives a row a new value made from the one it has, with the latest event time of what went into it.
    #[inline]
    pub(super) fn aggregate(
        &self,
        key: &K,
        window: Window,
        timestamp: Timestamp,
        headers: &Headers,
        context: &mut ProcessorContext<'_, Windowed<K>, Change<V>>,
        change: impl FnOnce(&K, Option<V>) -> Result<Option<V>, Failure>,
    ) -> Result<(), Failure> {
        let mut latest = timestamp;
        let changed = self.store.update(key, window.start, timestamp, self.sends_old_values, |row| {
            let current = row.map(|row| {
                latest = latest.max(row.timestamp);
                row.value
            });
            let value = change(key, current)?;
            Ok::<_, Failure>(value.map(|value| ValueAndTimestamp { value, timestamp: latest }))
        })?;
        match changed {
            Some((change, _)) if self.closing.emits_updates() => {
                let (key, headers) = (Windowed::new(key.clone(), window), headers.clone());
                context.forward(Record { key, value: change, timestamp: latest, headers })
            }
            _ => Ok(()),
        }
    }

    /// Forwards what was held back until the commit: changes of a caching store, or windows that were closed since the last one.
    pub(super) fn emit(
        &mut self,
        context: &mut ProcessorContext<'_, Windowed<K>, Change<V>>,
    ) -> Result<(), Failure> {
        if self.closing.emits_updates() {
            if self.store.is_cached() {
                for emission in self.store.emissions()? {
                    let Change { old, new } = emission.change;
                    let change = Change { old: old.filter(|_| self.sends_old_values), new };
                    context.forward(Record::new(emission.key, change, emission.timestamp))?;
                }
            }
            return Ok(());
        }
        let Some((before, now)) = self.closing.newly_closed() else { return Ok(()) };
        let start_of = |end: Timestamp| end.as_millis().saturating_sub(self.size);
        let (from, to) = (start_of(before).saturating_add(1).max(0), start_of(now));
        if to < from {
            return Ok(());
        }
        let mut emits = false;
        for row in self.store.by_time(Timestamp::from_millis(from), Timestamp::from_millis(to))? {
            let (key, row) = row?;
            context.forward(Record::new(key, Change { old: None, new: Some(row.value) }, row.timestamp))?;
            emits = true;
        }
        if emits {
            self.store.set_emitted_to(now);
        }
        Ok(())
    }
}
