//! Keeps the subscriptions to the rows of the right table.

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
use millstream_processor::{
    HasSerde, KeyValueStore, SerdeRef, SubscriptionInstruction, SubscriptionWrapper, ValueAndTimestamp,
    append_subscription_prefix,
};

/// Keeps or forgets each subscription, and passes it on to be answered.
pub(super) struct SubscriptionReceive<K, KF> {
    subscriptions: KeyValueStore<Vec<u8>, SubscriptionWrapper<K>>,
    primary_key_serde: SerdeRef<K>,
    foreign_key_serde: SerdeRef<KF>,
    /// Reused for keys of the store.
    key: Vec<u8>,
}

impl<K: HasSerde, KF: HasSerde> SubscriptionReceive<K, KF> {
    pub(super) fn new(
        subscriptions: KeyValueStore<Vec<u8>, SubscriptionWrapper<K>>,
        (primary_key_serde, foreign_key_serde): (SerdeRef<K>, SerdeRef<KF>),
    ) -> Self {
        SubscriptionReceive { subscriptions, primary_key_serde, foreign_key_serde, key: Vec::new() }
    }

    fn keep(
        &mut self,
        foreign_key: &KF,
        record: &Record<Option<KF>, SubscriptionWrapper<K>>,
    ) -> Result<(), Failure> {
        let (subscription, timestamp) = (&record.value, record.timestamp);
        self.key.clear();
        append_subscription_prefix(foreign_key, &*self.foreign_key_serde, &mut self.key)?;
        self.primary_key_serde.encode(&subscription.primary_key, &mut self.key)?;
        if subscription.instruction.keeps_subscription() {
            let row = ValueAndTimestamp::new(subscription.clone(), timestamp);
            self.subscriptions.put(&self.key, Some(row))?;
        } else {
            self.subscriptions.update(&self.key, timestamp, false, |_| Ok::<_, Failure>(None))?;
        }
        Ok(())
    }
}

impl<K: HasSerde, KF: HasSerde> Processor for SubscriptionReceive<K, KF> {
    type KeyIn = Option<KF>;
    type ValueIn = SubscriptionWrapper<K>;
    type KeyOut = Option<KF>;
    type ValueOut = SubscriptionWrapper<K>;

    fn process(
        &mut self,
        record: Record<Option<KF>, SubscriptionWrapper<K>>,
        context: &mut ProcessorContext<'_, Option<KF>, SubscriptionWrapper<K>>,
    ) -> Result<(), Failure> {
        match (&record.key, record.value.instruction) {
            (Some(foreign_key), _) => self.keep(foreign_key, &record)?,
            // A row of a left join that refers to nothing: there is no subscription to keep, but an answer to give.
            (None, SubscriptionInstruction::PropagateNullIfNoForeignValueAvailable) => {}
            (None, _) => {
                context.task().drop_record();
                return Ok(());
            }
        }
        context.forward(record)
    }
}
