//! `filter`: lets some records pass.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;

use millstream_processor::BoxError;
use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};

use crate::logical::Effect;
use crate::stream::KStream;

impl<K: Clone + 'static, V: Clone + 'static> KStream<K, V> {
    /// Lets the records pass for which the closure says `true`.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("orders").filter(|_sku, quantity| *quantity > 100).to("bulk-orders");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let orders = driver.input_topic::<String, i64>("orders");
    /// orders.pipe_input("apples", 500)?;
    /// orders.pipe_input("pears", 5)?;
    /// let bulk = driver.output_topic::<String, i64>("bulk-orders");
    /// assert_eq!(bulk.read_key_values_to_list()?, [("apples".into(), 500)]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn filter(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> KStream<K, V> {
        self.try_filter(move |key, value| Ok::<_, Infallible>(predicate(key, value)))
    }

    /// Lets the records pass for which the closure says `false`.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # use millstream::testing::TopologyTestDriver;
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("orders").filter_not(|_sku, quantity| *quantity > 100).to("retail-orders");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("pears", 5)?;
    /// let retail = driver.output_topic::<String, i64>("retail-orders");
    /// assert_eq!(retail.read_key_value()?, Some(("pears".into(), 5)));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "filterNot")]
    pub fn filter_not(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> KStream<K, V> {
        self.filter(move |key, value| !predicate(key, value))
    }

    /// [`filter`](Self::filter) with a closure that can fail. A record it fails on goes to the handler of the stage `process`.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, String>("orders");
    /// orders.try_filter(|_sku, quantity| quantity.parse::<i64>().map(|quantity| quantity > 100)).to("bulk-orders");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn try_filter<E: Into<BoxError> + 'static>(
        &self,
        predicate: impl Fn(&K, &V) -> Result<bool, E> + Send + Sync + 'static,
    ) -> KStream<K, V> {
        let predicate = Arc::new(predicate);
        self.step("KSTREAM-FILTER-", Effect::Passes, move || Filter {
            predicate: Arc::clone(&predicate),
            types: PhantomData,
        })
    }
}

struct Filter<K, V, E, F> {
    predicate: Arc<F>,
    types: PhantomData<(K, V, E)>,
}

impl<K, V, E, F> Processor for Filter<K, V, E, F>
where
    K: Clone + 'static,
    V: Clone + 'static,
    E: Into<BoxError> + 'static,
    F: Fn(&K, &V) -> Result<bool, E> + 'static,
{
    type KeyIn = K;
    type ValueIn = V;
    type KeyOut = K;
    type ValueOut = V;

    #[inline]
    fn process(
        &mut self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, K, V>,
    ) -> Result<(), Failure> {
        let passes =
            (self.predicate)(&record.key, &record.value).map_err(|error| Failure::process(error.into()))?;
        if passes { context.forward(record) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use crate::operators::test_support::{driver, pipe_all, text, written};

    #[test]
    fn a_record_passes_one_of_filter_and_filter_not() {
        let driver = driver(|builder| {
            let orders = builder.stream::<String, i64>("orders");
            orders.filter(|sku, quantity| sku == "apples" && *quantity > 1).to("matching");
            orders.filter_not(|sku, quantity| sku == "apples" && *quantity > 1).to("others");
        });
        pipe_all(&driver.input_topic::<String, i64>("orders"), [("apples", 1), ("apples", 2), ("pears", 2)]);
        assert_eq!(written(&driver.output_topic("matching")), [(text("apples"), 2_i64)]);
        assert_eq!(written(&driver.output_topic("others")), [(text("apples"), 1_i64), (text("pears"), 2)]);
    }

    #[test]
    fn a_null_is_a_value_like_any_other() {
        let driver = driver(|builder| {
            builder
                .stream::<String, Option<i64>>("orders")
                .filter(|_, quantity| quantity.is_none())
                .to("cancelled");
        });
        pipe_all(
            &driver.input_topic::<String, Option<i64>>("orders"),
            [("apples", Some(1)), ("pears", None)],
        );
        assert_eq!(written(&driver.output_topic("cancelled")), [(text("pears"), None::<i64>)]);
    }

    #[test]
    fn a_record_the_closure_fails_on_goes_to_the_handler() {
        let driver = driver(|builder| {
            let orders = builder.stream::<String, String>("orders");
            orders.try_filter(|_, quantity| quantity.parse::<i64>().map(|quantity| quantity > 1)).to("bulk");
        });
        pipe_all(&driver.input_topic::<String, String>("orders"), [("apples", "many"), ("pears", "2")]);
        assert_eq!(written(&driver.output_topic("bulk")), [(text("pears"), text("2"))]);
        assert_eq!(driver.skipped_records(), 1);
    }
}
