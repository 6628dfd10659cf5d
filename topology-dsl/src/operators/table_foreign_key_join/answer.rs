//! What the right table's side tells the left table's: its row when somebody subscribes, and each change of a row to all who have.

use std::marker::PhantomData;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
use millstream_processor::{
    Change, HasSerde, KeyValueStore, SerdeRef, SubscriptionInstruction, SubscriptionResponseWrapper,
    SubscriptionWrapper, append_subscription_prefix,
};

use crate::operators::newest_only::NewestOnly;
use crate::operators::rows::Rows;

/// Answers a subscription with the row that it is to, as its instruction says.
pub(super) struct AnswerSubscription<K, KF, VF> {
    rows: Box<dyn Rows<KF, VF>>,
    types: PhantomData<K>,
}

impl<K, KF, VF> AnswerSubscription<K, KF, VF> {
    pub(super) fn new(rows: Box<dyn Rows<KF, VF>>) -> Self {
        AnswerSubscription { rows, types: PhantomData }
    }
}

impl<K: HasSerde, KF: HasSerde, VF: HasSerde> Processor for AnswerSubscription<K, KF, VF> {
    type KeyIn = Option<KF>;
    type ValueIn = SubscriptionWrapper<K>;
    type KeyOut = K;
    type ValueOut = SubscriptionResponseWrapper<VF>;

    fn process(
        &mut self,
        record: Record<Option<KF>, SubscriptionWrapper<K>>,
        context: &mut ProcessorContext<'_, K, SubscriptionResponseWrapper<VF>>,
    ) -> Result<(), Failure> {
        let Record { key, value: subscription, timestamp, headers } = record;
        let SubscriptionWrapper { hash, instruction, primary_key, primary_partition } = subscription;
        if instruction == SubscriptionInstruction::DeleteKeyNoPropagate {
            return Ok(());
        }
        let found = match &key {
            Some(foreign_key) => self.rows.copy(foreign_key)?,
            None => None,
        };
        let timestamp = found.as_ref().map_or(timestamp, |row| timestamp.max(row.timestamp));
        let foreign_value = match (instruction, found) {
            (SubscriptionInstruction::DeleteKeyAndPropagate, _) => None,
            (SubscriptionInstruction::PropagateOnlyIfForeignValueAvailable, None) => return Ok(()),
            (_, found) => found.map(|row| row.value),
        };
        let value =
            SubscriptionResponseWrapper { original_value_hash: hash, foreign_value, primary_partition };
        context.forward(Record { key: primary_key, value, timestamp, headers })
    }
}

/// Tells each change of a row to all who have subscribed to it.
pub(super) struct AnswerChange<K, KF, VF> {
    subscriptions: KeyValueStore<Vec<u8>, SubscriptionWrapper<K>>,
    foreign_key_serde: SerdeRef<KF>,
    newest_only: NewestOnly,
    /// Reused for what the keys of subscriptions begin with.
    prefix: Vec<u8>,
    types: PhantomData<VF>,
}

impl<K, KF: HasSerde, VF> AnswerChange<K, KF, VF> {
    pub(super) fn new(
        subscriptions: KeyValueStore<Vec<u8>, SubscriptionWrapper<K>>,
        foreign_key_serde: SerdeRef<KF>,
        newest_only: NewestOnly,
    ) -> Self {
        let (prefix, types) = (Vec::new(), PhantomData);
        AnswerChange { subscriptions, foreign_key_serde, newest_only, prefix, types }
    }
}

impl<K: HasSerde, KF: HasSerde, VF: HasSerde> Processor for AnswerChange<K, KF, VF> {
    type KeyIn = KF;
    type ValueIn = Change<VF>;
    type KeyOut = K;
    type ValueOut = SubscriptionResponseWrapper<VF>;

    fn process(
        &mut self,
        record: Record<KF, Change<VF>>,
        context: &mut ProcessorContext<'_, K, SubscriptionResponseWrapper<VF>>,
    ) -> Result<(), Failure> {
        if self.newest_only.drops(context.task()) {
            return Ok(());
        }
        let Record { key: foreign_key, value: change, timestamp, headers } = record;
        self.prefix.clear();
        append_subscription_prefix(&foreign_key, &*self.foreign_key_serde, &mut self.prefix)?;
        for row in self.subscriptions.prefix_scan(&self.prefix)? {
            let (_, row) = row?;
            let SubscriptionWrapper { hash, primary_key, primary_partition, .. } = row.value;
            let value = SubscriptionResponseWrapper {
                original_value_hash: hash,
                foreign_value: change.new.clone(),
                primary_partition,
            };
            // Of the right table's time alone, as in Kafka Streams.
            context.forward(Record { key: primary_key, value, timestamp, headers: headers.clone() })?;
        }
        Ok(())
    }
}
