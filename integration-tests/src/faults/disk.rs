//! The disk under the state directories, which can be full.
//!
//! Where this process may mount, it is a small `tmpfs`, filled up by a file: every write fails with `ENOSPC`, for all instances. Elsewhere,
//! as on most CI machines without root, each instance forbids itself to let files grow (`RLIMIT_FSIZE`): its writes fail with `EFBIG`.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::process::Watchdog;

/// Enough for the state of any program of the suite.
const SIZE: &str = "size=512m";

/// Fields are dropped in this order: what is mounted is unmounted by [`Drop`], then its folder goes.
#[derive(Debug)]
pub(super) struct Disk {
    mounted: Option<Watchdog>,
    folder: TempDir,
}

impl Disk {
    pub(super) fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("state-of-a-fault-test-").tempdir()?;
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SIZE, "tmpfs"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let is_mounted = mount.is_ok_and(|status| status.success());
        let unmount = r#"umount -l "$1"; rmdir "$1""#;
        let mounted =
            is_mounted.then(|| Watchdog::start(unmount, [folder.path().as_os_str()])).transpose()?;
        Ok(Self { mounted, folder })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Whether it can be filled from here; else the instances do it to themselves.
    pub(super) fn can_be_filled(&self) -> bool {
        self.mounted.is_some()
    }

    /// Leaves not one byte.
    pub(super) fn fill(&self) -> Result<()> {
        let mut filler = File::create(self.filler())?;
        for length in [1 << 20, 1 << 12, 1] {
            let bytes = vec![0; length];
            // Until there is no room, which is the purpose.
            while filler.write_all(&bytes).is_ok() {}
        }
        Ok(())
    }

    pub(super) fn make_room(&self) -> Result<()> {
        match fs::remove_file(self.filler()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.context("cannot make room on the disk of the test"),
        }
    }

    fn filler(&self) -> std::path::PathBuf {
        self.folder.path().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted.is_some() {
            let unmounted = Command::new("umount").arg("-l").arg(self.folder.path()).status();
            if !unmounted.is_ok_and(|status| status.success()) {
                tracing::warn!(folder = %self.folder.path().display(), "cannot unmount the disk of the test");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_takes_nothing_and_has_room_again() -> Result<()> {
        let disk = Disk::new()?;
        if !disk.can_be_filled() {
            // Without the right to mount, instances limit themselves, which needs no disk.
            return Ok(());
        }
        let path = disk.path().join("state");
        fs::write(&path, "before")?;
        disk.fill()?;
        let refused = fs::write(disk.path().join("more"), "more").map_err(|error| error.kind());
        assert_eq!(refused, Err(std::io::ErrorKind::StorageFull));
        disk.make_room()?;
        fs::write(disk.path().join("more"), "more")?;
        assert_eq!(fs::read_to_string(path)?, "before");
        Ok(())
    }
}
