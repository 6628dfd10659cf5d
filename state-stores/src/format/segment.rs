//! The value of a row that holds replaced versions of one key, oldest first: of each
//! `valid from (8 bytes) | length (4 bytes) | value`, where the length -1 is a tombstone. The timestamp of the row is when the last
//! of them ceased to be valid; each other one ceased when the next began.

use std::any::type_name;

use crate::serde::{Encoded, Serde, SerdeError, SerdeRef};
use crate::store::{Segment, Version};
use crate::types::Timestamp;

/// Lays out segments, whose values the given serde writes.
pub(crate) struct SegmentSerde<V> {
    values: SerdeRef<V>,
}

impl<V> SegmentSerde<V> {
    pub(crate) fn new(values: SerdeRef<V>) -> Self {
        Self { values }
    }
}

impl<V: Clone + 'static> Serde<Segment<V>> for SegmentSerde<V> {
    fn encode(&self, segment: &Segment<V>, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        for Version { from, value } in segment.versions() {
            out.extend_from_slice(&from.as_millis().to_be_bytes());
            let length_at = out.len();
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            let Some(value) = value else { continue };
            let start = out.len();
            if self.values.encode(value, out)? == Encoded::Null {
                return Err(SerdeError::custom::<V>("it was encoded as null, which a version cannot hold"));
            }
            let length = i32::try_from(out.len() - start)
                .map_err(|_| SerdeError::custom::<V>("it is longer than 2 GiB"))?;
            out[length_at..start].copy_from_slice(&length.to_be_bytes());
        }
        Ok(Encoded::Bytes)
    }

    fn decode(&self, mut bytes: &[u8]) -> Result<Segment<V>, SerdeError> {
        let cut_off = || SerdeError::InvalidValue {
            type_name: type_name::<Segment<V>>(),
            reason: "a version is cut off".into(),
        };
        let mut segment = Segment::default();
        while !bytes.is_empty() {
            let (from, rest) = bytes.split_first_chunk().ok_or_else(cut_off)?;
            let (length, rest) = rest.split_first_chunk().ok_or_else(cut_off)?;
            let (from, length) = (i64::from_be_bytes(*from), i32::from_be_bytes(*length));
            let value = match usize::try_from(length) {
                Ok(length) => {
                    let (value, rest) = rest.split_at_checked(length).ok_or_else(cut_off)?;
                    bytes = rest;
                    Some(self.values.decode(value)?)
                }
                Err(_) if length == -1 => {
                    bytes = rest;
                    None
                }
                Err(_) => return Err(cut_off()),
            };
            segment.push(Version { from: Timestamp::from_millis(from), value });
        }
        Ok(segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serde::HasSerde;

    fn segment(versions: &[(i64, Option<&str>)]) -> Segment<String> {
        let mut segment = Segment::default();
        for (from, value) in versions {
            segment.push(Version { from: Timestamp::from_millis(*from), value: value.map(str::to_owned) });
        }
        segment
    }

    #[test]
    fn the_bytes_are_as_documented() {
        let serde = SegmentSerde::new(String::serde());
        let mut bytes = b"before".to_vec();
        let versions = segment(&[(0x0102, Some("red")), (0x0103, None), (0x0104, Some(""))]);
        serde.encode(&versions, &mut bytes).unwrap();
        let expected = b"before\0\0\0\0\0\0\x01\x02\0\0\0\x03red\
            \0\0\0\0\0\0\x01\x03\xff\xff\xff\xff\0\0\0\0\0\0\x01\x04\0\0\0\0";
        assert_eq!(bytes, expected);
        assert_eq!(serde.decode(&expected[6..]).unwrap(), versions);
        assert_eq!(serde.decode(b"").unwrap(), Segment::default());
        for end in [1, 8, 11, 14] {
            serde.decode(&expected[6..6 + end]).expect_err("cut off");
        }
        serde.decode(b"\0\0\0\0\0\0\0\x01\xff\xff\xff\xfe").expect_err("no such length");
    }
}
