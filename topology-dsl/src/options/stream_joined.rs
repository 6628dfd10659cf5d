//! How the stores of a join of two streams are kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_processor::{
    HasSerde, KeyValueStoreBuilder, LeftOrRightValue, LeftOrRightValueSerde, ListSerde, SerdeRef,
    StoreBuilder, WindowStoreBuilder,
};

use crate::windows::JoinWindows;

/// Options of the stores of a join of two streams (Kafka Streams' `StreamJoined`): one for the records of each stream, and one for those
/// that wait for a record of the other. A string is the name.
///
/// ```
/// use millstream::prelude::*;
///
/// let builder = StreamsBuilder::new();
/// let payments = builder.stream::<String, i64>("payments");
/// let orders = builder.stream::<String, i64>("orders").within(minutes(5));
/// orders.stored(StreamJoined::named("paid").in_memory()).join(&payments, |order, paid| paid - order).to("missing");
///
/// let topology = builder.build()?;
/// let names: Vec<&str> = topology.stores().map(|store| store.name()).collect();
/// assert_eq!(names, ["paid-this-join-store", "paid-other-join-store"]);
/// # Ok::<(), millstream::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamJoined {
    pub(crate) store_name: Option<String>,
    is_logged: bool,
    is_persistent: bool,
    changelog_config: BTreeMap<String, String>,
}

impl StreamJoined {
    /// Names the stores, and so their changelog topics: `<name>-this-join-store` and `<name>-other-join-store`, and others in left and outer
    /// joins. Without it the names have numbers, which change when operators are added above.
    #[doc(alias = "withStoreName")]
    pub fn named(store_name: impl Into<String>) -> Self {
        StreamJoined { store_name: Some(store_name.into()), ..StreamJoined::default() }
    }

    /// Keeps the stores in memory only. They are restored from their changelogs at every start, unless they are not logged either.
    #[must_use]
    pub fn in_memory(self) -> Self {
        StreamJoined { is_persistent: false, ..self }
    }

    /// Keeps no changelog topics: what the stores hold is lost with their directory.
    #[doc(alias = "withLoggingDisabled")]
    #[must_use]
    pub fn without_logging(self) -> Self {
        StreamJoined { is_logged: false, ..self }
    }

    /// Sets a topic configuration of the changelogs, such as `segment.ms`.
    #[doc(alias = "withLoggingEnabled")]
    #[must_use]
    pub fn with_changelog_config(mut self, name: &str, value: &str) -> Self {
        self.changelog_config.insert(name.to_string(), value.to_string());
        self
    }

    /// The store of one stream's records.
    pub(crate) fn window_store<K: HasSerde, V: HasSerde>(
        &self,
        name: &str,
        windows: JoinWindows,
        key_serde: SerdeRef<K>,
    ) -> Arc<dyn StoreBuilder> {
        let (size, retention) = (windows.size(), windows.size().saturating_add(windows.grace()));
        let store = WindowStoreBuilder::new(name, retention, size, key_serde, V::default_serde())
            .retaining_duplicates()
            .with_logging(self.is_logged);
        let store = if self.is_persistent { store } else { store.in_memory() };
        let config = self.changelog_config.iter();
        Arc::new(config.fold(store, |store, (name, value)| store.with_changelog_config(name, value)))
    }

    /// The store of the records of both streams that wait for one of the other. Its keys are laid out by
    /// [`begin_waiting_key`](millstream_processor::begin_waiting_key).
    pub(crate) fn waiting_store<L: HasSerde, R: HasSerde>(&self, name: &str) -> Arc<dyn StoreBuilder> {
        let either: SerdeRef<LeftOrRightValue<L, R>> =
            Arc::new(LeftOrRightValueSerde::new(L::default_serde(), R::default_serde()));
        let store = KeyValueStoreBuilder::new(name, Vec::<u8>::serde(), Arc::new(ListSerde::new(either)))
            .with_logging(self.is_logged);
        let store = if self.is_persistent { store } else { store.in_memory() };
        let config = self.changelog_config.iter();
        Arc::new(config.fold(store, |store, (name, value)| store.with_changelog_config(name, value)))
    }
}

impl Default for StreamJoined {
    fn default() -> Self {
        StreamJoined {
            store_name: None,
            is_logged: true,
            is_persistent: true,
            changelog_config: BTreeMap::new(),
        }
    }
}

impl From<&str> for StreamJoined {
    fn from(store_name: &str) -> Self {
        StreamJoined::named(store_name)
    }
}
