//! Why a query has no answer.

use millstream_state_stores::{SerdeError, StoreError, TaskId};

use crate::error::{Error, ErrorKind};

/// Why a query has no answer, and what the caller can do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The topology has no such store.
    #[error("there is no store {store}: the topology has {known}")]
    UnknownStore {
        /// The store asked for.
        store: String,
        /// The stores there are.
        known: String,
    },
    /// The store holds other types than the name says.
    #[error("store {store} is {found}, asked for as {asked}")]
    WrongType {
        /// The store asked for.
        store: String,
        /// Key and value types asked for.
        asked: &'static str,
        /// Key and value types it holds.
        found: String,
    },
    /// The store's task restores its state. Ask again once the application runs.
    #[error("store {store} is restoring in task {task}: ask again in a moment")]
    Restoring {
        /// The store asked for.
        store: String,
        /// The task that restores.
        task: TaskId,
    },
    /// This instance does not own what was asked for: another one does, or the group is rebalancing.
    #[error(
        "store {store} has partition {partition} elsewhere or in rebalance: ask its owner, or again in a moment"
    )]
    NotHere {
        /// The store asked for.
        store: String,
        /// The partition that would have the answer.
        partition: i32,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stored bytes do not fit the store's types, or the asked key cannot be encoded.
    #[error(transparent)]
    Serde(#[from] SerdeError),
}

impl QueryError {
    /// Whether the same query may succeed a little later.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            QueryError::Restoring { .. }
                | QueryError::NotHere { .. }
                | QueryError::Store(StoreError::Closed { .. })
        )
    }
}

impl From<QueryError> for Error {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Store(error) => error.into(),
            QueryError::Serde(error) => error.into(),
            passing if passing.may_pass() => {
                Error::new(ErrorKind::Retry, "the query has no answer yet").with_source(passing)
            }
            wrong => Error::invalid("the query cannot be answered").with_source(wrong),
        }
    }
}
