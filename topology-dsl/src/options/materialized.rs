//! How a table is kept: the name of its store, where it lives, whether it is logged and cached.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use millstream_processor::{
    Error, HasSerde, KeyValueKind, KeyValueStoreBuilder, Result, SerdeRef, SessionKind, SessionStoreBuilder,
    StoreBuilder, StoreName, TimedKind, TimedStoreBuilder, WindowKind, WindowStoreBuilder,
};

use crate::windows::EmitStrategy;

/// How the store of a table is kept (Kafka Streams' `Materialized`).
///
/// Every operator that keeps a table takes a [`StoreFor`] it: a [`StoreName`] for a store that can be queried
/// by that name, `()` for one with a generated name, or either with options from [`StoreOptions`]. `S` is the kind of the store: windowed
/// aggregations take a [`WindowStoreName`](crate::WindowStoreName) or a [`SessionStoreName`](crate::SessionStoreName).
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
pub struct Materialized<K, V, S = KeyValueKind> {
    name: Option<String>,
    /// Whether anything was asked for. Kafka Streams numbers later nodes differently if so, even without a name.
    is_given: bool,
    /// None: that of what the table is made of, or of its type.
    key_serde: Option<SerdeRef<K>>,
    value_serde: SerdeRef<V>,
    is_cached: bool,
    is_logged: bool,
    is_persistent: bool,
    ttl: Option<Duration>,
    history_retention: Option<Duration>,
    /// How long a window or session store keeps its rows, if not as long as its windows need.
    retention: Option<Duration>,
    changelog_config: BTreeMap<String, String>,
    kind: PhantomData<fn() -> S>,
}

/// What a window or session store must be able to do for the table it keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowsToStore {
    /// How long a window lasts; of a session store it says nothing.
    pub(crate) size: Duration,
    /// The shortest retention that may be asked for.
    pub(crate) least_retention: Duration,
    /// The shortest with which records that are in time find all that they belong to.
    pub(crate) needed_retention: Duration,
    /// Whether closed windows are looked for.
    pub(crate) found_by_time: bool,
}

impl WindowsToStore {
    pub(crate) fn new(size: Duration, least_retention: Duration, emit: EmitStrategy) -> Self {
        let found_by_time = emit == EmitStrategy::OnWindowClose;
        WindowsToStore { size, least_retention, needed_retention: least_retention, found_by_time }
    }

    pub(crate) fn needing(self, needed_retention: Duration) -> Self {
        WindowsToStore { needed_retention, ..self }
    }
}

impl<K: HasSerde, V: HasSerde, S> Materialized<K, V, S> {
    fn new(name: Option<String>) -> Self {
        Materialized {
            is_given: name.is_some(),
            name,
            key_serde: None,
            value_serde: V::default_serde(),
            is_cached: true,
            is_logged: true,
            is_persistent: true,
            ttl: None,
            history_retention: None,
            retention: None,
            changelog_config: BTreeMap::new(),
            kind: PhantomData,
        }
    }

    /// Uses this serde for keys, unless one was given.
    pub(crate) fn with_inherited_key_serde(self, inherited: Option<SerdeRef<K>>) -> Self {
        Materialized { key_serde: self.key_serde.or(inherited), ..self }
    }

    /// The serde of the keys.
    pub(crate) fn key_serde(&self) -> SerdeRef<K> {
        self.key_serde.clone().unwrap_or_else(K::default_serde)
    }

    /// How long rows are kept.
    ///
    /// # Panics
    /// When that is less than the windows need.
    #[track_caller]
    fn retention(&self, windows: WindowsToStore) -> Duration {
        let least = windows.least_retention;
        let retention = self.retention.unwrap_or(least);
        assert!(
            retention >= least,
            "store {} keeps its rows for {retention:?}, but its windows with their grace need {least:?}: give it a longer retention",
            self.name.as_deref().unwrap_or("without a name")
        );
        retention.max(windows.needed_retention)
    }
}

impl<K: HasSerde, V: HasSerde> Materialized<K, V> {
    /// As the store of a global table: its topic is its changelog, and each change is visible at once.
    pub(crate) fn into_global_plan(self) -> StorePlan {
        Materialized { is_logged: false, is_cached: false, ..self }.into_plan()
    }

