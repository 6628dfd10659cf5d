//! What exceptions ask of the windows of a case, and of how its records lie in them.

use super::program::{changes_keys, input_times, is_cached, topics_of};
use crate::oracle::case::{Case, Input, Op, Statement, WindowKind, Windows};
use crate::oracle::observation::Row;

/// The windows that the statement aggregates.
pub(super) fn windows_of<'a>(case: &'a Case, statement: &Statement) -> Option<&'a Windows> {
    case.statement(statement.of.as_deref()?)?.windows.as_ref()
}

pub(super) fn window_kind(case: &Case, statement: &Statement) -> Option<WindowKind> {
    windows_of(case, statement).map(|windows| windows.kind)
}

/// Whether the statement aggregates several streams in windows.
pub(super) fn is_windowed_cogroup(case: &Case, statement: &Statement) -> bool {
    let of = |statement: &Statement| statement.of.as_deref().and_then(|of| case.statement(of));
    let windowed = of(statement).filter(|windowed| windowed.op == Op::WindowedBy);
    windowed.and_then(of).is_some_and(|of| of.op == Op::Cogroup)
}

/// Longer than any case, and not so long that numbers overflow.
const FOREVER: i64 = i64::MAX / 4;

/// How long rows of such windows are there for certain, in milliseconds.
fn kept_for(windows: &Windows) -> i64 {
    let length = match windows.kind {
        WindowKind::Unlimited => return FOREVER,
        WindowKind::Sliding => 2 * windows.size,
        WindowKind::Time | WindowKind::Session => windows.size,
    };
    i64::try_from(length + windows.grace).unwrap_or(i64::MAX)
}

/// The same of the rows of a table of windows.
pub(super) fn kept_in_store(case: &Case, table: &Statement) -> Option<i64> {
    let by_windows = kept_for(windows_of(case, table)?);
    let by_store = table.store.as_ref().and_then(|store| i64::try_from(store.retention?).ok());
    Some(by_store.unwrap_or_default().max(by_windows))
}

/// Whether a row of a table of windows may be there no longer when the last record comes.
pub(super) fn rows_may_go(case: &Case, table: &Statement) -> bool {
    let (Some(windows), Some(kept)) = (windows_of(case, table), kept_in_store(case, table)) else {
        return false;
    };
    let size = i64::try_from(windows.size).unwrap_or(i64::MAX);
    let oldest = input_times(case).min().unwrap_or_default().saturating_sub(size);
    input_times(case).max().is_some_and(|newest| newest.saturating_sub(oldest) >= kept)
}

/// Whether a record comes so many milliseconds after one with a later time.
pub(super) fn comes_late_by(case: &Case, millis: i64) -> bool {
    let mut newest = i64::MIN;
    input_times(case).any(|time| {
        newest = newest.max(time);
        time <= newest.saturating_sub(millis)
    })
}

/// By which a row of windows or sessions is kept: the start of the window, or the end of the session. None of a row without a window.
pub(super) fn time_of_row(case: &Case, row: &Row) -> Option<i64> {
    let (start, end) = row.key.rsplit_once('@')?.1.split_once('/')?;
    let mut windows = case.program.iter().filter_map(|statement| statement.windows.as_ref());
    let has_sessions = windows.any(|windows| windows.kind == WindowKind::Session);
    if has_sessions { end } else { start }.parse().ok()
}

/// Whether stream time leaps, between two records that windows see, over all that Kafka Streams' store keeps behind those that are
/// open: that of sliding windows, or one without a cache.
pub(super) fn leaps_over(case: &Case, windowed: &Statement) -> bool {
    let is_uncached = |below: &Statement| below.of.as_ref() == Some(&windowed.id) && !is_cached(below);
    let farthest = match &windowed.windows {
        Some(Windows { kind: WindowKind::Sliding, size, .. }) => 2 * size,
        Some(Windows { kind: WindowKind::Time, size, grace, .. }) if case.program.iter().any(is_uncached) => {
            size + grace
        }
        _ => return false,
    };
    let farthest = i64::try_from(farthest).unwrap_or(i64::MAX);
    let topics = topics_of(case, windowed);
    let mut stream_time: Option<i64> = None;
    case.inputs().any(|Input { topic, key, value, at, .. }| {
        let before = stream_time.unwrap_or(*at);
        stream_time = match &topics {
            Some(topics) if !topics.contains(&&**topic) || key.is_none() || value.is_none() => return false,
            Some(_) => Some(before.max(*at)),
            // What is above may leave any record out, and so all between two.
            None => Some(before.min(*at)),
        };
        at - before >= farthest
    })
}

/// Whether the window that ends with a record is the one that begins right after another.
pub(super) fn is_met_exactly(case: &Case, windows: &Windows) -> bool {
    let keys_stay = !case.program.iter().any(changes_keys);
    let distance = windows.size + 1;
    let just_misses = |one: &Input, other: &Input| {
        one.at.abs_diff(other.at) == distance && (!keys_stay || one.key == other.key)
    };
    windows.kind == WindowKind::Sliding
        && case.inputs().any(|one| case.inputs().any(|other| just_misses(one, other)))
}

/// Whether a record that is not too late may continue a session that is too old for the store of Kafka Streams.
pub(super) fn reaches_back(case: &Case, windowed: &Statement) -> bool {
    let Some(windows @ Windows { kind: WindowKind::Session, .. }) = &windowed.windows else { return false };
    let gap = i64::try_from(windows.size).unwrap_or(i64::MAX);
    let closes_after = kept_for(windows);
    let tables = case.program.iter().filter(|table| table.of.as_ref() == Some(&windowed.id));
    let kept = tables.filter_map(|table| kept_in_store(case, table)).min().unwrap_or(closes_after);
    let keys_stay = !case.program.iter().any(changes_keys);
    let topics = topics_of(case, windowed);
    let (mut before, mut stream_time) = (Vec::new(), i64::MIN);
    case.inputs().any(|Input { topic, key, at, .. }| {
        let is_elsewhere = topics.as_ref().is_some_and(|topics| !topics.contains(&&**topic));
        if is_elsewhere || keys_stay && key.is_none() {
            return false;
        }
        stream_time = stream_time.max(*at);
        let (closed, gone) = (stream_time.saturating_sub(closes_after), stream_time.saturating_sub(kept));
        let of_its_key = before.iter().filter(|(other, _)| !keys_stay || *other == key);
        let continued = of_its_key.map(|(_, end)| *end).filter(|end| (at - gap..=at + gap).contains(end));
        let ends: Vec<i64> = continued.collect();
        before.push((key, *at));
        // What is above may leave out the record that makes this one late.
        let is_late = topics.is_some() && *at < closed && ends.iter().all(|end| *end <= closed);
        !is_late && ends.iter().any(|end| *end <= gone)
    })
}
