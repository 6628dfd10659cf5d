//! The small words everything else is written in: offsets, partitions, timestamps, task ids, store names.
//!
//! Each number that could be mixed up with another has a type of its own, and none has a sentinel value.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

/// A position in one partition of a Kafka topic: the offset of the next record to read, write or restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(i64);

impl Offset {
    /// The offset `value`, counted in records from the start of the partition.
    #[inline]
    pub const fn new(value: i64) -> Self {
        Self(value)
    }

    /// The offset as Kafka counts it.
    #[inline]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The offset one record further on.
    ///
    /// ```
    /// # use millstream_state_stores::Offset;
    /// assert_eq!(Offset::new(41).next(), Offset::new(42));
    /// ```
    #[must_use]
    #[inline]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The id that Kafka gave a topic when it was made (KIP-516). A topic that is deleted and made again has the same name and
/// another id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TopicId([u8; 16]);

impl TopicId {
    /// The id with these bytes, the most significant first.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id's bytes, the most significant first.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

/// The number of one partition of a topic, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(i32);

impl PartitionId {
    /// The partition with this number.
    #[inline]
    pub const fn new(value: i32) -> Self {
        Self(value)
    }

    /// The number of the partition, as Kafka counts it.
    #[inline]
    pub const fn get(self) -> i32 {
        self.0
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Up to where a log was read into a store, and how recent that makes the store.
///
/// ```
/// # use millstream_state_stores::{LogPosition, Offset};
/// assert_eq!(LogPosition::from(Offset::new(41)), LogPosition { next: Offset::new(41), as_of: None });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPosition {
    /// The offset of the next record to be read.
    pub next: Offset,
    /// A time, by the wall clock, at which every tombstone that the store lacks was still in the log, or not yet written: all that was deleted
    /// before is deleted in the store. A log that is compacted keeps tombstones for a while only. `None` if nobody knows.
    pub as_of: Option<Timestamp>,
}

impl LogPosition {
    /// Whether state that was as recent as `written` says is so much more recent `now` that it is worth a write of its own, which costs a
    /// small file: by an hour, where tombstones are kept for a day.
    ///
    /// ```
    /// # use millstream_state_stores::{LogPosition, Timestamp};
    /// let at = |hours: i64| Some(Timestamp::from_millis(hours * 3_600_000));
    /// assert!(LogPosition::is_worth_renewing(at(1), at(2)));
    /// assert!(!LogPosition::is_worth_renewing(at(2), at(2)) && !LogPosition::is_worth_renewing(at(2), None));
    /// ```
    pub fn is_worth_renewing(written: Option<Timestamp>, now: Option<Timestamp>) -> bool {
        const HOUR: i64 = 60 * 60 * 1000;
        match (written, now) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(written), Some(now)) => now.as_millis().saturating_sub(written.as_millis()) >= HOUR,
        }
    }
}

impl From<Offset> for LogPosition {
    fn from(next: Offset) -> Self {
        Self { next, as_of: None }
    }
}

/// A point in event time: milliseconds since 1970-01-01 00:00 UTC, as records carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The timestamp `milliseconds` after 1970-01-01 00:00 UTC.
    #[inline]
    pub const fn from_millis(milliseconds: i64) -> Self {
        Self(milliseconds)
    }

    /// Milliseconds since 1970-01-01 00:00 UTC.
    #[inline]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The later of the two.
    ///
    /// ```
    /// # use millstream_state_stores::Timestamp;
    /// let (ordered, shipped) = (Timestamp::from_millis(1_000), Timestamp::from_millis(5_000));
    /// assert_eq!(ordered.max(shipped), shipped);
    /// ```
    #[must_use]
    #[inline]
    pub const fn max(self, other: Self) -> Self {
        if self.0 >= other.0 { self } else { other }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// One task: a sub-topology run for one partition. Printed as Kafka Streams does, `0_3`.
///
/// ```
/// # use millstream_state_stores::TaskId;
/// let task: TaskId = "0_3".parse()?;
/// assert_eq!(task, TaskId { subtopology: 0, partition: 3 });
/// assert_eq!(task.to_string(), "0_3");
/// # Ok::<(), millstream_state_stores::ParseTaskIdError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// Which sub-topology, numbered from 0 in declaration order.
    pub subtopology: u32,
    /// Which partition of the sub-topology's source topics.
    pub partition: i32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}_{}", self.subtopology, self.partition)
    }
}

impl FromStr for TaskId {
    type Err = ParseTaskIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (subtopology, partition) = text.split_once('_')?;
            Some(Self { subtopology: subtopology.parse().ok()?, partition: partition.parse().ok()? })
        };
        parse()
            .filter(|task| task.partition >= 0 && task.to_string() == text)
            .ok_or_else(|| ParseTaskIdError { text: text.to_owned() })
    }
}

