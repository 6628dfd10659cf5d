//! `map`: a new key and value for each record.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;

use millstream_processor::BoxError;
use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};

use crate::logical::Effect;
use crate::stream::KStream;

impl<K: Clone + 'static, V: Clone + 'static> KStream<K, V> {
    /// Gives each record a new key and value. Where only the value is new, [`map_values`](Self::map_values) spares a repartition
    /// topic; so does it here, if no grouping, join or table follows.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let quantities = builder.stream::<String, i64>("orders");
    /// quantities.map(|sku, quantity| (sku.to_uppercase(), quantity * 2)).to("doubled");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("apples", 2)?;
    /// let doubled = driver.output_topic::<String, i64>("doubled");
    /// assert_eq!(doubled.read_key_value()?, Some(("APPLES".into(), 4)));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn map<K2: Clone + 'static, V2: Clone + 'static>(
        &self,
        mapper: impl Fn(K, V) -> (K2, V2) + Send + Sync + 'static,
    ) -> KStream<K2, V2> {
        self.try_map(move |key, value| Ok::<_, Infallible>(mapper(key, value)))
    }

    /// [`map`](Self::map) with a closure that can fail. A record it fails on goes to the handler of the stage `process`.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, String>("orders");
    /// orders.try_map(|sku, quantity| quantity.parse::<i64>().map(|quantity| (sku, quantity))).to("quantities");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn try_map<K2: Clone + 'static, V2: Clone + 'static, E: Into<BoxError> + 'static>(
        &self,
        mapper: impl Fn(K, V) -> Result<(K2, V2), E> + Send + Sync + 'static,
    ) -> KStream<K2, V2> {
        let mapper = Arc::new(mapper);
        self.step("KSTREAM-MAP-", Effect::ChangesKeys, move || Map {
            mapper: Arc::clone(&mapper),
            types: PhantomData,
        })
    }
}

struct Map<K, V, K2, V2, E, F> {
    mapper: Arc<F>,
    types: PhantomData<(K, V, K2, V2, E)>,
}

impl<K, V, K2, V2, E, F> Processor for Map<K, V, K2, V2, E, F>
where
    K: Clone + 'static,
    V: Clone + 'static,
    K2: Clone + 'static,
    V2: Clone + 'static,
    E: Into<BoxError> + 'static,
    F: Fn(K, V) -> Result<(K2, V2), E> + 'static,
{
    type KeyIn = K;
    type ValueIn = V;
    type KeyOut = K2;
    type ValueOut = V2;

    #[inline]
    fn process(
        &mut self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, K2, V2>,
    ) -> Result<(), Failure> {
        let Record { key, value, timestamp, headers } = record;
        let (key, value) = (self.mapper)(key, value).map_err(|error| Failure::process(error.into()))?;
        context.forward(Record { key, value, timestamp, headers })
    }
}

#[cfg(test)]
mod tests {
    use millstream_processor::api::{Headers, Record};

    use crate::operators::test_support::{at, driver, pipe_all, text, written};

    #[test]
    fn timestamp_and_headers_stay() {
        let driver = driver(|builder| {
            builder.stream::<String, i64>("orders").map(|sku, quantity| (quantity, sku)).to("swapped");
        });
        let mut headers = Headers::default();
        headers.push("trace", None);
        let order = Record::new(text("apples"), 3_i64, at(70)).with_headers(headers.clone());
        driver.input_topic::<String, i64>("orders").pipe_record(order).expect("the record is processed");
        let swapped = driver.output_topic::<i64, String>("swapped").read_record().expect("it decodes");
        assert_eq!(swapped, Some(Record::new(3, text("apples"), at(70)).with_headers(headers)));
    }

    #[test]
    fn a_record_the_closure_fails_on_goes_to_the_handler() {
        let driver = driver(|builder| {
            let orders = builder.stream::<String, String>("orders");
            orders
                .try_map(|sku, quantity| quantity.parse::<i64>().map(|quantity| (sku, quantity)))
                .to("quantities");
        });
        pipe_all(&driver.input_topic::<String, String>("orders"), [("apples", "many"), ("pears", "2")]);
        assert_eq!(written(&driver.output_topic("quantities")), [(text("pears"), 2_i64)]);
        assert_eq!(driver.skipped_records(), 1);
    }
}
