//! Joins the records of a stream with each other, which are kept once (Kafka Streams' `single.store.self.join`).
//!
//! The outputs, and their order, are those of the two nodes that join each record as the left one with all that came before, and then as the
//! right one with those and itself.

use std::ops::ControlFlow;
use std::sync::Arc;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
use millstream_processor::{Direction, RecordField, Timestamp, ValueAndTimestamp, WindowStore};

use super::joining::{forward_joined, window};
use crate::operators::with_key::Joined;
use crate::windows::JoinWindows;

/// See the module's description. `join` makes an output of the key and the values of two records, the left one first.
pub(super) struct JoinWithItself<K: RecordField, V: RecordField, O, J> {
    records: WindowStore<K::NonNull, V::NonNull>,
    windows: JoinWindows,
    join: Arc<J>,
    /// Reused: what was joined with the current record, and the times of the others.
    joined: Vec<(O, Timestamp)>,
}

impl<K, V, O, J> JoinWithItself<K, V, O, J>
where
    K: RecordField,
    V: RecordField,
    J: Fn(&K, &V::NonNull, &V::NonNull) -> Joined<O> + 'static,
{
    pub(super) fn new(
        records: WindowStore<K::NonNull, V::NonNull>,
        windows: JoinWindows,
        join: Arc<J>,
    ) -> Self {
        JoinWithItself { records, windows, join, joined: Vec::new() }
    }

    /// Makes what a record of this time makes with each in its window.
    fn join_with(
        &mut self,
        key: &K::NonNull,
        (from, to): (Timestamp, Timestamp),
        make: impl Fn(&J, &V::NonNull) -> Joined<O>,
    ) -> Result<(), Failure> {
        let (join, joined, mut outcome) = (&*self.join, &mut self.joined, Ok(()));
        self.records.visit_range(key, from..=to, Direction::Forward, |start, other| {
            match make(join, &other.value) {
                Ok(output) => joined.extend(output.map(|output| (output, start))),
                Err(failure) => outcome = Err(failure),
            }
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        outcome
    }
}

impl<K, V, O, J> Processor for JoinWithItself<K, V, O, J>
where
    K: RecordField,
    V: RecordField,
    O: Clone + 'static,
    J: Fn(&K, &V::NonNull, &V::NonNull) -> Joined<O> + 'static,
{
    type KeyIn = K;
    type ValueIn = V;
    type KeyOut = K;
    type ValueOut = O;

    fn process(
        &mut self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, K, O>,
    ) -> Result<(), Failure> {
        let (Some(key), Some(value)) = (record.key.as_non_null(), record.value.as_non_null()) else {
            context.task().drop_record();
            return Ok(());
        };
        let (at, JoinWindows { before, after, .. }) = (record.timestamp, self.windows);
        self.joined.clear();
        self.join_with(key, window(at, before, after), |join, other| join(&record.key, value, other))?;
        self.records.put(key, at, Some(ValueAndTimestamp::new(value.clone(), at)))?;
        self.join_with(key, window(at, after, before), |join, other| join(&record.key, other, value))?;
        forward_joined(record, &mut self.joined, context)
    }
}
