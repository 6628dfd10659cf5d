//! Committed rows, read from any thread while the task goes on.
//!
//! A reader sees the rows that are committed but not yet checkpointed (the *overlay*) over those of the engine. The task swaps
//! a new view in at each commit and checkpoint; whoever reads keeps the view he started with. So readers and the
//! task never wait for each other, and a view is never half of a commit.
//!
//! A checkpoint writes the overlay into the engine first and empties the overlay after that: a reader that looks into
//! the overlay first misses nothing. A scan needs more: an engine that is not ahead of the overlay, so it starts again if a
//! checkpoint came in between.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::engine::{Engine, EngineBatch, EngineScan};
use crate::error::StoreError;
use crate::format::row;
use crate::key_range::{Direction, KeyRange};
use crate::merge::MergedScan;
use crate::position::Position;
use crate::snapshot_map::{self, SnapshotMap};
use crate::types::{StoreIndex, Timestamp};

/// An encoded row that is committed; `None` if the key was deleted.
pub(crate) type CommittedRow = Option<Arc<[u8]>>;

/// The committed rows of one store, encoded, for queries from any thread.
///
/// It outlives its task: when the task is closed or moved, every call says [`StoreError::Closed`].
pub struct StoreReader {
    name: String,
    store: StoreIndex,
    view: ArcSwap<View>,
}

/// What readers see from one commit to the next.
struct View {
    overlay: SnapshotMap<CommittedRow>,
    /// Estimated bytes of the overlay.
    overlay_bytes: usize,
    position: Arc<Position>,
    /// How often the overlay was moved into the engine.
    checkpoints: u64,
    /// `None` once the task is closed.
    engine: Option<Arc<dyn Engine>>,
}

/// One row of a scan: key, timestamp, value.
pub type ScannedRow = (Vec<u8>, Timestamp, Vec<u8>);

/// The rows of a range, as of one commit. It reads as it goes; while it lives, the task's directory stays in use.
pub struct StoreScan {
    store: String,
    rows: EngineScan,
}

impl StoreReader {
    pub(crate) fn new(name: &str, store: StoreIndex, engine: Arc<dyn Engine>) -> Self {
        let view = View {
            overlay: SnapshotMap::new(),
            overlay_bytes: 0,
            position: Arc::new(Position::new()),
            checkpoints: 0,
            engine: Some(engine),
        };
        Self { name: name.to_owned(), store, view: ArcSwap::from_pointee(view) }
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
        if !self.read_row(key, &mut row)? {
            return Ok(None);
        }
        let (timestamp, value) = self.split(&row)?;
        Ok(Some((timestamp, value.to_vec())))
    }

    /// The rows of a range in the order of their unsigned bytes, all as of the same commit.
    ///
    /// # Errors
    /// As [`StoreReader::get`].
    pub fn scan(&self, range: KeyRange, direction: Direction) -> Result<StoreScan, StoreError> {
        loop {
            let view = self.view.load_full();
            let engine = self.engine(&view)?;
            let engine_rows = Arc::clone(engine).scan(self.store, range.clone(), direction)?;
            if self.view.load().checkpoints != view.checkpoints {
                continue;
            }
            let overlay = snapshot_map::scan(view.overlay.clone(), range, direction)
                .map(|(key, row)| (key.to_vec(), row.map(|row| row.to_vec())));
            let rows = Box::new(MergedScan::new(overlay, engine_rows, direction));
            return Ok(StoreScan { store: self.name.clone(), rows });
        }
    }

    /// About how many keys there are: an estimate of the engine, plus what was committed since its last checkpoint.
    ///
    /// # Errors
    /// As [`StoreReader::get`].
    pub fn approximate_num_entries(&self) -> Result<u64, StoreError> {
        let view = self.view.load();
        let entries = self.engine(&view)?.approximate_num_entries(self.store)?;
        Ok(entries + view.overlay.len() as u64)
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
        let Some(committed) = view.overlay.get(key) else {
            return engine.get(self.store, key, row);
        };
        row.clear();
        Ok(committed.as_ref().map(|committed| row.extend_from_slice(committed)).is_some())
    }

