//! Joins of two streams.

use std::time::Duration;

use anyhow::{Result, ensure};
use millstream::{KStream, RecordField, StreamJoined};

use super::super::case::{JoinWindows, Store};
use super::super::functions::{Readable, join, join_with_key};
use super::handle::{JoinKind, Joining};
use super::streams::text;

/// The stream, joined with another whose keys have the same type.
pub(super) fn join_streams<K, V, V2>(
    stream: &KStream<K, V>,
    other: &KStream<K, V2>,
    windows: &JoinWindows,
    store: Option<&Store>,
    Joining { kind, with_key }: Joining,
) -> Result<KStream<K, Option<String>>>
where
    K: RecordField<NonNull: Readable>,
    V: RecordField<NonNull: Readable>,
    V2: RecordField<NonNull: Readable>,
{
    let within = stream.within(join_windows(windows)).stored(stored(store)?);
    if with_key {
        let joiner = |key: &K, left: Option<&V::NonNull>, right: Option<&V2::NonNull>| {
            let (left, right) = (left.map(Readable::text), right.map(Readable::text));
            Some(join_with_key(text(key).as_deref(), left.as_deref(), right.as_deref()))
        };
        let within = within.with_key();
        return Ok(match kind {
            JoinKind::Inner => {
                within.join(other, move |key, left, right| joiner(key, Some(left), Some(right)))
            }
            JoinKind::Left => within.left_join(other, move |key, left, right| joiner(key, Some(left), right)),
            JoinKind::Outer => within.outer_join(other, joiner),
        });
    }
    Ok(match kind {
        JoinKind::Inner => {
            within.join(other, |left, right| Some(join(Some(&left.text()), Some(&right.text()))))
        }
        JoinKind::Left => within.left_join(other, |left, right| {
            Some(join(Some(&left.text()), right.map(Readable::text).as_deref()))
        }),
        JoinKind::Outer => within.outer_join(other, |left, right| {
            let (left, right) = (left.map(Readable::text), right.map(Readable::text));
            Some(join(left.as_deref(), right.as_deref()))
        }),
    })
}

fn join_windows(windows: &JoinWindows) -> millstream::JoinWindows {
    let JoinWindows { before, after, grace } = *windows;
    let [before, after, grace] = [before, after, grace].map(Duration::from_millis);
    millstream::JoinWindows::of_time_difference_and_grace(after, grace).before(before)
}

/// How the records of both sides are kept for each other.
fn stored(store: Option<&Store>) -> Result<StreamJoined> {
    let Some(Store { name, cached, logged, in_memory, versioned, retention }) = store else {
        return Ok(StreamJoined::default());
    };
    let has_others = !cached || versioned.is_some() || retention.is_some();
    ensure!(!has_others, "the stores of a join of streams have no such options");
    let mut stored = name.as_ref().map_or_else(StreamJoined::default, StreamJoined::named);
    if !logged {
        stored = stored.without_logging();
    }
    if *in_memory {
        stored = stored.in_memory();
    }
    Ok(stored)
}
