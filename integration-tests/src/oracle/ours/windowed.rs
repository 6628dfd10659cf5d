//! The aggregations of windowed streams.

use std::time::Duration;

use millstream::{
    CogroupedKStream, EmitStrategy, KGroupedStream, RecordField, SessionWindowedCogroupedKStream,
    SessionWindowedKStream, SessionWindows, SlidingWindowedKStream, SlidingWindows,
    TimeWindowedCogroupedKStream, TimeWindowedKStream, TimeWindows, UnlimitedWindows,
};

use super::super::case::{Store, WindowKind, Windows};
use super::super::functions::{Aggregator, Readable, Reducer, Reducible};
use super::handle::{Handle, WindowedCogroupHandle, WindowedStreamHandle};
use super::stores::materialized_in;
use super::streams::text;

/// Windows of the DSL.
enum Definition {
    Time(TimeWindows),
    Sliding(SlidingWindows),
    Session(SessionWindows),
    Unlimited(UnlimitedWindows),
}

fn definition(windows: &Windows) -> Definition {
    let (size, grace) = (Duration::from_millis(windows.size), Duration::from_millis(windows.grace));
    match windows.kind {
        WindowKind::Time => {
            let time = TimeWindows::of_size_and_grace(size, grace);
            let advance = windows.advance.map(Duration::from_millis);
            Definition::Time(advance.map_or(time, |advance| time.advance_by(advance)))
        }
        WindowKind::Sliding => Definition::Sliding(SlidingWindows::of_time_difference_and_grace(size, grace)),
        WindowKind::Unlimited => Definition::Unlimited(UnlimitedWindows::of()),
        WindowKind::Session => Definition::Session(SessionWindows::of_inactivity_gap_and_grace(size, grace)),
    }
}

/// The grouped stream, cut into windows.
pub(super) fn windowed<K, V>(grouped: &KGroupedStream<K, V>, windows: &Windows, emit: EmitStrategy) -> Handle
where
    K: RecordField<NonNull = String>,
    V: RecordField<NonNull: Reducible>,
{
    Handle::WindowedStream(match definition(windows) {
        Definition::Time(time) => Box::new(grouped.windowed_by(time).emit_strategy(emit)),
        Definition::Sliding(sliding) => Box::new(grouped.windowed_by(sliding).emit_strategy(emit)),
        Definition::Session(session) => Box::new(grouped.windowed_by(session).emit_strategy(emit)),
        Definition::Unlimited(unlimited) => Box::new(grouped.windowed_by(unlimited).emit_strategy(emit)),
    })
}

/// The streams that are aggregated together, cut into windows.
pub(super) fn windowed_cogroup(cogrouped: CogroupedKStream<String, String>, windows: &Windows) -> Handle {
    Handle::WindowedCogroup(match definition(windows) {
        Definition::Time(time) => Box::new(cogrouped.windowed_by(time)),
        Definition::Sliding(sliding) => Box::new(cogrouped.windowed_by(sliding)),
        Definition::Session(session) => Box::new(cogrouped.windowed_by(session)),
        Definition::Unlimited(unlimited) => Box::new(cogrouped.windowed_by(unlimited)),
    })
}

impl WindowedCogroupHandle for TimeWindowedCogroupedKStream<String, String> {
    fn aggregate(self: Box<Self>, Aggregator { initial, .. }: Aggregator, store: Option<&Store>) -> Handle {
        Handle::Table(Box::new((*self).aggregate(materialized_in(store), || initial.to_owned())))
    }
}

impl WindowedCogroupHandle for SessionWindowedCogroupedKStream<String, String> {
    fn aggregate(
        self: Box<Self>,
        Aggregator { initial, merge, .. }: Aggregator,
        store: Option<&Store>,
    ) -> Handle {
        let merge = move |_: &String, one: String, other: String| merge(&one, &other);
        Handle::Table(Box::new((*self).aggregate(materialized_in(store), || initial.to_owned(), merge)))
    }
}

impl<K, V> WindowedStreamHandle for TimeWindowedKStream<K, V>
where
    K: RecordField<NonNull = String>,
    V: RecordField<NonNull: Reducible>,
{
    fn count(&self, store: Option<&Store>) -> Handle {
        Handle::Table(Box::new(self.count(materialized_in(store))))
    }

    fn reduce(&self, reducer: Reducer, store: Option<&Store>) -> Handle {
        let reduce = move |row, value| V::NonNull::reduce(reducer, row, value);
        Handle::Table(Box::new(self.reduce(materialized_in(store), reduce)))
    }

    fn aggregate(&self, Aggregator { initial, add, .. }: Aggregator, store: Option<&Store>) -> Handle {
        let aggregate = move |_: &String, value: V, row: String| add(text(&value).as_deref(), &row);
        Handle::Table(Box::new(self.aggregate(materialized_in(store), || initial.to_owned(), aggregate)))
    }
}

impl<K, V> WindowedStreamHandle for SlidingWindowedKStream<K, V>
where
    K: RecordField<NonNull = String>,
    V: RecordField<NonNull: Reducible>,
{
    fn count(&self, store: Option<&Store>) -> Handle {
        Handle::Table(Box::new(self.count(materialized_in(store))))
    }

    fn reduce(&self, reducer: Reducer, store: Option<&Store>) -> Handle {
        let reduce = move |row, value| V::NonNull::reduce(reducer, row, value);
        Handle::Table(Box::new(self.reduce(materialized_in(store), reduce)))
    }

    fn aggregate(&self, Aggregator { initial, add, .. }: Aggregator, store: Option<&Store>) -> Handle {
        let aggregate = move |_: &String, value: V::NonNull, row: String| add(Some(&value.text()), &row);
        Handle::Table(Box::new(self.aggregate(materialized_in(store), || initial.to_owned(), aggregate)))
    }
}

impl<K, V> WindowedStreamHandle for SessionWindowedKStream<K, V>
where
    K: RecordField<NonNull = String>,
    V: RecordField<NonNull: Reducible>,
{
    fn count(&self, store: Option<&Store>) -> Handle {
        Handle::Table(Box::new(self.count(materialized_in(store))))
    }

    fn reduce(&self, reducer: Reducer, store: Option<&Store>) -> Handle {
        let reduce = move |row, value| V::NonNull::reduce(reducer, row, value);
        Handle::Table(Box::new(self.reduce(materialized_in(store), reduce)))
    }

    fn aggregate(&self, Aggregator { initial, add, merge, .. }: Aggregator, store: Option<&Store>) -> Handle {
        let aggregate = move |_: &String, value: V, row: String| add(text(&value).as_deref(), &row);
        let merge = move |_: &String, one: String, other: String| merge(&one, &other);
        Handle::Table(Box::new(self.aggregate(
            materialized_in(store),
            || initial.to_owned(),
            aggregate,
            merge,
        )))
    }
}
