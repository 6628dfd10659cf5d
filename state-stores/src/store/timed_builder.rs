//! What a topology says about a window or session store.

use std::any::{Any, type_name};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::timed::TimedStore;
use super::{BuiltStore, SessionStore, StoreBuilder, StoreParts, StoreTypes, WindowStore, millis};
use crate::expiry::Expiry;
use crate::format::{TimedKeys, TimedLayout};
use crate::layer::{Beside, CachedRows, StoreIdentity, TimedRows};
use crate::serde::{SerdeError, SerdeRef, windowed_json};
use crate::types::{SessionKind, WindowKind};

/// Describes a window store.
///
/// ```
/// use millstream_state_stores::{HasSerde, StoreBuilder, WindowStoreBuilder};
/// use std::time::Duration;
///
/// let minute = Duration::from_secs(60);
/// let per_minute = WindowStoreBuilder::new("per-minute", 60 * minute, minute, String::serde(), u64::serde())
///     .with_caching(false);
/// assert!(per_minute.is_logged() && !per_minute.is_cached());
/// ```
pub type WindowStoreBuilder<K, V> = TimedStoreBuilder<K, V, WindowKind>;

/// Describes a session store.
///
/// ```
/// use millstream_state_stores::{HasSerde, SessionStoreBuilder, StoreBuilder};
/// use std::time::Duration;
///
/// let hour = Duration::from_secs(3_600);
/// let visits = SessionStoreBuilder::new("visits", hour, String::serde(), u64::serde()).in_memory();
/// assert!(visits.is_logged() && !visits.is_persistent());
/// ```
pub type SessionStoreBuilder<K, V> = TimedStoreBuilder<K, V, SessionKind>;

/// Describes a store whose rows belong to a key and a time, and are kept for a while.
pub struct TimedStoreBuilder<K, V, S> {
    name: String,
    layout: TimedLayout,
    key_serde: SerdeRef<K>,
    value_serde: SerdeRef<V>,
    is_cached: bool,
    is_logged: bool,
    is_persistent: bool,
    retains_duplicates: bool,
    changelog_config: BTreeMap<String, String>,
    kind: PhantomData<fn() -> S>,
}

impl<K, V> WindowStoreBuilder<K, V> {
    /// A store on disk, logged and cached, of windows that last `window_size`. Its rows are kept for `retention`, in event time, and for
    /// `window_size` at least.
    pub fn new(
        name: impl Into<String>,
        retention: Duration,
        window_size: Duration,
        key_serde: SerdeRef<K>,
        value_serde: SerdeRef<V>,
    ) -> Self {
        let (size, retention) = (millis(window_size), millis(retention));
        let layout = TimedLayout {
            keys: TimedKeys::Window,
            retention: retention.max(size),
            window_size: size,
            is_indexed: false,
        };
        Self::with_layout(name, layout, key_serde, value_serde)
    }

    /// Makes each row that is put one of its own: none replaces another, and nulls are ignored.
    #[must_use]
    pub fn retaining_duplicates(mut self) -> Self {
        self.retains_duplicates = true;
        self
    }
}

impl<K, V> SessionStoreBuilder<K, V> {
    /// A store on disk, logged and cached. Its sessions are kept for `retention`, in event time.
    pub fn new(
        name: impl Into<String>,
        retention: Duration,
        key_serde: SerdeRef<K>,
        value_serde: SerdeRef<V>,
    ) -> Self {
        let layout = TimedLayout {
            keys: TimedKeys::Session,
            retention: millis(retention),
            window_size: 0,
            is_indexed: false,
        };
        Self::with_layout(name, layout, key_serde, value_serde)
    }
}

impl<K, V, S> TimedStoreBuilder<K, V, S> {
    fn with_layout(
        name: impl Into<String>,
        layout: TimedLayout,
        key_serde: SerdeRef<K>,
        value_serde: SerdeRef<V>,
    ) -> Self {
        Self {
            name: name.into(),
            layout,
            key_serde,
            value_serde,
            is_cached: true,
            is_logged: true,
            is_persistent: true,
            retains_duplicates: false,
            changelog_config: BTreeMap::new(),
            kind: PhantomData,
        }
    }

