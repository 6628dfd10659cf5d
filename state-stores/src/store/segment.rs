//! Replaced versions of one key, in the order of time.

use imbl::Vector;

use crate::types::Timestamp;

/// A value, or that there was none, from a time on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version<V> {
    pub(crate) from: Timestamp,
    /// `None` if the key was deleted.
    pub(crate) value: Option<V>,
}

/// Versions of one key that were replaced within the same interval of time. Each is valid until the next one begins, the last until
/// the timestamp of the row. A copy costs nothing: every change of a row keeps the row it replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment<V> {
    versions: Vector<Version<V>>,
}

impl<V: Clone> Default for Segment<V> {
    fn default() -> Self {
        Self { versions: Vector::new() }
    }
}

impl<V: Clone> Segment<V> {
    /// The versions, the oldest first.
    pub(crate) fn versions(&self) -> impl DoubleEndedIterator<Item = &Version<V>> {
        self.versions.iter()
    }

    /// Adds a version that is newer than all others.
    pub(crate) fn push(&mut self, version: Version<V>) {
        self.versions.push_back(version);
    }

    /// How many of the versions begin at `at` or before.
    pub(crate) fn up_to(&self, at: Timestamp) -> usize {
        // Most of what is looked for is young.
        match self.versions.last() {
            Some(newest) if newest.from <= at => self.versions.len(),
            _ => self
                .versions
                .binary_search_by(|version| version.from.cmp(&at))
                .map_or_else(|place| place, |found| found + 1),
        }
    }

    pub(crate) fn get(&self, place: usize) -> Option<&Version<V>> {
        self.versions.get(place)
    }

    pub(crate) fn insert(&mut self, place: usize, version: Version<V>) {
        self.versions.insert(place, version);
    }

    /// Puts another version into the place of one, and returns that.
    pub(crate) fn replace(&mut self, place: usize, version: Version<V>) -> Version<V> {
        std::mem::replace(&mut self.versions[place], version)
    }
}
