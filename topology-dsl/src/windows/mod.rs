//! How event time is cut into windows. What is done with them is in `operators`.

mod emit;
mod session;
mod sliding;
mod time;
mod unlimited;

use std::time::Duration;

pub use emit::EmitStrategy;
pub use session::SessionWindows;
pub use sliding::SlidingWindows;
pub use time::TimeWindows;
pub use unlimited::UnlimitedWindows;

/// A span in whole milliseconds, the unit of event time.
fn to_millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// A span that is counted in milliseconds.
fn from_millis(millis: i64) -> Duration {
    Duration::from_millis(millis.unsigned_abs())
}
