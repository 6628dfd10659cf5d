//! Tells the right table which of its rows the rows of the left table refer to.

use std::marker::PhantomData;
use std::sync::Arc;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
use millstream_processor::{
    Change, HasSerde, PartitionId, SerdeError, SerdeRef, SubscriptionInstruction, SubscriptionWrapper,
};

use super::{ForeignKeyJoinKind, ValueHasher};

/// Sends a subscription, or two of them, for each change of the left table.
pub(super) struct SubscriptionSend<K, V, KF, F> {
    kind: ForeignKeyJoinKind,
    select: Arc<F>,
    foreign_keys: KeyComparison<KF>,
    hasher: ValueHasher<V>,
    types: PhantomData<K>,
}

impl<K, V: HasSerde, KF: HasSerde, F> SubscriptionSend<K, V, KF, F> {
    pub(super) fn new(kind: ForeignKeyJoinKind, select: Arc<F>) -> Self {
        let foreign_keys = KeyComparison { serde: KF::serde(), bytes: Vec::new() };
        SubscriptionSend { kind, select, foreign_keys, hasher: ValueHasher::new(), types: PhantomData }
    }
}

impl<K, V, KF, F> Processor for SubscriptionSend<K, V, KF, F>
where
    K: HasSerde,
    V: HasSerde,
    KF: HasSerde,
    F: Fn(&K, &V) -> Option<KF> + 'static,
{
    type KeyIn = K;
    type ValueIn = Change<V>;
    type KeyOut = Option<KF>;
    type ValueOut = SubscriptionWrapper<K>;

    fn process(
        &mut self,
        record: Record<K, Change<V>>,
        context: &mut ProcessorContext<'_, Option<KF>, SubscriptionWrapper<K>>,
    ) -> Result<(), Failure> {
        use SubscriptionInstruction::*;

        let Record { key, value: Change { old, new }, timestamp, headers } = record;
        if old.is_none() && new.is_none() {
            return Ok(());
        }
        let old_key = old.as_ref().and_then(|value| (self.select)(&key, value));
        let new_key = new.as_ref().and_then(|value| (self.select)(&key, value));
        let hash = self.hasher.hash(new.as_ref())?;
        let partition = PartitionId::new(context.task().task_id().partition);
        let mut send = |foreign_key: Option<KF>, instruction| {
            let value = SubscriptionWrapper {
                hash,
                instruction,
                primary_key: key.clone(),
                primary_partition: Some(partition),
            };
            context.forward(Record { key: foreign_key, value, timestamp, headers: headers.clone() })
        };
        let is_other_key = match (&old_key, &new_key) {
            (Some(old), Some(new)) => self.foreign_keys.differ(old, new)?,
            (old, new) => old.is_some() != new.is_some(),
        };
        match self.kind {
            ForeignKeyJoinKind::Left => {
                if old_key.is_some() && is_other_key {
                    send(old_key, DeleteKeyNoPropagate)?;
                }
                // Also without a key, and for a deleted row: the answer makes the row, or deletes it.
                send(new_key, PropagateNullIfNoForeignValueAvailable)
            }
            ForeignKeyJoinKind::Inner if new.is_some() && new_key.is_none() => {
                let unsubscribed = match old_key {
                    Some(_) => send(old_key, DeleteKeyAndPropagate),
                    None => Ok(()),
                };
                context.task().drop_record();
                unsubscribed
            }
            ForeignKeyJoinKind::Inner => match (old_key, new_key) {
                (Some(old_key), Some(new_key)) if is_other_key => {
                    send(Some(old_key), DeleteKeyNoPropagate)?;
                    // There may be a row made with the old key, which must go if the new key has none to offer.
                    send(Some(new_key), PropagateNullIfNoForeignValueAvailable)
                }
                (_, Some(new_key)) => send(Some(new_key), PropagateOnlyIfForeignValueAvailable),
                (Some(old_key), None) => send(Some(old_key), DeleteKeyAndPropagate),
                (None, None) => Ok(()),
            },
        }
    }
}

/// Compares foreign keys as they are written: equal bytes find the same row.
struct KeyComparison<KF> {
    serde: SerdeRef<KF>,
    /// Reused for encoded keys.
    bytes: Vec<u8>,
}

impl<KF> KeyComparison<KF> {
    fn differ(&mut self, one: &KF, other: &KF) -> Result<bool, SerdeError> {
        self.bytes.clear();
        self.serde.encode(one, &mut self.bytes)?;
        let end_of_one = self.bytes.len();
        self.serde.encode(other, &mut self.bytes)?;
        let (one, other) = self.bytes.split_at(end_of_one);
        Ok(one != other)
    }
}
