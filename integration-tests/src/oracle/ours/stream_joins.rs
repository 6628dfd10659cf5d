//! Joins of two streams.

use std::time::Duration;

use anyhow::{Result, ensure};
use millstream::{KStream, RecordField, StreamJoined};

use super::super::case::{JoinWindows, Store};
use super::super::functions::{Readable, join};
use super::handle::JoinKind;

/// The stream, joined with another whose keys have the same type.
pub(super) fn join_streams<K, V, V2>(
    stream: &KStream<K, V>,
    other: &KStream<K, V2>,
    windows: &JoinWindows,
    store: Option<&Store>,
    kind: JoinKind,
) -> Result<KStream<K, Option<String>>>
where
    K: RecordField,
    V: RecordField<NonNull: Readable>,
    V2: RecordField<NonNull: Readable>,
{
    let within = stream.within(join_windows(windows)).stored(stored(store)?);
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
    let Some(Store { name, cached, logged, in_memory, versioned }) = store else {
        return Ok(StreamJoined::default());
    };
    ensure!(*cached && versioned.is_none(), "the stores of a join of streams have no such options");
    let mut stored = name.as_ref().map_or_else(StreamJoined::default, StreamJoined::named);
    if !logged {
        stored = stored.without_logging();
    }
    if *in_memory {
        stored = stored.in_memory();
    }
    Ok(stored)
}
