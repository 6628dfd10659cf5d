//! The hash by which a foreign-key join tells whether a row is still what it was: that of Kafka Streams, so that both sides agree.

/// MurmurHash3 of `bytes` for 64-bit machines, 128 bits long, as `Murmur3.hash128` of Kafka Streams seeds it. The first of the two
/// numbers it makes is the upper half.
pub(super) fn murmur3(bytes: &[u8]) -> u128 {
    const SEED: u64 = 104_729;
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;

    let mix_first = |k: u64| k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let mix_second = |k: u64| k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let (mut h1, mut h2) = (SEED, SEED);
    let (blocks, tail) = bytes.as_chunks::<16>();
    for block in blocks {
        let (k1, k2) = words(*block);
        h1 ^= mix_first(k1);
        h1 = h1.rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= mix_second(k2);
        h2 = h2.rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    // Zeros at the end of the last block change nothing: a word of zeros is mixed into zero.
    let mut block = [0; 16];
    block[..tail.len()].copy_from_slice(tail);
    let (k1, k2) = words(block);
    h1 ^= mix_first(k1);
    h2 ^= mix_second(k2);

    h1 ^= bytes.len() as u64;
    h2 ^= bytes.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    h1 = spread(h1);
    h2 = spread(h2);
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    u128::from(h1) << u64::BITS | u128::from(h2)
}

/// The two little-endian numbers of a block.
fn words(block: [u8; 16]) -> (u64, u64) {
    let both = u128::from_le_bytes(block);
    #[allow(clippy::cast_possible_truncation, reason = "the halves of the number")]
    (both as u64, (both >> u64::BITS) as u64)
}

/// Lets each bit of a number depend on all others.
fn spread(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashed by `Murmur3.hash128` of Apache Kafka Streams 4.3.1: tails of every kind, and bytes that Java takes for negative.
    #[test]
    fn the_hash_is_that_of_kafka_streams() {
        let negative: Vec<u8> = [0xff, 0x80, 0x00, 0x01].into_iter().chain((0xf1..=0xfe).rev()).collect();
        for (bytes, hash) in [
            (b"".as_slice(), 0x9d27_64a0_18e3_2942_8c3c_f3b0_3593_8518),
            (b"a", 0x3361_634e_7e0f_5188_e9c7_dda2_4eae_326b),
            (b"ann:5", 0x5f20_22c7_c8b9_08c9_c38e_6311_2c1c_f974),
            (b"0123456789abcde", 0xc480_e6b5_c001_6979_a0d0_3362_4a7f_7904),
            (b"0123456789abcdef", 0x1a6e_941e_c6a7_6967_d7d8_2808_f505_d6b1),
            (b"0123456789abcdefg", 0xa936_35c3_ece7_b605_aeed_6784_d1b0_8b32),
            (&negative, 0xfaac_3461_f34b_fcd4_fb77_934f_8d75_6f6f),
        ] {
            assert_eq!(murmur3(bytes), hash, "{bytes:x?}");
        }
    }
}
