//! What is asked of a schema registry, whoever answers.

use std::fmt;
use std::sync::Arc;

use super::RegistryError;

/// The number that a registry gives to a schema; records begin with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaId(u32);

impl SchemaId {
    /// The id with this number.
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// Its number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for SchemaId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The language of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SchemaKind {
    /// Avro, in JSON.
    Avro,
    /// Protocol Buffers: a `.proto` file.
    Protobuf,
    /// JSON Schema.
    Json,
}

impl SchemaKind {
    /// Its name in the registry's API.
    ///
    /// ```
    /// use millstream_state_stores::SchemaKind;
    ///
    /// assert_eq!(SchemaKind::Json.name(), "JSON");
    /// assert_eq!(SchemaKind::of_name("AVRO"), Some(SchemaKind::Avro));
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avro => "AVRO",
            Self::Protobuf => "PROTOBUF",
            Self::Json => "JSON",
        }
    }

    /// The kind of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Avro, Self::Protobuf, Self::Json].into_iter().find(|kind| kind.name() == name)
    }
}

/// A schema as its language writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Schema {
    /// The language.
    pub kind: SchemaKind,
    /// The text.
    pub text: Arc<str>,
}

impl Schema {
    /// A schema in this language.
    pub fn new(kind: SchemaKind, text: impl Into<Arc<str>>) -> Self {
        Self { kind, text: text.into() }
    }
}

/// A schema with its id in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredSchema {
    /// Its id.
    pub id: SchemaId,
    /// Which version of its subject it is, counted from 1.
    pub version: u32,
    /// The schema.
    pub schema: Schema,
}

/// A schema registry, as those who read and write by it see it (Confluent's `SchemaRegistryClient`). A client remembers what cannot change:
/// which schema an id means, and which id a schema has in a subject.
///
/// Every method answers within a time that the client promises.
pub trait SchemaRegistryClient: Send + Sync {
    /// The id of a schema in a subject, which it is made a new version of unless it is one.
    ///
    /// # Errors
    /// [`Incompatible`](RegistryError::Incompatible) if the subject does not take it.
    fn register(&self, subject: &str, schema: &Schema) -> Result<SchemaId, RegistryError>;

    /// The id of a schema in a subject; none if it is no version of it.
    ///
    /// # Errors
    /// If the registry does not answer, or refuses to.
    fn id_of(&self, subject: &str, schema: &Schema) -> Result<Option<SchemaId>, RegistryError>;

    /// The newest version of a subject; none if there is no such subject.
    ///
    /// # Errors
    /// If the registry does not answer, or refuses to.
    fn latest(&self, subject: &str) -> Result<Option<RegisteredSchema>, RegistryError>;

    /// The schema with this id.
    ///
    /// # Errors
    /// [`UnknownId`](RegistryError::UnknownId) if there is none.
    fn schema(&self, id: SchemaId) -> Result<Schema, RegistryError>;

    /// Why a subject would not take a schema as its next version; empty if it would.
    ///
    /// # Errors
    /// If the registry does not answer, or refuses to.
    fn incompatibilities(&self, subject: &str, schema: &Schema) -> Result<Vec<String>, RegistryError>;
}
