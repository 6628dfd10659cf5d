//! What a topology says about a store: its name, serdes and options. A task builds the store from it.

use std::any::{Any, type_name};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::companion::{Companion, CompanionKind, Expiring};
use super::custom::{Custom, CustomStore};
use super::ttl::{Forgetting, MarkerSerde, TimeToLive};
use super::versioned::{VersionedDefinition, VersionedStore};
use super::versions::HistoryLimits;
use super::{CommittedStore, KeyValueStore};
use crate::expiry::Expiry;
use crate::format::{SegmentSerde, TimedLayout};
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

    /// A header that each record of the changelog has.
    fn changelog_header(&self) -> Option<(&'static str, &'static [u8])> {
        None
    }

    /// What the store keeps besides its own rows, if anything.
    fn companion(&self) -> Option<Companion> {
        None
    }

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
    /// `key-value`, `window`, `session`, `versioned`, or what a [`CustomStore`] is called.
    pub kind: &'static str,
    /// The type of the keys.
    pub key: &'static str,
    /// The type of the values.
    pub value: &'static str,
}

const VERSIONED: &str = "versioned";

impl StoreTypes {
    /// Whether it is a [`VersionedStore`].
    pub fn is_versioned(&self) -> bool {
        self.kind == VERSIONED
    }
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
    pub(crate) table: TableParts,
    /// Of a store with a companion: those of its table.
    pub(crate) companion: Option<TableParts>,
    /// Which rows are too old, of a store whose keys carry time.
    pub(crate) expiry: Option<Arc<Expiry>>,
    /// The changelog offset after the newest row it was built from.
    pub(crate) logged_to: Option<Offset>,
}

/// What a table is made of, besides what it holds.
pub(crate) struct TableParts {
    pub(crate) committed: Arc<StoreReader>,
    pub(crate) memory: TableMemory,
}

/// A store that was built for a task; only this crate looks inside.
pub struct BuiltStore {
    pub(crate) rows: Rc<dyn ManagedStore>,
    /// The typed handle.
    pub(crate) handle: Box<dyn Any>,
    /// The table of its companion, and what happens to it as time passes.
    pub(crate) companion: Option<(Rc<dyn ManagedStore>, Rc<dyn Expiring>)>,
}

/// Describes a key-value store, or one that is kept in rows of keys and values: with a [time to live](Self::with_ttl),
/// [versioned](Self::versioned), or [your own](Self::custom).
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
    changelog_header: Option<(&'static str, &'static [u8])>,
    kind: StoreKind<K, V>,
}

/// What becomes of the rows of a store.
enum StoreKind<K, V> {
    KeyValue,
    Forgetful(TimeToLive),
    Versioned(HistoryLimits),
    Custom { kind: &'static str, wrap: Wrap<K, V> },
}

/// Makes a handle of that of the rows.
type Wrap<K, V> = fn(KeyValueStore<K, V>) -> Box<dyn Any>;

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
            changelog_header: None,
            kind: StoreKind::KeyValue,
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

    /// A header that each record of the changelog has: for layouts that others tell apart by it.
    #[must_use]
    pub fn with_changelog_header(mut self, name: &'static str, value: &'static [u8]) -> Self {
        self.changelog_header = Some((name, value));
        self
    }

