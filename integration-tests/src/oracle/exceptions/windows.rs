//! What differs in windows and sessions.

use super::Exception;
use super::changelogs::{end_of_session, is_changelog, is_mark};
use super::program::{
    changes_below, emits_at_commits, emits_closed_windows, input_times, is_cached, is_in_place, is_join,
    makes_nulls, shows_old_values,
};
use super::records::{changelogs_of, is_changelog_of, is_written_below, write_at_commits, written_below};
use super::time::{
    is_met_exactly, is_windowed_cogroup, kept_in_store, leaps_over, reaches_back, rows_may_go, time_of_row,
    window_kind, windows_of,
};
use crate::oracle::case::{Case, Op, Statement, WindowKind};

pub(super) const ALL: &[Exception] = &[
    Exception {
        id: "when closed windows are emitted",
        row: "emission of closed windows",
        applies: has_closing_windows,
        forgive: Some(|case, outcome| {
            let (failed, emits) =
                (outcome.failed_step(), |statement: &Statement| emits_closed_windows(case, statement));
            for (topic, records) in &mut outcome.topics {
                if is_written_below(case, topic, emits) {
                    records.iter_mut().for_each(|record| record.headers.clear());
                    write_at_commits(case, failed, records);
                }
            }
        }),
    },
    Exception {
        id: "the mark of closed windows",
        row: "up to where closed windows were emitted",
        applies: has_closing_windows,
        forgive: Some(|case, outcome| {
            changelogs_of(case, outcome, |statement| emits_closed_windows(case, statement))
                .for_each(|records| records.retain(|record| !is_mark(record)));
        }),
    },
    Exception {
        id: "closed windows that are too old for their store",
        row: "windows that are closed and too old for their store at once, as stream time leaps",
        applies: |case| {
            let closes = |statement: &&Statement| statement.emit.as_deref() == Some("on_window_close");
            case.program.iter().filter(closes).any(|windowed| leaps_over(case, windowed))
        },
        forgive: None,
    },
    Exception {
        id: "sliding windows that records just miss",
        row: "a sliding window of two records that lie just outside of one",
        applies: |case| {
            uncached(case).any(|statement| {
                windows_of(case, statement).is_some_and(|windows| is_met_exactly(case, windows))
            })
        },
        forgive: None,
    },
    Exception {
        id: "sessions that are kept for longer",
        row: KEPT_SESSIONS,
        applies: |case| sessions(case).next().is_some(),
        forgive: Some(|case, outcome| {
            for (topic, records) in &mut outcome.topics {
                let its_own = |table: &&Statement| is_changelog_of(case, topic, |other| other == *table);
                let tables = sessions(case).filter(|table| !is_changelog(topic) || its_own(table));
                let Some(kept) = tables.filter_map(|table| kept_in_store(case, table)).min() else {
                    continue;
                };
                let mut newest = i64::MIN;
                records.retain(|record| {
                    let Some(end) = end_of_session(record) else { return true };
                    newest = newest.max(end);
                    record.value.is_some() || end > newest.saturating_sub(kept)
                });
            }
        }),
    },
    Exception {
        id: "sessions that are kept for longer, without a cache",
        row: KEPT_SESSIONS,
        applies: |case| {
            uncached(case).any(|statement| {
                let windowed = statement.of.as_deref().and_then(|of| case.statement(of));
                windowed.is_some_and(|windowed| reaches_back(case, windowed))
            })
        },
        forgive: None,
    },
    Exception {
        id: "headers of sessions",
        row: "headers of what a session emits",
        applies: |case| sessions(case).any(|table| !emits_at_commits(case, table)),
        forgive: Some(|case, outcome| {
            let is_meant = |statement: &Statement| {
                window_kind(case, statement) == Some(WindowKind::Session)
                    && !emits_at_commits(case, statement)
            };
            written_below(case, outcome, is_meant).for_each(|record| record.headers.clear());
        }),
    },
    Exception {
        id: "the order of windows of all keys",
        row: "rows of all keys of a window or session store",
        applies: |case| case.program.iter().any(|statement| statement.op == Op::WindowedBy),
        forgive: Some(|case, outcome| {
            for (store, rows) in &mut outcome.stores {
                if tables_in(case, store).next().is_some() {
                    rows.sort_by_key(|row| row.key.clone());
                }
            }
        }),
    },
    Exception {
        id: "windows that are no longer kept",
        row: KEPT_WINDOWS,
        applies: |case| found_for_longer(case).next().is_some(),
        forgive: Some(|case, outcome| {
            // The deletion of a row that is not there moves the time of the store here, and not that of Kafka Streams' cache.
            let deletes = |statement: &Statement| statement.by.as_deref() == Some("until_long");
            let deleted_at = case.program.iter().any(deletes).then(|| input_times(case).max()).flatten();
            for (store, rows) in &mut outcome.stores {
                let tables =
                    tables_in(case, store).filter(|table| found_for_longer(case).any(|it| it == *table));
                let Some(kept) = tables.filter_map(|table| kept_in_store(case, table)).min() else {
                    continue;
                };
                let newest = rows.iter().filter_map(|row| time_of_row(case, row)).max().max(deleted_at);
                rows.retain(|row| {
                    time_of_row(case, row).zip(newest).is_none_or(|(time, newest)| time > newest - kept)
                });
            }
        }),
    },
    Exception {
        id: "windows that are no longer kept, and looked up",
        row: KEPT_WINDOWS,
        applies: |case| {
            let is_looked_up =
                |table: &Statement| changes_below(case, table).iter().any(|below| is_join(below.op));
            found_for_longer(case).any(|table| rows_may_go(case, table) && is_looked_up(table))
        },
        forgive: None,
    },
    Exception {
        id: "nulls that are reduced",
        row: "a null value in a windowed `reduce` or cogroup",
        applies: |case| {
            let would_give_nulls = |statement: &&Statement| {
                let windows = window_kind(case, statement);
                let is_meant = statement.op == Op::Reduce || is_windowed_cogroup(case, statement);
                is_meant && windows.is_some_and(|kind| kind != WindowKind::Sliding)
            };
            let nulls_come_to = |statement: &Statement| {
                let mut nulls = case.inputs().filter(|input| input.value.is_none());
                nulls.any(|input| {
                    case.above(&statement.id).iter().any(|above| above.is_stream_of(&input.topic))
                })
            };
            let nulls_are_made = case
                .program
                .iter()
                .filter(|statement| makes_nulls(statement))
                .any(|maker| case.below(&maker.id).iter().any(would_give_nulls));
            nulls_are_made
                || case
                    .program
                    .iter()
                    .any(|statement| would_give_nulls(&statement) && nulls_come_to(statement))
        },
        forgive: None,
    },
    Exception {
        id: "the old value of a session",
        row: "old value of a session that is changed in place",
        applies: |case| {
            let mut sessions = case.program.iter().filter(|statement| is_in_place(case, statement));
            sessions.any(|table| shows_old_values(case, table, table.by.as_deref() == Some("until_long")))
        },
        forgive: None,
    },
];

