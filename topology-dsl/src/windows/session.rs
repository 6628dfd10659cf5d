//! Windows that last as long as records keep coming.

use std::time::Duration;

use super::{from_millis, to_millis};

/// Sessions: the records of a key that follow each other within an inactivity gap. A session lasts from its first record to its last;
/// both belong to it. A record between two sessions, within the gap of both, makes them one.
///
/// ```
/// use millstream::{SessionWindows, minutes};
///
/// let visits = SessionWindows::of_inactivity_gap_with_no_grace(minutes(30));
/// assert_eq!(visits.inactivity_gap(), minutes(30));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionWindows {
    gap: i64,
    grace: i64,
}

impl SessionWindows {
    /// Sessions that close as soon as stream time is more than the gap past their end.
    ///
    /// # Panics
    /// When `gap` is less than a millisecond.
    #[doc(alias = "ofInactivityGapWithNoGrace")]
    #[track_caller]
    pub fn of_inactivity_gap_with_no_grace(gap: Duration) -> Self {
        SessionWindows::of_inactivity_gap_and_grace(gap, Duration::ZERO)
    }

    /// Sessions that accept records for `grace` longer.
    ///
    /// # Panics
    /// When `gap` is less than a millisecond.
    #[doc(alias = "ofInactivityGapAndGrace")]
    #[track_caller]
    pub fn of_inactivity_gap_and_grace(gap: Duration, grace: Duration) -> Self {
        let millis = to_millis(gap);
        assert!(millis > 0, "an inactivity gap of {gap:?} is too short: a millisecond is the least");
        SessionWindows { gap: millis, grace: to_millis(grace) }
    }

    /// The longest time between two records of one session.
    pub fn inactivity_gap(&self) -> Duration {
        from_millis(self.gap)
    }

    /// How much longer a session accepts records.
    pub fn grace(&self) -> Duration {
        from_millis(self.grace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::millis;

    #[test]
    fn sessions_end_and_wait_as_late_as_given() {
        let patient = SessionWindows::of_inactivity_gap_and_grace(millis(10), millis(3));
        assert_eq!((patient.inactivity_gap(), patient.grace()), (millis(10), millis(3)));
        let prompt = SessionWindows::of_inactivity_gap_with_no_grace(millis(10));
        assert_eq!((prompt.inactivity_gap(), prompt.grace()), (millis(10), millis(0)));
    }
}
