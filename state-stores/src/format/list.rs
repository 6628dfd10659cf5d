//! Lists of values, as Kafka's `ListSerializer` writes those whose size varies.
//!
//! ```text
//! 1 | count (i32) | for each entry: length (i32) | bytes
//! ```

use std::any::type_name;
use std::sync::Arc;

use crate::serde::{Encoded, Serde, SerdeError, SerdePlace, SerdeRef};

/// Says that each entry has its length before it.
const VARIABLE_SIZE: u8 = 1;

/// Writes a list of values as Kafka's `Serdes.ListSerde` does, around the serde of an entry, which never produces null.
///
/// ```
/// use millstream_state_stores::{HasSerde, ListSerde, Serde};
///
/// let serde = ListSerde::new(String::serde());
/// let mut bytes = Vec::new();
/// serde.encode(&vec!["a".to_string(), "bc".to_string()], &mut bytes)?;
/// assert_eq!(bytes, b"\x01\0\0\0\x02\0\0\0\x01a\0\0\0\x02bc");
/// # Ok::<(), millstream_state_stores::SerdeError>(())
/// ```
pub struct ListSerde<T> {
    entry: SerdeRef<T>,
}

impl<T> ListSerde<T> {
    /// Lists of entries written by `entry`.
    pub fn new(entry: SerdeRef<T>) -> Self {
        Self { entry }
    }

    /// What `read` makes of the bytes of each entry.
    fn entries<E>(bytes: &[u8], read: impl Fn(&[u8]) -> Result<E, SerdeError>) -> Result<Vec<E>, SerdeError> {
        let malformed = || SerdeError::InvalidValue {
            type_name: type_name::<Vec<T>>(),
            reason: format!("{} bytes are no list of entries with their lengths", bytes.len()),
        };
        let rest = bytes.strip_prefix(&[VARIABLE_SIZE]).ok_or_else(malformed)?;
        let (count, mut rest) = split_size(rest).ok_or_else(malformed)?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let entry = split_size(rest).and_then(|(length, rest)| rest.split_at_checked(length));
            let (entry, after) = entry.ok_or_else(malformed)?;
            entries.push(read(entry)?);
            rest = after;
        }
        if rest.is_empty() { Ok(entries) } else { Err(malformed()) }
    }
}

fn split_size(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (size, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(i32::from_be_bytes(*size)).ok()?, rest))
}

impl<T: 'static> Serde<Vec<T>> for ListSerde<T> {
    fn encode(&self, entries: &Vec<T>, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        let size = |size: usize| {
            let too_long = |_| SerdeError::InvalidValue {
                type_name: type_name::<Vec<T>>(),
                reason: format!("{size} is more than a list or an entry may have"),
            };
            i32::try_from(size).map(i32::to_be_bytes).map_err(too_long)
        };
        out.push(VARIABLE_SIZE);
        out.extend_from_slice(&size(entries.len())?);
        for entry in entries {
            let length_at = out.len();
            out.extend_from_slice(&[0; size_of::<i32>()]);
            let start = out.len();
            match self.entry.encode(entry, out)? {
                Encoded::Bytes => {}
                Encoded::Null => return Err(SerdeError::UnexpectedNull { type_name: type_name::<T>() }),
            }
            let length = size(out.len() - start)?;
            out[length_at..start].copy_from_slice(&length);
        }
        Ok(Encoded::Bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<T>, SerdeError> {
        Self::entries(bytes, |entry| self.entry.decode(entry))
    }

    fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        Self::entries(bytes, |entry| self.entry.to_json(entry)).map(serde_json::Value::Array)
    }

    fn in_place(&self, place: &SerdePlace<'_>) -> Result<Option<SerdeRef<Vec<T>>>, SerdeError> {
        Ok(Some(Arc::new(Self::new(place.bind(&self.entry)?))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::serde::HasSerde;

    #[test]
    fn malformed_lists_are_noticed() {
        let serde = ListSerde::new(String::serde());
        for bytes in [
            b"".as_slice(),
            b"\0\0\0\0\0",
            b"\x01\0\0\0\x01",
            b"\x01\0\0\0\x01\0\0\0\x02a",
            b"\x01\0\0\0\0a",
            b"\x01\xff\xff\xff\xff",
        ] {
            assert!(serde.decode(bytes).is_err(), "{bytes:?}");
        }
        assert_eq!(serde.to_json(b"\x01\0\0\0\x01\0\0\0\x01a").unwrap(), serde_json::json!(["a"]));
    }

    proptest! {
        #[test]
        fn lists_round_trip(entries: Vec<String>) {
            let (serde, mut bytes) = (ListSerde::new(String::serde()), Vec::new());
            serde.encode(&entries, &mut bytes).unwrap();
            prop_assert_eq!(serde.decode(&bytes).unwrap(), entries);
        }
    }
}
