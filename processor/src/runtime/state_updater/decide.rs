//! What a store needs to get to the end of its changelog, as a function of what both of them say.

use millstream_state_stores::Offset;

/// What a store needs to get to the end of its changelog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum RestoreDecision {
    UpToDate,
    /// Apply the changelog from here.
    Resume {
        from: Offset,
    },
    /// The data beside the stored offset belongs to another changelog: drop it and apply the changelog from here.
    Rebuild {
        from: Offset,
        reason: RebuildReason,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum RebuildReason {
    /// The topic has another id than the one the rows are of: it was deleted and made again (ADR 0010).
    TopicWasMadeAgain,
    /// The changelog ends before what the store claims to hold. All that can be told where topics have no ids.
    ChangelogIsShorter,
    /// The changelog no longer has the records after those the store holds.
    ChangelogWasCut,
}

pub(in crate::runtime) fn decide(
    stored: Option<Offset>,
    log_start: Offset,
    log_end: Offset,
) -> RestoreDecision {
    match stored {
        None if log_start == log_end => RestoreDecision::UpToDate,
        None => RestoreDecision::Resume { from: log_start },
        Some(stored) if stored > log_end => {
            RestoreDecision::Rebuild { from: log_start, reason: RebuildReason::ChangelogIsShorter }
        }
        Some(stored) if stored < log_start => {
            RestoreDecision::Rebuild { from: log_start, reason: RebuildReason::ChangelogWasCut }
        }
        Some(stored) if stored == log_end => RestoreDecision::UpToDate,
        Some(stored) => RestoreDecision::Resume { from: stored },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(decide(stored.map(at), at(start), at(end)), expected, "{stored:?} in {start}..{end}");
        }
    }
}
