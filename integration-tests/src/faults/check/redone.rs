//! At-least-once, to the record: what is there twice was not committed when it was done again.
//!
//! A task passes the records of an input partition on in order. So what it wrote, as positions in its input, is a number of runs
//! without gaps; each run but the first begins again at the position that was committed last before it. A run that begins
//! earlier did records again that were committed, and one that begins later passed over some.

use std::collections::BTreeMap;

use super::{Findings, ViolationKind};
use crate::kafka::ReadRecord;

/// An output, by the position of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::faults) struct Appended {
    pub(in crate::faults) input_offset: i64,
    /// By the broker's clock, in milliseconds.
    pub(in crate::faults) at: i64,
}

/// A commit of an input partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::faults) struct CommittedOffset {
    /// Of the next record to be processed.
    pub(in crate::faults) next: i64,
    /// By the broker's clock, in milliseconds.
    pub(in crate::faults) at: i64,
}

/// Checks the outputs of one partition, in the order they were written, against its commits.
pub(in crate::faults) fn redone(what: &str, outputs: &[Appended], commits: &[CommittedOffset]) -> Findings {
    let mut findings = Findings::default();
    let mut expected = 0;
    for output in outputs {
        if output.input_offset == expected {
            expected += 1;
            continue;
        }
        let begins = output.input_offset;
        let before = commits.iter().filter(|commit| commit.at < output.at).map(|commit| commit.next);
        let surely_committed = before.max().unwrap_or(0);
        let ever_committed = begins == 0 || commits.iter().any(|commit| commit.next == begins);
        if begins > expected {
            findings.add(ViolationKind::Lost, format!("{what} goes on at {begins} after {expected}"));
        } else if begins < surely_committed {
            let what = format!("{what} was done again from {begins}, and {surely_committed} was committed");
            findings.add(ViolationKind::Duplicated, what);
        } else if !ever_committed {
            let what = format!("{what} was done again from {begins}, which no commit named");
            findings.add(ViolationKind::Diverged, what);
        }
        expected = begins + 1;
    }
    findings
}

/// The commits of a group in Kafka's own `__consumer_offsets`, by topic and partition, in their order.
pub(in crate::faults) fn commits_of(
    group: &str,
    records: &[ReadRecord],
) -> BTreeMap<(String, i32), Vec<CommittedOffset>> {
    let mut commits: BTreeMap<_, Vec<CommittedOffset>> = BTreeMap::new();
    for record in records {
        let (Some(key), Some(value)) = (&record.key, &record.value) else { continue };
        let Some((committed_by, partition)) = offset_key(key) else { continue };
        // A version of two bytes, then the offset.
        let next = value.get(2..10).and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes);
        if let (true, Some(next), Some(at)) = (committed_by == group, next, record.timestamp) {
            commits.entry(partition).or_default().push(CommittedOffset { next, at });
        }
    }
    commits
}

/// Group, topic and partition of `OffsetCommitKey` (versions 0 and 1); other keys are of other kinds of records.
fn offset_key(mut bytes: &[u8]) -> Option<(&str, (String, i32))> {
    let version = take(&mut bytes, 2)?;
    if !matches!(version, [0, 0 | 1]) {
        return None;
    }
    let group = take_text(&mut bytes)?;
    let topic = take_text(&mut bytes)?.to_owned();
    let partition = i32::from_be_bytes(take(&mut bytes, 4)?.try_into().ok()?);
    Some((group, (topic, partition)))
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let length = u16::from_be_bytes(take(bytes, 2)?.try_into().ok()?);
    std::str::from_utf8(take(bytes, usize::from(length))?).ok()
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ViolationKind::{Diverged, Duplicated, Lost};

    /// Outputs a millisecond apart, and one commit: of the offset 3, at the time 4.
    fn check(input_offsets: &[i64]) -> Vec<ViolationKind> {
        let at = |(place, offset): (usize, &i64)| Appended { input_offset: *offset, at: 10 * place as i64 };
        let outputs: Vec<Appended> = input_offsets.iter().enumerate().map(at).collect();
        let commits = [CommittedOffset { next: 3, at: 45 }];
        redone("in-0", &outputs, &commits).violations.iter().map(|violation| violation.kind).collect()
    }

    #[test]
    fn a_run_begins_where_the_last_commit_was() {
        assert_eq!(check(&[0, 1, 2, 3, 4, 5]), [], "nothing is done again");
        assert_eq!(check(&[0, 1, 2, 3, 4, 3, 4, 5]), [], "from the commit on");
        assert_eq!(check(&[0, 1, 0, 1, 2, 3]), [], "before anything was committed");
        assert_eq!(check(&[0, 1, 2, 3, 4, 0, 1, 2, 3]), [Duplicated], "committed, and done again");
        assert_eq!(check(&[0, 1, 2, 4, 5]), [Lost], "passed over");
        assert_eq!(check(&[0, 1, 2, 3, 4, 5, 4, 5]), [Diverged], "nobody committed 4");
    }

    #[test]
    fn commits_are_read_as_kafka_lays_them_out() {
        let mut key = vec![0, 1, 0, 4];
        key.extend(b"shop\x00\x06orders");
        key.extend(2_i32.to_be_bytes());
        let mut value = vec![0, 3];
        value.extend(77_i64.to_be_bytes());
        value.extend([0; 12]);
        let record = |key: Vec<u8>| ReadRecord {
            partition: 0,
            offset: 0,
            timestamp: Some(5),
            key: Some(key),
            value: Some(value.clone()),
            headers: Vec::new(),
        };
        let group_metadata = record(vec![0, 2, 0, 4, b's', b'h', b'o', b'p']);
        let records = [record(key), group_metadata];
        let expected =
            BTreeMap::from([(("orders".to_owned(), 2), vec![CommittedOffset { next: 77, at: 5 }])]);
        assert_eq!(commits_of("shop", &records), expected);
        assert_eq!(commits_of("other", &records), BTreeMap::new());
    }
}
