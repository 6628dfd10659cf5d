//! The serdes of windowed keys, as Kafka Streams writes them to topics.

use std::any::type_name;
use std::sync::Arc;
use std::time::Duration;

use super::{Encoded, HasSerde, Serde, SerdeError, SerdePlace, SerdeRef};
use crate::types::Timestamp;
use crate::window::{Window, Windowed};

const TIME_BYTES: usize = size_of::<i64>();

/// Keys within windows of one size, as Kafka Streams' `TimeWindowedSerde` writes them: `key | start`. The size is not written;
/// whoever reads must know it.
///
/// ```
/// use millstream_state_stores::{HasSerde, Serde, TimeWindowedSerde, Timestamp, Window, Windowed};
/// use std::time::Duration;
///
/// let serde = TimeWindowedSerde::new(String::serde(), Duration::from_secs(60));
/// let apples = Windowed::new("apples".to_string(), Window::new(Timestamp::from_millis(0), Timestamp::from_millis(60_000)));
/// let mut bytes = Vec::new();
/// serde.encode(&apples, &mut bytes)?;
/// assert_eq!(bytes, b"apples\0\0\0\0\0\0\0\0");
/// assert_eq!(serde.decode(&bytes)?, apples);
/// # Ok::<(), millstream_state_stores::SerdeError>(())
/// ```
pub struct TimeWindowedSerde<K> {
    key: SerdeRef<K>,
    /// Milliseconds.
    size: i64,
}

impl<K> TimeWindowedSerde<K> {
    /// For windows of this size: of sliding windows the time difference.
    pub fn new(key: SerdeRef<K>, size: Duration) -> Self {
        Self { key, size: i64::try_from(size.as_millis()).unwrap_or(i64::MAX) }
    }
}

/// Keys within sessions, as Kafka Streams' `SessionWindowedSerde` writes them: `key | end | start`.
///
/// ```
/// use millstream_state_stores::{HasSerde, Serde, SessionWindowedSerde, Timestamp, Window, Windowed};
///
/// let serde = SessionWindowedSerde::new(String::serde());
/// let visit = Windowed::new("ann".to_string(), Window::new(Timestamp::from_millis(1), Timestamp::from_millis(5)));
/// let mut bytes = Vec::new();
/// serde.encode(&visit, &mut bytes)?;
/// assert_eq!(bytes, b"ann\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x01");
/// assert_eq!(serde.decode(&bytes)?, visit);
/// # Ok::<(), millstream_state_stores::SerdeError>(())
/// ```
pub struct SessionWindowedSerde<K> {
    key: SerdeRef<K>,
}

impl<K> SessionWindowedSerde<K> {
    /// For sessions of keys with this serde.
    pub fn new(key: SerdeRef<K>) -> Self {
        Self { key }
    }
}

/// Both ends are written, as [`SessionWindowedSerde`] does: the window is known without its size. The DSL writes time windows with
/// their [`TimeWindowedSerde`] by itself; a program that reads such a topic names that serde.
impl<K: HasSerde> HasSerde for Windowed<K> {
    fn serde() -> SerdeRef<Self> {
        Arc::new(SessionWindowedSerde::new(K::default_serde()))
    }
}

impl<K: 'static> Serde<Windowed<K>> for TimeWindowedSerde<K> {
    fn encode(&self, value: &Windowed<K>, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        encode_key::<K>(&self.key, &value.key, out)?;
        append(value.window.start, out);
        Ok(Encoded::Bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Windowed<K>, SerdeError> {
        let (key, start) = split_last::<K>(bytes)?;
        let end = Timestamp::from_millis(start.as_millis().saturating_add(self.size));
        Ok(Windowed::new(self.key.decode(key)?, Window::new(start, end)))
    }

    fn in_place(&self, place: &SerdePlace<'_>) -> Result<Option<SerdeRef<Windowed<K>>>, SerdeError> {
        Ok(Some(Arc::new(Self { key: place.bind(&self.key)?, size: self.size })))
    }

    fn unhashed_key_bytes(&self) -> usize {
        TIME_BYTES
    }

    fn key_from_text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let (key, start, _) = parse::<K>(text)?;
        self.key.key_from_text(key, out)?;
        append(start, out);
        Ok(())
    }

    fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        let (key, start) = split_last::<K>(bytes)?;
        let end = start.as_millis().saturating_add(self.size);
        Ok(windowed_json(self.key.to_json(key)?, start, Timestamp::from_millis(end)))
    }
}

impl<K: 'static> Serde<Windowed<K>> for SessionWindowedSerde<K> {
    fn encode(&self, value: &Windowed<K>, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        encode_key::<K>(&self.key, &value.key, out)?;
        append(value.window.end, out);
        append(value.window.start, out);
        Ok(Encoded::Bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Windowed<K>, SerdeError> {
        let (bytes, start) = split_last::<K>(bytes)?;
        let (key, end) = split_last::<K>(bytes)?;
        Ok(Windowed::new(self.key.decode(key)?, Window::new(start, end)))
    }

    fn in_place(&self, place: &SerdePlace<'_>) -> Result<Option<SerdeRef<Windowed<K>>>, SerdeError> {
        Ok(Some(Arc::new(Self { key: place.bind(&self.key)? })))
    }

    fn unhashed_key_bytes(&self) -> usize {
        2 * TIME_BYTES
    }

    fn key_from_text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let (key, start, end) = parse::<K>(text)?;
        self.key.key_from_text(key, out)?;
        append(end, out);
        append(start, out);
        Ok(())
    }

    fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        let (bytes, start) = split_last::<K>(bytes)?;
        let (key, end) = split_last::<K>(bytes)?;
        Ok(windowed_json(self.key.to_json(key)?, start, end))
    }
}

