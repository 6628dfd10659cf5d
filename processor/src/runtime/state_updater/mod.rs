//! The state updater: what makes the stores of tasks complete, away from the stream threads, which go on with their other tasks.
//!
//! One per instance, on a thread of its own. A stream thread that is assigned a task asks for its stores and gets them back,
//! complete and open, when they are; it may take the wish back at any time. While they are here nobody else has them, and ownership
//! moves by value, through channels. It opens the stores, too, because it may have them open already: it also follows
//! the changelogs of tasks that run on other instances, its *standbys*, and hands such a copy over when the task comes here.
//!
//! ```text
//! stream thread                                state updater
//!   restore(task) ───────── Restore ─────────>   open ─> find out what is missing ─> read it
//!   (runs its other tasks)                                                            │
//!   next() <─────────────── Reply ────────────────────────────────────── complete ────┘
//!   cancel(ticket) ──────── Cancel ──────────>   closed as they are
//! ```
//! Nothing here knows which tasks are to run: the group decides that, and the stream threads carry it out. Where standbys belong,
//! each instance works out for itself from a look at the group (`placement`). The same look shows whether an instance asks all of them to end
//! (`runtime::shutdown_request`).

mod decide;
mod group_watch;
mod left_out;
mod placement;
mod progress;
mod reader;
mod requests;
mod standbys;
mod task;
mod worker;

pub(in crate::runtime) use decide::{LogFacts, RebuildReason, RestoreDecision, decide};
pub(crate) use group_watch::{GroupView, group_view};
#[cfg(test)]
pub(crate) use placement::Placement;
pub(crate) use placement::client_id;
pub use progress::{RestoreListener, RestoreProgress, UpdaterSnapshot};
pub(crate) use requests::{RestoreDesk, Restored, StateUpdater, Ticket};
#[cfg(test)]
pub(crate) use worker::UpdaterLoop;
pub(crate) use worker::run;
