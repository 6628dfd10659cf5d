//! Power cuts: of each file only what was synced is left.
//!
//! A killed process loses nothing that it wrote; the kernel still has it. So a small library, loaded into each instance, notes how much of a
//! file was synced ([`fsync`, `fdatasync`](https://man7.org/linux/man-pages/man2/fsync.2.html)), and after the process was killed its files
//! are cut back to that. Names are taken to last: a file that was made or renamed keeps its name, as on file systems with a journal, however
//! little it has in it. What is deleted is gone.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

const LIBRARY: &str = include_str!("power/synced.c");
const VARIABLE: &str = "MILLSTREAM_SYNCED_BYTES";
/// Of the notes of one instance, for all of its lives: over a million of them. The file has holes where none is.
const BYTES_OF_NOTES: u64 = 32 << 20;
const HEADER: usize = 16;
const NOTE: usize = 24;

/// What the instances of a run need to note what they sync.
#[derive(Debug)]
pub(super) struct PowerSupply {
    folder: TempDir,
}

impl PowerSupply {
    /// Whether files can be cut back here.
    pub(super) const IS_POSSIBLE: bool = cfg!(target_os = "linux");

    pub(super) fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("synced-by-a-fault-test-").tempdir()?;
        let source = folder.path().join("synced.c");
        fs::write(&source, LIBRARY)?;
        if Self::IS_POSSIBLE {
            let compiled = Command::new("cc")
                .args(["-std=c11", "-O2", "-shared", "-fPIC", "-o"])
                .arg(folder.path().join("synced.so"))
                .arg(&source)
                .arg("-ldl")
                .output()
                .context("cc, which compiles the library that notes what is synced")?;
            ensure!(compiled.status.success(), "cc: {}", String::from_utf8_lossy(&compiled.stderr));
        }
        Ok(Self { folder })
    }

    /// The notes of the instance of this name.
    pub(super) fn of(&self, name: &str) -> Result<SyncedBytes> {
        let notes = self.folder.path().join(name);
        File::create(&notes)?.set_len(BYTES_OF_NOTES)?;
        Ok(SyncedBytes { library: self.folder.path().join("synced.so"), notes })
    }
}

/// How much of its files an instance has synced.
#[derive(Debug)]
pub(super) struct SyncedBytes {
    library: PathBuf,
    notes: PathBuf,
}

impl SyncedBytes {
    /// Has a process take notes.
    pub(super) fn watch(&self, command: &mut Command) {
        if PowerSupply::IS_POSSIBLE {
            command.env("LD_PRELOAD", &self.library).env(VARIABLE, &self.notes);
        }
    }

    /// Cuts the files below a folder back to what was synced. The process must have ended. Says how many bytes are gone.
    pub(super) fn cut_back(&self, folder: &Path) -> Result<u64> {
        let synced = self.read()?;
        ensure!(!synced.is_empty(), "nothing was noted in {}: was the library loaded?", self.notes.display());
        let mut gone = 0;
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let found = entry.metadata()?;
                if found.is_dir() {
                    folders.push(entry.path());
                } else if found.is_file() {
                    let left = synced.get(&(found.dev(), found.ino())).copied().unwrap_or(0);
                    if found.len() > left {
                        File::options().write(true).open(entry.path())?.set_len(left)?;
                        gone += found.len() - left;
                    }
                }
            }
        }
        Ok(gone)
    }

    /// By device and inode.
    fn read(&self) -> Result<HashMap<(u64, u64), u64>> {
        let bytes = fs::read(&self.notes)?;
        let number = |at: usize| -> Result<u64> {
            let bytes = bytes.get(at..at + 8).context("the notes end too early")?;
            Ok(u64::from_ne_bytes(bytes.try_into()?))
        };
        let mut synced = HashMap::new();
        for note in 0..usize::try_from(number(0)?)? {
            let at = HEADER + note * NOTE;
            synced.insert((number(at)?, number(at + 8)?), number(at + 16)?);
        }
        Ok(synced)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn of_each_file_what_was_synced_is_left() -> Result<()> {
        let (supply, folder) = (PowerSupply::new()?, tempfile::tempdir()?);
        let synced = supply.of("dd")?;
        let file = |name: &str| folder.path().join(name);
        // `dd` writes a whole file, and syncs it in the end if it is told to.
        let write = |name: &str, count: &str, how: &str| -> Result<()> {
            let mut command = Command::new("dd");
            synced.watch(&mut command);
            command.args(["if=/dev/zero", "bs=10", count, how]).arg(format!("of={}", file(name).display()));
            ensure!(command.output()?.status.success(), "dd");
            Ok(())
        };
        write("synced", "count=3", "conv=fsync")?;
        write("more-since", "count=3", "conv=fdatasync")?;
        write("more-since", "count=5", "conv=notrunc")?;
        write("never", "count=3", "conv=notrunc")?;
        write("emptied-since", "count=3", "conv=fsync")?;
        write("emptied-since", "count=2", "conv=sync")?;
        fs::rename(file("synced"), file("renamed"))?;
        assert_eq!(synced.cut_back(folder.path())?, 20 + 30 + 20);
        let left = |name: &str| fs::metadata(file(name)).map(|found| found.len());
        assert_eq!((left("renamed")?, left("more-since")?), (30, 30));
        assert_eq!((left("never")?, left("emptied-since")?), (0, 0));
        assert_eq!(synced.cut_back(folder.path())?, 0, "nothing more is lost");
        Ok(())
    }
}
