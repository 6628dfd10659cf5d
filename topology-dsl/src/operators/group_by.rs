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
    ///
    /// let builder = StreamsBuilder::new();
    /// let movements = builder.stream::<String, i64>("stock-movements");
    /// movements.group_by_key().count(());
    /// assert!(builder.build()?.repartition_topics().is_empty());
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
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, String>("orders");
    /// orders.group_by(|_id, customer| customer.clone()).named("by-customer").count(());
    /// assert_eq!(builder.build()?.repartition_topics()[0].name, "by-customer-repartition");
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
