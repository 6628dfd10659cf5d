//! Where the state of an application lies, and who may touch it.
//!
//! ```text
//! <root>/<application id>/process-<n>         the id of a process, held, exclusively, by that process
//! <root>/<application id>/<task>/.lock        held, exclusively, by whoever runs the task
//! <root>/<application id>/<task>/rocksdb/     the stores of the task
//! <root>/<application id>/<task>/ingest.sst   rows being written, until they are moved into `rocksdb/`
//! <root>/<application id>/global-<n>/         the same for the global tables of a process
//! ```
//! All paths are built here. A directory that nobody holds is kept for whoever runs its task next; when it was last used is read off
//! the files: the lock is written to when it is taken and when it is let go of, and each checkpoint makes a file.

mod owner;

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::engine::{ProcessDisk, SimulatedLock};
use crate::error::StoreError;
use crate::types::{TaskId, Timestamp};

pub use owner::{ParseStateOwnerError, StateOwner};

const PROCESS_FILE: &str = "process-";
const LOCK_FILE: &str = ".lock";
const ROCKSDB_DIRECTORY: &str = "rocksdb";
const INGEST_FILE: &str = "ingest.sst";
/// File systems bring what several threads wait for to the disk together.
const OPENS_AT_ONCE: usize = 8;

/// The state directory of one application on this machine.
#[derive(Debug, Clone)]
pub struct StateDirectory {
    path: PathBuf,
    /// Instead of files.
    simulated: Option<ProcessDisk>,
}

impl StateDirectory {
    /// The directory of `application_id` under `root`. Nothing is created yet.
    pub fn new(root: impl Into<PathBuf>, application_id: &str) -> Self {
        Self { path: root.into().join(application_id), simulated: None }
    }

    pub(crate) fn simulated(application_id: &str, disk: ProcessDisk) -> Self {
        Self { path: Path::new("/simulated").join(application_id), simulated: Some(disk) }
    }

    /// The directory of the application.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many tasks are best opened at once: who opens one mostly waits for the disk. Of a simulated disk one, so that the order is always
    /// the same.
    pub fn opens_at_once(&self) -> usize {
        if self.simulated.is_some() { 1 } else { OPENS_AT_ONCE }
    }

    /// The directory of a task or of global tables, whether it exists or not.
    ///
    /// ```
    /// # use millstream_state_stores::{StateDirectory, TaskId};
    /// let directory = StateDirectory::new("/var/lib/millstream", "shop");
    /// let task = directory.of(TaskId { subtopology: 0, partition: 3 });
    /// assert_eq!(task, std::path::Path::new("/var/lib/millstream/shop/0_3"));
    /// ```
    pub fn of(&self, owner: impl Into<StateOwner>) -> PathBuf {
        self.path.join(owner.into().to_string())
    }

    /// Creates the directory of a task if necessary and locks it against all other threads and processes, until the
    /// returned value is dropped. The lock ends with the process, however it ends.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if somebody else holds it, [`StoreError::Directory`] if the file system refuses.
    pub fn lock_task(&self, task: TaskId) -> Result<TaskDirectory, StoreError> {
        let owner = StateOwner::Task(task);
        match &self.simulated {
            Some(disk) => {
                let path = self.of(owner);
                let lock = TaskLock::Simulated(disk.lock(task, &path)?);
                Ok(TaskDirectory { owner, path, lock })
            }
            None => self.lock(owner),
        }
    }

    /// Locks a directory for the global tables of this process: the first that nobody holds, so that a process finds its own again after
    /// a restart.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the file system refuses.
    pub fn lock_global(&self) -> Result<TaskDirectory, StoreError> {
        let mut number = 0;
        loop {
            match self.lock(StateOwner::Global(number)) {
                Err(StoreError::Locked { .. }) => number += 1,
                locked => return locked,
            }
        }
    }

    fn lock(&self, owner: StateOwner) -> Result<TaskDirectory, StoreError> {
        let path = self.of(owner);
        loop {
            fs::create_dir_all(&path).map_err(|source| failed("create", &path, source))?;
            match acquire(&path, true)? {
                Acquired::Held(file) => {
                    let lock = TaskLock::File { _lock: UsedLock::begin(file, &path)? };
                    return Ok(TaskDirectory { owner, path, lock });
                }
                Acquired::ByAnother => return Err(StoreError::Locked { path }),
                // Somebody removed the directory in between: create it again.
                Acquired::Gone => {}
            }
        }
    }

