//! Restored rows go into the database as a finished file: sorted and written once, without a write buffer in between.

use rocksdb::{Error, IngestExternalFileOptions, SstFileWriter};

use super::RocksDbEngine;
use crate::overlay::Run;
use crate::types::StoreIndex;

impl RocksDbEngine {
    /// Puts the rows of `run`, which has some, over those of the store. Deletions are written too: they hide what lies below.
    pub(super) fn ingest(&self, store: StoreIndex, run: &Run) -> Result<(), Error> {
        let path = self.directory.restore_path();
        let mut file = SstFileWriter::create(&self.store_options);
        file.open(&path)?;
        for (key, row) in run.sorted_rows() {
            match row {
                Some(row) => file.put(key, row)?,
                None => file.delete(key)?,
            }
        }
        file.finish()?;
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let (_, family) = self.column(store);
        self.database.ingest_external_file_cf_opts(family, &options, vec![path])
    }
}
