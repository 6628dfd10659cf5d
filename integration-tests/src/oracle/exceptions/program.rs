//! What exceptions ask of the program of a case, and of its records.

use super::time::window_kind;
use crate::oracle::case::{Case, Op, Statement, WindowKind, Windows};

/// The topics whose records the statement sees, each of them and as they came; none if something above does more than to pass them on.
pub(super) fn topics_of<'a>(case: &'a Case, statement: &'a Statement) -> Option<Vec<&'a str>> {
    match statement.op {
        Op::Stream => Some(statement.topic.as_deref()?.split(',').collect()),
        Op::GroupByKey | Op::WindowedBy | Op::Peek | Op::Merge => {
            let parents = statement.parents().map(|parent| topics_of(case, case.statement(parent)?));
            Some(parents.collect::<Option<Vec<_>>>()?.concat())
        }
        _ => None,
    }
}

/// Whether records or changes wait in a buffer of the statement.
pub(super) fn holds_back(case: &Case, statement: &Statement) -> bool {
    let waits_for_table = || statement.grace.is_some() && !is_join_of_streams(case, statement);
    statement.op == Op::Suppress || waits_for_table()
}

/// The versioned stores, and for how many milliseconds they remember.
pub(super) fn versioned(case: &Case) -> impl Iterator<Item = (&str, i64)> {
    case.program.iter().filter_map(|statement| {
        let store = statement.store.as_ref()?;
        Some((store.name.as_deref()?, i64::try_from(store.versioned?).unwrap_or(i64::MAX)))
    })
}

/// Whether the order of changes of different keys, of tables that emit them at commits, can be seen in what becomes of them: keys change, or
/// stream time is looked at.
pub(super) fn mixes_keys_below_tables(case: &Case) -> bool {
    let mixes = |statement: &Statement| {
        changes_keys(statement)
            || matches!(statement.op, Op::WindowedBy | Op::Suppress | Op::ToChosenTopic)
            || statement.grace.is_some()
            || is_join_of_streams(case, statement)
    };
    // Of a join below another one, the rows of both sides may change with the same change.
    let joins_joined = |table: &Statement| {
        let joins = |below: &&Statement| is_join_by_foreign_key(below);
        is_join_by_foreign_key(table) && case.below(&table.id).iter().any(joins)
    };
    let mut tables = case.program.iter().filter(|statement| is_table(case, statement));
    tables.any(|table| {
        joins_joined(table) || emits_at_commits(case, table) && case.below(&table.id).into_iter().any(mixes)
    })
}

