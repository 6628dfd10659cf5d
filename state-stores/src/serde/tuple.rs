//! Tuples as keys of several parts: their bytes sort as the tuples do, so that a range or a prefix of a store is one of the parts.

use std::any::type_name;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value as Json;
use uuid::Uuid;

use super::{Encoded, HasSerde, Serde, SerdeError, SerdeRef, hex};
use crate::format::ordered::{invert_sign, put_bytes, split_bytes};
use crate::types::Timestamp;

/// A part of a key of several parts, or such a key: its bytes sort as it does, and tell where they end. Implemented for integers, `bool`,
/// `String`, bytes, `Uuid`, [`Timestamp`], `Option` of them (`None` sorts first) and tuples of up to six.
///
/// ```
/// use millstream_state_stores::OrderedKey;
///
/// // All orders of a customer: the rows whose keys begin with the bytes of the first part.
/// let mut prefix = Vec::new();
/// "ann".to_string().put_ordered(&mut prefix);
/// let mut key = Vec::new();
/// ("ann".to_string(), -7_i64).put_ordered(&mut key);
/// assert!(key.starts_with(&prefix));
/// ```
pub trait OrderedKey: Sized + Clone + Send + Sync + 'static {
    /// Appends the bytes.
    fn put_ordered(&self, out: &mut Vec<u8>);

    /// The value that the bytes begin with, and what follows; `None` if they begin with none.
    fn split_ordered(bytes: &[u8]) -> Option<(Self, &[u8])>;

    /// The value as JSON.
    fn to_json(&self) -> Json;

    /// The value that is this JSON.
    fn from_json(json: &Json) -> Option<Self>;
}

macro_rules! ordered_integers {
    ($($type:ty => $order:expr),+ $(,)?) => {
        $(
            impl OrderedKey for $type {
                fn put_ordered(&self, out: &mut Vec<u8>) {
                    out.extend_from_slice(&$order(self.to_be_bytes()));
                }

                fn split_ordered(bytes: &[u8]) -> Option<(Self, &[u8])> {
                    let (first, rest) = bytes.split_first_chunk()?;
                    Some((<$type>::from_be_bytes($order(*first)), rest))
                }

                fn to_json(&self) -> Json {
                    (*self).into()
                }

                fn from_json(json: &Json) -> Option<Self> {
                    serde_json::from_value(json.clone()).ok()
                }
            }
        )+
    };
}

ordered_integers!(
    i16 => invert_sign, i32 => invert_sign, i64 => invert_sign,
    u16 => std::convert::identity, u32 => std::convert::identity, u64 => std::convert::identity,
);

impl OrderedKey for Timestamp {
    fn put_ordered(&self, out: &mut Vec<u8>) {
        self.as_millis().put_ordered(out);
    }

    fn split_ordered(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (millis, rest) = i64::split_ordered(bytes)?;
        Some((Timestamp::from_millis(millis), rest))
    }

    fn to_json(&self) -> Json {
        self.as_millis().into()
    }

    fn from_json(json: &Json) -> Option<Self> {
        i64::from_json(json).map(Timestamp::from_millis)
    }
}

impl OrderedKey for bool {
    fn put_ordered(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn split_ordered(bytes: &[u8]) -> Option<(Self, &[u8])> {
        match bytes {
            [0, rest @ ..] => Some((false, rest)),
            [1, rest @ ..] => Some((true, rest)),
            _ => None,
        }
    }

    fn to_json(&self) -> Json {
        (*self).into()
    }

    fn from_json(json: &Json) -> Option<Self> {
        json.as_bool()
    }
}

impl OrderedKey for String {
    fn put_ordered(&self, out: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), out);
    }

    fn split_ordered(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (text, rest) = split_bytes(bytes)?;
        Some((String::from_utf8(text).ok()?, rest))
    }

    fn to_json(&self) -> Json {
        self.as_str().into()
    }

    fn from_json(json: &Json) -> Option<Self> {
        json.as_str().map(str::to_owned)
    }
}

