//! Records that wait in a store until their time has come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_processor::api::{Failure, Header, Headers, ProcessorContext, Record, TaskContext, Wiring};
use millstream_processor::{
    Buffered, BufferedContext, BufferedSerde, HasSerde, KeyValueStore, KeyValueStoreBuilder, Offset,
    RecordLocation, Result, SerdeRef, StoreBuilder, StoreError, Timestamp, ValueAndTimestamp,
};

use crate::options::{BufferLimits, StorePlan};

/// The store of a buffer, as the planner knows it. Records of its changelog have the header if there is one.
pub(super) fn buffer_store<K: HasSerde, V: HasSerde>(
    key_serde: SerdeRef<K>,
    limits: &BufferLimits,
    header: Option<(&'static str, &'static [u8])>,
) -> StorePlan {
    let BufferLimits { is_unlogged, changelog_config, .. } = limits.clone();
    StorePlan {
        name: None,
        is_given: false,
        history_retention: None,
        has_ttl: false,
        build: Box::new(move |name, _logged_to| -> Arc<dyn StoreBuilder> {
            let values = Arc::new(BufferedSerde::new(V::default_serde()));
            let builder = KeyValueStoreBuilder::<K, Buffered<V>>::new(name, key_serde.clone(), values)
                .with_logging(!is_unlogged);
            let builder = match header {
                Some((header, value)) => builder.with_changelog_header(header, value),
                None => builder,
            };
            let config = changelog_config.iter();
            Arc::new(
                config.fold(builder, |builder, (name, value)| builder.with_changelog_config(name, value)),
            )
        }),
    }
}

/// Records by their keys, in the order of their times and, at the same time, of the bytes of their keys. They are kept in a store; the order is
/// kept in memory, and made of the store anew when records were taken back.
pub(super) struct RecordBuffer<K, V> {
    store: KeyValueStore<K, Buffered<V>>,
    key_serde: SerdeRef<K>,
    waiting: BTreeMap<(Timestamp, Vec<u8>), K>,
    time_of: TimeOf<K, V>,
    /// The state of the store that `waiting` was made of; `None` if it is to be made anew.
    reverts: Option<u64>,
    /// The places of what failed on its way downstream.
    given_up: BTreeSet<(Timestamp, Vec<u8>)>,
    /// Set if the bytes of what waits are counted.
    size: Option<Size<V>>,
}

/// The time by which a record waits.
type TimeOf<K, V> = fn(&K, &Buffered<V>) -> Timestamp;

/// How many bytes wait.
struct Size<V> {
    value_serde: SerdeRef<Buffered<V>>,
    bytes: usize,
    /// Reused for encoded values.
    scratch: Vec<u8>,
}

impl<K: HasSerde, V: HasSerde> RecordBuffer<K, V> {
    pub(super) fn open(
        wiring: &Wiring<'_>,
        store: &str,
        key_serde: SerdeRef<K>,
        time_of: TimeOf<K, V>,
        counts_bytes: bool,
    ) -> Result<Self> {
        let size = || Size {
            value_serde: Arc::new(BufferedSerde::new(V::default_serde())),
            bytes: 0,
            scratch: Vec::new(),
        };
        Ok(RecordBuffer {
            store: wiring.key_value_store(store)?,
            key_serde,
            waiting: BTreeMap::new(),
            time_of,
            reverts: None,
            given_up: BTreeSet::new(),
            size: counts_bytes.then(size),
        })
    }

    /// To be called first for each record: what waits is what the store has. Returns whether it was made of the store anew.
    pub(super) fn begin_record(&mut self) -> Result<bool, Failure> {
        let reverts = self.store.reverts();
        if self.reverts == Some(reverts) {
            // Those that were dropped are gone for good.
            self.given_up.clear();
            return Ok(false);
        }
        self.waiting.clear();
        if let Some(size) = &mut self.size {
            size.bytes = 0;
        }
        for row in self.store.all()? {
            let (key, row) = row?;
            let encoded = self.encode(&key)?;
            if let Some(size) = &mut self.size {
                size.bytes += size.of(&encoded, &row.value)?;
            }
            self.waiting.insert(((self.time_of)(&key, &row.value), encoded), key);
        }
        self.reverts = Some(reverts);
        Ok(true)
    }

