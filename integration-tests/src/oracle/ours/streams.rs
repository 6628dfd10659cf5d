//! The operators of a stream.

use std::any::Any;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use millstream::{
    ConnectedStores, GlobalKTable, JoinTarget, KStream, KTable, Produced, RecordField, Split, TableWithGrace,
};

use super::super::case::{JoinWindows, Store};
use super::super::functions::{
    FlatMapper, FlatValueMapper, KeySelector, Mapper, Predicate, Readable, Reducible, ValueMapper, join,
    join_with_key,
};
use super::handle::{Handle, JoinKind, Joining, SplitHandle, StreamHandle, TableHandle, same};
use super::processors::{ByLength, NamedProcessor, RunningCount, Ticking, counts};
use super::stores::materialized;
use super::stream_joins::join_streams;

/// A key or a value as text.
pub(super) fn text<F: RecordField<NonNull: Readable>>(field: &F) -> Option<String> {
    field.as_non_null().map(Readable::text)
}

impl<K, V> StreamHandle for KStream<K, V>
where
    K: RecordField<NonNull: Readable>,
    V: RecordField<NonNull: Reducible>,
    for<'t> &'t KTable<K::NonNull, String>: JoinTarget<K, Value = String>,
    for<'t> &'t KTable<K::NonNull, u64>: JoinTarget<K, Value = u64>,
    for<'t> TableWithGrace<'t, K::NonNull, String>: JoinTarget<K, Value = String>,
{
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn named(&self, name: &str) -> Handle {
        Handle::Stream(Box::new(self.clone().named(name)))
    }

    fn filter(&self, predicate: Predicate) -> Handle {
        let predicate = move |key: &K, value: &V| predicate(text(key).as_deref(), text(value).as_deref());
        Handle::Stream(Box::new(self.filter(predicate)))
    }

    fn filter_not(&self, predicate: Predicate) -> Handle {
        let predicate = move |key: &K, value: &V| predicate(text(key).as_deref(), text(value).as_deref());
        Handle::Stream(Box::new(self.filter_not(predicate)))
    }

    fn map_values(&self, mapper: ValueMapper) -> Handle {
        let mapper = move |key: &K, value: V| mapper(text(key).as_deref(), text(&value).as_deref());
        Handle::Stream(Box::new(self.map_values(mapper)))
    }

    fn flat_map_values(&self, mapper: FlatValueMapper) -> Handle {
        let mapper = move |key: &K, value: V| mapper(text(key).as_deref(), text(&value).as_deref());
        Handle::Stream(Box::new(self.flat_map_values(mapper)))
    }

    fn map(&self, mapper: Mapper) -> Handle {
        let mapper = move |key: K, value: V| mapper(text(&key).as_deref(), text(&value).as_deref());
        Handle::Stream(Box::new(self.map(mapper)))
    }

    fn flat_map(&self, mapper: FlatMapper) -> Handle {
        let mapper = move |key: K, value: V| mapper(text(&key).as_deref(), text(&value).as_deref());
        Handle::Stream(Box::new(self.flat_map(mapper)))
    }

    fn select_key(&self, selector: KeySelector) -> Handle {
        let selector = move |key: &K, value: &V| selector(text(key).as_deref(), text(value).as_deref());
        Handle::Stream(Box::new(self.select_key(selector)))
    }

    fn peek(&self) -> Handle {
        Handle::Stream(Box::new(self.peek(|_, _| ())))
    }

    fn for_each(&self) -> Handle {
        Handle::End(self.for_each(|_, _| ()))
    }

    fn merge(&self, other: &dyn StreamHandle) -> Result<Handle> {
        Ok(Handle::Stream(Box::new(self.merge(same::<Self>(other.as_any())?))))
    }

    fn split(&self) -> Handle {
        Handle::Split(Box::new(self.split()))
    }

    fn repartition(&self) -> Handle {
        Handle::Stream(Box::new(self.repartition(())))
    }

    fn to(&self, topic: &str) -> Handle {
        Handle::End(self.to(topic))
    }

    fn to_chosen_topic(&self, selector: KeySelector) -> Handle {
        Handle::End(self.to(Produced::per_record(move |key: &K, value: &V| {
            let chosen = selector(text(key).as_deref(), text(value).as_deref());
            format!("out-{}", chosen.as_deref().unwrap_or("null"))
        })))
    }

    fn to_table(&self) -> Handle {
        Handle::Table(Box::new(self.to_table()))
    }

    fn group_by_key(&self) -> Handle {
        Handle::GroupedStream(Box::new(self.group_by_key()))
    }

    fn group_by(&self, selector: KeySelector) -> Handle {
        let selector = move |key: &K, value: &V| selector(text(key).as_deref(), text(value).as_deref());
        Handle::GroupedStream(Box::new(self.group_by(selector)))
    }

    fn process(&self, processor: NamedProcessor, store: Option<&Store>) -> Result<Handle> {
        let stores = match store {
            Some(_) => ConnectedStores::bringing(materialized::<String, u64>(store)),
            None => ConnectedStores::default(),
        };
        Ok(Handle::Stream(Box::new(match processor {
            NamedProcessor::RunningCount => {
                let counts = counts(store)?;
                self.process(stores, move |wiring| RunningCount::open(wiring, counts))
            }
            NamedProcessor::ByLength => self.process(stores, |wiring| ByLength::open(wiring)),
            NamedProcessor::Ticking(kind) => self.process(stores, move |_| Ok(Ticking::by(kind))),
        })))
    }

    fn process_values(&self, processor: NamedProcessor, store: Option<&Store>) -> Result<Handle> {
        ensure!(processor == NamedProcessor::RunningCount, "{processor:?} is no processor of values");
        let counts = counts(store)?;
        let stores = ConnectedStores::bringing(materialized::<String, u64>(store));
        Ok(Handle::Stream(Box::new(
            self.process_values(stores, move |wiring| RunningCount::open(wiring, counts)),
        )))
    }

    fn join_stream(
        &self,
        other: &dyn StreamHandle,
        within: &JoinWindows,
        store: Option<&Store>,
        joining: Joining,
    ) -> Result<Handle> {
        // Each pair of types more is compiled once more: so values of both are text, of which there is most.
        let this: &dyn Any = self;
        let (this, other) = (this.downcast_ref(), other.as_any().downcast_ref());
        let (Some(this), Some(other)) = (this, other) else {
            bail!("keys and values of both streams are text")
        };
        let joined: KStream<K, Option<String>> =
            join_streams::<K, Option<String>, Option<String>>(this, other, within, store, joining)?;
        Ok(Handle::Stream(Box::new(joined)))
    }

    fn join_table(
        &self,
        table: &dyn TableHandle,
        grace: Option<Duration>,
        joining: Joining,
    ) -> Result<Handle> {
        let joined = if let Some(table) = table.as_any().downcast_ref::<KTable<K::NonNull, String>>() {
            match grace {
                Some(grace) => join_table(self, table.with_grace(grace), joining)?,
                None => join_table(self, table, joining)?,
            }
        } else if let Some(table) = table.as_any().downcast_ref::<KTable<K::NonNull, u64>>() {
            ensure!(grace.is_none(), "counts are not versioned");
            join_table(self, table, joining)?
        } else {
            bail!("the stream's keys are not those of the table")
        };
        Ok(Handle::Stream(Box::new(joined)))
    }

    fn join_global_table(
        &self,
        table: &GlobalKTable<String, String>,
        on: KeySelector,
        Joining { kind, with_key }: Joining,
    ) -> Result<Handle> {
        let on = move |key: &K, value: &V::NonNull| on(text(key).as_deref(), Some(value.text().as_str()));
        let stream = self.on(on);
        if with_key {
            let joiner = |key: &K, value: V::NonNull, row: Option<&String>| {
                let row = row.map(String::as_str);
                Some(join_with_key(text(key).as_deref(), Some(&value.text()), row))
            };
            let stream = stream.with_key();
            return Ok(Handle::Stream(Box::new(match kind {
                JoinKind::Inner => stream.join(table, move |key, value, row| joiner(key, value, Some(row))),
                JoinKind::Left => stream.left_join(table, joiner),
                JoinKind::Outer => bail!("there is no outer join with a global table"),
            })));
        }
        Ok(Handle::Stream(Box::new(match kind {
            JoinKind::Inner => stream.join(table, |value, row| Some(join(Some(&value.text()), Some(row)))),
            JoinKind::Left => {
                stream.left_join(table, |value, row| Some(join(Some(&value.text()), row.map(String::as_str))))
            }
            JoinKind::Outer => bail!("there is no outer join with a global table"),
        })))
    }
}

