//! The operators of a table.

use std::any::Any;
use std::marker::PhantomData;

use millstream::api::{Failure, Wiring};
use millstream::{HasSerde, KTable, ValueTransformer};

use super::super::case::Store;
use super::super::functions::{Datum, KeySelector, Predicate, ValueMapper};
use super::handle::{Handle, TableHandle};
use super::stores::materialized;

impl<K: HasSerde + Datum, V: HasSerde + Datum> TableHandle for KTable<K, V> {
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

    fn to_stream(&self) -> Handle {
        Handle::Stream(Box::new(self.to_stream()))
    }

    fn group_by(&self, selector: KeySelector) -> Handle {
        Handle::GroupedTable(self.group_by(move |key: &K, value: V| {
            (selector(Some(&key.text()), Some(&value.text())), Some(value.text()))
        }))
    }
}

struct Transformer<K, V> {
    mapper: ValueMapper,
    types: PhantomData<fn(K, V)>,
}

impl<K: HasSerde + Datum, V: HasSerde + Datum> ValueTransformer for Transformer<K, V> {
    type Key = K;
    type ValueIn = V;
    type ValueOut = String;

    fn transform(&mut self, key: &K, value: Option<V>) -> Result<Option<String>, Failure> {
        Ok(value.and_then(|value| (self.mapper)(Some(&key.text()), Some(&value.text()))))
    }
}
