//! Whose state a directory holds, and what the directory is called.

use std::fmt;
use std::str::FromStr;

use crate::types::TaskId;

const GLOBAL_PREFIX: &str = "global-";

/// Whose state a directory holds.
///
/// ```
/// # use millstream_state_stores::{StateOwner, TaskId};
/// assert_eq!("0_3".parse(), Ok(StateOwner::Task(TaskId { subtopology: 0, partition: 3 })));
/// assert_eq!("global-0".parse(), Ok(StateOwner::Global(0)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateOwner {
    /// A task, in whichever process it runs.
    Task(TaskId),
    /// The global tables of one process. Each process has all of them, so each of several that share a folder has a directory of its own,
    /// with a number.
    Global(u32),
}

impl StateOwner {
    /// What the database of this owner says about itself. The number of a global directory is not part of it: all hold the same.
    pub(crate) fn identity(self) -> String {
        match self {
            StateOwner::Task(task) => task.to_string(),
            StateOwner::Global(_) => "global".to_owned(),
        }
    }
}

impl From<TaskId> for StateOwner {
    fn from(task: TaskId) -> Self {
        StateOwner::Task(task)
    }
}

/// The name of the directory.
impl fmt::Display for StateOwner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateOwner::Task(task) => task.fmt(formatter),
            StateOwner::Global(number) => write!(formatter, "{GLOBAL_PREFIX}{number}"),
        }
    }
}

impl FromStr for StateOwner {
    type Err = ParseStateOwnerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = match text.strip_prefix(GLOBAL_PREFIX) {
            Some(number) => number.parse().ok().map(StateOwner::Global),
            None => text.parse().ok().map(StateOwner::Task),
        };
        let parsed = parsed.filter(|owner| owner.to_string() == text);
        parsed.ok_or_else(|| ParseStateOwnerError { text: text.to_owned() })
    }
}

/// A text that names no directory of state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` names no state: write <subtopology>_<partition> for a task, such as 0_3, or global-<number>"
)]
pub struct ParseStateOwnerError {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_parsed_strictly() {
        for text in [
            "",
            "0",
            "0_-1",
            "global",
            "global-",
            "global--1",
            "global-01",
            "global-+1",
            "global-0 ",
            "rocksdb",
        ] {
            let error = text.parse::<StateOwner>().expect_err(text);
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
    }
}
