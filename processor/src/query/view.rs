//! A store of this instance as bytes, over all its local partitions.

use std::collections::BinaryHeap;
use std::sync::Arc;

use millstream_state_stores::{
    Direction, KeyRange, Position, StoreError, StoreReader, Timestamp, VersionedRecord,
};

use super::counts::QueryKind;
use super::error::QueryError;
use super::registry::StoreRegistry;

/// An encoded row of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreEntry {
    /// Encoded key.
    pub key: Vec<u8>,
    /// Timestamp of the row.
    pub timestamp: Timestamp,
    /// Encoded value.
    pub value: Vec<u8>,
}

/// Reads a store as bytes. Cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct StoreView {
    registry: Arc<StoreRegistry>,
    store: Arc<str>,
}

impl StoreView {
    pub(crate) fn new(registry: Arc<StoreRegistry>, store: &str) -> Self {
        StoreView { registry, store: store.into() }
    }

    /// The store's name.
    pub fn name(&self) -> &str {
        &self.store
    }

    /// How many of the store's partitions are readable here, and how many there are.
    ///
    /// # Errors
    /// [`QueryError::UnknownStore`].
    pub fn coverage(&self) -> Result<(usize, i32), QueryError> {
        self.registry.coverage(&self.store)
    }

    /// The row of a key.
    ///
    /// # Errors
    /// [`QueryError::Restoring`] or [`QueryError::NotHere`] if the key's partition is not readable here.
    pub fn get(&self, key: &[u8]) -> Result<Option<StoreEntry>, QueryError> {
        self.get_row(key, key)
    }

    /// The row with the key `row` that lies where `key` does.
    pub(crate) fn get_row(&self, key: &[u8], row: &[u8]) -> Result<Option<StoreEntry>, QueryError> {
        self.registry.count_query(&self.store, QueryKind::Get);
        let found = self.find(key, |reader| reader.get(row))?;
        Ok(found.map(|(timestamp, value)| StoreEntry { key: row.to_vec(), timestamp, value }))
    }

    /// The version of a key that was valid at a time, of a versioned store.
    ///
    /// # Errors
    /// As [`StoreView::get`]; [`StoreError::NotVersioned`] of another store.
    pub fn get_as_of(
        &self,
        key: &[u8],
        as_of: Timestamp,
    ) -> Result<Option<VersionedRecord<Vec<u8>>>, QueryError> {
        self.registry.count_query(&self.store, QueryKind::Get);
        self.find(key, |reader| reader.get_as_of(key, as_of))
    }

    /// What the first partition that has it says about a key.
    fn find<T>(
        &self,
        key: &[u8],
        read: impl Fn(&StoreReader) -> Result<Option<T>, StoreError>,
    ) -> Result<Option<T>, QueryError> {
        let (readers, is_complete) = self.registry.readers_for_key(&self.store, key)?;
        for reader in readers {
            if let Some(found) = read(&reader)? {
                return Ok(Some(found));
            }
        }
        if is_complete { Ok(None) } else { Err(self.registry.not_here(&self.store, key)) }
    }

    /// The rows of a range that lies where `key` does.
    pub(crate) fn scan_rows(
        &self,
        key: &[u8],
        range: &KeyRange,
        direction: Direction,
    ) -> Result<MergedScan, QueryError> {
        self.registry.count_query(&self.store, QueryKind::Range);
        let (readers, is_complete) = self.registry.readers_for_key(&self.store, key)?;
        let scans = readers.iter().map(|reader| reader.scan(range.clone(), direction));
        let rows = MergedScan::new(scans.collect::<Result<Vec<_>, _>>()?, direction);
        if rows.is_empty() && !is_complete {
            return Err(self.registry.not_here(&self.store, key));
        }
        Ok(rows)
    }

    /// The rows of a range over all partitions here, in the order of their key bytes.
    ///
    /// # Errors
    /// As [`StoreView::get`], for any local partition.
    pub fn scan(&self, range: &KeyRange, direction: Direction) -> Result<MergedScan, QueryError> {
        let kind = if *range == KeyRange::all() { QueryKind::All } else { QueryKind::Range };
        self.scan_as(kind, range, direction)
    }

