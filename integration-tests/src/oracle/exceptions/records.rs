//! Which topics, and which records in them, an exception is about.

use super::changelogs::is_changelog;
use super::program::passes;
use crate::oracle::case::{Case, Op, Statement, Step};
use crate::oracle::observation::{Outcome, Written};

/// Whether what such statements make is written to the topic, or may be: nobody knows of topics whose names are generated what is above them.
pub(super) fn is_written_below(case: &Case, topic: &str, is_meant: impl Fn(&Statement) -> bool) -> bool {
    let mut writers = case.program.iter().filter(|statement| writes_to(statement, topic)).peekable();
    if writers.peek().is_none() {
        return !is_changelog(topic) && case.program.iter().any(is_meant);
    }
    writers.any(|writer| passes(case, writer, &is_meant))
}

/// The records of the topics that are [written below](is_written_below) such statements.
pub(super) fn written_below<'a>(
    case: &'a Case,
    outcome: &'a mut Outcome,
    is_meant: impl Fn(&Statement) -> bool + 'a,
) -> impl Iterator<Item = &'a mut Written> {
    let topics = outcome.topics.iter_mut().filter(move |(topic, _)| is_written_below(case, topic, &is_meant));
    topics.flat_map(|(_, records)| records)
}

/// What is in the [changelogs](is_changelog_of) of such statements.
pub(super) fn changelogs_of<'a>(
    case: &'a Case,
    outcome: &'a mut Outcome,
    is_meant: impl Fn(&Statement) -> bool + 'a,
) -> impl Iterator<Item = &'a mut Vec<Written>> {
    let topics = outcome.topics.iter_mut().filter(move |(topic, _)| is_changelog_of(case, topic, &is_meant));
    topics.map(|(_, records)| records)
}

fn writes_to(statement: &Statement, topic: &str) -> bool {
    match statement.op {
        Op::To => statement.topic.as_deref() == Some(topic),
        Op::ToChosenTopic => topic.starts_with("out-"),
        _ => false,
    }
}

/// Whether it is the changelog of the store of such a statement, or may be: that of a store whose name is generated is taken for any of
/// those without a name.
pub(super) fn is_changelog_of(case: &Case, topic: &str, is_meant: impl Fn(&Statement) -> bool) -> bool {
    let Some(store) = topic.strip_prefix("oracle-").and_then(|topic| topic.strip_suffix("-changelog")) else {
        return false;
    };
    let owner = case.program.iter().find(|statement| statement.store_name() == Some(store));
    match owner {
        Some(owner) => is_meant(owner),
        None => case.program.iter().any(|statement| statement.store_name().is_none() && is_meant(statement)),
    }
}

/// Whether the record was written by a commit that the case asks for.
pub(super) fn is_of_commit(case: &Case, record: &Written) -> bool {
    record.step.is_some_and(|step| is_commit(case, step))
}

fn is_commit(case: &Case, step: usize) -> bool {
    case.commits_by_hand && case.steps.get(step).is_none_or(|step| *step == Step::Commit)
}

/// As if the records were written by the first commits after them. Without those of which the commit never came, because a step `failed`.
pub(super) fn write_at_commits(case: &Case, failed: Option<usize>, records: &mut Vec<Written>) {
    for step in records.iter_mut().filter_map(|record| record.step.as_mut()) {
        while case.commits_by_hand && !is_commit(case, *step) {
            *step += 1;
        }
    }
    records.retain(|record| record.step.zip(failed).is_none_or(|(step, failed)| step < failed));
}
