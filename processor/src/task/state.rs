//! The states of a task, drawn and enforced.

use crate::error::{Error, Result};

/// Where a task is in its life.
///
/// ```text
///            +-----------+      +-----------+
///  Created ->| Restoring |----->|  Running  |
///     |      +-+--+------+      +---+---+---+
///     |        |  |     ^           |   |
///     |        |  v     |           v   |
///     |        | +------+-------------+ |
///     |        | |     Suspended      | |
///     |        | +---------+----------+ |
///     |        v           v            v
///     |      +----------------------------+
///     +----->|           Closed           |
///            +----------------------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// Built; its stores are open.
    Created,
    /// Its stores catch up with their changelogs; its input waits.
    Restoring,
    /// It processes records.
    Running,
    /// The group took its input away, and has yet to say whether it comes back. Everything is committed and stays open; nothing is read,
    /// processed or written, and queries do not see it.
    Suspended,
    /// It has given up its stores.
    Closed,
}

impl TaskState {
    /// All states, in order of life.
    pub const ALL: [TaskState; 5] = [
        TaskState::Created,
        TaskState::Restoring,
        TaskState::Running,
        TaskState::Suspended,
        TaskState::Closed,
    ];

    /// Lower-case name, as in metrics.
    pub fn name(self) -> &'static str {
        match self {
            TaskState::Created => "created",
            TaskState::Restoring => "restoring",
            TaskState::Running => "running",
            TaskState::Suspended => "suspended",
            TaskState::Closed => "closed",
        }
    }

    /// Whether the diagram has an arrow from this state to `next`.
    pub fn can_become(self, next: TaskState) -> bool {
        use TaskState::{Closed, Created, Restoring, Running, Suspended};
        matches!(
            (self, next),
            (Created, Restoring | Closed)
                | (Restoring, Running | Suspended | Closed)
                | (Running, Suspended | Closed)
                | (Suspended, Restoring | Closed)
        )
    }

    pub(crate) fn become_state(self, next: TaskState) -> Result<TaskState> {
        if self.can_become(next) {
            return Ok(next);
        }
        Err(Error::fatal(format!("a task cannot go from {} to {}", self.name(), next.name())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_drawn_arrows_exist() {
        let arrows: Vec<(TaskState, TaskState)> = TaskState::ALL
            .into_iter()
            .flat_map(|from| TaskState::ALL.into_iter().map(move |to| (from, to)))
            .filter(|(from, to)| from.can_become(*to))
            .collect();
        use TaskState::{Closed, Created, Restoring, Running, Suspended};
        assert_eq!(
            arrows,
            [
                (Created, Restoring),
                (Created, Closed),
                (Restoring, Running),
                (Restoring, Suspended),
                (Restoring, Closed),
                (Running, Suspended),
                (Running, Closed),
                (Suspended, Restoring),
                (Suspended, Closed),
            ]
        );
    }
}
