//! `for_each`: the end of a stream in a closure.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;

use millstream_processor::BoxError;
use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};

use crate::logical::Effect;
use crate::stream::{KStream, StreamEnd};

impl<K: Clone + 'static, V: Clone + 'static> KStream<K, V> {
    /// Calls the closure with each record. After a failure or a crash it may get a record again: what it does outside of
    /// Kafka is not covered by any guarantee.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("orders").for_each(|sku, quantity| println!("{quantity} {sku}"));
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "foreach")]
    pub fn for_each(&self, action: impl Fn(K, V) + Send + Sync + 'static) -> StreamEnd {
        self.try_for_each(move |key, value| {
            action(key, value);
            Ok::<_, Infallible>(())
        })
    }

    /// [`for_each`](Self::for_each) with a closure that can fail. A record it fails on goes to the handler of the stage `process`.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// # fn notify(_sku: &str) -> std::io::Result<()> { Ok(()) }
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("orders").try_for_each(|sku, _quantity| notify(&sku));
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn try_for_each<E: Into<BoxError> + 'static>(
        &self,
        action: impl Fn(K, V) -> Result<(), E> + Send + Sync + 'static,
    ) -> StreamEnd {
        let action = Arc::new(action);
        let end = self.step("KSTREAM-FOREACH-", Effect::Passes, move || ForEach {
            action: Arc::clone(&action),
            types: PhantomData,
        });
        StreamEnd { graph: end.graph.clone(), id: end.id }
    }
}

struct ForEach<K, V, E, F> {
    action: Arc<F>,
    types: PhantomData<(K, V, E)>,
}

impl<K, V, E, F> Processor for ForEach<K, V, E, F>
where
    K: Clone + 'static,
    V: Clone + 'static,
    E: Into<BoxError> + 'static,
    F: Fn(K, V) -> Result<(), E> + 'static,
{
    type KeyIn = K;
    type ValueIn = V;
    type KeyOut = Infallible;
    type ValueOut = Infallible;

    fn process(
        &mut self,
        record: Record<K, V>,
        _context: &mut ProcessorContext<'_, Infallible, Infallible>,
    ) -> Result<(), Failure> {
        (self.action)(record.key, record.value).map_err(|error| Failure::process(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use crate::operators::test_support::{driver, pipe_all, text};

    #[test]
    fn every_record_ends_in_the_closure() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let saw = Arc::clone(&seen);
        let driver = driver(|builder| {
            builder.stream::<String, i64>("orders").for_each(move |sku, quantity| {
                saw.lock().unwrap().push((sku, quantity));
            });
        });
        pipe_all(&driver.input_topic::<String, i64>("orders"), [("apples", 1), ("pears", 2)]);
        assert_eq!(*seen.lock().unwrap(), [(text("apples"), 1), (text("pears"), 2)]);
        assert!(driver.produced_topic_names().is_empty());
    }

    #[test]
    fn a_record_the_closure_fails_on_goes_to_the_handler() {
        let driver = driver(|builder| {
            builder
                .stream::<String, String>("orders")
                .try_for_each(|_, quantity| quantity.parse::<i64>().map(|_| ()));
        });
        pipe_all(&driver.input_topic::<String, String>("orders"), [("apples", "many"), ("pears", "2")]);
        assert_eq!(driver.skipped_records(), 1);
    }
}
