//! `to`: writes a stream to a topic.

use millstream_processor::RecordField;

use crate::logical::{Effect, Operation, OperationKind};
use crate::options::Produced;
use crate::stream::{KStream, StreamEnd};

impl<K: Clone + 'static, V: Clone + 'static> KStream<K, V> {
    /// Writes the stream to a topic, or each record to a topic of its choice (see [`Produced::per_record`]). The topics must
    /// exist. Records go to the partition that Kafka's default partitioner gives their key, those of a windowed table to that of the key
    /// without its window, unless [`Produced::partitioned_by`] says otherwise. Windowed keys are written as Kafka Streams writes them, those
    /// of time windows with a [`TimeWindowedSerde`](crate::TimeWindowedSerde) of their size.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("orders").to(Produced::per_record(|sku, _quantity| format!("orders-of-{sku}")));
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("apples", 3)?;
    /// let apples = driver.output_topic::<String, i64>("orders-of-apples");
    /// assert_eq!(apples.read_key_value()?, Some(("apples".into(), 3)));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn to(&self, produced: impl Into<Produced<K, V>>) -> StreamEnd
    where
        K: RecordField,
        V: RecordField,
    {
        let Produced { sink, key_serde, value_serde } = produced.into();
        let key_serde = key_serde.unwrap_or_else(|| self.key_serde());
        let id = self.graph.borrow_mut().declare(Operation {
            kind: OperationKind::Step { prefix: "KSTREAM-SINK-", effect: Effect::Passes },
            parents: vec![self.id],
            name: None,
            store: None,
            write: Box::new(move |place| {
                let (key_serde, value_serde) = (key_serde.clone(), value_serde.clone());
                place.topology.add_sink(place.name, &place.parents, sink.clone(), key_serde, value_serde)
            }),
        });
        StreamEnd { graph: self.graph.clone(), id }
    }
}

#[cfg(test)]
mod tests {
    use crate::Produced;
    use crate::operators::test_support::{driver, pipe_all, text, written};

    #[test]
    fn each_record_goes_to_the_topic_it_chooses() {
        let driver = driver(|builder| {
            let orders = builder.stream::<String, i64>("orders");
            orders.to(Produced::per_record(|sku, quantity| {
                format!("{sku}-{}", if *quantity > 10 { "bulk" } else { "box" })
            }));
        });
        pipe_all(&driver.input_topic::<String, i64>("orders"), [("apples", 50), ("apples", 5)]);
        assert_eq!(written(&driver.output_topic("apples-bulk")), [(text("apples"), 50_i64)]);
        assert_eq!(written(&driver.output_topic("apples-box")), [(text("apples"), 5_i64)]);
    }
}
