//! Mistakes that the simulation must catch: each is one that a runtime, or a client, could make.

use std::cell::Cell;

use super::rule::Rule;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// A revocation does not know that records of its tasks are still on their way.
    RecordsLeftBehind,
    /// Offsets are committed while records are still on their way.
    OffsetBeforeFlush,
    /// A transaction counts as committed before the brokers know, so that state and checkpoint run ahead of it.
    CheckpointBeforeCommit,
    /// An abort leaves the stores as they are.
    StoresNotRolledBack,
    /// A fenced producer takes a new epoch and goes on, and the group's generation is not looked at.
    ZombieWrites,
    /// What was fetched before an abort is processed after it.
    QueueNotEmptied,
    /// A task that stays with its thread is closed at a rebalance, and opened again.
    ReopensWhatStays,
    /// A standby that becomes active is taken for complete as it is.
    PromotedWithoutTail,
    /// A thread that is to end while it waits for an answer commits the record that it waits in.
    HalfDoneCommitted,
    /// After an abort reading goes on where it was.
    NotReadAgain,
    /// Queries see what a transaction holds before it has ended.
    PublishedBeforeEnd,
    /// What a transaction holds is on the disk before it has ended.
    CheckpointedBeforeEnd,
    /// State is resumed whatever its age. What finds it is a schedule of its own: machines are away for days.
    OldStateResumed,
}

impl Mutation {
    /// Those that chance finds.
    pub(super) const FOUND_BY_CHANCE: [Mutation; 12] = [
        Mutation::RecordsLeftBehind,
        Mutation::OffsetBeforeFlush,
        Mutation::CheckpointBeforeCommit,
        Mutation::StoresNotRolledBack,
        Mutation::ZombieWrites,
        Mutation::QueueNotEmptied,
        Mutation::ReopensWhatStays,
        Mutation::PromotedWithoutTail,
        Mutation::HalfDoneCommitted,
        Mutation::NotReadAgain,
        Mutation::PublishedBeforeEnd,
        Mutation::CheckpointedBeforeEnd,
    ];

    /// The rule that is there for this mistake: that another is broken, too, or a thread fails, does not count.
    pub(super) fn breaks(self) -> Rule {
        match self {
            Mutation::RecordsLeftBehind => Rule::OneWriter,
            Mutation::OffsetBeforeFlush => Rule::OffsetsFollowResults,
            Mutation::CheckpointBeforeCommit
            | Mutation::CheckpointedBeforeEnd
            | Mutation::OldStateResumed => Rule::DiskFitsChangelog,
            Mutation::StoresNotRolledBack => Rule::ResultsAreThoseOfRecount,
            Mutation::ZombieWrites => Rule::OffsetsFollowResults,
            Mutation::QueueNotEmptied => Rule::ResultsAreThoseOfRecount,
            Mutation::ReopensWhatStays => Rule::StaysOpen,
            Mutation::PromotedWithoutTail => Rule::StoresAreChangelogs,
            Mutation::HalfDoneCommitted => Rule::ResultsAreThoseOfRecount,
            Mutation::NotReadAgain => Rule::OffsetsFollowResults,
            Mutation::PublishedBeforeEnd => Rule::ReadsFromCommitted,
        }
    }
}

thread_local! {
    /// For the mistakes that no client can make.
    static IN_RUNTIME: Cell<Option<Mutation>> = const { Cell::new(None) };
}

pub(super) fn set_in_runtime(mutation: Option<Mutation>) {
    IN_RUNTIME.set(mutation);
}

/// Whether this thread's runtime is to make the mistake.
pub(crate) fn is_set_in_runtime(mutation: Mutation) -> bool {
    IN_RUNTIME.get() == Some(mutation)
}
