//! Runs a topology: threads with a consumer, a producer and tasks each; their life from start to a clean end.

mod app;
mod checkpoint;
mod cleanup;
mod commit;
mod global;
mod internal_topics;
mod life;
mod pending;
mod program;
mod purge;
mod roster;
mod shared;
mod shutdown_request;
mod snapshot;
mod state;
mod state_updater;
mod thread;
mod topic_watch;

pub use crate::step::{Step, StepListener};
pub use app::{AppBuilder, Streams};
pub(crate) use internal_topics::ensure_compacted_topic;
pub use life::ThreadFailureResponse;
#[cfg(test)]
pub(crate) use life::{Life, ThreadFailureHandler};
#[cfg(test)]
pub(crate) use program::ApplicationTopics;
#[cfg(test)]
pub(crate) use roster::ThreadPlace;
pub(crate) use shared::Shared;
#[cfg(test)]
pub(crate) use shared::{SharedParts, StopSignal};
#[cfg(test)]
pub(crate) use shutdown_request::ShutdownRequest;
pub use snapshot::{PartitionSnapshot, TaskSnapshot, ThreadSnapshot, TimeSpent};
pub use state::{ClientState, ThreadState};
#[cfg(test)]
pub(crate) use state_updater::{GroupView, Placement, UpdaterLoop};
pub use state_updater::{RestoreListener, RestoreProgress, UpdaterSnapshot};
#[cfg(test)]
pub(crate) use thread::StreamThread;
