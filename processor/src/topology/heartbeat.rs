//! Heartbeats: records that say how far time has come in a partition though nothing happens. They are told from others by a header, have
//! neither key nor value, and no operator sees them.

use bytes::Bytes;
use millstream_state_stores::Timestamp;

use super::source::RawRecord;
use crate::api::{Headers, PendingOutput, TopicIndex};

/// The name of the header. Its value is the time, in milliseconds as a big-endian integer of eight bytes: a broker may give the record another
/// timestamp (`message.timestamp.type=LogAppendTime`). If it is anything else, the time is the record's.
pub const HEARTBEAT_HEADER: &str = "millstream.heartbeat";

/// The time that a heartbeat tells; none if the record is no heartbeat. Headers are asked for only if it may be one.
#[inline]
pub(crate) fn time_of_heartbeat(raw: &RawRecord<'_>, headers: impl FnOnce() -> Headers) -> Option<Timestamp> {
    if raw.key.is_some() || raw.value.is_some() {
        return None;
    }
    let headers = headers();
    let told = headers.last(HEARTBEAT_HEADER)?.and_then(|value| value[..].try_into().ok());
    Some(told.map_or(raw.timestamp, |millis| Timestamp::from_millis(i64::from_be_bytes(millis))))
}

/// The headers of a heartbeat.
pub(crate) fn heartbeat_headers(time: Timestamp) -> Headers {
    let mut headers = Headers::default();
    headers.push(HEARTBEAT_HEADER, Some(Bytes::copy_from_slice(&time.as_millis().to_be_bytes())));
    headers
}

/// A heartbeat for a partition: all records before this time have come.
pub(crate) fn heartbeat(
    topic: TopicIndex,
    partition: i32,
    timestamp: Timestamp,
    headers: &Headers,
) -> PendingOutput<'_> {
    PendingOutput {
        topic,
        partition: Some(partition),
        key: None,
        unhashed_key_bytes: 0,
        value: None,
        timestamp,
        headers,
    }
}
