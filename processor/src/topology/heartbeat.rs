//! Heartbeats: records that say how far time has come in a partition though nothing happens. They are told from others by a header, have
//! neither key nor value, and no operator sees them.

use millstream_state_stores::Timestamp;

use super::source::RawRecord;
use crate::api::{Headers, PendingOutput, TopicIndex};

/// The name of the header.
pub const HEARTBEAT_HEADER: &str = "millstream.heartbeat";

/// Whether it is a heartbeat. Headers are asked for only if it may be one.
#[inline]
pub(crate) fn is_heartbeat(raw: &RawRecord<'_>, headers: impl FnOnce() -> Headers) -> bool {
    raw.key.is_none() && raw.value.is_none() && headers().last(HEARTBEAT_HEADER).is_some()
}

/// The headers of a heartbeat.
pub(crate) fn heartbeat_headers() -> Headers {
    let mut headers = Headers::default();
    headers.push(HEARTBEAT_HEADER, None);
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
