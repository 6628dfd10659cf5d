//! What differs in tables without windows, and in all tables.

use std::collections::BTreeSet;

use super::Exception;
use super::changelogs::{keep_newest_of_commits, leave_out_what_comes_again};
use super::program::{
    emits_at_commits, emits_closed_windows, holds_back, is_aggregate_of_a_stream, is_cached,
    is_join_of_streams, is_table, shows_old_values, versioned,
};
use super::records::{changelogs_of, is_of_commit, written_below};
use super::time::window_kind;
use crate::oracle::case::{Case, Op, Statement, WindowKind};

pub(super) const ALL: &[Exception] = &[
    Exception {
        id: "global tables alone",
        row: "a program of global tables alone",
        applies: |case| {
            !case
                .program
                .iter()
                .any(|statement| matches!(statement.op, Op::Stream | Op::StreamPattern | Op::Table))
        },
        forgive: None,
    },
    Exception {
        id: "the first old value of an uncached aggregate",
        row: "an uncached stream aggregate's first old value",
        applies: |case| {
            let mut aggregates = case.program.iter().filter(|statement| begins_with_initial(case, statement));
            aggregates.any(|aggregate| {
                shows_old_values(case, aggregate, aggregate.by.as_deref() == Some("until_long"))
            })
        },
        forgive: None,
    },
    // Before tombstones are left out: they, too, say what is too old.
    Exception {
        id: "versions that are too old",
        row: "versioned stores",
        applies: |case| versioned(case).next().is_some(),
        forgive: Some(|case, outcome| {
            for (name, retention) in versioned(case) {
                let Some(changelog) = outcome.topics.get_mut(&format!("oracle-{name}-changelog")) else {
                    continue;
                };
                let mut newest = i64::MIN;
                changelog.retain(|record| {
                    let at = record.at.unwrap_or_default();
                    newest = newest.max(at);
                    at >= newest.saturating_sub(retention)
                });
            }
        }),
    },
    // Before tombstones are left out: what comes and goes before a commit leaves none.
    Exception {
        id: "the changelog of windows that are emitted as they close",
        row: "changelog of sliding windows and sessions that are emitted as they close",
        applies: |case| case.program.iter().any(|table| closes_from_cache(case, table)),
        forgive: Some(|case, outcome| {
            let closes = |statement: &Statement| closes_from_cache(case, statement);
            let failed = outcome.failed_step();
            for changelog in changelogs_of(case, outcome, closes) {
                match case.commits_by_hand {
                    true => keep_newest_of_commits(case, failed, changelog),
                    // Several commits may be of one step.
                    false => leave_out_what_comes_again(changelog),
                }
            }
        }),
    },
    Exception {
        id: "tombstones of nothing",
        row: "the tombstone of a row that is not there",
        applies: |case| case.program.iter().any(|statement| logs_at_once(case, statement)),
        forgive: Some(|case, outcome| {
            for records in changelogs_of(case, outcome, |statement| logs_at_once(case, statement)) {
                let mut live = BTreeSet::new();
                records.retain(|record| {
                    let is_row = record.value.is_some();
                    if is_row {
                        live.insert(record.key.clone());
                    }
                    is_row || live.remove(&record.key)
                });
            }
        }),
    },
    Exception {
        id: "headers at commits",
        row: "headers of what a cached table emits",
        applies: |case| case.program.iter().any(|statement| emits_at_commits(case, statement)),
        forgive: Some(|case, outcome| {
            // What waits is let go by a record that may come before a commit.
            let may_wait = case
                .program
                .iter()
                .any(|statement| holds_back(case, statement) || is_join_of_streams(case, statement));
            for record in written_below(case, outcome, |statement| emits_at_commits(case, statement)) {
                if may_wait || !case.commits_by_hand || is_of_commit(case, record) {
                    record.headers.clear();
                }
            }
        }),
    },
];

/// Whether it is a table of windows that are emitted as they close, in a store that has a cache here, and none in Kafka Streams.
fn closes_from_cache(case: &Case, statement: &Statement) -> bool {
    emits_closed_windows(case, statement)
        && is_cached(statement)
        && matches!(window_kind(case, statement), Some(WindowKind::Sliding | WindowKind::Session))
}

/// Whether it is a table of which each change is logged at once.
fn logs_at_once(case: &Case, statement: &Statement) -> bool {
    is_table(case, statement)
        && statement.op != Op::Suppress
        && (!is_cached(statement) || emits_closed_windows(case, statement))
}

/// Whether the first change of a row says, in Kafka Streams, that the row was what the initializer makes.
pub(super) fn begins_with_initial(case: &Case, statement: &Statement) -> bool {
    matches!(statement.op, Op::Count | Op::Aggregate)
        && is_aggregate_of_a_stream(case, statement)
        && window_kind(case, statement) != Some(WindowKind::Session)
        && !is_cached(statement)
}
