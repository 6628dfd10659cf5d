//! The hash of a row's value, which goes with a subscription and comes back with the answer; and the byte in front of both.

use super::murmur3::murmur3;

/// Set in the first byte if no hash follows.
const NO_HASH: u8 = 0x80;

/// A value as the other side of a foreign-key join refers to it: an answer whose hash is not that of the row any more comes too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueHash(u128);

impl ValueHash {
    /// The hash of an encoded value: Murmur3 with 128 bits, as Kafka Streams hashes it.
    ///
    /// ```
    /// use millstream_state_stores::ValueHash;
    /// assert_ne!(ValueHash::of(b"3 apples"), ValueHash::of(b"4 apples"));
    /// ```
    pub fn of(encoded: &[u8]) -> Self {
        Self(murmur3(encoded))
    }

    /// Appends the hash, if there is one.
    pub(super) fn append(hash: Option<Self>, out: &mut Vec<u8>) {
        if let Some(Self(hash)) = hash {
            out.extend_from_slice(&hash.to_be_bytes());
        }
    }

    /// The hash at the start of `bytes`, if there is to be one, and what follows it.
    ///
    /// # Errors
    /// What was found instead.
    pub(super) fn split(is_there: bool, bytes: &[u8]) -> Result<(Option<Self>, &[u8]), &'static str> {
        if !is_there {
            return Ok((None, bytes));
        }
        let (hash, rest) = bytes.split_first_chunk().ok_or("less than a hash")?;
        Ok((Some(Self(u128::from_be_bytes(*hash))), rest))
    }
}

/// The first byte: a version below 128, and whether a hash follows.
pub(super) fn encode_version(version: u8, hash: Option<ValueHash>) -> u8 {
    if hash.is_some() { version } else { version | NO_HASH }
}

/// What [`encode_version`] wrote, and the bytes after it.
///
/// # Errors
/// What was found instead.
pub(super) fn split_version(bytes: &[u8]) -> Result<(u8, bool, &[u8]), &'static str> {
    let (first, rest) = bytes.split_first().ok_or("no bytes")?;
    Ok((first & !NO_HASH, first & NO_HASH == 0, rest))
}
