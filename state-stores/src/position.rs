//! Which input records a view of the stores reflects: one offset per input partition.
//!
//! A commit publishes its position together with its data; a query hands it back so that a client can ask for at least
//! what it has already seen (read-your-writes).

use std::fmt;
use std::sync::Arc;

use crate::types::{Offset, PartitionId};

/// The next offset per input partition: everything before it is reflected.
///
/// ```
/// # use millstream_state_stores::{Offset, PartitionId, Position};
/// let mut seen = Position::new();
/// seen.set("orders", PartitionId::new(0), Offset::new(42));
/// let mut store = seen.clone();
/// store.set("orders", PartitionId::new(0), Offset::new(50));
/// assert!(store.covers(&seen) && !seen.covers(&store));
/// assert_eq!(store.to_string(), "orders-0:50");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// Sorted by topic and partition; a task reads few partitions.
    offsets: Vec<(Arc<str>, PartitionId, Offset)>,
}

impl Position {
    /// The position that reflects nothing.
    pub const fn new() -> Self {
        Self { offsets: Vec::new() }
    }

    /// The next offset of one input partition, if anything of it is reflected.
    pub fn get(&self, topic: &str, partition: PartitionId) -> Option<Offset> {
        self.find(topic, partition).ok().map(|index| self.offsets[index].2)
    }

    /// Says that everything before `next` in this partition is reflected.
    pub fn set(&mut self, topic: &str, partition: PartitionId, next: Offset) {
        match self.find(topic, partition) {
            Ok(index) => self.offsets[index].2 = next,
            Err(index) => self.offsets.insert(index, (Arc::from(topic), partition, next)),
        }
    }

    /// Raises every partition to the further of the two positions.
    pub fn merge(&mut self, other: &Self) {
        for (topic, partition, next) in other.iter() {
            if self.get(topic, partition).is_none_or(|own| own < next) {
                self.set(topic, partition, next);
            }
        }
    }

    /// Whether everything that `other` reflects is reflected here too.
    pub fn covers(&self, other: &Self) -> bool {
        other.iter().all(|(topic, partition, next)| self.get(topic, partition).is_some_and(|own| own >= next))
    }

    /// All partitions with their next offsets, sorted by topic and partition.
    pub fn iter(&self) -> impl Iterator<Item = (&str, PartitionId, Offset)> {
        self.offsets.iter().map(|(topic, partition, next)| (&**topic, *partition, *next))
    }

    /// Whether nothing is reflected.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    fn find(&self, topic: &str, partition: PartitionId) -> Result<usize, usize> {
        self.offsets.binary_search_by(|(own_topic, own_partition, _)| {
            (**own_topic).cmp(topic).then(own_partition.cmp(&partition))
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (topic, partition, next)) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(formatter, "{separator}{topic}-{partition}:{next}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(offsets: &[(&str, i32, i64)]) -> Position {
        let mut position = Position::new();
        for (topic, partition, next) in offsets {
            position.set(topic, PartitionId::new(*partition), Offset::new(*next));
        }
        position
    }

    #[test]
    fn prints_sorted_by_topic_and_partition() {
        let position = position(&[("stock", 1, 7), ("orders", 10, 1), ("orders", 2, 9)]);
        assert_eq!(position.to_string(), "orders-2:9,orders-10:1,stock-1:7");
    }

    #[test]
    fn merge_takes_the_further_offset_of_each_partition() {
        let mut merged = position(&[("orders", 0, 5), ("orders", 1, 5)]);
        merged.merge(&position(&[("orders", 0, 4), ("orders", 1, 6), ("stock", 0, 1)]));
        assert_eq!(merged, position(&[("orders", 0, 5), ("orders", 1, 6), ("stock", 0, 1)]));
    }

    #[test]
    fn covers_needs_every_partition_at_least_as_far() {
        let own = position(&[("orders", 0, 5), ("orders", 1, 5)]);
        assert!(own.covers(&Position::new()));
        assert!(own.covers(&position(&[("orders", 1, 5)])));
        assert!(!own.covers(&position(&[("orders", 1, 6)])));
        assert!(!own.covers(&position(&[("stock", 0, 0)])));
    }
}
