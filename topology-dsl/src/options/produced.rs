//! Where and how a stream is written.

use millstream_processor::topology::{Partitions, Sink};
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
    pub(crate) sink: Sink<K, V>,
    /// None: that of what the stream is made of, or of its type.
    pub(crate) key_serde: Option<SerdeRef<K>>,
    pub(crate) value_serde: SerdeRef<V>,
}

impl<K: RecordField, V: RecordField> Produced<K, V> {
    /// Every record to this topic.
    pub fn topic(topic: impl Into<String>) -> Self {
        Produced::new(Sink::topic(topic.into()))
    }

    /// Each record to the topic the closure names. These topics must exist.
    #[doc(alias = "TopicNameExtractor")]
    pub fn per_record(choose: impl Fn(&K, &V) -> String + Send + Sync + 'static) -> Self {
        Produced::new(Sink::per_record(move |record| choose(&record.key, &record.value)))
    }

    fn new(sink: Sink<K, V>) -> Self {
        Produced { sink, key_serde: None, value_serde: V::field_serde() }
    }

    /// Chooses the partitions of each record; the closure's last argument is how many the topic has. See [`Partitions`]: no partition drops
    /// the record, several get it each. A partition that does not exist is a failure of the stage `produce`.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let by_shelf = |_sku: &String, shelf: &i64, partitions: i32| (shelf % i64::from(partitions)) as i32;
    /// builder.stream::<String, i64>("shelf-of-product").to(Produced::topic("shelves").partitioned_by(by_shelf));
    ///
    /// let driver = TopologyTestDriver::builder(builder.build()?).partitions("shelves", 4).build()?;
    /// driver.input_topic::<String, i64>("shelf-of-product").pipe_input("apples", 7)?;
    /// assert_eq!(driver.output_topic::<String, i64>("shelves").len(), 1);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "StreamPartitioner")]
    #[must_use]
    pub fn partitioned_by<P: Into<Partitions>>(
        mut self,
        choose: impl Fn(&K, &V, i32) -> P + Send + Sync + 'static,
    ) -> Self {
        self.sink = self
            .sink
            .partitioned_by(move |record, partitions| choose(&record.key, &record.value, partitions));
        self
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
    pub fn with_serdes(self, key: SerdeRef<K>, value: SerdeRef<V>) -> Self {
        self.with_key_serde(key).with_value_serde(value)
    }

    /// Uses this serde for the keys instead of that of the type.
    #[must_use]
    pub fn with_key_serde(mut self, key: SerdeRef<K>) -> Self {
        self.key_serde = Some(key);
        self
    }

    /// Uses this serde for the values instead of that of the type.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use millstream::JsonSerde;
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let numbers_as_text = Produced::topic("report").with_value_serde(Arc::new(JsonSerde::<i64>::new()));
    /// builder.stream::<String, i64>("orders").to(numbers_as_text);
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[must_use]
    pub fn with_value_serde(mut self, value: SerdeRef<V>) -> Self {
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