const KEPT_SESSIONS: &str = "how long a session store keeps sessions";
const KEPT_WINDOWS: &str = "rows of windows that are no longer kept";

fn has_closing_windows(case: &Case) -> bool {
    case.program.iter().any(|statement| emits_closed_windows(case, statement))
}

fn uncached(case: &Case) -> impl Iterator<Item = &Statement> {
    case.program.iter().filter(|statement| !is_cached(statement) || emits_closed_windows(case, statement))
}

/// The tables of windows and sessions whose rows Kafka Streams finds for longer than it keeps them: in the cache, or until their segment goes.
fn found_for_longer(case: &Case) -> impl Iterator<Item = &Statement> {
    let tables = case.program.iter().filter(|statement| windows_of(case, statement).is_some());
    tables.filter(|table| is_cached(table) || window_kind(case, table) == Some(WindowKind::Session))
}

fn sessions(case: &Case) -> impl Iterator<Item = &Statement> {
    case.program.iter().filter(|statement| window_kind(case, statement) == Some(WindowKind::Session))
}

/// The tables of windows or sessions that are kept in the store, or may be: that of a generated name is taken for any without one.
fn tables_in<'a>(case: &'a Case, store: &'a str) -> impl Iterator<Item = &'a Statement> {
    let changelog = format!("oracle-{store}-changelog");
    let tables = case.program.iter().filter(|table| windows_of(case, table).is_some());
    tables.filter(move |table| is_changelog_of(case, &changelog, |other| other == *table))
}
