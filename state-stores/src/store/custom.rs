//! Stores of a user's own: any structure that lies in rows.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use super::KeyValueStore;
use crate::error::StoreError;

/// A store of your own. You say what its rows are and give them methods; the rows are those of a key-value store, so that each task has
/// its own, changes go to a changelog, a record that fails or a commit that does not succeed leaves no trace, and a restore, standbys
/// and queries (of the rows) are there.
///
/// What is worth keeping in memory besides the rows, such as an index, is made in [`open`](Self::open), and kept up by your methods. When rows
/// were taken back, or a method failed, the store is opened anew: so it need not know how to undo anything.
///
/// ```
/// use millstream_state_stores::*;
/// use std::hash::{DefaultHasher, Hash, Hasher};
/// use std::sync::Arc;
///
/// /// Knows for certain which orders it has never seen. Each row has 64 bits.
/// struct BloomFilter { words: KeyValueStore<u32, u64> }
///
/// impl CustomStore for BloomFilter {
///     const KIND: &'static str = "bloom filter";
///     type Key = u32;
///     type Value = u64;
///
///     fn open(words: KeyValueStore<u32, u64>) -> Result<Self, StoreError> {
///         Ok(BloomFilter { words })
///     }
/// }
///
/// impl BloomFilter {
///     fn bits_of(order: &str) -> impl Iterator<Item = (u32, u64)> {
///         (0..4).map(move |number| {
///             let mut hasher = DefaultHasher::new();
///             (number, order).hash(&mut hasher);
///             let bit = hasher.finish() % (1 << 20);
///             ((bit / 64) as u32, 1 << (bit % 64))
///         })
///     }
///
///     fn insert(&mut self, order: &str, at: Timestamp) -> Result<(), StoreError> {
///         for (word, bit) in Self::bits_of(order) {
///             let bits = self.words.get(&word)?.map_or(0, |row| row.value);
///             self.words.put(&word, Some(ValueAndTimestamp::new(bits | bit, at)))?;
///         }
///         Ok(())
///     }
///
///     fn may_contain(&self, order: &str) -> Result<bool, StoreError> {
///         for (word, bit) in Self::bits_of(order) {
///             if self.words.get(&word)?.is_none_or(|row| row.value & bit == 0) {
///                 return Ok(false);
///             }
///         }
///         Ok(true)
///     }
/// }
///
/// let builder = KeyValueStoreBuilder::new("seen-orders", u32::serde(), u64::serde()).custom::<BloomFilter>();
/// let task = TaskId { subtopology: 0, partition: 0 };
/// let stores = TaskStores::open(
///     task, "shop", None, StateMemory::new(16 << 20), TaskStoresOptions::default(), &[Arc::new(builder)],
/// )?;
/// let seen = stores.custom::<BloomFilter>("seen-orders")?;
/// seen.with(|seen| seen.insert("order-7", Timestamp::from_millis(1_000)))?;
/// assert!(seen.with(|seen| seen.may_contain("order-7"))?);
/// assert!(!seen.with(|seen| seen.may_contain("order-8"))?);
/// # Ok::<(), StoreError>(())
/// ```
pub trait CustomStore: Sized + 'static {
    /// What such a store is called in messages, such as `bloom filter`.
    const KIND: &'static str;
    /// The keys of its rows.
    type Key: Clone + 'static;
    /// The values of its rows.
    type Value: Clone + 'static;

    /// The store with these rows: none at first, later those that were committed or restored. Called again after rows were taken back.
    ///
    /// # Errors
    /// When rows cannot be read.
    fn open(rows: KeyValueStore<Self::Key, Self::Value>) -> Result<Self, StoreError>;
}

/// A [`CustomStore`] of one task, on its thread. Cloning the handle is cheap and leads to the same store.
pub struct Custom<S: CustomStore> {
    inner: Rc<Inner<S>>,
}

struct Inner<S: CustomStore> {
    rows: KeyValueStore<S::Key, S::Value>,
    store: RefCell<Option<Opened<S>>>,
}

/// The store, and the state of its rows that it was opened in.
struct Opened<S> {
    reverts: u64,
    store: S,
}

impl<S: CustomStore> Custom<S> {
    pub(super) fn new(rows: KeyValueStore<S::Key, S::Value>) -> Self {
        Self { inner: Rc::new(Inner { rows, store: RefCell::new(None) }) }
    }

    /// The name of the store.
    pub fn name(&self) -> &str {
        self.inner.rows.name()
    }

    /// What `f` does with the store.
    ///
    /// # Errors
    /// Those of `f`, and that of [`CustomStore::open`].
    ///
    /// # Panics
    /// If `f` uses the same store again.
    #[track_caller]
    pub fn with<R, E: From<StoreError>>(&self, f: impl FnOnce(&mut S) -> Result<R, E>) -> Result<R, E> {
        let reverts = self.inner.rows.reverts();
        let mut slot = self.inner.store.borrow_mut();
        let opened = match &mut *slot {
            Some(opened) if opened.reverts == reverts => opened,
            stale => {
                let store = S::open(self.inner.rows.clone())?;
                stale.insert(Opened { reverts, store })
            }
        };
        let outcome = f(&mut opened.store);
        if outcome.is_err() {
            // What it has in memory may be half of a change.
            *slot = None;
        }
        outcome
    }
}

impl<S: CustomStore> Clone for Custom<S> {
    fn clone(&self) -> Self {
        Self { inner: Rc::clone(&self.inner) }
    }
}

impl<S: CustomStore> fmt::Debug for Custom<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Custom").field("kind", &S::KIND).field("name", &self.name()).finish()
    }
}
