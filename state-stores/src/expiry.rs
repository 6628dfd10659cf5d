//! Which rows of a window or session store have been kept long enough.
//!
//! A store has a stream time of its own: the newest time among the rows that were put into it since the task began, committed ones
//! only. A row is gone once it is older than that by the retention: no reader gets it, and the engine drops it when it suits. Where closed
//! windows are emitted once, a row is not gone before it was emitted, however far stream time leaps.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::format::{TimedKeys, TimedLayout};
use crate::types::Timestamp;

/// The stream time of one store, moved on by whoever has the store, seen by readers and engines.
#[derive(Debug)]
pub(crate) struct Expiry {
    layout: TimedLayout,
    observed: AtomicI64,
    /// The last end of windows that were emitted, in a store that keeps a mark of it.
    emitted: AtomicI64,
}

/// Before anything was observed.
const NEVER: i64 = i64::MIN;

impl Expiry {
    pub(crate) fn new(layout: TimedLayout) -> Self {
        Self { layout, observed: AtomicI64::new(NEVER), emitted: AtomicI64::new(NEVER) }
    }

    pub(crate) fn keys(&self) -> TimedKeys {
        self.layout.keys
    }

    /// How long rows are kept, in milliseconds.
    pub(crate) fn retention(&self) -> i64 {
        self.layout.retention
    }

    pub(crate) fn is_indexed(&self) -> bool {
        self.layout.is_indexed
    }

    /// The newest time that was observed.
    pub(crate) fn observed(&self) -> Timestamp {
        Timestamp::from_millis(self.observed.load(Ordering::Relaxed))
    }

    /// Takes note of a time. It does not go back.
    pub(crate) fn observe(&self, time: Timestamp) {
        self.observed.fetch_max(time.as_millis(), Ordering::Relaxed);
    }

    /// Forgets what was observed: the store begins to run.
    pub(crate) fn begin(&self) {
        self.observed.store(NEVER, Ordering::Relaxed);
    }

    /// Takes note of a mark: windows that end at or before it were emitted.
    pub(crate) fn emitted_to(&self, mark: Timestamp) {
        self.emitted.store(mark.as_millis(), Ordering::Relaxed);
    }

    /// Forgets everything: the store has no rows any more.
    pub(crate) fn clear(&self) {
        self.begin();
        self.emitted.store(NEVER, Ordering::Relaxed);
    }

    /// The oldest time that is kept when `observed` is the newest.
    #[inline]
    pub(crate) fn oldest_kept(&self, observed: Timestamp) -> Timestamp {
        let kept = observed.as_millis().saturating_sub(self.layout.retention).saturating_add(1);
        Timestamp::from_millis(kept)
    }

    /// Whether a key on disk is that of a row, or of what finds it, that has been kept long enough.
    pub(crate) fn has_expired(&self, key: &[u8]) -> bool {
        let oldest = self.oldest_kept(self.observed());
        self.layout.keys.time_on_disk(key).is_some_and(|time| time < oldest && self.was_emitted(time))
    }

    /// Whether the row of this key need not be written any more: it has expired, and no older one comes forth in its place.
    pub(crate) fn may_leave_out(&self, key: &[u8]) -> bool {
        self.layout.rows_are_unique && self.has_expired(key)
    }

    /// Whether a row of this time is not still to be emitted.
    fn was_emitted(&self, time: Timestamp) -> bool {
        let end = time.as_millis().saturating_add(self.layout.window_size);
        !self.layout.is_indexed || end <= self.emitted.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::RowId;

    #[test]
    fn a_row_is_kept_for_the_retention() {
        let layout = TimedLayout {
            keys: TimedKeys::Window,
            retention: 10,
            window_size: 10,
            is_indexed: false,
            rows_are_unique: false,
        };
        let expiry = Expiry::new(layout);
        let row = |start: i64| {
            let mut row = Vec::new();
            TimedKeys::Window.row(b"sku", RowId::of_window(Timestamp::from_millis(start), 0), &mut row);
            row
        };
        assert!(!expiry.has_expired(&row(0)), "nothing was observed");
        expiry.observe(Timestamp::from_millis(25));
        expiry.observe(Timestamp::from_millis(7));
        assert_eq!((expiry.has_expired(&row(15)), expiry.has_expired(&row(16))), (true, false));
        assert!(!expiry.has_expired(crate::format::MARK_KEY));
        expiry.begin();
        assert!(!expiry.has_expired(&row(15)));
    }

    #[test]
    fn a_window_that_was_not_emitted_is_kept() {
        let layout = TimedLayout {
            keys: TimedKeys::Window,
            retention: 10,
            window_size: 10,
            is_indexed: true,
            rows_are_unique: false,
        };
        let expiry = Expiry::new(layout);
        let mut row = Vec::new();
        TimedKeys::Window.row(b"sku", RowId::of_window(Timestamp::from_millis(5), 0), &mut row);
        expiry.observe(Timestamp::from_millis(1_000));
        assert!(!expiry.has_expired(&row));
        expiry.emitted_to(Timestamp::from_millis(14));
        assert!(!expiry.has_expired(&row), "it ends at 15");
        expiry.emitted_to(Timestamp::from_millis(15));
        assert!(expiry.has_expired(&row));
        expiry.clear();
        assert!(!expiry.has_expired(&row));
    }

    #[test]
    fn an_endless_retention_keeps_everything() {
        let layout = TimedLayout {
            keys: TimedKeys::Window,
            retention: i64::MAX,
            window_size: 10,
            is_indexed: false,
            rows_are_unique: false,
        };
        let expiry = Expiry::new(layout);
        assert_eq!(expiry.oldest_kept(Timestamp::from_millis(0)).as_millis(), -i64::MAX + 1);
        assert!(expiry.oldest_kept(Timestamp::from_millis(i64::MAX)).as_millis() <= 1);
        assert!(expiry.oldest_kept(expiry.observed()).as_millis() < 0);
    }
}
