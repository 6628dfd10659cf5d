//! What the right table of a foreign-key join answers to a subscription (KIP-213, Kafka Streams' `SubscriptionResponseWrapperSerde`).
//!
//! ```text
//! version | hash | foreign value      the key is that of the left table's row
//! ```
//! The version is 0; its highest bit says that there is no hash (16 bytes, big-endian).

use std::any::type_name;
use std::sync::Arc;

use super::value_hash::{ValueHash, encode_version, split_version};
use crate::serde::{Encoded, Serde, SerdeError, SerdePlace, SerdeRef};
use crate::types::PartitionId;

const VERSION: u8 = 0;

/// The foreign row of a left row, or that there is none (Kafka Streams' class of the same name).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionResponseWrapper<V> {
    /// The value of the left row when it subscribed, as the subscription had it.
    pub original_value_hash: Option<ValueHash>,
    /// The value of the foreign row. One that is written as no bytes at all cannot be told from none, and arrives as none.
    pub foreign_value: Option<V>,
    /// The partition the answer goes to, if the subscription told it. It is not written.
    pub primary_partition: Option<PartitionId>,
}

/// Writes a [`SubscriptionResponseWrapper`] as Kafka Streams does, around the serde of the right table's values.
///
/// ```
/// use millstream_state_stores::*;
///
/// let serde = SubscriptionResponseWrapperSerde::new(String::serde());
/// let response = SubscriptionResponseWrapper {
///     original_value_hash: None,
///     foreign_value: Some("Ann".to_string()),
///     primary_partition: None,
/// };
/// let mut bytes = Vec::new();
/// serde.encode(&response, &mut bytes)?;
/// assert_eq!(bytes, b"\x80Ann");
/// # Ok::<(), SerdeError>(())
/// ```
pub struct SubscriptionResponseWrapperSerde<V> {
    foreign_value: SerdeRef<V>,
}

impl<V> SubscriptionResponseWrapperSerde<V> {
    /// Answers with values that are written by `foreign_value`.
    pub fn new(foreign_value: SerdeRef<V>) -> Self {
        Self { foreign_value }
    }
}

impl<V: 'static> Serde<SubscriptionResponseWrapper<V>> for SubscriptionResponseWrapperSerde<V> {
    fn encode(
        &self,
        response: &SubscriptionResponseWrapper<V>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded, SerdeError> {
        out.push(encode_version(VERSION, response.original_value_hash));
        ValueHash::append(response.original_value_hash, out);
        if let Some(value) = &response.foreign_value {
            self.foreign_value.encode(value, out)?;
        }
        Ok(Encoded::Bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<SubscriptionResponseWrapper<V>, SerdeError> {
        let (version, has_hash, rest) = split_version(bytes).map_err(invalid::<V>)?;
        if version != VERSION {
            return Err(invalid::<V>(&format!("version {version}; only version 0 is known")));
        }
        let (original_value_hash, value) = ValueHash::split(has_hash, rest).map_err(invalid::<V>)?;
        let foreign_value = match value {
            [] => None,
            value => Some(self.foreign_value.decode(value)?),
        };
        Ok(SubscriptionResponseWrapper { original_value_hash, foreign_value, primary_partition: None })
    }

    fn in_place(
        &self,
        place: &SerdePlace<'_>,
    ) -> Result<Option<SerdeRef<SubscriptionResponseWrapper<V>>>, SerdeError> {
        Ok(Some(Arc::new(Self::new(place.bind(&self.foreign_value)?))))
    }
}

fn invalid<V>(found: &str) -> SerdeError {
    SerdeError::InvalidValue {
        type_name: type_name::<SubscriptionResponseWrapper<V>>(),
        reason: format!("an answer with {found}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serde::HasSerde;

    fn response(original: Option<&str>, foreign: Option<&str>) -> SubscriptionResponseWrapper<String> {
        SubscriptionResponseWrapper {
            original_value_hash: original.map(|value| ValueHash::of(value.as_bytes())),
            foreign_value: foreign.map(str::to_owned),
            primary_partition: None,
        }
    }

    /// The bytes were written by Apache Kafka Streams 4.3.1.
    #[test]
    fn the_bytes_are_those_of_kafka_streams() {
        let serde = SubscriptionResponseWrapperSerde::new(String::serde());
        let hash = b"\0\x5f\x20\x22\xc7\xc8\xb9\x08\xc9\xc3\x8e\x63\x11\x2c\x1c\xf9\x74";
        for (response, expected) in [
            (response(Some("ann:5"), Some("Ann")), [hash.as_slice(), b"Ann"].concat()),
            (response(Some("ann:5"), None), hash.to_vec()),
            (response(None, None), b"\x80".to_vec()),
        ] {
            let mut bytes = b"before".to_vec();
            serde.encode(&response, &mut bytes).unwrap();
            assert_eq!(bytes.strip_prefix(b"before"), Some(expected.as_slice()), "{response:?}");
            assert_eq!(serde.decode(&expected).unwrap(), response);
        }
    }

    #[test]
    fn a_value_without_bytes_arrives_as_none() {
        let serde = SubscriptionResponseWrapperSerde::new(String::serde());
        let mut bytes = Vec::new();
        serde.encode(&response(None, Some("")), &mut bytes).unwrap();
        assert_eq!(serde.decode(&bytes).unwrap(), response(None, None));
    }

    #[test]
    fn broken_bytes_and_unknown_versions_are_errors() {
        let serde = SubscriptionResponseWrapperSerde::new(String::serde());
        for (bytes, reason) in
            [(b"".as_slice(), "no bytes"), (b"\x00short", "less than a hash"), (b"\x81", "version 1")]
        {
            let error = serde.decode(bytes).expect_err(reason).to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
