//! How a table is kept: the name of its store, where it lives, whether it is logged and cached.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_processor::{HasSerde, KeyValueStoreBuilder, SerdeRef, StoreBuilder, StoreName};

/// How the store of a table is kept (Kafka Streams' `Materialized`).
///
/// Every operator that keeps a table takes `impl Into<Materialized<K, V>>`: a [`StoreName`] for a store that can be queried
/// by that name, `()` for one with a generated name, or either with options from [`StoreOptions`].
///
/// ```
/// use millstream::prelude::*;
///
/// const STOCK: StoreName<String, i64> = StoreName::new("stock");
///
/// let builder = StreamsBuilder::new();
/// let movements = builder.stream::<String, i64>("stock-movements").group_by_key();
/// movements.reduce(STOCK.without_caching().with_changelog_config("segment.ms", "600000"), |a, b| a + b);
/// let topology = builder.build()?;
/// let store = topology.store("stock").expect("reduce keeps a store");
/// assert!(store.is_logged() && !store.is_cached());
/// # Ok::<(), millstream::Error>(())
/// ```
pub struct Materialized<K, V> {
    name: Option<String>,
    /// Whether anything was asked for. Kafka Streams numbers later nodes differently if so, even without a name.
    is_given: bool,
    key_serde: SerdeRef<K>,
    value_serde: SerdeRef<V>,
    is_cached: bool,
    is_logged: bool,
    is_persistent: bool,
    changelog_config: BTreeMap<String, String>,
}

impl<K: HasSerde, V: HasSerde> Materialized<K, V> {
    fn new(name: Option<String>) -> Self {
        Materialized {
            is_given: name.is_some(),
            name,
            key_serde: K::serde(),
            value_serde: V::serde(),
            is_cached: true,
            is_logged: true,
            is_persistent: true,
            changelog_config: BTreeMap::new(),
        }
    }

    /// As the store of a global table: its topic is its changelog, and each change is visible at once.
    pub(crate) fn into_global_plan(self) -> StorePlan {
        Materialized { is_logged: false, is_cached: false, ..self }.into_plan()
    }

    pub(crate) fn into_plan(self) -> StorePlan {
        let Materialized { name, is_given, key_serde, value_serde, .. } = self;
        let (is_cached, is_logged, is_persistent) = (self.is_cached, self.is_logged, self.is_persistent);
        let changelog_config = self.changelog_config;
        let build = move |name: &str| -> Arc<dyn StoreBuilder> {
            let builder = KeyValueStoreBuilder::new(name, key_serde.clone(), value_serde.clone())
                .with_caching(is_cached)
                .with_logging(is_logged);
            let builder = if is_persistent { builder } else { builder.in_memory() };
            let with_config = changelog_config
                .iter()
                .fold(builder, |builder, (name, value)| builder.with_changelog_config(name, value));
            Arc::new(with_config)
        };
        StorePlan { name, is_given, build: Box::new(build) }
    }
}

impl<K: HasSerde, V: HasSerde> From<StoreName<K, V>> for Materialized<K, V> {
    fn from(store: StoreName<K, V>) -> Self {
        Materialized::new(Some(store.name().to_string()))
    }
}

impl<K: HasSerde, V: HasSerde> From<()> for Materialized<K, V> {
    fn from((): ()) -> Self {
        Materialized::new(None)
    }
}

/// Options of a store, on its name, on `()` or on a [`Materialized`].
///
/// ```
/// use millstream::prelude::*;
///
/// const CUSTOMERS: StoreName<String, String> = StoreName::new("customers");
///
/// let builder = StreamsBuilder::new();
/// builder.table::<String, String>("customers").materialized(CUSTOMERS.in_memory().without_logging());
/// let topology = builder.build()?;
/// let store = topology.store("customers").expect("the table has a named store");
/// assert!(!store.is_persistent() && !store.is_logged());
/// # Ok::<(), millstream::Error>(())
/// ```
pub trait StoreOptions<K, V>: Into<Materialized<K, V>> {
    /// Keeps the store in memory only. It is restored from its changelog at every start, unless it is not logged either.
    fn in_memory(self) -> Materialized<K, V> {
        with(self, |store| store.is_persistent = false)
    }

    /// Sends every update downstream and to the changelog, instead of the newest for each key at commit.
    fn without_caching(self) -> Materialized<K, V> {
        with(self, |store| store.is_cached = false)
    }

    /// Keeps no changelog topic: what the store holds is lost with its directory.
    fn without_logging(self) -> Materialized<K, V> {
        with(self, |store| store.is_logged = false)
    }

    /// Sets a topic configuration of the changelog, such as `segment.ms`.
    fn with_changelog_config(self, name: &str, value: &str) -> Materialized<K, V> {
        with(self, |store| {
            store.changelog_config.insert(name.to_string(), value.to_string());
        })
    }

    /// Uses these serdes instead of those of the types. They fix the bytes on disk and in the changelog.
    fn with_serdes(self, key: SerdeRef<K>, value: SerdeRef<V>) -> Materialized<K, V> {
        with(self, |store| {
            store.key_serde = key;
            store.value_serde = value;
        })
    }
}

fn with<K, V>(
    store: impl Into<Materialized<K, V>>,
    change: impl FnOnce(&mut Materialized<K, V>),
) -> Materialized<K, V> {
    let mut store = store.into();
    store.is_given = true;
    change(&mut store);
    store
}

impl<K, V, S: Into<Materialized<K, V>>> StoreOptions<K, V> for S {}

/// A [`Materialized`] with its types erased, as the logical graph keeps it.
pub(crate) struct StorePlan {
    pub(crate) name: Option<String>,
    pub(crate) is_given: bool,
    pub(crate) build: BuildStore,
}

/// Makes a store's builder, once the store has its name.
type BuildStore = Box<dyn Fn(&str) -> Arc<dyn StoreBuilder>>;
