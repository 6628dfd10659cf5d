//! The rules of a versioned store (KIP-889): where versions lie, and how one finds its place among the others.
//!
//! ```text
//! the store       key               the newest version, unless it is a deletion
//! its history     02 | key          when the key was deleted, if that is its newest version
//!                 01 | s | key      the versions that ceased to be valid from `s` on, for one interval of time
//! ```
//! The versions of a key leave no gaps: each is valid until the next begins, a deletion being a version without a value. So the row of
//! an interval is one stretch of time, and what was valid at a time lies in the first row at or after it. Rows of intervals whose end is
//! longer ago than the history retention are dropped.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::companion::{advance, stream_time};
use super::segment::{Segment, Version};
use super::{ValueAndTimestamp, VersionedPut, VersionedRecord, millis};
use crate::dormant::RestoreRow;
use crate::error::StoreError;
use crate::format::{SegmentSerde, companion};
use crate::layer::{ReadRows, WriteRows};
use crate::restoring::RestoredTable;
use crate::serde::HasSerde;
use crate::types::Timestamp;

/// For how long a store remembers what was, and in pieces of which length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HistoryLimits {
    retention: i64,
    interval: i64,
}

/// More intervals are more rows to look into, fewer are longer ones to write again when a version is added.
const INTERVALS: i64 = 16;

impl HistoryLimits {
    pub(crate) fn new(retention: Duration) -> Self {
        let retention = millis(retention);
        Self { retention, interval: (retention / INTERVALS).max(1) }
    }

    /// The length of a piece, in milliseconds.
    pub(crate) fn interval(self) -> i64 {
        self.interval
    }

    /// The start of the interval that a time lies in.
    pub(crate) fn interval_of(self, time: Timestamp) -> Timestamp {
        let time = time.as_millis().max(0);
        Timestamp::from_millis(time - time % self.interval)
    }

    /// What was valid before is forgotten, and nothing may be put there any more.
    pub(crate) fn horizon(self, stream_time: Timestamp) -> Timestamp {
        Timestamp::from_millis(stream_time.as_millis().saturating_sub(self.retention))
    }

    /// The intervals from that of one time to that of another. What is remembered lies no further apart than the retention; where rows say
    /// that it does, which were damaged, nobody looks into more of them.
    fn intervals(self, times: RangeInclusive<Timestamp>) -> impl Iterator<Item = Timestamp> {
        let (first, last) = (self.interval_of(*times.start()), self.interval_of(*times.end()));
        let next =
            move |start: &Timestamp| start.as_millis().checked_add(self.interval).map(Timestamp::from_millis);
        let most = usize::try_from(self.retention / self.interval + 2).unwrap_or(usize::MAX);
        std::iter::successors(Some(first), next).take_while(move |start| *start <= last).take(most)
    }
}

/// The versions of all keys, in the rows of a store and of its history.
pub(crate) struct Versions<'rows, Latest, History> {
    limits: HistoryLimits,
    latest: &'rows mut Latest,
    history: &'rows mut History,
    /// Reused for keys of the history.
    key: Vec<u8>,
}

impl<'rows, Latest, History> Versions<'rows, Latest, History> {
    pub(crate) fn new(limits: HistoryLimits, latest: &'rows mut Latest, history: &'rows mut History) -> Self {
        Self { limits, latest, history, key: Vec::new() }
    }

    /// The newest version of a key, unless it was deleted.
    pub(crate) fn newest<V: Clone>(&mut self, key: &[u8]) -> Result<Option<VersionedRecord<V>>, StoreError>
    where
        Latest: ReadRows<V>,
    {
        let of_row = |row: &ValueAndTimestamp<V>| VersionedRecord {
            value: row.value.clone(),
            valid_from: row.timestamp,
            valid_to: None,
        };
        Ok(self.latest.row(key)?.map(of_row))
    }

    /// What was valid at a time, unless there was nothing or it is forgotten. The newest version is never forgotten.
    pub(crate) fn as_of<V: Clone>(
        &mut self,
        key: &[u8],
        as_of: Timestamp,
    ) -> Result<Option<VersionedRecord<V>>, StoreError>
    where
        Latest: ReadRows<V>,
        History: ReadRows<Segment<V>>,
    {
        let Some(newest) = self.begin_of_newest(key)? else { return Ok(None) };
        if newest <= as_of {
            return self.newest(key);
        }
        let Some(stream_time) = stream_time(self.history)? else { return Ok(None) };
        if as_of < self.limits.horizon(stream_time) {
            return Ok(None);
        }
        for interval in self.limits.intervals(as_of..=newest) {
            companion::timed(interval, key, &mut self.key);
            let Some(row) = self.history.row(&self.key)?.filter(|row| row.timestamp > as_of) else {
                continue;
            };
            let segment = &row.value;
            let next = segment.up_to(as_of);
            let Some(version) = next.checked_sub(1).and_then(|place| segment.get(place)) else {
                return Ok(None);
            };
            let valid_to = segment.get(next).map_or(row.timestamp, |next| next.from);
            return Ok(version.value.as_ref().map(|value| VersionedRecord {
                value: value.clone(),
                valid_from: version.from,
                valid_to: Some(valid_to),
            }));
        }
        Ok(None)
    }

    /// When the newest version of a key began, a deletion included; `None` if the key has none.
    fn begin_of_newest<V: Clone>(&mut self, key: &[u8]) -> Result<Option<Timestamp>, StoreError>
    where
        Latest: ReadRows<V>,
        History: ReadRows<Segment<V>>,
    {
        if let Some(row) = self.latest.row(key)? {
            return Ok(Some(row.timestamp));
        }
        companion::untimed(key, &mut self.key);
        Ok(self.history.row(&self.key)?.map(|row| row.timestamp))
    }

