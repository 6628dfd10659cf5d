//! Which partition a key goes to: the murmur2 hash of Kafka's Java clients, so that both sides agree.

/// Kafka's murmur2 hash of `bytes`: 32 bits, seed 0x9747b28c, reading four bytes at a time, little-endian.
///
/// ```
/// # use millstream_state_stores::murmur2;
/// assert_eq!(murmur2(b"apples"), -1_431_415_202);
/// ```
pub fn murmur2(bytes: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    // Kafka's lengths are 32-bit; a longer key cannot be sent.
    let mut hash = SEED ^ (bytes.len() as u32);
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^= hash >> 15;
    hash as i32
}

/// The partition of a record with the key `key` in a topic of `partitions` partitions, as Kafka's default partitioner
/// chooses it.
///
/// # Panics
/// When `partitions` is not positive.
///
/// ```
/// # use millstream_state_stores::partition_for_key;
/// assert_eq!(partition_for_key(b"apples", 7), 2);
/// ```
#[track_caller]
pub fn partition_for_key(key: &[u8], partitions: i32) -> i32 {
    assert!(partitions > 0, "a topic has at least one partition, not {partitions}");
    (murmur2(key) & 0x7fff_ffff) % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `UtilsTest.testMurmur2` of Apache Kafka, and a few hashed by its clients, version 4.3.1.
    #[test]
    fn the_hash_is_kafkas() {
        for (text, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
            ("", 275_646_681),
            ("orders", -1_029_842_276),
            ("stock-0001", -164_543_319),
        ] {
            assert_eq!(murmur2(text.as_bytes()), hash, "{text}");
        }
    }

    #[test]
    fn partitions_are_kafkas() {
        for (key, partition) in [("orders", 1), ("apples", 2), ("", 2), ("stock-0001", 6)] {
            assert_eq!(partition_for_key(key.as_bytes(), 7), partition, "{key}");
        }
    }
}