/// Whether the statement may make more of a record, or of a change, than one.
pub(super) fn makes_many(case: &Case, statement: &Statement) -> bool {
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

/// The cached stores of processors to which one record may come as several.
pub(super) fn changed_often_by_a_record(case: &Case) -> impl Iterator<Item = &str> {
    let processors = case.program.iter().filter(|statement| {
        matches!(statement.op, Op::Process | Op::ProcessValues)
            && is_cached(statement)
            && case.above(&statement.id).into_iter().any(|above| makes_many(case, above))
    });
    processors.filter_map(|statement| statement.store.as_ref()?.name.as_deref())
}

pub(super) fn changes_keys(statement: &Statement) -> bool {
    matches!(statement.op, Op::SelectKey | Op::Map | Op::FlatMap | Op::GroupBy | Op::Process)
}

/// Whether values may become null there.
pub(super) fn makes_nulls(statement: &Statement) -> bool {
    let makers = ["null_if_long", "swap", "and_swapped"];
    statement.op == Op::ToStream || statement.by.as_deref().is_some_and(|by| makers.contains(&by))
}

/// Whether it can be seen what a change of the table says that the row was before. `rows_go` if rows of the table may be deleted.
pub(super) fn shows_old_values(case: &Case, table: &Statement, rows_go: bool) -> bool {
    changes_below(case, table).into_iter().any(|below| match below.op {
        Op::GroupBy => true,
        // A row that it does not tell from another one passes as the other does.
        Op::Filter | Op::FilterNot => rows_go || matches!(below.by.as_deref(), Some("even_length" | "long")),
        Op::Join => is_join_by_foreign_key(below),
        // What was not there, and is not, is not told to the other side.
        Op::LeftJoin | Op::OuterJoin => is_join_by_foreign_key(below) || rows_go,
        // Their bytes count.
        Op::Suppress => below.max_bytes.is_some(),
        _ => false,
    })
}

/// The statements to which the table's changes come as changes: down to where they become records of a stream, or of groups.
pub(super) fn changes_below<'a>(case: &'a Case, table: &'a Statement) -> Vec<&'a Statement> {
    let mut tables = vec![&*table.id];
    let mut below = Vec::new();
    for statement in case.program.iter().filter(|statement| statement.id != table.id) {
        let is_below = statement.parents().any(|parent| tables.contains(&parent));
        if is_below && is_table(case, statement) {
            tables.push(&statement.id);
        }
        if is_below && (is_table(case, statement) || statement.op == Op::GroupBy) {
            below.push(statement);
        }
    }
    below
}

/// Whether what such statements make comes to the statement, or it is one.
pub(super) fn passes(case: &Case, statement: &Statement, is_meant: &dyn Fn(&Statement) -> bool) -> bool {
    // A stream joined with a table only looks into it.
    let is_lookup =
        is_join(statement.op) && !is_table(case, statement) && !is_join_of_streams(case, statement);
    let parents = statement.parents().take(if is_lookup { 1 } else { 2 });
    is_meant(statement)
        || parents.filter_map(|parent| case.statement(parent)).any(|parent| passes(case, parent, is_meant))
}

/// Whether the table keeps rows and emits their changes at commits.
pub(super) fn emits_at_commits(case: &Case, statement: &Statement) -> bool {
    let keeps_rows = match statement.op {
        Op::Table | Op::ToTable | Op::Count | Op::Reduce | Op::Aggregate => true,
        // If somebody looks its rows up.
        _ if is_join_by_foreign_key(statement) && !changes_below(case, statement).is_empty() => true,
        // Options without a name make a store for a join, not for a filter.
        _ => statement.store_name().is_some() || is_join(statement.op) && statement.store.is_some(),
    };
    keeps_rows && is_table(case, statement) && is_cached(statement) && !emits_closed_windows(case, statement)
}

/// Whether the statement aggregates windows and emits them when they close.
pub(super) fn emits_closed_windows(case: &Case, statement: &Statement) -> bool {
    let of = statement.of.as_deref().and_then(|of| case.statement(of));
    is_aggregate(statement.op) && of.is_some_and(|of| of.emit.as_deref() == Some("on_window_close"))
}

/// Whether the rows of the table have windows.
pub(super) fn is_windowed(case: &Case, table: &Statement) -> bool {
    window_kind(case, table).is_some()
        || case.above(&table.id).into_iter().any(|above| {
            window_kind(case, above).is_some()
                && changes_below(case, above).iter().any(|below| below.id == table.id)
        })
}

/// Whether it is a table of sessions of which each change is emitted at once.
pub(super) fn is_in_place(case: &Case, statement: &Statement) -> bool {
    window_kind(case, statement) == Some(WindowKind::Session) && !is_cached(statement)
}

pub(super) fn input_times(case: &Case) -> impl Iterator<Item = i64> {
    case.inputs().map(|input| input.at)
}

/// Whether what the statement is called on is a table.
pub(super) fn is_of_table(case: &Case, statement: &Statement) -> bool {
    let of = statement.of.as_deref().and_then(|of| case.statement(of));
    of.is_some_and(|of| is_table(case, of))
}

/// Whether what the statement makes is a table.
pub(super) fn is_table(case: &Case, statement: &Statement) -> bool {
    match statement.op {
        Op::Table | Op::ToTable | Op::Count | Op::Reduce | Op::Aggregate | Op::Suppress => true,
        Op::Filter | Op::FilterNot | Op::MapValues | Op::TransformValues => is_of_table(case, statement),
        Op::Join | Op::LeftJoin | Op::OuterJoin => is_of_table(case, statement),
        _ => false,
    }
}

pub(super) fn is_join(op: Op) -> bool {
    matches!(op, Op::Join | Op::LeftJoin | Op::OuterJoin)
}

pub(super) fn is_join_by_foreign_key(statement: &Statement) -> bool {
    is_join(statement.op) && statement.on.is_some()
}

pub(super) fn is_join_of_streams(case: &Case, statement: &Statement) -> bool {
    let is_stream = |id: &String| {
        let parent = case.statement(id);
        parent.is_some_and(|parent| parent.op != Op::GlobalTable && !is_table(case, parent))
    };
    is_join(statement.op) && statement.of.iter().chain(&statement.with).all(is_stream)
}

/// Whether the statement aggregates the records of streams, not the rows of a table.
pub(super) fn is_aggregate_of_a_stream(case: &Case, statement: &Statement) -> bool {
    let of = statement.of.as_deref().and_then(|of| case.statement(of));
    is_aggregate(statement.op) && of.is_some_and(|of| !is_of_table(case, of))
}

fn is_aggregate(op: Op) -> bool {
    matches!(op, Op::Count | Op::Reduce | Op::Aggregate)
}

pub(super) fn is_in_memory(statement: &Statement) -> bool {
    statement.store.as_ref().is_some_and(|store| store.in_memory)
}

pub(super) fn is_cached(statement: &Statement) -> bool {
    let store_is = statement.store.as_ref().is_none_or(|store| store.cached && store.versioned.is_none());
    store_is && statement.op != Op::Suppress
}