    /// Puts a version, a deletion if it has no value, over what began at the same time.
    pub(crate) fn put<V: Clone>(
        &mut self,
        key: &[u8],
        value: Option<V>,
        at: Timestamp,
    ) -> Result<VersionedPut, StoreError>
    where
        Latest: WriteRows<V>,
        History: WriteRows<Segment<V>>,
    {
        if let Some(stream_time) = stream_time(self.history)?
            && at < self.limits.horizon(stream_time)
        {
            return Ok(VersionedPut::NotPut);
        }
        advance(self.history, at)?;
        let is_deletion = value.is_none();
        match self.begin_of_newest(key)? {
            Some(newest) if at < newest => return self.insert(key, newest, Version { from: at, value }),
            Some(newest) if at == newest => {
                self.set_newest(key, value, at)?;
            }
            Some(newest) => {
                let replaced = self.set_newest(key, value, at)?;
                self.add_to_history(key, Version { from: newest, value: replaced }, at)?;
            }
            None => {
                self.set_newest(key, value, at)?;
                if is_deletion {
                    // A row that says for how long to remember it.
                    companion::timed(self.limits.interval_of(at), key, &mut self.key);
                    self.history.set(&self.key, Some(ValueAndTimestamp::new(Segment::default(), at)))?;
                }
            }
        }
        Ok(VersionedPut::Latest)
    }

    /// Sets the newest version of a key, and returns the value of the one before.
    fn set_newest<V: Clone>(
        &mut self,
        key: &[u8],
        value: Option<V>,
        at: Timestamp,
    ) -> Result<Option<V>, StoreError>
    where
        Latest: WriteRows<V>,
        History: WriteRows<Segment<V>>,
    {
        let (mut before, is_deletion) = (None, value.is_none());
        self.latest.change(key, |row| {
            before = row.map(|row| row.value);
            value.map(|value| ValueAndTimestamp::new(value, at))
        })?;
        if is_deletion || before.is_none() {
            companion::untimed(key, &mut self.key);
            let deletion = is_deletion.then(|| ValueAndTimestamp::new(Segment::default(), at));
            self.history.set(&self.key, deletion)?;
        }
        Ok(before)
    }

    /// Adds a version that ceased to be valid at `end`, which is later than all that the history has of the key.
    fn add_to_history<V: Clone>(
        &mut self,
        key: &[u8],
        version: Version<V>,
        end: Timestamp,
    ) -> Result<(), StoreError>
    where
        History: WriteRows<Segment<V>>,
    {
        companion::timed(self.limits.interval_of(end), key, &mut self.key);
        self.history.change(&self.key, |row| {
            let mut segment = row.map_or_else(Segment::default, |row| row.value);
            segment.push(version);
            Some(ValueAndTimestamp::new(segment, end))
        })
    }

    /// Puts a version between older ones and the newest of its key.
    fn insert<V: Clone>(
        &mut self,
        key: &[u8],
        newest: Timestamp,
        version: Version<V>,
    ) -> Result<VersionedPut, StoreError>
    where
        History: WriteRows<Segment<V>>,
    {
        let at = version.from;
        let mut found = None;
        for interval in self.limits.intervals(at..=newest) {
            companion::timed(interval, key, &mut self.key);
            if let Some(row) = self.history.row(&self.key)?.filter(|row| row.timestamp > at) {
                let next = row.value.up_to(at);
                let valid_to = row.value.get(next).map_or(row.timestamp, |next| next.from);
                found = Some((interval, next, valid_to));
                break;
            }
        }
        let Some((interval, next, valid_to)) = found else {
            // Nothing is known before the newest version.
            self.add_to_history(key, version, newest)?;
            return Ok(VersionedPut::ValidUntil(newest));
        };
        if self.limits.interval_of(valid_to) != interval {
            // It comes before all that is known, and ends in an earlier interval than those.
            self.add_to_history(key, version, valid_to)?;
            return Ok(VersionedPut::ValidUntil(valid_to));
        }
        let is_of_its_interval = self.limits.interval_of(at) == interval;
        let mut displaced = None;
        self.history.change(&self.key, |row| {
            let mut row = row?;
            let segment = &mut row.value;
            match next.checked_sub(1).and_then(|place| Some((place, segment.get(place)?.from))) {
                Some((place, from)) if from == at => drop(segment.replace(place, version)),
                // The one before ends now where this one begins, in an earlier interval.
                Some((place, _)) if !is_of_its_interval => displaced = Some(segment.replace(place, version)),
                _ => segment.insert(next, version),
            }
            Some(row)
        })?;
        if let Some(displaced) = displaced {
            self.add_to_history(key, displaced, at)?;
        }
        Ok(VersionedPut::ValidUntil(valid_to))
    }
}

/// Puts what a changelog has: as the store did when it wrote it.
pub(super) fn replay<'a>(
    limits: HistoryLimits,
    records: impl Iterator<Item = RestoreRow<'a>>,
    store: RestoredTable<'_>,
    history: RestoredTable<'_>,
) -> Result<u64, StoreError> {
    let values = Vec::<u8>::serde();
    let mut latest = store.rows(values.clone());
    let mut history = history.rows(std::sync::Arc::new(SegmentSerde::new(values)));
    let mut versions = Versions::new(limits, &mut latest, &mut history);
    let mut count = 0;
    for RestoreRow { key, value, timestamp } in records {
        versions.put(key, value.map(<[u8]>::to_vec), timestamp)?;
        count += 1;
    }
    Ok(count)
}