/// A windowed key for people: `{"key": .., "start": .., "end": ..}`.
pub(crate) fn windowed_json(key: serde_json::Value, start: Timestamp, end: Timestamp) -> serde_json::Value {
    serde_json::json!({ "key": key, "start": start.as_millis(), "end": end.as_millis() })
}

fn encode_key<K>(serde: &SerdeRef<K>, key: &K, out: &mut Vec<u8>) -> Result<(), SerdeError> {
    match serde.encode(key, out)? {
        Encoded::Bytes => Ok(()),
        Encoded::Null => Err(SerdeError::InvalidValue {
            type_name: type_name::<Windowed<K>>(),
            reason: "the key within the window is null".to_owned(),
        }),
    }
}

fn append(time: Timestamp, out: &mut Vec<u8>) {
    out.extend_from_slice(&time.as_millis().to_be_bytes());
}

fn split_last<K>(bytes: &[u8]) -> Result<(&[u8], Timestamp), SerdeError> {
    let Some((rest, time)) = bytes.split_last_chunk() else {
        return Err(SerdeError::InvalidValue {
            type_name: type_name::<Windowed<K>>(),
            reason: format!("{} bytes are too few for a key and its window", bytes.len()),
        });
    };
    Ok((rest, Timestamp::from_millis(i64::from_be_bytes(*time))))
}

/// `key@start/end`, as windowed keys are printed.
fn parse<K>(text: &str) -> Result<(&str, Timestamp, Timestamp), SerdeError> {
    let parsed = text.rsplit_once('@').and_then(|(key, window)| {
        let (start, end) = window.split_once('/')?;
        Some((key, Timestamp::from_millis(start.parse().ok()?), Timestamp::from_millis(end.parse().ok()?)))
    });
    parsed.ok_or_else(|| SerdeError::invalid_text::<Windowed<K>>(text, "write it as key@start/end"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windowed(key: &str, start: i64, end: i64) -> Windowed<String> {
        let window = Window::new(Timestamp::from_millis(start), Timestamp::from_millis(end));
        Windowed::new(key.to_owned(), window)
    }

    fn bytes(serde: &dyn Serde<Windowed<String>>, value: &Windowed<String>) -> Vec<u8> {
        let mut bytes = b"before".to_vec();
        assert_eq!(serde.encode(value, &mut bytes).unwrap(), Encoded::Bytes);
        bytes.split_off(b"before".len())
    }

    /// The bytes were written by `TimeWindowedSerializer` and `SessionWindowedSerializer` of Apache Kafka Streams 4.3.1.
    #[test]
    fn windowed_keys_have_the_bytes_of_kafka_streams() {
        let times = TimeWindowedSerde::new(String::serde(), Duration::from_millis(10));
        let encoded = bytes(&times, &windowed("sku", 0x0102, 0x010c));
        assert_eq!(encoded, b"sku\0\0\0\0\0\0\x01\x02");
        assert_eq!(times.decode(&encoded).unwrap(), windowed("sku", 0x0102, 0x010c));
        let sessions = SessionWindowedSerde::new(String::serde());
        let encoded = bytes(&sessions, &windowed("sku", 5, 9));
        assert_eq!(encoded, b"sku\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x05");
        assert_eq!(sessions.decode(&encoded).unwrap(), windowed("sku", 5, 9));
        assert_eq!(Windowed::<String>::serde().decode(&encoded).unwrap(), windowed("sku", 5, 9));
    }

    #[test]
    fn an_unlimited_window_ends_at_the_end_of_time() {
        let serde = TimeWindowedSerde::new(String::serde(), Duration::MAX);
        let decoded = serde.decode(b"sku\0\0\0\0\0\0\0\x07").unwrap();
        assert_eq!(decoded, windowed("sku", 7, i64::MAX));
    }

    #[test]
    fn short_bytes_are_errors() {
        let times = TimeWindowedSerde::new(String::serde(), Duration::from_millis(10));
        let sessions = SessionWindowedSerde::new(String::serde());
        for error in [times.decode(&[0; 7]), sessions.decode(&[0; 15])] {
            let error = error.unwrap_err().to_string();
            assert!(error.contains("too few for a key and its window"), "{error}");
        }
    }

    #[test]
    fn keys_are_written_as_they_are_printed() {
        let times = TimeWindowedSerde::new(String::serde(), Duration::from_millis(10));
        let sessions = SessionWindowedSerde::new(String::serde());
        for serde in [&times as &dyn Serde<Windowed<String>>, &sessions] {
            let key = windowed("ann@home", 20, 30);
            let mut from_text = Vec::new();
            serde.key_from_text("ann@home@20/30", &mut from_text).unwrap();
            assert_eq!(from_text, bytes(serde, &key));
            let json = serde.to_json(&from_text).unwrap();
            assert_eq!(json, serde_json::json!({ "key": "ann@home", "start": 20, "end": 30 }));
            let refused = serde.key_from_text("ann", &mut Vec::new()).unwrap_err().to_string();
            assert!(refused.ends_with("write it as key@start/end"), "{refused}");
        }
    }
}
