//! What a store needs to get to the end of its changelog, as a function of what both of them say.

use std::fmt;
use std::time::Duration;

use millstream_state_stores::{LogPosition, Offset, Timestamp};

use crate::task::Recency;
#[cfg(test)]
use crate::testing::simulation::mutation::{self, Mutation};

/// What is known of a changelog, and when.
#[derive(Clone, Copy, Debug)]
pub(in crate::runtime) struct LogFacts {
    /// The offset of its oldest record.
    pub(in crate::runtime) start: Offset,
    /// Up to where the store is restored.
    pub(in crate::runtime) end: Offset,
    /// Behind its newest record. That is after `end` where the task itself goes on from there, as in its input.
    pub(in crate::runtime) newest_end: Offset,
    /// Whether whoever fills it writes in transactions, each of which ends with a mark that is no record.
    pub(in crate::runtime) is_transactional: bool,
    /// For how long it keeps tombstones at least; `None` if it never removes any but with all that is as old.
    pub(in crate::runtime) keeps_tombstones: Option<Duration>,
    /// The wall clock.
    pub(in crate::runtime) now: Timestamp,
}

/// What a store needs to get to the end of its changelog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum RestoreDecision {
    UpToDate,
    /// Apply the changelog from here.
    Resume {
        from: Offset,
    },
    /// What the changelog has does not complete the data beside the stored offset: drop it and apply the changelog from here.
    Rebuild {
        from: Offset,
        reason: RebuildReason,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum RebuildReason {
    /// The topic has another id than the one the rows are of: it was deleted and made again (ADR 0010). Or nobody noted of which they are.
    OfAnotherTopic,
    /// The changelog ends before what the store claims to hold. All that can be told where topics have no ids.
    ChangelogIsShorter,
    /// The changelog no longer has the records after those the store holds.
    ChangelogWasCut,
    /// The changelog may have had tombstones of rows that the store has, and have removed them (ADR 0025).
    TombstonesMayBeGone,
}

impl fmt::Display for RebuildReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            RebuildReason::OfAnotherTopic => {
                "local state is of another history: its topic was made again, or nobody noted which it was"
            }
            RebuildReason::ChangelogIsShorter => {
                "local state is of another history: its topic ends before the stored offset"
            }
            RebuildReason::ChangelogWasCut => {
                "local state is of another history: its topic has no longer what comes after the stored offset"
            }
            RebuildReason::TombstonesMayBeGone => {
                "local state is too old: its topic need not have the tombstones any more of what was deleted since"
            }
        })
    }
}

/// Clocks differ, and a compaction takes a while: what is nearly too old is too old. At most; a short time is not all margin.
const MOST_MARGIN: Duration = Duration::from_secs(60 * 60);

impl LogFacts {
    /// Whether a tombstone may be gone that the state at this position lacks. Of state whose age nobody knows, which is from before it was
    /// noted, it is taken that there is none: an upgrade takes no day, and must not read everything again.
    fn may_lack_tombstones(&self, stored: LogPosition) -> bool {
        #[cfg(test)]
        if mutation::is_set_in_runtime(Mutation::OldStateResumed) {
            return false;
        }
        let marks = i64::from(self.is_transactional);
        if stored.next.get().saturating_add(marks) >= self.newest_end.get() {
            // There is no record that it does not have.
            return false;
        }
        let Some((kept, as_of)) = self.keeps_tombstones.zip(stored.as_of) else { return false };
        // Of state from the future, as after a clock was set back, nobody knows the age either.
        let age = u64::try_from(self.now.as_millis().saturating_sub(as_of.as_millis())).unwrap_or(0);
        Duration::from_millis(age) >= kept - MOST_MARGIN.min(kept / 4)
    }
}

impl LogFacts {
    /// How recent state is that reads on at `next`, and was as recent as `before` says; `None` if it begins anew.
    pub(in crate::runtime) fn recency_at(&self, next: Offset, before: Option<Recency>) -> Recency {
        // What is read from now on is in the log now, and what deletes it stays for as long as tombstones are kept.
        let mut recency = before.unwrap_or_else(|| Recency::new(Some(self.now)));
        recency.saw_end(next, self.newest_end, self.now);
        recency
    }
}

impl RestoreDecision {
    /// The offset at which the log begins to be read.
    pub(in crate::runtime) fn begins_at(self, log: &LogFacts) -> Offset {
        match self {
            RestoreDecision::UpToDate => log.end,
            RestoreDecision::Resume { from } | RestoreDecision::Rebuild { from, .. } => from,
        }
    }
}

