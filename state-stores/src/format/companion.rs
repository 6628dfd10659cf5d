//! The keys of the rows that a store keeps besides its own: its stream time, what is to be done when a time has come, and what
//! else it knows of a key.
//!
//! ```text
//! 00                       the store's stream time: the timestamp of the row
//! 01 | time (8) | key      what concerns the key as of a time, big-endian
//! 02 | key                 what concerns the key at any time
//! ```
//! On the disk a byte comes before each key of the store and of its companion, which are in one place: `00` of the store, `01` of the
//! companion.

use std::ops::Bound;

use crate::key_range::KeyRange;
use crate::types::Timestamp;

/// What comes before the keys of a store that shares its place with its companion.
pub(crate) const STORE_PREFIX: u8 = 0;
/// What comes before the keys of the companion there.
pub(crate) const COMPANION_PREFIX: u8 = 1;

/// Key of the row whose timestamp is the stream time.
pub(crate) const STREAM_TIME: &[u8] = &[0];

const TIMED: u8 = 1;
const UNTIMED: u8 = 2;
const TIME_BYTES: usize = size_of::<i64>();

/// Replaces `out` by the key of the row that concerns `key` as of `time`, which is not before 1970.
pub(crate) fn timed(time: Timestamp, key: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.push(TIMED);
    out.extend_from_slice(&time.as_millis().to_be_bytes());
    out.extend_from_slice(key);
}

/// The time and the key that [`timed`] was given; `None` if the bytes are another row's.
pub(crate) fn split_timed(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (time, key) = bytes.strip_prefix(&[TIMED])?.split_first_chunk::<TIME_BYTES>()?;
    Some((Timestamp::from_millis(i64::from_be_bytes(*time)), key))
}

/// The rows of [`timed`] from one time to another, both included.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> KeyRange {
    let start = |time: i64| {
        let mut key = Vec::new();
        timed(Timestamp::from_millis(time.max(0)), &[], &mut key);
        key
    };
    let after = match to.as_millis().checked_add(1) {
        Some(after) => start(after),
        None => vec![UNTIMED],
    };
    KeyRange::new(Bound::Included(start(from.as_millis())), Bound::Excluded(after))
}

/// Replaces `out` by the key of the row that concerns `key` at any time.
pub(crate) fn untimed(key: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.push(UNTIMED);
    out.extend_from_slice(key);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millis(milliseconds)
    }

    #[test]
    fn the_keys_are_as_documented() {
        let mut key = b"before".to_vec();
        timed(at(0x0102), b"apples", &mut key);
        assert_eq!(key, b"\x01\0\0\0\0\0\0\x01\x02apples");
        assert_eq!(split_timed(&key), Some((at(0x0102), b"apples".as_slice())));
        untimed(b"apples", &mut key);
        assert_eq!(key, b"\x02apples");
        assert_eq!(split_timed(&key), None);
        assert_eq!(split_timed(STREAM_TIME), None);
        assert_eq!(split_timed(b"\x01\0\0\0\0\0\0\x01"), None, "cut off");
    }

    #[test]
    fn a_range_has_the_rows_of_its_times_and_no_others() {
        let key_of = |time, key: &[u8]| {
            let mut bytes = Vec::new();
            timed(at(time), key, &mut bytes);
            bytes
        };
        let range = between(at(5), at(7));
        for (time, is_in) in [(4, false), (5, true), (7, true), (8, false)] {
            for key in [b"".as_slice(), b"apples", &[255; 12]] {
                assert_eq!(range.contains(&key_of(time, key)), is_in, "{time}");
            }
        }
        let all = between(at(i64::MIN), at(i64::MAX));
        assert!(all.contains(&key_of(0, b"")) && all.contains(&key_of(i64::MAX, &[255; 12])));
        let mut untimed_key = Vec::new();
        untimed(b"", &mut untimed_key);
        assert!(!all.contains(STREAM_TIME) && !all.contains(&untimed_key));
    }
}