fn join_table<K, V, T>(
    stream: &KStream<K, V>,
    table: T,
    Joining { kind, with_key }: Joining,
) -> Result<KStream<K, Option<String>>>
where
    K: RecordField<NonNull: Readable>,
    V: RecordField<NonNull: Reducible>,
    T: JoinTarget<K, Value: Readable>,
{
    if with_key {
        let joiner = |key: &K, value: V::NonNull, row: Option<&T::Value>| {
            let row = row.map(Readable::text);
            Some(join_with_key(text(key).as_deref(), Some(&value.text()), row.as_deref()))
        };
        let stream = stream.with_key();
        return Ok(match kind {
            JoinKind::Inner => stream.join(table, move |key, value, row| joiner(key, value, Some(row))),
            JoinKind::Left => stream.left_join(table, joiner),
            JoinKind::Outer => bail!("there is no outer join of a stream with a table"),
        });
    }
    Ok(match kind {
        JoinKind::Inner => {
            stream.join(table, |value, row| Some(join(Some(&value.text()), Some(&row.text()))))
        }
        JoinKind::Left => stream.left_join(table, |value, row| {
            Some(join(Some(&value.text()), row.map(Readable::text).as_deref()))
        }),
        JoinKind::Outer => bail!("there is no outer join of a stream with a table"),
    })
}

impl<K, V> SplitHandle for Split<K, V>
where
    K: RecordField<NonNull: Readable>,
    V: RecordField<NonNull: Reducible>,
    KStream<K, V>: StreamHandle,
{
    fn named(self: Box<Self>, name: &str) -> Handle {
        Handle::Split(Box::new((*self).named(name)))
    }

    fn branch(&self, predicate: Predicate) -> Handle {
        let predicate = move |key: &K, value: &V| predicate(text(key).as_deref(), text(value).as_deref());
        Handle::Stream(Box::new(self.branch(predicate)))
    }

    fn default_branch(self: Box<Self>) -> Handle {
        Handle::Stream(Box::new((*self).default_branch()))
    }
}
