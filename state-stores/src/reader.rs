//! Committed rows, read from any thread while the task goes on.
//!
//! A reader sees the rows that are committed but not yet checkpointed (the *overlay*) over those of the engine. A new view is
//! swapped in at each commit and checkpoint; whoever reads keeps the view he started with. So readers and the
//! task never wait for each other, and a view is never half of a commit.
//!
//! ```text
//! commit ──> overlay ──freeze──> frozen ──written──> engine         reads look from left to right
//!               ^────── thaw ──────┘ (could not be written)
//! ```
//! A checkpoint freezes the overlay, writes the frozen rows into the engine, and forgets them after that: a reader that looks
//! from left to right misses nothing. A scan needs more: an engine that is not ahead of its view. All that a
//! checkpoint writes was frozen first, so it starts again if something was frozen in between.
//!
//! The task publishes and freezes; a background thread merges, forgets and thaws. Each does so by replacing the view it
//! read by a changed one, or tries again if the other was faster: the changes are a few pointers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

use crate::engine::{Engine, EngineScan};
use crate::error::StoreError;
use crate::expiry::Expiry;
use crate::format::{SegmentSerde, row};
use crate::key_range::{Direction, KeyRange};
use crate::layer::{CommittedRows, decode_value};
use crate::memory::StateMemory;
use crate::merge::MergedScan;
use crate::overlay::{MergeableRuns, Overlay, Run, hash_of};
use crate::position::Position;
use crate::serde::{HasSerde, SerdeRef};
use crate::store::{CompanionKind, MarkerSerde, ValueAndTimestamp, VersionedRecord, Versions, stream_time};
use crate::types::{StoreIndex, Timestamp};

/// The committed rows of one store, encoded, for queries from any thread.
///
/// It outlives its task: when the task is closed or moved, every call says [`StoreError::Closed`].
pub struct StoreReader {
    name: String,
    store: StoreIndex,
    companion: Option<CompanionReader>,
    view: ArcSwap<View>,
    /// Runs of the overlay are on their way into one; others wait until that is done.
    is_merging: AtomicBool,
    memory: Arc<StateMemory>,
    /// Which rows nobody gets any more, if rows can be too old.
    expiry: Option<Arc<Expiry>>,
}

/// The rows that a store keeps besides its own, and what they are for. They are of the same commit or of a later one: a query may
/// already miss what expires next.
pub(crate) struct CompanionReader {
    pub(crate) rows: Arc<StoreReader>,
    pub(crate) kind: CompanionKind,
}

/// What readers see from one commit to the next.
#[derive(Clone)]
struct View {
    /// Committed since the last checkpoint began.
    overlay: Overlay,
    /// What a checkpoint is writing.
    frozen: Overlay,
    position: Arc<Position>,
    /// How often the overlay was frozen.
    freezes: u64,
    /// `None` once the task is closed.
    engine: Option<Arc<dyn Engine>>,
}

/// One row of a scan: key, timestamp, value.
pub type ScannedRow = (Vec<u8>, Timestamp, Vec<u8>);

/// The rows of a range, as of one commit. It reads as it goes; while it lives, the task's directory stays in use.
pub struct StoreScan {
    store: String,
    /// Rows of this time, and of earlier ones, have expired.
    horizon: Option<Timestamp>,
    rows: EngineScan,
    expiry: Option<Arc<Expiry>>,
}

impl StoreReader {
    pub(crate) fn new(
        name: &str,
        store: StoreIndex,
        companion: Option<CompanionReader>,
        engine: Arc<dyn Engine>,
        memory: Arc<StateMemory>,
        expiry: Option<Arc<Expiry>>,
    ) -> Self {
        let view = View {
            overlay: Overlay::default(),
            frozen: Overlay::default(),
            position: Arc::new(Position::new()),
            freezes: 0,
            engine: Some(engine),
        };
        let is_merging = AtomicBool::new(false);
        let view = ArcSwap::from_pointee(view);
        Self { name: name.to_owned(), store, companion, view, is_merging, memory, expiry }
    }

    /// The name of the store.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The timestamp and the encoded value of an encoded key.
    ///
    /// # Errors
    /// [`StoreError::Closed`] if the task has moved; what the engine says if its disk fails.
    pub fn get(&self, key: &[u8]) -> Result<Option<(Timestamp, Vec<u8>)>, StoreError> {
        let mut row = Vec::new();
        if !self.read_live_row(key, &mut row)? {
            return Ok(None);
        }
        let (timestamp, value) = self.split(&row)?;
        Ok(Some((timestamp, value.to_vec())))
    }

