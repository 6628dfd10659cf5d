//! What differs in topologies that are optimized.

use super::Exception;
use super::joins::kept_for_a_match;
use super::program::{is_join, is_join_of_streams, is_table};
use super::time::comes_late_by;
use crate::oracle::case::{Case, Op, Statement};

pub(super) const ALL: &[Exception] = &[
    Exception {
        id: "a self-join that is not an inner one",
        row: "`single.store.self.join` of a left or outer join",
        applies: |case| case.optimized && self_joins(case).any(|join| join.op != Op::Join),
        forgive: None,
    },
    Exception {
        id: "a record as late as its pair with itself can be",
        row: "`single.store.self.join` of a record that is as late as it can be",
        applies: |case| {
            let is_at_the_edge = |join: &Statement| {
                kept_for_a_match(join).is_some_and(|kept| comes_late_by(case, kept.saturating_sub(1)))
            };
            case.optimized && self_joins(case).any(is_at_the_edge)
        },
        forgive: None,
    },
    Exception {
        id: "an optimized table that is versioned",
        row: "`reuse.ktable.source.topics`: versioned tables",
        applies: |case| {
            let is_versioned =
                |table: &Statement| table.store.as_ref().is_some_and(|store| store.versioned.is_some());
            case.optimized
                && case.program.iter().any(|statement| statement.op == Op::Table && is_versioned(statement))
        },
        forgive: None,
    },
    Exception {
        id: "null keys below a topic that others read",
        row: "`merge.repartition.topics`: records without a key, which others read below the topic",
        applies: |case| {
            let passes_null_keys = |below: &&Statement| {
                matches!(below.op, Op::To | Op::ToChosenTopic | Op::LeftJoin | Op::OuterJoin)
            };
            case.optimized
                && has_null_keys(case)
                && merged(case).any(|below| below.iter().any(passes_null_keys))
        },
        forgive: None,
    },
    Exception {
        id: "streams that are merged below one of several topics",
        row: "`merge.repartition.topics`: streams that are merged below one of several topics",
        applies: |case| {
            let is_merge = |below: &&Statement| below.op == Op::Merge;
            case.optimized && merged(case).any(|below| below.iter().any(is_merge))
        },
        forgive: None,
    },
    Exception {
        id: "what changes values unseen on the way to a topic",
        row: "`merge.repartition.topics`: a join with a global table, `process` or `processValues` on the way",
        applies: |case| {
            let is_unseen = |below: &&Statement| {
                matches!(below.op, Op::Process | Op::ProcessValues) || is_global_join(case, below)
            };
            case.optimized && merged(case).any(|below| below.iter().any(is_unseen))
        },
        forgive: None,
    },
];

/// The joins of streams with themselves.
fn self_joins(case: &Case) -> impl Iterator<Item = &Statement> {
    case.program.iter().filter(|join| {
        let [of, with] = [&join.of, &join.with].map(|id| case.statement(id.as_deref()?));
        // Streams of the same topic are made one.
        let is_same = |(of, with): (&Statement, &Statement)| {
            of.id == with.id || of.op == Op::Stream && with.op == Op::Stream && of.topic == with.topic
        };
        is_join_of_streams(case, join) && of.zip(with).is_some_and(is_same)
    })
}

/// What builds, as on a stream, on each change of keys below which something is repartitioned.
fn merged(case: &Case) -> impl Iterator<Item = Vec<&Statement>> {
    let changes = |statement: &&Statement| matches!(statement.op, Op::SelectKey | Op::Map | Op::FlatMap);
    let changers = case.program.iter().filter(changes);
    changers.map(|changer| on_the_way(case, changer)).filter(|below| {
        let is_repartitioned = |below: &&Statement| {
            matches!(below.op, Op::GroupByKey | Op::ToTable | Op::Repartition)
                || is_join(below.op) && !is_global_join(case, below)
        };
        below.iter().any(is_repartitioned)
    })
}

/// The statements to which records come as the stream has them: through whatever changes no key to Kafka Streams, and up to where they are
/// repartitioned.
fn on_the_way<'a>(case: &'a Case, changer: &'a Statement) -> Vec<&'a Statement> {
    let mut streams = vec![&*changer.id];
    let mut below = Vec::new();
    for statement in &case.program {
        if statement.parents().any(|parent| streams.contains(&parent)) {
            below.push(statement);
            let goes_on = matches!(
                statement.op,
                Op::Filter
                    | Op::FilterNot
                    | Op::MapValues
                    | Op::FlatMapValues
                    | Op::Peek
                    | Op::Merge
                    | Op::Split
                    | Op::Branch
                    | Op::DefaultBranch
                    | Op::Process
                    | Op::ProcessValues
            );
            if goes_on && !is_table(case, statement) || is_global_join(case, statement) {
                streams.push(&statement.id);
            }
        }
    }
    below
}

fn is_global_join(case: &Case, statement: &Statement) -> bool {
    let with = statement.with.as_deref().and_then(|with| case.statement(with));
    is_join(statement.op) && with.is_some_and(|with| with.op == Op::GlobalTable)
}

fn has_null_keys(case: &Case) -> bool {
    let makers = ["value", "first_letter", "swap", "by_first_letter", "and_swapped"];
    let makes = |statement: &Statement| statement.by.as_deref().is_some_and(|by| makers.contains(&by));
    case.inputs().any(|input| input.key.is_none()) || case.program.iter().any(makes)
}
