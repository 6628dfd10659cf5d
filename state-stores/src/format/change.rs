//! The value of a table's repartition topic: what a row was and what it became (KIP-904, Kafka Streams'
//! `ChangedSerializer`).
//!
//! ```text
//! old            | 0x00      the row left this key
//! new            | 0x01      the row came to this key
//! length new old | 0x02      both; the length is that of `new`, as a zig-zag varint
//! ```
//! Kafka Streams reserves 3, 4 and 5 for the same with one more byte before the flag (whether the change is the latest);
//! they are read, and the byte is ignored.

use std::any::type_name;
use std::sync::Arc;

use crate::serde::{Encoded, Serde, SerdeError, SerdePlace, SerdeRef};
use crate::store::Change;

const OLD_ONLY: u8 = 0;
const NEW_ONLY: u8 = 1;
const BOTH: u8 = 2;
const OLD_ONLY_WITH_LATEST: u8 = 3;
const NEW_ONLY_WITH_LATEST: u8 = 4;
const BOTH_WITH_LATEST: u8 = 5;

/// Writes a [`Change`] as Kafka Streams does, around the serde of the value. A change has at least one side.
///
/// ```
/// use millstream_state_stores::{Change, ChangeSerde, HasSerde, Serde};
///
/// let serde = ChangeSerde::new(String::serde());
/// let mut bytes = Vec::new();
/// serde.encode(&Change { old: Some("3 apples".into()), new: Some("5 apples".into()) }, &mut bytes)?;
/// assert_eq!(bytes, b"\x105 apples3 apples\x02");
/// # Ok::<(), millstream_state_stores::SerdeError>(())
/// ```
pub struct ChangeSerde<T> {
    inner: SerdeRef<T>,
}

impl<T> ChangeSerde<T> {
    /// Changes of values that are written by `inner`, which never produces null.
    pub fn new(inner: SerdeRef<T>) -> Self {
        Self { inner }
    }

    fn encode_side(&self, value: &T, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        match self.inner.encode(value, out)? {
            Encoded::Bytes => Ok(()),
            Encoded::Null => Err(SerdeError::UnexpectedNull { type_name: type_name::<T>() }),
        }
    }
}

