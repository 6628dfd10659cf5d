//! `map_values`: a new value for each record.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;

use millstream_processor::BoxError;
use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};

use crate::logical::Effect;
use crate::stream::KStream;

impl<K: Clone + 'static, V: Clone + 'static> KStream<K, V> {
    /// Gives each record a new value. The key stays, so no repartition topic follows from it.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("orders").map_values(|sku, quantity| format!("{quantity} {sku}")).to("lines");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("apples", 2)?;
    /// let lines = driver.output_topic::<String, String>("lines");
    /// assert_eq!(lines.read_key_value()?, Some(("apples".into(), "2 apples".into())));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "mapValues")]
    pub fn map_values<V2: Clone + 'static>(
        &self,
        mapper: impl Fn(&K, V) -> V2 + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        self.try_map_values(move |key, value| Ok::<_, Infallible>(mapper(key, value)))
    }

    /// [`map_values`](Self::map_values) with a closure that can fail. A record it fails on goes to the handler of the stage
    /// `process`.
    ///
    /// ```
    /// use millstream::handlers::{Handlers, Reaction};
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, String>("orders");
    /// orders.try_map_values(|_sku, quantity| quantity.parse::<i64>()).to("quantities");
    ///
    /// let mut settings = Settings::new("localhost:9092");
    /// settings.handlers = Handlers::all(Reaction::Skip);
    /// let driver = TopologyTestDriver::builder(builder.build()?).settings(settings).build()?;
    /// let orders = driver.input_topic::<String, String>("orders");
    /// orders.pipe_input("apples", "many")?;
    /// orders.pipe_input("pears", "2")?;
    /// let quantities = driver.output_topic::<String, i64>("quantities");
    /// assert_eq!(quantities.read_key_values_to_list()?, [("pears".into(), 2)]);
    /// assert_eq!(driver.skipped_records(), 1);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn try_map_values<V2: Clone + 'static, E: Into<BoxError> + 'static>(
        &self,
        mapper: impl Fn(&K, V) -> Result<V2, E> + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        let mapper = Arc::new(mapper);
        self.step("KSTREAM-MAPVALUES-", Effect::ChangesValues, move || MapValues {
            mapper: Arc::clone(&mapper),
            types: PhantomData,
        })
    }
}

struct MapValues<K, V, V2, E, F> {
    mapper: Arc<F>,
    types: PhantomData<(K, V, V2, E)>,
}

impl<K, V, V2, E, F> Processor for MapValues<K, V, V2, E, F>
where
    K: Clone + 'static,
    V: Clone + 'static,
    V2: Clone + 'static,
    E: Into<BoxError> + 'static,
    F: Fn(&K, V) -> Result<V2, E> + 'static,
{
    type KeyIn = K;
    type ValueIn = V;
    type KeyOut = K;
    type ValueOut = V2;

    #[inline]
    fn process(
        &mut self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, K, V2>,
    ) -> Result<(), Failure> {
        let Record { key, value, timestamp, headers } = record;
        let value = (self.mapper)(&key, value).map_err(|error| Failure::process(error.into()))?;
        context.forward(Record { key, value, timestamp, headers })
    }
}

#[cfg(test)]
mod tests {
    use crate::operators::test_support::{driver, pipe_all, text, written};

    #[test]
    fn the_closure_sees_the_key() {
        let driver = driver(|builder| {
            builder
                .stream::<String, i64>("orders")
                .map_values(|sku, quantity| format!("{quantity} {sku}"))
                .to("lines");
        });
        pipe_all(&driver.input_topic::<String, i64>("orders"), [("apples", 3)]);
        assert_eq!(written(&driver.output_topic("lines")), [(text("apples"), text("3 apples"))]);
    }

    #[test]
    fn a_record_the_closure_fails_on_goes_to_the_handler() {
        let driver = driver(|builder| {
            let orders = builder.stream::<String, String>("orders");
            orders.try_map_values(|_, quantity| quantity.parse::<i64>()).to("quantities");
        });
        pipe_all(&driver.input_topic::<String, String>("orders"), [("apples", "many"), ("pears", "2")]);
        assert_eq!(written(&driver.output_topic("quantities")), [(text("pears"), 2_i64)]);
        assert_eq!(driver.skipped_records(), 1);
    }
}
