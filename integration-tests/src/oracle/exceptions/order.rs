//! In which order changes of different keys come.

use super::Exception;
use super::changelogs::is_of_subscriptions;
use super::program::{
    changed_often_by_a_record, emits_at_commits, is_cached, mixes_keys_below_tables, passes,
};
use super::records::{is_changelog_of, is_of_commit, is_written_below};
use crate::oracle::case::{Op, Statement};
use crate::oracle::observation::Written;

const ROW: &str = "the order in which a cached table emits at a commit";

pub(super) const ALL: &[Exception] = &[
    Exception {
        id: "the order of a commit where it decides what comes of it",
        row: ROW,
        applies: |case| case.commits_by_hand && mixes_keys_below_tables(case),
        forgive: None,
    },
    Exception {
        id: "the order of a commit",
        row: ROW,
        applies: |case| {
            let is_cached = |statement: &Statement| {
                emits_at_commits(case, statement) || is_cached_for_a_processor(statement)
            };
            case.commits_by_hand && case.program.iter().any(is_cached)
        },
        forgive: Some(|case, outcome| {
            let emits = |statement: &Statement| emits_at_commits(case, statement);
            let is_below = |statement: &Statement| {
                passes(case, statement, &emits) || is_cached_for_a_processor(statement)
            };
            for (topic, records) in &mut outcome.topics {
                if is_written_below(case, topic, emits) || is_changelog_of(case, topic, is_below) {
                    // Several rows may subscribe to one.
                    let is_mixed = is_of_subscriptions(topic);
                    for step in records.chunk_by_mut(|one, other| one.step == other.step) {
                        if is_of_commit(case, &step[0]) {
                            sort_by_key(step, is_mixed);
                        }
                    }
                }
            }
        }),
    },
    Exception {
        id: "the order of what one record changes in a processor's store",
        row: ROW,
        applies: |case| changed_often_by_a_record(case).next().is_some(),
        forgive: Some(|case, outcome| {
            for store in changed_often_by_a_record(case) {
                let changelog = outcome.topics.get_mut(&format!("oracle-{store}-changelog"));
                let steps = changelog
                    .into_iter()
                    .flat_map(|changelog| changelog.chunk_by_mut(|one, other| one.step == other.step));
                steps.for_each(|step| sort_by_key(step, false));
            }
        }),
    },
];

fn is_cached_for_a_processor(statement: &Statement) -> bool {
    matches!(statement.op, Op::Process | Op::ProcessValues)
        && statement.store.is_some()
        && is_cached(statement)
}

/// Those of one key stay in their order.
fn sort_by_key(records: &mut [Written], and_value: bool) {
    records.sort_by_key(|record| (record.key.clone(), record.value.clone().filter(|_| and_value)));
}