    /// The rows whose key begins with these bytes, as [`StoreView::scan`] gives them.
    ///
    /// # Errors
    /// As [`StoreView::scan`].
    pub fn prefix_scan(&self, prefix: &[u8], direction: Direction) -> Result<MergedScan, QueryError> {
        self.scan_as(QueryKind::Prefix, &KeyRange::prefix(prefix), direction)
    }

    fn scan_as(
        &self,
        kind: QueryKind,
        range: &KeyRange,
        direction: Direction,
    ) -> Result<MergedScan, QueryError> {
        self.registry.count_query(&self.store, kind);
        let readers = self.registry.readers(&self.store)?;
        let mut scans = Vec::with_capacity(readers.len());
        for reader in &readers {
            scans.push(reader.scan(range.clone(), direction)?);
        }
        Ok(MergedScan::new(scans, direction))
    }

    /// About how many rows there are in the partitions here. Deleted and overwritten rows may be counted until they are compacted away.
    ///
    /// # Errors
    /// As [`StoreView::scan`].
    pub fn approximate_num_entries(&self) -> Result<u64, QueryError> {
        self.registry.count_query(&self.store, QueryKind::Count);
        let readers = self.registry.readers(&self.store)?;
        let mut entries = 0;
        for reader in readers {
            entries += reader.approximate_num_entries()?;
        }
        Ok(entries)
    }

    /// The input offsets that a scan reflects at least, if it is asked after this.
    ///
    /// # Errors
    /// As [`StoreView::scan`].
    pub fn position(&self) -> Result<Position, QueryError> {
        Ok(merged_position(&self.registry.readers(&self.store)?))
    }

    /// The input offsets that the row of this key reflects at least, if it is asked for after this.
    ///
    /// # Errors
    /// As [`StoreView::get`].
    pub fn position_for_key(&self, key: &[u8]) -> Result<Position, QueryError> {
        let (readers, _is_complete) = self.registry.readers_for_key(&self.store, key)?;
        Ok(merged_position(&readers))
    }
}

fn merged_position(readers: &[Arc<StoreReader>]) -> Position {
    readers.iter().fold(Position::new(), |mut position, reader| {
        position.merge(&reader.position());
        position
    })
}

type Row = (Vec<u8>, Timestamp, Vec<u8>);
type BoxedScan = Box<dyn Iterator<Item = Result<Row, StoreError>> + Send>;

/// Rows of several partitions, merged in the order of their key bytes.
pub struct MergedScan {
    scans: Vec<BoxedScan>,
    heads: BinaryHeap<Head>,
    direction: Direction,
    failed: Option<StoreError>,
}

impl MergedScan {
    fn new<S>(scans: Vec<S>, direction: Direction) -> Self
    where
        S: Iterator<Item = Result<Row, StoreError>> + Send + 'static,
    {
        let scans: Vec<BoxedScan> = scans.into_iter().map(|scan| Box::new(scan) as BoxedScan).collect();
        let mut merged =
            MergedScan { heads: BinaryHeap::with_capacity(scans.len()), scans, direction, failed: None };
        for scan in 0..merged.scans.len() {
            merged.advance(scan);
        }
        merged
    }

    /// Whether there is neither a row nor a failure.
    fn is_empty(&self) -> bool {
        self.heads.is_empty() && self.failed.is_none()
    }

    fn advance(&mut self, scan: usize) {
        match self.scans[scan].next() {
            Some(Ok(row)) => self.heads.push(Head { row, scan, direction: self.direction }),
            Some(Err(error)) => self.failed = Some(error),
            None => {}
        }
    }
}

impl Iterator for MergedScan {
    type Item = Result<StoreEntry, QueryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            self.heads.clear();
            return Some(Err(error.into()));
        }
        let Head { row: (key, timestamp, value), scan, .. } = self.heads.pop()?;
        self.advance(scan);
        Some(Ok(StoreEntry { key, timestamp, value }))
    }
}

/// The next row of one scan. The greatest of a heap comes first, so "greater" means "earlier in the result".
struct Head {
    row: Row,
    scan: usize,
    direction: Direction,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let by_key = self.row.0.cmp(&other.row.0);
        let in_direction = match self.direction {
            Direction::Forward => by_key.reverse(),
            Direction::Reverse => by_key,
        };
        in_direction.then(other.scan.cmp(&self.scan))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}
