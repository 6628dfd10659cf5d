//! The states of an application and of its threads, drawn and enforced.

use std::fmt;

/// Where an application instance is in its life, as in Kafka Streams.
///
/// ```text
///                +-------------+      +---------+
///   Created ---->| Rebalancing |<---->| Running |
///      |         +--+-------+--+      +-+-----+-+
///      |            |       |           |     |
///      |            v       +-----------|---+ |
///      |   +-----------------+ <--------+   | |
///      +-->| PendingShutdown |              | |
///      |   +--------+------+-+              | |
///      |            v      |                v v
///      |      NotRunning   +------------->+-------+
///      +--------------------------------->| Error |
///                                         +-------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientState {
    /// Not started.
    Created,
    /// Joining the group, or restoring the state of tasks it was given.
    Rebalancing,
    /// Every thread processes its tasks.
    Running,
    /// Closing: the last commits and checkpoints are made, the group is left.
    PendingShutdown,
    /// Closed.
    NotRunning,
    /// A thread failed, or another instance asked all of them to end, and the instance has stopped. The error is what [`Streams::close`](crate::Streams::close) returns.
    Error,
}

impl ClientState {
    /// All states, in order of life.
    pub const ALL: [ClientState; 6] = [
        ClientState::Created,
        ClientState::Rebalancing,
        ClientState::Running,
        ClientState::PendingShutdown,
        ClientState::NotRunning,
        ClientState::Error,
    ];

    /// Lower-case name, as in metrics and over HTTP.
    pub fn name(self) -> &'static str {
        match self {
            ClientState::Created => "created",
            ClientState::Rebalancing => "rebalancing",
            ClientState::Running => "running",
            ClientState::PendingShutdown => "pending_shutdown",
            ClientState::NotRunning => "not_running",
            ClientState::Error => "error",
        }
    }

    /// Whether the instance has ended, or is about to.
    pub(super) fn is_ending(self) -> bool {
        !matches!(self, ClientState::Created | ClientState::Rebalancing | ClientState::Running)
    }

    /// Whether the diagram has an arrow from this state to `next`.
    pub fn can_become(self, next: ClientState) -> bool {
        use ClientState::{Created, Error, NotRunning, PendingShutdown, Rebalancing, Running};
        match self {
            Created => matches!(next, Rebalancing | PendingShutdown | Error),
            Rebalancing => matches!(next, Running | PendingShutdown | Error),
            Running => matches!(next, Rebalancing | PendingShutdown | Error),
            PendingShutdown => matches!(next, NotRunning | Error),
            NotRunning | Error => false,
        }
    }

    /// The state that follows from those of the threads while nothing else is going on.
    pub(crate) fn of_threads(threads: &[ThreadState]) -> ClientState {
        if threads.contains(&ThreadState::Failed) {
            ClientState::Error
        } else if threads.iter().all(|thread| *thread == ThreadState::Running) {
            ClientState::Running
        } else {
            ClientState::Rebalancing
        }
    }
}

impl fmt::Display for ClientState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a stream thread is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ThreadState {
    /// Waiting for an assignment, or restoring.
    Rebalancing,
    /// Processing all its tasks.
    Running,
    /// Ended as it was asked to.
    Ended,
    /// Ended by an error.
    Failed,
}

impl ThreadState {
    /// All states, in order of life.
    pub const ALL: [ThreadState; 4] =
        [ThreadState::Rebalancing, ThreadState::Running, ThreadState::Ended, ThreadState::Failed];

    /// Lower-case name, as in metrics.
    pub fn name(self) -> &'static str {
        match self {
            ThreadState::Rebalancing => "rebalancing",
            ThreadState::Running => "running",
            ThreadState::Ended => "ended",
            ThreadState::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_drawn_arrows_exist() {
        use ClientState::{Created, Error, NotRunning, PendingShutdown, Rebalancing, Running};
        let mut arrows = Vec::new();
        for from in ClientState::ALL {
            arrows
                .extend(ClientState::ALL.into_iter().filter(|to| from.can_become(*to)).map(|to| (from, to)));
        }
        let drawn = [
            (Created, Rebalancing),
            (Created, PendingShutdown),
            (Created, Error),
            (Rebalancing, Running),
            (Rebalancing, PendingShutdown),
            (Rebalancing, Error),
            (Running, Rebalancing),
            (Running, PendingShutdown),
            (Running, Error),
            (PendingShutdown, NotRunning),
            (PendingShutdown, Error),
        ];
        assert_eq!(arrows, drawn);
    }

    #[test]
    fn an_application_runs_when_all_its_threads_do() {
        use ThreadState::{Failed, Rebalancing, Running};
        assert_eq!(ClientState::of_threads(&[Running, Running]), ClientState::Running);
        assert_eq!(ClientState::of_threads(&[Running, Rebalancing]), ClientState::Rebalancing);
        assert_eq!(ClientState::of_threads(&[Running, Failed]), ClientState::Error);
    }
}
