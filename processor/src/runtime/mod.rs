//! Runs a topology: threads with a consumer, a producer and tasks each; their life from start to a clean end.

mod app;
mod checkpoint;
mod commit;
mod internal_topics;
mod life;
mod purge;
mod restore;
mod shared;
mod snapshot;
mod state;
mod thread;

pub use crate::step::{Step, StepListener};
pub use app::{AppBuilder, Streams};
pub use life::ThreadFailureResponse;
pub use restore::{RestoreListener, RestoreProgress};
pub(crate) use shared::Shared;
#[cfg(test)]
pub(crate) use shared::{ApplicationTopics, SharedParts};
pub use snapshot::{PartitionSnapshot, TaskSnapshot, ThreadSnapshot, TimeSpent};
pub use state::{ClientState, ThreadState};
#[cfg(test)]
pub(crate) use thread::StreamThread;
