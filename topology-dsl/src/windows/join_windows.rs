//! How far apart records of two streams may be to be joined.

use std::time::Duration;

use super::{from_millis, to_millis};

/// For a record of one stream, the span of time in which those of the other stream lie that it is joined with. Both ends belong to it.
///
/// A [`Duration`] converts into the windows of that time difference, without grace. Late records of either stream are joined as long as
/// its store keeps the others: for the length of the window and the grace. A record that is to be joined with `None`, if nothing else, is
/// so when its window has closed: when stream time is past the end of its window by more than the grace. As in Kafka Streams, windows that
/// have neither length nor grace keep nothing, and join nothing.
///
/// ```
/// use millstream::{JoinWindows, minutes, seconds};
///
/// let around = JoinWindows::of_time_difference_and_grace(minutes(5), seconds(10));
/// assert_eq!(around, JoinWindows::of_time_difference_and_grace(minutes(5), seconds(10)).before(minutes(5)));
///
/// // Payments that come after the order, within a day.
/// let later = JoinWindows::of_time_difference_with_no_grace(minutes(0)).after(minutes(24 * 60));
/// assert_eq!(later.size(), minutes(24 * 60));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinWindows {
    /// How far a window begins before its record, in milliseconds; less than none if it begins later.
    pub(crate) before: i64,
    /// How far it ends after its record; less than none if it ends earlier.
    pub(crate) after: i64,
    pub(crate) grace: i64,
}

impl JoinWindows {
    /// Records that are no further apart than this, whichever comes first. Windows close as soon as stream time has passed their end.
    #[doc(alias = "ofTimeDifferenceWithNoGrace")]
    pub fn of_time_difference_with_no_grace(difference: Duration) -> Self {
        JoinWindows::of_time_difference_and_grace(difference, Duration::ZERO)
    }

    /// The same for windows that close only `grace` later.
    #[doc(alias = "ofTimeDifferenceAndGrace")]
    pub fn of_time_difference_and_grace(difference: Duration, grace: Duration) -> Self {
        let difference = to_millis(difference);
        JoinWindows { before: difference, after: difference, grace: to_millis(grace) }
    }

    /// Lets windows begin this long before their record.
    ///
    /// # Panics
    /// When they would end before they begin.
    #[track_caller]
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        JoinWindows { before: to_millis(span), ..self }.checked()
    }

    /// Lets windows end this long after their record.
    ///
    /// # Panics
    /// When they would end before they begin.
    #[track_caller]
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        JoinWindows { after: to_millis(span), ..self }.checked()
    }

    /// Lets windows begin this long *after* their record (Kafka Streams' `before` with a negative duration).
    ///
    /// ```
    /// use millstream::{JoinWindows, minutes};
    ///
    /// // A second order, not at once, but within the hour.
    /// let again = JoinWindows::of_time_difference_with_no_grace(minutes(60)).beginning_after(minutes(5));
    /// assert_eq!(again.size(), minutes(55));
    /// ```
    ///
    /// # Panics
    /// When they would end before they begin.
    #[doc(alias = "before")]
    #[track_caller]
    #[must_use]
    pub fn beginning_after(self, span: Duration) -> Self {
        JoinWindows { before: -to_millis(span), ..self }.checked()
    }

    /// Lets windows end this long *before* their record (Kafka Streams' `after` with a negative duration).
    ///
    /// # Panics
    /// When they would end before they begin.
    #[doc(alias = "after")]
    #[track_caller]
    #[must_use]
    pub fn ending_before(self, span: Duration) -> Self {
        JoinWindows { after: -to_millis(span), ..self }.checked()
    }

    /// How long a window lasts.
    pub fn size(&self) -> Duration {
        from_millis(self.before.saturating_add(self.after))
    }

    /// How much longer than that a window stays open.
    pub fn grace(&self) -> Duration {
        from_millis(self.grace)
    }

    #[track_caller]
    fn checked(self) -> Self {
        assert!(
            self.before.saturating_add(self.after) >= 0,
            "a window from {} ms before a record to {} ms after it ends before it begins",
            self.before,
            self.after
        );
        self
    }
}

impl From<Duration> for JoinWindows {
    fn from(difference: Duration) -> Self {
        JoinWindows::of_time_difference_with_no_grace(difference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::minutes;

    #[test]
    #[should_panic(
        expected = "a window from -600000 ms before a record to 300000 ms after it ends before it begins"
    )]
    fn a_window_ends_after_it_begins() {
        let _backwards = JoinWindows::from(minutes(5)).beginning_after(minutes(10));
    }

    #[test]
    fn records_are_joined_that_lie_as_far_apart_as_given() {
        let prompt = JoinWindows::of_time_difference_with_no_grace(minutes(5));
        assert_eq!((prompt.size(), prompt.grace()), (minutes(10), minutes(0)));
        let patient = JoinWindows::of_time_difference_and_grace(minutes(5), minutes(1));
        assert_eq!((patient.size(), patient.grace()), (minutes(10), minutes(1)));
    }

    #[test]
    fn a_window_may_lie_before_or_after_its_record() {
        let earlier = JoinWindows::from(minutes(5)).ending_before(minutes(2));
        assert_eq!((earlier.size(), earlier.grace()), (minutes(3), minutes(0)));
        let endless = JoinWindows::from(Duration::MAX).after(Duration::MAX);
        assert_eq!(endless.size(), from_millis(i64::MAX));
    }
}