    /// Lets rows expire: a row whose timestamp is `ttl` behind the store's stream time (the latest timestamp of its writes) is seen by
    /// nobody, and deleted by the next commits, also in the changelog, as of the time at which it expired. A write of a row that is as
    /// old as that deletes what was there. The bytes of rows and changelog are those of a store without.
    ///
    /// After a restore the stream time is the latest timestamp that the changelog has.
    ///
    /// ```
    /// use millstream_state_stores::*;
    /// use std::{sync::Arc, time::Duration};
    ///
    /// let builder = KeyValueStoreBuilder::new("carts", String::serde(), i64::serde()).with_ttl(Duration::from_secs(60));
    /// let task = TaskId { subtopology: 0, partition: 0 };
    /// let stores = TaskStores::open(
    ///     task, "shop", None, StateMemory::new(16 << 20), TaskStoresOptions::default(), &[Arc::new(builder)],
    /// )?;
    /// let carts = stores.key_value::<String, i64>("carts")?;
    /// let (ann, bob) = ("ann".to_string(), "bob".to_string());
    /// carts.put(&ann, Some(ValueAndTimestamp::new(3, Timestamp::from_millis(1_000))))?;
    /// carts.put(&bob, Some(ValueAndTimestamp::new(5, Timestamp::from_millis(61_000))))?;
    /// assert_eq!(carts.get(&ann)?, None);
    /// # Ok::<(), StoreError>(())
    /// ```
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.kind = StoreKind::Forgetful(TimeToLive::new(ttl));
        self
    }

    /// Makes it a [`VersionedStore`], which remembers for `history_retention` what the values were. It has no caching.
    ///
    /// Its changelog is compacted no sooner than a day after the history retention, as that of Kafka Streams.
    #[must_use]
    pub fn versioned(mut self, history_retention: Duration) -> Self {
        const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let lag = history_retention.saturating_add(A_DAY).as_millis().to_string();
        self.changelog_config.entry("min.compaction.lag.ms".into()).or_insert(lag);
        self.kind = StoreKind::Versioned(HistoryLimits::new(history_retention));
        self.is_cached = false;
        self
    }

    /// Makes it a store of your own, whose rows are these.
    #[must_use]
    pub fn custom<S: CustomStore<Key = K, Value = V>>(mut self) -> Self
    where
        K: Clone + 'static,
        V: Clone + 'static,
    {
        self.kind = StoreKind::Custom { kind: S::KIND, wrap: |rows| Box::new(Custom::<S>::new(rows)) };
        self
    }

    fn identity(&self, store: StoreIndex) -> StoreIdentity {
        let (name, is_logged, is_cached) = (self.name.clone(), self.is_logged, self.is_cached);
        StoreIdentity { store, name, is_logged, is_cached, unlogged_key_bytes: 0 }
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

    fn changelog_header(&self) -> Option<(&'static str, &'static [u8])> {
        self.changelog_header
    }

    fn companion(&self) -> Option<Companion> {
        match self.kind {
            StoreKind::Forgetful(ttl) => Some(Companion(CompanionKind::Expiry(ttl))),
            StoreKind::Versioned(limits) => Some(Companion(CompanionKind::History(limits))),
            StoreKind::KeyValue | StoreKind::Custom { .. } => None,
        }
    }

    fn types(&self) -> StoreTypes {
        let kind = match self.kind {
            StoreKind::KeyValue | StoreKind::Forgetful(_) => "key-value",
            StoreKind::Versioned(_) => VERSIONED,
            StoreKind::Custom { kind, .. } => kind,
        };
        StoreTypes { kind, key: type_name::<K>(), value: type_name::<V>() }
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
        let StoreParts { store, context, table, companion, .. } = parts;
        let name = self.name.as_str();
        let key_serde = || Arc::clone(&self.key_serde);
        let table_of = |identity| table.rows(identity, Arc::clone(&self.value_serde), &context);
        match (&self.kind, companion) {
            (StoreKind::Forgetful(ttl), Some(parts)) => {
                let times = parts.companion_rows(store, Arc::new(MarkerSerde), &context);
                let rows = table_of(self.identity(store));
                let forgetting = Forgetting::new(*ttl, Rc::clone(&times));
                let handle =
                    KeyValueStore::new(name, self.is_cached, key_serde(), Rc::clone(&rows), Some(forgetting));
                let companion = Some((times as Rc<dyn ManagedStore>, handle.expiring()));
                BuiltStore { rows, handle: Box::new(handle), companion }
            }
            (StoreKind::Versioned(limits), Some(parts)) => {
                let values = Arc::clone(&self.value_serde);
                let history_serde = Arc::new(SegmentSerde::new(Arc::clone(&values)));
                let history = parts.companion_rows(store, history_serde, &context);
                // The changelog has versions, not rows.
                let latest = table_of(StoreIdentity { is_logged: false, ..self.identity(store) });
                let definition = VersionedDefinition {
                    name: self.name.clone(),
                    is_logged: self.is_logged,
                    limits: *limits,
                    key_serde: key_serde(),
                    value_serde: values,
                };
                let (context, rows) = (Rc::clone(&context), Rc::clone(&latest));
                let handle = VersionedStore::new(definition, store, context, latest, Rc::clone(&history));
                let companion = Some((history as Rc<dyn ManagedStore>, handle.expiring()));
                BuiltStore { rows, handle: Box::new(handle), companion }
            }
            (kind, _) => {
                let rows = table_of(self.identity(store));
                let handle = KeyValueStore::new(name, self.is_cached, key_serde(), Rc::clone(&rows), None);
                let handle = match kind {
                    StoreKind::Custom { wrap, .. } => wrap(handle),
                    _ => Box::new(handle),
                };
                BuiltStore { rows, handle, companion: None }
            }
        }
    }
}

impl TableParts {
    /// The table of a companion: nobody is told of its changes.
    fn companion_rows<V: Clone>(
        self,
        store: StoreIndex,
        values: SerdeRef<V>,
        context: &Rc<TaskContext>,
    ) -> Rc<RefCell<CachedRows<V>>> {
        let name = self.committed.name().to_owned();
        let identity =
            StoreIdentity { store, name, is_logged: false, is_cached: true, unlogged_key_bytes: 0 };
        self.rows(identity, values, context)
    }

    fn rows<V: Clone>(
        self,
        identity: StoreIdentity,
        values: SerdeRef<V>,
        context: &Rc<TaskContext>,
    ) -> Rc<RefCell<CachedRows<V>>> {
        let rows = CachedRows::new(identity, values, Rc::clone(context), self.committed, self.memory, None);
        Rc::new(RefCell::new(rows))
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
