//! What the two do not agree on, on purpose: each is a row of `docs/differences-from-kafka-streams.md`, and has a case in
//! `integration-tests/oracle/cases` that shows it.

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Case, Input, JoinWindows, Op, Statement, Step, WindowKind, Windows};
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
            let changes_at_once = |table: &&Statement| {
                let above = || case.above(&table.id).into_iter().chain([*table]);
                is_table(case, table) && is_cached(table) && above().any(|above| makes_many(case, above))
            };
            let mut tables = case.program.iter().filter(changes_at_once);
            tables.any(|table| case.below(&table.id).into_iter().any(is_limited))
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
];

/// Parts of the names of the stores in which a join of streams keeps the records of both.
const KEPT_FOR_A_JOIN: [&str; 5] = ["JOINTHIS", "OUTERTHIS", "this-join", "OTHER-", "other-join"];

/// Parts of the names of the stores in which records wait for a match.
const WAITING_FOR_A_MATCH: [&str; 2] = ["KSTREAM-OUTERSHARED", "-shared-join-store"];

/// A key in a store that retains duplicates ends with the number of its row, which has four bytes.
const HEX_OF_NUMBER: usize = 8;

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

/// Whether stream time leaps, between two records that sliding windows see, over all that Kafka Streams' store keeps behind those that are
/// open.
fn leaps_over(case: &Case, windowed: &Statement) -> bool {
    let Some(Windows { kind: WindowKind::Sliding, size, .. }) = &windowed.windows else { return false };
    let farthest = i64::try_from(2 * size).unwrap_or(i64::MAX);
    let topics = topics_of(case, windowed);
    let mut stream_time: Option<i64> = None;
    case.steps.iter().any(|step| {
        let Step::Pipe(Input { topic, key, value, at, .. }) = step else { return false };
        let before = stream_time.unwrap_or(*at);
        stream_time = match &topics {
            Some(topics) if !topics.contains(&&**topic) || key.is_none() || value.is_none() => return false,
            Some(_) => Some(before.max(*at)),
            // What is above may leave any record out, and so all between two.
            None => Some(before.min(*at)),
        };
        at - before >= farthest
    })
}

/// Whether the window that ends with a record is the one that begins right after another.
fn is_met_exactly(case: &Case, windows: &Windows) -> bool {
    let keys_stay = !case.program.iter().any(changes_keys);
    let distance = windows.size + 1;
    let inputs =
        || case.steps.iter().filter_map(|step| if let Step::Pipe(input) = step { Some(input) } else { None });
    windows.kind == WindowKind::Sliding
        && inputs().any(|one| {
            inputs()
                .any(|other| one.at.abs_diff(other.at) == distance && (!keys_stay || one.key == other.key))
        })
}

/// The topics whose records the statement sees, each of them and as they came; none if something above does more than to pass them on.
fn topics_of<'a>(case: &'a Case, statement: &'a Statement) -> Option<Vec<&'a str>> {
    match statement.op {
        Op::Stream => Some(statement.topic.as_deref()?.split(',').collect()),
        Op::GroupByKey | Op::WindowedBy | Op::Peek | Op::Merge => {
            let parents = statement.parents().map(|parent| topics_of(case, case.statement(parent)?));
            Some(parents.collect::<Option<Vec<_>>>()?.concat())
        }
        _ => None,
    }
}

/// Whether a record that is not too late may continue a session that is too old for the store of Kafka Streams.
fn reaches_back(case: &Case, windowed: &Statement) -> bool {
    let Some(windows @ Windows { kind: WindowKind::Session, .. }) = &windowed.windows else { return false };
    let (gap, kept) = (i64::try_from(windows.size).unwrap_or(i64::MAX), kept_for(windows));
    let keys_stay = !case.program.iter().any(changes_keys);
    let topics = topics_of(case, windowed);
    let (mut before, mut stream_time) = (Vec::new(), i64::MIN);
    case.steps.iter().any(|step| {
        let Step::Pipe(Input { topic, key, at, .. }) = step else { return false };
        let is_elsewhere = topics.as_ref().is_some_and(|topics| !topics.contains(&&**topic));
        if is_elsewhere || keys_stay && key.is_none() {
            return false;
        }
        stream_time = stream_time.max(*at);
        let closed = stream_time.saturating_sub(kept);
        let of_its_key = before.iter().filter(|(other, _)| !keys_stay || *other == key);
        let continued = of_its_key.map(|(_, end)| *end).filter(|end| (at - gap..=at + gap).contains(end));
        let (open, too_old): (Vec<i64>, Vec<i64>) = continued.partition(|end| *end > closed);
        before.push((key, *at));
        // What is above may leave out the record that makes this one late.
        let is_late = topics.is_some() && *at < closed && open.is_empty();
        !is_late && !too_old.is_empty()
    })
}

