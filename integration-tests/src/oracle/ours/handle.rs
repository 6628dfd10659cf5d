//! What a statement makes: a stream, a table, a grouping, with its types erased.

use std::any::{Any, type_name};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use millstream::{EmitStrategy, GlobalKTable, KGroupedTable, StreamEnd};

use super::super::case::{JoinWindows, Statement, Store, Windows};
use super::super::functions::{
    Aggregator, FlatMapper, FlatValueMapper, KeySelector, Mapper, Predicate, Reducer, ValueMapper,
};
use super::processors::NamedProcessor;

/// What the DSL returned.
pub(super) enum Handle {
    Stream(Box<dyn StreamHandle>),
    Table(Box<dyn TableHandle>),
    GlobalTable(GlobalKTable<String, String>),
    GlobalStore,
    GroupedStream(Box<dyn GroupedStreamHandle>),
    GroupedTable(KGroupedTable<String, String>),
    Cogrouped(Box<dyn CogroupedHandle>),
    WindowedStream(Box<dyn WindowedStreamHandle>),
    WindowedCogroup(Box<dyn WindowedCogroupHandle>),
    Split(Box<dyn SplitHandle>),
    End(StreamEnd),
}

/// Whether what finds nothing on the other side is joined with nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JoinKind {
    Inner,
    Left,
    Outer,
}

/// A join of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joining {
    pub(super) kind: JoinKind,
    /// Whether the joiner gets the key.
    pub(super) with_key: bool,
}

/// A `KStream` of any types.
pub(super) trait StreamHandle {
    fn as_any(&self) -> &dyn Any;
    fn named(&self, name: &str) -> Handle;
    fn filter(&self, predicate: Predicate) -> Handle;
    fn filter_not(&self, predicate: Predicate) -> Handle;
    fn map_values(&self, mapper: ValueMapper) -> Handle;
    fn flat_map_values(&self, mapper: FlatValueMapper) -> Handle;
    fn map(&self, mapper: Mapper) -> Handle;
    fn flat_map(&self, mapper: FlatMapper) -> Handle;
    fn select_key(&self, selector: KeySelector) -> Handle;
    fn peek(&self) -> Handle;
    fn for_each(&self) -> Handle;
    fn merge(&self, other: &dyn StreamHandle) -> Result<Handle>;
    fn split(&self) -> Handle;
    fn repartition(&self) -> Handle;
    fn to(&self, topic: &str) -> Handle;
    fn to_chosen_topic(&self, selector: KeySelector) -> Handle;
    fn to_table(&self) -> Handle;
    fn group_by_key(&self) -> Handle;
    fn process(&self, processor: NamedProcessor, store: Option<&Store>) -> Result<Handle>;
    fn process_values(&self, processor: NamedProcessor, store: Option<&Store>) -> Result<Handle>;
    fn group_by(&self, selector: KeySelector) -> Handle;
    fn join_stream(
        &self,
        other: &dyn StreamHandle,
        within: &JoinWindows,
        store: Option<&Store>,
        joining: Joining,
    ) -> Result<Handle>;
    /// With a grace, it waits for the table.
    fn join_table(
        &self,
        table: &dyn TableHandle,
        grace: Option<Duration>,
        joining: Joining,
    ) -> Result<Handle>;
    fn join_global_table(
        &self,
        table: &GlobalKTable<String, String>,
        on: KeySelector,
        joining: Joining,
    ) -> Result<Handle>;
}

/// A `Split` of any types.
pub(super) trait SplitHandle {
    fn named(self: Box<Self>, name: &str) -> Handle;
    fn branch(&self, predicate: Predicate) -> Handle;
    fn default_branch(self: Box<Self>) -> Handle;
}

