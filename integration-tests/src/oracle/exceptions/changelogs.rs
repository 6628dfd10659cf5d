//! What exceptions look at in changelogs and internal topics, which is bytes in hex.

use std::collections::BTreeMap;

use super::records::write_at_commits;
use crate::oracle::case::Case;
use crate::oracle::observation::{Outcome, Written};

/// Parts of the names of the stores in which a join of streams keeps the records of both.
pub(super) const KEPT_FOR_A_JOIN: [&str; 5] = ["JOINTHIS", "OUTERTHIS", "this-join", "OTHER-", "other-join"];

/// Parts of the names of the stores in which records wait for a match.
pub(super) const WAITING_FOR_A_MATCH: [&str; 2] = ["KSTREAM-OUTERSHARED", "-shared-join-store"];

/// A key in a store that retains duplicates ends with the number of its row, which has four bytes.
pub(super) const HEX_OF_NUMBER: usize = 8;

/// Whether it is the row that tells up to where closed windows, or sessions, were emitted.
pub(super) fn is_mark(record: &Written) -> bool {
    matches!(record.key.as_deref(), Some("0000000000000000ffffffff" | "0000000000000000ffffffffffffffff"))
}

/// The end of the session that a record is about.
pub(super) fn end_of_session(record: &Written) -> Option<i64> {
    let key = record.key.as_deref()?;
    let end = key.get(key.len().checked_sub(32)?..key.len() - 16)?;
    i64::from_str_radix(end, 16).ok()
}

/// Whether it is the topic in which rows of a foreign-key join subscribe to those that they refer to.
pub(super) fn is_of_subscriptions(topic: &str) -> bool {
    topic.contains("-SUBSCRIPTION-REGISTRATION-") || topic.ends_with("-subscription-registration-topic")
}

pub(super) fn is_changelog(topic: &str) -> bool {
    topic.ends_with("-changelog")
}

/// The changelogs of stores whose names contain one of these.
pub(super) fn changelogs<'o>(
    outcome: &'o mut Outcome,
    stores: &[impl AsRef<str>],
) -> impl Iterator<Item = &'o mut Vec<Written>> {
    let is_wanted =
        |topic: &str| is_changelog(topic) && stores.iter().any(|store| topic.contains(store.as_ref()));
    outcome.topics.iter_mut().filter(move |(topic, _)| is_wanted(topic)).map(|(_, records)| records)
}

/// Leaves of a changelog what it is about: the newest record of each key, [as if it were written at a commit](write_at_commits).
pub(super) fn keep_newest_rows(case: &Case, failed: Option<usize>, changelog: &mut Vec<Written>) {
    write_at_commits(case, failed, changelog);
    let newest: BTreeMap<_, _> = changelog.drain(..).map(|record| (record.key.clone(), record)).collect();
    changelog.extend(newest.into_values().filter(|record| record.value.is_some()));
}

/// Leaves of a changelog the newest record of each key in each commit.
pub(super) fn keep_newest_of_commits(case: &Case, failed: Option<usize>, changelog: &mut Vec<Written>) {
    write_at_commits(case, failed, changelog);
    let newest: BTreeMap<_, _> =
        changelog.drain(..).map(|record| ((record.step, record.key.clone()), record)).collect();
    changelog.extend(newest.into_values());
}

/// Leaves out the tombstones of rows that are written again right after them.
pub(super) fn leave_out_what_comes_again(changelog: &mut Vec<Written>) {
    let comes_again = |pair: &[Written]| {
        let [deleted, written] = pair else { return false };
        let is_same = (deleted.step, &deleted.key) == (written.step, &written.key);
        is_same && deleted.value.is_none() && written.value.is_some()
    };
    let mut left_out = changelog.windows(2).map(comes_again).collect::<Vec<_>>().into_iter();
    changelog.retain(|_| !left_out.next().unwrap_or_default());
}

/// What waits in a buffer, in hex, without event time and headers of the newest change, and where it came from.
pub(super) fn without_origin(buffered: &str) -> Option<&str> {
    let event_time_and_offset = 32;
    let headers = behind_bytes(buffered, event_time_and_offset)? + 8;
    let mut at = headers + 8;
    for _ in 0..2 * number(buffered, headers)? {
        at = behind_bytes(buffered, at)?;
    }
    buffered.get(at..)
}

/// What waits in a buffer, in hex, without the value that it had before it came there, and the one before its newest change.
pub(super) fn without_old_values(buffered: &str) -> Option<String> {
    let values = without_origin(buffered)?;
    let newest = values.get(behind_bytes(values, behind_bytes(values, 0)?)?..)?;
    Some(buffered.strip_suffix(values)?.to_owned() + newest)
}

fn number(hex: &str, at: usize) -> Option<u32> {
    u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()
}

/// Behind the length and the bytes that stand there. Lengths that are negative are those of nulls.
fn behind_bytes(hex: &str, at: usize) -> Option<usize> {
    let length = usize::try_from(number(hex, at)?.cast_signed().max(0)).ok()?;
    Some(at + 8 + 2 * length)
}
