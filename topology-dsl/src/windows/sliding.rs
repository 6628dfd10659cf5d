//! Windows that lie around the records themselves.

use std::time::Duration;

use super::{from_millis, to_millis};

/// Windows of all records that are at most a time difference apart: one ends at each record, one begins right after it. Both ends
/// belong to a window.
///
/// ```
/// use millstream::{SlidingWindows, minutes};
///
/// let windows = SlidingWindows::of_time_difference_and_grace(minutes(10), minutes(1));
/// assert_eq!((windows.time_difference(), windows.grace()), (minutes(10), minutes(1)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingWindows {
    difference: i64,
    grace: i64,
}

impl SlidingWindows {
    /// Windows that close as soon as stream time has passed their end.
    #[doc(alias = "ofTimeDifferenceWithNoGrace")]
    pub fn of_time_difference_with_no_grace(difference: Duration) -> Self {
        SlidingWindows::of_time_difference_and_grace(difference, Duration::ZERO)
    }

    /// Windows that accept records for `grace` longer.
    #[doc(alias = "ofTimeDifferenceAndGrace")]
    pub fn of_time_difference_and_grace(difference: Duration, grace: Duration) -> Self {
        SlidingWindows { difference: to_millis(difference), grace: to_millis(grace) }
    }

    /// How far apart the records of a window may be.
    pub fn time_difference(&self) -> Duration {
        from_millis(self.difference)
    }

    /// How much longer a window accepts records.
    pub fn grace(&self) -> Duration {
        from_millis(self.grace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::millis;

    #[test]
    fn sliding_windows_reach_and_wait_as_far_as_given() {
        let patient = SlidingWindows::of_time_difference_and_grace(millis(10), millis(3));
        assert_eq!((patient.time_difference(), patient.grace()), (millis(10), millis(3)));
        let prompt = SlidingWindows::of_time_difference_with_no_grace(millis(10));
        assert_eq!((prompt.time_difference(), prompt.grace()), (millis(10), millis(0)));
    }
}
