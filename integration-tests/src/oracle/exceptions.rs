//! What the two do not agree on, on purpose: each is a row of `docs/differences-from-kafka-streams.md`, and has a case in
//! `integration-tests/oracle/cases` that shows it.

use std::collections::BTreeSet;

use super::case::{Case, Op, Statement, Step, WindowKind, Windows};
use super::observation::{Observation, Outcome, Row, Written};

/// A difference that is meant to be there.
pub struct Exception {
    /// The first column of its row.
    pub row: &'static str,
    /// Whether it may show in the case.
    pub applies: fn(&Case) -> bool,
    /// Makes what it shows in the same on both sides. Without it, cases in which it may show cannot be compared at all.
    pub forgive: Option<fn(&Case, &mut Outcome)>,
}

/// All of them.
pub const EXCEPTIONS: &[Exception] = &[
    Exception {
        row: "a program of global tables alone",
        applies: |case| !case.program.iter().any(|statement| matches!(statement.op, Op::Stream | Op::Table)),
        forgive: None,
    },
    Exception {
        row: "an uncached stream aggregate's first old value",
        applies: |case| {
            let is_uncached = |statement: &&Statement| {
                is_aggregate(statement.op) && !is_cached(statement) && statement.op != Op::Reduce
            };
            let mut aggregates = case.program.iter().filter(is_uncached);
            aggregates.any(|aggregate| case.below(&aggregate.id).into_iter().any(reads_old_values))
        },
        forgive: None,
    },
    Exception {
        row: "the tombstone of a row that is not there",
        applies: |case| {
            case.program.iter().any(|statement| is_table(case, statement) && !is_cached(statement))
        },
        forgive: Some(|_, outcome| {
            let changelogs = outcome.topics.iter_mut().filter(|(name, _)| name.ends_with("-changelog"));
            for (_, records) in changelogs {
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
        row: "headers of what a cached table emits",
        applies: |case| {
            case.program.iter().any(|statement| is_table(case, statement) && is_cached(statement))
        },
        forgive: Some(|_, outcome| {
            outcome.topics.values_mut().flatten().for_each(|record| record.headers.clear());
        }),
    },
    Exception {
        row: "the order in which a cached table emits at a commit",
        applies: |case| case.commits_by_hand && !mixes_keys_below_tables(case),
        forgive: Some(|_, outcome| {
            outcome.topics.values_mut().for_each(|records| records.sort_by_key(|record| record.key.clone()));
        }),
    },
    Exception {
        row: "the order in which a cached table emits at a commit",
        applies: |case| case.commits_by_hand && mixes_keys_below_tables(case),
        forgive: None,
    },
    Exception {
        row: "emission of closed windows",
        applies: |case| {
            case.program.iter().any(|statement| statement.emit.as_deref() == Some("on_window_close"))
        },
        forgive: Some(|_, outcome| {
            outcome.topics.values_mut().flatten().for_each(|record| record.headers.clear());
        }),
    },
    Exception {
        row: "up to where closed windows were emitted",
        applies: |case| {
            case.program.iter().any(|statement| statement.emit.as_deref() == Some("on_window_close"))
        },
        forgive: Some(|_, outcome| {
            let changelogs = outcome.topics.iter_mut().filter(|(name, _)| name.ends_with("-changelog"));
            changelogs.for_each(|(_, records)| records.retain(|record| !is_mark(record)));
        }),
    },
    Exception {
        row: "windows that are closed and too old for their store at once, as stream time leaps",
        applies: |case| {
            let mut windowed = case
                .program
                .iter()
                .filter(|statement| statement.emit.as_deref() == Some("on_window_close"))
                .filter_map(|statement| statement.windows.as_ref());
            windowed.any(|windows| windows.kind == WindowKind::Sliding && leaps_over(case, windows))
        },
        forgive: None,
    },
    Exception {
        row: "how long a session store keeps sessions",
        applies: |case| {
            case.program.iter().any(|statement| window_kind(case, statement) == Some(WindowKind::Session))
        },
        forgive: Some(|case, outcome| {
            let windows = case.program.iter().filter_map(|statement| statement.windows.as_ref());
            let sessions = windows.filter(|windows| windows.kind == WindowKind::Session);
            let Some(kept) = sessions.map(kept_for).min() else { return };
            for records in outcome.topics.values_mut() {
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
        row: "headers of what a session emits",
        applies: |case| {
            case.program.iter().any(|statement| window_kind(case, statement) == Some(WindowKind::Session))
        },
        forgive: Some(|_, outcome| {
            outcome.topics.values_mut().flatten().for_each(|record| record.headers.clear());
        }),
    },
    Exception {
        row: "serde of `Windowed<K>` where none is known",
        applies: |case| {
            let is_by_foreign_key = |statement: &Statement| is_join(statement.op) && statement.on.is_some();
            let windowed = case.program.iter().filter(|statement| window_kind(case, statement).is_some());
            let mut below = windowed.flat_map(|table| case.below(&table.id));
            below.any(is_by_foreign_key)
        },
        forgive: None,
    },
    Exception {
        row: "rows of all keys of a window or session store",
        applies: |case| case.program.iter().any(|statement| statement.op == Op::WindowedBy),
        forgive: Some(|_, outcome| {
            outcome.stores.values_mut().for_each(|rows| rows.sort_by_key(|row| row.key.clone()))
        }),
    },
    Exception {
        row: "rows of windows that are no longer kept",
        applies: |case| case.program.iter().any(|statement| statement.op == Op::WindowedBy),
        forgive: Some(|case, outcome| {
            let windows = case.program.iter().filter_map(|statement| statement.windows.as_ref());
            let Some(kept) = windows.map(kept_for).min() else { return };
            for rows in outcome.stores.values_mut() {
                let newest = rows.iter().filter_map(|row| time_of_row(case, row)).max();
                rows.retain(|row| {
                    time_of_row(case, row).zip(newest).is_none_or(|(time, newest)| time > newest - kept)
                });
            }
        }),
    },
    Exception {
        row: "a null value in a windowed `reduce`",
        applies: |case| {
            let makes_nulls = |statement: &&Statement| {
                let makers = ["null_if_long", "swap", "and_swapped"];
                statement.op == Op::ToStream || statement.by.as_deref().is_some_and(|by| makers.contains(&by))
            };
            let is_windowed_reduce = |statement: &&Statement| {
                let windows = window_kind(case, statement);
                statement.op == Op::Reduce && windows.is_some_and(|kind| kind != WindowKind::Sliding)
            };
            let nulls_come_in =
                case.steps.iter().any(|step| matches!(step, Step::Pipe(input) if input.value.is_none()));
            let nulls_are_made = case
                .program
                .iter()
                .filter(makes_nulls)
                .any(|maker| case.below(&maker.id).iter().any(is_windowed_reduce));
            nulls_are_made
                || nulls_come_in && case.program.iter().any(|statement| is_windowed_reduce(&statement))
        },
        forgive: None,
    },
    Exception {
        row: "old value of a session that is changed in place",
        applies: |case| {
            let mut sessions = case
                .program
                .iter()
                .filter(|statement| window_kind(case, statement) == Some(WindowKind::Session));
            sessions.any(|table| case.below(&table.id).into_iter().any(reads_old_values))
        },
        forgive: None,
    },
];

/// Whether it is the row that tells up to where closed windows, or sessions, were emitted.
fn is_mark(record: &Written) -> bool {
    matches!(record.key.as_deref(), Some("0000000000000000ffffffff" | "0000000000000000ffffffffffffffff"))
}

/// The end of the session that a record is about.
fn end_of_session(record: &Written) -> Option<i64> {
    let key = record.key.as_deref()?;
    let end = key.get(key.len().checked_sub(32)?..key.len() - 16)?;
    i64::from_str_radix(end, 16).ok()
}

/// Whether stream time leaps over all that a store of such windows keeps.
fn leaps_over(case: &Case, windows: &Windows) -> bool {
    let mut stream_time = None;
    case.steps.iter().any(|step| {
        let Step::Pipe(input) = step else { return false };
        let before = stream_time.replace(stream_time.unwrap_or(input.at).max(input.at));
        before.is_some_and(|before| input.at - before >= kept_for(windows))
    })
}

/// Whether an exception makes the case one that cannot be compared.
pub fn is_comparable(case: &Case) -> bool {
    !EXCEPTIONS.iter().any(|exception| exception.forgive.is_none() && (exception.applies)(case))
}

/// Makes what exceptions of the case show in the same on both sides.
pub(super) fn forgive(case: &Case, observation: &mut Observation) {
    let Observation::Ran(outcome) = observation else { return };
    for exception in EXCEPTIONS.iter().filter(|exception| (exception.applies)(case)) {
        if let Some(forgive) = exception.forgive {
            forgive(case, outcome);
        }
    }
}

/// Whether the order of changes of different keys can be seen in what becomes of them.
fn mixes_keys_below_tables(case: &Case) -> bool {
    let mixes = |statement: &Statement| {
        let changes_keys = [Op::SelectKey, Op::Map, Op::FlatMap, Op::GroupBy, Op::ToChosenTopic, Op::Process];
        changes_keys.contains(&statement.op)
    };
    let mut tables = case.program.iter().filter(|statement| is_table(case, statement));
    tables.any(|table| case.below(&table.id).into_iter().any(mixes))
}

/// Whether a table above must say what a row was before.
fn reads_old_values(statement: &Statement) -> bool {
    let on_tables = [Op::Filter, Op::FilterNot, Op::GroupBy, Op::Join, Op::LeftJoin, Op::OuterJoin];
    on_tables.contains(&statement.op)
}

/// Of the windows that the statement aggregates.
fn window_kind(case: &Case, statement: &Statement) -> Option<WindowKind> {
    let of = case.statement(statement.of.as_deref()?)?;
    of.windows.as_ref().map(|windows| windows.kind)
}

/// How long rows of such windows are there for certain, in milliseconds.
fn kept_for(windows: &Windows) -> i64 {
    let length = if windows.kind == WindowKind::Sliding { 2 * windows.size } else { windows.size };
    i64::try_from(length + windows.grace).unwrap_or(i64::MAX)
}

/// By which a row of windows or sessions is kept: the start of the window, or the end of the session. None of a row without a window.
fn time_of_row(case: &Case, row: &Row) -> Option<i64> {
    let (start, end) = row.key.rsplit_once('@')?.1.split_once('/')?;
    let mut windows = case.program.iter().filter_map(|statement| statement.windows.as_ref());
    let has_sessions = windows.any(|windows| windows.kind == WindowKind::Session);
    if has_sessions { end } else { start }.parse().ok()
}

/// Whether what the statement makes is a table.
fn is_table(case: &Case, statement: &Statement) -> bool {
    let of_table = || {
        let of = statement.of.as_deref().and_then(|of| case.statement(of));
        of.is_some_and(|of| is_table(case, of))
    };
    match statement.op {
        Op::Table | Op::ToTable | Op::Count | Op::Reduce | Op::Aggregate | Op::Suppress => true,
        Op::Filter | Op::FilterNot | Op::MapValues | Op::TransformValues => of_table(),
        Op::Join | Op::LeftJoin | Op::OuterJoin => of_table(),
        _ => false,
    }
}

fn is_join(op: Op) -> bool {
    matches!(op, Op::Join | Op::LeftJoin | Op::OuterJoin)
}

fn is_aggregate(op: Op) -> bool {
    matches!(op, Op::Count | Op::Reduce | Op::Aggregate)
}

fn is_cached(statement: &Statement) -> bool {
    statement.store.as_ref().is_none_or(|store| store.cached)
}
