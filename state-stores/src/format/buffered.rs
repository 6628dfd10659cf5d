//! Records that wait in a buffer, as Kafka Streams' `BufferValue` (version 3) and `ProcessorRecordContext` lay them out; and the keys
//! of buffers in the order of time.
//!
//! ```text
//! timestamp (8) | offset (8) | topic: length (4), bytes | partition (4)
//!   | headers: count (4), of each: name: length (4), bytes | value: length (4), bytes
//!   | prior value | old value | new value: length (4), bytes; -1 is null, and -2 for the old value that it is the prior one
//!   | time in the buffer (8)
//! ```
//! The changelog of a buffer has a header `v` with the byte 3, which tells Kafka Streams of this layout.

use std::any::type_name;
use std::sync::Arc;

use bytes::Bytes;

use crate::serde::{Encoded, HasSerde, Serde, SerdeError, SerdePlace, SerdeRef};
use crate::types::{Offset, Timestamp};

/// The header of changelog records that says which layout their values have.
pub const BUFFERED_HEADER: (&str, &[u8]) = ("v", &[3]);

const NULL: i32 = -1;
const SAME_AS_PRIOR: i32 = -2;

/// What a record had besides key and value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BufferedContext {
    /// Its event time.
    pub timestamp: Timestamp,
    /// The topic it came from; empty if it came from none, as what a commit emits.
    pub topic: String,
    /// The partition of the topic; -1 if it came from none.
    pub partition: i32,
    /// Where in the partition; -1 if it came from none.
    pub offset: Offset,
    /// Names and values of its headers, in order.
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// A change, or a record, that waits in a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffered<V> {
    /// What those downstream know: the value before the first change that waits.
    pub prior: Option<V>,
    /// The value before the newest change.
    pub old: Option<V>,
    /// The newest value.
    pub new: Option<V>,
    /// By which it waits.
    pub time: Timestamp,
    /// That of the newest change.
    pub context: BufferedContext,
}

/// Lays out what waits in a buffer, with values as the given serde writes them.
pub struct BufferedSerde<V> {
    values: SerdeRef<V>,
}

impl<V> BufferedSerde<V> {
    /// With this serde for the values.
    pub fn new(values: SerdeRef<V>) -> Self {
        Self { values }
    }

    /// Appends the length and the bytes of a value, and returns where both are.
    fn put_value(&self, value: Option<&V>, out: &mut Vec<u8>) -> Result<std::ops::Range<usize>, SerdeError> {
        let start = out.len();
        put_int(NULL, out);
        let bytes = out.len();
        let Some(value) = value else { return Ok(start..bytes) };
        if self.values.encode(value, out)? == Encoded::Bytes {
            let length = length_of::<V>(out.len() - bytes)?;
            out[start..bytes].copy_from_slice(&length.to_be_bytes());
        }
        Ok(start..out.len())
    }
}

impl<V: Clone + 'static> Serde<Buffered<V>> for BufferedSerde<V> {
    fn encode(&self, buffered: &Buffered<V>, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        let Buffered { prior, old, new, time, context } = buffered;
        out.extend_from_slice(&context.timestamp.as_millis().to_be_bytes());
        out.extend_from_slice(&context.offset.get().to_be_bytes());
        put_bytes::<V>(context.topic.as_bytes(), out)?;
        put_int(context.partition, out);
        put_int(length_of::<V>(context.headers.len())?, out);
        for (name, value) in &context.headers {
            put_bytes::<V>(name.as_bytes(), out)?;
            match value {
                Some(value) => put_bytes::<V>(value, out)?,
                None => put_int(NULL, out),
            }
        }
        let prior = self.put_value(prior.as_ref(), out)?;
        let written = self.put_value(old.as_ref(), out)?;
        if old.is_some() && out[written.clone()] == out[prior] {
            out.truncate(written.start);
            put_int(SAME_AS_PRIOR, out);
        }
        self.put_value(new.as_ref(), out)?;
        out.extend_from_slice(&time.as_millis().to_be_bytes());
        Ok(Encoded::Bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Buffered<V>, SerdeError> {
        let mut rest = Rest { bytes, type_name: type_name::<Buffered<V>>() };
        let timestamp = Timestamp::from_millis(rest.long()?);
        let offset = Offset::new(rest.long()?);
        let topic = rest.text()?;
        let partition = rest.int()?;
        // Old versions of Kafka Streams wrote so that there are none.
        let count = if rest.is_next(NULL) { 0 } else { rest.count()? };
        let headers = (0..count).map(|_| Ok((rest.text()?, rest.nullable()?.map(Bytes::copy_from_slice))));
        let headers = headers.collect::<Result<_, SerdeError>>()?;
        let decode = |bytes: Option<&[u8]>| bytes.map(|bytes| self.values.decode(bytes)).transpose();
        let prior = rest.nullable()?;
        let old = if rest.is_next(SAME_AS_PRIOR) { prior } else { rest.nullable()? };
        let new = rest.nullable()?;
        let time = Timestamp::from_millis(rest.long()?);
        rest.end()?;
        let context = BufferedContext { timestamp, topic, partition, offset, headers };
        Ok(Buffered { prior: decode(prior)?, old: decode(old)?, new: decode(new)?, time, context })
    }

    fn in_place(&self, place: &SerdePlace<'_>) -> Result<Option<SerdeRef<Buffered<V>>>, SerdeError> {
        Ok(Some(Arc::new(Self::new(place.bind(&self.values)?))))
    }
}

/// A key among others of the same time and key, in the order of time: `00 | time (8) | key | number (4)`, Kafka Streams'
/// `TimeFirstWindowKeySchema`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeFirstKey<K> {
    /// Orders first.
    pub time: Timestamp,
    /// Orders among those of a time, by its bytes.
    pub key: K,
    /// Tells apart what has the same time and key.
    pub number: i32,
}

