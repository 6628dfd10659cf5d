//! What `count`, `reduce` and `aggregate` of sessions have in common: one row per key and session; a record may make one session of
//! several.

use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use millstream_processor::api::{Failure, Headers, Processor, ProcessorContext, Record, Wiring};
use millstream_processor::{
    Change, Direction, HasSerde, RecordField, Result, SerdeRef, SessionKind, SessionStore,
    SessionWindowedSerde, Timestamp, ValueAndTimestamp, Window, Windowed,
};

use super::late_records::LateRecords;
use super::rows::session_rows;
use super::stream_aggregation::Aggregation;
use super::window_table::Closing;
use crate::durations::millis;
use crate::logical::{Operation, OperationKind, TypedTopic};
use crate::options::{Materialized, WindowsToStore};
use crate::table::KTable;
use crate::windowed::SessionWindowedKStream;
use crate::windows::{EmitStrategy, SessionWindows, to_millis};

impl<K: RecordField, V: RecordField> SessionWindowedKStream<K, V> {
    /// Declares an aggregation. `change` makes a session's new value of the record and the value it has, `merge` one value of those of two
    /// sessions, the first of which may not have begun; none deletes the session.
    #[track_caller]
    pub(super) fn declare_aggregation<A, F, M>(
        &self,
        aggregation: Aggregation,
        store: Materialized<K::NonNull, A, SessionKind>,
        change: F,
        merge: M,
    ) -> KTable<Windowed<K::NonNull>, A>
    where
        A: HasSerde,
        F: Fn(&K::NonNull, V, Option<A>) -> Result<Option<A>, Failure> + Send + Sync + 'static,
        M: Fn(&K::NonNull, Option<A>, A) -> Result<A, Failure> + Send + Sync + 'static,
    {
        let (windows, emit) = (self.windows, self.options.emit);
        let (change, merge) = (Arc::new(change), Arc::new(merge));
        let late = LateRecords::to(self.options.late.as_deref());
        let store = store.with_inherited_key_serde(self.grouped.key_serde());
        let key_serde: SerdeRef<_> = Arc::new(SessionWindowedSerde::new(store.key_serde()));
        let drops_null_values = aggregation == Aggregation::Reduce;
        let table = KTable::declare(
            &self.grouped.graph,
            Operation {
                kind: OperationKind::StreamAggregate {
                    prefix: aggregation.prefix(),
                    is_count: aggregation == Aggregation::Count,
                    grouping: self.grouped.grouping,
                    topic: TypedTopic::<K, V>::of_types(),
                },
                parents: vec![self.grouped.stream],
                name: None,
                store: Some(store.into_session_plan(windows.to_store(emit))),
                write: Box::new(move |place| {
                    let (store, sends_old_values) = (place.required_store()?, place.sends_old_values);
                    let (change, merge, late) = (Arc::clone(&change), Arc::clone(&merge), late.clone());
                    place.add_processor(move |wiring| {
                        Ok(SessionAggregation::<K, V, A, F, M> {
                            table: SessionTable::open(wiring, &store, sends_old_values, windows, emit)?,
                            gap: to_millis(windows.inactivity_gap()),
                            drops_null_values,
                            found: Vec::new(),
                            late: late.clone(),
                            change: Arc::clone(&change),
                            merge: Arc::clone(&merge),
                            types: PhantomData,
                        })
                    })
                }),
            },
            session_rows,
        );
        let graph = Rc::clone(&self.grouped.graph);
        graph.borrow_mut().set_key_serde(table.id, key_serde);
        graph.borrow_mut().set_window_grace(table.id, self.windows.grace() + self.windows.inactivity_gap());
        table
    }
}

impl SessionWindows {
    /// What the store must be able to do: a record that is just not too late may continue a session that ended a gap before it.
    fn to_store(self, emit: EmitStrategy) -> WindowsToStore {
        let gap = self.inactivity_gap();
        let least = gap.saturating_add(self.grace());
        WindowsToStore::new(gap, least, emit).needing(least.saturating_add(gap).saturating_add(millis(1)))
    }
}

/// The store of a table of sessions together with the rule when its changes go downstream.
struct SessionTable<K, V> {
    store: SessionStore<K, V>,
    closing: Closing,
    sends_old_values: bool,
}

impl<K: Clone + 'static, V: Clone + 'static> SessionTable<K, V> {
    fn open(
        wiring: &Wiring<'_>,
        name: &str,
        sends_old_values: bool,
        windows: SessionWindows,
        emit: EmitStrategy,
    ) -> Result<Self> {
        let store: SessionStore<K, V> = wiring.session_store(name)?;
        let emitted_to = match emit {
            EmitStrategy::OnWindowClose => store.emitted_to()?,
            EmitStrategy::OnWindowUpdate => None,
        };
        // A session is closed when stream time is further from its end than another record may be.
        let (gap, grace) = (to_millis(windows.inactivity_gap()), to_millis(windows.grace()));
        let delay = gap.saturating_add(grace).saturating_add(1);
        Ok(SessionTable { store, closing: Closing::new(emit, delay, emitted_to), sends_old_values })
    }

