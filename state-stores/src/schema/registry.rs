//! The registry of an application's schemas, and how it is used: whether schemas are registered, and under which names.

use std::fmt;
use std::sync::Arc;

use super::{RegisteredSchema, RegistryError, Schema, SchemaId, SchemaRegistryClient};
use crate::serde::{ApplicationSerdes, HasSerde, RecordPart, SerdeError, SerdePlace, SerdeRef};

/// Under which subject the schema of a topic's keys or values is registered (Confluent's `SubjectNameStrategy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SubjectNameStrategy {
    /// `<topic>-key` and `<topic>-value`: a topic carries one type.
    #[default]
    TopicName,
    /// The full name of the type in its schema, of a JSON Schema the title: the type evolves as one, whatever topics carry it, and topics may
    /// carry several.
    RecordName,
    /// `<topic>-<full name of the type>`: topics may carry several types, each of which evolves by itself in each topic.
    TopicRecordName,
}

impl SubjectNameStrategy {
    /// The subject for a type with this name in a place.
    fn subject(self, place: &SerdePlace<'_>, record_name: Option<&str>) -> Result<String, RegistryError> {
        let topic = || place.topic().ok_or(RegistryError::NoTopic);
        let record = || record_name.ok_or(RegistryError::NoRecordName);
        Ok(match (self, place.part()) {
            (Self::TopicName, RecordPart::Key) => format!("{}-key", topic()?),
            (Self::TopicName, RecordPart::Value) => format!("{}-value", topic()?),
            (Self::RecordName, _) => record()?.to_owned(),
            (Self::TopicRecordName, _) => format!("{}-{}", topic()?, record()?),
        })
    }
}

/// The registry of an application's schemas. With it, types of Avro, and those of Protobuf and JSON that have a schema, are written in
/// Confluent's wire format and read by the schema that each record names. It is given to a topology, and so to all of its topics and stores.
///
/// Schemas are settled before records flow: one that is written is registered or looked up, and of a topic that is read the newest schema
/// is checked against the type. After that the registry is asked only when a record names a schema that was not met yet.
///
/// ```
/// use std::sync::Arc;
/// use millstream_state_stores::{MockSchemaRegistryClient, SchemaRegistry, SubjectNameStrategy};
///
/// let client = Arc::new(MockSchemaRegistryClient::default());
/// let registry = SchemaRegistry::new(client).naming(SubjectNameStrategy::RecordName);
/// # drop(registry);
/// ```
#[derive(Clone)]
pub struct SchemaRegistry {
    client: Arc<dyn SchemaRegistryClient>,
    registers: bool,
    uses_latest: bool,
    naming: SubjectNameStrategy,
}

impl SchemaRegistry {
    /// Registers schemas that are new, under the names of their topics.
    pub fn new(client: Arc<dyn SchemaRegistryClient>) -> Self {
        Self { client, registers: true, uses_latest: false, naming: SubjectNameStrategy::TopicName }
    }

    /// Whether schemas that are written are registered, if they are new (Confluent's `auto.register.schemas`); else it is an error at the
    /// start that one is not registered.
    #[must_use]
    pub fn auto_register(self, registers: bool) -> Self {
        Self { registers, ..self }
    }

    /// Writes by the newest schema of the subject in place of the type's own, which is not registered (`use.latest.version`). It is an error at
    /// the start if that would not read what the type writes as it was.
    #[must_use]
    pub fn use_latest(self) -> Self {
        Self { uses_latest: true, ..self }
    }

    /// Names subjects in this way.
    #[must_use]
    pub fn naming(self, naming: SubjectNameStrategy) -> Self {
        Self { naming, ..self }
    }

    /// Who answers.
    pub fn client(&self) -> &Arc<dyn SchemaRegistryClient> {
        &self.client
    }

    /// The serde of a type for a topic outside of a topology: for a program that writes what a topology reads.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use millstream_state_stores::{MockSchemaRegistryClient, RecordPart, SchemaRegistry, json_serde};
    ///
    /// #[derive(Clone, serde::Serialize, serde::Deserialize)]
    /// struct Order { sku: String }
    /// json_serde!(Order, schema = r#"{"title": "Order", "type": "object", "properties": {"sku": {"type": "string"}}}"#);
    ///
    /// let registry = SchemaRegistry::new(Arc::new(MockSchemaRegistryClient::default()));
    /// let orders = registry.serde::<Order>("orders", RecordPart::Value)?;
    /// let mut bytes = Vec::new();
    /// orders.encode(&Order { sku: "apples".into() }, &mut bytes)?;
    /// assert_eq!(bytes, b"\0\0\0\0\x01{\"sku\":\"apples\"}");
    /// # Ok::<(), millstream_state_stores::SerdeError>(())
    /// ```
    ///
    /// # Errors
    /// What the registry says.
    pub fn serde<T: HasSerde>(&self, topic: &str, part: RecordPart) -> Result<SerdeRef<T>, SerdeError> {
        let serdes = ApplicationSerdes::default().with_schema_registry(self.clone());
        SerdePlace::new(topic, part, &serdes).bind(&T::serde())
    }

    /// Whether a topic may carry several types, each under a subject of its own.
    #[cfg(feature = "avro")]
    pub(crate) fn names_subjects_after_types(&self) -> bool {
        self.naming != SubjectNameStrategy::TopicName
    }

    pub(super) fn subject(
        &self,
        place: &SerdePlace<'_>,
        record_name: Option<&str>,
    ) -> Result<String, RegistryError> {
        self.naming.subject(place, record_name)
    }

    /// What to write by under a subject: its newest schema, or the id of the type's own.
    pub(super) fn to_write(&self, subject: &str, own: &Schema) -> Result<ToWrite, RegistryError> {
        let not_registered = || RegistryError::NotRegistered { subject: subject.to_owned() };
        if self.uses_latest {
            return Ok(ToWrite::Latest(self.client.latest(subject)?.ok_or_else(not_registered)?));
        }
        if self.registers {
            return Ok(ToWrite::Own(self.client.register(subject, own)?));
        }
        Ok(ToWrite::Own(self.client.id_of(subject, own)?.ok_or_else(not_registered)?))
    }
}

/// The schema that is written by.
pub(super) enum ToWrite {
    /// The type's own has this id.
    Own(SchemaId),
    /// This one.
    Latest(RegisteredSchema),
}

impl fmt::Debug for SchemaRegistry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SchemaRegistry")
            .field("registers", &self.registers)
            .field("uses_latest", &self.uses_latest)
            .field("naming", &self.naming)
            .finish_non_exhaustive()
    }
}
