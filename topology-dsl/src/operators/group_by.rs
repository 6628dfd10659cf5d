//! `group_by_key` and `group_by`: streams about to be aggregated.

use std::marker::PhantomData;
use std::rc::Rc;

use millstream_processor::RecordField;

use crate::grouped::KGroupedStream;
use crate::logical::Grouping;
use crate::stream::KStream;

impl<K: RecordField, V: RecordField> KStream<K, V> {
    /// Groups records by the key they have. Where an operator above changed keys, the aggregation gets a repartition topic; else
    /// none is needed.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let movements = builder.stream::<String, i64>("stock-movements");
    /// movements.group_by_key().count(()).to_stream().to("movement-counts");
    /// let topology = builder.build()?;
    /// assert!(topology.repartition_topics().is_empty());
    ///
    /// let driver = TopologyTestDriver::new(topology)?;
    /// driver.input_topic::<String, i64>("stock-movements").pipe_input("apples", -3)?;
    /// let counts = driver.output_topic::<String, u64>("movement-counts");
    /// assert_eq!(counts.read_key_value()?, Some(("apples".into(), 1)));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "groupByKey")]
    pub fn group_by_key(&self) -> KGroupedStream<K, V> {
        let grouping = self.graph.borrow_mut().group(Grouping { name: None, key_selection: None });
        KGroupedStream { graph: Rc::clone(&self.graph), stream: self.id, grouping, types: PhantomData }
    }
}

impl<K: Clone + 'static, V: RecordField> KStream<K, V> {
    /// Groups records by a new key. The aggregation gets a repartition topic, so that equal keys meet.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, String>("orders");
    /// let by_customer = orders.group_by(|_id, customer| customer.clone()).named("by-customer");
    /// by_customer.count(()).to_stream().to("orders-per-customer");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, String>("orders").pipe_input("order-1", "ann")?;
    /// let counts = driver.output_topic::<String, u64>("orders-per-customer");
    /// assert_eq!(counts.read_key_value()?, Some(("ann".into(), 1)));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "groupBy")]
    pub fn group_by<K2: RecordField>(
        &self,
        selector: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
    ) -> KGroupedStream<K2, V> {
        let selected = self.select_key(selector);
        let key_selection = Some(selected.id);
        let grouping = self.graph.borrow_mut().group(Grouping { name: None, key_selection });
        KGroupedStream { graph: Rc::clone(&self.graph), stream: selected.id, grouping, types: PhantomData }
    }
}
