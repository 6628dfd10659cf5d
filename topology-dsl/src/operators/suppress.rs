//! `suppress` of a table: its changes are held back, and of each row only the newest goes on.

use std::rc::Rc;
use std::sync::Arc;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record, Wiring};
use millstream_processor::{
    BUFFERED_HEADER, Buffered, Change, Error, HasSerde, KeyValueStore, Result, Timestamp, ValueAndTimestamp,
};

use super::record_buffer::{RecordBuffer, buffer_store, context_of, released};
use super::rows::{NO_TIME, RowLookup, RowRef, Rows};
use crate::logical::{Operation, OperationId, OperationKind};
use crate::options::{BufferLimits, Suppressed, Until, Wait};
use crate::table::KTable;
use crate::windows::to_millis;

impl<K: HasSerde, V: HasSerde> KTable<K, V> {
    /// Holds the changes of this table back, so that of several changes of a row within a span of time one goes on, with the row's newest
    /// value and the event time and headers of the newest change. A row waits from its first change on; later ones do not make it wait
    /// longer. What waits is kept in a store, and survives a restart.
    ///
    /// A table without rows that wait looks as the one above it; a row that waits is looked up as it was before, until
    /// its change has gone through all that is below.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let stock = builder.table::<String, i64>("stock");
    /// let once_a_minute = Suppressed::until_time_limit(minutes(1), BufferConfig::unbounded());
    /// stock.suppress(once_a_minute).to_stream().to("stock-levels");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let (stock, at) = (driver.input_topic::<String, i64>("stock"), Timestamp::from_millis);
    /// stock.pipe_input_at("apples", 3, at(0))?;
    /// stock.pipe_input_at("apples", 2, at(30_000))?;
    /// stock.pipe_input_at("pears", 5, at(60_000))?;
    /// let levels = driver.output_topic::<String, i64>("stock-levels");
    /// assert_eq!(levels.read_key_values_to_list()?, [("apples".into(), 2)]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn suppress(&self, suppressed: Suppressed<K>) -> KTable<K, V> {
        let Suppressed { until: Until { time, wait }, limits } = suppressed;
        let (window_grace, key_serde) = {
            let graph = self.graph.borrow();
            (graph.window_grace(self.id), graph.key_serde(self.id).unwrap_or_else(K::default_serde))
        };
        let mut store = buffer_store::<K, V>(key_serde.clone(), &limits, Some(BUFFERED_HEADER));
        store.is_given = true;
        KTable::declare(
            &self.graph,
            Operation {
                kind: OperationKind::Suppress,
                parents: vec![self.id],
                name: None,
                store: Some(store),
                write: Box::new(move |place| {
                    let (store, sends_old_values) = (place.required_store()?, place.sends_old_values);
                    let (wait, is_final) = match (wait, window_grace) {
                        (Wait::For(limit), _) => (limit, false),
                        (Wait::UntilWindowCloses, Some(grace)) => (grace, true),
                        (Wait::UntilWindowCloses, None) => {
                            return Err(Error::invalid(format!(
                                "node {} holds results back until windows close, but not all tables above it are made by a \
                                 windowed aggregation: there is no grace to go by; use `until_time_limit`",
                                place.name
                            )));
                        }
                    };
                    let (wait, limits, key_serde) = (to_millis(wait), limits.clone(), key_serde.clone());
                    place.add_processor(move |wiring| {
                        let counts_bytes = limits.bytes.is_some();
                        let (key_serde, time_of) = (key_serde.clone(), |_: &K, row: &Buffered<V>| row.time);
                        let buffer = RecordBuffer::open(wiring, &store, key_serde, time_of, counts_bytes)?;
                        Ok(Suppress {
                            buffer,
                            time,
                            wait,
                            is_final,
                            sends_old_values,
                            limits: limits.clone(),
                            stream_time: None,
                            has_changes_of_commit: false,
                        })
                    })
                }),
            },
            |id| suppressed_rows(id, Rc::clone(&self.rows)),
        )
    }
}

struct Suppress<K, V> {
    buffer: RecordBuffer<K, V>,
    /// The time by which a change waits.
    time: fn(&K, Timestamp) -> Timestamp,
    /// By how many milliseconds stream time must have passed it.
    wait: i64,
    /// Whether a deletion tells nothing: of a window that is closed nobody has heard before.
    is_final: bool,
    sends_old_values: bool,
    limits: BufferLimits,
    /// The latest event time since the task was built.
    stream_time: Option<Timestamp>,
    /// Whether something came that a caching store above emits at a commit. That is not in the order of time, so all of it comes before anything
    /// is let go by it.
    has_changes_of_commit: bool,
}