/// A text that is no task id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no task id: write <subtopology>_<partition>, for example 0_3")]
pub struct ParseTaskIdError {
    text: String,
}

/// Which store of a task: the place of its builder in the list the task was opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreIndex(u32);

impl StoreIndex {
    /// The store whose builder stands at `position` in the task's list of builders.
    ///
    /// # Panics
    /// When `position` does not fit in 32 bits: no topology has that many stores.
    pub fn new(position: usize) -> Self {
        Self(u32::try_from(position).expect("a task has fewer than four billion stores"))
    }

    /// The place in the task's list of builders, counted from 0.
    #[inline]
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

/// A partition of a topic that a store's rows come from, and can be read from again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogPartition {
    /// That of the store's changelog which belongs to its task.
    Changelog(StoreIndex),
    /// One of the topic that a global table is a copy of.
    Source(StoreIndex, PartitionId),
}

impl LogPartition {
    /// The store.
    pub fn store(self) -> StoreIndex {
        match self {
            LogPartition::Changelog(store) | LogPartition::Source(store, _) => store,
        }
    }
}

impl From<StoreIndex> for LogPartition {
    fn from(store: StoreIndex) -> Self {
        LogPartition::Changelog(store)
    }
}

/// The name of a store together with the types of its keys and values, declared once as a constant and used
/// wherever the store is built, updated, queried or tested. `S` is the kind of store; the name of a key-value store needs none.
///
/// ```
/// # use millstream_state_stores::{SessionStoreName, StoreName, WindowStoreName};
/// const STOCK: StoreName<String, i64> = StoreName::new("stock");
/// const PER_MINUTE: WindowStoreName<String, u64> = WindowStoreName::new("orders-per-minute");
/// const VISITS: SessionStoreName<String, u64> = SessionStoreName::new("visits");
/// assert_eq!(STOCK.name(), "stock");
/// ```
pub struct StoreName<K, V, S = KeyValueKind> {
    name: &'static str,
    types: PhantomData<fn() -> (K, V)>,
    kind: PhantomData<fn() -> S>,
}

/// The name of a window store.
pub type WindowStoreName<K, V> = StoreName<K, V, WindowKind>;

/// The name of a session store.
pub type SessionStoreName<K, V> = StoreName<K, V, SessionKind>;

/// The kind of a key-value store, as a type.
#[derive(Debug, Clone, Copy)]
pub enum KeyValueKind {}

/// The kind of a window store, as a type.
#[derive(Debug, Clone, Copy)]
pub enum WindowKind {}

/// The kind of a session store, as a type.
#[derive(Debug, Clone, Copy)]
pub enum SessionKind {}

impl<K, V, S> StoreName<K, V, S> {
    /// The store called `name`: letters, digits, `.`, `_` and `-`, as it becomes part of a topic's name.
    pub const fn new(name: &'static str) -> Self {
        Self { name, types: PhantomData, kind: PhantomData }
    }

    /// The name itself.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<K, V, S> Clone for StoreName<K, V, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V, S> Copy for StoreName<K, V, S> {}

impl<K, V, S> fmt::Debug for StoreName<K, V, S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, value) = (std::any::type_name::<K>(), std::any::type_name::<V>());
        write!(formatter, "StoreName<{key}, {value}>({:?})", self.name)
    }
}

impl<K, V, S> fmt::Display for StoreName<K, V, S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_ids_are_parsed_strictly() {
        for text in ["", "0", "0_", "_1", "0_-1", "00_1", "0_+1", "0_1_2", "a_b", "0_1 ", "rocksdb"] {
            let error = text.parse::<TaskId>().expect_err(text);
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
        assert_eq!("12_345".parse(), Ok(TaskId { subtopology: 12, partition: 345 }));
    }

    #[test]
    fn task_ids_are_ordered_by_number_not_by_text() {
        let mut tasks: Vec<TaskId> =
            ["1_0", "0_10", "0_2"].iter().map(|text| text.parse().unwrap()).collect();
        tasks.sort();
        assert_eq!(tasks.iter().map(TaskId::to_string).collect::<Vec<_>>(), ["0_2", "0_10", "1_0"]);
    }

    #[test]
    fn a_store_name_prints_its_types_for_debugging() {
        const STOCK: StoreName<String, i64> = StoreName::new("stock");
        assert_eq!(format!("{STOCK}"), "stock");
        assert_eq!(format!("{STOCK:?}"), "StoreName<alloc::string::String, i64>(\"stock\")");
    }
}
