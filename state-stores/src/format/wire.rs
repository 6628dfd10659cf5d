//! How records say by which registered schema they were written: Confluent's wire format.
//!
//! ```text
//! 0x00 | schema id (4)                                    then the value; in Protobuf first
//! count (zig-zag varint) | for each: number (zig-zag varint)    which message of the file; 0x00 stands for the first
//! ```

use crate::schema::SchemaId;

const MAGIC: u8 = 0;
const ID_BYTES: usize = size_of::<u32>();

/// What a value begins with that was written by this schema.
pub(crate) fn wire_format(id: SchemaId) -> [u8; 1 + ID_BYTES] {
    let mut bytes = [MAGIC; 1 + ID_BYTES];
    bytes[1..].copy_from_slice(&id.get().to_be_bytes());
    bytes
}

/// The id of the schema by which the bytes were written, and what follows; `None` if they do not say.
pub(crate) fn split_wire_format(bytes: &[u8]) -> Option<(SchemaId, &[u8])> {
    let (id, rest) = bytes.strip_prefix(&[MAGIC])?.split_first_chunk()?;
    Some((SchemaId::new(u32::from_be_bytes(*id)), rest))
}

/// The place of a message in its file: its number among those of the file, then among those declared within that one, and so on.
#[cfg(feature = "protobuf")]
pub(crate) fn message_index(path: &[u32]) -> Vec<u8> {
    if path == [0] {
        return vec![0];
    }
    let mut out = Vec::new();
    for number in std::iter::once(u32::try_from(path.len()).unwrap_or(u32::MAX)).chain(path.iter().copied()) {
        put_zig_zag(u64::from(number) << 1, &mut out);
    }
    out
}

/// The place of a message, and what follows; `None` if there is none.
#[cfg(feature = "protobuf")]
pub(crate) fn split_message_index(bytes: &[u8]) -> Option<(Vec<u32>, &[u8])> {
    let (count, mut rest) = split_zig_zag(bytes)?;
    if count == 0 {
        return Some((vec![0], rest));
    }
    let mut path = Vec::new();
    for _ in 0..count {
        let (number, after) = split_zig_zag(rest)?;
        path.push(number);
        rest = after;
    }
    Some((path, rest))
}

#[cfg(feature = "protobuf")]
fn put_zig_zag(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number as u8 & 0x7f) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A number that is not negative, of at most five bytes.
#[cfg(feature = "protobuf")]
fn split_zig_zag(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut number = 0_u64;
    for (place, byte) in bytes.iter().take(5).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            let positive = (number & 1 == 0).then_some(number >> 1)?;
            return Some((u32::try_from(positive).ok()?, &bytes[place + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_confluent() {
        let bytes = [0, 0, 1, 2, 3, 9];
        assert_eq!(wire_format(SchemaId::new(0x01_02_03)), bytes[..5]);
        assert_eq!(split_wire_format(&bytes), Some((SchemaId::new(0x01_02_03), &bytes[5..])));
        for broken in [&[][..], &[0, 0, 0, 1], &[1, 0, 0, 0, 1]] {
            assert_eq!(split_wire_format(broken), None, "{broken:?}");
        }
    }

    #[cfg(feature = "protobuf")]
    #[test]
    fn messages_are_numbered_as_confluent_does() {
        // From Confluent's documentation: the second message of the file is [1], the first one within it [1, 0].
        for (path, bytes) in [
            (&[0][..], &[0][..]),
            (&[1], &[2, 2]),
            (&[1, 0], &[4, 2, 0]),
            (&[0, 0], &[4, 0, 0]),
            (&[100], &[2, 0xc8, 1]),
        ] {
            assert_eq!(message_index(path), bytes, "{path:?}");
            let followed = [bytes, b"!"].concat();
            assert_eq!(split_message_index(&followed), Some((path.to_vec(), &b"!"[..])), "{path:?}");
        }
    }

    #[cfg(feature = "protobuf")]
    #[test]
    fn broken_numbers_of_messages_are_none() {
        for broken in [&[][..], &[2], &[1], &[0xff; 9], &[4, 0]] {
            assert_eq!(split_message_index(broken), None, "{broken:?}");
        }
    }
}
