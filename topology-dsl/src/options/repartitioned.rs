//! How a stream is sent through a topic of its own so that equal keys meet.

use std::sync::Arc;

use millstream_processor::api::Record;
use millstream_processor::topology::Partitions;

/// Options of [`KStream::repartition`](crate::KStream::repartition) (Kafka Streams' `Repartitioned`). `()` takes the defaults, a
/// string is the name.
pub struct Repartitioned<K, V> {
    pub(crate) name: Option<String>,
    pub(crate) partitions: Option<i32>,
    pub(crate) partitioner: Option<Partitioner<K, V>>,
}

/// Chooses the partitions of a record, given how many there are.
pub(crate) type Partitioner<K, V> = Arc<dyn Fn(&Record<K, V>, i32) -> Partitions + Send + Sync>;

impl<K, V> Repartitioned<K, V> {
    /// Names the topic: in Kafka it is `<application id>-<name>-repartition`.
    pub fn named(name: impl Into<String>) -> Self {
        Repartitioned { name: Some(name.into()), ..Repartitioned::from(()) }
    }

    /// Fixes the number of partitions. Without it the topic gets as many as the largest topic it is fed from.
    #[must_use]
    pub fn with_partitions(self, partitions: i32) -> Self {
        Repartitioned { partitions: Some(partitions), ..self }
    }

    /// Chooses the partitions of each record, as [`Produced::partitioned_by`](crate::Produced::partitioned_by) does. Tables below keep a key in
    /// the partitions that were chosen for it: choose by the key alone, and the same for all topics that are joined. Queries by key look where
    /// Kafka's default partitioner would put it.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders");
    /// // Customers of a region, such as `eu/ann`, are counted together.
    /// let by_region = |customer: &String, _order: &i64, partitions: i32| match customer.split('/').next() {
    ///     Some("eu") => 0,
    ///     _ => partitions - 1,
    /// };
    /// let together = orders.repartition(Repartitioned::named("by-region").with_partitions(2).partitioned_by(by_region));
    /// together.group_by_key().count(()).to_stream().to("orders-of-customers");
    ///
    /// let topic = "test-by-region-repartition";
    /// let driver = TopologyTestDriver::builder(builder.build()?).partitions(topic, 2).build()?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("eu/ann", 7)?;
    /// assert_eq!(driver.output_topic::<String, u64>("orders-of-customers").read_key_value()?, Some(("eu/ann".into(), 1)));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "withStreamPartitioner")]
    #[must_use]
    pub fn partitioned_by<P: Into<Partitions>>(
        mut self,
        choose: impl Fn(&K, &V, i32) -> P + Send + Sync + 'static,
    ) -> Self {
        self.partitioner =
            Some(Arc::new(move |record, partitions| choose(&record.key, &record.value, partitions).into()));
        self
    }
}

impl<K, V> From<()> for Repartitioned<K, V> {
    fn from((): ()) -> Self {
        Repartitioned { name: None, partitions: None, partitioner: None }
    }
}

impl<K, V> From<&str> for Repartitioned<K, V> {
    fn from(name: &str) -> Self {
        Repartitioned::named(name)
    }
}
