//! Makes rows of the answers that come back to the left table.

use std::marker::PhantomData;
use std::sync::Arc;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
use millstream_processor::{HasSerde, SubscriptionResponseWrapper};

use super::ValueHasher;
use crate::operators::rows::Rows;
use crate::operators::with_key::Joined;

/// Joins an answer with the row it is to, unless that has another value since it asked: another answer is on its way then.
pub(super) struct ResponseResolver<K, V, VF, R, J> {
    rows: Box<dyn Rows<K, V>>,
    join: Arc<J>,
    hasher: ValueHasher<V>,
    types: PhantomData<(VF, R)>,
}

impl<K, V: HasSerde, VF, R, J> ResponseResolver<K, V, VF, R, J> {
    pub(super) fn new(rows: Box<dyn Rows<K, V>>, join: Arc<J>) -> Self {
        ResponseResolver { rows, join, hasher: ValueHasher::new(), types: PhantomData }
    }
}

impl<K, V, VF, R, J> Processor for ResponseResolver<K, V, VF, R, J>
where
    K: HasSerde,
    V: HasSerde,
    VF: HasSerde,
    R: HasSerde,
    J: Fn(&V, Option<&VF>) -> Joined<R> + 'static,
{
    type KeyIn = K;
    type ValueIn = SubscriptionResponseWrapper<VF>;
    type KeyOut = K;
    type ValueOut = Option<R>;

    fn process(
        &mut self,
        record: Record<K, SubscriptionResponseWrapper<VF>>,
        context: &mut ProcessorContext<'_, K, Option<R>>,
    ) -> Result<(), Failure> {
        let Record { key, value: response, timestamp, headers } = record;
        let mut resolved: Joined<Option<R>> = Ok(None);
        self.rows.read(&key, &mut |row| {
            let value = row.map(|row| row.value);
            let join = |value| (self.join)(value, response.foreign_value.as_ref());
            resolved = match self.hasher.hash(value) {
                Ok(hash) if hash == response.original_value_hash => value.map_or(Ok(None), join).map(Some),
                Ok(_) => Ok(None),
                Err(failure) => Err(failure),
            };
        })?;
        match resolved? {
            Some(value) => context.forward(Record { key, value, timestamp, headers }),
            None => {
                context.task().drop_record();
                Ok(())
            }
        }
    }
}
