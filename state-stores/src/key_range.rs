//! Ranges of keys, compared as unsigned bytes: what a scan is asked for.

use std::cmp::Ordering;
use std::ops::Bound;

/// A range of encoded keys, in the order of their unsigned bytes.
///
/// ```
/// use millstream_state_stores::KeyRange;
/// let fruit = KeyRange::prefix(b"fruit-");
/// assert!(fruit.contains(b"fruit-apples") && !fruit.contains(b"nuts-almonds"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key in the range.
    start: Vec<u8>,
    /// The first key after the range; `None` if it has no end.
    end: Option<Vec<u8>>,
}

/// Whether a scan goes from the smallest key to the largest or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest key.
    Forward,
    /// From the largest key.
    Reverse,
}

impl Direction {
    /// How two keys follow each other in a scan.
    pub(crate) fn order(self, one: &[u8], other: &[u8]) -> Ordering {
        match self {
            Self::Forward => one.cmp(other),
            Self::Reverse => other.cmp(one),
        }
    }
}

impl KeyRange {
    /// The keys between two bounds; none if the lower one is above the upper one.
    pub fn new(lower: Bound<Vec<u8>>, upper: Bound<Vec<u8>>) -> Self {
        let start = match lower {
            Bound::Included(key) => key,
            Bound::Excluded(key) => next_key(key),
            Bound::Unbounded => Vec::new(),
        };
        let end = match upper {
            Bound::Included(key) => Some(next_key(key)),
            Bound::Excluded(key) => Some(key),
            Bound::Unbounded => None,
        };
        Self { start, end }
    }

    /// Every key.
    pub const fn all() -> Self {
        Self { start: Vec::new(), end: None }
    }

    /// The keys that start with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        let end = prefix.iter().rposition(|byte| *byte != u8::MAX).map(|last| {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end
        });
        Self { start: prefix.to_vec(), end }
    }

    /// The same keys, with a byte before each.
    pub(crate) fn under(mut self, prefix: u8) -> Self {
        let end = match self.end {
            Some(mut end) => {
                end.insert(0, prefix);
                Some(end)
            }
            None => Self::prefix(&[prefix]).end,
        };
        self.start.insert(0, prefix);
        Self { start: self.start, end }
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        *key >= *self.start && self.end.as_deref().is_none_or(|end| key < end)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.end.as_deref().is_some_and(|end| end <= self.start.as_slice())
    }

    /// The first key in the range.
    pub(crate) fn start(&self) -> &[u8] {
        &self.start
    }

    /// The first key after the range, if it ends.
    pub(crate) fn end(&self) -> Option<&[u8]> {
        self.end.as_deref()
    }

    /// Takes `key`, and all that comes before it in the direction of a scan, out of the range.
    pub(crate) fn advance_past(&mut self, key: &[u8], direction: Direction) {
        match direction {
            Direction::Forward => {
                self.start.clear();
                self.start.extend_from_slice(key);
                self.start.push(0);
            }
            Direction::Reverse => {
                let end = self.end.get_or_insert_default();
                end.clear();
                end.extend_from_slice(key);
            }
        }
    }
}

/// The smallest key above `key`.
fn next_key(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
        let key = prop::collection::vec(prop_oneof![Just(0), Just(1), Just(255)], 0..4);
        prop_oneof![
            key.clone().prop_map(Bound::Included),
            key.prop_map(Bound::Excluded),
            Just(Bound::Unbounded)
        ]
    }

    proptest! {
        #[test]
        fn contains_agrees_with_the_bounds(lower in bound(), upper in bound(), key in prop::collection::vec(any::<u8>(), 0..4)) {
            let above = match &lower {
                Bound::Included(lower) => key >= *lower,
                Bound::Excluded(lower) => key > *lower,
                Bound::Unbounded => true,
            };
            let below = match &upper {
                Bound::Included(upper) => key <= *upper,
                Bound::Excluded(upper) => key < *upper,
                Bound::Unbounded => true,
            };
            prop_assert_eq!(KeyRange::new(lower, upper).contains(&key), above && below);
        }

        #[test]
        fn a_prefix_contains_what_starts_with_it(
            prefix in prop::collection::vec(prop_oneof![Just(0_u8), Just(254), Just(255)], 0..4),
            key in prop::collection::vec(prop_oneof![Just(0_u8), Just(254), Just(255)], 0..5),
        ) {
            prop_assert_eq!(KeyRange::prefix(&prefix).contains(&key), key.starts_with(&prefix));
        }
    }
}
