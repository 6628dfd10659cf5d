//! The hash of a row's value, which goes with a subscription and comes back with the answer; and the byte in front of both.

use super::murmur3::murmur3;

/// Set in the first byte if no hash follows.
const NO_HASH: u8 = 0x80;

/// A value as the other side of a foreign-key join refers to it: an answer whose hash is not that of the row any more comes too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueHash(u128);

impl ValueHash {
    const BYTES: usize = 16;

    /// The hash of an encoded value: Murmur3 with 128 bits, as Kafka Streams hashes it.
    ///
    /// ```
    /// use millstream_state_stores::ValueHash;
    /// assert_ne!(ValueHash::of(b"3 apples"), ValueHash::of(b"4 apples"));
    /// ```
    pub fn of(encoded: &[u8]) -> Self {
        Self(murmur3(encoded))
    }

    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        self.0.to_be_bytes()
    }

    /// The hash at the start of `bytes`, if there is to be one, and what follows it; `None` if there are too few bytes.
    pub(super) fn split(is_there: bool, bytes: &[u8]) -> Option<(Option<Self>, &[u8])> {
        if !is_there {
            return Some((None, bytes));
        }
        let (hash, rest) = bytes.split_first_chunk::<{ Self::BYTES }>()?;
        Some((Some(Self(u128::from_be_bytes(*hash))), rest))
    }
}

/// The first byte: a version below 128, and whether a hash follows.
pub(super) fn encode_version(version: u8, hash: Option<ValueHash>) -> u8 {
    if hash.is_some() { version } else { version | NO_HASH }
}

/// What [`encode_version`] wrote, and the bytes after it; `None` if there are none.
pub(super) fn split_version(bytes: &[u8]) -> Option<(u8, bool, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    Some((first & !NO_HASH, first & NO_HASH == 0, rest))
}
