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

#[cfg(test)]
mod tests {
    use millstream_state_stores::Offset;
    use proptest::prelude::*;

    use super::*;

    const WRITTEN_AT: i64 = 7;

    fn time(key: Option<&[u8]>, value: Option<&[u8]>, headers: Headers) -> Option<i64> {
        let timestamp = Timestamp::from_millis(WRITTEN_AT);
        let raw = RawRecord { offset: Offset::new(0), timestamp, key, value };
        time_of_heartbeat(&raw, || headers).map(Timestamp::as_millis)
    }

    fn header(name: &str, value: Option<&[u8]>) -> Headers {
        let mut headers = Headers::default();
        headers.push(name, value.map(Bytes::copy_from_slice));
        headers
    }

    #[test]
    fn its_header_has_the_time_in_eight_bytes() {
        let headers = heartbeat_headers(Timestamp::from_millis(1_000));
        let told = headers.last("millstream.heartbeat").flatten().map(|value| value.to_vec());
        assert_eq!(told.as_deref(), Some(&[0, 0, 0, 0, 0, 0, 0x03, 0xe8][..]));
        assert_eq!(time(None, None, headers), Some(1_000));
        assert_eq!(time(None, None, header(HEARTBEAT_HEADER, None)), Some(WRITTEN_AT));
    }

    proptest! {
        #[test]
        fn arbitrary_records_are_heartbeats_or_not(
            key in prop::option::of(any::<[u8; 1]>()),
            value in prop::option::of(any::<[u8; 1]>()),
            name in prop_oneof![Just(HEARTBEAT_HEADER), Just("trace")],
            told in prop::option::of(prop::collection::vec(any::<u8>(), 0..10)),
        ) {
            let as_bytes = |bytes: &Option<[u8; 1]>| bytes.as_ref().map(|bytes| bytes.to_vec());
            let (key, value) = (as_bytes(&key), as_bytes(&value));
            let is_heartbeat = key.is_none() && value.is_none() && name == HEARTBEAT_HEADER;
            let millis = told.as_deref().and_then(|told| told.try_into().ok()).map_or(WRITTEN_AT, i64::from_be_bytes);
            let time = time(key.as_deref(), value.as_deref(), header(name, told.as_deref()));
            prop_assert_eq!(time, is_heartbeat.then_some(millis));
        }
    }
}
