//! The log of one partition: records, the marks that end transactions, and what readers of committed records see of them.

use std::collections::BTreeSet;
use std::rc::Rc;

use millstream_state_stores::{Offset, Timestamp};

use super::transactions::ProducerId;

/// A record as it was produced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct LogRecord {
    pub(in super::super) key: Option<Vec<u8>>,
    pub(in super::super) value: Option<Vec<u8>>,
    pub(in super::super) timestamp: Timestamp,
}

/// A record and its place.
#[derive(Clone, Debug)]
pub(in super::super) struct Placed {
    pub(in super::super) offset: Offset,
    pub(in super::super) record: Rc<LogRecord>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Committed,
    Open(ProducerId),
    Aborted,
}

enum Entry {
    Record {
        record: Rc<LogRecord>,
        outcome: Outcome,
    },
    /// The mark of a transaction's end, or a record that was compacted away: readers see neither.
    Gap,
}

#[derive(Default)]
pub(in super::super) struct PartitionLog {
    entries: Vec<Entry>,
}

impl PartitionLog {
    /// Appends a record; `transaction`: of the producer whose open transaction it is part of.
    pub(super) fn append(&mut self, record: LogRecord, transaction: Option<ProducerId>) -> Offset {
        let outcome = transaction.map_or(Outcome::Committed, Outcome::Open);
        self.entries.push(Entry::Record { record: Rc::new(record), outcome });
        Offset::new(self.end().get() - 1)
    }

    /// Writes the mark that ends a producer's transaction here.
    pub(super) fn end_transaction(&mut self, producer: ProducerId, is_committed: bool) {
        let decided = if is_committed { Outcome::Committed } else { Outcome::Aborted };
        for entry in &mut self.entries {
            match entry {
                Entry::Record { outcome, .. } if *outcome == Outcome::Open(producer) => *outcome = decided,
                _ => {}
            }
        }
        self.entries.push(Entry::Gap);
    }

    /// Drops what is decided, except for the newest committed record of each key, and that too if it is a tombstone which is not kept any
    /// longer. Offsets stay as they are.
    pub(super) fn compact(&mut self, keeps_tombstones: bool) {
        let stable_end = usize::try_from(self.stable_end().get()).unwrap_or(0);
        let mut newer_keys = BTreeSet::new();
        for entry in self.entries[..stable_end].iter_mut().rev() {
            let is_kept = match entry {
                Entry::Record { record, outcome: Outcome::Committed } => {
                    newer_keys.insert(record.key.clone()) && (keeps_tombstones || record.value.is_some())
                }
                Entry::Record { .. } | Entry::Gap => false,
            };
            if !is_kept {
                *entry = Entry::Gap;
            }
        }
    }

    /// The offset after the newest entry.
    pub(in super::super) fn end(&self) -> Offset {
        offset_of(self.entries.len())
    }

    /// Where the first open transaction begins, else the end (Kafka's last stable offset).
    pub(in super::super) fn stable_end(&self) -> Offset {
        let is_open = |entry: &Entry| matches!(entry, Entry::Record { outcome: Outcome::Open(_), .. });
        self.entries.iter().position(is_open).map_or_else(|| self.end(), offset_of)
    }

    /// The committed records from an offset on, up to the last stable offset.
    pub(in super::super) fn committed_from(&self, from: Offset) -> impl Iterator<Item = Placed> {
        let stable_end = self.stable_end();
        self.committed().filter(move |placed| placed.offset >= from && placed.offset < stable_end)
    }

    /// All committed records, also those after an open transaction, which readers do not see yet.
    pub(in super::super) fn committed(&self) -> impl Iterator<Item = Placed> {
        self.not_aborted().filter_map(|(placed, open)| open.is_none().then_some(placed))
    }

    /// All records that were not aborted, with the producer of those whose transaction is open.
    pub(super) fn not_aborted(&self) -> impl Iterator<Item = (Placed, Option<ProducerId>)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| {
            let Entry::Record { record, outcome } = entry else { return None };
            let open = match outcome {
                Outcome::Committed => None,
                Outcome::Open(producer) => Some(*producer),
                Outcome::Aborted => return None,
            };
            Some((Placed { offset: offset_of(index), record: Rc::clone(record) }, open))
        })
    }
}

fn offset_of(index: usize) -> Offset {
    Offset::new(i64::try_from(index).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: &str) -> LogRecord {
        LogRecord { key: None, value: Some(value.into()), timestamp: Timestamp::from_millis(0) }
    }

    fn seen(log: &PartitionLog) -> Vec<i64> {
        log.committed_from(Offset::new(0)).map(|placed| placed.offset.get()).collect()
    }

    #[test]
    fn an_open_transaction_hides_what_follows_and_an_aborted_one_only_itself() {
        let mut log = PartitionLog::default();
        let (first, second) = (ProducerId(1), ProducerId(2));
        log.append(record("before"), None);
        log.append(record("aborted"), Some(first));
        log.append(record("committed"), Some(second));
        log.end_transaction(second, true);
        log.append(record("after"), None);
        assert_eq!((seen(&log), log.stable_end().get()), (vec![0], 1));
        log.end_transaction(first, false);
        assert_eq!((seen(&log), log.stable_end(), log.end().get()), (vec![0, 2, 4], log.end(), 6));
    }

    #[test]
    fn compaction_keeps_the_newest_committed_record_of_a_key_and_what_is_not_decided() {
        let mut log = PartitionLog::default();
        let (first, second) = (ProducerId(1), ProducerId(2));
        log.append(record("hidden"), None);
        log.append(record("kept"), None);
        log.append(record("aborted"), Some(first));
        log.end_transaction(first, false);
        log.append(record("open"), Some(second));
        log.compact(true);
        assert_eq!(log.not_aborted().map(|(placed, _)| placed.offset.get()).collect::<Vec<_>>(), [1, 4]);
        assert_eq!(log.end().get(), 5);
        log.end_transaction(second, true);
        log.append(LogRecord { value: None, ..record("deleted") }, None);
        let left = |log: &mut PartitionLog, keeps_tombstones| {
            log.compact(keeps_tombstones);
            seen(log)
        };
        assert_eq!((left(&mut log, true), left(&mut log, false)), (vec![6], vec![]));
    }
}
