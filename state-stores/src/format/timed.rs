//! Keys that carry event time: the rows of window and session stores, and the keys of windowed topics.
//!
//! ```text
//! changelog of a window store     key | start (8) | number (4)
//! changelog of a session store    key | end (8) | start (8)
//! topic of windows                key | start (8)
//! topic of sessions               key | end (8) | start (8)
//!
//! on disk     0x01 | key as in the changelog           a row
//!             0x00 | start | key | number (4)          finds a row of a window store by time
//!             0x00 | end | start | key                 finds a session by time
//!             0x02                                     up to which time closed windows were emitted
//! ```
//! The layouts are Kafka Streams'; those on disk are its prefixed schemas. All times are milliseconds, big-endian.

use std::ops::Bound;
use std::time::Duration;

use crate::key_range::KeyRange;
use crate::types::Timestamp;
use crate::window::Window;

/// Which row of a window or session store it is: the rows of a key are ordered by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowId(u128);

/// How the keys of a store say which window a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimedKeys {
    /// By the window's start, and a number where a window has several rows.
    Window,
    /// By the session's end, then its start.
    Session,
}

/// How the rows of a window or session store are keyed, and how long they are kept.
///
/// ```
/// use millstream_state_stores::{HasSerde, StoreBuilder, Timestamp, Window, WindowStoreBuilder};
/// use std::time::Duration;
///
/// let minute = Duration::from_secs(60);
/// let counts = WindowStoreBuilder::new("counts", 5 * minute, minute, String::serde(), u64::serde());
/// let layout = counts.timed().expect("a window store's keys carry time");
/// assert_eq!(layout.retention(), 5 * minute);
/// let window = Window::new(Timestamp::from_millis(0), Timestamp::from_millis(60_000));
/// let row = layout.row_key(b"apples", window);
/// assert!(layout.rows_of_key(b"apples", window.start, window.start).contains(&row));
/// assert_eq!(layout.split_row(&row), Some((b"apples".as_slice(), window)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedLayout {
    pub(crate) keys: TimedKeys,
    /// Milliseconds after which a row is gone.
    pub(crate) retention: i64,
    /// Milliseconds that a window lasts; of a window store.
    pub(crate) window_size: i64,
    /// Rows can be found by time alone, too.
    pub(crate) is_indexed: bool,
    /// Each row that is put is one of its own, and none has replaced another, however often the store was opened.
    pub(crate) rows_are_unique: bool,
}

impl TimedLayout {
    /// How long rows are kept, in event time.
    pub fn retention(&self) -> Duration {
        Duration::from_millis(self.retention.unsigned_abs())
    }

    /// The key on disk of a row.
    pub fn row_key(&self, key: &[u8], window: Window) -> Vec<u8> {
        let id = match self.keys {
            TimedKeys::Window => RowId::of_window(window.start, 0),
            TimedKeys::Session => RowId::of_session(window),
        };
        let mut row = Vec::new();
        self.keys.row(key, id, &mut row);
        row
    }

    /// The keys on disk of the rows of a key whose windows begin, or whose sessions end, between two times, both included. Rows of longer
    /// keys may lie between them.
    pub fn rows_of_key(&self, key: &[u8], from: Timestamp, to: Timestamp) -> KeyRange {
        let not_before_the_epoch = |time: Timestamp| time.max(Timestamp::from_millis(0));
        if to.as_millis() < 0 {
            return KeyRange::new(Bound::Included(Vec::new()), Bound::Excluded(Vec::new()));
        }
        let first = self.keys.first_of(not_before_the_epoch(from));
        self.keys.rows_of_key(key, first, self.keys.last_of(to))
    }

    /// The keys on disk of all rows.
    pub fn all_rows(&self) -> KeyRange {
        TimedKeys::all_rows()
    }

