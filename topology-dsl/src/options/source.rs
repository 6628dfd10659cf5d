//! What a stream or table reads: topics, serdes, event time.

use std::sync::Arc;
use std::time::Duration;

use millstream_processor::topology::{Consumed, TimestampExtractor, TopicPattern};
use millstream_processor::{RecordField, SerdeRef, Timestamp};

/// The topics of a stream or table and how to read them (Kafka Streams' `Consumed`). A topic name, an array or vector of
/// them, or a [`TopicPattern`], converts into it.
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
    topics: SourceTopics,
    key_serde: SerdeRef<K>,
    value_serde: SerdeRef<V>,
    timestamp: Option<TimestampExtractor<K, V>>,
    heartbeats: Option<Duration>,
}

impl<K: RecordField, V: RecordField> Source<K, V> {
    /// One topic.
    pub fn topic(topic: impl Into<String>) -> Self {
        Source::topics([topic])
    }

    /// Several topics, read as one stream.
    pub fn topics(topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Source::of(SourceTopics::Named(topics.into_iter().map(Into::into).collect()))
    }

    /// All topics whose names match, read as one stream: also those that are created while the application runs. It looks for them as often
    /// as `Settings::metadata_max_age` says, and begins anew with them. For streams: a table has one topic.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    /// use millstream::topology::TopicPattern;
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>(TopicPattern::new("orders-[a-z]+")?).to("all-orders");
    ///
    /// let driver = TopologyTestDriver::builder(builder.build()?).existing_topics(["orders-eu", "orders-us"]).build()?;
    /// driver.input_topic::<String, i64>("orders-us").pipe_input("apples", 3)?;
    /// let all = driver.output_topic::<String, i64>("all-orders");
    /// assert_eq!(all.read_key_value()?, Some(("apples".into(), 3)));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn matching(pattern: TopicPattern) -> Self {
        Source::of(SourceTopics::Matching(pattern))
    }

    fn of(topics: SourceTopics) -> Self {
        Source {
            topics,
            key_serde: K::field_serde(),
            value_serde: V::field_serde(),
            timestamp: None,
            heartbeats: None,
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
    pub fn with_serdes(self, key: SerdeRef<K>, value: SerdeRef<V>) -> Self {
        self.with_key_serde(key).with_value_serde(value)
    }

    /// Uses this serde for the keys instead of that of the type.
    #[must_use]
    pub fn with_key_serde(mut self, key: SerdeRef<K>) -> Self {
        self.key_serde = key;
        self
    }

    /// Uses this serde for the values instead of that of the type.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use millstream::prelude::*;
    /// use millstream::{JsonSerde, OptionSerde};
    ///
    /// // A table's values may be null, which deletes the row.
    /// let numbers_as_text = Arc::new(OptionSerde::new(Arc::new(JsonSerde::<i64>::new())));
    /// let builder = StreamsBuilder::new();
    /// builder.table::<String, i64>(Source::topic("stock").with_value_serde(numbers_as_text)).to_stream().to("levels");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[must_use]
    pub fn with_value_serde(mut self, value: SerdeRef<V>) -> Self {
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

    /// Lets windows close although no more records come: where nothing has come to a partition for `every` by the wall clock, the task that
    /// reads it writes a heartbeat to its end, and stream time moves on when that comes back. For streams: the topic of a table, which is
    /// compacted, takes no records without a key.
    ///
    /// A heartbeat says that all records have come that are older than `every`. It is a record without key and value, with the header
    /// [`HEARTBEAT_HEADER`](crate::topology::HEARTBEAT_HEADER), which no operator sees; others who read the topic do. Because it has its place among the records,
    /// whoever reads them again closes the same windows at the same place. It ends at the next repartition topic, and at operators that hold
    /// records back themselves: what lies below these has the time of what they let go.
    ///
    /// All streams of a topic have the same; of streams that are merged or joined, each needs its own.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>(Source::topic("orders").with_heartbeats(seconds(30)));
    /// let minutes = orders.group_by_key().windowed_by(TimeWindows::of_size_with_no_grace(minutes(1)));
    /// let counts = minutes.emit_strategy(EmitStrategy::on_window_close()).count(());
    /// counts.to_stream().map(|apples, count| (apples.key, count)).to("final-counts");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("orders").pipe_input_at("apples", 1, Timestamp::from_millis(10_000))?;
    /// driver.advance_wall_clock_time(seconds(60))?; // all that is older than half a minute has come: nothing closes yet
    /// let counts = driver.output_topic::<String, Option<u64>>("final-counts");
    /// assert!(counts.is_empty());
    /// driver.advance_wall_clock_time(seconds(30))?;
    /// assert_eq!(counts.read_key_values_to_list()?, [("apples".into(), Some(1))]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    ///
    /// # Panics
    /// If `every` is shorter than a millisecond.
    #[track_caller]
    #[must_use]
    pub fn with_heartbeats(mut self, every: Duration) -> Self {
        assert!(every.as_millis() > 0, "heartbeats every {every:?} are too many: a millisecond is the least");
        self.heartbeats = Some(every);
        self
    }

    pub(crate) fn heartbeats(&self) -> Option<Duration> {
        self.heartbeats
    }

    pub(crate) fn into_parts(self) -> (SourceTopics, Consumed<K, V>) {
        let consumed = Consumed::with(self.key_serde, self.value_serde);
        let consumed = match self.timestamp {
            Some(extract) => {
                consumed.with_timestamp_extractor(move |key, value, kafka| extract(key, value, kafka))
            }
            None => consumed,
        };
        let consumed = match self.heartbeats {
            Some(every) => consumed.with_heartbeats(every),
            None => consumed,
        };
        (self.topics, consumed)
    }
}

/// Which topics a source reads.
#[derive(Clone, Debug)]
pub(crate) enum SourceTopics {
    Named(Vec<String>),
    Matching(TopicPattern),
}

impl SourceTopics {
    /// The same for two sources that read the same: the names, or the pattern as it was written.
    pub(crate) fn names(&self) -> Vec<String> {
        match self {
            SourceTopics::Named(topics) => topics.clone(),
            SourceTopics::Matching(pattern) => vec![pattern.to_string()],
        }
    }
}

impl<K, V> Clone for Source<K, V> {
    fn clone(&self) -> Self {
        Source {
            topics: self.topics.clone(),
            key_serde: self.key_serde.clone(),
            value_serde: self.value_serde.clone(),
            timestamp: self.timestamp.clone(),
            heartbeats: self.heartbeats,
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

impl<K: RecordField, V: RecordField> From<TopicPattern> for Source<K, V> {
    fn from(pattern: TopicPattern) -> Self {
        Source::matching(pattern)
    }
}