impl<K: HasSerde, V: HasSerde> Suppress<K, V> {
    fn is_too_full(&self) -> bool {
        self.limits.records.is_some_and(|most| self.buffer.len() > most)
            || self.limits.bytes.is_some_and(|most| self.buffer.bytes() > most)
    }

    /// Emits what stream time has passed, and what there is no room for.
    fn let_go(&mut self, context: &mut ProcessorContext<'_, K, Change<V>>) -> Result<(), Failure> {
        let passed = |time: Timestamp| Timestamp::from_millis(time.as_millis().saturating_sub(self.wait));
        let horizon = self.stream_time.map(passed);
        while self.buffer.first_time().is_some_and(|time| Some(time) <= horizon) {
            self.emit_next(context)?;
        }
        while self.is_too_full() {
            if self.limits.shuts_down {
                return Err(self.buffer.full().into());
            }
            self.emit_next(context)?;
        }
        Ok(())
    }

    fn emit_next(&mut self, context: &mut ProcessorContext<'_, K, Change<V>>) -> Result<(), Failure> {
        let Suppress { buffer, is_final, sends_old_values, .. } = self;
        buffer.release(context, |key, Buffered { prior, new, context: came_with, .. }, context| {
            if new.is_none() && *is_final {
                return Ok(());
            }
            let change = Change { old: prior.filter(|_| *sends_old_values), new };
            let (record, location) = released(key, change, came_with);
            context.forward_held(record, location)
        })
    }
}

impl<K: HasSerde, V: HasSerde> Processor for Suppress<K, V> {
    type KeyIn = K;
    type ValueIn = Change<V>;
    type KeyOut = K;
    type ValueOut = Change<V>;

    fn process(
        &mut self,
        record: Record<K, Change<V>>,
        context: &mut ProcessorContext<'_, K, Change<V>>,
    ) -> Result<(), Failure> {
        self.buffer.begin_record()?;
        let Record { key, value: Change { old, new }, timestamp, headers } = record;
        self.stream_time = self.stream_time.max(Some(timestamp));
        let time = (self.time)(&key, timestamp);
        let came_with = context_of(timestamp, &headers, context.task());
        self.buffer.put(key, |waiting| {
            let (prior, time) = match waiting {
                Some(waiting) => (waiting.prior, waiting.time),
                None => (old.clone(), time),
            };
            Buffered { prior, old, new, time, context: came_with }
        })?;
        if context.task().location().is_none() {
            self.has_changes_of_commit = true;
            return Ok(());
        }
        self.let_go(context)
    }

    fn prepare_commit(&mut self, context: &mut ProcessorContext<'_, K, Change<V>>) -> Result<(), Failure> {
        if !std::mem::take(&mut self.has_changes_of_commit) {
            return Ok(());
        }
        self.buffer.begin_record()?;
        self.let_go(context)
    }

    fn advance_stream_time(
        &mut self,
        time: Timestamp,
        context: &mut ProcessorContext<'_, K, Change<V>>,
    ) -> Result<(), Failure> {
        self.buffer.begin_record()?;
        self.stream_time = self.stream_time.max(Some(time));
        self.let_go(context)
    }

    fn passes_stream_time(&self) -> bool {
        false
    }
}

/// Rows of a table that is held back: as they were before they began to wait, or as they are above.
fn suppressed_rows<K: HasSerde, V: HasSerde>(table: OperationId, parent: RowLookup<K, V>) -> RowLookup<K, V> {
    Rc::new(move |plan| {
        let store = plan.operation(table).store.clone();
        let store = store.ok_or_else(|| Error::fatal("a table was to be held back without a store"))?;
        let open_parent = parent(plan)?;
        Ok(Arc::new(move |wiring: &Wiring<'_>| {
            let waiting = wiring.key_value_store(&store)?;
            Ok(Box::new(SuppressedRows { waiting, parent: open_parent(wiring)? }))
        }))
    })
}

struct SuppressedRows<K, V> {
    waiting: KeyValueStore<K, Buffered<V>>,
    parent: Box<dyn Rows<K, V>>,
}

impl<K: HasSerde, V: HasSerde> Rows<K, V> for SuppressedRows<K, V> {
    fn read_as_of(
        &self,
        key: &K,
        as_of: Option<Timestamp>,
        use_row: &mut dyn FnMut(Option<RowRef<'_, V>>),
    ) -> Result<(), Failure> {
        let is_waiting = self.waiting.read(key, |row| {
            let prior = row.map(|row| &row.value.prior);
            // The time of that value is not kept, as in Kafka Streams.
            if let Some(prior) = prior {
                use_row(prior.as_ref().map(|value| ValueAndTimestamp::new(value, NO_TIME)));
            }
            prior.is_some()
        })?;
        if is_waiting { Ok(()) } else { self.parent.read_as_of(key, as_of, use_row) }
    }
}

#[cfg(test)]
mod tests;
