//! The serde of a type whose schema is registered, in any of the formats.

use std::any::type_name;
use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::registry::ToWrite;
use super::{RegisteredSchema, RegistryError, Schema, SchemaId, SchemaRegistry};
use crate::format::{split_wire_format, wire_format};
use crate::serde::{Encoded, Serde, SerdeError, SerdePlace, Usage};

/// What a format adds to the wire format: how a type becomes the bytes behind the schema's id, and is made of them again.
pub(crate) trait SchemaFormat: Clone + Send + Sync + 'static {
    type Value: 'static;
    /// What is prepared to read what one schema wrote.
    type Reader: Send + Sync;

    /// The type's own schema.
    fn schema(&self) -> &Schema;

    /// The type's name in the schema.
    fn record_name(&self) -> String;

    /// What stands between the id and the value: in Protobuf, which message of the file it is.
    fn preamble(&self, written: &Schema) -> Result<Vec<u8>, SerdeError>;

    /// This format, so that it writes by `schema`, a newer or older one of the type's.
    fn writing_by(&self, schema: &Schema) -> Result<Self, SerdeError>;

    /// How near `written` is to the type's own schema.
    fn compare(&self, written: &Schema) -> SchemaMatch;

    /// Prepares to read what was written by `writer`; an error if that cannot become the type.
    fn reader(&self, writer: &Schema) -> Result<Self::Reader, SerdeError>;

    fn encode(&self, value: &Self::Value, out: &mut Vec<u8>) -> Result<(), SerdeError>;

    /// The value; `bytes` begin with the preamble.
    fn decode(&self, reader: &Self::Reader, bytes: &[u8]) -> Result<Self::Value, SerdeError>;

    /// The value as JSON, by the schema it was written by.
    fn to_json(&self, reader: &Self::Reader, bytes: &[u8]) -> Result<serde_json::Value, SerdeError>;

    /// The value that a person writes as this text.
    fn value_from_text(&self, text: &str) -> Result<Self::Value, SerdeError>;
}

/// How near two schemas are, from further to nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SchemaMatch {
    /// They have nothing to do with each other, or one cannot read all that the other wrote.
    Other,
    /// Each reads what the other wrote.
    Mutual,
    /// They say the same, perhaps in other words.
    Same,
}

/// A schema that was met.
struct Met<R> {
    nearness: SchemaMatch,
    /// What reads by it, or why nothing does.
    reader: Result<R, String>,
}

type Readers<F> = BTreeMap<SchemaId, Arc<Met<<F as SchemaFormat>::Reader>>>;

/// Writes by one schema of a registry, and reads by whichever a record names.
pub(crate) struct RegisteredSerde<F: SchemaFormat> {
    format: F,
    registry: SchemaRegistry,
    /// What comes before each value that is written; none where nothing is.
    header: Option<Vec<u8>>,
    /// Those that were met. Read for each record, so without a lock.
    readers: ArcSwap<Readers<F>>,
}

impl<F: SchemaFormat> RegisteredSerde<F> {
    /// Settles the schemas of a place with the registry.
    pub(crate) fn in_place(
        format: &F,
        registry: &SchemaRegistry,
        place: &SerdePlace<'_>,
    ) -> Result<Self, SerdeError> {
        let mut serde = Self {
            format: format.clone(),
            registry: registry.clone(),
            header: None,
            readers: ArcSwap::default(),
        };
        let subject = registry.subject(place, &format.record_name())?;
        match place.usage() {
            Usage::Written => {
                let (id, written) = match registry.to_write(&subject, format.schema())? {
                    ToWrite::Own(id) => (id, format.schema().clone()),
                    ToWrite::Latest(RegisteredSchema { id, schema, .. }) => {
                        serde.format = format.writing_by(&schema)?;
                        (id, schema)
                    }
                };
                let mut header = wire_format(id).to_vec();
                header.extend(format.preamble(&written)?);
                serde.header = Some(header);
                serde.prepare(id, &written)?;
            }
            Usage::Read => {
                if let Some(RegisteredSchema { id, schema, .. }) = registry.client().latest(&subject)?
                    && let Err(reason) = &serde.prepare(id, &schema)?.reader
                {
                    return Err(RegistryError::Unreadable { subject, id, reason: reason.clone() }.into());
                }
            }
            Usage::ReadIfOlder => {}
        }
        Ok(serde)
    }