impl<K: HasSerde> HasSerde for TimeFirstKey<K> {
    fn serde() -> SerdeRef<Self> {
        Arc::new(TimeFirstKeySerde { keys: K::default_serde() })
    }
}

struct TimeFirstKeySerde<K> {
    keys: SerdeRef<K>,
}

impl<K: Clone + 'static> Serde<TimeFirstKey<K>> for TimeFirstKeySerde<K> {
    fn encode(&self, key: &TimeFirstKey<K>, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        out.push(0);
        out.extend_from_slice(&key.time.as_millis().to_be_bytes());
        match self.keys.encode(&key.key, out)? {
            Encoded::Bytes => {}
            Encoded::Null => return Err(SerdeError::UnexpectedNull { type_name: type_name::<K>() }),
        }
        put_int(key.number, out);
        Ok(Encoded::Bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<TimeFirstKey<K>, SerdeError> {
        let type_name = type_name::<TimeFirstKey<K>>();
        let parts = || {
            let (time, rest) = bytes.strip_prefix(&[0])?.split_first_chunk()?;
            let (key, number) = rest.split_last_chunk()?;
            Some((i64::from_be_bytes(*time), key, i32::from_be_bytes(*number)))
        };
        let (time, key, number) = parts().ok_or_else(|| cut_off(type_name))?;
        Ok(TimeFirstKey { time: Timestamp::from_millis(time), key: self.keys.decode(key)?, number })
    }

    fn in_place(&self, place: &SerdePlace<'_>) -> Result<Option<SerdeRef<TimeFirstKey<K>>>, SerdeError> {
        Ok(Some(Arc::new(Self { keys: place.bind(&self.keys)? })))
    }
}

fn put_int(int: i32, out: &mut Vec<u8>) {
    out.extend_from_slice(&int.to_be_bytes());
}

fn put_bytes<T>(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), SerdeError> {
    put_int(length_of::<T>(bytes.len())?, out);
    out.extend_from_slice(bytes);
    Ok(())
}

fn length_of<T>(length: usize) -> Result<i32, SerdeError> {
    i32::try_from(length).map_err(|_| SerdeError::custom::<T>("it is longer than 2 GiB"))
}

fn cut_off(type_name: &'static str) -> SerdeError {
    SerdeError::InvalidValue { type_name, reason: "they are cut off".into() }
}

/// Bytes that are still to be read.
struct Rest<'a> {
    bytes: &'a [u8],
    type_name: &'static str,
}

