//! The only place that lays out bytes and builds the names under which others find them.
//!
//! `docs/formats.md` states every layout; the tests here hold it to literal bytes. Nothing here does I/O.

pub(crate) mod metadata;
pub(crate) mod row;

mod change;
mod partition;
mod timed;
mod topics;

pub use change::ChangeSerde;
pub use partition::{murmur2, partition_for_key};
pub use timed::TimedLayout;
pub(crate) use timed::{MARK_KEY, RowId, TimedKeys};
pub use topics::{changelog_topic, repartition_topic};