    /// Prepares to read by a schema, and remembers it.
    fn prepare(&self, id: SchemaId, written: &Schema) -> Result<Arc<Met<F::Reader>>, SerdeError> {
        let own = self.format.schema();
        if written.kind != own.kind {
            return Err(RegistryError::OtherKind { id, found: written.kind, expected: own.kind }.into());
        }
        let reader = self.format.reader(written).map_err(|error| error.to_string());
        let met = Arc::new(Met { nearness: self.format.compare(written), reader });
        self.readers.rcu(|readers| {
            let mut readers = Readers::<F>::clone(readers);
            readers.insert(id, Arc::clone(&met));
            readers
        });
        Ok(met)
    }

    /// The schema that the bytes name, and what follows its id.
    fn schema_of<'a>(
        &self,
        bytes: &'a [u8],
    ) -> Result<(SchemaId, Arc<Met<F::Reader>>, &'a [u8]), SerdeError> {
        let (id, rest) = split_wire_format(bytes).ok_or_else(|| SerdeError::NotByRegistry {
            type_name: type_name::<F::Value>(),
            reason: match bytes.first() {
                Some(0) => format!("{} bytes are too few", bytes.len()),
                Some(first) => format!("the first byte is {first:#04x}, not 0"),
                None => "there are none".to_owned(),
            },
        })?;
        let known = self.readers.load().get(&id).map(Arc::clone);
        let met = match known {
            Some(met) => met,
            None => self.meet(id).map_err(|error| by_schema::<F>(id, error))?,
        };
        Ok((id, met, rest))
    }

    /// What `read` makes of the value, with what reads by its schema.
    fn read<A>(
        &self,
        bytes: &[u8],
        read: impl FnOnce(&F::Reader, &[u8]) -> Result<A, SerdeError>,
    ) -> Result<A, SerdeError> {
        let (id, met, rest) = self.schema_of(bytes)?;
        let read = match &met.reader {
            Ok(reader) => read(reader, rest),
            Err(reason) => Err(SerdeError::invalid_value::<F::Value>(reason)),
        };
        read.map_err(|error| by_schema::<F>(id, error))
    }

    /// Asks the registry for a schema that was not met yet.
    #[cold]
    fn meet(&self, id: SchemaId) -> Result<Arc<Met<F::Reader>>, SerdeError> {
        self.prepare(id, &self.registry.client().schema(id)?)
    }
}

#[cold]
fn by_schema<F: SchemaFormat>(schema_id: SchemaId, source: SerdeError) -> SerdeError {
    SerdeError::BySchema { type_name: type_name::<F::Value>(), schema_id, source: Box::new(source) }
}

impl<F: SchemaFormat> Serde<F::Value> for RegisteredSerde<F> {
    fn encode(&self, value: &F::Value, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        let header = self.header.as_ref().ok_or(RegistryError::OnlyRead)?;
        out.extend_from_slice(header);
        self.format.encode(value, out)?;
        Ok(Encoded::Bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<F::Value, SerdeError> {
        self.read(bytes, |reader, value| self.format.decode(reader, value))
    }

    fn schema_match(&self, bytes: &[u8]) -> Result<SchemaMatch, SerdeError> {
        let (_, met, _) = self.schema_of(bytes)?;
        Ok(met.nearness)
    }

    fn key_from_text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let key = self.format.value_from_text(text)?;
        self.encode(&key, out).map(|_bytes| ())
    }

    fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        self.read(bytes, |reader, value| self.format.to_json(reader, value))
    }
}