    /// The version of an encoded key that was valid at a time, with its encoded value; `None` if there was none, or if it was replaced
    /// before the history retention.
    ///
    /// # Errors
    /// [`StoreError::NotVersioned`] if the store keeps no versions; else as [`StoreReader::get`].
    pub fn get_as_of(
        &self,
        key: &[u8],
        as_of: Timestamp,
    ) -> Result<Option<VersionedRecord<Vec<u8>>>, StoreError> {
        let Some(CompanionReader { rows, kind: CompanionKind::History(limits) }) = &self.companion else {
            return Err(StoreError::NotVersioned { store: self.name.clone() });
        };
        let values = Vec::<u8>::serde();
        let mut latest = CommittedRows::new(self, values.clone());
        let mut history = CommittedRows::new(rows, Arc::new(SegmentSerde::new(values)));
        Versions::new(*limits, &mut latest, &mut history).as_of(key, as_of)
    }

    /// The rows of a range in the order of their unsigned bytes, all as of the same commit.
    ///
    /// # Errors
    /// As [`StoreReader::get`].
    pub fn scan(&self, range: KeyRange, direction: Direction) -> Result<StoreScan, StoreError> {
        let horizon = self.horizon()?;
        loop {
            let view = self.view.load_full();
            let engine = self.engine(&view)?;
            let engine_rows = Arc::clone(engine).scan(self.store, range.clone(), direction)?;
            if self.view.load().freezes != view.freezes {
                continue;
            }
            let committed = view.committed().scan(&range, direction);
            let rows = Box::new(MergedScan::new(committed, engine_rows, direction));
            let (store, expiry) = (self.name.clone(), self.expiry.clone());
            return Ok(StoreScan { store, horizon, rows, expiry });
        }
    }

    /// About how many keys there are: an estimate of the engine, plus what was committed since its last checkpoint.
    ///
    /// # Errors
    /// As [`StoreReader::get`].
    pub fn approximate_num_entries(&self) -> Result<u64, StoreError> {
        let view = self.view.load();
        let entries = self.engine(&view)?.approximate_num_entries(self.store)?;
        Ok(entries + (view.overlay.rows() + view.frozen.rows()) as u64)
    }

    /// The input records that the data reflects at least: read it *before* the data it is reported with. Empty until
    /// the first commit after the task was opened.
    pub fn position(&self) -> Arc<Position> {
        Arc::clone(&self.view.load().position)
    }

    /// Replaces `row` by the committed row of `key`; false if there is none.
    pub(crate) fn read_row(&self, key: &[u8], row: &mut Vec<u8>) -> Result<bool, StoreError> {
        let view = self.view.load();
        let engine = self.engine(&view)?;
        if self.expiry.as_ref().is_some_and(|expiry| expiry.has_expired(key)) {
            return Ok(false);
        }
        let hash = hash_of(key);
        match view.overlay.get(hash, key).or_else(|| view.frozen.get(hash, key)) {
            None => engine.get(self.store, key, row),
            Some(committed) => {
                row.clear();
                Ok(committed.map(|committed| row.extend_from_slice(committed)).is_some())
            }
        }
    }

    /// The committed row of `key`; its bytes are in `buffer`.
    pub(crate) fn row<V>(
        &self,
        key: &[u8],
        serde: &SerdeRef<V>,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<ValueAndTimestamp<V>>, StoreError> {
        self.read_row(key, buffer)?.then(|| self.decode(serde, buffer)).transpose()
    }

    /// [`Self::read_row`], for which a row that has expired is none.
    pub(crate) fn read_live_row(&self, key: &[u8], row: &mut Vec<u8>) -> Result<bool, StoreError> {
        let is_found = self.read_row(key, row)?;
        match self.companion {
            Some(CompanionReader { kind: CompanionKind::Expiry(_), .. }) if is_found => {
                let (timestamp, _) = self.split(row)?;
                Ok(self.horizon()?.is_none_or(|horizon| timestamp > horizon))
            }
            _ => Ok(is_found),
        }
    }

    /// The time up to which rows have expired, if they do.
    fn horizon(&self) -> Result<Option<Timestamp>, StoreError> {
        let Some(CompanionReader { rows, kind: CompanionKind::Expiry(ttl) }) = &self.companion else {
            return Ok(None);
        };
        let stream_time = stream_time(&mut CommittedRows::new(rows, Arc::new(MarkerSerde)))?;
        Ok(stream_time.map(|time| ttl.horizon(time)))
    }

    /// A row of this store, decoded.
    #[inline]
    pub(crate) fn decode<V>(
        &self,
        serde: &SerdeRef<V>,
        row: &[u8],
    ) -> Result<ValueAndTimestamp<V>, StoreError> {
        let (timestamp, value) = self.split(row)?;
        Ok(ValueAndTimestamp { value: decode_value(serde, &self.name, value)?, timestamp })
    }

    /// The timestamp and the encoded value of a row of this store.
    pub(crate) fn split<'row>(&self, row: &'row [u8]) -> Result<(Timestamp, &'row [u8]), StoreError> {
        let malformed = || StoreError::MalformedRow { store: self.name.clone(), found: row.len() };
        row::split(row).ok_or_else(malformed)
    }

