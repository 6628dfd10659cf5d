//! The stores as processors see them: typed keys and values over the write-back cache.

mod builder;
mod committed;
mod companion;
mod custom;
mod key_value;
mod keys;
mod options;
mod segment;
mod session;
mod timed;
mod timed_builder;
mod ttl;
mod versioned;
mod versions;
mod window;

use crate::error::StoreError;
use crate::types::Timestamp;

pub(crate) use builder::TableParts;
pub use builder::{BuiltStore, KeyValueStoreBuilder, StoreBuilder, StoreParts, StoreTypes};
pub use committed::CommittedStore;
pub use companion::Companion;
pub(crate) use companion::{CompanionKind, Expiring, stream_time};
pub use custom::{Custom, CustomStore};
pub use key_value::{KeyValueIterator, KeyValueStore};
pub(crate) use segment::{Segment, Version};
pub use session::SessionStore;
pub use timed::WindowedEntry;
pub use timed_builder::{SessionStoreBuilder, TimedKind, TimedStoreBuilder, WindowStoreBuilder};
pub(crate) use ttl::MarkerSerde;
pub use versioned::{VersionedPut, VersionedRecord, VersionedStore};
pub(crate) use versions::Versions;
pub use window::WindowStore;

/// Milliseconds of a span of time.
fn millis(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// A key with its row, or why it could not be read.
pub(crate) type ReadEntry<K, V> = Result<(K, ValueAndTimestamp<V>), StoreError>;

/// A value with the event time it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueAndTimestamp<V> {
    /// The value.
    pub value: V,
    /// Its event time.
    pub timestamp: Timestamp,
}

impl<V> ValueAndTimestamp<V> {
    /// `value` as of `timestamp`.
    pub const fn new(value: V, timestamp: Timestamp) -> Self {
        Self { value, timestamp }
    }
}

/// What a row was and what it became. `new` is `None` when it was deleted, `old` when it was not there before, or when
/// nobody asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<V> {
    /// The value before.
    pub old: Option<V>,
    /// The value after.
    pub new: Option<V>,
}

/// The change of one key since the last commit, to be forwarded downstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emission<K, V> {
    /// The key.
    pub key: K,
    /// The committed value, and the value now.
    pub change: Change<V>,
    /// The event time of the newest update.
    pub timestamp: Timestamp,
}
