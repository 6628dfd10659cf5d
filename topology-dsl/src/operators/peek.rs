//! `peek`: looks at records as they pass.

use std::marker::PhantomData;
use std::sync::Arc;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};

use crate::logical::Effect;
use crate::stream::KStream;

impl<K: Clone + 'static, V: Clone + 'static> KStream<K, V> {
    /// Calls the closure with each record and lets it pass. After a failure or a crash a record may be seen again.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("orders").peek(|sku, quantity| println!("{quantity} {sku}")).to("seen-orders");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn peek(&self, action: impl Fn(&K, &V) + Send + Sync + 'static) -> KStream<K, V> {
        let action = Arc::new(action);
        self.step("KSTREAM-PEEK-", Effect::Passes, move || Peek {
            action: Arc::clone(&action),
            types: PhantomData,
        })
    }
}

struct Peek<K, V, F> {
    action: Arc<F>,
    types: PhantomData<(K, V)>,
}

impl<K, V, F> Processor for Peek<K, V, F>
where
    K: Clone + 'static,
    V: Clone + 'static,
    F: Fn(&K, &V) + 'static,
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
        (self.action)(&record.key, &record.value);
        context.forward(record)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use crate::operators::test_support::{driver, pipe_all, text, written};

    #[test]
    fn every_record_is_seen_and_passes() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let saw = Arc::clone(&seen);
        let driver = driver(|builder| {
            let orders = builder.stream::<String, i64>("orders");
            orders.peek(move |sku, quantity| saw.lock().unwrap().push((sku.clone(), *quantity))).to("passed");
        });
        pipe_all(&driver.input_topic::<String, i64>("orders"), [("apples", 1), ("pears", 2)]);
        let expected = [(text("apples"), 1), (text("pears"), 2)];
        assert_eq!(*seen.lock().unwrap(), expected);
        assert_eq!(written(&driver.output_topic("passed")), expected);
    }
}
