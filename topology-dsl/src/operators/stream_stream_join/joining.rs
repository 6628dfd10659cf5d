//! Joins the records of one side with those of the other that came before.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use millstream_processor::api::{Failure, Headers, Processor, ProcessorContext, Record};
use millstream_processor::{Direction, JoinSide, LeftOrRightValue, RecordField, Timestamp, WindowStore};

use super::waiting::Waiting;
use crate::operators::with_key::Joined;
use crate::windows::JoinWindows;

/// One side of a join of values `L` with values `R`.
pub(super) trait Side<L, R>: 'static {
    type This: Clone + 'static;
    type Other: Clone + 'static;
    const SIDE: JoinSide;

    /// How far the records to be joined lie before and after one of this side, in milliseconds.
    fn span(windows: JoinWindows) -> (i64, i64);

    /// The values of both sides, the left one first.
    fn ordered<'a>(
        this: Option<&'a Self::This>,
        other: Option<&'a Self::Other>,
    ) -> (Option<&'a L>, Option<&'a R>);

    fn either(this: Self::This) -> LeftOrRightValue<L, R>;
}

pub(super) struct LeftSide;
pub(super) struct RightSide;

impl<L: Clone + 'static, R: Clone + 'static> Side<L, R> for LeftSide {
    type This = L;
    type Other = R;
    const SIDE: JoinSide = JoinSide::Left;

    fn span(windows: JoinWindows) -> (i64, i64) {
        (windows.before, windows.after)
    }

    #[inline]
    fn ordered<'a>(this: Option<&'a L>, other: Option<&'a R>) -> (Option<&'a L>, Option<&'a R>) {
        (this, other)
    }

    fn either(this: L) -> LeftOrRightValue<L, R> {
        LeftOrRightValue::Left(this)
    }
}

impl<L: Clone + 'static, R: Clone + 'static> Side<L, R> for RightSide {
    type This = R;
    type Other = L;
    const SIDE: JoinSide = JoinSide::Right;

    /// A right record lies after a left one by as much as the left one lies before it.
    fn span(windows: JoinWindows) -> (i64, i64) {
        (windows.after, windows.before)
    }

    #[inline]
    fn ordered<'a>(this: Option<&'a R>, other: Option<&'a L>) -> (Option<&'a L>, Option<&'a R>) {
        (other, this)
    }

    fn either(this: R) -> LeftOrRightValue<L, R> {
        LeftOrRightValue::Right(this)
    }
}

/// The records that wait, which the nodes of both sides share.
type SharedWaiting<K, L, R> = Rc<RefCell<Waiting<K, L, R>>>;

/// See the module's description. `V` is this side's value as it comes, `O` what the join makes.
pub(super) struct JoinRecords<S: Side<L, R>, K: RecordField, V, L, R, O, J> {
    others: WindowStore<K::NonNull, S::Other>,
    before: i64,
    after: i64,
    /// Whether a record gives an output also if the other side has none.
    stands_alone: bool,
    /// None of an inner join.
    waiting: Option<SharedWaiting<K::NonNull, L, R>>,
    join: Arc<J>,
    /// Reused: what was joined with the current record, and the times of the others.
    joined: Vec<(O, Timestamp)>,
    types: PhantomData<V>,
}