/// The changelogs of stores whose names contain one of these.
fn changelogs<'o>(outcome: &'o mut Outcome, stores: &[&str]) -> impl Iterator<Item = &'o mut Vec<Written>> {
    let is_wanted =
        |topic: &str| topic.ends_with("-changelog") && stores.iter().any(|store| topic.contains(store));
    outcome.topics.iter_mut().filter(move |(topic, _)| is_wanted(topic)).map(|(_, records)| records)
}

/// Leaves of a changelog what it is about: the newest record of each key.
fn keep_newest_rows(changelog: &mut Vec<Written>) {
    let newest: BTreeMap<_, _> = changelog.drain(..).map(|record| (record.key.clone(), record)).collect();
    changelog.extend(newest.into_values().filter(|record| record.value.is_some()));
}

/// What waits in a buffer, in hex, without event time and headers of the newest change, and where it came from.
fn without_origin(buffered: &str) -> Option<&str> {
    let number = |at: usize| u32::from_str_radix(buffered.get(at..at + 8)?, 16).ok();
    // Lengths that are negative are those of nulls.
    let behind_bytes = |at: usize| {
        let length = usize::try_from(number(at)?.cast_signed().max(0)).ok()?;
        Some(at + 8 + 2 * length)
    };
    let event_time_and_offset = 32;
    let headers = behind_bytes(event_time_and_offset)? + 8;
    let mut at = headers + 8;
    for _ in 0..2 * number(headers)? {
        at = behind_bytes(at)?;
    }
    buffered.get(at..)
}

/// Whether records or changes wait in a buffer of the statement.
fn holds_back(case: &Case, statement: &Statement) -> bool {
    let waits_for_table = || statement.grace.is_some() && !is_join_of_streams(case, statement);
    statement.op == Op::Suppress || waits_for_table()
}

