//! What a store keeps besides its own rows: when they expire, or which versions they replaced; and the store's stream time.
//!
//! A companion is one more table of the task, which only its store sees. It is undone, committed, checkpointed and rolled back as
//! any other, but has no changelog: what is restored of the store's changelog makes the rows of both. On the disk both are in one place, so
//! that neither is ever there without the other: what a replay makes of one depends on what the other says.

use std::cell::{Cell, RefCell};

use super::ttl::{self, TimeToLive};
use super::versions::{self, HistoryLimits};
use crate::dormant::RestoreRow;
use crate::error::StoreError;
use crate::format::companion::{STREAM_TIME, between};
use crate::key_range::Direction;
use crate::layer::{CachedRows, ReadRows, WriteRows};
use crate::restoring::RestoredTable;
use crate::store::ValueAndTimestamp;
use crate::types::Timestamp;

/// Which companion a store has; only this crate looks inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Companion(pub(crate) CompanionKind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompanionKind {
    Expiry(TimeToLive),
    History(HistoryLimits),
}

impl Companion {
    /// The name of the companion of `store`; no store has a slash in its name.
    pub(crate) fn name(self, store: &str) -> String {
        match self.0 {
            CompanionKind::Expiry(_) => format!("{store}/expiry"),
            CompanionKind::History(limits) => format!("{store}/history-{}", limits.interval()),
        }
    }

    /// How a store with this companion is kept on the disk, where the rows of both are together.
    pub(crate) fn kept_as(self) -> String {
        match self.0 {
            CompanionKind::Expiry(_) => "with-expiry".to_owned(),
            CompanionKind::History(limits) => format!("with-history-{}", limits.interval()),
        }
    }

    /// Makes rows of a batch of the changelog. Returns the number of records.
    pub(crate) fn replay<'a>(
        self,
        records: impl Iterator<Item = RestoreRow<'a>>,
        store: RestoredTable<'_>,
        companion: RestoredTable<'_>,
    ) -> Result<u64, StoreError> {
        match self.0 {
            CompanionKind::Expiry(time_to_live) => ttl::replay(time_to_live, records, store, companion),
            CompanionKind::History(limits) => versions::replay(limits, records, store, companion),
        }
    }
}

/// The largest timestamp that the store of this companion has seen.
pub(crate) fn stream_time<V>(companion: &mut impl ReadRows<V>) -> Result<Option<Timestamp>, StoreError> {
    Ok(companion.row(STREAM_TIME)?.map(|row| row.timestamp))
}

/// Notes that the store has seen `time`.
pub(crate) fn advance<V: Default>(
    companion: &mut impl WriteRows<V>,
    time: Timestamp,
) -> Result<(), StoreError> {
    if stream_time(companion)?.is_some_and(|latest| latest >= time) {
        return Ok(());
    }
    companion.set(STREAM_TIME, Some(ValueAndTimestamp::new(V::default(), time)))
}

/// What a store with a companion does by itself as time passes.
pub(crate) trait Expiring {
    /// Deletes what has expired, right before the emissions of a commit.
    fn drop_expired(&self) -> Result<(), StoreError>;
    /// The rows are as they were at the last commit.
    fn rolled_back(&self);
}

/// How far those rows of a companion are dealt with whose time has come: some at each commit, so that none takes long, but more than
/// are added in between.
#[derive(Default)]
pub(crate) struct Sweep {
    /// No row has this time or an earlier one.
    done_to: Cell<Option<Timestamp>>,
    /// Rows added since the last look.
    added: Cell<usize>,
}

impl Sweep {
    const LEAST: usize = 1_000;

    /// Notes that there may be a new row of this time.
    pub(crate) fn add(&self, time: Timestamp) {
        self.added.set(self.added.get() + 1);
        if self.done_to.get().is_some_and(|done_to| time <= done_to) {
            self.restart();
        }
    }

    /// Keys of rows whose time is `until` or before, which are to be removed now.
    pub(crate) fn due<V: Clone + 'static>(
        &self,
        rows: &RefCell<CachedRows<V>>,
        until: Timestamp,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let done_to = self.done_to.get();
        if done_to.is_some_and(|done_to| until <= done_to) {
            return Ok(Vec::new());
        }
        let most = Self::LEAST + 2 * self.added.take();
        let from = done_to.unwrap_or(Timestamp::from_millis(0));
        let rows = rows.borrow_mut().scan(between(from, until), Direction::Forward)?;
        let due: Vec<Vec<u8>> = rows.take(most).map(|row| Ok(row?.0)).collect::<Result<_, StoreError>>()?;
        if due.len() < most {
            self.done_to.set(Some(until));
        }
        Ok(due)
    }

    /// Looks at all rows again.
    pub(crate) fn restart(&self) {
        self.done_to.set(None);
    }
}