    /// The id of this process, which it finds again after a restart: that of the first file `process-<n>` that nobody holds. A new
    /// one comes from `new_id`. Processes that share the directory have different ones.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the file system refuses.
    pub fn claim_process_id(&self, new_id: impl FnOnce() -> String) -> Result<ProcessId, StoreError> {
        fs::create_dir_all(&self.path).map_err(|source| failed("create", &self.path, source))?;
        let mut number = 0;
        loop {
            let path = self.path.join(format!("{PROCESS_FILE}{number}"));
            number += 1;
            let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
            let mut file = opened.map_err(|source| failed("create", &path, source))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(failed("lock", &path, error)),
            }
            let mut id = String::new();
            file.read_to_string(&mut id).map_err(|source| failed("read", &path, source))?;
            // A crash may have come between making the file and writing the whole line.
            if !id.ends_with('\n') {
                id = new_id() + "\n";
                let written =
                    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(id.as_bytes()));
                written.and_then(|()| file.sync_all()).map_err(|source| failed("write", &path, source))?;
            }
            return Ok(ProcessId { id: id.trim_end().to_owned(), _lock: Some(file) });
        }
    }

    /// The tasks that have a directory here, sorted, and then the directories of global tables.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the file system refuses.
    pub fn list(&self) -> Result<Vec<StateOwner>, StoreError> {
        let list_failed = |source| failed("list", &self.path, source);
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(list_failed(error)),
        };
        let mut owners = Vec::new();
        for entry in entries {
            let name = entry.map_err(list_failed)?.file_name();
            owners.extend(name.to_str().and_then(|name| name.parse::<StateOwner>().ok()));
        }
        owners.sort();
        Ok(owners)
    }

    /// What there is of a task or of global tables, without taking it: looking is not using. `None` if it has no directory.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the file system refuses.
    pub fn usage(&self, owner: impl Into<StateOwner>) -> Result<Option<StateUsage>, StoreError> {
        let path = self.of(owner);
        let is_in_use = matches!(acquire(&path, false)?, Acquired::ByAnother);
        let Some(last_used) = last_used(&path)? else { return Ok(None) };
        Ok(Some(StateUsage { bytes: bytes_below(&path)?, last_used, is_in_use }))
    }

    /// Bytes of all files of the application on this machine. Those of running tasks come and go meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the file system refuses.
    pub fn bytes(&self) -> Result<u64, StoreError> {
        bytes_below(&self.path)
    }

    /// Removes a directory unless somebody holds it, or has used it at that time or later. Returns whether it did.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the file system refuses.
    pub fn remove_unused_since(
        &self,
        owner: impl Into<StateOwner>,
        time: Timestamp,
    ) -> Result<bool, StoreError> {
        let path = self.of(owner);
        let Acquired::Held(file) = acquire(&path, false)? else { return Ok(false) };
        // Under the lock: until now its owner may have used it.
        if last_used(&path)?.is_none_or(|last_used| last_used >= time) {
            return Ok(false);
        }
        remove_all(&path)?;
        drop(file);
        Ok(true)
    }

    /// Removes the directory of a task or of global tables, which nobody may be using. The stores are read again from their topics if the
    /// owner comes back. Does nothing if there is no directory.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if it is in use, [`StoreError::Directory`] if the file system refuses.
    pub fn remove(&self, owner: impl Into<StateOwner>) -> Result<(), StoreError> {
        let owner = owner.into();
        if !self.of(owner).exists() {
            return Ok(());
        }
        self.lock(owner)?.remove()
    }
}

/// The directory of a task as found from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateUsage {
    /// Bytes of its files.
    pub bytes: u64,
    /// When it was last taken, written to or let go of.
    pub last_used: Timestamp,
    /// Whether somebody holds it now.
    pub is_in_use: bool,
}

/// The id of a process that uses a state directory; its own until it is dropped.
#[derive(Debug)]
pub struct ProcessId {
    id: String,
    _lock: Option<File>,
}

impl ProcessId {
    /// One that nobody else claims, as in a simulation, where each machine has its own.
    pub fn unclaimed(id: impl Into<String>) -> Self {
        ProcessId { id: id.into(), _lock: None }
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.id
    }
}

/// The locked directory of one task, or of the global tables of a process.
#[derive(Debug)]
pub struct TaskDirectory {
    owner: StateOwner,
    path: PathBuf,
    lock: TaskLock,
}

#[derive(Debug)]
enum TaskLock {
    File { _lock: UsedLock },
    Simulated(SimulatedLock),
}

/// A lock that leaves word of its use.
#[derive(Debug)]
struct UsedLock {
    file: File,
    path: PathBuf,
}

impl UsedLock {
    fn begin(file: File, directory: &Path) -> Result<Self, StoreError> {
        let mut lock = UsedLock { file, path: directory.join(LOCK_FILE) };
        lock.note_use().map_err(|source| failed("lock", &lock.path, source))?;
        Ok(lock)
    }

    /// The file system notes the time of a write.
    fn note_use(&mut self) -> io::Result<()> {
        self.file.rewind()?;
        self.file.write_all(b".")?;
        self.file.set_len(0)
    }
}

