//! Short names for spans of time, as programs with windows use them.

use std::time::Duration;

/// `count` milliseconds.
///
/// ```
/// assert_eq!(millstream::millis(1_500), std::time::Duration::from_millis(1_500));
/// ```
pub const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// `count` seconds.
///
/// ```
/// assert_eq!(millstream::seconds(2), millstream::millis(2_000));
/// ```
pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// `count` minutes.
///
/// ```
/// assert_eq!(millstream::minutes(5), millstream::seconds(300));
/// ```
pub const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

/// `count` hours.
///
/// ```
/// assert_eq!(millstream::hours(2), millstream::minutes(120));
/// ```
pub const fn hours(count: u64) -> Duration {
    minutes(count * 60)
}

/// `count` days of 24 hours.
///
/// ```
/// assert_eq!(millstream::days(7), millstream::hours(168));
/// ```
pub const fn days(count: u64) -> Duration {
    hours(count * 24)
}