    /// The key and the window of a row, of the row's key on disk; `None` if it is that of something else.
    pub fn split_row<'row>(&self, row: &'row [u8]) -> Option<(&'row [u8], Window)> {
        let (key, id) = self.keys.split_row(row)?;
        Some((key, self.window(id)))
    }

    /// The time of a window that decides how long its rows are kept, and by which they are ordered: its start, or a session's end.
    pub fn time_of(&self, window: Window) -> Timestamp {
        match self.keys {
            TimedKeys::Window => window.start,
            TimedKeys::Session => window.end,
        }
    }

    /// The window of a row.
    pub(crate) fn window(&self, id: RowId) -> Window {
        match self.keys {
            TimedKeys::Window => {
                let start = id.window_start();
                let end = start.as_millis().saturating_add(self.window_size);
                Window::new(start, Timestamp::from_millis(end))
            }
            TimedKeys::Session => id.session(),
        }
    }
}

const INDEX: u8 = 0;
const ROW: u8 = 1;
/// Key of the row that holds the time up to which closed windows were emitted.
pub(crate) const MARK_KEY: &[u8] = &[2];
const TIME_BYTES: usize = size_of::<i64>();

impl RowId {
    /// The row with this number of the window that begins at `start`.
    #[inline]
    pub(crate) const fn of_window(start: Timestamp, number: u32) -> Self {
        Self((unsigned(start) as u128) << u32::BITS | number as u128)
    }

    #[inline]
    pub(crate) const fn of_session(session: Window) -> Self {
        Self((unsigned(session.end) as u128) << u64::BITS | unsigned(session.start) as u128)
    }

    /// Of a window store: where the window begins.
    #[inline]
    pub(crate) const fn window_start(self) -> Timestamp {
        signed((self.0 >> u32::BITS) as u64)
    }

    /// Of a session store: the session.
    #[inline]
    pub(crate) const fn session(self) -> Window {
        Window::new(signed(self.0 as u64), signed((self.0 >> u64::BITS) as u64))
    }
}

/// Times are compared by their bytes, as unsigned numbers.
const fn unsigned(time: Timestamp) -> u64 {
    time.as_millis() as u64
}

const fn signed(time: u64) -> Timestamp {
    Timestamp::from_millis(time as i64)
}

impl TimedKeys {
    const fn id_bytes(self) -> usize {
        match self {
            Self::Window => TIME_BYTES + size_of::<u32>(),
            Self::Session => 2 * TIME_BYTES,
        }
    }

    /// Begins the key of a row, to be followed by the bytes of its key and [`Self::end_row`].
    #[inline]
    pub(crate) fn begin_row(out: &mut Vec<u8>) {
        out.clear();
        out.push(ROW);
    }

    #[inline]
    pub(crate) fn end_row(self, id: RowId, out: &mut Vec<u8>) {
        let bytes = id.0.to_be_bytes();
        out.extend_from_slice(&bytes[bytes.len() - self.id_bytes()..]);
    }

    /// Makes `out` the key of a row.
    pub(crate) fn row(self, key: &[u8], id: RowId, out: &mut Vec<u8>) {
        Self::begin_row(out);
        out.extend_from_slice(key);
        self.end_row(id, out);
    }

    /// The parts of a key as it is in the changelog; `None` if it is too short to be one.
    #[inline]
    pub(crate) fn split(self, logged: &[u8]) -> Option<(&[u8], RowId)> {
        let (key, bytes) = logged.split_at_checked(logged.len().checked_sub(self.id_bytes())?)?;
        let id = bytes.iter().fold(0, |id, byte| id << u8::BITS | u128::from(*byte));
        Some((key, RowId(id)))
    }

    /// The parts of the key of a row on disk; `None` for keys of any other kind.
    #[inline]
    pub(crate) fn split_row(self, row: &[u8]) -> Option<(&[u8], RowId)> {
        self.split(row.strip_prefix(&[ROW])?)
    }

    /// The time that decides how long a row is kept: a window's start, a session's end.
    #[inline]
    pub(crate) const fn time(self, id: RowId) -> Timestamp {
        match self {
            Self::Window => id.window_start(),
            Self::Session => id.session().end,
        }
    }

    /// The same for a key on disk, that of a row or of what finds it; `None` for a row that is kept for ever.
    pub(crate) fn time_on_disk(self, key: &[u8]) -> Option<Timestamp> {
        match key.split_first()? {
            (&INDEX, index) => Some(signed(u64::from_be_bytes(*index.first_chunk()?))),
            (&ROW, logged) => Some(self.time(self.split(logged)?.1)),
            _ => None,
        }
    }