    /// The keys of what waits.
    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.waiting.values()
    }

    /// Lets a record wait, in the place of the one with its key, which keeps its time. `f` makes it of that one.
    pub(super) fn put(
        &mut self,
        key: K,
        f: impl FnOnce(Option<Buffered<V>>) -> Buffered<V>,
    ) -> Result<(), Failure> {
        let encoded = self.encode(&key)?;
        let (mut new_at, mut grown) = (None, 0_isize);
        let (size, time_of) = (&mut self.size, self.time_of);
        // The timestamp of a row matters to nobody, and the one that counts is known only inside.
        let at = Timestamp::from_millis(0);
        self.store.update(&key, at, false, |row| {
            let before = row.map(|row| row.value);
            let is_new = before.is_none();
            if let (Some(size), Some(before)) = (size.as_mut(), &before) {
                grown -= size.of(&encoded, before)? as isize;
            }
            let value = f(before);
            if let Some(size) = size.as_mut() {
                grown += size.of(&encoded, &value)? as isize;
            }
            new_at = is_new.then(|| time_of(&key, &value));
            let timestamp = value.context.timestamp;
            Ok::<_, Failure>(Some(ValueAndTimestamp { value, timestamp }))
        })?;
        match new_at {
            Some(time) => drop(self.waiting.insert((time, encoded), key)),
            // What failed is replaced, and has its turn again.
            None => self.given_up.retain(|(_, given_up)| *given_up != encoded),
        }
        if let Some(size) = &mut self.size {
            size.bytes = size.bytes.saturating_add_signed(grown);
        }
        Ok(())
    }

    /// The time of the record that is next.
    pub(super) fn first_time(&self) -> Option<Timestamp> {
        self.waiting.first_key_value().map(|((time, _), _)| *time)
    }

    /// Gives the record that is next to `forward`, and then removes it: until it has gone, lookups find that it waits, as in Kafka Streams.
    ///
    /// If `forward` fails, what let it go is taken back, and it waits again; when its turn comes the next time it is dropped and counted, or
    /// nothing would ever come past it.
    pub(super) fn release<KOut: Clone + 'static, VOut: Clone + 'static>(
        &mut self,
        context: &mut ProcessorContext<'_, KOut, VOut>,
        forward: impl FnOnce(K, Buffered<V>, &mut ProcessorContext<'_, KOut, VOut>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Some((place, key)) = self.waiting.pop_first() else { return Ok(()) };
        let Some(ValueAndTimestamp { value, .. }) = self.store.get(&key)? else { return Ok(()) };
        if let Some(size) = &mut self.size {
            size.bytes = size.bytes.saturating_sub(size.of(&place.1, &value)?);
        }
        if self.given_up.contains(&place) {
            context.task().drop_record();
        } else if let Err(failure) = forward(key.clone(), value, context) {
            self.given_up.insert(place);
            self.reverts = None;
            return Err(failure);
        }
        // The timestamp of a row matters to nobody.
        self.store.update(&key, Timestamp::from_millis(0), false, |_| Ok::<_, Failure>(None))?;
        Ok(())
    }

    /// How many records wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes of the records that wait, as Kafka Streams counts them; zero if they are not counted.
    pub(super) fn bytes(&self) -> usize {
        self.size.as_ref().map_or(0, |size| size.bytes)
    }

    /// Why no more may wait.
    pub(super) fn full(&self) -> StoreError {
        StoreError::BufferFull {
            store: self.store.name().to_owned(),
            records: self.len(),
            bytes: self.bytes(),
        }
    }

    fn encode(&self, key: &K) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        self.key_serde.encode(key, &mut bytes)?;
        Ok(bytes)
    }
}

impl<V> Size<V> {
    fn of(&mut self, key: &[u8], value: &Buffered<V>) -> Result<usize, Failure> {
        self.scratch.clear();
        self.value_serde.encode(value, &mut self.scratch)?;
        let lengths = OTHER_LENGTHS + LENGTHS_OF_A_HEADER * value.context.headers.len();
        Ok(key.len() + self.scratch.len().saturating_sub(lengths * LENGTH))
    }
}

/// Kafka Streams counts what waits without the lengths that are stored before bytes: a limit means the same here and there.
const LENGTH: usize = size_of::<i32>();
/// Name and value.
const LENGTHS_OF_A_HEADER: usize = 2;
/// Of the topic, the headers, and three values.
const OTHER_LENGTHS: usize = 5;

/// What a record has besides key and value, to wait with it.
pub(super) fn context_of(timestamp: Timestamp, headers: &Headers, task: &TaskContext) -> BufferedContext {
    let headers = headers.iter().map(|Header { name, value }| (name.clone(), value.clone())).collect();
    match task.location() {
        Some(RecordLocation { topic, partition, offset }) => BufferedContext {
            timestamp,
            topic: topic.to_string(),
            partition: *partition,
            offset: *offset,
            headers,
        },
        None => BufferedContext {
            timestamp,
            topic: String::new(),
            partition: -1,
            offset: Offset::new(-1),
            headers,
        },
    }
}

/// The record as it came, and where it came from.
pub(super) fn released<K, V>(
    key: K,
    value: V,
    context: BufferedContext,
) -> (Record<K, V>, Option<RecordLocation>) {
    let BufferedContext { timestamp, topic, partition, offset, headers } = context;
    let headers = headers.into_iter().map(|(name, value)| Header { name, value }).collect();
    let location = (!topic.is_empty()).then(|| RecordLocation { topic: topic.into(), partition, offset });
    (Record { key, value, timestamp, headers }, location)
}
