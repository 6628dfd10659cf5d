//! Tells the right table which of its rows the rows of the left table refer to.

use std::marker::PhantomData;
use std::sync::Arc;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
use millstream_processor::{
    Change, HasSerde, PartitionId, SerdeError, SerdeRef, SubscriptionInstruction, SubscriptionWrapper,
};

use super::{ForeignKeyJoinKind, ValueHasher};
use crate::operators::newest_only::NewestOnly;

/// Sends a subscription, or two of them, for each change of the left table.
pub(super) struct SubscriptionSend<K, V, KF, F> {
    kind: ForeignKeyJoinKind,
    select: Arc<F>,
    newest_only: NewestOnly,
    foreign_keys: KeyComparison<KF>,
    hasher: ValueHasher<V>,
    types: PhantomData<K>,
}

impl<K, V: HasSerde, KF: HasSerde, F> SubscriptionSend<K, V, KF, F> {
    pub(super) fn new(
        kind: ForeignKeyJoinKind,
        select: Arc<F>,
        newest_only: NewestOnly,
        foreign_key_serde: SerdeRef<KF>,
    ) -> Self {
        let foreign_keys = KeyComparison { serde: foreign_key_serde, bytes: Vec::new() };
        let (hasher, types) = (ValueHasher::new(), PhantomData);
        SubscriptionSend { kind, select, newest_only, foreign_keys, hasher, types }
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
        if self.newest_only.drops(context.task()) {
            return Ok(());
        }
        let Record { key, value: Change { old, new }, timestamp, headers } = record;
        if old.is_none() && new.is_none() {
            return Ok(());
        }
        let old_key = old.as_ref().and_then(|value| (self.select)(&key, value));
        let new_key = new.as_ref().map(|value| (self.select)(&key, value));
        if self.kind == ForeignKeyJoinKind::Inner && matches!(new_key, Some(None)) {
            context.task().drop_record();
        }
        let is_other_key = match (&old_key, &new_key) {
            (Some(old), Some(Some(new))) => self.foreign_keys.differ(old, new)?,
            _ => true,
        };
        let hash = self.hasher.hash(new.as_ref())?;
        let partition = PartitionId::new(context.task().task_id().partition);
        for (foreign_key, instruction) in
            subscriptions(self.kind, old_key, new_key, is_other_key).into_iter().flatten()
        {
            let value = SubscriptionWrapper {
                hash,
                instruction,
                primary_key: key.clone(),
                primary_partition: Some(partition),
            };
            let headers = headers.clone();
            context.forward(Record { key: foreign_key, value, timestamp, headers })?;
        }
        Ok(())
    }
}

/// To whom a subscription goes, and its instruction.
type Subscription<KF> = (Option<KF>, SubscriptionInstruction);

/// What to send when a row that referred to `old_key` refers to `new_key` from now on, which is `Some(None)` for a row that refers to nothing, and
/// `None` for one that was deleted. A tombstone may be asked for that nobody needs: it is not known whether the old key had a row.
fn subscriptions<KF>(
    kind: ForeignKeyJoinKind,
    old_key: Option<KF>,
    new_key: Option<Option<KF>>,
    is_other_key: bool,
) -> [Option<Subscription<KF>>; 2] {
    use ForeignKeyJoinKind::{Inner, Left};
    use SubscriptionInstruction::{
        DeleteKeyAndPropagate, DeleteKeyNoPropagate, PropagateNullIfNoForeignValueAvailable,
        PropagateOnlyIfForeignValueAvailable,
    };
    match (kind, old_key, new_key) {
        // Also without a key, and for a deleted row: the answer makes the row, or deletes it.
        (Left, old_key, new_key) => [
            old_key.filter(|_| is_other_key).map(|old_key| (Some(old_key), DeleteKeyNoPropagate)),
            Some((new_key.flatten(), PropagateNullIfNoForeignValueAvailable)),
        ],
        // The row that was made with the old key must go if the new key has none.
        (Inner, Some(old_key), Some(Some(new_key))) if is_other_key => [
            Some((Some(old_key), DeleteKeyNoPropagate)),
            Some((Some(new_key), PropagateNullIfNoForeignValueAvailable)),
        ],
        (Inner, _, Some(Some(new_key))) => {
            [Some((Some(new_key), PropagateOnlyIfForeignValueAvailable)), None]
        }
        (Inner, Some(old_key), _) => [Some((Some(old_key), DeleteKeyAndPropagate)), None],
        (Inner, None, _) => [None, None],
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