    /// Makes `out` the key by which the row with the key `row` is found by time.
    pub(crate) fn index(self, row: &[u8], out: &mut Vec<u8>) {
        out.clear();
        let Some((key, _)) = self.split_row(row) else { return };
        let id = &row[1 + key.len()..];
        out.push(INDEX);
        match self {
            Self::Window => {
                out.extend_from_slice(&id[..TIME_BYTES]);
                out.extend_from_slice(key);
                out.extend_from_slice(&id[TIME_BYTES..]);
            }
            Self::Session => {
                out.extend_from_slice(id);
                out.extend_from_slice(key);
            }
        }
    }

    /// Makes `out` the key of the row that `index` finds; false if it is no such key.
    pub(crate) fn row_of_index(self, index: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(found) = index.strip_prefix(&[INDEX]).filter(|found| found.len() >= self.id_bytes()) else {
            return false;
        };
        out.clear();
        out.push(ROW);
        match self {
            Self::Window => {
                let (start, rest) = found.split_at(TIME_BYTES);
                let (key, number) = rest.split_at(rest.len() - size_of::<u32>());
                out.extend_from_slice(key);
                out.extend_from_slice(start);
                out.extend_from_slice(number);
            }
            Self::Session => {
                let (id, key) = found.split_at(2 * TIME_BYTES);
                out.extend_from_slice(key);
                out.extend_from_slice(id);
            }
        }
        true
    }

    /// The keys that find rows of these times, both included.
    pub(crate) fn index_range(from: Timestamp, to: Timestamp) -> KeyRange {
        let key = |time: Timestamp| [&[INDEX], unsigned(time).to_be_bytes().as_slice()].concat();
        let end = match to.as_millis().checked_add(1) {
            Some(end) => key(Timestamp::from_millis(end)),
            None => vec![ROW],
        };
        KeyRange::new(Bound::Included(key(from)), Bound::Excluded(end))
    }

    /// The keys on disk of all rows.
    pub(crate) fn all_rows() -> KeyRange {
        KeyRange::prefix(&[ROW])
    }

    /// The keys on disk between the first and the last of these rows of a key. Rows of longer keys may lie between them.
    pub(crate) fn rows_of_key(self, key: &[u8], first: RowId, last: RowId) -> KeyRange {
        let row = |id| {
            let mut row = Vec::with_capacity(1 + key.len() + self.id_bytes());
            self.row(key, id, &mut row);
            row
        };
        KeyRange::new(Bound::Included(row(first)), Bound::Included(row(last)))
    }

    /// The first row of a time, or what it would be.
    pub(crate) const fn first_of(self, time: Timestamp) -> RowId {
        match self {
            Self::Window => RowId::of_window(time, 0),
            Self::Session => RowId::of_session(Window::new(Timestamp::from_millis(0), time)),
        }
    }

    /// The last row of a time, or what it would be.
    pub(crate) const fn last_of(self, time: Timestamp) -> RowId {
        match self {
            Self::Window => RowId::of_window(time, u32::MAX),
            Self::Session => RowId::of_session(Window::new(Timestamp::from_millis(-1), time)),
        }
    }

    /// Makes `out` the key, in the changelog, of the row at [`MARK_KEY`]. It is that of a row that cannot be: Kafka Streams takes it
    /// for one that was kept long enough.
    pub(crate) fn logged_mark(self, out: &mut Vec<u8>) {
        out.clear();
        let epoch = Timestamp::from_millis(0);
        self.end_row(self.last_of(epoch), out);
    }

