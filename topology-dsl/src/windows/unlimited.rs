//! One window that never ends.

use millstream_processor::{Timestamp, Window};

use super::WindowsAt;

/// A single window without an end, from a point in time on. Records before it belong to no window.
///
/// ```
/// use millstream::{Timestamp, UnlimitedWindows};
///
/// let from_opening = UnlimitedWindows::of().start_on(Timestamp::from_millis(1_000));
/// assert!(from_opening.window_for(Timestamp::from_millis(999)).is_none());
/// assert!(from_opening.window_for(Timestamp::from_millis(1_000)).is_some());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnlimitedWindows {
    start: Timestamp,
}

impl UnlimitedWindows {
    /// From 1970 on.
    pub const fn of() -> Self {
        UnlimitedWindows { start: Timestamp::from_millis(0) }
    }

    /// From `start` on.
    #[doc(alias = "startOn")]
    #[must_use]
    pub const fn start_on(self, start: Timestamp) -> Self {
        UnlimitedWindows { start }
    }

    /// The window, if it contains this point in time.
    #[doc(alias = "windowsFor")]
    pub fn window_for(&self, time: Timestamp) -> Option<Window> {
        self.windows_at(time).next()
    }

    #[inline]
    pub(crate) fn windows_at(&self, time: Timestamp) -> WindowsAt {
        let (next, time) = (self.start.as_millis(), time.as_millis());
        WindowsAt { next, advance: i64::MAX, size: i64::MAX, time }
    }
}
