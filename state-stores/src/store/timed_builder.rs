//! What a topology says about a window or session store.

use std::any::{Any, type_name};
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::options::{StoreKind, StoreOptions, store_options};
use super::timed::TimedStore;
use super::{BuiltStore, SessionStore, StoreParts, WindowStore, millis};
use crate::expiry::Expiry;
use crate::format::{TimedKeys, TimedLayout};
use crate::layer::{Beside, RowNumbers, TimedRows};
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
    options: StoreOptions<K, V>,
    layout: TimedLayout,
    retains_duplicates: bool,
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
            rows_are_unique: false,
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
            rows_are_unique: false,
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
        let options = StoreOptions::new(name, key_serde, value_serde);
        Self { options, layout, retains_duplicates: false, kind: PhantomData }
    }

    /// How keys carry time and how long rows are kept.
    pub fn layout(&self) -> TimedLayout {
        // Without a changelog, nobody knows which numbers were given when the store was open before.
        let rows_are_unique = self.retains_duplicates && self.options.is_logged;
        TimedLayout { rows_are_unique, ..self.layout }
    }

    store_options!();

    /// Lets rows be found by time, whatever their keys: each row is noted twice.
    #[must_use]
    pub fn found_by_time(mut self) -> Self {
        self.layout.is_indexed = true;
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

impl<K: Clone + 'static, V: Clone + 'static, S: TimedKind> StoreKind for TimedStoreBuilder<K, V, S> {
    type Key = K;
    type Value = V;

    fn kind(&self) -> &'static str {
        S::NAME
    }

    fn options(&self) -> &StoreOptions<K, V> {
        &self.options
    }

    fn with_options(&self, options: StoreOptions<K, V>) -> Self {
        Self { options, layout: self.layout, retains_duplicates: self.retains_duplicates, kind: PhantomData }
    }

    fn timed(&self) -> Option<TimedLayout> {
        Some(self.layout())
    }

    /// The key with its window.
    fn key_to_json(&self, row_key: &[u8]) -> Result<serde_json::Value, SerdeError> {
        let Some((key, window)) = self.layout.split_row(row_key) else {
            let reason = format!("{} bytes are no key and window", row_key.len());
            return Err(SerdeError::InvalidValue { type_name: type_name::<K>(), reason });
        };
        Ok(windowed_json(self.options.key_serde.to_json(key)?, window.start, window.end))
    }

    fn build(&self, parts: StoreParts) -> BuiltStore {
        // Whoever opens a store gives it the stream time of its own kind of rows.
        let expiry = parts.expiry.clone().unwrap_or_else(|| Arc::new(Expiry::new(self.layout())));
        let numbers = self.retains_duplicates.then(|| RowNumbers::behind(parts.logged_to));
        let beside = self.layout.is_indexed.then(|| Beside::new(Arc::clone(&expiry)));
        let rows = TimedRows::new(self.options.rows(parts, 1, beside), expiry, numbers);
        let rows = Rc::new(RefCell::new(rows));
        let typed =
            TimedStore::new(self.options.keys(), self.options.is_cached, self.layout(), Rc::clone(&rows));
        let handle: Box<dyn Any> = match self.layout.keys {
            TimedKeys::Window => Box::new(WindowStore::new(typed, self.retains_duplicates)),
            TimedKeys::Session => Box::new(SessionStore::new(typed)),
        };
        BuiltStore { rows, handle, companion: None }
    }
}

impl<K, V, S> fmt::Debug for TimedStoreBuilder<K, V, S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = formatter.debug_struct("TimedStoreBuilder");
        out.field("name", &self.options.name).field("layout", &self.layout);
        self.options.debug_flags(&mut out).finish_non_exhaustive()
    }
}
