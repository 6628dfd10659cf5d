//! Records of a join of two streams that wait for one of the other side, as Kafka Streams stores them
//! (`TimestampedKeyAndJoinSideSerializer`, `LeftOrRightValueSerializer`).
//!
//! ```text
//! timestamp (i64) | side | key           the key in the store
//! side | value                           a value; a row is a list of them
//! ```
//! The side is one byte: 1 is the left stream, 0 the right one. So rows are in the order of time.

use std::any::type_name;
use std::sync::Arc;

use crate::serde::{Encoded, Serde, SerdeError, SerdePlace, SerdeRef};
use crate::types::Timestamp;

const TIME_BYTES: usize = size_of::<i64>();

/// One of the two streams of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinSide {
    /// The stream that is joined with the other.
    Left,
    /// The other stream.
    Right,
}

impl JoinSide {
    /// The other stream.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    const fn to_byte(self) -> u8 {
        match self {
            Self::Left => 1,
            Self::Right => 0,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Right),
            1 => Some(Self::Left),
            _ => None,
        }
    }
}

/// Makes `out` the start of a waiting record's key, to be followed by the bytes of the record's own key.
///
/// ```
/// use millstream_state_stores::{JoinSide, Timestamp, begin_waiting_key, split_waiting_key};
///
/// let mut key = Vec::new();
/// begin_waiting_key(Timestamp::from_millis(7), JoinSide::Left, &mut key);
/// key.extend_from_slice(b"order-1");
/// assert_eq!(key, b"\0\0\0\0\0\0\0\x07\x01order-1");
/// let parts = (Timestamp::from_millis(7), JoinSide::Left, b"order-1".as_slice());
/// assert_eq!(split_waiting_key(&key), Some(parts));
/// ```
pub fn begin_waiting_key(timestamp: Timestamp, side: JoinSide, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&timestamp.as_millis().to_be_bytes());
    out.push(side.to_byte());
}

/// The parts of a waiting record's key; `None` if it is none. See [`begin_waiting_key`].
pub fn split_waiting_key(bytes: &[u8]) -> Option<(Timestamp, JoinSide, &[u8])> {
    let (timestamp, rest) = bytes.split_first_chunk::<TIME_BYTES>()?;
    let (side, key) = rest.split_first()?;
    Some((Timestamp::from_millis(i64::from_be_bytes(*timestamp)), JoinSide::from_byte(*side)?, key))
}

/// A value of either stream of a join (Kafka Streams' class of the same name).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOrRightValue<L, R> {
    /// Of the left stream.
    Left(L),
    /// Of the right stream.
    Right(R),
}

impl<L, R> LeftOrRightValue<L, R> {
    /// The value as one of the left stream, and as one of the right.
    pub fn as_options(&self) -> (Option<&L>, Option<&R>) {
        match self {
            Self::Left(value) => (Some(value), None),
            Self::Right(value) => (None, Some(value)),
        }
    }
}

/// Writes a [`LeftOrRightValue`] as Kafka Streams does, around the serdes of both values.
///
/// ```
/// use millstream_state_stores::*;
///
/// let serde = LeftOrRightValueSerde::new(String::serde(), i64::serde());
/// let mut bytes = Vec::new();
/// serde.encode(&LeftOrRightValue::Left("paid".to_string()), &mut bytes)?;
/// assert_eq!(bytes, b"\x01paid");
/// # Ok::<(), SerdeError>(())
/// ```
pub struct LeftOrRightValueSerde<L, R> {
    left: SerdeRef<L>,
    right: SerdeRef<R>,
}

impl<L, R> LeftOrRightValueSerde<L, R> {
    /// Values written by `left` and by `right`, neither of which produces null.
    pub fn new(left: SerdeRef<L>, right: SerdeRef<R>) -> Self {
        Self { left, right }
    }

    fn side(bytes: &[u8]) -> Result<(JoinSide, &[u8]), SerdeError> {
        let parts = bytes.split_first().and_then(|(side, value)| Some((JoinSide::from_byte(*side)?, value)));
        parts.ok_or_else(|| SerdeError::InvalidValue {
            type_name: type_name::<LeftOrRightValue<L, R>>(),
            reason: format!("{} bytes do not begin with 0 or 1", bytes.len()),
        })
    }
}