    /// Whether this is the key of [`Self::logged_mark`].
    pub(crate) fn is_logged_mark(self, logged: &[u8]) -> bool {
        logged.len() == self.id_bytes()
            && self.split(logged).is_some_and(|(_, id)| id == self.last_of(Timestamp::from_millis(0)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn built(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = b"before".to_vec();
        build(&mut bytes);
        bytes
    }

    #[test]
    fn rows_are_laid_out_as_kafka_streams_does() {
        let row = built(|out| TimedKeys::Window.row(b"sku", RowId::of_window(at(0x0102), 3), out));
        assert_eq!(row, b"\x01sku\0\0\0\0\0\0\x01\x02\0\0\0\x03");
        assert_eq!(&row[1..], b"sku\0\0\0\0\0\0\x01\x02\0\0\0\x03");
        assert_eq!(built(|out| TimedKeys::Window.index(&row, out)), b"\0\0\0\0\0\0\0\x01\x02sku\0\0\0\x03");
        let session = Window::new(at(5), at(9));
        let row = built(|out| TimedKeys::Session.row(b"sku", RowId::of_session(session), out));
        assert_eq!(row, b"\x01sku\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x05");
        let index = built(|out| TimedKeys::Session.index(&row, out));
        assert_eq!(index, b"\0\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x05sku");
    }

    #[test]
    fn the_mark_is_told_from_every_row() {
        for keys in [TimedKeys::Window, TimedKeys::Session] {
            let mark = built(|out| keys.logged_mark(out));
            assert!(keys.is_logged_mark(&mark), "{keys:?}");
            assert_eq!(keys.time_on_disk(MARK_KEY), None);
        }
        assert_eq!(built(|out| TimedKeys::Window.logged_mark(out)), b"\0\0\0\0\0\0\0\0\xff\xff\xff\xff");
        let first = built(|out| TimedKeys::Window.row(b"", RowId::of_window(at(0), 0), out));
        assert!(!TimedKeys::Window.is_logged_mark(&first[1..]));
        let first =
            built(|out| TimedKeys::Session.row(b"", RowId::of_session(Window::new(at(0), at(0))), out));
        assert!(!TimedKeys::Session.is_logged_mark(&first[1..]));
    }

    #[test]
    fn short_keys_are_noticed() {
        assert_eq!(TimedKeys::Window.split(&[0; 11]), None);
        assert_eq!(TimedKeys::Session.split_row(&[1; 16]), None);
        assert_eq!(TimedKeys::Session.time_on_disk(b"\0\0\0"), None);
        assert!(!TimedKeys::Window.row_of_index(&[0; 9], &mut Vec::new()));
    }

    #[test]
    fn a_range_of_times_ends_after_its_last() {
        let index = |time| {
            let row = built(|out| TimedKeys::Window.row(b"\xff", RowId::of_window(at(time), 0), out));
            built(|out| TimedKeys::Window.index(&row, out))
        };
        let range = TimedKeys::index_range(at(5), at(7));
        let contained: Vec<i64> = (0..10).filter(|time| range.contains(&index(*time))).collect();
        assert_eq!(contained, [5, 6, 7]);
        assert!(TimedKeys::index_range(at(5), at(i64::MAX)).contains(&index(i64::MAX)));
    }

    proptest! {
        #[test]
        fn keys_round_trip_and_are_ordered_by_their_ids(
            key: Vec<u8>, start in 0..1000_i64, length in 0..1000_i64, number: u32, other_start in 0..1000_i64,
        ) {
            let session = RowId::of_session(Window::new(at(start), at(start + length)));
            for (keys, id, time) in [
                (TimedKeys::Window, RowId::of_window(at(start), number), at(start)),
                (TimedKeys::Session, session, at(start + length)),
            ] {
                let row = built(|out| keys.row(&key, id, out));
                prop_assert_eq!(keys.split_row(&row), Some((key.as_slice(), id)));
                prop_assert_eq!(keys.time_on_disk(&row), Some(time));
                let index = built(|out| keys.index(&row, out));
                prop_assert_eq!(keys.time_on_disk(&index), Some(time));
                let mut found = Vec::new();
                prop_assert!(keys.row_of_index(&index, &mut found));
                prop_assert_eq!(&found, &row);
                prop_assert!(keys.first_of(time) <= id && id <= keys.last_of(time));
                prop_assert!(keys.rows_of_key(&key, keys.first_of(time), keys.last_of(time)).contains(&row));
                let other = keys.first_of(at(other_start));
                let other_row = built(|out| keys.row(&key, other, out));
                prop_assert_eq!(other.cmp(&id), other_row.cmp(&row));
            }
            prop_assert_eq!(session.session(), Window::new(at(start), at(start + length)));
        }
    }
}
