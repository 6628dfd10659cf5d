//! What can go wrong in a state store, where, and what to do about it.
//!
//! Every variant says what the framework does and what the user should do. Nothing here knows about Kafka: the
//! layer above decides which of these stop a task, which move it, and which wipe its directory.

use std::path::PathBuf;

use crate::serde::SerdeError;
use crate::types::TaskId;

/// Any failure of a state store. Its text names the place and ends with the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another task, thread or process holds the directory, or a query that started before the task was closed is
    /// still reading it. The framework tries again; if it never succeeds, stop the other process.
    #[error(
        "the state directory {path} is in use: another process or thread runs this task, or a query still reads it. \
         It is free as soon as they end; give every process its own `state_dir`", path = path.display()
    )]
    Locked {
        /// The directory of the task.
        path: PathBuf,
    },

    /// RocksDB found bytes that it did not write. The framework wipes the directory and rebuilds the stores from their
    /// changelogs where it can; the disk deserves a look.
    #[error(
        "the state in {path} is corrupt ({source}). Remove that directory: the stores are rebuilt from their \
         changelog topics at the next start", path = path.display()
    )]
    Corrupt {
        /// The RocksDB directory that cannot be trusted any more.
        path: PathBuf,
        /// What RocksDB said.
        source: EngineFailure,
    },

    /// The directory was written by another application or for another task. Nothing is touched; the user points
    /// `state_dir` elsewhere or removes what is not needed any more.
    #[error(
        "the state directory {path} belongs to {found}, not to {expected}. Use another `state_dir`, or remove that \
         directory if its owner is gone", path = path.display()
    )]
    OtherApplication {
        /// The RocksDB directory.
        path: PathBuf,
        /// Who wrote it.
        found: String,
        /// Who tried to open it.
        expected: String,
    },

    /// The directory was written by a version of this library that lays out bytes differently. Nothing is touched.
    #[error(
        "the state directory {path} has format version {found}, this program reads version {expected}. Run the \
         version that wrote it, or remove that directory to rebuild it from the changelog topics",
        path = path.display()
    )]
    UnsupportedFormat {
        /// The RocksDB directory.
        path: PathBuf,
        /// The version found.
        found: String,
        /// The version this program writes.
        expected: u32,
    },

    /// The directory holds stores that the topology does not give to this task: the topology was changed so that
    /// stores moved or were renamed. Nothing is touched.
    #[error(
        "task {task}: the state directory {path} holds the stores {unknown:?}, which the topology does not have in \
         this task. If they were renamed or moved, name them as before, or run the application's reset; if they are \
         gone for good, remove that directory: the other stores are rebuilt from their changelog topics",
        path = path.display()
    )]
    IncompatibleTopology {
        /// The task that was opened.
        task: TaskId,
        /// The RocksDB directory.
        path: PathBuf,
        /// The stores found there and not in the topology.
        unknown: Vec<String>,
    },

    /// An update failed half-way and its store may hold part of it. The task must roll back (the framework does) before
    /// the store is used again.
    #[error(
        "store `{store}`: an earlier update failed half-way; roll the task back to its last commit before using it"
    )]
    Poisoned {
        /// The store.
        store: String,
    },

    /// A key or a value could not be turned into bytes or back. Handled like any other record that fails, by policy.
    #[error("store `{store}`: its {part} cannot be converted: {source}")]
    Serde {
        /// The store.
        store: String,
        /// Which part of the row.
        part: RowPart,
        /// What the serde said.
        source: SerdeError,
    },

    /// A key or a value was encoded as null. A store has neither: null means that the key is absent.
    #[error(
        "store `{store}`: its {part} was encoded as null, which a store cannot hold. Delete the key instead, or wrap \
         the type in one that is never null"
    )]
    NullInStore {
        /// The store.
        store: String,
        /// Which part of the row.
        part: RowPart,
    },

    /// A stored row is shorter than its own header. Treated like [`StoreError::Corrupt`].
    #[error(
        "store `{store}`: a row of {found} bytes is shorter than the 8 bytes of its timestamp. Remove the state \
         directory of the task: the store is rebuilt from its changelog topic"
    )]
    MalformedRow {
        /// The store.
        store: String,
        /// Bytes found.
        found: usize,
    },

    /// The key of a row of a window or session store is shorter than a key and its window. On disk it is treated like
    /// [`StoreError::Corrupt`]; in a changelog somebody else wrote it, or the store was of another kind.
    #[error(
        "store `{store}`: a key of {found} bytes is too short for a key and its window. Did something else write to its changelog \
         topic? Reset the application, or give the store another name"
    )]
    MalformedKey {
        /// The store.
        store: String,
        /// Bytes found.
        found: usize,
    },

    /// RocksDB failed for a reason other than corruption: a full disk, missing permissions, too many open files. The task
    /// stops; nothing that was committed is lost.
    #[error(
        "the state in {path} cannot be read or written ({source}). Check free space, permissions and the limit of \
         open files of that file system", path = path.display()
    )]
    Engine {
        /// The RocksDB directory.
        path: PathBuf,
        /// What RocksDB said.
        source: EngineFailure,
    },

    /// The file system refused to create, lock, list or remove a state directory.
    #[error("cannot {action} {path}: {source}. Check that `state_dir` exists on a writable disk", path = path.display())]
    Directory {
        /// What was tried, such as "create" or "lock".
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// The task has no store of that name.
    #[error(
        "task {task} has no store `{store}`; it has {known:?}. Connect the store to the processor that uses it"
    )]
    UnknownStore {
        /// The task.
        task: TaskId,
        /// The name asked for.
        store: String,
        /// The names there are.
        known: Vec<String>,
    },

    /// Two stores of a task have the same name.
    #[error("task {task} has two stores called `{store}`; give each store a name of its own")]
    DuplicateStore {
        /// The task.
        task: TaskId,
        /// The name used twice.
        store: String,
    },

    /// The store exists, with other types.
    #[error(
        "store `{store}` holds {found}, but was asked for as {expected}; use the constant it was declared with"
    )]
    WrongType {
        /// The store.
        store: String,
        /// The type asked for.
        expected: String,
        /// The type it has.
        found: String,
    },

    /// A buffer may not grow further, and was told to stop its application then. The task stops, whatever its handlers say.
    #[error(
        "buffer `{store}` is full: {records} records of {bytes} bytes wait in it, and it was told to hold no more and to shut down. \
         Give it more room, or let it emit early"
    )]
    BufferFull {
        /// The store of the buffer.
        store: String,
        /// Records that wait.
        records: usize,
        /// Their bytes, if there is a limit for them.
        bytes: usize,
    },

    /// The store knows only what is, and was asked for what was.
    #[error("store `{store}` keeps no versions; declare it with `versioned(history_retention)` to look back")]
    NotVersioned {
        /// The store.
        store: String,
    },

    /// The task that owned the store was closed or moved to another instance. Ask again: the query is routed to the new
    /// owner.
    #[error(
        "store `{store}` is closed here: its task moved or was stopped. Ask again to be routed to its new owner"
    )]
    Closed {
        /// The store.
        store: String,
    },

    /// The background thread that writes checkpoints has ended before this one, after a panic. The task stops; nothing
    /// that was committed is lost.
    #[error(
        "task {task}: the background thread that writes checkpoints has panicked; its message is on standard error. \
         Restart the application: the stores resume at their last checkpoint and their changelog topics"
    )]
    BackgroundThreadEnded {
        /// The task.
        task: TaskId,
    },

    /// The steps of a commit, a checkpoint or a restore were called in an order that would lose data. A defect of the
    /// caller; nothing was changed.
    #[error("task {task}: `{call}` is out of order: {reason}")]
    OutOfOrder {
        /// The task.
        task: TaskId,
        /// The method called.
        call: &'static str,
        /// What must happen first.
        reason: &'static str,
    },
}

/// The half of a row that could not be converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowPart {
    /// The key.
    Key,
    /// The value.
    Value,
}

impl std::fmt::Display for RowPart {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Key => "key",
            Self::Value => "value",
        })
    }
}

/// What the storage engine reported, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EngineFailure {
    message: String,
}

impl EngineFailure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}
