//! How often each kind of query was asked, counted by whoever asks and read by metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a query asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueryKind {
    /// One key.
    Get,
    /// The keys between two bounds.
    Range,
    /// Every key.
    All,
    /// The keys that begin alike.
    Prefix,
    /// About how many keys there are.
    Count,
}

impl QueryKind {
    pub(crate) const ALL: [QueryKind; 5] =
        [QueryKind::Get, QueryKind::Range, QueryKind::All, QueryKind::Prefix, QueryKind::Count];

    /// Lower-case name, as in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            QueryKind::Get => "get",
            QueryKind::Range => "range",
            QueryKind::All => "all",
            QueryKind::Prefix => "prefix",
            QueryKind::Count => "count",
        }
    }
}

/// The queries of one store.
#[derive(Debug, Default)]
pub(crate) struct QueryCounts {
    by_kind: [AtomicU64; QueryKind::ALL.len()],
}

impl QueryCounts {
    pub(crate) fn add(&self, kind: QueryKind) {
        self.by_kind[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn of(&self, kind: QueryKind) -> u64 {
        self.by_kind[kind as usize].load(Ordering::Relaxed)
    }
}