    /// How keys carry time and how long rows are kept.
    pub fn layout(&self) -> TimedLayout {
        self.layout
    }

    /// The serde of the keys.
    pub fn key_serde(&self) -> &SerdeRef<K> {
        &self.key_serde
    }

    /// The serde of the values.
    pub fn value_serde(&self) -> &SerdeRef<V> {
        &self.value_serde
    }

    /// Lets rows be found by time, whatever their keys: each row is noted twice.
    #[must_use]
    pub fn found_by_time(mut self) -> Self {
        self.layout.is_indexed = true;
        self
    }

    /// Whether changes are logged and emitted at commit, the newest per row (the default), or one by one.
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

/// A kind of store whose rows belong to a key and a time: [`WindowKind`] or [`SessionKind`].
pub trait TimedKind: sealed::Sealed + 'static {
    /// The name of the kind.
    const NAME: &'static str;
}

impl TimedKind for WindowKind {
    const NAME: &'static str = "window";
}

impl TimedKind for SessionKind {
    const NAME: &'static str = "session";
}

mod sealed {
    use super::{SessionKind, WindowKind};

    pub trait Sealed {}
    impl Sealed for WindowKind {}
    impl Sealed for SessionKind {}
}

impl<K: Clone + 'static, V: Clone + 'static, S: TimedKind> StoreBuilder for TimedStoreBuilder<K, V, S> {
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
        StoreTypes { kind: S::NAME, key: type_name::<K>(), value: type_name::<V>() }
    }

    fn timed(&self) -> Option<TimedLayout> {
        Some(self.layout)
    }

    /// The bytes of the key alone, without a window.
    fn key_from_text(&self, text: &str) -> Result<Vec<u8>, SerdeError> {
        let mut bytes = Vec::new();
        self.key_serde.key_from_text(text, &mut bytes)?;
        Ok(bytes)
    }

    /// The key of a row with its window.
    fn key_to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        let Some((key, window)) = self.layout.split_row(bytes) else {
            let reason = format!("{} bytes are no key and window", bytes.len());
            return Err(SerdeError::InvalidValue { type_name: type_name::<K>(), reason });
        };
        Ok(windowed_json(self.key_serde.to_json(key)?, window.start, window.end))
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
            unlogged_key_bytes: 1,
        };
        // Whoever opens a store gives it the stream time of its own kind of rows.
        let expiry = parts.expiry.unwrap_or_else(|| Arc::new(Expiry::new(self.layout)));
        let rows = CachedRows::new(
            identity,
            Arc::clone(&self.value_serde),
            parts.context,
            parts.table.committed,
            parts.table.memory,
            self.layout.is_indexed.then(|| Beside::new(Arc::clone(&expiry))),
        );
        let rows = Rc::new(RefCell::new(TimedRows::new(rows, expiry)));
        let key_serde = Arc::clone(&self.key_serde);
        let typed =
            TimedStore::new(&self.name, self.is_cached, self.layout.keys, key_serde, Rc::clone(&rows));
        // Numbers go on where the changelog ends, which has a record of each row: so none is given twice.
        let last_number = parts.logged_to.map_or(0, |next| (next.get() & i64::from(i32::MAX)) as u32);
        let numbers = self.retains_duplicates.then_some(last_number);
        let handle: Box<dyn Any> = match self.layout.keys {
            TimedKeys::Window => Box::new(WindowStore::new(typed, self.layout, numbers)),
            TimedKeys::Session => Box::new(SessionStore::new(typed, self.layout)),
        };
        BuiltStore { rows, handle, companion: None }
    }
}

impl<K, V, S> fmt::Debug for TimedStoreBuilder<K, V, S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TimedStoreBuilder")
            .field("name", &self.name)
            .field("layout", &self.layout)
            .field("is_cached", &self.is_cached)
            .field("is_logged", &self.is_logged)
            .field("is_persistent", &self.is_persistent)
            .finish_non_exhaustive()
    }
}
