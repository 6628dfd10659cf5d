//! The judges: functions from what was read to what is wrong with it.

mod redone;
mod sequence;
mod state;

use std::collections::BTreeMap;
use std::fmt;

pub(super) use self::redone::{Appended, commits_of, redone};
pub(super) use self::sequence::{each_once, in_sequence};
pub(super) use self::state::{compare_state, read_state};

use super::Guarantee;
use crate::kafka::ReadRecord;

/// What was read of a program's topics, by the name the program has for each.
pub(super) type Topics = BTreeMap<&'static str, Vec<ReadRecord>>;

/// What the judges hold a run to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) guarantee: Guarantee,
    /// Whether no instance can have written after its successor began. Exactly-once fences such an instance; at-least-once
    /// cannot, and promises nothing about a state that two have written to.
    pub(super) has_one_writer: bool,
}

impl Rules {
    /// Whether all is promised, not only that nothing is lost.
    pub(super) fn hold_to_all(&self) -> bool {
        self.guarantee == Guarantee::ExactlyOnce || self.has_one_writer
    }
}

/// How a promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ViolationKind {
    /// Something that was in the input has no effect.
    Lost,
    /// Something has its effect more often than it may.
    Duplicated,
    /// Two things that must be equal are not, or nothing explains what is there.
    Diverged,
    /// The program ended by itself, or made no progress.
    GaveUp,
}

/// One broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// How.
    pub kind: ViolationKind,
    /// Of what, and where to look.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ViolationKind::Lost => "lost",
            ViolationKind::Duplicated => "duplicated",
            ViolationKind::Diverged => "diverged",
            ViolationKind::GaveUp => "gave up",
        };
        write!(formatter, "{kind}: {}", self.what)
    }
}

/// Everything that is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// In the order in which they were found.
    pub violations: Vec<Violation>,
}

impl Findings {
    /// How many of a kind there are.
    #[must_use]
    pub fn count(&self, kind: ViolationKind) -> usize {
        self.violations.iter().filter(|violation| violation.kind == kind).count()
    }

    pub(super) fn add(&mut self, kind: ViolationKind, what: impl Into<String>) {
        self.violations.push(Violation { kind, what: what.into() });
    }

    pub(super) fn extend(&mut self, others: Findings) {
        self.violations.extend(others.violations);
    }
}

/// The newest value of each key, as a table over the topic has it.
pub(super) fn newest(records: &[ReadRecord]) -> BTreeMap<&[u8], &[u8]> {
    let mut newest = BTreeMap::new();
    for record in records {
        let key = record.key.as_deref().unwrap_or_default();
        match record.value.as_deref() {
            Some(value) => newest.insert(key, value),
            None => newest.remove(key),
        };
    }
    newest
}
