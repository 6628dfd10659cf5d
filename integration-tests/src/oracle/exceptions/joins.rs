//! What differs in joins.

use super::Exception;
use super::changelogs::{HEX_OF_NUMBER, KEPT_FOR_A_JOIN, WAITING_FOR_A_MATCH, changelogs, keep_newest_rows};
use super::program::{is_in_memory, is_join_by_foreign_key, is_join_of_streams, makes_nulls};
use super::records::write_at_commits;
use super::time::{comes_late_by, window_kind};
use crate::oracle::case::{Case, JoinWindows, Op, Statement, WindowKind};

pub(super) const ALL: &[Exception] = &[
    Exception {
        id: "the changelogs of a join of streams",
        row: "changelogs of the stores of a join of streams",
        applies: |case| joins_of_streams(case).next().is_some(),
        forgive: Some(|case, outcome| {
            let kept = joins_of_streams(case).filter_map(kept_for_a_match).min().unwrap_or_default();
            for changelog in changelogs(outcome, &KEPT_FOR_A_JOIN) {
                let mut newest = i64::MIN;
                changelog.retain(|record| {
                    let at = record.at.unwrap_or_default();
                    if record.value.is_some() {
                        newest = newest.max(at);
                    }
                    record.value.is_some() && at > newest.saturating_sub(kept)
                });
                for record in changelog {
                    if let Some(key) = &mut record.key {
                        key.truncate(key.len().saturating_sub(HEX_OF_NUMBER));
                    }
                }
            }
            let of_joins = [&KEPT_FOR_A_JOIN[..], &WAITING_FOR_A_MATCH[..]].concat();
            let failed = outcome.failed_step();
            for changelog in changelogs(outcome, &of_joins) {
                changelog.iter_mut().for_each(|record| record.headers.clear());
                write_at_commits(case, failed, changelog);
            }
        }),
    },
    Exception {
        id: "a match before the commit",
        row: "store of records that wait for a match",
        applies: |case| joins_of_streams(case).any(|join| join.op != Op::Join),
        forgive: Some(|case, outcome| {
            let failed = outcome.failed_step();
            changelogs(outcome, &WAITING_FOR_A_MATCH)
                .for_each(|changelog| keep_newest_rows(case, failed, changelog));
        }),
    },
    Exception {
        id: "a null that moves the time of a store in memory",
        row: IN_MEMORY,
        applies: |case| {
            let has_nulls =
                || case.inputs().any(|input| input.value.is_none()) || case.program.iter().any(makes_nulls);
            joins_of_streams(case).any(is_in_memory) && has_nulls()
        },
        forgive: None,
    },
    Exception {
        id: "what comes too late for a store in memory",
        row: IN_MEMORY,
        applies: |case| {
            let mut in_memory = case.program.iter().filter(|statement| is_in_memory(statement));
            in_memory.any(|statement| {
                let kept = kept_for_a_match(statement).filter(|_| is_join_of_streams(case, statement));
                kept.is_some_and(|kept| comes_late_by(case, kept))
                    || window_kind(case, statement) == Some(WindowKind::Session)
            })
        },
        forgive: Some(|_, outcome| outcome.dropped = 0),
    },
    Exception {
        id: "the changelog of subscriptions",
        row: "store of a foreign-key join's subscriptions",
        applies: |case| case.program.iter().any(is_join_by_foreign_key),
        forgive: Some(|case, outcome| {
            let failed = outcome.failed_step();
            for changelog in changelogs(outcome, &["-SUBSCRIPTION-STATE-STORE", "-subscription-store"]) {
                keep_newest_rows(case, failed, changelog);
                changelog.iter_mut().for_each(|record| record.headers.clear());
            }
        }),
    },
];

const IN_MEMORY: &str = "what is too old for a store in memory";

fn joins_of_streams(case: &Case) -> impl Iterator<Item = &Statement> {
    case.program.iter().filter(|statement| is_join_of_streams(case, statement))
}

/// How long the records of both sides are there for certain, in milliseconds.
pub(super) fn kept_for_a_match(join: &Statement) -> Option<i64> {
    let JoinWindows { before, after, grace } = join.within.as_ref()?;
    Some(i64::try_from(before + after + grace).unwrap_or(i64::MAX))
}
