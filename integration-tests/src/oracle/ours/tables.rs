//! The operators of a table.

use std::any::Any;
use std::marker::PhantomData;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use millstream::api::{Failure, Wiring};
use millstream::{BufferConfig, HasSerde, KTable, Suppressed, ValueTransformer, WhenFull, Windowed};

use super::super::case::{Statement, Store};
use super::super::functions::{KeySelector, Predicate, Readable, Reducible, ValueMapper, join};
use super::handle::{Handle, JoinKind, TableHandle};
use super::stores::materialized;

impl<K: HasSerde + Readable, V: HasSerde + Reducible> TableHandle for KTable<K, V> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn named(&self, name: &str) -> Handle {
        Handle::Table(Box::new(self.clone().named(name)))
    }

    fn materialized(&self, store: &Store) -> Handle {
        Handle::Table(Box::new(self.clone().materialized(materialized(Some(store)))))
    }

    fn filter(&self, predicate: Predicate) -> Handle {
        let predicate = move |key: &K, value: &V| predicate(Some(&key.text()), Some(&value.text()));
        Handle::Table(Box::new(self.filter(predicate)))
    }

    fn filter_not(&self, predicate: Predicate) -> Handle {
        let predicate = move |key: &K, value: &V| predicate(Some(&key.text()), Some(&value.text()));
        Handle::Table(Box::new(self.filter_not(predicate)))
    }

    fn map_values(&self, mapper: ValueMapper) -> Handle {
        let mapper =
            move |key: &K, value: V| mapper(Some(&key.text()), Some(&value.text())).unwrap_or_default();
        Handle::Table(Box::new(self.map_values(mapper)))
    }

    fn transform_values(&self, mapper: ValueMapper) -> Handle {
        let transformer = move |_: &Wiring<'_>| Ok(Transformer { mapper, types: PhantomData::<fn(K, V)> });
        Handle::Table(Box::new(self.transform_values((), transformer)))
    }

    fn join_table(&self, other: &dyn TableHandle, kind: JoinKind) -> Result<Handle> {
        let other = other.as_any();
        let joined = if let Some(other) = other.downcast_ref::<KTable<K, String>>() {
            join_tables(self, other, kind)
        } else if let Some(other) = other.downcast_ref::<KTable<K, u64>>() {
            join_tables(self, other, kind)
        } else {
            bail!("the keys of the tables differ")
        };
        Ok(Handle::Table(Box::new(joined)))
    }

    fn join_foreign_table(&self, other: &dyn TableHandle, on: KeySelector, kind: JoinKind) -> Result<Handle> {
        let other = other.as_any();
        let joined = if let Some(other) = other.downcast_ref::<KTable<String, String>>() {
            join_foreign_table(self, other, on, kind)?
        } else if let Some(other) = other.downcast_ref::<KTable<String, u64>>() {
            join_foreign_table(self, other, on, kind)?
        } else {
            bail!("foreign keys are text")
        };
        Ok(Handle::Table(Box::new(joined)))
    }

    fn suppress(&self, suppressed: &Statement) -> Result<Handle> {
        let is_logged = suppressed.store.as_ref().is_none_or(|store| store.logged);
        let [max_records, max_bytes] =
            [suppressed.max_records, suppressed.max_bytes].map(|most| most.map(usize::try_from).transpose());
        let bounded = match (max_records?, max_bytes?) {
            (Some(records), Some(bytes)) => Some(BufferConfig::max_records(records).with_max_bytes(bytes)),
            (Some(records), None) => Some(BufferConfig::max_records(records)),
            (None, Some(bytes)) => Some(BufferConfig::max_bytes(bytes)),
            (None, None) => None,
        };
        let bounded = bounded.map(|buffer| logged(buffer, is_logged));
        let unbounded = logged(BufferConfig::unbounded(), is_logged);
        let Some(limit) = suppressed.time_limit.map(Duration::from_millis) else {
            let windows = (self as &dyn Any).downcast_ref::<KTable<Windowed<String>, V>>();
            let windows = windows.context("a table without windows until they close")?;
            let buffer = bounded.map_or(unbounded, BufferConfig::shut_down_when_full);
            return Ok(Handle::Table(Box::new(windows.suppress(Suppressed::until_window_closes(buffer)))));
        };
        let suppressed = match (bounded, suppressed.when_full.as_deref()) {
            (None, _) => Suppressed::until_time_limit(limit, unbounded),
            (Some(buffer), None | Some("emit_early")) => Suppressed::until_time_limit(limit, buffer),
            (Some(buffer), Some("shut_down")) => {
                Suppressed::until_time_limit(limit, buffer.shut_down_when_full())
            }
            (_, Some(name)) => bail!("no such thing to do with a full buffer: {name}"),
        };
        Ok(Handle::Table(Box::new(self.suppress(suppressed))))
    }

    fn to_stream(&self) -> Handle {
        Handle::Stream(Box::new(self.to_stream()))
    }

    fn group_by(&self, selector: KeySelector) -> Handle {
        Handle::GroupedTable(self.group_by(move |key: &K, value: V| {
            (selector(Some(&key.text()), Some(&value.text())), Some(value.text()))
        }))
    }
}

fn logged<F: WhenFull>(buffer: BufferConfig<F>, is_logged: bool) -> BufferConfig<F> {
    if is_logged { buffer } else { buffer.without_logging() }
}

fn join_tables<K, V, V2>(table: &KTable<K, V>, other: &KTable<K, V2>, kind: JoinKind) -> KTable<K, String>
where
    K: Clone + 'static,
    V: Readable + Clone + 'static,
    V2: Readable + Clone + 'static,
{
    let text = |value: Option<&V>| value.map(Readable::text);
    let other_text = |value: Option<&V2>| value.map(Readable::text);
    match kind {
        JoinKind::Inner => table.join(other, |value, other| join(Some(&value.text()), Some(&other.text()))),
        JoinKind::Left => table
            .left_join(other, move |value, other| join(Some(&value.text()), other_text(other).as_deref())),
        JoinKind::Outer => table.outer_join(other, move |value, other| {
            join(text(value).as_deref(), other_text(other).as_deref())
        }),
    }
}

fn join_foreign_table<K, V, V2>(
    table: &KTable<K, V>,
    other: &KTable<String, V2>,
    on: KeySelector,
    kind: JoinKind,
) -> Result<KTable<K, String>>
where
    K: HasSerde + Readable,
    V: HasSerde + Readable,
    V2: HasSerde + Readable,
{
    let table = table.on(move |key: &K, value: &V| on(Some(&key.text()), Some(&value.text())));
    Ok(match kind {
        JoinKind::Inner => table.join(other, |value, other| join(Some(&value.text()), Some(&other.text()))),
        JoinKind::Left => table
            .left_join(other, |value, other| join(Some(&value.text()), other.map(Readable::text).as_deref())),
        JoinKind::Outer => bail!("there is no outer join by a foreign key"),
    })
}

struct Transformer<K, V> {
    mapper: ValueMapper,
    types: PhantomData<fn(K, V)>,
}

impl<K: HasSerde + Readable, V: HasSerde + Reducible> ValueTransformer for Transformer<K, V> {
    type Key = K;
    type ValueIn = V;
    type ValueOut = String;

    fn transform(&mut self, key: &K, value: Option<V>) -> std::result::Result<Option<String>, Failure> {
        Ok(value.and_then(|value| (self.mapper)(Some(&key.text()), Some(&value.text()))))
    }
}
