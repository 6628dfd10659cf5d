//! What `count`, `reduce` and `aggregate` of sessions have in common: one row per key and session; a record may make one session of
//! several.

use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::sync::Arc;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
use millstream_processor::{
    Change, Direction, HasSerde, RecordField, SessionKind, SessionStore, SessionWindowedSerde, Timestamp,
    Window, Windowed,
};

use super::late_records::LateRecords;
use super::stream_aggregation::Aggregation;
use super::window_table::{WindowTable, WindowTimes};
use super::windowed_aggregation::{WindowedAggregation, WindowedKeys};
use crate::durations::millis;
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
        let (windows, change, merge) = (self.windows, Arc::new(change), Arc::new(merge));
        let store = store.with_inherited_key_serde(self.grouped.key_serde());
        let drops_null_values = aggregation == Aggregation::Reduce;
        let declared = windows.aggregated_in(store, self.options.emit);
        self.grouped.declare_windowed_aggregation(aggregation, &self.options, declared, move |table, late| {
            SessionAggregation::<K, V, A, F, M>::new(table, windows, drops_null_values, late, &change, &merge)
        })
    }
}

impl SessionWindows {
    /// A table of what is aggregated in sessions, kept in this store: a record that is just not too late may continue a session that ended
    /// a gap before it.
    #[track_caller]
    pub(super) fn aggregated_in<K: HasSerde, A: HasSerde>(
        self,
        store: Materialized<K, A, SessionKind>,
        emit: EmitStrategy,
    ) -> WindowedAggregation<K> {
        let gap = self.inactivity_gap();
        let least = gap.saturating_add(self.grace());
        let needed = least.saturating_add(gap).saturating_add(millis(1));
        let serde = Arc::new(SessionWindowedSerde::new(store.key_serde()));
        // A session is closed when stream time is further from its end than another record may be.
        let delay = to_millis(least).saturating_add(1);
        WindowedAggregation {
            store: store.into_session_plan(WindowsToStore::new(gap, least, emit).needing(needed)),
            times: WindowTimes { emit, delay, to_end: 0 },
            keys: WindowedKeys { serde, grace: least },
        }
    }
}

