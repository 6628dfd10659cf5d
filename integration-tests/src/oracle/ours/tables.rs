//! The operators of a table.

use std::any::Any;

use millstream::{HasSerde, KTable};

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

    fn to_stream(&self) -> Handle {
        Handle::Stream(Box::new(self.to_stream()))
    }

    fn group_by(&self, selector: KeySelector) -> Handle {
        Handle::GroupedTable(self.group_by(move |key: &K, value: V| {
            (selector(Some(&key.text()), Some(&value.text())), Some(value.text()))
        }))
    }
}
