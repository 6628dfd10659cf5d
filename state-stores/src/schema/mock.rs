//! A schema registry within the program, for tests.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::{RegisteredSchema, RegistryError, Schema, SchemaId, SchemaRegistryClient};

/// A registry in memory, which takes every schema (Confluent's `MockSchemaRegistryClient`). Ids are counted from 1, one for each text.
///
/// ```
/// use millstream_state_stores::{MockSchemaRegistryClient, Schema, SchemaKind, SchemaRegistryClient};
///
/// let registry = MockSchemaRegistryClient::default();
/// let id = registry.register("orders-value", &Schema::new(SchemaKind::Avro, r#""string""#))?;
/// assert_eq!(registry.latest("orders-value")?.map(|latest| latest.id), Some(id));
/// # Ok::<(), millstream_state_stores::RegistryError>(())
/// ```
#[derive(Debug, Default)]
pub struct MockSchemaRegistryClient {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By the id less one.
    schemas: Vec<Schema>,
    /// The versions of each subject, oldest first.
    subjects: BTreeMap<String, Vec<SchemaId>>,
}

impl MockSchemaRegistryClient {
    /// The subjects that have a schema, in the order of their names.
    pub fn subjects(&self) -> Vec<String> {
        self.state.lock().subjects.keys().cloned().collect()
    }
}

impl State {
    fn id_of(&self, schema: &Schema) -> Option<SchemaId> {
        self.schemas.iter().position(|known| known == schema).map(id_at)
    }

    fn versions(&self, subject: &str) -> &[SchemaId] {
        self.subjects.get(subject).map_or(&[], Vec::as_slice)
    }

    fn schema(&self, id: SchemaId) -> Result<Schema, RegistryError> {
        let place = usize::try_from(id.get()).ok().and_then(|id| id.checked_sub(1));
        let schema = place.and_then(|place| self.schemas.get(place));
        schema.cloned().ok_or(RegistryError::UnknownId { id })
    }
}

fn id_at(place: usize) -> SchemaId {
    SchemaId::new(u32::try_from(place).map_or(u32::MAX, |place| place.saturating_add(1)))
}

impl SchemaRegistryClient for MockSchemaRegistryClient {
    fn register(&self, subject: &str, schema: &Schema) -> Result<SchemaId, RegistryError> {
        let mut state = self.state.lock();
        let id = state.id_of(schema).unwrap_or_else(|| {
            state.schemas.push(schema.clone());
            id_at(state.schemas.len() - 1)
        });
        let versions = state.subjects.entry(subject.to_owned()).or_default();
        if !versions.contains(&id) {
            versions.push(id);
        }
        Ok(id)
    }

    fn id_of(&self, subject: &str, schema: &Schema) -> Result<Option<SchemaId>, RegistryError> {
        let state = self.state.lock();
        Ok(state.id_of(schema).filter(|id| state.versions(subject).contains(id)))
    }

    fn latest(&self, subject: &str) -> Result<Option<RegisteredSchema>, RegistryError> {
        let state = self.state.lock();
        let versions = state.versions(subject);
        let Some(id) = versions.last().copied() else { return Ok(None) };
        let version = u32::try_from(versions.len()).unwrap_or(u32::MAX);
        Ok(Some(RegisteredSchema { id, version, schema: state.schema(id)? }))
    }

    fn schema(&self, id: SchemaId) -> Result<Schema, RegistryError> {
        self.state.lock().schema(id)
    }

    fn incompatibilities(&self, _subject: &str, _schema: &Schema) -> Result<Vec<String>, RegistryError> {
        Ok(Vec::new())
    }
}
