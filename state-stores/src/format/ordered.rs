//! Keys of several parts, whose bytes sort as the parts do, the first one first.
//!
//! ```text
//! signed integer        big-endian, the highest bit inverted
//! unsigned integer      big-endian
//! boolean               0x00 or 0x01
//! text, bytes           each 0x00 followed by 0xff; at the end 0x00 0x01
//! UUID                  its 16 bytes
//! optional              0x00 if there is none; else 0x01, then the part
//! ```

const ESCAPED: [u8; 2] = [0x00, 0xff];
const END: [u8; 2] = [0x00, 0x01];

/// Appends bytes of any length, so that they sort before any that they are the beginning of, whatever follows.
pub(crate) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            0 => out.extend_from_slice(&ESCAPED),
            byte => out.push(*byte),
        }
    }
    out.extend_from_slice(&END);
}

/// The bytes that come first, and what follows them; `None` if they have no end.
pub(crate) fn split_bytes(mut encoded: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut bytes = Vec::new();
    loop {
        match encoded {
            [0x00, 0x01, rest @ ..] => return Some((bytes, rest)),
            [0x00, 0xff, rest @ ..] => {
                bytes.push(0);
                encoded = rest;
            }
            [0x00, ..] | [] => return None,
            [byte, rest @ ..] => {
                bytes.push(*byte);
                encoded = rest;
            }
        }
    }
}

/// Big-endian bytes of a signed integer, so that negative ones sort first.
pub(crate) fn invert_sign<const N: usize>(mut big_endian: [u8; N]) -> [u8; N] {
    if let Some(first) = big_endian.first_mut() {
        *first ^= 0x80;
    }
    big_endian
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bytes_are_as_documented() {
        let mut bytes = Vec::new();
        put_bytes(b"a\0b", &mut bytes);
        assert_eq!(bytes, b"a\x00\xffb\x00\x01");
        assert_eq!(invert_sign((-2_i16).to_be_bytes()), [0x7f, 0xfe]);
        assert_eq!(split_bytes(b"a\x00\xffb\x00\x01rest"), Some((b"a\0b".to_vec(), &b"rest"[..])));
        for broken in [&b"a"[..], b"a\0", b"a\0\x02"] {
            assert_eq!(split_bytes(broken), None, "{broken:?}");
        }
    }

    fn few_bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(2), Just(0xff)], 0..5)
    }

    proptest! {
        #[test]
        fn bytes_sort_as_they_are_whatever_follows(
            one in few_bytes(),
            other in few_bytes(),
            after_one in few_bytes(),
            after_other in few_bytes(),
        ) {
            let encode = |bytes: &[u8], after: &[u8]| {
                let mut out = Vec::new();
                put_bytes(bytes, &mut out);
                out.extend_from_slice(after);
                out
            };
            let (encoded, encoded_other) = (encode(&one, &after_one), encode(&other, &after_other));
            if one != other {
                prop_assert_eq!(encoded.cmp(&encoded_other), one.cmp(&other));
            }
            prop_assert_eq!(split_bytes(&encoded), Some((one, &after_one[..])));
        }
    }
}
