//! How recent the state is that a log has made: whether a tombstone that it lacks may have been removed from the log by now.
//!
//! Kafka's compaction removes a tombstone some time after it has removed what that deletes (`delete.retention.ms`). Whoever has a row, and reads
//! on only when the tombstone is gone, keeps the row for ever. So a time goes with each position: one at which every tombstone that the
//! state lacks was still in the log, or was not written yet. It is the time at which the state had all there was or, as long as it never had,
//! the time before it was begun: what was read from then on was in the log then, and what deletes it stays for as long.

use millstream_state_stores::{Offset, Timestamp};

/// See the module's description. All times are of the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recency {
    as_of: Option<Timestamp>,
    /// An end of the log that is still ahead, and when it was seen: the state becomes as recent when it gets there.
    ahead: Option<(Offset, Timestamp)>,
}

impl Recency {
    /// Of state that is as recent as it says; `None` if nobody knows.
    pub(crate) fn new(as_of: Option<Timestamp>) -> Self {
        Recency { as_of, ahead: None }
    }

    /// Takes note of an end of the log, seen `now`, when the state was at `next`.
    pub(crate) fn saw_end(&mut self, next: Offset, end: Offset, now: Timestamp) {
        self.reached(next);
        if next >= end {
            *self = Recency::new(Some(now));
        } else if self.ahead.is_none() {
            self.ahead = Some((end, now));
        }
    }

    /// Takes note of where the state is now.
    pub(crate) fn reached(&mut self, next: Offset) {
        if let Some((_, seen_at)) = self.ahead.filter(|(end, _)| next >= *end) {
            *self = Recency::new(Some(seen_at));
        }
    }

    pub(crate) fn as_of(self) -> Option<Timestamp> {
        self.as_of
    }

    /// Whether it is on the way to an end that was seen.
    pub(crate) fn is_behind(self) -> bool {
        self.ahead.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_as_recent_as_the_last_end_that_it_has_reached() {
        let (offset, at) = (Offset::new, |millis| Some(Timestamp::from_millis(millis)));
        let mut recency = Recency::new(at(10));
        let mut saw = |next, end, now| {
            recency.saw_end(offset(next), offset(end), Timestamp::from_millis(now));
            (recency.as_of(), recency.is_behind())
        };
        assert_eq!(saw(5, 8, 20), (at(10), true));
        assert_eq!(
            saw(7, 9, 30),
            (at(10), true),
            "the first end counts, so that a busy log is reached at all"
        );
        assert_eq!(saw(8, 12, 40), (at(20), true));
        assert_eq!(saw(12, 12, 50), (at(50), false));
        recency.saw_end(offset(12), offset(13), Timestamp::from_millis(60));
        recency.reached(offset(13));
        assert_eq!((recency.as_of(), recency.is_behind()), (at(60), false));
    }
}