/// A `KTable` of any types.
pub(super) trait TableHandle {
    fn as_any(&self) -> &dyn Any;
    fn named(&self, name: &str) -> Handle;
    fn materialized(&self, store: &Store) -> Handle;
    fn filter(&self, predicate: Predicate) -> Handle;
    fn filter_not(&self, predicate: Predicate) -> Handle;
    fn map_values(&self, mapper: ValueMapper) -> Handle;
    fn transform_values(&self, mapper: ValueMapper) -> Handle;
    fn join_table(&self, other: &dyn TableHandle, kind: JoinKind) -> Result<Handle>;
    fn join_foreign_table(&self, other: &dyn TableHandle, on: KeySelector, kind: JoinKind) -> Result<Handle>;
    fn suppress(&self, suppressed: &Statement) -> Result<Handle>;
    fn to_stream(&self) -> Handle;
    fn group_by(&self, selector: KeySelector) -> Handle;
}

/// A `KGroupedStream` of any types.
pub(super) trait GroupedStreamHandle {
    fn named(self: Box<Self>, name: &str) -> Handle;
    fn count(&self, store: Option<&Store>) -> Handle;
    fn reduce(&self, reducer: Reducer, store: Option<&Store>) -> Handle;
    fn aggregate(&self, aggregator: Aggregator, store: Option<&Store>) -> Handle;
    /// Alone, or as one more of those that are grouped already.
    fn cogroup(&self, others: Option<Box<dyn CogroupedHandle>>, aggregator: Aggregator) -> Result<Handle>;
    fn windowed_by(&self, windows: &Windows, emit: EmitStrategy) -> Result<Handle>;
}

/// A windowed stream of any windows and types.
pub(super) trait WindowedStreamHandle {
    fn count(&self, store: Option<&Store>) -> Handle;
    fn reduce(&self, reducer: Reducer, store: Option<&Store>) -> Handle;
    fn aggregate(&self, aggregator: Aggregator, store: Option<&Store>) -> Handle;
}

/// A windowed cogroup of any windows.
pub(super) trait WindowedCogroupHandle {
    fn aggregate(self: Box<Self>, aggregator: Aggregator, store: Option<&Store>) -> Handle;
}

/// A `CogroupedKStream` of any keys.
pub(super) trait CogroupedHandle {
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
    fn windowed_by(self: Box<Self>, windows: &Windows) -> Result<Handle>;
    fn aggregate(self: Box<Self>, aggregator: Aggregator, store: Option<&Store>) -> Handle;
}

impl Handle {
    /// The same, with the name that `named` gives it.
    pub(super) fn named(self, name: &str) -> Result<Handle> {
        Ok(match self {
            Handle::Stream(stream) => stream.named(name),
            Handle::Table(table) => table.named(name),
            Handle::GlobalTable(table) => Handle::GlobalTable(table.named(name)),
            Handle::GroupedStream(grouped) => grouped.named(name),
            Handle::GroupedTable(grouped) => Handle::GroupedTable(grouped.named(name)),
            Handle::Split(split) => split.named(name),
            handle @ (Handle::GlobalStore
            | Handle::Cogrouped(_)
            | Handle::WindowedStream(_)
            | Handle::WindowedCogroup(_)) => {
                bail!("{} has no name", handle.kind())
            }
            Handle::End(end) => Handle::End(end.named(name)),
        })
    }

    /// The same table, kept as given.
    pub(super) fn materialized(self, store: Option<&Store>) -> Result<Handle> {
        match (self, store) {
            (handle, None) => Ok(handle),
            (Handle::Table(table), Some(store)) => Ok(table.materialized(store)),
            (handle, Some(_)) => bail!("a store for {}", handle.kind()),
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Handle::Stream(_) => "a stream",
            Handle::Table(_) => "a table",
            Handle::GlobalTable(_) => "a global table",
            Handle::GlobalStore => "a global store",
            Handle::GroupedStream(_) => "a grouped stream",
            Handle::GroupedTable(_) => "a grouped table",
            Handle::Split(_) => "a split",
            Handle::Cogrouped(_) => "a cogroup",
            Handle::WindowedStream(_) => "a windowed stream",
            Handle::WindowedCogroup(_) => "a windowed cogroup",
            Handle::End(_) => "the end of a stream",
        }
    }
}

/// The handle as what it must be for an operator that takes two of the same types.
pub(super) fn same<T: 'static>(handle: &dyn Any) -> Result<&T> {
    handle.downcast_ref::<T>().with_context(|| format!("the types differ from {}", type_name::<T>()))
}
