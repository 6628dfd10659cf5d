//! What a topology says about a store: its name, serdes and options. A task builds the store from it.

use std::any::{Any, type_name};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::{CommittedStore, KeyValueStore};
use crate::expiry::Expiry;
use crate::format::TimedLayout;
use crate::layer::{CachedRows, ManagedStore, StoreIdentity, TaskContext};
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
    name: String,
    key_serde: SerdeRef<K>,
    value_serde: SerdeRef<V>,
    is_cached: bool,
    is_logged: bool,
    is_persistent: bool,
    changelog_config: BTreeMap<String, String>,
}

impl<K, V> KeyValueStoreBuilder<K, V> {
    /// A store on disk, logged and cached.
    pub fn new(name: impl Into<String>, key_serde: SerdeRef<K>, value_serde: SerdeRef<V>) -> Self {
        Self {
            name: name.into(),
            key_serde,
            value_serde,
            is_cached: true,
            is_logged: true,
            is_persistent: true,
            changelog_config: BTreeMap::new(),
        }
    }

    /// The serde of the keys.
    pub fn key_serde(&self) -> &SerdeRef<K> {
        &self.key_serde
    }

    /// The serde of the values.
    pub fn value_serde(&self) -> &SerdeRef<V> {
        &self.value_serde
    }

    /// The committed rows of a store that was built from this, for a thread other than that which writes them.
    pub fn committed(&self, reader: Arc<StoreReader>) -> CommittedStore<K, V> {
        CommittedStore::new(reader, Arc::clone(&self.key_serde), Arc::clone(&self.value_serde))
    }

    /// Whether changes are logged and emitted at commit, the newest per key (the default), or one by one.
    #[must_use]
    pub fn with_caching(mut self, is_cached: bool) -> Self {
        self.is_cached = is_cached;
        self
    }

    /// Whether changes go to a changelog topic (the default). Without one, the rows are gone when the disk is.
    #[must_use]
    pub fn with_logging(mut self, is_logged: bool) -> Self {
        self.is_logged = is_logged;
        self
    }

    /// Keeps the rows in memory only, to be rebuilt from the changelog at every start.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.is_persistent = false;
        self
    }

    /// A setting for the changelog topic, such as `segment.bytes`.
    #[must_use]
    pub fn with_changelog_config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.changelog_config.insert(name.into(), value.into());
        self
    }
}

impl<K: Clone + 'static, V: Clone + 'static> StoreBuilder for KeyValueStoreBuilder<K, V> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn is_logged(&self) -> bool {
        self.is_logged
    }

    fn is_cached(&self) -> bool {
        self.is_cached
    }

    fn is_persistent(&self) -> bool {
        self.is_persistent
    }

    fn changelog_config(&self) -> &BTreeMap<String, String> {
        &self.changelog_config
    }

    fn types(&self) -> StoreTypes {
        StoreTypes { kind: "key-value", key: type_name::<K>(), value: type_name::<V>() }
    }

    fn key_from_text(&self, text: &str) -> Result<Vec<u8>, SerdeError> {
        let mut bytes = Vec::new();
        self.key_serde.key_from_text(text, &mut bytes)?;
        Ok(bytes)
    }

    fn key_to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        self.key_serde.to_json(bytes)
    }

    fn value_to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        self.value_serde.to_json(bytes)
    }

    fn build(&self, parts: StoreParts) -> BuiltStore {
        let identity = StoreIdentity {
            store: parts.store,
            name: self.name.clone(),
            is_logged: self.is_logged,
            is_cached: self.is_cached,
            unlogged_key_bytes: 0,
        };
        let rows = CachedRows::new(
            identity,
            Arc::clone(&self.value_serde),
            parts.context,
            parts.committed,
            parts.memory,
            None,
        );
        let rows = Rc::new(RefCell::new(rows));
        let handle = KeyValueStore::<K, V>::new(
            &self.name,
            self.is_cached,
            Arc::clone(&self.key_serde),
            Rc::clone(&rows),
        );
        BuiltStore { rows, handle: Box::new(handle) }
    }
}

impl<K, V> fmt::Debug for KeyValueStoreBuilder<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KeyValueStoreBuilder")
            .field("name", &self.name)
            .field("is_cached", &self.is_cached)
            .field("is_logged", &self.is_logged)
            .field("is_persistent", &self.is_persistent)
            .finish_non_exhaustive()
    }
}
