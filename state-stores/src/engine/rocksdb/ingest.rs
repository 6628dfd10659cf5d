//! Rows go into the database as a finished file: sorted and written once, without a write buffer in between.

use std::path::Path;

use rocksdb::{Error, IngestExternalFileOptions, SstFileWriter};

use super::{RocksDbEngine, TableColumn};
use crate::error::StoreError;
use crate::key_range::{Direction, KeyRange};
use crate::overlay::{Overlay, OverlayScan, RowPlace};
use crate::types::StoreIndex;

/// How many rows are copied together before they are written. Sorted rows lie all over the memory: copies, unlike the work of
/// the file between two rows, wait for it at the same time.
const ROWS_AT_ONCE: usize = 256;

impl RocksDbEngine {
    /// Puts rows over those of tables that share a column family, in the order of their prefixes, and to the disk: as one file. Deletions are
    /// written too: they hide what lies below.
    pub(super) fn ingest(&self, tables: &[(StoreIndex, &Overlay)]) -> Result<(), StoreError> {
        let Some((first, _)) = tables.first() else { return Ok(()) };
        let (_, family) = self.column(*first);
        let rows_of = |(table, rows): &(StoreIndex, &Overlay)| Rows::new(rows, self.column(*table).0);
        let mut rows: Vec<Rows<'_>> = tables.iter().map(rows_of).collect();
        rows.retain_mut(Rows::fill);
        if rows.is_empty() {
            return Ok(());
        }
        let path = self.directory.new_ingest_path()?;
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let written = self.write_file(&path, rows);
        let ingested =
            written.and_then(|()| self.database.ingest_external_file_cf_opts(family, &options, vec![path]));
        ingested.map_err(|e| self.failure(e))
    }

    /// Writes the rows, the first of which are filled in.
    fn write_file(&self, path: &Path, tables: Vec<Rows<'_>>) -> Result<(), Error> {
        let mut file = SstFileWriter::create(&self.file_options);
        file.open(path)?;
        let mut key_in_family = Vec::new();
        for mut rows in tables {
            loop {
                for place in &rows.places {
                    let key = rows.column.key(place.key(&rows.bytes), &mut key_in_family);
                    match place.row(&rows.bytes) {
                        Some(row) => file.put(key, row)?,
                        None => file.delete(key)?,
                    }
                }
                if !rows.fill() {
                    break;
                }
            }
        }
        file.finish()
    }
}

/// The rows of an overlay in order, some at a time; without those that expired before they were ever written.
struct Rows<'column> {
    scan: OverlayScan,
    column: &'column TableColumn,
    bytes: Vec<u8>,
    places: Vec<RowPlace>,
}

impl<'column> Rows<'column> {
    fn new(rows: &Overlay, column: &'column TableColumn) -> Self {
        let scan = rows.scan(&KeyRange::all(), Direction::Forward);
        Self { scan, column, bytes: Vec::new(), places: Vec::with_capacity(ROWS_AT_ONCE) }
    }

    /// Goes on to the next rows. Returns whether there are any.
    fn fill(&mut self) -> bool {
        self.bytes.clear();
        self.places.clear();
        while self.places.len() < ROWS_AT_ONCE
            && let Some((key, row)) = self.scan.next_row()
        {
            if !self.column.expiry.as_ref().is_some_and(|expiry| expiry.may_leave_out(key)) {
                self.places.push(RowPlace::of(&mut self.bytes, key, row));
            }
        }
        !self.places.is_empty()
    }
}
