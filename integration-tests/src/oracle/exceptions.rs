//! What the two do not agree on, on purpose: each is a row of `docs/differences-from-kafka-streams.md`, and has a case in
//! `integration-tests/oracle/cases` that shows it.

mod changelogs;
mod program;
mod windows;

use std::collections::BTreeSet;

use self::changelogs::{
    HEX_OF_NUMBER, KEPT_FOR_A_JOIN, WAITING_FOR_A_MATCH, changelogs, end_of_session, is_mark,
    is_of_subscriptions, keep_newest_rows, without_origin,
};
use self::program::{
    changed_often_by_a_record, holds_back, input_times, is_aggregate, is_cached, is_in_memory, is_join,
    is_join_by_foreign_key, is_join_of_streams, is_table, makes_many, makes_nulls, mixes_keys_below_tables,
    reads_old_values, versioned,
};
use self::windows::{
    emits_closed_windows, is_met_exactly, is_windowed_cogroup, kept_for, leaps_over, reaches_back,
    rows_may_go, time_of_row, window_kind, windows_of,
};
use super::case::{Case, JoinWindows, Op, Statement, Step, WindowKind};
use super::observation::{Observation, Outcome};

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
        applies: |case| {
            !case
                .program
                .iter()
                .any(|statement| matches!(statement.op, Op::Stream | Op::StreamPattern | Op::Table))
        },
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
    // Before tombstones are left out: they, too, say what is too old.
    Exception {
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
    Exception {
        row: "the tombstone of a row that is not there",
        applies: |case| {
            let is_uncached =
                |statement: &Statement| !is_cached(statement) || emits_closed_windows(case, statement);
            case.program.iter().any(|statement| is_table(case, statement) && is_uncached(statement))
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
            let closes = |statement: &&Statement| statement.emit.as_deref() == Some("on_window_close");
            case.program.iter().filter(closes).any(|windowed| leaps_over(case, windowed))
        },
        forgive: None,
    },
    Exception {
        row: "a sliding window of two records that lie just outside of one",
        applies: |case| {
            let is_uncached =
                |statement: &&Statement| !is_cached(statement) || emits_closed_windows(case, statement);
            let mut uncached = case.program.iter().filter(is_uncached);
            uncached.any(|statement| {
                windows_of(case, statement).is_some_and(|windows| is_met_exactly(case, windows))
            })
        },
        forgive: None,
    },
    // Before tombstones of sessions are left out.
    Exception {
        row: "changelog of records that are held back",
        applies: |case| case.program.iter().any(|statement| holds_back(case, statement)),
        forgive: Some(|case, outcome| {
            let emits_at_commits =
                case.program.iter().any(|statement| is_table(case, statement) && is_cached(statement));
            let named = case.program.iter().filter(|statement| holds_back(case, statement));
            let named = named.filter_map(|statement| Some(format!("-{}-store", statement.named.as_ref()?)));
            let named: Vec<String> = named.collect();
            let generated = ["KTABLE-SUPPRESS-STATE-STORE", "-Buffer"];
            let names: Vec<&str> = named.iter().map(String::as_str).chain(generated).collect();
            for changelog in changelogs(outcome, &names) {
                keep_newest_rows(changelog);
                for record in changelog {
                    record.at = None;
                    if emits_at_commits && let Some(value) = &record.value {
                        record.value = without_origin(value).map(str::to_owned);
                    }
                }
            }
        }),
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
        row: "how long a session store keeps sessions",
        applies: |case| {
            let is_uncached =
                |statement: &&Statement| !is_cached(statement) || emits_closed_windows(case, statement);
            let mut uncached = case.program.iter().filter(is_uncached);
            uncached.any(|statement| {
                let windowed = statement.of.as_deref().and_then(|of| case.statement(of));
                windowed.is_some_and(|windowed| reaches_back(case, windowed))
            })
        },
        forgive: None,
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
            // The deletion of a row that is not there moves the time of the store here, and not that of Kafka Streams' cache.
            let deletes = |statement: &Statement| statement.by.as_deref() == Some("until_long");
            let deleted_at = case.program.iter().any(deletes).then(|| input_times(case).max()).flatten();
            for rows in outcome.stores.values_mut() {
                let newest = rows.iter().filter_map(|row| time_of_row(case, row)).max().max(deleted_at);
                rows.retain(|row| {
                    time_of_row(case, row).zip(newest).is_none_or(|(time, newest)| time > newest - kept)
                });
            }
        }),
    },
    Exception {
        row: "rows of windows that are no longer kept",
        applies: |case| {
            let is_looked_up = |table: &Statement| {
                let goes = windows_of(case, table).is_some_and(|windows| rows_may_go(case, windows));
                goes && case.below(&table.id).into_iter().any(|below| is_join(below.op))
            };
            case.program.iter().any(is_looked_up)
        },
        forgive: None,
    },
    Exception {
        row: "a null value in a windowed `reduce` or cogroup",
        applies: |case| {
            let would_give_nulls = |statement: &&Statement| {
                let windows = window_kind(case, statement);
                let is_meant = statement.op == Op::Reduce || is_windowed_cogroup(case, statement);
                is_meant && windows.is_some_and(|kind| kind != WindowKind::Sliding)
            };
            let nulls_come_in =
                case.steps.iter().any(|step| matches!(step, Step::Pipe(input) if input.value.is_none()));
            let nulls_are_made = case
                .program
                .iter()
                .filter(|statement| makes_nulls(statement))
                .any(|maker| case.below(&maker.id).iter().any(would_give_nulls));
            nulls_are_made
                || nulls_come_in && case.program.iter().any(|statement| would_give_nulls(&statement))
        },
        forgive: None,
    },
    Exception {
        row: "old value of a session that is changed in place",
        applies: |case| {
            let is_uncached_session = |statement: &&Statement| {
                window_kind(case, statement) == Some(WindowKind::Session) && !is_cached(statement)
            };
            let mut sessions = case.program.iter().filter(is_uncached_session);
            sessions.any(|table| case.below(&table.id).into_iter().any(reads_old_values))
        },
        forgive: None,
    },
    Exception {
        row: "changelogs of the stores of a join of streams",
        applies: |case| case.program.iter().any(|statement| is_join_of_streams(case, statement)),
        forgive: Some(|case, outcome| {
            let joins = case.program.iter().filter(|statement| is_join_of_streams(case, statement));
            let windows = joins.filter_map(|join| join.within.as_ref());
            let kept = windows.map(|JoinWindows { before, after, grace }| before + after + grace).min();
            let kept = i64::try_from(kept.unwrap_or_default()).unwrap_or(i64::MAX);
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
            changelogs(outcome, &of_joins).flatten().for_each(|record| record.headers.clear());
        }),
    },
    Exception {
        row: "store of records that wait for a match",
        applies: |case| {
            let mut joins = case.program.iter().filter(|statement| is_join_of_streams(case, statement));
            joins.any(|join| join.op != Op::Join)
        },
        forgive: Some(|_, outcome| {
            changelogs(outcome, &WAITING_FOR_A_MATCH).for_each(keep_newest_rows);
        }),
    },
    Exception {
        row: "what is too old for a store in memory",
        applies: |case| {
            let nulls_come_in =
                case.steps.iter().any(|step| matches!(step, Step::Pipe(input) if input.value.is_none()));
            let mut joins = case.program.iter().filter(|statement| is_join_of_streams(case, statement));
            joins.any(is_in_memory) && (nulls_come_in || case.program.iter().any(makes_nulls))
        },
        forgive: None,
    },
    Exception {
        row: "what is too old for a store in memory",
        applies: |case| {
            let becomes_old = |statement: &Statement| {
                is_join_of_streams(case, statement)
                    || window_kind(case, statement) == Some(WindowKind::Session)
            };
            case.program.iter().any(|statement| is_in_memory(statement) && becomes_old(statement))
        },
        forgive: Some(|_, outcome| outcome.dropped = 0),
    },
    Exception {
        row: "store of a foreign-key join's subscriptions",
        applies: |case| case.program.iter().any(is_join_by_foreign_key),
        forgive: Some(|_, outcome| {
            changelogs(outcome, &["-SUBSCRIPTION-STATE-STORE", "-subscription-store"])
                .for_each(keep_newest_rows);
        }),
    },
    Exception {
        row: "what `suppress` lets go below a caching table",
        applies: |case| {
            // A window that changes is not closed: what waits until it is goes on in the same order either way.
            let is_limited = |statement: &Statement| {
                statement.op == Op::Suppress
                    && (statement.time_limit.is_some() || statement.max_records.is_some())
            };
            let mut limited = case.program.iter().filter(|statement| is_limited(statement));
            limited.any(|suppress| {
                let above = case.above(&suppress.id);
                let is_cached = |table: &&Statement| is_table(case, table) && is_cached(table);
                above.iter().any(is_cached) && above.iter().any(|above| makes_many(case, above))
            })
        },
        forgive: None,
    },
    Exception {
        row: "the old value of what `suppress` lets go",
        applies: |case| {
            let mut suppressed = case.program.iter().filter(|statement| statement.op == Op::Suppress);
            suppressed.any(|table| case.below(&table.id).into_iter().any(reads_old_values))
        },
        forgive: None,
    },
    Exception {
        row: "a record with a null key in a left join with a grace",
        applies: |case| {
            let makes_keys = [Op::SelectKey, Op::Map, Op::FlatMap];
            let null_keys_come_in =
                case.steps.iter().any(|step| matches!(step, Step::Pipe(input) if input.key.is_none()));
            let has_null_keys =
                null_keys_come_in || case.program.iter().any(|statement| makes_keys.contains(&statement.op));
            let waits = |statement: &Statement| statement.op == Op::LeftJoin && statement.grace.is_some();
            has_null_keys && case.program.iter().any(waits)
        },
        forgive: None,
    },
    // After all that goes by the order of records.
    Exception {
        row: "the order in which a cached table emits at a commit",
        applies: |case| {
            case.commits_by_hand && !mixes_keys_below_tables(case)
                || changed_often_by_a_record(case).next().is_some()
        },
        forgive: Some(|case, outcome| {
            // Where each record is committed, only such stores change in another order.
            let often: Vec<String> =
                changed_often_by_a_record(case).map(|store| format!("oracle-{store}-changelog")).collect();
            let topics = outcome.topics.iter_mut();
            for (topic, records) in topics.filter(|(topic, _)| case.commits_by_hand || often.contains(topic))
            {
                // Several rows may subscribe to one.
                let is_mixed = is_of_subscriptions(topic);
                records.sort_by_key(|record| (record.key.clone(), record.value.clone().filter(|_| is_mixed)));
            }
        }),
    },
];

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
