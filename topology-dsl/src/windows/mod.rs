//! How event time is cut into windows. What is done with them is in `operators`.

mod emit;
mod session;
mod sliding;
mod time;
mod unlimited;

use std::time::Duration;

use millstream_processor::{Timestamp, Window};

pub use emit::EmitStrategy;
pub use session::SessionWindows;
pub use sliding::SlidingWindows;
pub use time::TimeWindows;
pub use unlimited::UnlimitedWindows;

/// Windows whose place in time does not depend on the records.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TimeSpans {
    Aligned(TimeWindows),
    Unlimited(UnlimitedWindows),
}

impl TimeSpans {
    /// The windows that contain a point in time, the earliest first.
    #[inline]
    pub(crate) fn windows_for(&self, time: Timestamp) -> WindowsAt {
        match self {
            TimeSpans::Aligned(windows) => windows.windows_at(time),
            TimeSpans::Unlimited(window) => window.windows_at(time),
        }
    }

    pub(crate) fn size(&self) -> Duration {
        match self {
            TimeSpans::Aligned(windows) => windows.size(),
            TimeSpans::Unlimited(_) => Duration::MAX,
        }
    }

    pub(crate) fn grace(&self) -> Duration {
        match self {
            TimeSpans::Aligned(windows) => windows.grace(),
            TimeSpans::Unlimited(_) => Duration::ZERO,
        }
    }
}

/// The windows of one size that contain a point in time, each `advance` after the one before. All numbers are milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct WindowsAt {
    /// Where the next one begins.
    next: i64,
    advance: i64,
    size: i64,
    time: i64,
}

impl Iterator for WindowsAt {
    type Item = Window;

    #[inline]
    fn next(&mut self) -> Option<Window> {
        let start = self.next;
        // At the end of time the next one begins where this one does.
        if start > self.time || start == i64::MAX {
            return None;
        }
        self.next = start.saturating_add(self.advance);
        let end = start.saturating_add(self.size);
        Some(Window::new(Timestamp::from_millis(start), Timestamp::from_millis(end)))
    }
}

/// A span in whole milliseconds, the unit of event time.
pub(crate) fn to_millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// A span that is counted in milliseconds.
fn from_millis(millis: i64) -> Duration {
    Duration::from_millis(millis.unsigned_abs())
}