    pub(crate) fn into_plan(self) -> StorePlan {
        let (name, is_given, key_serde) = (self.name.clone(), self.is_given, self.key_serde());
        let (history_retention, has_ttl) = (self.history_retention, self.ttl.is_some());
        let build = move |name: &str, logged_to: LoggedTo| -> Arc<dyn StoreBuilder> {
            let builder = KeyValueStoreBuilder::new(name, key_serde.clone(), self.value_serde.clone())
                .with_caching(self.is_cached)
                .with_logging(self.is_logged && logged_to == LoggedTo::OwnTopic);
            let builder = if self.is_persistent { builder } else { builder.in_memory() };
            let builder = match (self.ttl, self.history_retention) {
                (_, Some(retention)) => builder.versioned(retention),
                (Some(ttl), None) => builder.with_ttl(ttl),
                (None, None) => builder,
            };
            let with_config = self
                .changelog_config
                .iter()
                .fold(builder, |builder, (name, value)| builder.with_changelog_config(name, value));
            Arc::new(with_config)
        };
        StorePlan { name, is_given, history_retention, has_ttl, build: Box::new(build) }
    }
}

impl<K: HasSerde, V: HasSerde> Materialized<K, V, WindowKind> {
    #[track_caller]
    pub(crate) fn into_window_plan(self, windows: WindowsToStore) -> StorePlan {
        let (retention, size, key_serde) = (self.retention(windows), windows.size, self.key_serde());
        self.into_timed_plan(windows, move |name, value_serde| {
            WindowStoreBuilder::new(name, retention, size, key_serde.clone(), value_serde)
        })
    }
}

impl<K: HasSerde, V: HasSerde> Materialized<K, V, SessionKind> {
    #[track_caller]
    pub(crate) fn into_session_plan(self, windows: WindowsToStore) -> StorePlan {
        let (retention, key_serde) = (self.retention(windows), self.key_serde());
        self.into_timed_plan(windows, move |name, value_serde| {
            SessionStoreBuilder::new(name, retention, key_serde.clone(), value_serde)
        })
    }
}

impl<K: HasSerde, V: HasSerde, S: TimedKind> Materialized<K, V, S> {
    fn into_timed_plan(
        self,
        windows: WindowsToStore,
        builder: impl Fn(&str, SerdeRef<V>) -> TimedStoreBuilder<K, V, S> + 'static,
    ) -> StorePlan {
        let (name, is_given) = (self.name.clone(), self.is_given);
        let build = move |name: &str, _logged_to: LoggedTo| -> Arc<dyn StoreBuilder> {
            let builder = builder(name, self.value_serde.clone())
                .with_caching(self.is_cached)
                .with_logging(self.is_logged);
            let builder = if self.is_persistent { builder } else { builder.in_memory() };
            let builder = if windows.found_by_time { builder.found_by_time() } else { builder };
            let with_config = self
                .changelog_config
                .iter()
                .fold(builder, |builder, (name, value)| builder.with_changelog_config(name, value));
            Arc::new(with_config)
        };
        StorePlan { name, is_given, history_retention: None, has_ttl: false, build: Box::new(build) }
    }
}

impl<K: HasSerde, V: HasSerde, S> From<StoreName<K, V, S>> for Materialized<K, V, S> {
    fn from(store: StoreName<K, V, S>) -> Self {
        Materialized::new(Some(store.name().to_string()))
    }
}

impl<K: HasSerde, V: HasSerde, S> From<()> for Materialized<K, V, S> {
    fn from((): ()) -> Self {
        Materialized::new(None)
    }
}

/// What a table with keys `K` and values `V` can be kept in: the name of a store of these types and of the kind `S`, `()`, or either with
/// [options](StoreOptions).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no store for a table with keys `{K}` and values `{V}`, of the kind `{S}`",
    label = "a store of other types, or of another kind",
    note = "the constant that names a store has the types of the table: `StoreName<{K}, {V}>`; counts are `u64`",
    note = "a table in windows has a `WindowStoreName<{K}, {V}>`, one in sessions a `SessionStoreName<{K}, {V}>`",
    note = "a table that nobody asks for has a store with a generated name: `()`"
)]
pub trait StoreFor<K, V, S = KeyValueKind>: Into<Materialized<K, V, S>> {}

