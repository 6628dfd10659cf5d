//! The serde of a type whose schema is registered, in any of the formats.

use std::any::type_name;
use std::cmp::Reverse;
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

    /// The full name of the type in its schema; none if it has no name there.
    fn record_name(&self) -> Option<&str>;

    /// What stands between the id and the value: in Protobuf, which message of the file it is.
    fn preamble(&self, written: &Schema) -> Result<Vec<u8>, SerdeError>;

    /// This format, so that it writes by `schema`, a newer or older one of the type's.
    fn writing_by(&self, schema: &Schema) -> Result<Self, SerdeError>;

    /// How near `written` is to the type's own schema.
    fn compare(&self, written: &Schema) -> SchemaMatch;

    /// Prepares to read what was written by `writer`; an error if that cannot become the type.
    fn reader(&self, writer: &Schema) -> Result<Self::Reader, SerdeError>;

    /// What about the newest schema of a subject contradicts the type's own, though values by it may be read one by one.
    fn contradiction(&self, _newest: &Schema) -> Option<String> {
        None
    }

    fn encode(&self, value: &Self::Value, out: &mut Vec<u8>) -> Result<(), SerdeError>;

    /// The value; `bytes` begin with the preamble.
    fn decode(&self, reader: &Self::Reader, bytes: &[u8]) -> Result<Self::Value, SerdeError>;

    /// The value as JSON, by the schema it was written by.
    fn to_json(&self, reader: &Self::Reader, bytes: &[u8]) -> Result<serde_json::Value, SerdeError>;

    /// The value that a person writes as this text.
    fn value_from_text(&self, text: &str) -> Result<Self::Value, SerdeError>;
}

/// How near the schema by which a value was written is to a type's own, from further to nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SchemaMatch {
    /// The type cannot be read by it, or none of the type's fields was written.
    Other,
    /// The type can be read by it. The more of the type's fields were written, and the fewer were not, the nearer it is.
    Readable {
        /// How many of the type's fields were written, those of the types within counted as well.
        written: usize,
        /// How many were not: they have their defaults.
        missing: Reverse<usize>,
        /// Whether all values can be read, and mean the same.
        always: bool,
    },
    /// The bytes are the same. What is beside them may differ: logical types of Avro, names in Protobuf.
    Same,
    /// They say the same, perhaps in other words.
    Exact,
}

/// A schema that was met.
struct Met<R> {
    nearness: SchemaMatch,
    /// What reads by it, or why nothing does.
    reader: Result<R, String>,
}

impl<R> Met<R> {
    /// One that no type of this format can be read by.
    fn unreadable(reason: &RegistryError) -> Self {
        Met { nearness: SchemaMatch::Other, reader: Err(reason.to_string()) }
    }
}

