//! Rows that are deleted when they are old: those of a key-value store with a time to live.
//!
//! A row expires when the store's stream time, the largest timestamp of its writes, is `ttl` later than the row. From then on nobody
//! sees it; the next commits delete it, also in the changelog, as of the time at which it expired. What is seen never depends on when
//! commits are.
//!
//! The companion has one row for each key, `01 | time | key`, which says when to look at the key. A key that was updated meanwhile gets
//! a later one then, so that updates of a key that is there cost nothing. Times are rounded up: a key is looked at after it expired.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::companion::{Sweep, advance, stream_time};
use super::{Change, ValueAndTimestamp, millis};
use crate::dormant::RestoreRow;
use crate::error::StoreError;
use crate::format::companion::{split_timed, timed};
use crate::layer::{CachedRows, ChangeParts, WriteRows};
use crate::restoring::RestoredTable;
use crate::serde::{Encoded, Serde, SerdeError, SerdeRef};
use crate::types::Timestamp;

/// For how long rows live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeToLive {
    millis: i64,
    /// Times to look at keys are multiples of this, so that a key that is updated again and again has few.
    step: i64,
}

/// A row is deleted at most one in so many parts of its life late.
const STEPS: i64 = 16;

impl TimeToLive {
    pub(crate) fn new(ttl: Duration) -> Self {
        let millis = millis(ttl);
        Self { millis, step: (millis / STEPS).max(1) }
    }

    /// Rows of this time, and of earlier ones, have expired.
    pub(crate) fn horizon(self, stream_time: Timestamp) -> Timestamp {
        Timestamp::from_millis(stream_time.as_millis().saturating_sub(self.millis))
    }

    /// When a row of this time expires.
    fn end_of(self, row: Timestamp) -> Timestamp {
        Timestamp::from_millis(row.as_millis().saturating_add(self.millis))
    }

    /// The last time to look at keys that has come.
    fn last_look(self, stream_time: Timestamp) -> Timestamp {
        let time = stream_time.as_millis().max(0);
        Timestamp::from_millis(time - time % self.step)
    }

    /// When to look at the key of a row of this time.
    fn look_at(self, row: Timestamp) -> Timestamp {
        let end = self.end_of(row).as_millis().max(0);
        let steps = end / self.step + i64::from(end % self.step > 0);
        Timestamp::from_millis(steps.saturating_mul(self.step))
    }
}

/// The value of a row that says everything with its key and its timestamp.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Marker;

pub(crate) struct MarkerSerde;

impl Serde<Marker> for MarkerSerde {
    fn encode(&self, _marker: &Marker, _out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        Ok(Encoded::Bytes)
    }

    fn decode(&self, _bytes: &[u8]) -> Result<Marker, SerdeError> {
        Ok(Marker)
    }
}

/// The companion of a store with a time to live, on the record path.
pub(super) struct Forgetting<V> {
    ttl: TimeToLive,
    companion: Rc<RefCell<CachedRows<Marker>>>,
    sweep: Sweep,
    /// Rows of a store without caching that the current commit deletes: key, value, and when it expired.
    expired: RefCell<Vec<(Vec<u8>, V, Timestamp)>>,
    /// Reused for keys of the companion.
    key: RefCell<Vec<u8>>,
}

