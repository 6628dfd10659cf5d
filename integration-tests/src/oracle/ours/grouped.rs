//! The aggregations of grouped streams and tables.

use std::any::Any;

use anyhow::{Result, bail};
use millstream::{CogroupedKStream, EmitStrategy, HasSerde, KGroupedStream, KGroupedTable, RecordField};

use super::super::case::{Store, Windows};
use super::super::functions::{Aggregator, Readable, Reducer, Reducible, subtract};
use super::handle::{CogroupedHandle, GroupedStreamHandle, Handle};
use super::stores::materialized;
use super::windowed::{windowed, windowed_cogroup};

impl<K, V> GroupedStreamHandle for KGroupedStream<K, V>
where
    K: RecordField<NonNull: Readable>,
    V: RecordField<NonNull: Reducible>,
{
    fn named(self: Box<Self>, name: &str) -> Handle {
        Handle::GroupedStream(Box::new((*self).named(name)))
    }

    fn count(&self, store: Option<&Store>) -> Handle {
        Handle::Table(Box::new(self.count(materialized(store))))
    }

    fn reduce(&self, reducer: Reducer, store: Option<&Store>) -> Handle {
        let reduce = move |row, value| V::NonNull::reduce(reducer, row, value);
        Handle::Table(Box::new(self.reduce(materialized(store), reduce)))
    }

    fn aggregate(&self, Aggregator { initial, add, .. }: Aggregator, store: Option<&Store>) -> Handle {
        let aggregate = move |_: &_, value: V::NonNull, row: String| add(Some(&value.text()), &row);
        Handle::Table(Box::new(self.aggregate(materialized(store), || initial.to_owned(), aggregate)))
    }

    fn cogroup(
        &self,
        others: Option<Box<dyn CogroupedHandle>>,
        Aggregator { add, .. }: Aggregator,
    ) -> Result<Handle> {
        let aggregate = move |_: &K::NonNull, value: V::NonNull, row: String| add(Some(&value.text()), &row);
        let Some(others) = others else { return Ok(Handle::Cogrouped(Box::new(self.cogroup(aggregate)))) };
        match others.into_any().downcast::<CogroupedKStream<K::NonNull, String>>() {
            Ok(others) => Ok(Handle::Cogrouped(Box::new((*others).cogroup(self, aggregate)))),
            Err(_) => bail!("the keys differ from those of the others"),
        }
    }

    fn windowed_by(&self, windows: &Windows, emit: EmitStrategy) -> Result<Handle> {
        let this: &dyn Any = self;
        if let Some(grouped) = this.downcast_ref::<KGroupedStream<Option<String>, V>>() {
            Ok(windowed(grouped, windows, emit))
        } else if let Some(grouped) = this.downcast_ref::<KGroupedStream<String, V>>() {
            Ok(windowed(grouped, windows, emit))
        } else {
            bail!("the keys are windowed already")
        }
    }
}

impl<K: HasSerde + Readable> CogroupedHandle for CogroupedKStream<K, String> {
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }

    fn windowed_by(self: Box<Self>, windows: &Windows) -> Result<Handle> {
        match self.into_any().downcast::<CogroupedKStream<String, String>>() {
            Ok(cogrouped) => Ok(windowed_cogroup(*cogrouped, windows)),
            Err(_) => bail!("the keys are windowed already"),
        }
    }

    fn aggregate(self: Box<Self>, aggregator: Aggregator, store: Option<&Store>) -> Handle {
        let initial = aggregator.initial;
        Handle::Table(Box::new((*self).aggregate(materialized(store), || initial.to_owned())))
    }
}

pub(super) fn count_table(grouped: &KGroupedTable<String, String>, store: Option<&Store>) -> Handle {
    Handle::Table(Box::new(grouped.count(materialized(store))))
}

pub(super) fn reduce_table(
    grouped: &KGroupedTable<String, String>,
    reducer: Reducer,
    store: Option<&Store>,
) -> Handle {
    let add = move |row, value| String::reduce(reducer, row, value);
    let subtract = |row: String, value: String| subtract(&row, &value);
    Handle::Table(Box::new(grouped.reduce(materialized(store), add, subtract)))
}

pub(super) fn aggregate_table(
    grouped: &KGroupedTable<String, String>,
    Aggregator { initial, add, subtract, .. }: Aggregator,
    store: Option<&Store>,
) -> Handle {
    let add = move |_: &String, value: String, row: String| add(Some(&value), &row);
    let subtract = move |_: &String, value: String, row: String| subtract(Some(&value), &row);
    Handle::Table(Box::new(grouped.aggregate(materialized(store), || initial.to_owned(), add, subtract)))
}