type MetOf<F> = Arc<Met<<F as SchemaFormat>::Reader>>;
type Readers<F> = BTreeMap<SchemaId, MetOf<F>>;

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
    /// Settles the schema of a place with the registry.
    pub(crate) fn in_place(
        format: &F,
        registry: &SchemaRegistry,
        place: &SerdePlace<'_>,
    ) -> Result<Self, SerdeError> {
        let mut serde = Self::reading(format, registry);
        if let Some((id, written)) = serde.settle(format.schema(), format.record_name(), place)? {
            if written != *format.schema() {
                serde.format = format.writing_by(&written)?;
            }
            let mut header = wire_format(id).to_vec();
            header.extend(format.preamble(&written)?);
            serde.header = Some(header);
        }
        Ok(serde)
    }

    /// One that only reads, and has met no schema yet.
    pub(crate) fn reading(format: &F, registry: &SchemaRegistry) -> Self {
        Self { format: format.clone(), registry: registry.clone(), header: None, readers: ArcSwap::default() }
    }

    /// Settles with the registry by which schema values of `own` are written in a place; none where nothing is written. What others write there as
    /// their newest schema must be readable.
    pub(crate) fn settle(
        &self,
        own: &Schema,
        record_name: Option<&str>,
        place: &SerdePlace<'_>,
    ) -> Result<Option<(SchemaId, Schema)>, SerdeError> {
        let subject = match self.registry.subject(place, record_name) {
            // Nothing says under which subjects those that write there have registered.
            Err(RegistryError::NoRecordName) if place.usage() != Usage::Written => return Ok(None),
            subject => subject?,
        };
        match place.usage() {
            Usage::Written => {
                let (id, written) = match self.registry.to_write(&subject, own)? {
                    ToWrite::Own(id) => (id, own.clone()),
                    ToWrite::Latest(RegisteredSchema { id, schema, .. }) => (id, schema),
                };
                self.prepare_or_refuse(subject, id, &written)?;
                Ok(Some((id, written)))
            }
            Usage::Read => {
                if let Some(RegisteredSchema { id, schema, .. }) = self.registry.client().latest(&subject)? {
                    self.prepare_or_refuse(subject.clone(), id, &schema)?;
                    if let Some(reason) = self.format.contradiction(&schema) {
                        return Err(RegistryError::Unreadable { subject, id, reason }.into());
                    }
                }
                Ok(None)
            }
            Usage::ReadIfOlder => Ok(None),
        }
    }

    /// Prepares to read by the schema that a subject has.
    fn prepare_or_refuse(
        &self,
        subject: String,
        id: SchemaId,
        written: &Schema,
    ) -> Result<(), RegistryError> {
        match &self.prepare(id, written).reader {
            Ok(_) => Ok(()),
            Err(reason) => Err(RegistryError::Unreadable { subject, id, reason: reason.clone() }),
        }
    }

    /// Prepares to read by a schema, and remembers it.
    fn prepare(&self, id: SchemaId, written: &Schema) -> MetOf<F> {
        let own = self.format.schema();
        if written.kind != own.kind {
            let reason = RegistryError::OtherKind { id, found: written.kind, expected: own.kind };
            return self.remember(id, Met::unreadable(&reason));
        }
        let reader = self.format.reader(written).map_err(|error| error.to_string());
        self.remember(id, Met { nearness: self.format.compare(written), reader })
    }

    fn remember(&self, id: SchemaId, met: Met<F::Reader>) -> MetOf<F> {
        let met = Arc::new(met);
        self.readers.rcu(|readers| {
            let mut readers = Readers::<F>::clone(readers);
            readers.insert(id, Arc::clone(&met));
            readers
        });
        met
    }

    /// The schema that the bytes name, and what follows its id.
    fn schema_of<'a>(&self, bytes: &'a [u8]) -> Result<(SchemaId, MetOf<F>, &'a [u8]), SerdeError> {
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
    fn meet(&self, id: SchemaId) -> Result<MetOf<F>, SerdeError> {
        match self.registry.client().schema(id) {
            Ok(written) => Ok(self.prepare(id, &written)),
            // What an id means does not change, so there is no use in asking again.
            Err(error @ (RegistryError::References { .. } | RegistryError::UnknownKind { .. })) => {
                Ok(self.remember(id, Met::unreadable(&error)))
            }
            Err(error) => Err(error.into()),
        }
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

    /// The first byte is that of the wire format.
    fn never_begins_with_ff(&self) -> bool {
        true
    }

    fn key_from_text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let key = self.format.value_from_text(text)?;
        self.encode(&key, out).map(|_bytes| ())
    }

    fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        self.read(bytes, |reader, value| self.format.to_json(reader, value))
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::json_serde;
    use crate::schema::{MockSchemaRegistryClient, SchemaKind, SchemaRegistryClient, SubjectNameStrategy};
    use crate::serde::{ApplicationSerdes, HasSerde, RecordPart, SerdeRef};

    #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Order {
        sku: String,
    }
    json_serde!(Order, schema = r#"{"title": "Order"}"#);

    /// A registry that has schemas made of others under the ids from 100, and from 200 on such of a language that nobody knows. It notes which ids
    /// it is asked about.
    #[derive(Default)]
    struct Registry {
        others: MockSchemaRegistryClient,
        asked: Mutex<Vec<u32>>,
    }

    impl SchemaRegistryClient for Registry {
        fn register(&self, subject: &str, schema: &Schema) -> Result<SchemaId, RegistryError> {
            self.others.register(subject, schema)
        }

        fn id_of(&self, subject: &str, schema: &Schema) -> Result<Option<SchemaId>, RegistryError> {
            self.others.id_of(subject, schema)
        }

        fn latest(&self, subject: &str) -> Result<Option<RegisteredSchema>, RegistryError> {
            self.others.latest(subject)
        }

        fn schema(&self, id: SchemaId) -> Result<Schema, RegistryError> {
            self.asked.lock().push(id.get());
            match id.get() {
                0..100 => self.others.schema(id),
                100..200 => Err(RegistryError::References { id }),
                200.. => Err(RegistryError::UnknownKind { id, name: "THRIFT".into() }),
            }
        }

        fn incompatibilities(&self, subject: &str, schema: &Schema) -> Result<Vec<String>, RegistryError> {
            self.others.incompatibilities(subject, schema)
        }
    }

    fn register(client: &Registry, subject: &str, kind: SchemaKind, text: &str) -> SchemaId {
        client.register(subject, &Schema::new(kind, text)).unwrap()
    }

    fn orders(registry: SchemaRegistry) -> Result<SerdeRef<Order>, SerdeError> {
        registry.serde::<Order>("orders", RecordPart::Value)
    }

    #[test]
    fn a_schema_is_asked_for_once_whether_it_can_be_read_or_not() {
        let client = Arc::new(Registry::default());
        let newer = register(&client, "other-value", SchemaKind::Json, r#"{"title": "Order", "x": 1}"#).get();
        let avro = register(&client, "other-value", SchemaKind::Avro, "\"string\"").get();
        let serde = orders(SchemaRegistry::new(client.clone())).unwrap();
        let written_by = |id: u32| [&[0][..], &id.to_be_bytes(), br#"{"sku":"a"}"#].concat();
        for _ in 0..3 {
            assert_eq!(serde.decode(&written_by(newer)).unwrap(), Order { sku: "a".into() });
            let error = serde.decode(&written_by(avro)).unwrap_err().to_string();
            assert!(error.contains("schema 2 is in AVRO, the type's in JSON"), "{error}");
            let error = serde.decode(&written_by(100)).unwrap_err().to_string();
            assert!(error.contains("schema 100 refers to other schemas"), "{error}");
            let error = serde.decode(&written_by(200)).unwrap_err().to_string();
            assert!(error.contains("schema 200 is in \"THRIFT\""), "{error}");
        }
        assert_eq!(*client.asked.lock(), [newer, avro, 100, 200]);
    }

    #[test]
    fn the_newest_schema_of_the_subject_may_be_written_by() {
        let client = Arc::new(Registry::default());
        let refused = orders(SchemaRegistry::new(client.clone()).use_latest()).err().expect("there is none");
        assert!(refused.to_string().contains("orders-value does not have the schema"), "{refused}");
        let latest = register(&client, "orders-value", SchemaKind::Json, r#"{"title": "Order", "x": 1}"#);
        let serde = orders(SchemaRegistry::new(client.clone()).use_latest()).unwrap();
        let mut bytes = Vec::new();
        serde.encode(&Order { sku: "a".into() }, &mut bytes).unwrap();
        assert_eq!(bytes[..5], wire_format(latest));
        register(&client, "orders-value", SchemaKind::Avro, "\"string\"");
        let refused = orders(SchemaRegistry::new(client).use_latest()).err().expect("it is no JSON");
        assert!(refused.to_string().contains("is in AVRO"), "{refused}");
    }

    #[test]
    fn a_schema_without_a_name_has_no_subject_of_its_own() {
        json_serde!(Nameless, schema = "{}");
        #[derive(Clone, serde::Serialize, serde::Deserialize)]
        struct Nameless;
        let registry = SchemaRegistry::new(Arc::new(Registry::default()));
        let by_name = registry.clone().naming(SubjectNameStrategy::RecordName);
        let refused = by_name.serde::<Nameless>("orders", RecordPart::Value).err().expect("it has no title");
        assert!(refused.to_string().contains("give a JSON Schema a `title`"), "{refused}");
        let serdes = ApplicationSerdes::default().with_schema_registry(by_name);
        let place = SerdePlace::new("orders", RecordPart::Value, &serdes).only_read();
        assert!(place.bind(&Nameless::serde()).is_ok(), "to read, none is needed");
        assert!(registry.serde::<Nameless>("orders", RecordPart::Value).is_ok());
    }
}
