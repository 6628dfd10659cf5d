//! Bytes as text: two hexadecimal digits each, lower case.

use std::fmt::Write as _;

pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
    }
    text
}

/// The bytes of digits in either case; `None` for anything else, an odd number of digits included.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok()));
    let digits: Vec<u8> = digits.collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn two_digits_a_byte() {
        assert_eq!(encode(&[0, 255, 16]), "00ff10");
        assert_eq!(decode("00fF10"), Some(vec![0, 255, 16]));
        assert_eq!(decode(""), Some(vec![]));
        for wrong in ["0", "0g", "+1", " 1", "é1"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