    /// The timestamp and the encoded value of a row of this store.
    pub(crate) fn split<'row>(&self, row: &'row [u8]) -> Result<(Timestamp, &'row [u8]), StoreError> {
        let malformed = || StoreError::MalformedRow { store: self.name.clone(), found: row.len() };
        row::split(row).ok_or_else(malformed)
    }

    /// Lets readers see the rows of a commit and the position they reflect, at once.
    pub(crate) fn publish(
        &self,
        rows: impl Iterator<Item = (Arc<[u8]>, CommittedRow)>,
        position: &Arc<Position>,
    ) {
        let view = self.view.load();
        let mut overlay = view.overlay.clone();
        let mut overlay_bytes = view.overlay_bytes;
        // Neighbours in the tree are then touched one after the other: for large commits that is most of the cost.
        let mut rows: Vec<_> = rows.collect();
        rows.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (key, row) in rows {
            let key_bytes = key.len();
            overlay_bytes += overlay_entry_bytes(key_bytes, &row);
            if let Some(replaced) = overlay.insert(key, row) {
                overlay_bytes -= overlay_entry_bytes(key_bytes, &replaced);
            }
        }
        let position = Arc::clone(position);
        let (checkpoints, engine) = (view.checkpoints, view.engine.clone());
        self.view.store(Arc::new(View { overlay, overlay_bytes, position, checkpoints, engine }));
    }

    /// Puts the overlay into the batch of a checkpoint.
    pub(crate) fn write_overlay(&self, batch: &mut dyn EngineBatch) {
        for (key, row) in &self.view.load().overlay {
            match row {
                Some(row) => batch.put(self.store, key, row),
                None => batch.delete(self.store, key),
            }
        }
    }

    /// Empties the overlay: its rows are in the engine now.
    pub(crate) fn forget_overlay(&self) {
        let view = self.view.load();
        self.view.store(Arc::new(View {
            overlay: SnapshotMap::new(),
            overlay_bytes: 0,
            position: Arc::clone(&view.position),
            checkpoints: view.checkpoints + 1,
            engine: view.engine.clone(),
        }));
    }

    /// Lets go of the engine: from now on readers are told to ask elsewhere.
    pub(crate) fn close(&self) {
        let view = self.view.load();
        self.view.store(Arc::new(View {
            overlay: SnapshotMap::new(),
            overlay_bytes: 0,
            position: Arc::clone(&view.position),
            checkpoints: view.checkpoints + 1,
            engine: None,
        }));
    }

    /// Entries and estimated bytes of the overlay.
    pub(crate) fn overlay_size(&self) -> (usize, usize) {
        let view = self.view.load();
        (view.overlay.len(), view.overlay_bytes)
    }

    fn engine<'view>(&self, view: &'view View) -> Result<&'view Arc<dyn Engine>, StoreError> {
        view.engine.as_ref().ok_or_else(|| StoreError::Closed { store: self.name.clone() })
    }
}

impl Iterator for StoreScan {
    type Item = Result<ScannedRow, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.rows.next()?.and_then(|(key, mut row)| {
            let Some((timestamp, value)) = row::split(&row) else {
                return Err(StoreError::MalformedRow { store: self.store.clone(), found: row.len() });
            };
            let header = row.len() - value.len();
            row.drain(..header);
            Ok((key, timestamp, row))
        }))
    }
}

impl std::fmt::Debug for StoreReader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("StoreReader").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What an overlay entry costs: its bytes, two reference counts and its place in the tree.
fn overlay_entry_bytes(key_bytes: usize, row: &CommittedRow) -> usize {
    const OVERHEAD: usize = 64;
    OVERHEAD + key_bytes + row.as_ref().map_or(0, |row| row.len())
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::engine::{EngineSizes, MemoryEngine};
    use crate::types::Offset;

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
            let row = Arc::<[u8]>::from([0; 8]);
            let rows = keys.iter().map(|key| (Arc::from(key.as_bytes()), Some(Arc::clone(&row))));
            reader.publish(rows, &Arc::new(Position::new()));
            self.write(&mut |batch| {
                reader.write_overlay(batch);
                Ok(())
            })
            .unwrap();
            reader.forget_overlay();
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

        fn write(
            &self,
            fill: &mut dyn FnMut(&mut dyn EngineBatch) -> Result<(), StoreError>,
        ) -> Result<(), StoreError> {
            self.inner.write(fill)
        }

        fn offset(&self, store: StoreIndex) -> Result<Option<Offset>, StoreError> {
            self.inner.offset(store)
        }

        fn flush(&self) -> Result<(), StoreError> {
            self.inner.flush()
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
            inner: Arc::new(MemoryEngine::new(1)),
            reader: OnceLock::new(),
            scans: AtomicU32::new(0),
        });
        let dyn_engine: Arc<dyn Engine> = engine.clone();
        let reader = Arc::new(StoreReader::new("stock", StoreIndex::new(STORE), dyn_engine));
        engine.reader.set(Arc::clone(&reader)).expect("set once");
        let before = Arc::from(b"apples".as_slice());
        reader.publish([(before, None)].into_iter(), &Arc::new(Position::new()));

        let rows = reader.scan(KeyRange::all(), Direction::Forward).unwrap();
        assert_eq!(rows.map(|row| row.unwrap().0).collect::<Vec<_>>(), [b"pears"]);
        assert_eq!(engine.scans.load(Ordering::Relaxed), 2);
    }
}
