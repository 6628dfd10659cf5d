//! Interactive queries: committed state, read from any thread, beside the processing loop and never through it.

mod counts;
mod error;
mod handle;
mod registry;
mod row_serdes;
mod timed;
mod versioned;
mod view;

pub use error::QueryError;
pub use handle::{ReadOnlyKeyValueStore, Rows};
pub(crate) use registry::{StoreOwner, StoreRegistry, StoreStatus};
pub use timed::{ReadOnlySessionStore, ReadOnlyWindowStore};
pub(crate) use timed::{TimedEntry, TimedView};
pub use versioned::ReadOnlyVersionedStore;
pub use view::{StoreEntry, StoreView};
