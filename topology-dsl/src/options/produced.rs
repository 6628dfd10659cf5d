//! Where and how a stream is written.

use std::sync::Arc;

use millstream_processor::topology::{SinkTopic, TopicName};
use millstream_processor::{RecordField, SerdeRef};

/// The topic a stream is written to, and how (Kafka Streams' `Produced` and `TopicNameExtractor`). A topic name converts into
/// it.
///
/// ```
/// use millstream::prelude::*;
///
/// let builder = StreamsBuilder::new();
/// let orders = builder.stream::<String, i64>("orders");
/// orders.to("order-archive");
/// orders.to(Produced::per_record(|_sku, quantity| {
///     if *quantity > 100 { "bulk-orders".into() } else { "retail-orders".into() }
/// }));
/// # builder.build()?;
/// # Ok::<(), millstream::Error>(())
/// ```
pub struct Produced<K, V> {
    pub(crate) topic: SinkTopic<K, V>,
    /// None: that of what the stream is made of, or of its type.
    pub(crate) key_serde: Option<SerdeRef<K>>,
    pub(crate) value_serde: SerdeRef<V>,
}

impl<K: RecordField, V: RecordField> Produced<K, V> {
    /// Every record to this topic.
    pub fn topic(topic: impl Into<String>) -> Self {
        Produced::new(SinkTopic::Fixed(TopicName::External(topic.into())))
    }

    /// Each record to the topic the closure names. These topics must exist.
    #[doc(alias = "TopicNameExtractor")]
    pub fn per_record(choose: impl Fn(&K, &V) -> String + Send + Sync + 'static) -> Self {
        Produced::new(SinkTopic::PerRecord(Arc::new(move |record| choose(&record.key, &record.value))))
    }

    fn new(topic: SinkTopic<K, V>) -> Self {
        Produced { topic, key_serde: None, value_serde: V::field_serde() }
    }

    /// Uses these serdes instead of those of the types.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    /// use millstream::{HasSerde, JsonSerde};
    ///
    /// let builder = StreamsBuilder::new();
    /// let numbers_as_text = Produced::topic("report").with_serdes(String::serde(), Arc::new(JsonSerde::<i64>::new()));
    /// builder.stream::<String, i64>("orders").to(numbers_as_text);
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("apples", 30)?;
    /// let report = driver.output_topic::<String, String>("report");
    /// assert_eq!(report.read_key_value()?, Some(("apples".into(), "30".into())));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[must_use]
    pub fn with_serdes(mut self, key: SerdeRef<K>, value: SerdeRef<V>) -> Self {
        self.key_serde = Some(key);
        self.value_serde = value;
        self
    }
}

impl<K: RecordField, V: RecordField> From<&str> for Produced<K, V> {
    fn from(topic: &str) -> Self {
        Produced::topic(topic)
    }
}

impl<K: RecordField, V: RecordField> From<String> for Produced<K, V> {
    fn from(topic: String) -> Self {
        Produced::topic(topic)
    }
}
