//! What a stream or table reads: topics, serdes, event time.

use std::sync::Arc;

use millstream_processor::topology::{Consumed, TimestampExtractor};
use millstream_processor::{RecordField, SerdeRef, Timestamp};

/// The topics of a stream or table and how to read them (Kafka Streams' `Consumed`). A topic name, or an array or vector of
/// them, converts into it.
///
/// ```
/// use millstream::prelude::*;
///
/// let builder = StreamsBuilder::new();
/// builder.stream::<String, i64>(["orders", "returns"]).to("all-movements");
/// builder
///     .stream::<String, i64>(Source::topic("payments").with_timestamp(|_id, paid_at, _kafka| Timestamp::from_millis(*paid_at)))
///     .to("payments-by-time");
/// # builder.build()?;
/// # Ok::<(), millstream::Error>(())
/// ```
pub struct Source<K, V> {
    topics: Vec<String>,
    key_serde: SerdeRef<K>,
    value_serde: SerdeRef<V>,
    timestamp: Option<TimestampExtractor<K, V>>,
}

impl<K: RecordField, V: RecordField> Source<K, V> {
    /// One topic.
    pub fn topic(topic: impl Into<String>) -> Self {
        Source::topics([topic])
    }

    /// Several topics, read as one stream.
    pub fn topics(topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Source {
            topics: topics.into_iter().map(Into::into).collect(),
            key_serde: K::field_serde(),
            value_serde: V::field_serde(),
            timestamp: None,
        }
    }

    /// Uses these serdes instead of those of the types.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use millstream::prelude::*;
    /// use millstream::{HasSerde, JsonSerde};
    ///
    /// let builder = StreamsBuilder::new();
    /// let numbers_as_text = Source::topic("orders").with_serdes(String::serde(), Arc::new(JsonSerde::<i64>::new()));
    /// builder.stream::<String, i64>(numbers_as_text).to("order-archive");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[must_use]
    pub fn with_serdes(mut self, key: SerdeRef<K>, value: SerdeRef<V>) -> Self {
        self.key_serde = key;
        self.value_serde = value;
        self
    }

    /// Takes event time from the record's content; the closure's last argument is Kafka's own timestamp. A record with a
    /// negative event time is dropped and counted.
    #[must_use]
    #[doc(alias = "TimestampExtractor")]
    pub fn with_timestamp(
        mut self,
        extractor: impl Fn(&K, &V, Timestamp) -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        self.timestamp = Some(Arc::new(extractor));
        self
    }

    pub(crate) fn into_parts(self) -> (Vec<String>, Consumed<K, V>) {
        let consumed = Consumed::with(self.key_serde, self.value_serde);
        let consumed = match self.timestamp {
            Some(extract) => {
                consumed.with_timestamp_extractor(move |key, value, kafka| extract(key, value, kafka))
            }
            None => consumed,
        };
        (self.topics, consumed)
    }
}

impl<K, V> Clone for Source<K, V> {
    fn clone(&self) -> Self {
        Source {
            topics: self.topics.clone(),
            key_serde: self.key_serde.clone(),
            value_serde: self.value_serde.clone(),
            timestamp: self.timestamp.clone(),
        }
    }
}

impl<K: RecordField, V: RecordField> From<&str> for Source<K, V> {
    fn from(topic: &str) -> Self {
        Source::topic(topic)
    }
}

impl<K: RecordField, V: RecordField> From<String> for Source<K, V> {
    fn from(topic: String) -> Self {
        Source::topic(topic)
    }
}

impl<K: RecordField, V: RecordField, const COUNT: usize> From<[&str; COUNT]> for Source<K, V> {
    fn from(topics: [&str; COUNT]) -> Self {
        Source::topics(topics)
    }
}

impl<K: RecordField, V: RecordField> From<Vec<String>> for Source<K, V> {
    fn from(topics: Vec<String>) -> Self {
        Source::topics(topics)
    }
}