impl<L: 'static, R: 'static> Serde<LeftOrRightValue<L, R>> for LeftOrRightValueSerde<L, R> {
    fn encode(&self, value: &LeftOrRightValue<L, R>, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        let encoded = match value {
            LeftOrRightValue::Left(value) => {
                out.push(JoinSide::Left.to_byte());
                self.left.encode(value, out)?
            }
            LeftOrRightValue::Right(value) => {
                out.push(JoinSide::Right.to_byte());
                self.right.encode(value, out)?
            }
        };
        match encoded {
            Encoded::Bytes => Ok(Encoded::Bytes),
            Encoded::Null => {
                Err(SerdeError::UnexpectedNull { type_name: type_name::<LeftOrRightValue<L, R>>() })
            }
        }
    }

    fn decode(&self, bytes: &[u8]) -> Result<LeftOrRightValue<L, R>, SerdeError> {
        match Self::side(bytes)? {
            (JoinSide::Left, value) => self.left.decode(value).map(LeftOrRightValue::Left),
            (JoinSide::Right, value) => self.right.decode(value).map(LeftOrRightValue::Right),
        }
    }

    fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        match Self::side(bytes)? {
            (JoinSide::Left, value) => Ok(serde_json::json!({ "left": self.left.to_json(value)? })),
            (JoinSide::Right, value) => Ok(serde_json::json!({ "right": self.right.to_json(value)? })),
        }
    }

    fn in_place(
        &self,
        place: &SerdePlace<'_>,
    ) -> Result<Option<SerdeRef<LeftOrRightValue<L, R>>>, SerdeError> {
        // Two types: each has a topic's name of its own, so that their schemas are not taken for versions of one.
        let topic = place.topic().unwrap_or_default();
        let (left, right) = (format!("{topic}-left"), format!("{topic}-right"));
        let (left, right) = (place.within(&left).bind(&self.left)?, place.within(&right).bind(&self.right)?);
        Ok(Some(Arc::new(Self::new(left, right))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serde::HasSerde;

    #[test]
    fn keys_are_in_the_order_of_time_then_of_the_right_side_first() {
        let key = |millis, side, key: &[u8]| {
            let mut bytes = b"before".to_vec();
            begin_waiting_key(Timestamp::from_millis(millis), side, &mut bytes);
            bytes.extend_from_slice(key);
            bytes
        };
        let ordered = [
            key(1, JoinSide::Right, b"b"),
            key(1, JoinSide::Left, b"a"),
            key(1, JoinSide::Left, b"aa"),
            key(256, JoinSide::Right, b""),
        ];
        assert!(ordered.is_sorted());
        assert_eq!(
            split_waiting_key(&ordered[3]),
            Some((Timestamp::from_millis(256), JoinSide::Right, b"".as_slice()))
        );
        assert_eq!(split_waiting_key(&[0; 8]), None);
        assert_eq!(split_waiting_key(b"\0\0\0\0\0\0\0\0\x02key"), None, "there are two sides");
    }

    #[test]
    fn values_of_either_side_round_trip() {
        let serde = LeftOrRightValueSerde::new(String::serde(), i64::serde());
        for (value, bytes) in [
            (LeftOrRightValue::Left(String::new()), b"\x01".as_slice()),
            (LeftOrRightValue::Right(258), b"\0\0\0\0\0\0\0\x01\x02"),
        ] {
            let mut encoded = Vec::new();
            assert_eq!(serde.encode(&value, &mut encoded).unwrap(), Encoded::Bytes);
            assert_eq!(encoded, bytes);
            assert_eq!(serde.decode(&encoded).unwrap(), value);
        }
        assert_eq!(serde.to_json(b"\x01paid").unwrap(), serde_json::json!({ "left": "paid" }));
        assert!(serde.decode(b"").is_err() && serde.decode(b"\x02paid").is_err());
    }
}