macro_rules! ordered_bytes {
    ($($type:ty),+) => {
        $(
            impl OrderedKey for $type {
                fn put_ordered(&self, out: &mut Vec<u8>) {
                    put_bytes(self, out);
                }

                fn split_ordered(bytes: &[u8]) -> Option<(Self, &[u8])> {
                    let (value, rest) = split_bytes(bytes)?;
                    Some((value.into(), rest))
                }

                fn to_json(&self) -> Json {
                    hex::encode(self).into()
                }

                fn from_json(json: &Json) -> Option<Self> {
                    hex::decode(json.as_str()?).map(Into::into)
                }
            }
        )+
    };
}

ordered_bytes!(Vec<u8>, Bytes);

impl OrderedKey for Uuid {
    fn put_ordered(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn split_ordered(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (id, rest) = bytes.split_first_chunk()?;
        Some((Uuid::from_bytes(*id), rest))
    }

    fn to_json(&self) -> Json {
        self.to_string().into()
    }

    fn from_json(json: &Json) -> Option<Self> {
        json.as_str()?.parse().ok()
    }
}

impl<T: OrderedKey> OrderedKey for Option<T> {
    fn put_ordered(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(value) = self {
            value.put_ordered(out);
        }
    }

    fn split_ordered(bytes: &[u8]) -> Option<(Self, &[u8])> {
        match bytes {
            [0, rest @ ..] => Some((None, rest)),
            [1, rest @ ..] => T::split_ordered(rest).map(|(value, rest)| (Some(value), rest)),
            _ => None,
        }
    }

    fn to_json(&self) -> Json {
        self.as_ref().map_or(Json::Null, T::to_json)
    }

    fn from_json(json: &Json) -> Option<Self> {
        match json {
            Json::Null => Some(None),
            json => T::from_json(json).map(Some),
        }
    }
}

/// Writes a tuple as its parts, one after the other, so that the bytes sort as the tuple does.
///
/// ```
/// use millstream_state_stores::{HasSerde, Serde, TupleSerde};
///
/// let mut bytes = Vec::new();
/// <(String, i32)>::serde().encode(&("ann".into(), -1), &mut bytes)?;
/// assert_eq!(bytes, b"ann\x00\x01\x7f\xff\xff\xff");
/// assert_eq!(TupleSerde::<(String, i32)>::new().decode(&bytes)?, ("ann".into(), -1));
/// # Ok::<(), millstream_state_stores::SerdeError>(())
/// ```
pub struct TupleSerde<T> {
    types: PhantomData<fn() -> T>,
}

impl<T> TupleSerde<T> {
    /// The serde of this tuple; it has no options.
    pub const fn new() -> Self {
        Self { types: PhantomData }
    }
}

impl<T> Default for TupleSerde<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: OrderedKey> Serde<T> for TupleSerde<T> {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        value.put_ordered(out);
        Ok(Encoded::Bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        match T::split_ordered(bytes) {
            Some((value, [])) => Ok(value),
            Some((_, rest)) => {
                let reason = format!("{} of {} bytes are left over", rest.len(), bytes.len());
                Err(SerdeError::InvalidValue { type_name: type_name::<T>(), reason })
            }
            None => Err(SerdeError::InvalidValue {
                type_name: type_name::<T>(),
                reason: format!("{} bytes do not hold its parts", bytes.len()),
            }),
        }
    }

    /// The text is JSON: an array of the parts.
    fn key_from_text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let json: Json =
            serde_json::from_str(text).map_err(|error| SerdeError::invalid_text::<T>(text, error))?;
        let key = T::from_json(&json)
            .ok_or_else(|| SerdeError::invalid_text::<T>(text, "write it as a JSON array of its parts"))?;
        key.put_ordered(out);
        Ok(())
    }

    fn to_json(&self, bytes: &[u8]) -> Result<Json, SerdeError> {
        self.decode(bytes).map(|key| key.to_json())
    }
}

