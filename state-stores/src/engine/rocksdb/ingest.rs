//! Rows go into the database as a finished file: sorted and written once, without a write buffer in between.

use std::path::Path;

use rocksdb::{Error, IngestExternalFileOptions, SstFileWriter};

use super::RocksDbEngine;
use crate::error::StoreError;
use crate::key_range::{Direction, KeyRange};
use crate::overlay::{Overlay, RowPlace};
use crate::types::StoreIndex;

/// How many rows are copied together before they are written. Sorted rows lie all over the memory: copies, unlike the work of
/// the file between two rows, wait for it at the same time.
const ROWS_AT_ONCE: usize = 256;

impl RocksDbEngine {
    /// Puts `rows`, of which there are some, over those of the store, and to the disk. Deletions are written too: they hide
    /// what lies below.
    pub(super) fn ingest(&self, store: StoreIndex, rows: &Overlay) -> Result<(), StoreError> {
        let path = self.directory.new_ingest_path()?;
        let (_, family) = self.column(store);
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let written = self.write_file(&path, rows);
        let ingested =
            written.and_then(|()| self.database.ingest_external_file_cf_opts(family, &options, vec![path]));
        ingested.map_err(|e| self.failure(e))
    }

    fn write_file(&self, path: &Path, rows: &Overlay) -> Result<(), Error> {
        let mut file = SstFileWriter::create(&self.file_options);
        file.open(path)?;
        let mut rows = rows.scan(&KeyRange::all(), Direction::Forward);
        let (mut bytes, mut places) = (Vec::new(), Vec::with_capacity(ROWS_AT_ONCE));
        loop {
            bytes.clear();
            places.clear();
            while places.len() < ROWS_AT_ONCE
                && let Some((key, row)) = rows.next_row()
            {
                places.push(RowPlace::of(&mut bytes, key, row));
            }
            if places.is_empty() {
                break;
            }
            for place in &places {
                match place.row(&bytes) {
                    Some(row) => file.put(place.key(&bytes), row)?,
                    None => file.delete(place.key(&bytes))?,
                }
            }
        }
        file.finish()
    }
}