    /// Gives a session a new value made from the one it has; `at` is the event time of the record that does it.
    fn update(
        &self,
        key: &K,
        session: Window,
        at: Timestamp,
        headers: &Headers,
        context: &mut ProcessorContext<'_, Windowed<K>, Change<V>>,
        change: impl FnOnce(Option<V>) -> Result<Option<V>, Failure>,
    ) -> Result<(), Failure> {
        let changed = self.store.update(key, session, at, self.sends_old_values, |row| {
            let value = change(row.map(|row| row.value))?;
            Ok::<_, Failure>(value.map(|value| ValueAndTimestamp { value, timestamp: at }))
        })?;
        match changed {
            Some((change, _)) if self.closing.emits_updates() => {
                let (key, headers) = (Windowed::new(key.clone(), session), headers.clone());
                context.forward(Record { key, value: change, timestamp: session.end, headers })
            }
            _ => Ok(()),
        }
    }

    /// Forwards what was held back until the commit: changes of a caching store, or sessions that were closed since the last one.
    fn emit(&mut self, context: &mut ProcessorContext<'_, Windowed<K>, Change<V>>) -> Result<(), Failure> {
        if self.closing.emits_updates() {
            if self.store.is_cached() {
                for emission in self.store.emissions()? {
                    let Change { old, new } = emission.change;
                    let change = Change { old: old.filter(|_| self.sends_old_values), new };
                    let end = emission.key.window.end;
                    context.forward(Record::new(emission.key, change, end))?;
                }
            }
            return Ok(());
        }
        let Some((before, now)) = self.closing.newly_closed() else { return Ok(()) };
        if now.as_millis() < 0 {
            return Ok(());
        }
        let mut emits = false;
        for row in self.store.by_time(Timestamp::from_millis(before.as_millis().saturating_add(1)), now)? {
            let (key, row) = row?;
            let end = key.window.end;
            context.forward(Record::new(key, Change { old: None, new: Some(row.value) }, end))?;
            emits = true;
        }
        if emits {
            self.store.set_emitted_to(now);
        }
        Ok(())
    }
}

struct SessionAggregation<K: RecordField, V, A, F, M> {
    table: SessionTable<K::NonNull, A>,
    /// Milliseconds that may lie between two records of a session.
    gap: i64,
    drops_null_values: bool,
    /// Reused for the sessions that a record finds.
    found: Vec<Window>,
    late: LateRecords<K, V>,
    change: Arc<F>,
    merge: Arc<M>,
    types: PhantomData<V>,
}

impl<K, V, A, F, M> Processor for SessionAggregation<K, V, A, F, M>
where
    K: RecordField,
    V: RecordField,
    A: HasSerde,
    F: Fn(&K::NonNull, V, Option<A>) -> Result<Option<A>, Failure> + 'static,
    M: Fn(&K::NonNull, Option<A>, A) -> Result<A, Failure> + 'static,
{
    type KeyIn = K;
    type ValueIn = V;
    type KeyOut = Windowed<K::NonNull>;
    type ValueOut = Change<A>;

    fn process(
        &mut self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, Windowed<K::NonNull>, Change<A>>,
    ) -> Result<(), Failure> {
        let Record { key, value, timestamp, headers } = record;
        let Some(key) =
            key.into_non_null().filter(|_| !self.drops_null_values || value.as_non_null().is_some())
        else {
            context.task().drop_record();
            return Ok(());
        };
        let (time, closing) = (timestamp.as_millis(), self.table.closing.at(timestamp));
        let alone = Window::new(timestamp, timestamp);
        let (found, mut merged) = (&mut self.found, alone);
        found.clear();
        let (earliest_end, latest_start) = (
            Timestamp::from_millis(time.saturating_sub(self.gap)),
            Timestamp::from_millis(time.saturating_add(self.gap)),
        );
        self.table.store.visit_sessions(
            &key,
            earliest_end,
            latest_start,
            Direction::Forward,
            |session, _| {
                merged = Window::new(merged.start.min(session.start), merged.end.max(session.end));
                found.push(session);
                ControlFlow::Continue(())
            },
        )?;
        // An old record is not too late if it continues a session that is still open.
        if !closing.is_open(merged.end) || !self.table.store.is_kept(merged.end) {
            context.task().drop_record();
            let key = K::from_non_null(key);
            self.late.send(context.task(), || Record { key, value, timestamp, headers })?;
            self.table.closing = closing;
            return Ok(());
        }
        let (merge, change) = (&self.merge, &self.change);
        let mut so_far = None;
        for session in self.found.iter().filter(|_| merged != alone) {
            self.table.update(&key, *session, timestamp, &headers, context, |value| {
                if let Some(value) = value {
                    so_far = Some(merge(&key, so_far.take(), value)?);
                }
                Ok(None)
            })?;
        }
        self.table.update(&key, merged, timestamp, &headers, context, |current| {
            let so_far = match current {
                Some(current) => Some(merge(&key, so_far, current)?),
                None => so_far,
            };
            change(&key, value, so_far)
        })?;
        self.table.closing = closing;
        Ok(())
    }

    fn prepare_commit(
        &mut self,
        context: &mut ProcessorContext<'_, Windowed<K::NonNull>, Change<A>>,
    ) -> Result<(), Failure> {
        self.table.emit(context)
    }
}