macro_rules! tuples {
    ($($count:literal: $($part:ident $place:tt),+;)+) => {
        $(
            impl<$($part: OrderedKey),+> OrderedKey for ($($part,)+) {
                fn put_ordered(&self, out: &mut Vec<u8>) {
                    $(self.$place.put_ordered(out);)+
                }

                #[allow(non_snake_case, reason = "each part is named as its type")]
                fn split_ordered(bytes: &[u8]) -> Option<(Self, &[u8])> {
                    let rest = bytes;
                    $(let ($part, rest) = $part::split_ordered(rest)?;)+
                    Some((($($part,)+), rest))
                }

                fn to_json(&self) -> Json {
                    Json::Array(vec![$(self.$place.to_json()),+])
                }

                fn from_json(json: &Json) -> Option<Self> {
                    let parts = json.as_array().filter(|parts| parts.len() == $count)?;
                    Some(($($part::from_json(&parts[$place])?,)+))
                }
            }

            impl<$($part: OrderedKey),+> HasSerde for ($($part,)+) {
                fn serde() -> SerdeRef<Self> {
                    Arc::new(TupleSerde::new())
                }
            }
        )+
    };
}

tuples! {
    2: A 0, B 1;
    3: A 0, B 1, C 2;
    4: A 0, B 1, C 2, D 3;
    5: A 0, B 1, C 2, D 3, E 4;
    6: A 0, B 1, C 2, D 3, E 4, F 5;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn encoded<T: HasSerde>(value: &T) -> Vec<u8> {
        let mut bytes = Vec::new();
        assert_eq!(T::serde().encode(value, &mut bytes).unwrap(), Encoded::Bytes);
        bytes
    }

    #[test]
    fn the_bytes_are_as_documented() {
        let id = Uuid::from_bytes([7; 16]);
        let key = (-1_i64, 2_u16, true, "a\0".to_string(), Some(id), None::<bool>);
        let bytes = encoded(&key);
        let parts: [&[u8]; 6] = [
            &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0, 2],
            &[1],
            &[b'a', 0, 0xff, 0, 1],
            &[1, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
            &[0],
        ];
        assert_eq!(bytes, parts.concat());
        let serde = TupleSerde::<(i64, u16, bool, String, Option<Uuid>, Option<bool>)>::new();
        assert_eq!(serde.decode(&bytes).unwrap(), key);
    }

    #[test]
    fn keys_are_written_as_text_and_shown_as_json() {
        type Key = (String, (u32, Timestamp), Bytes);
        let key: Key = ("ann".into(), (7, Timestamp::from_millis(-3)), Bytes::from_static(&[0, 255]));
        let json = json!(["ann", [7, -3], "00ff"]);
        let mut bytes = Vec::new();
        Key::serde().key_from_text(&json.to_string(), &mut bytes).unwrap();
        assert_eq!(bytes, encoded(&key));
        assert_eq!(Key::serde().to_json(&bytes).unwrap(), json);
        for wrong in ["ann", "[\"ann\"]", "[\"ann\",[-7,1],\"00\"]", "[\"ann\",[7,1],\"0\"]"] {
            let error = Key::serde().key_from_text(wrong, &mut Vec::new()).unwrap_err();
            assert!(matches!(error, SerdeError::InvalidText { .. }), "{error}");
        }
    }

    #[test]
    fn broken_bytes_are_errors() {
        let serde = <(String, i16)>::serde();
        let whole = encoded(&("ann".to_string(), 5_i16));
        for length in 0..whole.len() {
            assert!(serde.decode(&whole[..length]).is_err(), "{length} bytes");
        }
        let error = serde.decode(&[&whole[..], b"!"].concat()).unwrap_err().to_string();
        assert!(error.contains("1 of 8 bytes are left over"), "{error}");
        assert!(serde.decode(b"\xff\x00\x01\x00\x00").is_err(), "no UTF-8");
    }

    type Parts = (Option<String>, i32, Vec<u8>, (bool, u64));

    fn parts() -> impl Strategy<Value = Parts> {
        let text = prop::option::of("[a\u{0}é]{0,3}");
        let bytes = prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(255)], 0..4);
        (text, prop_oneof![-2..2_i32, any::<i32>()], bytes, (any::<bool>(), 0..3_u64))
    }

    proptest! {
        #[test]
        fn bytes_sort_as_the_tuples_do_and_come_back(one in parts(), other in parts()) {
            prop_assert_eq!(encoded(&one).cmp(&encoded(&other)), one.cmp(&other));
            prop_assert_eq!(Parts::serde().decode(&encoded(&one)).unwrap(), one);
        }

        #[test]
        fn any_bytes_are_a_key_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(key) = Parts::serde().decode(&bytes) {
                prop_assert_eq!(encoded(&key), bytes);
            }
        }
    }
}