    /// Lets readers see the rows of a commit and the position they reflect, at once.
    pub(crate) fn publish(&self, rows: Run, position: &Arc<Position>) {
        let run = (!rows.is_empty()).then(|| rows.reserve(&self.memory));
        self.change(|view| {
            view.overlay.extend(run.clone());
            view.position = Arc::clone(position);
        });
    }

    /// Runs of the overlay to be given to [`Self::merge`], if there are any and none are being merged.
    pub(crate) fn begin_merge(&self) -> Option<MergeableRuns> {
        if self.is_merging.load(Ordering::Acquire) {
            return None;
        }
        let runs = self.view.load().overlay.to_merge()?;
        self.is_merging.store(true, Ordering::Relaxed);
        Some(runs)
    }

    /// Makes one run of several; for readers nothing changes.
    pub(crate) fn merge(&self, runs: &MergeableRuns) {
        let leave_out = |key: &[u8]| self.expiry.as_ref().is_some_and(|expiry| expiry.may_leave_out(key));
        let merged = runs.merge(leave_out).reserve(&self.memory);
        self.change(|view| view.overlay.replace(runs, &merged));
        self.is_merging.store(false, Ordering::Release);
    }

    /// Sets the overlay apart for a checkpoint, and says what is in it. The one before is written, or was thawed.
    pub(crate) fn freeze(&self) -> Overlay {
        self.change(|view| {
            view.frozen = std::mem::take(&mut view.overlay);
            view.freezes += 1;
        });
        self.view.load().frozen.clone()
    }

    /// Ends a checkpoint: the frozen rows are in the engine.
    pub(crate) fn forget_frozen(&self) {
        self.change(|view| view.frozen = Overlay::default());
    }

    /// Gives a checkpoint up: the frozen rows wait for the next one.
    pub(crate) fn thaw(&self) {
        self.change(|view| {
            let frozen = std::mem::take(&mut view.frozen);
            view.overlay.put_below(frozen);
        });
    }

    /// Lets go of the engine: from now on readers are told to ask elsewhere.
    pub(crate) fn close(&self) {
        self.change(|view| {
            view.overlay = Overlay::default();
            view.frozen = Overlay::default();
            view.engine = None;
        });
    }

    /// Rows and their bytes that no checkpoint has written yet, those that one is writing included.
    pub(crate) fn uncheckpointed(&self) -> (usize, usize) {
        let view = self.view.load();
        (view.overlay.rows() + view.frozen.rows(), view.overlay.bytes() + view.frozen.bytes())
    }

    /// Bytes that no checkpoint has begun to write.
    pub(crate) fn overlay_bytes(&self) -> usize {
        self.view.load().overlay.bytes()
    }

    /// Bytes that a checkpoint is writing.
    pub(crate) fn frozen_bytes(&self) -> usize {
        self.view.load().frozen.bytes()
    }

    /// Replaces the view by a changed one. `change` is done again if another thread was faster.
    fn change(&self, change: impl Fn(&mut View)) {
        self.view.rcu(|view| {
            let mut next = View::clone(view);
            change(&mut next);
            next
        });
    }

    fn engine<'view>(&self, view: &'view View) -> Result<&'view Arc<dyn Engine>, StoreError> {
        view.engine.as_ref().ok_or_else(|| StoreError::Closed { store: self.name.clone() })
    }
}

impl View {
    /// What is committed and, as far as this view knows, not in the engine.
    fn committed(&self) -> Overlay {
        let mut committed = self.overlay.clone();
        committed.put_below(self.frozen.clone());
        committed
    }
}

