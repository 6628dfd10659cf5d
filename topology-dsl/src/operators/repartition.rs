//! `repartition`: through a topic, so that equal keys lie in one partition.

use millstream_processor::RecordField;

use crate::logical::{Operation, OperationKind, TypedTopic};
use crate::options::Repartitioned;
use crate::stream::KStream;

impl<K: RecordField, V: RecordField> KStream<K, V> {
    /// Sends the stream through a topic of its own, partitioned by the key as it is now. Also where it would not be needed:
    /// to spread work over more partitions, or to share one topic between several groupings and joins.
    ///
    /// Records without a key are left out, unless a left join follows.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders").repartition(Repartitioned::named("spread").with_partitions(12));
    /// orders.map_values(|_sku, quantity| quantity * 2).to("doubled");
    /// let topology = builder.build()?;
    /// assert_eq!(topology.repartition_topics()[0].name, "spread-repartition");
    /// assert_eq!(topology.repartition_topics()[0].partitions, Some(12));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn repartition(&self, repartitioned: impl Into<Repartitioned<K, V>>) -> KStream<K, V> {
        let Repartitioned { name, partitions, partitioner } = repartitioned.into();
        let (key_serde, value_serde) = (self.key_serde(), V::field_serde());
        KStream::declare(
            &self.graph,
            Operation {
                kind: OperationKind::Repartition {
                    partitions,
                    topic: Box::new(TypedTopic { key_serde, value_serde, partitioner }),
                },
                parents: vec![self.id],
                name,
                store: None,
                // The nodes around the topic are all there is to it; they are written with the topic.
                write: Box::new(|_| Ok(())),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use millstream_processor::testing::TopologyTestDriver;

    use crate::operators::test_support::{driver, pipe_all, text, written};
    use crate::{Repartitioned, StreamsBuilder};

    #[test]
    fn records_come_back_through_the_topic_unless_they_have_no_key() {
        let driver = driver(|builder| {
            let orders = builder.stream::<Option<String>, i64>("orders");
            orders.repartition("spread").map_values(|_, quantity| quantity * 2).to("doubled");
        });
        let orders = driver.input_topic::<Option<String>, i64>("orders");
        pipe_all(&orders, [(Some(text("apples")), 1), (None, 2), (Some(text("pears")), 3)]);
        assert_eq!(written(&driver.output_topic("doubled")), [(text("apples"), 2_i64), (text("pears"), 6)]);
    }

    #[test]
    fn a_partitioner_may_send_a_record_several_times_or_not_at_all() {
        let builder = StreamsBuilder::new();
        let copies = |_: &String, quantity: &i64, _| (0..).take(*quantity as usize).collect::<Vec<i32>>();
        let orders = builder.stream::<String, i64>("orders");
        let spread = orders.repartition(Repartitioned::named("spread").partitioned_by(copies));
        spread.group_by_key().count(()).to_stream().to("counts");
        let driver = TopologyTestDriver::builder(builder.build().expect("the program is right"));
        let driver = driver.partitions("test-spread-repartition", 3).build().expect("it runs");
        pipe_all(
            &driver.input_topic::<String, i64>("orders"),
            [("apples", 2_i64), ("pears", 0), ("plums", 1)],
        );
        let counts = [(text("apples"), 1_u64), (text("apples"), 2), (text("plums"), 1)];
        assert_eq!(written(&driver.output_topic("counts")), counts);
        assert_eq!(driver.dropped_records(), 1);
    }

    #[test]
    fn a_left_join_below_keeps_records_without_a_key() {
        let driver = driver(|builder| {
            let prices = builder.table::<String, i64>("prices");
            let orders = builder.stream::<Option<String>, i64>("orders").repartition("spread");
            orders.left_join(&prices, |quantity, price| quantity * price.copied().unwrap_or(-1)).to("values");
        });
        let orders = driver.input_topic::<Option<String>, i64>("orders");
        pipe_all(&orders, [(None, 2)]);
        assert_eq!(written(&driver.output_topic("values")), [(None::<String>, -2_i64)]);
    }
}
