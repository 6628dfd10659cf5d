//! What waits to be sent to the changelog topics, in the order it happened.
//!
//! Keys and values lie one after the other in one buffer, so that logging a change allocates nothing.

use std::ops::Range;

use crate::types::{StoreIndex, Timestamp};

/// One change of a store, for its changelog topic. The value carries no timestamp of its own: Kafka Streams' timestamped
/// stores log it plain, with the timestamp of the Kafka record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangelogEntry<'a> {
    /// The store that changed.
    pub store: StoreIndex,
    /// The encoded key.
    pub key: &'a [u8],
    /// The encoded value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The timestamp for the Kafka record.
    pub timestamp: Timestamp,
}

/// The entries not yet sent.
#[derive(Default)]
pub(crate) struct ChangelogBuffer {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// How many entries, from the start, are sent already.
    sent: usize,
    /// Where the current record began.
    record: Mark,
}

struct Entry {
    store: StoreIndex,
    key: Range<usize>,
    /// Follows the key.
    value_end: Option<usize>,
    timestamp: Timestamp,
}

/// A state of the buffer that it can be cut back to.
#[derive(Default, Clone, Copy)]
struct Mark {
    bytes: usize,
    entries: usize,
}

impl ChangelogBuffer {
    /// Adds a change.
    pub(crate) fn append(&mut self, entry: ChangelogEntry<'_>) {
        let key_start = self.bytes.len();
        self.bytes.extend_from_slice(entry.key);
        let key = key_start..self.bytes.len();
        let value_end = entry.value.map(|value| {
            self.bytes.extend_from_slice(value);
            self.bytes.len()
        });
        self.entries.push(Entry { store: entry.store, key, value_end, timestamp: entry.timestamp });
    }

    /// Hands out the entries in order. Where `send` fails, that entry and those after it are kept for the next call.
    pub(crate) fn drain<E>(
        &mut self,
        mut send: impl FnMut(ChangelogEntry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(entry) = self.entries.get(self.sent) {
            let value = entry.value_end.map(|end| &self.bytes[entry.key.end..end]);
            let key = &self.bytes[entry.key.clone()];
            send(ChangelogEntry { store: entry.store, key, value, timestamp: entry.timestamp })?;
            self.sent += 1;
        }
        self.clear();
        Ok(())
    }

    /// Whether something waits to be sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.len() == self.sent
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Entry>()
    }

    /// What an entry with a key and a value of together `length` bytes takes.
    pub(crate) fn bytes_of_entry(length: usize) -> usize {
        length + size_of::<Entry>()
    }

    /// Forgets everything, sent or not. What a large commit needed is given back, what a small one needs is kept.
    pub(crate) fn clear(&mut self) {
        const KEPT_BYTES: usize = 64 << 10;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.entries.clear();
        self.entries.shrink_to(KEPT_BYTES / size_of::<Entry>());
        self.sent = 0;
        self.record = Mark::default();
    }

    /// Remembers where the current record begins.
    pub(crate) fn begin_record(&mut self) {
        self.record = Mark { bytes: self.bytes.len(), entries: self.entries.len() };
    }

    /// Removes what the current record added.
    pub(crate) fn undo_record(&mut self) {
        self.entries.truncate(self.record.entries);
        self.bytes.truncate(self.record.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(key: &'a str, value: Option<&'a str>) -> ChangelogEntry<'a> {
        ChangelogEntry {
            store: StoreIndex::new(0),
            key: key.as_bytes(),
            value: value.map(str::as_bytes),
            timestamp: Timestamp::from_millis(7),
        }
    }

    fn keys(buffer: &mut ChangelogBuffer) -> Vec<String> {
        let mut keys = Vec::new();
        let sent: Result<(), ()> = buffer.drain(|entry| {
            keys.push(String::from_utf8(entry.key.to_vec()).unwrap());
            Ok(())
        });
        sent.unwrap();
        keys
    }

    #[test]
    fn entries_come_out_as_they_went_in() {
        let mut buffer = ChangelogBuffer::default();
        let entries = [
            entry("apples", Some("3")),
            entry("pears", None),
            entry("", Some("")),
            entry("plums", Some("1")),
        ];
        for entry in entries {
            buffer.append(entry);
        }
        let mut index = 0;
        let sent: Result<(), ()> = buffer.drain(|entry| {
            assert_eq!(entry, entries[index]);
            index += 1;
            Ok(())
        });
        sent.unwrap();
        assert_eq!(index, entries.len());
        assert!(buffer.is_empty());
        assert_eq!(buffer.bytes(), 0);
    }

    #[test]
    fn a_failed_send_keeps_its_entry_and_the_rest() {
        let mut buffer = ChangelogBuffer::default();
        for key in ["a", "b", "c"] {
            buffer.append(entry(key, None));
        }
        let mut room = 1;
        let full = buffer.drain(|_| {
            room -= 1;
            if room < 0 { Err("queue full") } else { Ok(()) }
        });
        assert_eq!(full, Err("queue full"));
        assert!(!buffer.is_empty());
        assert_eq!(keys(&mut buffer), ["b", "c"]);
    }

    #[test]
    fn undo_removes_what_the_record_added() {
        let mut buffer = ChangelogBuffer::default();
        buffer.append(entry("before", None));
        buffer.begin_record();
        buffer.append(entry("within", Some("3")));
        buffer.undo_record();
        buffer.append(entry("after", Some("4")));
        assert_eq!(keys(&mut buffer), ["before", "after"]);
    }
}
