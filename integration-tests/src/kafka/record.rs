//! Records as the tests write and read them: plain bytes.

use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Header, Headers, OwnedHeaders};

/// Name and value of a record header; a header's value may be null.
pub type RecordHeader = (String, Option<Vec<u8>>);

/// A record to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// `None` is Kafka's null key, which goes to any partition.
    pub key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// `None` leaves it to the key: murmur2, as Java's default partitioner.
    pub partition: Option<i32>,
    /// Milliseconds since 1970; `None` is the time of writing.
    pub timestamp: Option<i64>,
    /// In order; a name may come twice.
    pub headers: Vec<RecordHeader>,
}

impl NewRecord {
    /// A record with a key and a value.
    #[must_use]
    pub fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(value.into()), ..Self::tombstone(key) }
    }

    /// A record with a key and no value.
    #[must_use]
    pub fn tombstone(key: impl Into<Vec<u8>>) -> Self {
        Self { key: Some(key.into()), value: None, partition: None, timestamp: None, headers: Vec::new() }
    }

    /// The same record with `timestamp`, in milliseconds since 1970.
    #[must_use]
    pub fn at(self, timestamp: i64) -> Self {
        Self { timestamp: Some(timestamp), ..self }
    }

    /// The same record, bound for `partition`.
    #[must_use]
    pub fn in_partition(self, partition: i32) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// The same record with one header more.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), Some(value.into())));
        self
    }

    pub(super) fn owned_headers(&self) -> Option<OwnedHeaders> {
        let add = |headers: OwnedHeaders, (name, value): &RecordHeader| {
            headers.insert(Header { key: name, value: value.as_ref() })
        };
        let is_empty = self.headers.is_empty();
        (!is_empty).then(|| self.headers.iter().fold(OwnedHeaders::new(), add))
    }
}

/// A record as it lies in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRecord {
    /// The partition it was read from.
    pub partition: i32,
    /// Its offset in that partition.
    pub offset: i64,
    /// Milliseconds since 1970; `None` if the producer gave none.
    pub timestamp: Option<i64>,
    /// `None` is Kafka's null key.
    pub key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// In the order they were written.
    pub headers: Vec<RecordHeader>,
}

impl ReadRecord {
    /// The key as text, `None` for a null key. Bytes that are no UTF-8 become replacement characters.
    #[must_use]
    pub fn key_text(&self) -> Option<String> {
        self.key.as_deref().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// The value as text, `None` for a tombstone. Bytes that are no UTF-8 become replacement characters.
    #[must_use]
    pub fn value_text(&self) -> Option<String> {
        self.value.as_deref().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

impl From<&BorrowedMessage<'_>> for ReadRecord {
    fn from(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
        });
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers,
        }
    }
}
