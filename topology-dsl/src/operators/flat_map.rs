//! `flat_map`: any number of records for each record.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;

use millstream_processor::BoxError;
use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};

use crate::logical::Effect;
use crate::stream::KStream;

impl<K: Clone + 'static, V: Clone + 'static> KStream<K, V> {
    /// Makes any number of records of each record, with its timestamp and headers.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let transfers = builder.stream::<String, i64>("transfers");
    /// transfers.flat_map(|sku, moved| [(format!("{sku}-out"), -moved), (format!("{sku}-in"), moved)]).to("movements");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("transfers").pipe_input("apples", 3)?;
    /// let movements = driver.output_topic::<String, i64>("movements");
    /// let both = [("apples-out".into(), -3), ("apples-in".into(), 3)];
    /// assert_eq!(movements.read_key_values_to_list()?, both);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "flatMap")]
    pub fn flat_map<K2, V2, I>(&self, mapper: impl Fn(K, V) -> I + Send + Sync + 'static) -> KStream<K2, V2>
    where
        K2: Clone + 'static,
        V2: Clone + 'static,
        I: IntoIterator<Item = (K2, V2)> + 'static,
    {
        self.try_flat_map(move |key, value| Ok::<_, Infallible>(mapper(key, value)))
    }

    /// [`flat_map`](Self::flat_map) with a closure that can fail. A record it fails on goes to the handler of the stage `process`.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// let builder = StreamsBuilder::new();
    /// let transfers = builder.stream::<String, String>("transfers");
    /// transfers
    ///     .try_flat_map(|sku, moved| {
    ///         moved.parse::<i64>().map(|moved| [(format!("{sku}-out"), -moved), (format!("{sku}-in"), moved)])
    ///     })
    ///     .to("movements");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn try_flat_map<K2, V2, I, E>(
        &self,
        mapper: impl Fn(K, V) -> Result<I, E> + Send + Sync + 'static,
    ) -> KStream<K2, V2>
    where
        K2: Clone + 'static,
        V2: Clone + 'static,
        I: IntoIterator<Item = (K2, V2)> + 'static,
        E: Into<BoxError> + 'static,
    {
        let mapper = Arc::new(mapper);
        self.step("KSTREAM-FLATMAP-", Effect::ChangesKeys, move || FlatMap {
            mapper: Arc::clone(&mapper),
            types: PhantomData,
        })
    }
}

struct FlatMap<K, V, I, E, F> {
    mapper: Arc<F>,
    types: PhantomData<(K, V, I, E)>,
}

impl<K, V, K2, V2, I, E, F> Processor for FlatMap<K, V, I, E, F>
where
    K: Clone + 'static,
    V: Clone + 'static,
    K2: Clone + 'static,
    V2: Clone + 'static,
    I: IntoIterator<Item = (K2, V2)> + 'static,
    E: Into<BoxError> + 'static,
    F: Fn(K, V) -> Result<I, E> + 'static,
{
    type KeyIn = K;
    type ValueIn = V;
    type KeyOut = K2;
    type ValueOut = V2;

    fn process(
        &mut self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, K2, V2>,
    ) -> Result<(), Failure> {
        let Record { key, value, timestamp, headers } = record;
        for (key, value) in (self.mapper)(key, value).map_err(|error| Failure::process(error.into()))? {
            context.forward(Record { key, value, timestamp, headers: headers.clone() })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::operators::test_support::{driver, pipe_all, text, written};

    #[test]
    fn a_record_becomes_none_or_many() {
        let driver = driver(|builder| {
            let baskets = builder.stream::<String, i64>("baskets");
            baskets
                .flat_map(|sku, count| (0..count).map(move |item| (format!("{sku}-{item}"), item)))
                .to("items");
        });
        pipe_all(&driver.input_topic::<String, i64>("baskets"), [("apples", 0), ("pears", 2)]);
        assert_eq!(written(&driver.output_topic("items")), [(text("pears-0"), 0_i64), (text("pears-1"), 1)]);
    }

    #[test]
    fn of_a_record_whose_second_part_fails_downstream_nothing_comes_out() {
        let driver = driver(|builder| {
            let baskets = builder.stream::<String, String>("baskets");
            let items = baskets.flat_map(|customer, items| {
                let items: Vec<String> = items.split(',').map(str::to_string).collect();
                items.into_iter().map(move |item| (customer.clone(), item))
            });
            items.try_map_values(|_, item| item.parse::<i64>()).to("numbers");
        });
        pipe_all(&driver.input_topic::<String, String>("baskets"), [("ann", "1,x"), ("bob", "2,3")]);
        assert_eq!(written(&driver.output_topic("numbers")), [(text("bob"), 2_i64), (text("bob"), 3)]);
    }
}
