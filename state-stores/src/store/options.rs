//! What is said about a store of any kind: its name, its serdes, and how it behaves.

use std::any::{Any, type_name};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::keys::StoreKeys;
use super::{BuiltStore, Companion, StoreBuilder, StoreParts, StoreTypes};
use crate::format::TimedLayout;
use crate::layer::{Beside, CachedRows, StoreIdentity};
use crate::serde::{ApplicationSerdes, RecordPart, SerdeError, SerdePlace, SerdeRef};
use crate::types::StoreIndex;

/// The part of a description that all kinds of stores have.
pub(super) struct StoreOptions<K, V> {
    pub(super) name: String,
    pub(super) key_serde: SerdeRef<K>,
    pub(super) value_serde: SerdeRef<V>,
    pub(super) is_cached: bool,
    pub(super) is_logged: bool,
    pub(super) is_persistent: bool,
    pub(super) changelog_config: BTreeMap<String, String>,
    pub(super) changelog_header: Option<(&'static str, &'static [u8])>,
}

impl<K, V> StoreOptions<K, V> {
    /// Of a store on disk, logged and cached.
    pub(super) fn new(name: impl Into<String>, key_serde: SerdeRef<K>, value_serde: SerdeRef<V>) -> Self {
        Self {
            name: name.into(),
            key_serde,
            value_serde,
            is_cached: true,
            is_logged: true,
            is_persistent: true,
            changelog_config: BTreeMap::new(),
            changelog_header: None,
        }
    }

    /// The same with the serdes of a place.
    fn in_place(&self, topic: &str, serdes: &ApplicationSerdes) -> Result<Self, SerdeError> {
        let place = |part| SerdePlace::new(topic, part, serdes);
        Ok(Self {
            name: self.name.clone(),
            key_serde: place(RecordPart::Key).bind(&self.key_serde)?,
            value_serde: place(RecordPart::Value).bind(&self.value_serde)?,
            changelog_config: self.changelog_config.clone(),
            ..*self
        })
    }

    pub(super) fn keys(&self) -> StoreKeys<K> {
        StoreKeys::new(self.name.clone(), Arc::clone(&self.key_serde))
    }

    /// The rows of the store for one task. Of their keys, the changelog has what comes after the first `unlogged_key_bytes`.
    pub(super) fn rows(
        &self,
        parts: StoreParts,
        unlogged_key_bytes: usize,
        beside: Option<Beside>,
    ) -> CachedRows<V>
    where
        V: Clone,
    {
        let StoreParts { store, context, table, .. } = parts;
        let identity = StoreIdentity { unlogged_key_bytes, ..self.identity(store) };
        table.rows(identity, Arc::clone(&self.value_serde), &context, beside)
    }

    /// That of a table whose keys the changelog has as they are.
    pub(super) fn identity(&self, store: StoreIndex) -> StoreIdentity {
        let (name, is_logged, is_cached) = (self.name.clone(), self.is_logged, self.is_cached);
        StoreIdentity { store, name, is_logged, is_cached, unlogged_key_bytes: 0 }
    }

    /// Shows how the store behaves.
    pub(super) fn debug_flags<'out, 'a, 'b>(
        &self,
        out: &'out mut fmt::DebugStruct<'a, 'b>,
    ) -> &'out mut fmt::DebugStruct<'a, 'b> {
        out.field("is_cached", &self.is_cached)
            .field("is_logged", &self.is_logged)
            .field("is_persistent", &self.is_persistent)
    }
}

/// The methods that all builders have, of those with a field `options`.
macro_rules! store_options {
    () => {
        /// The serde of the keys.
        pub fn key_serde(&self) -> &SerdeRef<K> {
            &self.options.key_serde
        }

        /// The serde of the values.
        pub fn value_serde(&self) -> &SerdeRef<V> {
            &self.options.value_serde
        }

        /// Whether changes are logged and emitted at commit, the newest per row (the default), or one by one.
        #[must_use]
        pub fn with_caching(mut self, is_cached: bool) -> Self {
            self.options.is_cached = is_cached;
            self
        }

        /// Whether changes go to a changelog topic (the default). Without one, the rows are gone when the disk is.
        #[must_use]
        pub fn with_logging(mut self, is_logged: bool) -> Self {
            self.options.is_logged = is_logged;
            self
        }

        /// Keeps the rows in memory only, to be rebuilt from the changelog at every start.
        #[must_use]
        pub fn in_memory(mut self) -> Self {
            self.options.is_persistent = false;
            self
        }

        /// A setting for the changelog topic, such as `segment.bytes`.
        #[must_use]
        pub fn with_changelog_config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
            self.options.changelog_config.insert(name.into(), value.into());
            self
        }
    };
}
pub(super) use store_options;

/// What a kind of store adds to [`StoreOptions`]; with both it is a [`StoreBuilder`].
pub(super) trait StoreKind: Sized + Send + Sync + 'static {
    type Key: 'static;
    type Value: 'static;

    /// The name of the kind.
    fn kind(&self) -> &'static str;

    fn options(&self) -> &StoreOptions<Self::Key, Self::Value>;

    /// The same kind of store with other options.
    fn with_options(&self, options: StoreOptions<Self::Key, Self::Value>) -> Self;

    /// How keys carry time, if they do.
    fn timed(&self) -> Option<TimedLayout>;

    /// What the store keeps besides its own rows, if anything.
    fn companion(&self) -> Option<Companion> {
        None
    }

    /// The key of a row as JSON.
    fn key_to_json(&self, row_key: &[u8]) -> Result<serde_json::Value, SerdeError>;

    fn build(&self, parts: StoreParts) -> BuiltStore;
}

impl<S: StoreKind> StoreBuilder for S {
    fn name(&self) -> &str {
        &self.options().name
    }

    fn is_logged(&self) -> bool {
        self.options().is_logged
    }

    fn is_cached(&self) -> bool {
        self.options().is_cached
    }

    fn is_persistent(&self) -> bool {
        self.options().is_persistent
    }

    fn changelog_config(&self) -> &BTreeMap<String, String> {
        &self.options().changelog_config
    }

    fn changelog_header(&self) -> Option<(&'static str, &'static [u8])> {
        self.options().changelog_header
    }

    fn companion(&self) -> Option<Companion> {
        StoreKind::companion(self)
    }

    fn types(&self) -> StoreTypes {
        StoreTypes { kind: self.kind(), key: type_name::<S::Key>(), value: type_name::<S::Value>() }
    }

    fn timed(&self) -> Option<TimedLayout> {
        StoreKind::timed(self)
    }

    fn key_from_text(&self, text: &str) -> Result<Vec<u8>, SerdeError> {
        let mut bytes = Vec::new();
        self.options().key_serde.key_from_text(text, &mut bytes)?;
        Ok(bytes)
    }

    fn key_to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        StoreKind::key_to_json(self, bytes)
    }

    fn value_to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        self.options().value_serde.to_json(bytes)
    }

    fn in_place(&self, topic: &str, serdes: &ApplicationSerdes) -> Result<Arc<dyn StoreBuilder>, SerdeError> {
        Ok(Arc::new(self.with_options(self.options().in_place(topic, serdes)?)))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn build(&self, parts: StoreParts) -> BuiltStore {
        StoreKind::build(self, parts)
    }
}
