//! Windows of a fixed size, aligned to the epoch.

use std::time::Duration;

use millstream_processor::{Timestamp, Window};

use super::{WindowsAt, from_millis, to_millis};

/// Windows of a fixed size that begin at multiples of their advance since 1970: tumbling if they follow each other, hopping if they
/// overlap. A window ends before its end: of five minutes, `[0, 300000)` is the first.
///
/// A window accepts records until stream time, less the grace, reaches its end; what comes later is dropped and counted.
///
/// ```
/// use millstream::{Timestamp, TimeWindows, Window, minutes};
///
/// let every_minute = TimeWindows::of_size_and_grace(minutes(2), minutes(1)).advance_by(minutes(1));
/// let at = |minute: i64| Timestamp::from_millis(minute * 60_000);
/// let windows: Vec<Window> = every_minute.windows_for(at(3)).collect();
/// assert_eq!(windows, [Window::new(at(2), at(4)), Window::new(at(3), at(5))]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWindows {
    size: i64,
    advance: i64,
    grace: i64,
}

impl TimeWindows {
    /// Tumbling windows that close as soon as stream time reaches their end.
    ///
    /// # Panics
    /// When `size` is less than a millisecond.
    #[doc(alias = "ofSizeWithNoGrace")]
    #[track_caller]
    pub fn of_size_with_no_grace(size: Duration) -> Self {
        TimeWindows::of_size_and_grace(size, Duration::ZERO)
    }

    /// Tumbling windows that accept records for `grace` longer than they last.
    ///
    /// # Panics
    /// When `size` is less than a millisecond.
    #[doc(alias = "ofSizeAndGrace")]
    #[track_caller]
    pub fn of_size_and_grace(size: Duration, grace: Duration) -> Self {
        let millis = to_millis(size);
        assert!(millis > 0, "a window of {size:?} is too short: a millisecond is the least");
        TimeWindows { size: millis, advance: millis, grace: to_millis(grace) }
    }

    /// Makes the windows hop: each begins `advance` after the one before.
    ///
    /// # Panics
    /// When `advance` is less than a millisecond or longer than a window: records in between would belong to no window.
    #[doc(alias = "advanceBy")]
    #[track_caller]
    #[must_use]
    pub fn advance_by(self, advance: Duration) -> Self {
        let millis = to_millis(advance);
        assert!(
            (1..=self.size).contains(&millis),
            "windows of {:?} cannot advance by {advance:?}: choose from 1 ms to their size",
            self.size()
        );
        TimeWindows { advance: millis, ..self }
    }

    /// How long a window lasts.
    pub fn size(&self) -> Duration {
        from_millis(self.size)
    }

    /// How long after a window the next one begins.
    pub fn advance(&self) -> Duration {
        from_millis(self.advance)
    }

    /// How much longer a window accepts records.
    pub fn grace(&self) -> Duration {
        from_millis(self.grace)
    }

    /// The windows that contain a point in time, the earliest first.
    #[doc(alias = "windowsFor")]
    pub fn windows_for(&self, time: Timestamp) -> impl Iterator<Item = Window> + use<> {
        self.windows_at(time)
    }

    #[inline]
    pub(crate) fn windows_at(&self, time: Timestamp) -> WindowsAt {
        let TimeWindows { size, advance, .. } = *self;
        let time = time.as_millis();
        let next = (time - size + advance).max(0) / advance * advance;
        WindowsAt { next, advance, size, time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{millis, minutes};

    fn starts(windows: TimeWindows, time: i64) -> Vec<i64> {
        windows.windows_for(Timestamp::from_millis(time)).map(|window| window.start.as_millis()).collect()
    }

    #[test]
    fn windows_are_those_of_kafka_streams() {
        let tumbling = TimeWindows::of_size_with_no_grace(millis(10));
        assert_eq!(starts(tumbling, 0), [0]);
        assert_eq!(starts(tumbling, 9), [0]);
        assert_eq!(starts(tumbling, 10), [10]);
        let hopping = tumbling.advance_by(millis(5));
        assert_eq!(starts(hopping, 3), [0], "no window begins before the epoch");
        assert_eq!(starts(hopping, 6), [0, 5]);
        assert_eq!(starts(tumbling.advance_by(millis(3)), 12), [3, 6, 9, 12]);
    }

    #[test]
    fn windows_are_as_long_as_given_and_wait_as_long_as_given() {
        let hopping = TimeWindows::of_size_and_grace(millis(10), millis(3)).advance_by(millis(5));
        assert_eq!((hopping.size(), hopping.advance(), hopping.grace()), (millis(10), millis(5), millis(3)));
        let tumbling = TimeWindows::of_size_with_no_grace(millis(10));
        assert_eq!(
            (tumbling.size(), tumbling.advance(), tumbling.grace()),
            (millis(10), millis(10), millis(0))
        );
        let [window] = tumbling.windows_for(Timestamp::from_millis(12)).collect::<Vec<_>>()[..] else {
            panic!("a record lies in one tumbling window")
        };
        assert_eq!(window, Window::new(Timestamp::from_millis(10), Timestamp::from_millis(20)));
    }

    #[test]
    fn the_end_of_time_is_no_problem() {
        let hopping = TimeWindows::of_size_with_no_grace(minutes(1)).advance_by(minutes(1));
        let last = hopping.windows_for(Timestamp::from_millis(i64::MAX)).collect::<Vec<_>>();
        assert!(last.iter().all(|window| window.end == Timestamp::from_millis(i64::MAX)), "{last:?}");
    }

    #[test]
    #[should_panic(expected = "windows of 10ms cannot advance by 11ms")]
    fn windows_leave_no_gap() {
        let _gap = TimeWindows::of_size_with_no_grace(millis(10)).advance_by(millis(11));
    }

    #[test]
    #[should_panic(expected = "a window of 0ns is too short")]
    fn a_window_has_a_size() {
        let _empty = TimeWindows::of_size_with_no_grace(Duration::ZERO);
    }
}