impl Drop for UsedLock {
    fn drop(&mut self) {
        if let Err(error) = self.note_use() {
            tracing::warn!(%error, path = %self.path.display(), "the time of the last use could not be noted");
        }
    }
}

impl TaskDirectory {
    /// Whose it is.
    pub fn owner(&self) -> StateOwner {
        self.owner
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the database.
    pub fn rocksdb_path(&self) -> PathBuf {
        self.path.join(ROCKSDB_DIRECTORY)
    }

    /// Where a file is written before it becomes part of the database. A crash may have left one there that is part of it already,
    /// under a second name: that name is removed, because writing to it would write into the database.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the file system refuses.
    pub(crate) fn new_ingest_path(&self) -> Result<PathBuf, StoreError> {
        let path = self.path.join(INGEST_FILE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", &path, error)),
            _ => Ok(path),
        }
    }

    /// The lock alone if the directory is on a simulated disk, which has no files.
    pub(crate) fn into_simulated(self) -> Result<SimulatedLock, Self> {
        match self.lock {
            TaskLock::Simulated(lock) => Ok(lock),
            lock @ TaskLock::File { .. } => Err(TaskDirectory { lock, ..self }),
        }
    }

    /// Removes the directory with everything in it; the lock is released last.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the file system refuses.
    pub fn remove(self) -> Result<(), StoreError> {
        remove_all(&self.path)
    }

    /// Removes the database and keeps the lock: the next open starts from nothing.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the file system refuses.
    pub fn remove_stores(&self) -> Result<(), StoreError> {
        remove_directory(&self.rocksdb_path())
    }
}

/// What became of an attempt to lock a directory.
enum Acquired {
    Held(File),
    ByAnother,
    /// There is no directory, or no longer.
    Gone,
}

/// Locks a directory, without writing to it. Makes the lock file only if `create`.
fn acquire(directory: &Path, create: bool) -> Result<Acquired, StoreError> {
    let path = directory.join(LOCK_FILE);
    let file = match File::options().write(true).create(create).truncate(false).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Acquired::Gone),
        Err(error) => return Err(failed("open", &path, error)),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Acquired::ByAnother),
        Err(TryLockError::Error(error)) => return Err(failed("lock", &path, error)),
    }
    // If the directory was removed before we locked it, we hold a lock that nobody else can see.
    match is_same_file(&file, &path) {
        Ok(true) => Ok(Acquired::Held(file)),
        Ok(false) => Ok(Acquired::Gone),
        Err(error) => Err(failed("lock", &path, error)),
    }
}

/// When a task's directory was last used; `None` if there is none.
fn last_used(directory: &Path) -> Result<Option<Timestamp>, StoreError> {
    let mut newest = None;
    for path in [directory, &directory.join(LOCK_FILE), &directory.join(ROCKSDB_DIRECTORY)] {
        let modified = match fs::metadata(path).and_then(|metadata| metadata.modified()) {
            Ok(modified) => modified.duration_since(UNIX_EPOCH).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(failed("look at", path, error)),
        };
        let modified = Timestamp::from_millis(i64::try_from(modified.as_millis()).unwrap_or(i64::MAX));
        newest = Some(newest.map_or(modified, |newest: Timestamp| newest.max(modified)));
    }
    Ok(newest)
}

fn bytes_below(path: &Path) -> Result<u64, StoreError> {
    let is_gone = |error: &io::Error| error.kind() == ErrorKind::NotFound;
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if is_gone(&error) => return Ok(0),
        Err(error) => return Err(failed("list", path, error)),
    };
    let mut bytes = 0;
    for entry in entries {
        let entry = entry.map_err(|error| failed("list", path, error))?;
        bytes += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path())?,
            Ok(metadata) => metadata.len(),
            Err(error) if is_gone(&error) => 0,
            Err(error) => return Err(failed("look at", &entry.path(), error)),
        };
    }
    Ok(bytes)
}

/// The stores first: what is left by a crash in between is an empty task.
fn remove_all(directory: &Path) -> Result<(), StoreError> {
    remove_directory(&directory.join(ROCKSDB_DIRECTORY))?;
    remove_directory(directory)
}

fn remove_directory(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", path, error)),
        _ => Ok(()),
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Directory { action, path: path.to_owned(), source }
}

/// Whether `path` still leads to the open `file`.
#[cfg(unix)]
fn is_same_file(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let open = file.metadata()?;
    match fs::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether `path` still leads to the open `file`; elsewhere an open file cannot be removed.
#[cfg(not(unix))]
fn is_same_file(_file: &File, path: &Path) -> io::Result<bool> {
    path.try_exists()
}

#[cfg(test)]
mod tests;