impl<K: HasSerde, V: HasSerde, S> StoreFor<K, V, S> for StoreName<K, V, S> {}

impl<K: HasSerde, V: HasSerde, S> StoreFor<K, V, S> for () {}

impl<K, V, S> StoreFor<K, V, S> for Materialized<K, V, S> {}

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
pub trait StoreOptions<K, V, S = KeyValueKind>: Into<Materialized<K, V, S>> {
    /// Keeps the store in memory only. It is restored from its changelog at every start, unless it is not logged either.
    fn in_memory(self) -> Materialized<K, V, S> {
        with(self, |store| store.is_persistent = false)
    }

    /// Sends every update downstream and to the changelog, instead of the newest for each key at commit.
    fn without_caching(self) -> Materialized<K, V, S> {
        with(self, |store| store.is_cached = false)
    }

    /// Keeps no changelog topic: what the store holds is lost with its directory, unless a table is restored from the topic it is read from
    /// ([`TopologyOptimization::reuse_ktable_source_topics`](crate::TopologyOptimization::reuse_ktable_source_topics)).
    fn without_logging(self) -> Materialized<K, V, S> {
        with(self, |store| store.is_logged = false)
    }

    /// Lets rows expire: a row whose event time is `ttl` behind the latest that the store has seen is seen by nobody, and deleted at the next
    /// commits, in the changelog and downstream, as of the time at which it expired.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const CARTS: StoreName<String, u64> = StoreName::new("items-in-cart");
    ///
    /// let builder = StreamsBuilder::new();
    /// let added = builder.stream::<String, String>("added-to-cart").group_by_key();
    /// added.count(CARTS.with_ttl(hours(1))).to_stream().to("carts");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let added = driver.input_topic::<String, String>("added-to-cart");
    /// added.pipe_input_at("ann", "apples", Timestamp::from_millis(0))?;
    /// added.pipe_input_at("bob", "pears", Timestamp::from_millis(3_600_000))?;
    /// let carts = driver.output_topic::<String, Option<u64>>("carts").read_key_values_to_list()?;
    /// assert_eq!(carts, [("ann".into(), Some(1)), ("bob".into(), Some(1)), ("ann".into(), None)]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    fn with_ttl(self, ttl: Duration) -> Materialized<K, V, S>
    where
        S: UntimedKind,
    {
        with(self, |store| store.ttl = Some(ttl))
    }

    /// Keeps the versions of each row, for so long (KIP-889): streams that are joined with the table find what was valid at their own
    /// event time, and queries can look back. Changes may come in any order; one that is older than the history retention is dropped and
    /// counted. What is older than a row's newest version goes to streams, but neither into joins of tables nor into `group_by`
    /// (KIP-914). Such a store has no caching; a global table cannot be versioned.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// const PRICES: StoreName<String, i64> = StoreName::new("prices");
    ///
    /// let builder = StreamsBuilder::new();
    /// let prices = builder.table::<String, i64>("prices").materialized(PRICES.versioned(hours(1)));
    /// let orders = builder.stream::<String, i64>("orders");
    /// orders.join(&prices, |quantity, price| quantity * price).to("order-values");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let (at, prices) = (Timestamp::from_millis, driver.input_topic::<String, i64>("prices"));
    /// prices.pipe_input_at("apples", 30, at(1_000))?;
    /// prices.pipe_input_at("apples", 40, at(9_000))?;
    /// driver.input_topic::<String, i64>("orders").pipe_input_at("apples", 2, at(5_000))?;
    /// let values = driver.output_topic::<String, i64>("order-values");
    /// assert_eq!(values.read_key_value()?, Some(("apples".into(), 60)));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "persistentVersionedKeyValueStore")]
    fn versioned(self, history_retention: Duration) -> Materialized<K, V, S>
    where
        S: UntimedKind,
    {
        with(self, |store| store.history_retention = Some(history_retention))
    }

