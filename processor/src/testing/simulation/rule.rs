//! The rules that every schedule keeps, by name: a mistake must break the rule that is there for it.

/// See `docs/reliability.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule {
    /// An offset is committed only if every record before it has its results.
    OffsetsFollowResults,
    /// A committed offset never moves back.
    OffsetsGoForward,
    /// Reading goes on at the committed offset, and nowhere else.
    ReadsFromCommitted,
    /// Who has given up a task writes nothing more to its changelog.
    OneWriter,
    /// What is on a disk becomes, with the changelog from the offset beside it, what all of the changelog says.
    DiskFitsChangelog,
    /// Queries find no store of a thread that has ended.
    NoStoreOutlivesItsThread,
    /// A task that stays with its thread keeps its store open.
    StaysOpen,
    /// A thread fails only of what was done to it.
    NoFailureWithoutReason,
    /// Without faults the program does what is left to do.
    ComesToRest,
    /// Exactly-once: each result is there once, in order. At-least-once: none is missing.
    ResultsAreThoseOfRecount,
    /// Each task has the standbys that were asked for.
    StandbysInPlace,
    /// At rest, the stores are what the changelogs say.
    StoresAreChangelogs,
    /// At rest, the stores are what a recount of the input says.
    StoresAreThoseOfRecount,
    /// After all instances ended as asked, nothing is left to restore.
    NothingLeftToRestore,
    /// What is simulated, and what runs on it, does not panic, except where a user's code does.
    NoPanic,
}

/// A rule that was broken, and how.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) rule: Rule,
    pub(super) what: String,
}

impl Rule {
    pub(super) fn broken(self, what: impl Into<String>) -> Broken {
        Broken { rule: self, what: what.into() }
    }
}

impl From<Broken> for String {
    fn from(broken: Broken) -> Self {
        format!("{:?}: {}", broken.rule, broken.what)
    }
}