impl<V: Clone + 'static> Forgetting<V> {
    pub(super) fn new(ttl: TimeToLive, companion: Rc<RefCell<CachedRows<Marker>>>) -> Self {
        Self { ttl, companion, sweep: Sweep::default(), expired: RefCell::default(), key: RefCell::default() }
    }

    /// Rows of this time, and of earlier ones, have expired.
    pub(super) fn horizon(&self) -> Result<Option<Timestamp>, StoreError> {
        let stream_time = stream_time(&mut *self.companion.borrow_mut())?;
        Ok(stream_time.map(|time| self.ttl.horizon(time)))
    }

    /// [`CachedRows::update`], for which a row that has expired is none. Downstream it is the old one still: nobody was told that it
    /// has gone.
    pub(super) fn update<E: From<StoreError>>(
        &self,
        rows: &mut CachedRows<V>,
        key: &[u8],
        at: Timestamp,
        wanted: ChangeParts,
        f: impl FnOnce(Option<ValueAndTimestamp<V>>) -> Result<Option<ValueAndTimestamp<V>>, E>,
    ) -> Result<Option<(Change<V>, Timestamp)>, E> {
        let horizon = self.horizon()?;
        let (mut before, mut after) = (None, None);
        let change = rows.update(key, at, wanted, |row| {
            before = row.as_ref().map(|row| row.timestamp);
            let next = f(row.filter(|row| is_alive(row, horizon)))?;
            after = next.as_ref().map(|row| row.timestamp);
            Ok::<_, E>(next)
        })?;
        if before.is_none() && after.is_none() {
            // Nothing has changed, and no changelog hears of it.
            return Ok(change);
        }
        advance(&mut *self.companion.borrow_mut(), after.unwrap_or(at))?;
        if let Some(after) = after {
            let is_known = |before| self.ttl.look_at(before) <= self.ttl.look_at(after);
            if !before.is_some_and(is_known) {
                self.look_at(key, self.ttl.look_at(after))?;
            }
        }
        Ok(change)
    }

    fn look_at(&self, key: &[u8], time: Timestamp) -> Result<(), StoreError> {
        self.sweep.add(time);
        let mut timed_key = self.key.borrow_mut();
        timed(time, key, &mut timed_key);
        self.companion.borrow_mut().set(&timed_key, Some(ValueAndTimestamp::new(Marker, time)))
    }

    /// Deletes rows that have expired.
    pub(super) fn drop_expired(&self, rows: &mut CachedRows<V>) -> Result<(), StoreError> {
        self.expired.borrow_mut().clear();
        let Some(stream_time) = stream_time(&mut *self.companion.borrow_mut())? else { return Ok(()) };
        let horizon = self.ttl.horizon(stream_time);
        for timed_key in self.sweep.due(&self.companion, self.ttl.last_look(stream_time))? {
            self.companion.borrow_mut().set(&timed_key, None)?;
            let Some((_, key)) = split_timed(&timed_key) else { continue };
            match rows.read(key)?.as_ref().map(|row| row.timestamp) {
                Some(timestamp) if timestamp > horizon => self.look_at(key, self.ttl.look_at(timestamp))?,
                Some(timestamp) => self.drop_row(rows, key, self.ttl.end_of(timestamp))?,
                None => {}
            }
        }
        Ok(())
    }

    fn drop_row(&self, rows: &mut CachedRows<V>, key: &[u8], at: Timestamp) -> Result<(), StoreError> {
        let change = rows.update(key, at, ChangeParts::Both, |_| Ok::<_, StoreError>(None))?;
        if let Some((Change { old: Some(old), .. }, at)) = change {
            self.expired.borrow_mut().push((key.to_vec(), old, at));
        }
        Ok(())
    }

    /// What a store without caching has to emit at a commit.
    pub(super) fn take_expired(&self) -> Vec<(Vec<u8>, V, Timestamp)> {
        self.expired.take()
    }

    pub(super) fn rolled_back(&self) {
        self.expired.borrow_mut().clear();
        self.sweep.restart();
    }
}

/// Whether a row has not expired, given the horizon of its store.
pub(super) fn is_alive<V>(row: &ValueAndTimestamp<V>, horizon: Option<Timestamp>) -> bool {
    horizon.is_none_or(|horizon| row.timestamp > horizon)
}

/// Puts what a changelog has, and notes when to look at it.
pub(super) fn replay<'a>(
    ttl: TimeToLive,
    records: impl Iterator<Item = RestoreRow<'a>>,
    mut store: RestoredTable<'_>,
    companion: RestoredTable<'_>,
) -> Result<u64, StoreError> {
    let markers: SerdeRef<Marker> = Arc::new(MarkerSerde);
    let mut companion = companion.rows(markers);
    let (mut count, mut timed_key) = (0, Vec::new());
    for record in records {
        store.put(record);
        advance(&mut companion, record.timestamp)?;
        if record.value.is_some() {
            let time = ttl.look_at(record.timestamp);
            timed(time, record.key, &mut timed_key);
            companion.set(&timed_key, Some(ValueAndTimestamp::new(Marker, time)))?;
        }
        count += 1;
    }
    Ok(count)
}