    /// Sets a topic configuration of the changelog, such as `segment.ms`.
    fn with_changelog_config(self, name: &str, value: &str) -> Materialized<K, V, S> {
        with(self, |store| {
            store.changelog_config.insert(name.to_string(), value.to_string());
        })
    }

    /// Uses these serdes instead of those of the types. They fix the bytes on disk and in the changelog.
    fn with_serdes(self, key: SerdeRef<K>, value: SerdeRef<V>) -> Materialized<K, V, S> {
        with(self, |store| {
            store.key_serde = Some(key);
            store.value_serde = value;
        })
    }

    /// Uses this serde for the keys instead of that of the type.
    fn with_key_serde(self, key: SerdeRef<K>) -> Materialized<K, V, S> {
        with(self, |store| store.key_serde = Some(key))
    }

    /// Uses this serde for the values instead of that of the type.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use millstream::JsonSerde;
    /// use millstream::prelude::*;
    ///
    /// const STOCK: StoreName<String, i64> = StoreName::new("stock");
    ///
    /// let builder = StreamsBuilder::new();
    /// let movements = builder.stream::<String, i64>("stock-movements").group_by_key();
    /// movements.reduce(STOCK.with_value_serde(Arc::new(JsonSerde::new())), |a, b| a + b);
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    fn with_value_serde(self, value: SerdeRef<V>) -> Materialized<K, V, S> {
        with(self, |store| store.value_serde = value)
    }

    /// Keeps windows or sessions for this long in event time, so that they can be queried after they are closed. It must not be shorter than
    /// what they need by themselves, which is the default: a window's size and its grace, say.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// const PER_MINUTE: WindowStoreName<String, u64> = WindowStoreName::new("orders-per-minute");
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders").group_by_key();
    /// orders.windowed_by(TimeWindows::of_size_with_no_grace(minutes(1))).count(PER_MINUTE.with_retention(days(1)));
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    fn with_retention(self, retention: Duration) -> Materialized<K, V, S>
    where
        S: TimedKind,
    {
        with(self, |store| store.retention = Some(retention))
    }
}

/// The kind of store whose rows belong to a key and to no window: a key-value store.
pub trait UntimedKind {}

impl UntimedKind for KeyValueKind {}

fn with<K, V, S>(
    store: impl Into<Materialized<K, V, S>>,
    change: impl FnOnce(&mut Materialized<K, V, S>),
) -> Materialized<K, V, S> {
    let mut store = store.into();
    store.is_given = true;
    change(&mut store);
    store
}

impl<K, V, S, T: Into<Materialized<K, V, S>>> StoreOptions<K, V, S> for T {}

/// A [`Materialized`] with its types erased, as the logical graph keeps it.
pub(crate) struct StorePlan {
    pub(crate) name: Option<String>,
    pub(crate) is_given: bool,
    /// For how long a versioned store knows older versions.
    pub(crate) history_retention: Option<Duration>,
    pub(crate) has_ttl: bool,
    pub(crate) build: BuildStore,
}

impl StorePlan {
    /// Whether the rows of a table's store follow from each record by itself.
    pub(crate) fn has_rows_of_records(&self) -> bool {
        self.history_retention.is_none() && !self.has_ttl
    }

    /// Refuses what no store can be.
    ///
    /// # Errors
    /// `Invalid`, with the remedy.
    pub(crate) fn check(&self) -> Result<()> {
        if !(self.history_retention.is_some() && self.has_ttl) {
            return Ok(());
        }
        let name = self.name.as_deref().unwrap_or("without a name");
        Err(Error::invalid(format!(
            "store {name} is versioned and has a time to live: a versioned store forgets by its history retention, so leave \
             `with_ttl` out"
        )))
    }
}

/// Makes a store's builder, once the store has its name.
type BuildStore = Box<dyn Fn(&str, LoggedTo) -> Arc<dyn StoreBuilder>>;

/// What a store is restored from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoggedTo {
    /// Its changelog topic, if it is logged.
    OwnTopic,
    /// The topic that a table is read from, which has all of its rows.
    SourceTopic,
}
