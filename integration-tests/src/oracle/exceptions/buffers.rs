//! What differs where records are held back.

use super::Exception;
use super::changelogs::{changelogs, keep_newest_rows, without_old_values, without_origin};
use super::program::{
    changes_below, emits_at_commits, holds_back, is_in_place, is_join, is_windowed, makes_many,
    shows_old_values,
};
use super::tables::begins_with_initial;
use crate::oracle::case::{Case, Op, Statement};
use crate::oracle::observation::Outcome;

pub(super) const ALL: &[Exception] = &[
    Exception {
        id: "the first old value of an uncached aggregate, in a buffer",
        row: "an uncached stream aggregate's first old value",
        applies: |case| is_suppressed_below(case, begins_with_initial),
        forgive: Some(leave_old_values_out),
    },
    Exception {
        id: "the old value of a session, in a buffer",
        row: "old value of a session that is changed in place",
        applies: |case| is_suppressed_below(case, is_in_place),
        forgive: Some(leave_old_values_out),
    },
    // Before tombstones of sessions are left out.
    Exception {
        id: "the changelog of a buffer",
        row: "changelog of records that are held back",
        applies: |case| case.program.iter().any(|statement| holds_back(case, statement)),
        forgive: Some(|case, outcome| {
            let emits_at_commits = case.program.iter().any(|statement| emits_at_commits(case, statement));
            let failed = outcome.failed_step();
            for changelog in changelogs(outcome, &names_of_buffers(case)) {
                keep_newest_rows(case, failed, changelog);
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
        id: "what goes on through a buffer below a cache",
        row: "what `suppress` lets go below a caching table",
        applies: |case| {
            // A window that changes is not closed: what waits until it is goes on in the same order either way.
            let is_limited = |statement: &Statement| {
                statement.op == Op::Suppress
                    && (statement.time_limit.is_some()
                        || statement.max_records.is_some()
                        || statement.max_bytes.is_some())
            };
            let mut limited = case.program.iter().filter(|statement| is_limited(statement));
            limited.any(|suppress| {
                let above = case.above(&suppress.id);
                // What a cached table emits has no origin here, whose bytes would count.
                let counts_or_sees_order =
                    suppress.max_bytes.is_some() || above.iter().any(|above| makes_many(case, above));
                let mut tables = above.iter().filter(|table| emits_at_commits(case, table));
                tables.any(|table| counts_or_sees_order || is_met_again(case, table, suppress))
            })
        },
        forgive: None,
    },
    Exception {
        id: "the old value of what goes on, in a buffer",
        row: OLD_VALUE,
        applies: |case| is_suppressed_below(case, |_, statement| statement.op == Op::Suppress),
        forgive: Some(leave_old_values_out),
    },
    Exception {
        id: "the old value of what goes on",
        row: OLD_VALUE,
        applies: |case| {
            let mut suppressed = case.program.iter().filter(|statement| statement.op == Op::Suppress);
            suppressed.any(|table| {
                let deletes = |above: &&Statement| above.by.as_deref() == Some("until_long");
                let rows_go = !is_windowed(case, table) || case.above(&table.id).iter().any(deletes);
                shows_old_values(case, table, rows_go)
            })
        },
        forgive: None,
    },
    Exception {
        id: "a null key that waits",
        row: "a record with a null key in a left join with a grace",
        applies: |case| {
            let makes_keys = [Op::SelectKey, Op::Map, Op::FlatMap];
            let has_null_keys = case.inputs().any(|input| input.key.is_none())
                || case.program.iter().any(|statement| makes_keys.contains(&statement.op));
            let waits = |statement: &Statement| statement.op == Op::LeftJoin && statement.grace.is_some();
            has_null_keys && case.program.iter().any(waits)
        },
        forgive: None,
    },
];

const OLD_VALUE: &str = "the old value of what `suppress` lets go";

/// Whether changes of the table that were held back are joined with those that were not.
fn is_met_again(case: &Case, table: &Statement, suppress: &Statement) -> bool {
    let comes_from = |id: &str, source: &Statement| {
        id == source.id || case.above(id).iter().any(|above| above.id == source.id)
    };
    case.below(&suppress.id)
        .iter()
        .filter(|below| is_join(below.op))
        .any(|join| join.parents().any(|parent| comes_from(parent, table) && !comes_from(parent, suppress)))
}

/// Parts of the names of the stores in which records and changes wait.
fn names_of_buffers(case: &Case) -> Vec<String> {
    let named = case.program.iter().filter(|statement| holds_back(case, statement));
    let named = named.filter_map(|statement| Some(format!("-{}-store", statement.named.as_ref()?)));
    named.chain(["KTABLE-SUPPRESS-STATE-STORE", "-Buffer"].map(str::to_owned)).collect()
}

/// Whether changes of such a table wait.
fn is_suppressed_below(case: &Case, is_meant: fn(&Case, &Statement) -> bool) -> bool {
    let mut tables = case.program.iter().filter(|statement| is_meant(case, statement));
    tables.any(|table| changes_below(case, table).iter().any(|below| below.op == Op::Suppress))
}

fn leave_old_values_out(case: &Case, outcome: &mut Outcome) {
    for record in changelogs(outcome, &names_of_buffers(case)).flatten() {
        record.value = record.value.as_deref().and_then(without_old_values);
    }
}
