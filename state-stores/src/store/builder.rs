//! What a topology says about a store: its name, serdes and options. A task builds the store from it.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::companion::{Companion, CompanionKind, Expiring};
use super::custom::{Custom, CustomStore};
use super::options::{StoreKind, StoreOptions, store_options};
use super::ttl::{Forgetting, MarkerSerde, TimeToLive};
use super::versioned::{VersionedDefinition, VersionedStore};
use super::versions::HistoryLimits;
use super::{CommittedStore, KeyValueStore};
use crate::expiry::Expiry;
use crate::format::{SegmentSerde, TimedLayout};
use crate::layer::{Beside, CachedRows, ManagedStore, StoreIdentity, TaskContext};
use crate::memory::TableMemory;
use crate::reader::StoreReader;
use crate::serde::{ApplicationSerdes, SerdeError, SerdeRef};
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

    /// The builder with its serdes as they are in an application, where the store's changelog is `topic`. See [`Serde::in_place`](crate::Serde::in_place).
    ///
    /// # Errors
    /// If a serde cannot be used there.
    fn in_place(&self, topic: &str, serdes: &ApplicationSerdes) -> Result<Arc<dyn StoreBuilder>, SerdeError>;

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

impl TableParts {
    pub(super) fn rows<V: Clone>(
        self,
        identity: StoreIdentity,
        values: SerdeRef<V>,
        context: &Rc<TaskContext>,
        beside: Option<Beside>,
    ) -> CachedRows<V> {
        CachedRows::new(identity, values, Rc::clone(context), self.committed, self.memory, beside)
    }

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
        Rc::new(RefCell::new(self.rows(identity, values, context, None)))
    }
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
    options: StoreOptions<K, V>,
    rules: Rules<K, V>,
}

/// What becomes of the rows of a store.
#[derive(Clone)]
enum Rules<K, V> {
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
        Self { options: StoreOptions::new(name, key_serde, value_serde), rules: Rules::KeyValue }
    }

    store_options!();

    /// A header that each record of the changelog has: for layouts that others tell apart by it.
    #[must_use]
    pub fn with_changelog_header(mut self, name: &'static str, value: &'static [u8]) -> Self {
        self.options.changelog_header = Some((name, value));
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
        self.rules = Rules::Forgetful(TimeToLive::new(ttl));
        self
    }

    /// Makes it a [`VersionedStore`], which remembers for `history_retention` what the values were. It has no caching.
    ///
    /// Its changelog is compacted no sooner than a day after the history retention, as that of Kafka Streams.
    #[must_use]
    pub fn versioned(mut self, history_retention: Duration) -> Self {
        const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let lag = history_retention.saturating_add(A_DAY).as_millis().to_string();
        self.options.changelog_config.entry("min.compaction.lag.ms".into()).or_insert(lag);
        self.rules = Rules::Versioned(HistoryLimits::new(history_retention));
        self.options.is_cached = false;
        self
    }

    /// Makes it a store of your own, whose rows are these.
    #[must_use]
    pub fn custom<S: CustomStore<Key = K, Value = V>>(mut self) -> Self
    where
        K: Clone + 'static,
        V: Clone + 'static,
    {
        self.rules = Rules::Custom { kind: S::KIND, wrap: |rows| Box::new(Custom::<S>::new(rows)) };
        self
    }

    /// The committed rows of a store that was built from this, for a thread other than that which writes them.
    pub fn committed(&self, reader: Arc<StoreReader>) -> CommittedStore<K, V> {
        CommittedStore::new(reader, Arc::clone(self.key_serde()), Arc::clone(self.value_serde()))
    }
}

impl<K: Clone + 'static, V: Clone + 'static> StoreKind for KeyValueStoreBuilder<K, V> {
    type Key = K;
    type Value = V;

    fn kind(&self) -> &'static str {
        match self.rules {
            Rules::KeyValue | Rules::Forgetful(_) => "key-value",
            Rules::Versioned(_) => VERSIONED,
            Rules::Custom { kind, .. } => kind,
        }
    }

    fn options(&self) -> &StoreOptions<K, V> {
        &self.options
    }

    fn with_options(&self, options: StoreOptions<K, V>) -> Self {
        Self { options, rules: self.rules.clone() }
    }

    fn timed(&self) -> Option<TimedLayout> {
        None
    }

    fn companion(&self) -> Option<Companion> {
        match self.rules {
            Rules::Forgetful(ttl) => Some(Companion(CompanionKind::Expiry(ttl))),
            Rules::Versioned(limits) => Some(Companion(CompanionKind::History(limits))),
            Rules::KeyValue | Rules::Custom { .. } => None,
        }
    }

    fn key_to_json(&self, row_key: &[u8]) -> Result<serde_json::Value, SerdeError> {
        self.options.key_serde.to_json(row_key)
    }

    fn build(&self, parts: StoreParts) -> BuiltStore {
        let StoreParts { store, context, table, companion, .. } = parts;
        let values = || Arc::clone(&self.options.value_serde);
        let table_of = |identity| Rc::new(RefCell::new(table.rows(identity, values(), &context, None)));
        let key_value = |rows, forgetting| {
            KeyValueStore::new(self.options.keys(), self.options.is_cached, rows, forgetting)
        };
        match (&self.rules, companion) {
            (Rules::Forgetful(ttl), Some(parts)) => {
                let times = parts.companion_rows(store, Arc::new(MarkerSerde), &context);
                let rows = table_of(self.options.identity(store));
                let handle = key_value(Rc::clone(&rows), Some(Forgetting::new(*ttl, Rc::clone(&times))));
                let companion = Some((times as Rc<dyn ManagedStore>, handle.expiring()));
                BuiltStore { rows, handle: Box::new(handle), companion }
            }
            (Rules::Versioned(limits), Some(parts)) => {
                let history = parts.companion_rows(store, Arc::new(SegmentSerde::new(values())), &context);
                // The changelog has versions, not rows.
                let rows = table_of(StoreIdentity { is_logged: false, ..self.options.identity(store) });
                let definition = VersionedDefinition {
                    keys: self.options.keys(),
                    is_logged: self.options.is_logged,
                    limits: *limits,
                    value_serde: values(),
                };
                let (latest, versions) = (Rc::clone(&rows), Rc::clone(&history));
                let handle = VersionedStore::new(definition, store, Rc::clone(&context), latest, versions);
                let companion = Some((history as Rc<dyn ManagedStore>, handle.expiring()));
                BuiltStore { rows, handle: Box::new(handle), companion }
            }
            (rules, _) => {
                let rows = table_of(self.options.identity(store));
                let handle = key_value(Rc::clone(&rows), None);
                let handle = match rules {
                    Rules::Custom { wrap, .. } => wrap(handle),
                    _ => Box::new(handle),
                };
                BuiltStore { rows, handle, companion: None }
            }
        }
    }
}

impl<K, V> fmt::Debug for KeyValueStoreBuilder<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = formatter.debug_struct("KeyValueStoreBuilder");
        self.options.debug_flags(out.field("name", &self.options.name)).finish_non_exhaustive()
    }
}
