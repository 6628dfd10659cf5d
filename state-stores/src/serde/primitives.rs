//! The serdes of the standard types. Where Kafka's own clients have a serializer for the type, the bytes are the same.

use std::any::type_name;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{Encoded, HasSerde, Serde, SerdeError, SerdeRef, hex};

/// Numbers in big-endian byte order, as Kafka's Short-, Integer-, Long-, Float- and DoubleSerializer write them.
macro_rules! big_endian_serde {
    ($($type:ty),+) => {
        $(
            impl HasSerde for $type {
                fn serde() -> SerdeRef<Self> {
                    Arc::new(BigEndian)
                }
            }

            impl Serde<$type> for BigEndian {
                fn encode(&self, value: &$type, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
                    out.extend_from_slice(&value.to_be_bytes());
                    Ok(Encoded::Bytes)
                }

                fn decode(&self, bytes: &[u8]) -> Result<$type, SerdeError> {
                    let exact = bytes.try_into().map_err(|_| {
                        SerdeError::wrong_length::<$type>(size_of::<$type>(), bytes.len())
                    })?;
                    Ok(<$type>::from_be_bytes(exact))
                }

                fn key_from_text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), SerdeError> {
                    let number: $type = text.parse().map_err(|error| SerdeError::invalid_text::<$type>(text, error))?;
                    self.encode(&number, out).map(|_bytes| ())
                }

                /// A number; what JSON has no number for (not-a-number, infinity) is null.
                fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
                    let number: $type = self.decode(bytes)?;
                    Ok(number.into())
                }
            }
        )+
    };
}

struct BigEndian;

big_endian_serde!(i16, i32, i64, u32, u64, f32, f64);

/// UTF-8, as Kafka's StringSerializer writes it.
struct Utf8;

impl HasSerde for String {
    fn serde() -> SerdeRef<Self> {
        Arc::new(Utf8)
    }
}

impl Serde<String> for Utf8 {
    fn encode(&self, value: &String, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        out.extend_from_slice(value.as_bytes());
        Ok(Encoded::Bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<String, SerdeError> {
        utf8::<String>(bytes).map(str::to_owned)
    }

    fn never_begins_with_ff(&self) -> bool {
        true
    }

    fn key_from_text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        utf8::<String>(bytes).map(Into::into)
    }
}

/// The bytes as they are.
struct Raw;

impl HasSerde for Vec<u8> {
    fn serde() -> SerdeRef<Self> {
        Arc::new(Raw)
    }
}

impl Serde<Vec<u8>> for Raw {
    fn encode(&self, value: &Vec<u8>, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        out.extend_from_slice(value);
        Ok(Encoded::Bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, SerdeError> {
        Ok(bytes.to_vec())
    }

    fn key_from_text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend(hex_digits::<Vec<u8>>(text)?);
        Ok(())
    }

    fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        Ok(hex::encode(bytes).into())
    }
}

impl HasSerde for Bytes {
    fn serde() -> SerdeRef<Self> {
        Arc::new(Raw)
    }
}

impl Serde<Bytes> for Raw {
    fn encode(&self, value: &Bytes, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        out.extend_from_slice(value);
        Ok(Encoded::Bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Bytes, SerdeError> {
        Ok(Bytes::copy_from_slice(bytes))
    }

    fn key_from_text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend(hex_digits::<Bytes>(text)?);
        Ok(())
    }

    fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        Ok(hex::encode(bytes).into())
    }
}

/// One byte, 0 or 1, as Kafka's BooleanSerializer writes it.
struct OneByte;

impl HasSerde for bool {
    fn serde() -> SerdeRef<Self> {
        Arc::new(OneByte)
    }
}

impl Serde<bool> for OneByte {
    fn encode(&self, value: &bool, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        out.push(u8::from(*value));
        Ok(Encoded::Bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<bool, SerdeError> {
        match bytes {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(SerdeError::InvalidValue {
                type_name: type_name::<bool>(),
                reason: format!("the byte is {other}, not 0 or 1"),
            }),
            _ => Err(SerdeError::wrong_length::<bool>(1, bytes.len())),
        }
    }

    fn never_begins_with_ff(&self) -> bool {
        true
    }

    fn key_from_text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let value: bool = text.parse().map_err(|error| SerdeError::invalid_text::<bool>(text, error))?;
        self.encode(&value, out).map(|_bytes| ())
    }

    fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        self.decode(bytes).map(Into::into)
    }
}

/// The text form in UTF-8 (36 characters, lower case), as Kafka's UUIDSerializer writes it.
struct UuidText;

impl HasSerde for Uuid {
    fn serde() -> SerdeRef<Self> {
        Arc::new(UuidText)
    }
}

impl Serde<Uuid> for UuidText {
    fn encode(&self, value: &Uuid, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        let mut text = Uuid::encode_buffer();
        out.extend_from_slice(value.hyphenated().encode_lower(&mut text).as_bytes());
        Ok(Encoded::Bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Uuid, SerdeError> {
        utf8::<Uuid>(bytes)?.parse().map_err(|error: uuid::Error| SerdeError::InvalidValue {
            type_name: type_name::<Uuid>(),
            reason: error.to_string(),
        })
    }

    fn never_begins_with_ff(&self) -> bool {
        true
    }

    fn key_from_text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let id: Uuid = text.parse().map_err(|error| SerdeError::invalid_text::<Uuid>(text, error))?;
        self.encode(&id, out).map(|_bytes| ())
    }

    fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        Ok(self.decode(bytes)?.to_string().into())
    }
}

/// Always null, as Kafka's VoidSerializer writes it.
struct AlwaysNull;

impl HasSerde for () {
    fn serde() -> SerdeRef<Self> {
        Arc::new(AlwaysNull)
    }
}

impl Serde<()> for AlwaysNull {
    fn encode(&self, (): &(), _out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        Ok(Encoded::Null)
    }

