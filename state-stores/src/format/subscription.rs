//! What the left table of a foreign-key join tells the right one: that a row refers to a key, or does so no more (KIP-213, Kafka Streams'
//! `SubscriptionWrapperSerde`); and where the right table's side keeps it (`CombinedKeySchema`).
//!
//! ```text
//! version | instruction | hash | primary key | partition      the subscription, whose key is the foreign key
//! length of the foreign key | foreign key | primary key       its key in the store
//! ```
//! The version is 1, or 0 if there is no partition; its highest bit says that there is no hash either. Hash (16 bytes), partition and
//! length (4 bytes each) are big-endian.

use std::any::type_name;
use std::sync::Arc;

use super::value_hash::{ValueHash, encode_version, split_version};
use crate::serde::{Encoded, Serde, SerdeError, SerdePlace, SerdeRef};
use crate::types::PartitionId;

const WITHOUT_PARTITION: u8 = 0;
const WITH_PARTITION: u8 = 1;
const PARTITION_BYTES: usize = 4;
const LENGTH_BYTES: usize = 4;

/// A row of the left table as the right one knows it (Kafka Streams' class of the same name).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionWrapper<K> {
    /// The row's value when this was sent; none if the row was deleted.
    pub hash: Option<ValueHash>,
    /// What is to be done about it.
    pub instruction: SubscriptionInstruction,
    /// The key of the row.
    pub primary_key: K,
    /// The partition of the row, where the answer belongs. Kafka Streams before 3.4 did not send it.
    pub primary_partition: Option<PartitionId>,
}

/// Whether a subscription is kept, and when it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionInstruction {
    /// Forget the subscription.
    DeleteKeyNoPropagate,
    /// Forget the subscription, and answer that there is no foreign row.
    DeleteKeyAndPropagate,
    /// Keep the subscription, and answer with the foreign row, or that there is none.
    PropagateNullIfNoForeignValueAvailable,
    /// Keep the subscription, and answer with the foreign row if there is one.
    PropagateOnlyIfForeignValueAvailable,
}

impl SubscriptionInstruction {
    const ALL: [Self; 4] = [
        Self::DeleteKeyNoPropagate,
        Self::DeleteKeyAndPropagate,
        Self::PropagateNullIfNoForeignValueAvailable,
        Self::PropagateOnlyIfForeignValueAvailable,
    ];

    /// Whether the subscription is kept.
    pub fn keeps_subscription(self) -> bool {
        match self {
            Self::DeleteKeyNoPropagate | Self::DeleteKeyAndPropagate => false,
            Self::PropagateNullIfNoForeignValueAvailable | Self::PropagateOnlyIfForeignValueAvailable => true,
        }
    }

    fn to_byte(self) -> u8 {
        match self {
            Self::DeleteKeyNoPropagate => 0,
            Self::DeleteKeyAndPropagate => 1,
            Self::PropagateNullIfNoForeignValueAvailable => 2,
            Self::PropagateOnlyIfForeignValueAvailable => 3,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|instruction| instruction.to_byte() == byte)
    }
}

/// Writes a [`SubscriptionWrapper`] as Kafka Streams does, around the serde of the left table's keys.
///
/// ```
/// use millstream_state_stores::*;
///
/// let serde = SubscriptionWrapperSerde::new(String::serde());
/// let deleted = SubscriptionWrapper {
///     hash: None,
///     instruction: SubscriptionInstruction::DeleteKeyAndPropagate,
///     primary_key: "order-1".to_string(),
///     primary_partition: Some(PartitionId::new(2)),
/// };
/// let mut bytes = Vec::new();
/// serde.encode(&deleted, &mut bytes)?;
/// assert_eq!(bytes, b"\x81\x01order-1\0\0\0\x02");
/// # Ok::<(), SerdeError>(())
/// ```
pub struct SubscriptionWrapperSerde<K> {
    primary_key: SerdeRef<K>,
}

impl<K> SubscriptionWrapperSerde<K> {
    /// Subscriptions of rows whose keys are written by `primary_key`, which never produces null.
    pub fn new(primary_key: SerdeRef<K>) -> Self {
        Self { primary_key }
    }
}

