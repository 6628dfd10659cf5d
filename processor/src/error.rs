//! One error type for the runtime. Its kind says what happens next; the rest says where it happened.

use std::fmt;
use std::sync::Arc;

use millstream_state_stores::{Offset, SerdeError, StoreError, TaskId};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error a user's closure, processor or serde may return.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What the framework does about an error, and what is left to the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Kafka, the schema registry or the disk is away for the moment. The framework tries again within its timeouts; nothing is asked of the user.
    Retry,
    /// The transaction cannot be committed. The framework aborts it, takes state back to the last commit and processes its records
    /// again; nothing is asked of the user.
    Abortable,
    /// The tasks belong to another member of the group, or the producer was fenced, or nobody can tell whether the last transaction was
    /// committed. The framework drops the tasks as they are and joins the group anew, with what Kafka says is committed.
    Migrated,
    /// Local state cannot be read. The message names the directory to remove; it is rebuilt from the changelog.
    Corrupted,
    /// One record cannot be decoded, processed or produced. The handler of that stage decides: fail, skip or dead-letter.
    Record,
    /// The program or its configuration is wrong: topology, settings, topics. It will fail again until it is changed.
    Invalid,
    /// Nothing sensible can be done. The thread stops and the application goes to the state `Error`.
    Fatal,
}

/// A record's place in Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordLocation {
    /// Topic name as Kafka knows it.
    pub topic: Arc<str>,
    /// Partition number.
    pub partition: i32,
    /// Offset within the partition.
    pub offset: Offset,
}

impl fmt::Display for RecordLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}@{}", self.topic, self.partition, self.offset)
    }
}

/// An error of the runtime: what happened, what follows from it (`kind`), and where: task, node and record, as far as known.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    task: Option<TaskId>,
    node: Option<Arc<str>>,
    at: Option<RecordLocation>,
    source: Option<BoxError>,
}

impl Error {
    /// An error of this kind. The message says what happened and, where there is one, the remedy.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            task: None,
            node: None,
            at: None,
            source: None,
        }))
    }

    /// The program or its configuration is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Invalid, message)
    }

    /// Nothing sensible can be done.
    pub fn fatal(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Fatal, message)
    }

    /// A topic that is written to and does not exist.
    pub(crate) fn no_output_topic(name: &str) -> Self {
        Error::invalid(format!(
            "output topic {name} does not exist: create it before the application writes to it"
        ))
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds the task it happened in, unless one is named already.
    #[must_use]
    pub fn in_task(mut self, task: TaskId) -> Self {
        self.0.task.get_or_insert(task);
        self
    }

    /// Adds the topology node it happened in, unless one is named already.
    #[must_use]
    pub fn in_node(mut self, node: Arc<str>) -> Self {
        self.0.node.get_or_insert(node);
        self
    }

    /// Adds the record it happened on, unless one is named already.
    #[must_use]
    pub fn at(mut self, location: RecordLocation) -> Self {
        self.0.at.get_or_insert(location);
        self
    }

    /// What follows from the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The task it happened in, if it happened in one.
    pub fn task(&self) -> Option<TaskId> {
        self.0.task
    }

    /// The topology node it happened in, if it happened in one.
    pub fn node(&self) -> Option<&str> {
        self.0.node.as_deref()
    }

    /// The input record it happened on, if it happened on one.
    pub fn location(&self) -> Option<&RecordLocation> {
        self.0.at.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(task) = self.0.task {
            write!(f, " [task {task}]")?;
        }
        if let Some(node) = &self.0.node {
            write!(f, " [node {node}]")?;
        }
        if let Some(at) = &self.0.at {
            write!(f, " [record {at}]")?;
        }
        let source = self.0.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static));
        f.write_str(&causes(String::new(), source))
    }
}

/// An error and what led to it, on one line.
pub(crate) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let text = error.to_string();
    let causes = causes(text.clone(), error.source());
    text + &causes
}

/// What led to an error of which this is said already: `: this: because of that`.
fn causes(mut said: String, mut source: Option<&(dyn std::error::Error + 'static)>) -> String {
    let mut causes = String::new();
    while let Some(error) = source {
        let text = error.to_string();
        // Some libraries put the text of the cause into their own.
        if !said.ends_with(&text) {
            causes.push_str(": ");
            causes.push_str(&text);
        }
        said = text;
        source = error.source();
    }
    causes
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::Locked { .. } => ErrorKind::Retry,
            StoreError::Corrupt { .. } => ErrorKind::Corrupted,
            StoreError::OtherApplication { .. }
            | StoreError::IncompatibleTopology { .. }
            | StoreError::UnknownStore { .. }
            | StoreError::WrongType { .. } => ErrorKind::Invalid,
            _ => ErrorKind::Fatal,
        };
        Error::new(kind, "the state store failed").with_source(error)
    }
}

impl From<SerdeError> for Error {
    /// `Record` if the bytes are wrong. They are not if nobody says by which schema they were written: `Retry` if the registry does not answer,
    /// and `Invalid` if it refuses to.
    fn from(error: SerdeError) -> Self {
        let (kind, message) = match error.registry_error() {
            Some(registry) if registry.may_pass() => {
                (ErrorKind::Retry, "nobody says for now what the bytes are")
            }
            Some(registry) if registry.is_outage() => {
                (ErrorKind::Invalid, "the schema registry does not say what the bytes are")
            }
            _ => (ErrorKind::Record, "the bytes do not fit the type"),
        };
        Error::new(kind, message).with_source(error)
    }
}

/// Whether a record, or a row, could not be converted because nobody says by which schema: it may be as it should.
pub(crate) fn is_schema_outage(source: &BoxError) -> bool {
    let in_store = source.downcast_ref::<StoreError>().and_then(|error| match error {
        StoreError::Serde { source, .. } => Some(source),
        _ => None,
    });
    in_store.or(source.downcast_ref::<SerdeError>()).is_some_and(SerdeError::is_outage)
}

#[cfg(test)]
mod tests {
    use millstream_state_stores::{RegistryError, SchemaId};

    use super::*;

    #[test]
    fn bytes_that_nobody_can_be_asked_about_are_no_records_fault() {
        let by_schema = |source: SerdeError| {
            let schema_id = SchemaId::new(7);
            Error::from(SerdeError::BySchema { type_name: "Order", schema_id, source: Box::new(source) })
        };
        let url = "http://registry:8081".to_owned();
        let away = RegistryError::Away { url, tries: 3, seconds: 20, source: "refused".into() };
        assert_eq!(by_schema(away.into()).kind(), ErrorKind::Retry);
        let url = "http://registry:8081".to_owned();
        let expired = RegistryError::Unauthorized { url, status: 401 };
        assert_eq!(by_schema(expired.into()).kind(), ErrorKind::Invalid);
        let unknown = RegistryError::UnknownId { id: SchemaId::new(7) };
        assert_eq!(by_schema(unknown.into()).kind(), ErrorKind::Record);
        assert_eq!(by_schema(SerdeError::UnexpectedNull { type_name: "Order" }).kind(), ErrorKind::Record);
    }
}