    fn decode(&self, bytes: &[u8]) -> Result<(), SerdeError> {
        Err(SerdeError::wrong_length::<()>(0, bytes.len()))
    }

    fn never_begins_with_ff(&self) -> bool {
        true
    }

    fn decode_null(&self) -> Result<(), SerdeError> {
        Ok(())
    }
}

fn hex_digits<T>(text: &str) -> Result<Vec<u8>, SerdeError> {
    let error = || {
        SerdeError::invalid_text::<T>(text, "bytes are written as pairs of hexadecimal digits, such as 00ff")
    };
    hex::decode(text).ok_or_else(error)
}

fn utf8<T>(bytes: &[u8]) -> Result<&str, SerdeError> {
    str::from_utf8(bytes).map_err(|error| SerdeError::InvalidUtf8 {
        type_name: type_name::<T>(),
        valid_up_to: error.valid_up_to(),
        length: bytes.len(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The bytes on the right were written by the serializers of Apache Kafka's clients, version 4.3.1.
    #[track_caller]
    fn check<T: HasSerde + PartialEq + std::fmt::Debug>(value: T, bytes: &[u8]) {
        let mut encoded = vec![0xAA];
        assert_eq!(T::serde().encode(&value, &mut encoded).unwrap(), Encoded::Bytes);
        assert_eq!(encoded[1..], *bytes, "bytes of {value:?}");
        assert_eq!(T::serde().decode(bytes).unwrap(), value);
        assert!(T::serde().decode_null().is_err());
    }

    #[test]
    fn the_bytes_are_those_of_kafkas_serializers() {
        check(-2_i16, &[0xff, 0xfe]);
        check(-2_i32, &[0xff, 0xff, 0xff, 0xfe]);
        check(-2_i64, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]);
        check(-1.5_f32, &[0xbf, 0xc0, 0, 0]);
        check(-1.5_f64, &[0xbf, 0xf8, 0, 0, 0, 0, 0, 0]);
        check(true, &[1]);
        check(false, &[0]);
        check(String::from("Äpfel"), "Äpfel".as_bytes());
        check(vec![0_u8, 255], &[0, 255]);
        check(Bytes::from_static(&[0, 255]), &[0, 255]);
        let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        check(uuid.parse::<Uuid>().unwrap(), uuid.as_bytes());
        check(7_u32, &[0, 0, 0, 7]);
        check(7_u64, &[0, 0, 0, 0, 0, 0, 0, 7]);
    }

    #[track_caller]
    fn check_text<T: HasSerde>(text: &str, value: T, json: serde_json::Value) {
        let (mut from_text, mut from_value) = (vec![0xAA], vec![0xAA]);
        T::serde().key_from_text(text, &mut from_text).unwrap();
        T::serde().encode(&value, &mut from_value).unwrap();
        assert_eq!(from_text, from_value, "bytes of {text}");
        assert_eq!(T::serde().to_json(&from_value[1..]).unwrap(), json);
    }

    #[test]
    fn keys_are_written_as_text_and_shown_as_json() {
        check_text("-2", -2_i16, json!(-2));
        check_text("-2", -2_i32, json!(-2));
        check_text("-9223372036854775808", i64::MIN, json!(i64::MIN));
        check_text("7", 7_u32, json!(7));
        check_text("18446744073709551615", u64::MAX, json!(u64::MAX));
        check_text("-1.5", -1.5_f32, json!(-1.5));
        check_text("-1.5", -1.5_f64, json!(-1.5));
        check_text("NaN", f64::NAN, json!(null));
        check_text("true", true, json!(true));
        check_text("Äpfel/2", String::from("Äpfel/2"), json!("Äpfel/2"));
        check_text("00fF", vec![0_u8, 255], json!("00ff"));
        check_text("00ff", Bytes::from_static(&[0, 255]), json!("00ff"));
        let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        check_text(&uuid.to_uppercase(), uuid.parse::<Uuid>().unwrap(), json!(uuid));
    }

    #[test]
    fn a_text_that_is_no_value_is_refused_with_the_type() {
        let refusal = |refused: Result<(), SerdeError>| refused.unwrap_err().to_string();
        let out = &mut Vec::new();
        assert_eq!(
            refusal(i64::serde().key_from_text("seven", out)),
            "\"seven\" is no `i64`: invalid digit found in string"
        );
        assert!(refusal(bool::serde().key_from_text("1", out)).starts_with("\"1\" is no `bool`: "));
        assert!(refusal(Uuid::serde().key_from_text("7", out)).starts_with("\"7\" is no `uuid::Uuid`: "));
        assert!(refusal(Bytes::serde().key_from_text("0", out)).ends_with("such as 00ff"));
        assert!(
            refusal(<()>::serde().key_from_text("", out)).starts_with("a `()` cannot be written as text")
        );
        assert!(out.is_empty(), "a refused key leaves nothing behind");
    }

    #[test]
    fn unit_is_null_and_nothing_else() {
        let mut bytes = Vec::new();
        assert_eq!(<()>::serde().encode(&(), &mut bytes).unwrap(), Encoded::Null);
        assert!(bytes.is_empty());
        <()>::serde().decode_null().unwrap();
        assert!(<()>::serde().decode(&[1]).is_err());
    }

    #[test]
    fn errors_name_the_type_and_what_was_found() {
        let wrong_length = i64::serde().decode(b"seven").unwrap_err();
        assert_eq!(
            wrong_length.to_string(),
            "5 bytes found where `i64` has 8; does the producer write that type?"
        );
        let null = i64::serde().decode_null().unwrap_err();
        assert_eq!(
            null.to_string(),
            "null found where `i64` is never null; use `Option<i64>` if a null means something"
        );
        let text = String::serde().decode(b"ab\xff").unwrap_err();
        assert_eq!(
            text.to_string(),
            "`alloc::string::String` must be UTF-8, but byte 2 of 3 is not; does the producer write text?"
        );
        let boolean = bool::serde().decode(&[2]).unwrap_err();
        assert_eq!(boolean.to_string(), "these bytes are no `bool`: the byte is 2, not 0 or 1");
        let uuid = Uuid::serde().decode(b"no uuid").unwrap_err();
        assert!(uuid.to_string().starts_with("these bytes are no `uuid::Uuid`: "), "{uuid}");
    }
}