/// The versioned stores, and for how many milliseconds they remember.
fn versioned(case: &Case) -> impl Iterator<Item = (&str, i64)> {
    case.program.iter().filter_map(|statement| {
        let store = statement.store.as_ref()?;
        Some((store.name.as_deref()?, i64::try_from(store.versioned?).unwrap_or(i64::MAX)))
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

/// Whether the order of changes of different keys can be seen in what becomes of them: keys change, or stream time is looked at.
fn mixes_keys_below_tables(case: &Case) -> bool {
    let mixes = |statement: &Statement| {
        changes_keys(statement)
            || matches!(statement.op, Op::WindowedBy | Op::Suppress | Op::ToChosenTopic)
            || statement.grace.is_some()
            || is_join_of_streams(case, statement)
    };
    let mut tables = case.program.iter().filter(|statement| is_table(case, statement));
    tables.any(|table| case.below(&table.id).into_iter().any(mixes))
}

/// Whether the statement may make more of a record, or of a change, than one.
fn makes_many(case: &Case, statement: &Statement) -> bool {
    match statement.op {
        Op::FlatMap | Op::FlatMapValues | Op::Merge | Op::Cogroup | Op::Process | Op::Suppress => true,
        Op::Join | Op::LeftJoin | Op::OuterJoin => true,
        Op::GroupBy => is_of_table(case, statement),
        Op::WindowedBy => {
            let hops = |windows: &Windows| windows.kind != WindowKind::Time || windows.advance.is_some();
            statement.emit.is_some() || statement.windows.as_ref().is_some_and(hops)
        }
        _ => false,
    }
}

fn changes_keys(statement: &Statement) -> bool {
    matches!(statement.op, Op::SelectKey | Op::Map | Op::FlatMap | Op::GroupBy | Op::Process)
}

/// Whether values may become null there.
fn makes_nulls(statement: &Statement) -> bool {
    let makers = ["null_if_long", "swap", "and_swapped"];
    statement.op == Op::ToStream || statement.by.as_deref().is_some_and(|by| makers.contains(&by))
}

/// Whether a table above must say what a row was before.
fn reads_old_values(statement: &Statement) -> bool {
    let on_tables =
        [Op::Filter, Op::FilterNot, Op::GroupBy, Op::Join, Op::LeftJoin, Op::OuterJoin, Op::Suppress];
    on_tables.contains(&statement.op)
}

/// The windows that the statement aggregates.
fn windows_of<'a>(case: &'a Case, statement: &Statement) -> Option<&'a Windows> {
    case.statement(statement.of.as_deref()?)?.windows.as_ref()
}

/// Whether the statement aggregates several streams in windows.
fn is_windowed_cogroup(case: &Case, statement: &Statement) -> bool {
    let of = |statement: &Statement| statement.of.as_deref().and_then(|of| case.statement(of));
    let windowed = of(statement).filter(|windowed| windowed.op == Op::WindowedBy);
    windowed.and_then(of).is_some_and(|of| of.op == Op::Cogroup)
}

fn window_kind(case: &Case, statement: &Statement) -> Option<WindowKind> {
    windows_of(case, statement).map(|windows| windows.kind)
}

/// Whether the statement aggregates windows and emits them when they close.
fn emits_closed_windows(case: &Case, statement: &Statement) -> bool {
    let of = statement.of.as_deref().and_then(|of| case.statement(of));
    of.is_some_and(|of| of.emit.as_deref() == Some("on_window_close"))
}

/// How long rows of such windows are there for certain, in milliseconds.
fn kept_for(windows: &Windows) -> i64 {
    let length = if windows.kind == WindowKind::Sliding { 2 * windows.size } else { windows.size };
    i64::try_from(length + windows.grace).unwrap_or(i64::MAX)
}

/// Whether a row may be there no longer when the last record comes.
fn rows_may_go(case: &Case, windows: &Windows) -> bool {
    let size = i64::try_from(windows.size).unwrap_or(i64::MAX);
    let oldest = input_times(case).min().unwrap_or_default().saturating_sub(size);
    input_times(case).max().is_some_and(|newest| newest.saturating_sub(oldest) >= kept_for(windows))
}

fn input_times(case: &Case) -> impl Iterator<Item = i64> {
    let time = |step: &Step| if let Step::Pipe(input) = step { Some(input.at) } else { None };
    case.steps.iter().filter_map(time)
}

/// By which a row of windows or sessions is kept: the start of the window, or the end of the session. None of a row without a window.
fn time_of_row(case: &Case, row: &Row) -> Option<i64> {
    let (start, end) = row.key.rsplit_once('@')?.1.split_once('/')?;
    let mut windows = case.program.iter().filter_map(|statement| statement.windows.as_ref());
    let has_sessions = windows.any(|windows| windows.kind == WindowKind::Session);
    if has_sessions { end } else { start }.parse().ok()
}

/// Whether what the statement is called on is a table.
fn is_of_table(case: &Case, statement: &Statement) -> bool {
    let of = statement.of.as_deref().and_then(|of| case.statement(of));
    of.is_some_and(|of| is_table(case, of))
}

/// Whether what the statement makes is a table.
fn is_table(case: &Case, statement: &Statement) -> bool {
    match statement.op {
        Op::Table | Op::ToTable | Op::Count | Op::Reduce | Op::Aggregate | Op::Suppress => true,
        Op::Filter | Op::FilterNot | Op::MapValues | Op::TransformValues => is_of_table(case, statement),
        Op::Join | Op::LeftJoin | Op::OuterJoin => is_of_table(case, statement),
        _ => false,
    }
}

fn is_join(op: Op) -> bool {
    matches!(op, Op::Join | Op::LeftJoin | Op::OuterJoin)
}

fn is_join_by_foreign_key(statement: &Statement) -> bool {
    is_join(statement.op) && statement.on.is_some()
}

fn is_join_of_streams(case: &Case, statement: &Statement) -> bool {
    let is_stream = |id: &String| {
        let parent = case.statement(id);
        parent.is_some_and(|parent| parent.op != Op::GlobalTable && !is_table(case, parent))
    };
    is_join(statement.op) && statement.of.iter().chain(&statement.with).all(is_stream)
}

fn is_aggregate(op: Op) -> bool {
    matches!(op, Op::Count | Op::Reduce | Op::Aggregate)
}

fn is_in_memory(statement: &Statement) -> bool {
    statement.store.as_ref().is_some_and(|store| store.in_memory)
}

fn is_cached(statement: &Statement) -> bool {
    let store_is = statement.store.as_ref().is_none_or(|store| store.cached && store.versioned.is_none());
    store_is && statement.op != Op::Suppress
}
