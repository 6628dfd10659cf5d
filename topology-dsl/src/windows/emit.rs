//! When a windowed table sends its rows on.

/// When a windowed aggregation emits (Kafka Streams' class of the same name, KIP-825).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmitStrategy {
    /// With each change of a window, as [`StoreOptions::without_caching`](crate::StoreOptions::without_caching) says.
    #[default]
    OnWindowUpdate,
    /// Once for each window, when it is closed and cannot change any more.
    OnWindowClose,
}

impl EmitStrategy {
    /// With each change of a window.
    #[doc(alias = "onWindowUpdate")]
    pub const fn on_window_update() -> Self {
        EmitStrategy::OnWindowUpdate
    }

    /// Once for each window, when it is closed.
    #[doc(alias = "onWindowClose")]
    pub const fn on_window_close() -> Self {
        EmitStrategy::OnWindowClose
    }
}