impl<'a> Rest<'a> {
    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], SerdeError> {
        let (chunk, rest) = self.bytes.split_first_chunk().ok_or_else(|| cut_off(self.type_name))?;
        self.bytes = rest;
        Ok(*chunk)
    }

    fn long(&mut self) -> Result<i64, SerdeError> {
        self.chunk().map(i64::from_be_bytes)
    }

    fn int(&mut self) -> Result<i32, SerdeError> {
        self.chunk().map(i32::from_be_bytes)
    }

    /// Passes over an int if it is this one.
    fn is_next(&mut self, int: i32) -> bool {
        match self.bytes.strip_prefix(&int.to_be_bytes()) {
            Some(rest) => {
                self.bytes = rest;
                true
            }
            None => false,
        }
    }

    fn count(&mut self) -> Result<usize, SerdeError> {
        let count = self.int()?;
        let negative = || SerdeError::InvalidValue {
            type_name: self.type_name,
            reason: format!("{count} is no length, and no number of headers"),
        };
        usize::try_from(count).map_err(|_| negative())
    }

    /// A length and so many bytes; `None` for the length -1.
    fn nullable(&mut self) -> Result<Option<&'a [u8]>, SerdeError> {
        if self.is_next(NULL) {
            return Ok(None);
        }
        let length = self.count()?;
        let (bytes, rest) = self.bytes.split_at_checked(length).ok_or_else(|| cut_off(self.type_name))?;
        self.bytes = rest;
        Ok(Some(bytes))
    }

    fn text(&mut self) -> Result<String, SerdeError> {
        let bytes = self.nullable()?.ok_or_else(|| cut_off(self.type_name))?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    fn end(&self) -> Result<(), SerdeError> {
        let reason = || format!("{} bytes are left over", self.bytes.len());
        match self.bytes {
            [] => Ok(()),
            _ => Err(SerdeError::InvalidValue { type_name: self.type_name, reason: reason() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffered(prior: Option<&str>, old: Option<&str>, new: Option<&str>) -> Buffered<String> {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let context = BufferedContext {
            timestamp: Timestamp::from_millis(7),
            topic: "t".into(),
            partition: 2,
            offset: Offset::new(9),
            headers: vec![("h".into(), Some(Bytes::from_static(b"x"))), ("n".into(), None)],
        };
        let time = Timestamp::from_millis(5);
        Buffered { prior: text(prior), old: text(old), new: text(new), time, context }
    }

    #[test]
    fn the_bytes_are_as_documented() {
        let serde = BufferedSerde::new(String::serde());
        let context = b"\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x09\0\0\0\x01t\0\0\0\x02\
            \0\0\0\x02\0\0\0\x01h\0\0\0\x01x\0\0\0\x01n\xff\xff\xff\xff";
        let time = b"\0\0\0\0\0\0\0\x05";
        for (value, values) in [
            (buffered(Some("p"), Some("o"), Some("new")), b"\0\0\0\x01p\0\0\0\x01o\0\0\0\x03new".as_slice()),
            (buffered(Some("p"), Some("p"), None), b"\0\0\0\x01p\xff\xff\xff\xfe\xff\xff\xff\xff"),
            (buffered(None, Some(""), Some("x")), b"\xff\xff\xff\xff\0\0\0\0\0\0\0\x01x"),
            (buffered(None, None, Some("")), b"\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"),
        ] {
            let expected = [context.as_slice(), values, time].concat();
            let mut bytes = Vec::new();
            serde.encode(&value, &mut bytes).unwrap();
            assert_eq!(bytes, expected, "{value:?}");
            assert_eq!(serde.decode(&expected).unwrap(), value);
            for end in 0..expected.len() {
                serde.decode(&expected[..end]).expect_err("cut off");
            }
            serde.decode(&[&expected, &b"more"[..]].concat()).expect_err("something is left over");
        }
    }

    #[test]
    fn there_is_no_negative_number_of_headers() {
        let before = b"\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x09\0\0\0\x01t\0\0\0\x02";
        let after = b"\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0\0\x05";
        let serde = BufferedSerde::new(String::serde());
        for none in [0_i32, -1] {
            assert!(serde.decode(&[&before[..], &none.to_be_bytes(), after].concat()).is_ok());
        }
        let refused = serde.decode(&[&before[..], &(-2_i32).to_be_bytes(), after].concat()).unwrap_err();
        assert!(refused.to_string().contains("-2 is no length"), "{refused}");
    }

    #[test]
    fn keys_order_by_time_then_by_key() {
        let serde = TimeFirstKey::<String>::serde();
        let key = TimeFirstKey { time: Timestamp::from_millis(0x0102), key: "apples".to_owned(), number: 3 };
        let mut bytes = Vec::new();
        serde.encode(&key, &mut bytes).unwrap();
        assert_eq!(bytes, b"\0\0\0\0\0\0\0\x01\x02apples\0\0\0\x03");
        assert_eq!(serde.decode(&bytes).unwrap(), key);
        serde.decode(&bytes[..12]).expect_err("cut off");
        serde.decode(b"\x01").expect_err("another kind of key");
    }
}
