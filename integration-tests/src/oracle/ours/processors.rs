//! The processors that cases name; they do what those in `integration-tests/oracle/Processors.java` do.

use std::marker::PhantomData;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use millstream::api::{
    Child, Failure, FixedKeyProcessor, FixedKeyProcessorContext, FixedKeyRecord, Processor, ProcessorContext,
    Punctuation, PunctuationType, Record, Wiring,
};
use millstream::{KeyValueStore, RecordField, StoreName, StreamsBuilder, Timestamp, ValueAndTimestamp};

use super::super::case::Store;
use super::super::functions::{Readable, is_long};
use super::stores::interned;
use super::streams::text;

/// Which processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NamedProcessor {
    RunningCount,
    ByLength,
    Ticking(PunctuationType),
}

pub(super) fn processor(name: &str) -> Result<NamedProcessor> {
    Ok(match name {
        "running_count" => NamedProcessor::RunningCount,
        "by_length" => NamedProcessor::ByLength,
        "tick_by_stream_time" => NamedProcessor::Ticking(PunctuationType::StreamTime),
        "tick_by_wall_clock" => NamedProcessor::Ticking(PunctuationType::WallClockTime),
        _ => bail!("no such processor: {name}"),
    })
}

/// The store of a running count.
pub(super) fn counts(store: Option<&Store>) -> Result<StoreName<String, u64>> {
    let name =
        store.and_then(|store| store.name.as_deref()).context("a running count needs a named store")?;
    Ok(StoreName::new(interned(name)))
}

/// Puts the number of records with the same key, this one included, behind the value; as a processor that could change keys, into a header, too.
pub(super) struct RunningCount<K, V> {
    counts: KeyValueStore<String, u64>,
    types: PhantomData<fn(K, V)>,
}

impl<K: RecordField<NonNull: Readable>, V: RecordField<NonNull: Readable>> RunningCount<K, V> {
    pub(super) fn open(wiring: &Wiring<'_>, counts: StoreName<String, u64>) -> millstream::Result<Self> {
        Ok(RunningCount { counts: wiring.store(counts)?, types: PhantomData })
    }

    fn count(&self, key: &K, at: Timestamp) -> Result<u64, Failure> {
        let key = text(key).unwrap_or_else(|| "null".into());
        let count = self.counts.get(&key)?.map_or(0, |row| row.value) + 1;
        self.counts.put(&key, Some(ValueAndTimestamp::new(count, at)))?;
        Ok(count)
    }
}

fn counted<V: RecordField<NonNull: Readable>>(value: &V, count: u64) -> Option<String> {
    Some(format!("{}#{count}", text(value).as_deref().unwrap_or("null")))
}

impl<K: RecordField<NonNull: Readable>, V: RecordField<NonNull: Readable>> Processor for RunningCount<K, V> {
    type KeyIn = K;
    type ValueIn = V;
    type KeyOut = Option<String>;
    type ValueOut = Option<String>;

    fn process(
        &mut self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, Option<String>, Option<String>>,
    ) -> Result<(), Failure> {
        let count = self.count(&record.key, record.timestamp)?;
        let (key, value) = (text(&record.key), counted(&record.value, count));
        let mut record = record.with_key(key).with_value(value);
        record.headers.push("count", Some(count.to_string().into_bytes().into()));
        context.forward(record)
    }
}

impl<K: RecordField<NonNull: Readable>, V: RecordField<NonNull: Readable>> FixedKeyProcessor
    for RunningCount<K, V>
{
    type Key = K;
    type ValueIn = V;
    type ValueOut = Option<String>;

    fn process(
        &mut self,
        record: FixedKeyRecord<K, V>,
        context: &mut FixedKeyProcessorContext<'_, K, Option<String>>,
    ) -> Result<(), Failure> {
        let count = self.count(record.key(), record.timestamp)?;
        context.forward(record.map_value(|value| counted(&value, count)))
    }
}

/// Forwards what has a long value to the child of this name, and all else to another one.
pub(super) struct ByLength<K, V> {
    long: Child,
    short: Child,
    types: PhantomData<fn(K, V)>,
}

impl<K, V> ByLength<K, V> {
    pub(super) fn open(wiring: &Wiring<'_>) -> millstream::Result<Self> {
        Ok(ByLength { long: wiring.child("long")?, short: wiring.child("short")?, types: PhantomData })
    }
}

impl<K: RecordField<NonNull: Readable>, V: RecordField<NonNull: Readable>> Processor for ByLength<K, V> {
    type KeyIn = K;
    type ValueIn = V;
    type KeyOut = Option<String>;
    type ValueOut = Option<String>;

    fn process(
        &mut self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, Option<String>, Option<String>>,
    ) -> Result<(), Failure> {
        let (key, value) = (text(&record.key), text(&record.value));
        let child = if is_long(value.as_deref()) { self.long } else { self.short };
        context.forward_to(child, record.with_key(key).with_value(value))
    }
}

/// Keeps the newest key of each value.
struct ByValue {
    keys: KeyValueStore<String, String>,
}

impl Processor for ByValue {
    type KeyIn = String;
    type ValueIn = String;
    type KeyOut = ();
    type ValueOut = ();

    fn process(
        &mut self,
        record: Record<String, String>,
        _context: &mut ProcessorContext<'_, (), ()>,
    ) -> Result<(), Failure> {
        let Record { key, value, timestamp, .. } = record;
        Ok(self.keys.put(&value, Some(ValueAndTimestamp::new(key, timestamp)))?)
    }
}

/// A store of every instance, in which the keys of the topic are found by their values.
pub(super) fn add_global_store(builder: &StreamsBuilder, topic: &str, store: &Store) {
    let name: StoreName<String, String> = StoreName::new(interned(store.name.as_deref().unwrap_or("global")));
    builder.add_global_store(name, topic, move |wiring| Ok(ByValue { keys: wiring.store(name)? }));
}

/// Forwards, every ten milliseconds, how many records there were since.
pub(super) struct Ticking<K, V> {
    kind: PunctuationType,
    records: u64,
    types: PhantomData<fn(K, V)>,
}

impl<K, V> Ticking<K, V> {
    pub(super) fn by(kind: PunctuationType) -> Self {
        Ticking { kind, records: 0, types: PhantomData }
    }
}

impl<K: Clone + 'static, V: Clone + 'static> Processor for Ticking<K, V> {
    type KeyIn = K;
    type ValueIn = V;
    type KeyOut = Option<String>;
    type ValueOut = Option<String>;

    fn init(
        &mut self,
        context: &mut ProcessorContext<'_, Option<String>, Option<String>>,
    ) -> Result<(), Failure> {
        context.schedule(Duration::from_millis(10), self.kind)?;
        Ok(())
    }

    fn process(
        &mut self,
        _record: Record<K, V>,
        _context: &mut ProcessorContext<'_, Option<String>, Option<String>>,
    ) -> Result<(), Failure> {
        self.records += 1;
        Ok(())
    }

    fn punctuate(
        &mut self,
        punctuation: Punctuation,
        context: &mut ProcessorContext<'_, Option<String>, Option<String>>,
    ) -> Result<(), Failure> {
        let records = std::mem::take(&mut self.records);
        context.forward(Record::new(Some("tick".into()), Some(records.to_string()), punctuation.time))
    }
}
