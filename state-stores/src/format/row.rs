//! The row of a key-value store: `timestamp (8 bytes, big-endian) | value`. The key is stored as its serde wrote it.
//!
//! The changelog holds the value alone: its timestamp is the timestamp of the Kafka record, as in Kafka Streams.

use crate::types::Timestamp;

/// What a row has before its value.
pub(crate) const TIMESTAMP_BYTES: usize = size_of::<i64>();

/// Starts a row in `out`, which may hold other bytes; the value is to be appended.
pub(crate) fn begin(timestamp: Timestamp, out: &mut Vec<u8>) {
    out.extend_from_slice(&timestamp.as_millis().to_be_bytes());
}

/// The two parts of a row, or `None` if it is too short to be one.
pub(crate) fn split(row: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (timestamp, value) = row.split_first_chunk::<TIMESTAMP_BYTES>()?;
    Some((Timestamp::from_millis(i64::from_be_bytes(*timestamp)), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_its_timestamp_and_then_its_value() {
        let mut row = Vec::new();
        begin(Timestamp::from_millis(0x0102), &mut row);
        row.extend_from_slice(b"apples");
        assert_eq!(row, b"\0\0\0\0\0\0\x01\x02apples");
        assert_eq!(split(&row), Some((Timestamp::from_millis(0x0102), b"apples".as_slice())));
    }

    #[test]
    fn a_short_row_is_noticed() {
        assert_eq!(split(&[0; 7]), None);
        assert_eq!(split(&[0; 8]), Some((Timestamp::from_millis(0), [].as_slice())));
    }
}
