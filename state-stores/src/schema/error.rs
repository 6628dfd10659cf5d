//! What can go wrong with a schema registry.

use super::{SchemaId, SchemaKind};

/// What a schema registry answered, or that it did not. Where a record needs an answer that is not given
/// ([`is_outage`](RegistryError::is_outage)), the task stops, whatever the handlers say.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Nobody answers, after several tries.
    #[error(
        "the schema registry at {url} does not answer ({tries} tries within {seconds} s); is it running, and the address right?"
    )]
    Away {
        /// Where it should be.
        url: String,
        /// How often it was asked.
        tries: u32,
        /// For how long it was asked, in seconds.
        seconds: u64,
        /// What the last try said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The registry does not know who asks, or that one may not ask this.
    #[error(
        "the schema registry at {url} refuses access (status {status}); check the user and password, or the token"
    )]
    Unauthorized {
        /// The registry.
        url: String,
        /// HTTP status, 401 or 403.
        status: u16,
    },

    /// A subject does not take a schema as its next version.
    #[error(
        "subject {subject} does not take the schema: {reason}; change it so that the others can go on, or write to another topic"
    )]
    Incompatible {
        /// The subject.
        subject: String,
        /// What the registry said.
        reason: String,
    },

    /// Schemas are not registered by this application, and this one is not.
    #[error(
        "subject {subject} does not have the schema, and this application registers none; register it, or let `auto_register` on"
    )]
    NotRegistered {
        /// The subject.
        subject: String,
    },

    /// An id of no schema. Often bytes of another registry.
    #[error("the schema registry has no schema {id}; was the record written with another registry?")]
    UnknownId {
        /// The id.
        id: SchemaId,
    },

    /// A schema in another language than the type's.
    #[error(
        "schema {id} is in {}, the type's in {}; does the producer write another format?",
        .found.name(),
        .expected.name()
    )]
    OtherKind {
        /// The schema that the bytes name.
        id: SchemaId,
        /// Its language.
        found: SchemaKind,
        /// That of the type.
        expected: SchemaKind,
    },

    /// A schema in a language that is none of those that are supported.
    #[error("schema {id} is in {name:?}, which is not supported; does the producer write another format?")]
    UnknownKind {
        /// The schema that the bytes name.
        id: SchemaId,
        /// What the registry calls the language.
        name: String,
    },

    /// A schema that the type cannot be read by, as the newest version of what it reads.
    #[error("what subject {subject} has as its newest schema ({id}) cannot be read: {reason}")]
    Unreadable {
        /// The subject.
        subject: String,
        /// Its newest schema.
        id: SchemaId,
        /// What does not fit.
        reason: String,
    },

    /// A schema that would be registered for its topic, where each record names one.
    #[error(
        "each record names its topic, so no schema can be registered for one; use `SubjectNameStrategy::RecordName`"
    )]
    NoTopic,

    /// A schema without a name, which its subject would be named after.
    #[error(
        "the schema has no name to name its subject after, and what is written needs one; give a JSON Schema a `title`, let each branch of a union in \
         Avro be a type with a name, or name subjects after topics"
    )]
    NoRecordName,

    /// A value that is written by a serde of a place where nothing is.
    #[error("the serde is of a topic that is only read, and has no schema to write by")]
    OnlyRead,

    /// Anything else that the registry said.
    #[error("the schema registry at {url} refuses {what} (status {status}): {message}")]
    Refused {
        /// The registry.
        url: String,
        /// What was asked.
        what: String,
        /// HTTP status.
        status: u16,
        /// Its message.
        message: String,
    },

    /// An answer that no schema registry gives.
    #[error("what answers at {url} is no schema registry: {reason}")]
    NoRegistry {
        /// The address.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },

    /// A schema made of others, which is not supported.
    #[error("schema {id} refers to other schemas, which is not supported: register it as one")]
    References {
        /// The schema.
        id: SchemaId,
    },
}

impl RegistryError {
    /// Whether what was asked remains unsaid: nobody answered, or who did refuses to say it, or is no registry. Whatever was to be known by the
    /// answer, such as by which schema a record was written, may be as it should: no record is to blame, and no handler is asked.
    ///
    /// ```
    /// use millstream_state_stores::{RegistryError, SchemaId};
    ///
    /// // A token that has expired.
    /// assert!(RegistryError::Unauthorized { url: "https://registry:8081".into(), status: 401 }.is_outage());
    /// // Bytes of another registry: the record's own fault.
    /// assert!(!RegistryError::UnknownId { id: SchemaId::new(8) }.is_outage());
    /// ```
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Away { .. }
            | Self::Unauthorized { .. }
            | Self::Refused { .. }
            | Self::NoRegistry { .. } => true,
            Self::Incompatible { .. }
            | Self::NotRegistered { .. }
            | Self::UnknownId { .. }
            | Self::OtherKind { .. }
            | Self::UnknownKind { .. }
            | Self::Unreadable { .. }
            | Self::NoTopic
            | Self::NoRecordName
            | Self::OnlyRead
            | Self::References { .. } => false,
        }
    }

    /// Whether nobody answered, which may pass without anybody doing anything.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Away { .. })
    }
}
