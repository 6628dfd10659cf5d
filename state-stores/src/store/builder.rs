//! What a topology says about a store: its name, serdes and options. A task builds the store from it.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::options::{StoreKind, StoreOptions, store_options};
use super::{CommittedStore, KeyValueStore};
use crate::expiry::Expiry;
use crate::format::TimedLayout;
use crate::layer::{ManagedStore, TaskContext};
use crate::memory::TableMemory;
use crate::reader::StoreReader;
use crate::serde::{SerdeError, SerdeRef};
use crate::types::{Offset, StoreIndex};

/// How to build a store, whatever its types: what a topology holds and every task uses.
pub trait StoreBuilder: Send + Sync {
    /// The name of the store.
    fn name(&self) -> &str;

    /// Whether changes go to a changelog topic. Without one, the store cannot be rebuilt.
    fn is_logged(&self) -> bool;

    /// Whether changes are logged and emitted at commit, the newest per key, instead of one by one.
    fn is_cached(&self) -> bool;

    /// Whether rows are kept on disk. Otherwise they are rebuilt from the changelog at every start.
    fn is_persistent(&self) -> bool;

    /// Settings for the changelog topic, over those of the framework.
    fn changelog_config(&self) -> &BTreeMap<String, String>;

    /// The kind of the store and the names of its types, for people.
    fn types(&self) -> StoreTypes;

    /// How keys carry time and how long rows are kept, if it is a store of that kind.
    fn timed(&self) -> Option<TimedLayout> {
        None
    }

    /// The bytes of the key that is written as `text`.
    ///
    /// # Errors
    /// [`SerdeError::InvalidText`], or [`SerdeError::NoTextForm`] for keys of a type that has none.
    fn key_from_text(&self, text: &str) -> Result<Vec<u8>, SerdeError>;

    /// An encoded key as JSON.
    ///
    /// # Errors
    /// If the bytes are no key of this store.
    fn key_to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError>;

    /// An encoded value as JSON.
    ///
    /// # Errors
    /// If the bytes are no value of this store.
    fn value_to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError>;

    /// The builder itself, so that those who know its types can ask for its serdes.
    fn as_any(&self) -> &dyn Any;

    /// Builds the store for one task. Called by [`TaskStores::open`](crate::TaskStores::open).
    fn build(&self, parts: StoreParts) -> BuiltStore;
}

/// The kind of a store and the names of its Rust types, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreTypes {
    /// `key-value`, `window` or `session`.
    pub kind: &'static str,
    /// The type of the keys.
    pub key: &'static str,
    /// The type of the values.
    pub value: &'static str,
}

impl fmt::Display for StoreTypes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a {} store from `{}` to `{}`", self.kind, self.key, self.value)
    }
}

/// What a task gives a store that is built for it; only this crate looks inside.
pub struct StoreParts {
    pub(crate) store: StoreIndex,
    pub(crate) context: Rc<TaskContext>,
    pub(crate) committed: Arc<StoreReader>,
    pub(crate) memory: TableMemory,
    /// Which rows are too old, of a store whose keys carry time.
    pub(crate) expiry: Option<Arc<Expiry>>,
    /// The changelog offset after the newest row it was built from.
    pub(crate) logged_to: Option<Offset>,
}

/// A store that was built for a task; only this crate looks inside.
pub struct BuiltStore {
    pub(crate) rows: Rc<dyn ManagedStore>,
    /// The typed handle.
    pub(crate) handle: Box<dyn Any>,
}

/// Describes a key-value store.
///
/// ```
/// use millstream_state_stores::{HasSerde, KeyValueStoreBuilder, StoreBuilder};
///
/// let stock = KeyValueStoreBuilder::new("stock", String::serde(), i64::serde())
///     .with_caching(false)
///     .with_changelog_config("segment.bytes", "10485760");
/// assert!(stock.is_logged() && stock.is_persistent() && !stock.is_cached());
/// ```
pub struct KeyValueStoreBuilder<K, V> {
    options: StoreOptions<K, V>,
}

impl<K, V> KeyValueStoreBuilder<K, V> {
    /// A store on disk, logged and cached.
    pub fn new(name: impl Into<String>, key_serde: SerdeRef<K>, value_serde: SerdeRef<V>) -> Self {
        Self { options: StoreOptions::new(name, key_serde, value_serde) }
    }

    store_options!();

    /// The committed rows of a store that was built from this, for a thread other than that which writes them.
    pub fn committed(&self, reader: Arc<StoreReader>) -> CommittedStore<K, V> {
        CommittedStore::new(reader, Arc::clone(self.key_serde()), Arc::clone(self.value_serde()))
    }
}

impl<K: Clone + 'static, V: Clone + 'static> StoreKind for KeyValueStoreBuilder<K, V> {
    type Key = K;
    type Value = V;
    const NAME: &'static str = "key-value";

    fn options(&self) -> &StoreOptions<K, V> {
        &self.options
    }

    fn timed(&self) -> Option<TimedLayout> {
        None
    }

    fn key_to_json(&self, row_key: &[u8]) -> Result<serde_json::Value, SerdeError> {
        self.options.key_serde.to_json(row_key)
    }

    fn build(&self, parts: StoreParts) -> BuiltStore {
        let rows = Rc::new(RefCell::new(self.options.rows(parts, 0, None)));
        let handle = KeyValueStore::new(self.options.keys(), self.options.is_cached, Rc::clone(&rows));
        BuiltStore { rows, handle: Box::new(handle) }
    }
}

impl<K, V> fmt::Debug for KeyValueStoreBuilder<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = formatter.debug_struct("KeyValueStoreBuilder");
        self.options.debug_flags(out.field("name", &self.options.name)).finish_non_exhaustive()
    }
}
