//! The aggregations of windowed streams.

use std::time::Duration;

use millstream::{
    EmitStrategy, KGroupedStream, RecordField, SessionWindowedKStream, SessionWindows,
    SlidingWindowedKStream, SlidingWindows, TimeWindowedKStream, TimeWindows,
};

use super::super::case::{Store, WindowKind, Windows};
use super::super::functions::{Aggregator, Readable, Reducer, Reducible};
use super::handle::{Handle, WindowedStreamHandle};
use super::stores::materialized_in;
use super::streams::text;

/// The grouped stream, cut into windows.
pub(super) fn windowed<K, V>(grouped: &KGroupedStream<K, V>, windows: &Windows, emit: EmitStrategy) -> Handle
where
    K: RecordField<NonNull = String>,
    V: RecordField<NonNull: Reducible>,
{
    let (size, grace) = (Duration::from_millis(windows.size), Duration::from_millis(windows.grace));
    Handle::WindowedStream(match windows.kind {
        WindowKind::Time => {
            let time = TimeWindows::of_size_and_grace(size, grace);
            let time =
                windows.advance.map_or(time, |advance| time.advance_by(Duration::from_millis(advance)));
            Box::new(grouped.windowed_by(time).emit_strategy(emit))
        }
        WindowKind::Sliding => {
            let sliding = SlidingWindows::of_time_difference_and_grace(size, grace);
            Box::new(grouped.windowed_by(sliding).emit_strategy(emit))
        }
        WindowKind::Session => {
            let session = SessionWindows::of_inactivity_gap_and_grace(size, grace);
            Box::new(grouped.windowed_by(session).emit_strategy(emit))
        }
    })
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