impl<T: 'static> Serde<Change<T>> for ChangeSerde<T> {
    fn encode(&self, change: &Change<T>, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        let start = out.len();
        match (&change.new, &change.old) {
            (Some(new), Some(old)) => {
                self.encode_side(new, out)?;
                let length = zig_zag_varint(out.len() - start)
                    .ok_or_else(|| invalid::<T>("its new value has more than 2 GiB"))?;
                out.splice(start..start, length);
                self.encode_side(old, out)?;
                out.push(BOTH);
            }
            (Some(new), None) => {
                self.encode_side(new, out)?;
                out.push(NEW_ONLY);
            }
            (None, Some(old)) => {
                self.encode_side(old, out)?;
                out.push(OLD_ONLY);
            }
            (None, None) => return Err(invalid::<T>("neither an old nor a new value")),
        }
        Ok(Encoded::Bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Change<T>, SerdeError> {
        let (flag, mut sides) = bytes.split_last().ok_or_else(|| invalid::<T>("no bytes"))?;
        if *flag >= OLD_ONLY_WITH_LATEST {
            (_, sides) = sides.split_last().ok_or_else(|| invalid::<T>("no bytes before its flag"))?;
        }
        match *flag {
            OLD_ONLY | OLD_ONLY_WITH_LATEST => Ok(Change { old: Some(self.inner.decode(sides)?), new: None }),
            NEW_ONLY | NEW_ONLY_WITH_LATEST => Ok(Change { old: None, new: Some(self.inner.decode(sides)?) }),
            BOTH | BOTH_WITH_LATEST => {
                let (new, old) = read_zig_zag_varint(sides)
                    .and_then(|(length, rest)| rest.split_at_checked(length))
                    .ok_or_else(|| invalid::<T>("a length that does not fit its bytes"))?;
                Ok(Change { old: Some(self.inner.decode(old)?), new: Some(self.inner.decode(new)?) })
            }
            other => Err(invalid::<T>(&format!("the unknown flag {other}"))),
        }
    }

    fn in_place(&self, place: &SerdePlace<'_>) -> Result<Option<SerdeRef<Change<T>>>, SerdeError> {
        Ok(Some(Arc::new(Self::new(place.bind(&self.inner)?))))
    }
}

fn invalid<T>(found: &str) -> SerdeError {
    SerdeError::InvalidValue { type_name: type_name::<Change<T>>(), reason: format!("a change with {found}") }
}

/// A length as a 32-bit zig-zag varint, seven bits a byte, lowest first; `None` above `i32::MAX`.
fn zig_zag_varint(length: usize) -> Option<impl Iterator<Item = u8>> {
    let mut rest = Some(u32::try_from(i32::try_from(length).ok()?).ok()? << 1);
    Some(std::iter::from_fn(move || {
        let bits = rest?;
        let low = (bits & 0x7f) as u8;
        rest = (bits > 0x7f).then_some(bits >> 7);
        Some(if rest.is_some() { low | 0x80 } else { low })
    }))
}

/// The length at the start of `bytes` and what follows it; `None` if there is none or it is negative.
fn read_zig_zag_varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let is_negative = value & 1 == 1;
            let length = usize::try_from(value >> 1).ok().filter(|_| !is_negative)?;
            return Some((length, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::serde::HasSerde;

    fn change(old: Option<&str>, new: Option<&str>) -> Change<String> {
        Change { old: old.map(str::to_owned), new: new.map(str::to_owned) }
    }

    /// The bytes were written by `ChangedSerializer` of Apache Kafka Streams 4.3.1.
    #[test]
    fn the_bytes_are_those_of_kafka_streams() {
        let serde = ChangeSerde::new(String::serde());
        let long = "n".repeat(100);
        let long_bytes = [b"\xc8\x01".as_slice(), long.as_bytes(), b"o\x02"].concat();
        for (change, expected) in [
            (change(Some("old"), Some("new")), b"\x06newold\x02".as_slice()),
            (change(None, Some("new")), b"new\x01"),
            (change(Some("old"), None), b"old\x00"),
            (change(Some("o"), Some(&long)), &long_bytes),
        ] {
            let mut bytes = b"before".to_vec();
            serde.encode(&change, &mut bytes).unwrap();
            assert_eq!(bytes.strip_prefix(b"before"), Some(expected), "{change:?}");
            assert_eq!(serde.decode(expected).unwrap(), change);
        }
    }

    #[test]
    fn the_reserved_flags_are_read() {
        let serde = ChangeSerde::new(String::serde());
        assert_eq!(serde.decode(b"old\x01\x03").unwrap(), change(Some("old"), None));
        assert_eq!(serde.decode(b"new\x00\x04").unwrap(), change(None, Some("new")));
        assert_eq!(serde.decode(b"\x06newold\x01\x05").unwrap(), change(Some("old"), Some("new")));
    }

    #[test]
    fn a_change_without_sides_is_refused() {
        let serde = ChangeSerde::new(String::serde());
        let error = serde.encode(&change(None, None), &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("neither an old nor a new value"), "{error}");
    }

    #[test]
    fn broken_bytes_are_errors() {
        let serde = ChangeSerde::new(String::serde());
        for bytes in
            [b"".as_slice(), b"\x02", b"\x07newold\x02", b"\x20newold\x02", b"x\x06", b"\x03", b"\x80\x02"]
        {
            let error = serde.decode(bytes).expect_err(&format!("{bytes:?}"));
            assert!(error.to_string().contains("a change with"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn every_change_round_trips(old: Option<String>, new: Option<String>) {
            prop_assume!(old.is_some() || new.is_some());
            let serde = ChangeSerde::new(String::serde());
            let mut bytes = Vec::new();
            let change = Change { old, new };
            serde.encode(&change, &mut bytes).unwrap();
            prop_assert_eq!(serde.decode(&bytes).unwrap(), change);
        }

        #[test]
        fn every_length_round_trips(length in 0..=i32::MAX as usize) {
            let bytes: Vec<u8> = zig_zag_varint(length).unwrap().collect();
            prop_assert_eq!(read_zig_zag_varint(&bytes), Some((length, [].as_slice())));
        }
    }
}
