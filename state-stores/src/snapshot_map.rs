//! An ordered map of encoded keys whose copies are snapshots: cloning it costs nothing, and a clone never changes.
//!
//! It carries the memory engine. Readers work on the snapshot they took, so that they neither wait for a write nor keep it
//! waiting.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use crate::key_range::{Direction, KeyRange};

/// Encoded keys in the order of their unsigned bytes.
pub(crate) type SnapshotMap<T> = OrdMap<Arc<[u8]>, T>;

/// The entries of `map` in `range`, one by one; owns the snapshot it walks over.
pub(crate) fn scan<T: Clone>(
    map: SnapshotMap<T>,
    mut range: KeyRange,
    direction: Direction,
) -> impl Iterator<Item = (Arc<[u8]>, T)> {
    std::iter::from_fn(move || {
        if range.is_empty() {
            return None;
        }
        let end = range.end().map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = map.range::<_, [u8]>((Bound::Included(range.start()), end));
        let (key, value) = match direction {
            Direction::Forward => rest.next(),
            Direction::Reverse => rest.next_back(),
        }?;
        let entry = (Arc::clone(key), value.clone());
        range.advance_past(&entry.0, direction);
        Some(entry)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(range: KeyRange, direction: Direction) -> Vec<Vec<u8>> {
        let map: SnapshotMap<()> =
            ["", "a", "ab", "b", "c"].iter().map(|key| (Arc::<[u8]>::from(key.as_bytes()), ())).collect();
        scan(map, range, direction).map(|(key, ())| key.to_vec()).collect()
    }

    #[test]
    fn walks_the_range_in_both_directions() {
        assert_eq!(keys(KeyRange::all(), Direction::Forward), [b"".as_slice(), b"a", b"ab", b"b", b"c"]);
        assert_eq!(keys(KeyRange::all(), Direction::Reverse), [b"c".as_slice(), b"b", b"ab", b"a", b""]);
        assert_eq!(keys(KeyRange::prefix(b"a"), Direction::Forward), [b"a".as_slice(), b"ab"]);
        assert_eq!(keys(KeyRange::prefix(b"a"), Direction::Reverse), [b"ab".as_slice(), b"a"]);
    }

    #[test]
    fn an_inverted_range_is_empty() {
        let inverted = KeyRange::new(Bound::Included(b"c".to_vec()), Bound::Excluded(b"a".to_vec()));
        assert!(keys(inverted, Direction::Forward).is_empty());
    }
}
