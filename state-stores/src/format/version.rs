//! How a value says of which version of its type it is, where no schema registry does.
//!
//! ```text
//! 0xff | version (unsigned varint) | value
//! ```
//! Bytes that do not begin with 0xff are a value of the first version, from before there were others. So this is for types whose first version never
//! begins with it, as no text in UTF-8 does.

/// What a value with a number begins with.
pub(crate) const VERSION_MARK: u8 = 0xff;

/// Appends what a value of this version begins with.
pub(crate) fn put_version(version: u32, out: &mut Vec<u8>) {
    out.push(VERSION_MARK);
    let mut rest = version;
    while rest >= 0x80 {
        out.push((rest as u8 & 0x7f) | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// The version of a value, and its own bytes; `None` if the number is broken.
pub(crate) fn split_version(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let Some(numbered) = bytes.strip_prefix(&[VERSION_MARK]) else { return Some((1, bytes)) };
    let mut version = 0_u64;
    for (place, byte) in numbered.iter().take(5).enumerate() {
        version |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((u32::try_from(version).ok()?, &numbered[place + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_as_documented() {
        for (version, bytes) in [(3, &[0xff, 3][..]), (300, &[0xff, 0xac, 2])] {
            let mut out = Vec::new();
            put_version(version, &mut out);
            assert_eq!(out, bytes);
            out.extend_from_slice(b"{}");
            assert_eq!(split_version(&out), Some((version, &b"{}"[..])));
        }
        assert_eq!(split_version(b"{}"), Some((1, &b"{}"[..])), "from before there were versions");
        for broken in [&[0xff][..], &[0xff, 0x80], &[0xff; 9]] {
            assert_eq!(split_version(broken), None, "{broken:?}");
        }
    }
}
