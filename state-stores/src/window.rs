//! Windows of event time, and keys that belong to one.

use std::fmt;

use crate::types::Timestamp;

/// A span of event time that records are gathered in.
///
/// Whether `end` belongs to it depends on where it comes from, as in Kafka Streams: a tumbling or hopping window ends before
/// its `end`; a sliding window and a session contain it. A session's bounds are the times of its first and its last record.
///
/// ```
/// use millstream_state_stores::{Timestamp, Window};
///
/// let five_minutes = Window::new(Timestamp::from_millis(300_000), Timestamp::from_millis(600_000));
/// assert_eq!(five_minutes.to_string(), "300000/600000");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// The first point in time.
    pub start: Timestamp,
    /// The first point in time after it, or the last one within it.
    pub end: Timestamp,
}

impl Window {
    /// From `start` to `end`.
    #[inline]
    pub const fn new(start: Timestamp, end: Timestamp) -> Self {
        Self { start, end }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.start, self.end)
    }
}

/// A key within one window: the key of a windowed table.
///
/// ```
/// use millstream_state_stores::{Timestamp, Window, Windowed};
///
/// let window = Window::new(Timestamp::from_millis(0), Timestamp::from_millis(60_000));
/// let apples = Windowed::new("apples".to_string(), window);
/// assert_eq!(apples.to_string(), "[apples@0/60000]");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Windowed<K> {
    /// The key.
    pub key: K,
    /// The window.
    pub window: Window,
}

impl<K> Windowed<K> {
    /// `key` within `window`.
    #[inline]
    pub const fn new(key: K, window: Window) -> Self {
        Self { key, window }
    }
}

impl<K: fmt::Display> fmt::Display for Windowed<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "[{}@{}]", self.key, self.window)
    }
}
