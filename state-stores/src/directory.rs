//! Where the state of an application lies, and who may touch it.
//!
//! ```text
//! <root>/<application id>/process-<n>         the id of a process, held, exclusively, by that process
//! <root>/<application id>/<task>/.lock        held, exclusively, by whoever runs the task
//! <root>/<application id>/<task>/rocksdb/     the stores of the task
//! <root>/<application id>/<task>/ingest.sst   rows being written, until they are moved into `rocksdb/`
//! ```
//! All paths are built here.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::engine::{ProcessDisk, SimulatedLock};
use crate::error::StoreError;
use crate::types::TaskId;

const PROCESS_FILE: &str = "process-";
const LOCK_FILE: &str = ".lock";
const ROCKSDB_DIRECTORY: &str = "rocksdb";
const INGEST_FILE: &str = "ingest.sst";

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

    /// The directory of a task, whether it exists or not.
    ///
    /// ```
    /// # use millstream_state_stores::{StateDirectory, TaskId};
    /// let directory = StateDirectory::new("/var/lib/millstream", "shop");
    /// let task = directory.task(TaskId { subtopology: 0, partition: 3 });
    /// assert_eq!(task, std::path::Path::new("/var/lib/millstream/shop/0_3"));
    /// ```
    pub fn task(&self, task: TaskId) -> PathBuf {
        self.path.join(task.to_string())
    }

    /// Creates the directory of a task if necessary and locks it against all other threads and processes, until the
    /// returned value is dropped. The lock ends with the process, however it ends.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if somebody else holds it, [`StoreError::Directory`] if the file system refuses.
    pub fn lock_task(&self, task: TaskId) -> Result<TaskDirectory, StoreError> {
        let path = self.task(task);
        if let Some(disk) = &self.simulated {
            let lock = disk.lock(task, &path)?;
            return Ok(TaskDirectory { path, lock: TaskLock::Simulated(lock) });
        }
        let lock_path = path.join(LOCK_FILE);
        loop {
            fs::create_dir_all(&path).map_err(|source| failed("create", &path, source))?;
            let lock = match File::create(&lock_path) {
                Ok(lock) => lock,
                // Somebody removed the directory in between: create it again.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(failed("create", &lock_path, error)),
            };
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { path }),
                Err(TryLockError::Error(error)) => return Err(failed("lock", &lock_path, error)),
            }
            // If the directory was removed before we locked it, we hold a lock that nobody else can see.
            if is_same_file(&lock, &lock_path).map_err(|source| failed("lock", &lock_path, source))? {
                return Ok(TaskDirectory { path, lock: TaskLock::File { _lock: lock } });
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

    /// The tasks that have a directory here, sorted.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the file system refuses.
    pub fn list(&self) -> Result<Vec<TaskId>, StoreError> {
        let list_failed = |source| failed("list", &self.path, source);
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(list_failed(error)),
        };
        let mut tasks = Vec::new();
        for entry in entries {
            let name = entry.map_err(list_failed)?.file_name();
            tasks.extend(name.to_str().and_then(|name| name.parse::<TaskId>().ok()));
        }
        tasks.sort();
        Ok(tasks)
    }

    /// Removes the directory of a task, which nobody may be using. Its stores are rebuilt from their changelogs if the task
    /// comes back. Does nothing if there is no directory.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if the task is running, [`StoreError::Directory`] if the file system refuses.
    pub fn remove_task(&self, task: TaskId) -> Result<(), StoreError> {
        let path = self.task(task);
        if !path.exists() {
            return Ok(());
        }
        self.lock_task(task)?.remove()
    }
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

/// The locked directory of one task.
#[derive(Debug)]
pub struct TaskDirectory {
    path: PathBuf,
    lock: TaskLock,
}

#[derive(Debug)]
enum TaskLock {
    File { _lock: File },
    Simulated(SimulatedLock),
}

impl TaskDirectory {
    /// The directory of the task.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the task's database.
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
        remove_directory(&self.rocksdb_path())?;
        remove_directory(&self.path)
    }

    /// Removes the database and keeps the lock: the next open starts from nothing.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if the file system refuses.
    pub fn remove_stores(&self) -> Result<(), StoreError> {
        remove_directory(&self.rocksdb_path())
    }
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
mod tests {
    use super::*;

    const TASK: TaskId = TaskId { subtopology: 0, partition: 3 };

    #[test]
    fn a_task_is_locked_by_one_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let directory = StateDirectory::new(root.path(), "shop");
        let held = directory.lock_task(TASK).unwrap();
        let error = directory.lock_task(TASK).unwrap_err();
        let StoreError::Locked { path } = &error else { panic!("{error:?}") };
        assert_eq!(*path, directory.task(TASK));
        assert!(error.to_string().contains("give every process its own `state_dir`"), "{error}");
        drop(held);
        directory.lock_task(TASK).unwrap();
    }

    #[test]
    fn a_process_finds_its_id_again_and_shares_it_with_nobody() {
        let root = tempfile::tempdir().unwrap();
        let directory = StateDirectory::new(root.path(), "shop");
        let first = directory.claim_process_id(|| "first".to_owned()).unwrap();
        let second = directory.claim_process_id(|| "second".to_owned()).unwrap();
        assert_eq!((first.as_str(), second.as_str()), ("first", "second"));
        drop(first);
        let again = directory.claim_process_id(|| unreachable!("it has an id")).unwrap();
        assert_eq!(again.as_str(), "first");
        drop(again);
        fs::write(directory.path().join("process-0"), "fir").unwrap();
        let after_a_crash = directory.claim_process_id(|| "third".to_owned()).unwrap();
        assert_eq!(after_a_crash.as_str(), "third", "half a line is no id");
        assert_eq!(directory.list().unwrap(), [], "they are no tasks");
    }

    #[test]
    fn lists_tasks_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let directory = StateDirectory::new(root.path(), "shop");
        assert_eq!(directory.list().unwrap(), []);
        let other = TaskId { subtopology: 1, partition: 0 };
        for task in [other, TASK] {
            directory.lock_task(task).unwrap();
        }
        fs::create_dir(directory.path().join("lost+found")).unwrap();
        assert_eq!(directory.list().unwrap(), [TASK, other]);
    }

    #[test]
    fn a_running_task_is_not_removed() {
        let root = tempfile::tempdir().unwrap();
        let directory = StateDirectory::new(root.path(), "shop");
        let held = directory.lock_task(TASK).unwrap();
        fs::create_dir_all(held.rocksdb_path().join("files")).unwrap();
        assert!(matches!(directory.remove_task(TASK), Err(StoreError::Locked { .. })));
        assert!(held.rocksdb_path().exists());
        drop(held);
        directory.remove_task(TASK).unwrap();
        assert!(!directory.task(TASK).exists());
        directory.remove_task(TASK).unwrap();
    }
}