pub(in crate::runtime) fn decide(stored: Option<LogPosition>, log: &LogFacts) -> RestoreDecision {
    let rebuild = |reason| RestoreDecision::Rebuild { from: log.start, reason };
    match stored {
        None if log.start == log.end => RestoreDecision::UpToDate,
        None => RestoreDecision::Resume { from: log.start },
        Some(stored) if stored.next > log.end => rebuild(RebuildReason::ChangelogIsShorter),
        Some(stored) if stored.next < log.start => rebuild(RebuildReason::ChangelogWasCut),
        Some(stored) if log.may_lack_tombstones(stored) => rebuild(RebuildReason::TombstonesMayBeGone),
        Some(stored) if stored.next == log.end => RestoreDecision::UpToDate,
        Some(stored) => RestoreDecision::Resume { from: stored.next },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const NOW: i64 = 1_000 * HOUR;

    fn log(start: i64, end: i64) -> LogFacts {
        LogFacts {
            start: Offset::new(start),
            end: Offset::new(end),
            newest_end: Offset::new(end),
            is_transactional: false,
            keeps_tombstones: Some(Duration::from_secs(24 * 3_600)),
            now: Timestamp::from_millis(NOW),
        }
    }

    #[test]
    fn the_stored_offset_decides() {
        let at = Offset::new;
        let cases = [
            (None, 0, 0, RestoreDecision::UpToDate),
            (None, 0, 10, RestoreDecision::Resume { from: at(0) }),
            (None, 4, 10, RestoreDecision::Resume { from: at(4) }),
            (Some(10), 0, 10, RestoreDecision::UpToDate),
            (Some(7), 0, 10, RestoreDecision::Resume { from: at(7) }),
            (
                Some(11),
                0,
                10,
                RestoreDecision::Rebuild { from: at(0), reason: RebuildReason::ChangelogIsShorter },
            ),
            (
                Some(3),
                4,
                10,
                RestoreDecision::Rebuild { from: at(4), reason: RebuildReason::ChangelogWasCut },
            ),
        ];
        for (stored, start, end, expected) in cases {
            let stored = stored.map(|next| at(next).into());
            assert_eq!(decide(stored, &log(start, end)), expected, "{stored:?} in {start}..{end}");
        }
    }

    #[test]
    fn state_that_is_older_than_the_tombstones_is_rebuilt() {
        let stored = |next, age: i64| LogPosition {
            next: Offset::new(next),
            as_of: Some(Timestamp::from_millis(NOW - age)),
        };
        let resumed = RestoreDecision::Resume { from: Offset::new(7) };
        let rebuilt =
            RestoreDecision::Rebuild { from: Offset::new(0), reason: RebuildReason::TombstonesMayBeGone };
        assert_eq!(decide(Some(stored(7, 22 * HOUR)), &log(0, 10)), resumed);
        assert_eq!(decide(Some(stored(7, 23 * HOUR)), &log(0, 10)), rebuilt, "an hour before their time");
        assert_eq!(decide(Some(stored(10, 99 * HOUR)), &log(0, 10)), RestoreDecision::UpToDate);
        assert_eq!(decide(Some(stored(7, -99 * HOUR)), &log(0, 10)), resumed, "the clock was set back");
        assert_eq!(decide(Some(Offset::new(7).into()), &log(0, 10)), resumed, "nobody noted its age");

        let endless = LogFacts { keeps_tombstones: None, ..log(0, 10) };
        assert_eq!(decide(Some(stored(7, 99 * HOUR)), &endless), resumed, "it is not compacted");
        let brief = LogFacts { keeps_tombstones: Some(Duration::from_secs(8)), ..log(0, 10) };
        assert_eq!(decide(Some(stored(7, 5_999)), &brief), resumed);
        assert_eq!(decide(Some(stored(7, 6_000)), &brief), rebuilt);

        let transactional = LogFacts { is_transactional: true, ..log(0, 8) };
        assert_eq!(decide(Some(stored(7, 99 * HOUR)), &transactional), resumed, "the mark of its own commit");
        let transactional = LogFacts { is_transactional: true, ..log(0, 9) };
        assert_eq!(decide(Some(stored(7, 99 * HOUR)), &transactional), rebuilt, "a record and a mark");

        let input = LogFacts { newest_end: Offset::new(12), ..log(0, 7) };
        assert_eq!(
            decide(Some(stored(7, 99 * HOUR)), &input),
            rebuilt,
            "the tombstone lay behind the position"
        );
        assert_eq!(decide(Some(stored(7, HOUR)), &input), RestoreDecision::UpToDate);
    }
}
