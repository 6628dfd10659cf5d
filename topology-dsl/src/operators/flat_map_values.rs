//! `flat_map_values`: any number of values for each record.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;

use millstream_processor::BoxError;
use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};

use crate::logical::Effect;
use crate::stream::KStream;

impl<K: Clone + 'static, V: Clone + 'static> KStream<K, V> {
    /// Makes any number of records of each record, with its key, timestamp and headers.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let baskets = builder.stream::<String, String>("baskets");
    /// baskets.flat_map_values(|_customer, skus| skus.split(',').map(str::to_string).collect::<Vec<_>>()).to("items");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, String>("baskets").pipe_input("ann", "apples,pears")?;
    /// let items = driver.output_topic::<String, String>("items");
    /// let both = [("ann".into(), "apples".into()), ("ann".into(), "pears".into())];
    /// assert_eq!(items.read_key_values_to_list()?, both);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "flatMapValues")]
    pub fn flat_map_values<V2, I>(
        &self,
        mapper: impl Fn(&K, V) -> I + Send + Sync + 'static,
    ) -> KStream<K, V2>
    where
        V2: Clone + 'static,
        I: IntoIterator<Item = V2> + 'static,
    {
        self.try_flat_map_values(move |key, value| Ok::<_, Infallible>(mapper(key, value)))
    }

    /// [`flat_map_values`](Self::flat_map_values) with a closure that can fail. A record it fails on goes to the handler of the
    /// stage `process`.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// let builder = StreamsBuilder::new();
    /// let deliveries = builder.stream::<String, String>("deliveries");
    /// deliveries
    ///     .try_flat_map_values(|_sku, crates| {
    ///         crates.split(',').map(str::parse::<i64>).collect::<std::result::Result<Vec<_>, _>>()
    ///     })
    ///     .to("crates");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn try_flat_map_values<V2, I, E>(
        &self,
        mapper: impl Fn(&K, V) -> Result<I, E> + Send + Sync + 'static,
    ) -> KStream<K, V2>
    where
        V2: Clone + 'static,
        I: IntoIterator<Item = V2> + 'static,
        E: Into<BoxError> + 'static,
    {
        let mapper = Arc::new(mapper);
        self.step("KSTREAM-FLATMAPVALUES-", Effect::ChangesValues, move || FlatMapValues {
            mapper: Arc::clone(&mapper),
            types: PhantomData,
        })
    }
}

struct FlatMapValues<K, V, I, E, F> {
    mapper: Arc<F>,
    types: PhantomData<(K, V, I, E)>,
}

impl<K, V, V2, I, E, F> Processor for FlatMapValues<K, V, I, E, F>
where
    K: Clone + 'static,
    V: Clone + 'static,
    V2: Clone + 'static,
    I: IntoIterator<Item = V2> + 'static,
    E: Into<BoxError> + 'static,
    F: Fn(&K, V) -> Result<I, E> + 'static,
{
    type KeyIn = K;
    type ValueIn = V;
    type KeyOut = K;
    type ValueOut = V2;

    fn process(
        &mut self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, K, V2>,
    ) -> Result<(), Failure> {
        let Record { key, value, timestamp, headers } = record;
        let values = (self.mapper)(&key, value).map_err(|error| Failure::process(error.into()))?;
        let mut values = values.into_iter();
        let Some(mut value) = values.next() else { return Ok(()) };
        for next in values {
            context.forward(Record { key: key.clone(), value, timestamp, headers: headers.clone() })?;
            value = next;
        }
        context.forward(Record { key, value, timestamp, headers })
    }
}

#[cfg(test)]
mod tests {
    use crate::operators::test_support::{driver, pipe_all, text, written};

    #[test]
    fn every_value_keeps_the_key() {
        let driver = driver(|builder| {
            let baskets = builder.stream::<String, i64>("baskets");
            baskets.flat_map_values(|_, count| (0..count).collect::<Vec<_>>()).to("items");
        });
        pipe_all(&driver.input_topic::<String, i64>("baskets"), [("ann", 0), ("bob", 1), ("eve", 3)]);
        let expected = [(text("bob"), 0_i64), (text("eve"), 0), (text("eve"), 1), (text("eve"), 2)];
        assert_eq!(written(&driver.output_topic("items")), expected);
    }
}
