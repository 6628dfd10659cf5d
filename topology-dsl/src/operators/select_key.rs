//! `select_key`: a new key for each record.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;

use millstream_processor::BoxError;
use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};

use crate::logical::Effect;
use crate::stream::KStream;

impl<K: Clone + 'static, V: Clone + 'static> KStream<K, V> {
    /// Gives each record a new key. A grouping, join or table that follows gets a repartition topic, so that equal keys meet.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, String>("orders").select_key(|_id, sku| sku.clone()).to("orders-by-sku");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, String>("orders").pipe_input("order-1", "apples")?;
    /// let by_sku = driver.output_topic::<String, String>("orders-by-sku");
    /// assert_eq!(by_sku.read_key_value()?, Some(("apples".into(), "apples".into())));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "selectKey")]
    pub fn select_key<K2: Clone + 'static>(
        &self,
        selector: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
    ) -> KStream<K2, V> {
        self.try_select_key(move |key, value| Ok::<_, Infallible>(selector(key, value)))
    }

    /// [`select_key`](Self::select_key) with a closure that can fail. A record it fails on goes to the handler of the stage
    /// `process`.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, String>("orders");
    /// orders.try_select_key(|id, _order| id.parse::<i64>()).to("orders-by-number");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn try_select_key<K2: Clone + 'static, E: Into<BoxError> + 'static>(
        &self,
        selector: impl Fn(&K, &V) -> Result<K2, E> + Send + Sync + 'static,
    ) -> KStream<K2, V> {
        let selector = Arc::new(selector);
        self.step("KSTREAM-KEY-SELECT-", Effect::ChangesKeys, move || SelectKey {
            selector: Arc::clone(&selector),
            types: PhantomData,
        })
    }
}

struct SelectKey<K, V, K2, E, F> {
    selector: Arc<F>,
    types: PhantomData<(K, V, K2, E)>,
}

impl<K, V, K2, E, F> Processor for SelectKey<K, V, K2, E, F>
where
    K: Clone + 'static,
    V: Clone + 'static,
    K2: Clone + 'static,
    E: Into<BoxError> + 'static,
    F: Fn(&K, &V) -> Result<K2, E> + 'static,
{
    type KeyIn = K;
    type ValueIn = V;
    type KeyOut = K2;
    type ValueOut = V;

    #[inline]
    fn process(
        &mut self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, K2, V>,
    ) -> Result<(), Failure> {
        let key =
            (self.selector)(&record.key, &record.value).map_err(|error| Failure::process(error.into()))?;
        context.forward(record.with_key(key))
    }
}

#[cfg(test)]
mod tests {
    use crate::operators::test_support::{driver, pipe_all, text, written};

    #[test]
    fn equal_new_keys_meet_in_the_grouping_that_follows() {
        let driver = driver(|builder| {
            let orders = builder.stream::<String, String>("orders");
            let by_customer = orders.select_key(|_, customer| customer.clone());
            by_customer.group_by_key().count(()).to_stream().to("orders-per-customer");
        });
        pipe_all(&driver.input_topic::<String, String>("orders"), [("1", "ann"), ("2", "bob"), ("3", "ann")]);
        let expected = [(text("ann"), 1_u64), (text("bob"), 1), (text("ann"), 2)];
        assert_eq!(written(&driver.output_topic("orders-per-customer")), expected);
    }

    #[test]
    fn a_record_the_closure_fails_on_goes_to_the_handler() {
        let driver = driver(|builder| {
            let orders = builder.stream::<String, String>("orders");
            orders.try_select_key(|id, _| id.parse::<i64>()).to("by-number");
        });
        pipe_all(&driver.input_topic::<String, String>("orders"), [("first", "ann"), ("2", "bob")]);
        assert_eq!(written(&driver.output_topic("by-number")), [(2_i64, text("bob"))]);
        assert_eq!(driver.skipped_records(), 1);
    }
}
