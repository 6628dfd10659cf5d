//! What a stream and what a table can be joined with: the argument tells the kinds of joins apart, so that each has one name.

use std::time::Duration;

use millstream_processor::{HasSerde, RecordField};

use crate::operators::TableWithGrace;
use crate::table::KTable;

/// What a stream with keys `K` can be joined with: a `&KTable` with the same keys, or such a table
/// [with a grace](KTable::with_grace). A stream whose keys may be null (`Option<K>`)
/// joins with a table of `K`.
///
/// The trait cannot be implemented outside of this crate.
#[diagnostic::on_unimplemented(
    message = "a stream with keys of type `{K}` cannot be joined with `{Self}`",
    label = "the key types differ, or this is no table",
    note = "a join needs equal keys on both sides: give the stream the table's keys with `select_key` first",
    note = "a table is joined by reference: `orders.join(&products, ..)`",
    note = "a global table is joined by a key of your choice: `orders.on(|id, order| order.sku.clone()).join(&products, ..)`",
    note = "another stream is joined within a span of time: `orders.within(minutes(5)).join(&payments, ..)`"
)]
pub trait JoinTarget<K: RecordField>: sealed::Sealed {
    /// The value the join finds on the other side.
    type Value: Clone + 'static;

    #[doc(hidden)]
    fn table(&self) -> &KTable<K::NonNull, Self::Value>;

    /// How long the stream's records wait for changes of the table that come late.
    #[doc(hidden)]
    fn grace(&self) -> Option<Duration> {
        None
    }
}

/// What happens to a record of the stream that finds nothing to be joined with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamJoinKind {
    /// It gives no output.
    Inner,
    /// It is joined with `None`.
    Left,
}

/// What a table with keys `K` can be joined with, row by row: a `&KTable` with the same keys.
///
/// The trait cannot be implemented outside of this crate.
#[diagnostic::on_unimplemented(
    message = "a table with keys of type `{K}` cannot be joined with `{Self}`",
    label = "the key types differ, or this is no table",
    note = "a join of tables pairs rows with equal keys: give one table the other's keys with `group_by`",
    note = "to find the other table's row by a key in the value, choose that key first: \
            `orders.on(|id, order| order.customer.clone()).join(&customers, ..)`",
    note = "a table is joined by reference: `prices.join(&stock, ..)`"
)]
pub trait TableJoinTarget<K>: sealed::Sealed {
    /// The value of a row on the other side.
    type Value: Clone + 'static;

    #[doc(hidden)]
    fn table(&self) -> &KTable<K, Self::Value>;
}

impl<K: Clone + 'static, V: Clone + 'static> TableJoinTarget<K> for &KTable<K, V> {
    type Value = V;

    fn table(&self) -> &KTable<K, V> {
        self
    }
}

mod sealed {
    pub trait Sealed {}
    impl<K, V> Sealed for &crate::table::KTable<K, V> {}
    impl<K, V> Sealed for crate::operators::TableWithGrace<'_, K, V> {}
}

// Each for keys that may be null and for those that may not: one for both, by `K::NonNull`, would lose the message above.

impl<K: HasSerde, T: Clone + 'static> JoinTarget<K> for &KTable<K, T> {
    type Value = T;

    fn table(&self) -> &KTable<K, T> {
        self
    }
}

impl<K: HasSerde, T: Clone + 'static> JoinTarget<Option<K>> for &KTable<K, T> {
    type Value = T;

    fn table(&self) -> &KTable<K, T> {
        self
    }
}

impl<K: HasSerde, T: Clone + 'static> JoinTarget<K> for TableWithGrace<'_, K, T> {
    type Value = T;

    fn table(&self) -> &KTable<K, T> {
        self.table
    }

    fn grace(&self) -> Option<Duration> {
        Some(self.grace)
    }
}

impl<K: HasSerde, T: Clone + 'static> JoinTarget<Option<K>> for TableWithGrace<'_, K, T> {
    type Value = T;

    fn table(&self) -> &KTable<K, T> {
        self.table
    }

    fn grace(&self) -> Option<Duration> {
        Some(self.grace)
    }
}