pub(super) struct SessionAggregation<K: RecordField, V, A, F, M> {
    table: WindowTable<SessionStore<K::NonNull, A>>,
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

impl<K: RecordField, V, A, F, M> SessionAggregation<K, V, A, F, M> {
    pub(super) fn new(
        table: WindowTable<SessionStore<K::NonNull, A>>,
        windows: SessionWindows,
        drops_null_values: bool,
        late: LateRecords<K, V>,
        change: &Arc<F>,
        merge: &Arc<M>,
    ) -> Self {
        SessionAggregation {
            table,
            gap: to_millis(windows.inactivity_gap()),
            drops_null_values,
            found: Vec::new(),
            late,
            change: Arc::clone(change),
            merge: Arc::clone(merge),
            types: PhantomData,
        }
    }
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
        let (time, closing) = (timestamp.as_millis(), self.table.closing_at(timestamp));
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
            self.table.set_closing(closing);
            return Ok(());
        }
        let (merge, change) = (&self.merge, &self.change);
        let mut so_far = None;
        for session in self.found.iter().filter(|_| merged != alone) {
            self.table.aggregate(&key, *session, timestamp, &headers, context, |value| {
                if let Some(value) = value {
                    so_far = Some(merge(&key, so_far.take(), value)?);
                }
                Ok(None)
            })?;
        }
        self.table.aggregate(&key, merged, timestamp, &headers, context, |current| {
            let so_far = match current {
                Some(current) => Some(merge(&key, so_far, current)?),
                None => so_far,
            };
            change(&key, value, so_far)
        })?;
        self.table.set_closing(closing);
        Ok(())
    }

    fn advance_stream_time(
        &mut self,
        time: Timestamp,
        _context: &mut ProcessorContext<'_, Windowed<K::NonNull>, Change<A>>,
    ) -> Result<(), Failure> {
        self.table.tell_the_time(time);
        Ok(())
    }

    fn passes_stream_time(&self) -> bool {
        self.table.emits_updates()
    }

    fn prepare_commit(
        &mut self,
        context: &mut ProcessorContext<'_, Windowed<K::NonNull>, Change<A>>,
    ) -> Result<(), Failure> {
        self.table.emit(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::operators::test_support::{at, driver, pipe_at, text, written, written_at};
    use crate::{
        HasSerde, RecordField, SessionStoreName, SessionWindowedSerde, SessionWindows, StoreOptions, Window,
        millis,
    };

    const VISITS: SessionStoreName<String, u64> = SessionStoreName::new("visits");

    fn visits(grace: u64) -> SessionWindows {
        SessionWindows::of_inactivity_gap_and_grace(millis(5), millis(grace))
    }

    #[test]
    fn sessions_that_become_one_are_deleted_before_it_comes() {
        let driver = driver(|builder| {
            let clicks = builder.stream::<String, String>("clicks").group_by_key();
            clicks.windowed_by(visits(0)).count(VISITS.without_caching()).to_stream().to("visits");
        });
        let clicks = driver.input_topic::<String, String>("clicks");
        let sessions = Arc::new(SessionWindowedSerde::new(String::serde()));
        let visits = driver.output_topic_with_serdes("visits", sessions, <Option<u64>>::field_serde());
        for time in [1, 3, 12] {
            pipe_at(&clicks, "ann", "/", time);
        }
        visits.read_records_to_list().expect("outputs decode");
        pipe_at(&clicks, "ann", "/", 7);
        let read = visits.read_key_values_to_list().expect("outputs decode").into_iter();
        let read: Vec<_> = read.map(|(key, count)| (key.window.to_string(), count)).collect();
        assert_eq!(read, [(text("1/3"), None), (text("12/12"), None), (text("1/12"), Some(4))]);
    }

    #[test]
    fn an_old_record_is_rescued_by_a_session_that_is_open() {
        let driver = driver(|builder| {
            let clicks = builder.stream::<String, String>("clicks").group_by_key();
            clicks.windowed_by(visits(0)).late_records_to("late").count(VISITS);
        });
        let clicks = driver.input_topic::<String, String>("clicks");
        // At 15 records before 10 are late.
        for (who, time) in [("ann", 12), ("bob", 15), ("ann", 8), ("bob", 9), ("bob", 10)] {
            pipe_at(&clicks, who, "/", time);
        }
        let late = written_at(&driver.output_topic::<String, String>("late"));
        assert_eq!(late, [(text("bob"), text("/"), 9)]);
        let visits = driver.session_store(VISITS).expect("it is there");
        for (who, start, end) in [("ann", 8, 12), ("bob", 10, 15)] {
            let row = visits.fetch_session(&text(who), Window::new(at(start), at(end))).expect("it is read");
            assert_eq!(row.map(|row| row.value), Some(2), "{who}");
        }
    }

    #[test]
    fn a_session_that_is_changed_in_place_has_its_old_value() {
        let driver = driver(|builder| {
            let clicks = builder.stream::<String, String>("clicks").group_by_key();
            let counts = clicks.windowed_by(visits(100)).count(VISITS.without_caching());
            let per_visitor = counts.group_by(|windowed, count| (windowed.key.clone(), count));
            let clicks = per_visitor.aggregate((), || 0, |_, new, sum| sum + new, |_, old, sum| sum - old);
            clicks.to_stream().to("clicks-of-visitors");
        });
        let clicks = driver.input_topic::<String, String>("clicks");
        for time in [1, 1, 3, 50, 50] {
            pipe_at(&clicks, "ann", "/", time);
        }
        let sums = written(&driver.output_topic::<String, Option<u64>>("clicks-of-visitors"));
        assert_eq!(sums.last(), Some(&(text("ann"), Some(5))), "{sums:?}");
    }
}