impl<K: 'static> Serde<SubscriptionWrapper<K>> for SubscriptionWrapperSerde<K> {
    fn encode(
        &self,
        subscription: &SubscriptionWrapper<K>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded, SerdeError> {
        let partition = subscription.primary_partition;
        let version = if partition.is_some() { WITH_PARTITION } else { WITHOUT_PARTITION };
        out.push(encode_version(version, subscription.hash));
        out.push(subscription.instruction.to_byte());
        ValueHash::append(subscription.hash, out);
        match self.primary_key.encode(&subscription.primary_key, out)? {
            Encoded::Bytes => {}
            Encoded::Null => return Err(SerdeError::UnexpectedNull { type_name: type_name::<K>() }),
        }
        if let Some(partition) = partition {
            out.extend_from_slice(&partition.get().to_be_bytes());
        }
        Ok(Encoded::Bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<SubscriptionWrapper<K>, SerdeError> {
        let (version, has_hash, rest) = split_version(bytes).map_err(invalid::<K>)?;
        let (instruction, rest) =
            rest.split_first().ok_or_else(|| invalid::<K>("no byte after its version"))?;
        let instruction = SubscriptionInstruction::from_byte(*instruction)
            .ok_or_else(|| invalid::<K>(&format!("the unknown instruction {instruction}")))?;
        let (hash, rest) = ValueHash::split(has_hash, rest).map_err(invalid::<K>)?;
        let (primary_key, primary_partition) = match version {
            WITHOUT_PARTITION => (rest, None),
            WITH_PARTITION => {
                let (key, partition) = rest
                    .split_last_chunk::<PARTITION_BYTES>()
                    .ok_or_else(|| invalid::<K>("less than a partition"))?;
                (key, Some(PartitionId::new(i32::from_be_bytes(*partition))))
            }
            newer => return Err(invalid::<K>(&format!("version {newer}; versions 0 and 1 are known"))),
        };
        let primary_key = self.primary_key.decode(primary_key)?;
        Ok(SubscriptionWrapper { hash, instruction, primary_key, primary_partition })
    }

    fn in_place(
        &self,
        place: &SerdePlace<'_>,
    ) -> Result<Option<SerdeRef<SubscriptionWrapper<K>>>, SerdeError> {
        Ok(Some(Arc::new(Self::new(place.bind(&self.primary_key)?))))
    }
}

/// Appends the bytes that the keys of all subscriptions to one foreign key begin with, and no others. The primary key follows them.
///
/// # Errors
/// If the foreign key cannot be written, or is written as null.
///
/// ```
/// use millstream_state_stores::{HasSerde, append_subscription_prefix};
///
/// let mut key = Vec::new();
/// append_subscription_prefix(&"ann".to_string(), &*String::serde(), &mut key)?;
/// key.extend_from_slice(b"order-1");
/// assert_eq!(key, b"\0\0\0\x03annorder-1");
/// # Ok::<(), millstream_state_stores::SerdeError>(())
/// ```
pub fn append_subscription_prefix<F>(
    foreign_key: &F,
    serde: &dyn Serde<F>,
    out: &mut Vec<u8>,
) -> Result<(), SerdeError> {
    let length_at = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    let start = out.len();
    match serde.encode(foreign_key, out)? {
        Encoded::Bytes => {}
        Encoded::Null => return Err(SerdeError::UnexpectedNull { type_name: type_name::<F>() }),
    }
    let length = i32::try_from(out.len() - start).map_err(|_| SerdeError::InvalidValue {
        type_name: type_name::<F>(),
        reason: "a key of more than 2 GiB".into(),
    })?;
    out[length_at..start].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn invalid<K>(found: &str) -> SerdeError {
    SerdeError::InvalidValue {
        type_name: type_name::<SubscriptionWrapper<K>>(),
        reason: format!("a subscription with {found}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serde::HasSerde;

    fn subscription(
        value: Option<&str>,
        instruction: SubscriptionInstruction,
        partition: Option<i32>,
    ) -> SubscriptionWrapper<String> {
        SubscriptionWrapper {
            hash: value.map(|value| ValueHash::of(value.as_bytes())),
            instruction,
            primary_key: "1".into(),
            primary_partition: partition.map(PartitionId::new),
        }
    }

    /// The bytes with a partition were written by Apache Kafka Streams 4.3.1, those without by its `SubscriptionWrapperSerde` for version 0.
    #[test]
    fn the_bytes_are_those_of_kafka_streams() {
        use SubscriptionInstruction::*;
        let hash = b"\x5f\x20\x22\xc7\xc8\xb9\x08\xc9\xc3\x8e\x63\x11\x2c\x1c\xf9\x74";
        let with_hash = |head: &[u8], tail: &[u8]| [head, hash.as_slice(), tail].concat();
        for (subscription, expected) in [
            (
                subscription(Some("ann:5"), PropagateOnlyIfForeignValueAvailable, Some(0)),
                with_hash(b"\x01\x03", b"1\0\0\0\0"),
            ),
            (
                subscription(Some("ann:5"), PropagateNullIfNoForeignValueAvailable, Some(258)),
                with_hash(b"\x01\x02", b"1\0\0\x01\x02"),
            ),
            (subscription(None, DeleteKeyAndPropagate, Some(0)), b"\x81\x011\0\0\0\0".to_vec()),
            (subscription(None, DeleteKeyNoPropagate, None), b"\x80\x001".to_vec()),
            (subscription(Some("ann:5"), DeleteKeyNoPropagate, None), with_hash(b"\0\0", b"1")),
        ] {
            let serde = SubscriptionWrapperSerde::new(String::serde());
            let mut bytes = b"before".to_vec();
            serde.encode(&subscription, &mut bytes).unwrap();
            assert_eq!(bytes.strip_prefix(b"before"), Some(expected.as_slice()), "{subscription:?}");
            assert_eq!(serde.decode(&expected).unwrap(), subscription);
        }
    }

    #[test]
    fn broken_bytes_and_unknown_versions_are_errors() {
        let serde = SubscriptionWrapperSerde::new(String::serde());
        for (bytes, reason) in [
            (b"".as_slice(), "no bytes"),
            (b"\x81", "no byte after its version"),
            (b"\x81\x04", "the unknown instruction 4"),
            (b"\x01\x01123456789abcdef", "less than a hash"),
            (b"\x81\x01\0\0\0", "less than a partition"),
            (b"\x82\x011\0\0\0\0", "version 2"),
        ] {
            let error = serde.decode(bytes).expect_err(reason).to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_longer_foreign_key_never_begins_with_the_prefix_of_a_shorter_one() {
        let prefix = |key: &str| {
            let mut prefix = Vec::new();
            append_subscription_prefix(&key.to_string(), &*String::serde(), &mut prefix).unwrap();
            prefix
        };
        assert!(!prefix("annabel").starts_with(&prefix("ann")));
        assert_eq!(prefix(""), b"\0\0\0\0");
        let null = append_subscription_prefix(&(), &*<()>::serde(), &mut Vec::new());
        assert!(matches!(null, Err(SerdeError::UnexpectedNull { .. })), "{null:?}");
    }
}