impl Iterator for StoreScan {
    type Item = Result<ScannedRow, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (key, mut row) = match self.rows.next()? {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error)),
            };
            let Some((timestamp, value)) = row::split(&row) else {
                let (store, found) = (self.store.clone(), row.len());
                return Some(Err(StoreError::MalformedRow { store, found }));
            };
            let is_too_old = self.expiry.as_ref().is_some_and(|expiry| expiry.has_expired(&key));
            if is_too_old || self.horizon.is_some_and(|horizon| timestamp <= horizon) {
                continue;
            }
            let header = row.len() - value.len();
            row.drain(..header);
            return Some(Ok((key, timestamp, row)));
        }
    }
}

impl std::fmt::Debug for StoreReader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("StoreReader").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::engine::{EngineSizes, MemoryEngine};
    use crate::types::{LogPartition, LogPosition, TopicId};

    const STORE: usize = 0;

    /// An engine during whose first scan the task commits and checkpoints, as another thread could.
    struct BusyEngine {
        inner: Arc<MemoryEngine>,
        reader: OnceLock<Arc<StoreReader>>,
        scans: AtomicU32,
    }

    impl BusyEngine {
        fn commit_and_checkpoint(&self, keys: &[&str]) {
            let reader = self.reader.get().expect("set before the first scan");
            let mut run = Run::default();
            keys.iter().for_each(|key| run.put(key.as_bytes(), Some(&[0; 8])));
            reader.publish(run, &Arc::new(Position::new()));
            self.write(&[(StoreIndex::new(STORE), &reader.freeze())]).unwrap();
            reader.forget_frozen();
        }
    }

    impl Engine for BusyEngine {
        fn get(&self, store: StoreIndex, key: &[u8], row: &mut Vec<u8>) -> Result<bool, StoreError> {
            self.inner.get(store, key, row)
        }

        fn scan(
            self: Arc<Self>,
            store: StoreIndex,
            range: KeyRange,
            direction: Direction,
        ) -> Result<EngineScan, StoreError> {
            if self.scans.fetch_add(1, Ordering::Relaxed) == 0 {
                self.commit_and_checkpoint(&["pears"]);
            }
            Arc::clone(&self.inner).scan(store, range, direction)
        }

        fn write(&self, tables: &[(StoreIndex, &Overlay)]) -> Result<(), StoreError> {
            self.inner.write(tables)
        }

        fn set_positions(&self, positions: &[(LogPartition, LogPosition)]) -> Result<(), StoreError> {
            self.inner.set_positions(positions)
        }

        fn set_changelog(&self, store: StoreIndex, topic: TopicId) -> Result<(), StoreError> {
            self.inner.set_changelog(store, topic)
        }

        fn changelog(&self, store: StoreIndex) -> Result<Option<TopicId>, StoreError> {
            self.inner.changelog(store)
        }

        fn clear(&self, tables: &[StoreIndex]) -> Result<(), StoreError> {
            self.inner.clear(tables)
        }

        fn position(&self, log: LogPartition) -> Result<Option<LogPosition>, StoreError> {
            self.inner.position(log)
        }

        fn has_position(&self, store: StoreIndex) -> Result<bool, StoreError> {
            self.inner.has_position(store)
        }

        fn approximate_num_entries(&self, store: StoreIndex) -> Result<u64, StoreError> {
            self.inner.approximate_num_entries(store)
        }

        fn sizes(&self) -> Result<EngineSizes, StoreError> {
            self.inner.sizes()
        }
    }

    #[test]
    fn a_scan_starts_again_if_a_checkpoint_came_in_between() {
        let engine = Arc::new(BusyEngine {
            inner: Arc::new(MemoryEngine::new(vec![None])),
            reader: OnceLock::new(),
            scans: AtomicU32::new(0),
        });
        let dyn_engine: Arc<dyn Engine> = engine.clone();
        let reader = Arc::new(StoreReader::new(
            "stock",
            StoreIndex::new(STORE),
            None,
            dyn_engine,
            StateMemory::new(0),
            None,
        ));
        engine.reader.set(Arc::clone(&reader)).expect("set once");
        let mut before = Run::default();
        before.put(b"apples", None);
        reader.publish(before, &Arc::new(Position::new()));

        let rows = reader.scan(KeyRange::all(), Direction::Forward).unwrap();
        assert_eq!(rows.map(|row| row.unwrap().0).collect::<Vec<_>>(), [b"pears"]);
        assert_eq!(engine.scans.load(Ordering::Relaxed), 2);
    }
}
