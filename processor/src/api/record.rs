//! A record as processors see it: typed key and value, timestamp, headers.

use std::sync::Arc;

use bytes::Bytes;
use millstream_state_stores::Timestamp;

/// A record on its way through the topology. Moves by value; cloned only where a node has several children.
///
/// ```
/// use millstream_processor::api::Record;
/// use millstream_processor::Timestamp;
///
/// let order = Record::new("apples".to_string(), 3_i64, Timestamp::from_millis(1_000));
/// let doubled = order.with_value(6_i64);
/// assert_eq!((doubled.key.as_str(), doubled.value), ("apples", 6));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Record<K, V> {
    /// The key; `Option<_>` where it may be null.
    pub key: K,
    /// The value; `Option<_>` where it may be null.
    pub value: V,
    /// Event time.
    pub timestamp: Timestamp,
    /// Kafka headers, in order.
    pub headers: Headers,
}

impl<K, V> Record<K, V> {
    /// A record without headers.
    pub fn new(key: K, value: V, timestamp: Timestamp) -> Self {
        Record { key, value, timestamp, headers: Headers::default() }
    }

    /// The same record with another key.
    pub fn with_key<K2>(self, key: K2) -> Record<K2, V> {
        Record { key, value: self.value, timestamp: self.timestamp, headers: self.headers }
    }

    /// The same record with another value.
    pub fn with_value<V2>(self, value: V2) -> Record<K, V2> {
        Record { key: self.key, value, timestamp: self.timestamp, headers: self.headers }
    }

    /// The same record with another event time.
    #[must_use]
    pub fn with_timestamp(self, timestamp: Timestamp) -> Self {
        Record { timestamp, ..self }
    }

    /// The same record with other headers.
    #[must_use]
    pub fn with_headers(self, headers: Headers) -> Self {
        Record { headers, ..self }
    }
}

/// One Kafka header. Names may repeat; a value may be null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Header name.
    pub name: String,
    /// Header value, `None` for null.
    pub value: Option<Bytes>,
}

/// The headers of a record, in order. Empty headers cost no allocation; clones share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Option<Arc<Vec<Header>>>);

impl Headers {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Appends a header.
    pub fn push(&mut self, name: impl Into<String>, value: Option<Bytes>) {
        let headers = self.0.get_or_insert_with(Arc::default);
        Arc::make_mut(headers).push(Header { name: name.into(), value });
    }

    /// Removes all headers with this name.
    ///
    /// ```
    /// use millstream_processor::api::Headers;
    ///
    /// let mut headers = Headers::default();
    /// headers.push("attempt", Some("1".into()));
    /// headers.push("attempt", Some("2".into()));
    /// assert_eq!(headers.last("attempt").flatten().map(|value| &value[..]), Some(&b"2"[..]));
    /// headers.remove("attempt");
    /// assert!(headers.is_empty());
    /// ```
    pub fn remove(&mut self, name: &str) {
        if self.iter().any(|header| header.name == name) {
            *self = self.iter().filter(|header| header.name != name).cloned().collect();
        }
    }

    /// All headers, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Header> {
        self.0.iter().flat_map(|headers| headers.iter())
    }

    /// The value of the last header with this name, as Kafka's `lastHeader`. The outer `None`: there is no such header.
    pub fn last(&self, name: &str) -> Option<Option<&Bytes>> {
        let headers = self.0.as_ref()?;
        headers.iter().rev().find(|header| header.name == name).map(|header| header.value.as_ref())
    }
}

impl FromIterator<Header> for Headers {
    fn from_iter<I: IntoIterator<Item = Header>>(headers: I) -> Self {
        let headers: Vec<Header> = headers.into_iter().collect();
        Headers((!headers.is_empty()).then(|| Arc::new(headers)))
    }
}