impl<S, K, V, L, R, O, J> JoinRecords<S, K, V, L, R, O, J>
where
    S: Side<L, R>,
    K: RecordField,
    V: RecordField<NonNull = S::This>,
    L: Clone + 'static,
    R: Clone + 'static,
    O: Clone + 'static,
    J: Fn(&K, Option<&L>, Option<&R>) -> Joined<O> + 'static,
{
    pub(super) fn new(
        others: WindowStore<K::NonNull, S::Other>,
        windows: JoinWindows,
        stands_alone: bool,
        waiting: Option<SharedWaiting<K::NonNull, L, R>>,
        join: Arc<J>,
    ) -> Self {
        let (before, after) = S::span(windows);
        JoinRecords {
            others,
            before,
            after,
            stands_alone,
            waiting,
            join,
            joined: Vec::new(),
            types: PhantomData,
        }
    }

    /// Emits what waited for longer than its window is open, because stream time has come to `at`.
    fn emit_closed(
        &self,
        waiting: &SharedWaiting<K::NonNull, L, R>,
        at: Timestamp,
        headers: &Headers,
        context: &mut ProcessorContext<'_, K, O>,
    ) -> Result<(), Failure> {
        let closed = waiting.borrow_mut().closed()?;
        for row_key in closed {
            let Some((key, timestamp, values)) = waiting.borrow_mut().take(&row_key, at)? else {
                continue;
            };
            if waiting.borrow().is_given_up(&row_key) {
                context.task().drop_record();
                continue;
            }
            for value in values {
                let (left, right) = value.as_options();
                let (key, headers) = (K::from_non_null(key.clone()), headers.clone());
                let emitted = (self.join)(&key, left, right).and_then(|value| match value {
                    Some(value) => context.forward(Record { key, value, timestamp, headers }),
                    None => Ok(()),
                });
                if emitted.is_err() {
                    waiting.borrow_mut().give_up(row_key);
                    return emitted;
                }
            }
        }
        Ok(())
    }

    /// Makes what the record makes with each of the others in its window.
    fn join_with_others(&mut self, record: &Record<K, V>) -> Result<(), Failure> {
        let (Some(key), Some(value)) = (record.key.as_non_null(), record.value.as_non_null()) else {
            return Ok(());
        };
        let (from, to) = self.window(record.timestamp);
        let (join, joined, mut outcome) = (&self.join, &mut self.joined, Ok(()));
        joined.clear();
        self.others.visit_range(key, from..=to, Direction::Forward, |start, other| {
            let (left, right) = S::ordered(Some(value), Some(&other.value));
            match join(&record.key, left, right) {
                Ok(output) => {
                    joined.extend(output.map(|output| (output, start)));
                    ControlFlow::Continue(())
                }
                Err(failure) => {
                    outcome = Err(failure);
                    ControlFlow::Break(())
                }
            }
        })?;
        outcome
    }

    /// What becomes of a record for which the other side has none.
    fn leave_alone(
        &self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, K, O>,
    ) -> Result<(), Failure> {
        let Some(waiting) = self.waiting.as_ref().filter(|_| self.stands_alone) else { return Ok(()) };
        let mut waiting = waiting.borrow_mut();
        let (_, window_end) = self.window(record.timestamp);
        if window_end >= waiting.stream_time() {
            let Record { key, value, timestamp, .. } = record;
            let (Some(key), Some(value)) = (key.as_non_null(), value.into_non_null()) else { return Ok(()) };
            return waiting.put(S::SIDE, timestamp, key, S::either(value));
        }
        drop(waiting);
        self.emit_alone(record, context)
    }

    fn emit_alone(
        &self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, K, O>,
    ) -> Result<(), Failure> {
        let (left, right) = S::ordered(record.value.as_non_null(), None);
        match (self.join)(&record.key, left, right)? {
            Some(output) => context.forward(record.with_value(output)),
            None => Ok(()),
        }
    }

    /// The times of the records that one of this time is joined with.
    fn window(&self, time: Timestamp) -> (Timestamp, Timestamp) {
        window(time, self.before, self.after)
    }
}

/// The times from `before` to `after` a time, in milliseconds; there are none before 0.
pub(super) fn window(time: Timestamp, before: i64, after: i64) -> (Timestamp, Timestamp) {
    let time = time.as_millis();
    let (from, to) = (time.saturating_sub(before), time.saturating_add(after));
    (Timestamp::from_millis(from.max(0)), Timestamp::from_millis(to.max(0)))
}

/// Forwards what a record was joined to, each with the later of the two times.
pub(super) fn forward_joined<K: Clone + 'static, V, O: Clone + 'static>(
    record: Record<K, V>,
    joined: &mut Vec<(O, Timestamp)>,
    context: &mut ProcessorContext<'_, K, O>,
) -> Result<(), Failure> {
    let Record { key, timestamp, headers, .. } = record;
    let last = joined.pop();
    for (value, other) in joined.drain(..) {
        let (key, timestamp, headers) = (key.clone(), timestamp.max(other), headers.clone());
        context.forward(Record { key, value, timestamp, headers })?;
    }
    let Some((value, other)) = last else { return Ok(()) };
    context.forward(Record { key, value, timestamp: timestamp.max(other), headers })
}

impl<S, K, V, L, R, O, J> Processor for JoinRecords<S, K, V, L, R, O, J>
where
    S: Side<L, R>,
    K: RecordField,
    V: RecordField<NonNull = S::This>,
    L: Clone + 'static,
    R: Clone + 'static,
    O: Clone + 'static,
    J: Fn(&K, Option<&L>, Option<&R>) -> Joined<O> + 'static,
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
        let moves_time =
            self.waiting.as_ref().is_some_and(|waiting| waiting.borrow_mut().observe(record.timestamp));
        match (record.key.as_non_null(), record.value.as_non_null()) {
            (Some(_), Some(_)) => {}
            (None, Some(_)) if self.stands_alone => return self.emit_alone(record, context),
            _ => {
                context.task().drop_record();
                return Ok(());
            }
        }
        if let Some(waiting) = self.waiting.as_ref().filter(|_| moves_time) {
            self.emit_closed(waiting, record.timestamp, &record.headers, context)?;
        }
        self.join_with_others(&record)?;
        if self.joined.is_empty() {
            return self.leave_alone(record, context);
        }
        if let Some((waiting, key)) = self.waiting.as_ref().zip(record.key.as_non_null()) {
            let mut waiting = waiting.borrow_mut();
            for (_, other) in &self.joined {
                waiting.remove(S::SIDE.other(), *other, key)?;
            }
        }
        forward_joined(record, &mut self.joined, context)
    }

    fn advance_stream_time(
        &mut self,
        time: Timestamp,
        context: &mut ProcessorContext<'_, K, O>,
    ) -> Result<(), Failure> {
        match &self.waiting {
            Some(waiting) if waiting.borrow_mut().observe(time) => {
                self.emit_closed(waiting, time, &Headers::default(), context)
            }
            _ => Ok(()),
        }
    }

    /// Not where records wait for a partner: they are emitted without one when they are old.
    fn passes_stream_time(&self) -> bool {
        self.waiting.is_none()
    }
}
