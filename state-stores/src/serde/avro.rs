//! Values in Avro's binary form, for types that `serde` can serialise.

use std::any::type_name;
use std::marker::PhantomData;
use std::sync::Arc;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema_compatibility::SchemaCompatibility;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{AvroSchema, Schema as AvroDefinition, from_value};
use self_cell::self_cell;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::json::value_from_text;
use super::{Encoded, Serde, SerdeError, SerdePlace, SerdeRef};
use crate::schema::{RegisteredSerde, Schema, SchemaFormat, SchemaKind, SchemaMatch};

/// Writes a `T` in Avro's binary form: by its registered schema, if the application has a schema registry, and otherwise bare, so that only
/// who knows the schema can read it. With a registry, values are read by the schema they were written by, and brought to the type's.
///
/// ```
/// use millstream_state_stores::{AvroSerde, Serde};
///
/// #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// struct Order { sku: String, quantity: i64 }
///
/// let serde = AvroSerde::<Order>::with_schema(
///     r#"{"type": "record", "name": "Order", "fields": [{"name": "sku", "type": "string"}, {"name": "quantity", "type": "long"}]}"#,
/// );
/// let order = Order { sku: "apples".into(), quantity: -3 };
/// let mut bytes = Vec::new();
/// serde.encode(&order, &mut bytes)?;
/// assert_eq!(bytes, b"\x0capples\x05");
/// assert_eq!(serde.decode(&bytes)?, order);
/// # Ok::<(), millstream_state_stores::SerdeError>(())
/// ```
pub struct AvroSerde<T> {
    /// Or why there is none.
    format: Result<AvroFormat<T>, String>,
}

impl<T> AvroSerde<T> {
    /// By the schema that the type has itself, usually by `#[derive(apache_avro::AvroSchema)]`, which is in the feature `derive` of the
    /// crate `apache-avro`.
    ///
    /// ```
    /// use millstream_state_stores::{AvroSerde, Serde};
    ///
    /// // The library's own types have schemas.
    /// assert_eq!(AvroSerde::<Option<i64>>::derived().decode(b"\x02\x05")?, Some(-3));
    /// # Ok::<(), millstream_state_stores::SerdeError>(())
    /// ```
    pub fn derived() -> Self
    where
        T: AvroSchema,
    {
        let definition = T::get_schema();
        let text = serde_json::to_string(&definition).map_err(|error| error.to_string());
        Self {
            format: text.and_then(|text| AvroFormat::new(Schema::new(SchemaKind::Avro, text), definition)),
        }
    }

    /// By this schema, as JSON. One that is wrong is an error when the application starts.
    pub fn with_schema(schema: &str) -> Self {
        Self { format: AvroFormat::parse(Schema::new(SchemaKind::Avro, schema)) }
    }

    fn format(&self) -> Result<&AvroFormat<T>, SerdeError> {
        self.format.as_ref().map_err(|reason| SerdeError::Schema {
            type_name: type_name::<T>(),
            problem: "is no Avro schema",
            source: reason.as_str().into(),
        })
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Serde<T> for AvroSerde<T> {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        self.format()?.encode(value, out)?;
        Ok(Encoded::Bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        let format = self.format()?;
        format.decode(&format.own_reader, bytes)
    }

    fn in_place(&self, place: &SerdePlace<'_>) -> Result<Option<SerdeRef<T>>, SerdeError> {
        let format = self.format()?;
        let Some(registry) = place.schema_registry() else { return Ok(None) };
        Ok(Some(Arc::new(RegisteredSerde::in_place(format, registry, place)?)))
    }

    /// The text is JSON; or, for types that are a string in JSON, that string without its quotes.
    fn key_from_text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.encode(&value_from_text(text)?, out).map(|_bytes| ())
    }

    fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        let format = self.format()?;
        format.to_json(&format.own_reader, bytes)
    }
}

self_cell!(
    /// A schema, and what writes by it.
    struct AvroWriter {
        owner: AvroDefinition,
        #[covariant]
        dependent: GenericDatumWriter,
    }
);

/// The schema that something was written by, and the one it is to become, if that is another.
struct WriterAndReader {
    writer: AvroDefinition,
    reader: Option<AvroDefinition>,
}

self_cell!(
    /// What reads by them.
    struct ResolvingReader {
        owner: WriterAndReader,
        #[covariant]
        dependent: GenericDatumReader,
    }
);

impl ResolvingReader {
    fn build(writer: AvroDefinition, reader: Option<AvroDefinition>) -> Result<Self, String> {
        Self::try_new(WriterAndReader { writer, reader }, |schemas| {
            GenericDatumReader::builder(&schemas.writer).maybe_reader_schema(schemas.reader.as_ref()).build()
        })
        .map_err(|error| error.to_string())
    }

    /// Whether values come as the type's own schema has them.
    fn is_direct(&self) -> bool {
        self.borrow_owner().reader.is_none()
    }
}

/// A type that is written in Avro.
struct AvroFormat<T> {
    schema: Schema,
    /// The full name, of schemas that have one.
    name: Option<String>,
    writer: Arc<AvroWriter>,
    own_reader: Arc<ResolvingReader>,
    types: PhantomData<fn() -> T>,
}

impl<T> AvroFormat<T> {
    fn parse(schema: Schema) -> Result<Self, String> {
        let definition = AvroDefinition::parse_str(&schema.text).map_err(|error| error.to_string())?;
        Self::new(schema, definition)
    }

    fn new(schema: Schema, definition: AvroDefinition) -> Result<Self, String> {
        let name = definition.name().map(|name| name.fullname(None));
        let own_reader = Arc::new(ResolvingReader::build(definition.clone(), None)?);
        let writer = AvroWriter::try_new(definition, |schema| GenericDatumWriter::builder(schema).build());
        let writer = Arc::new(writer.map_err(|error| error.to_string())?);
        Ok(Self { schema, name, writer, own_reader, types: PhantomData })
    }

    /// The type's own schema.
    fn definition(&self) -> &AvroDefinition {
        &self.own_reader.borrow_owner().writer
    }
}

impl<T> Clone for AvroFormat<T> {
    fn clone(&self) -> Self {
        Self {
            schema: self.schema.clone(),
            name: self.name.clone(),
            writer: Arc::clone(&self.writer),
            own_reader: Arc::clone(&self.own_reader),
            types: PhantomData,
        }
    }
}

fn unfit<T>(problem: &'static str, error: impl std::error::Error + Send + Sync + 'static) -> SerdeError {
    SerdeError::Schema { type_name: type_name::<T>(), problem, source: error.into() }
}

impl<T: Serialize + DeserializeOwned + 'static> SchemaFormat for AvroFormat<T> {
    type Value = T;
    type Reader = Arc<ResolvingReader>;

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn record_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn preamble(&self, _written: &Schema) -> Result<Vec<u8>, SerdeError> {
        Ok(Vec::new())
    }

    fn writing_by(&self, schema: &Schema) -> Result<Self, SerdeError> {
        let other = AvroDefinition::parse_str(&schema.text)
            .map_err(|error| unfit::<T>("is to be written by one that is no Avro schema", error))?;
        SchemaCompatibility::can_read(self.definition(), &other).map_err(|error| {
            unfit::<T>("cannot become the newest of its subject, by which it is to be written", error)
        })?;
        let writer = AvroWriter::try_new(other, |schema| GenericDatumWriter::builder(schema).build())
            .map_err(|error| unfit::<T>("is to be written by one that is not complete", error))?;
        Ok(Self { writer: Arc::new(writer), ..self.clone() })
    }

    fn compare(&self, written: &Schema) -> SchemaMatch {
        let own = self.definition();
        match AvroDefinition::parse_str(&written.text) {
            Ok(written) if written.canonical_form() == own.canonical_form() => SchemaMatch::Same,
            Ok(written) if SchemaCompatibility::mutual_read(&written, own).is_ok() => SchemaMatch::Mutual,
            _ => SchemaMatch::Other,
        }
    }

    fn reader(&self, written: &Schema) -> Result<Arc<ResolvingReader>, SerdeError> {
        let writer = AvroDefinition::parse_str(&written.text)
            .map_err(|error| unfit::<T>("is not what wrote this, which is no Avro schema", error))?;
        if writer == *self.definition() {
            return Ok(Arc::clone(&self.own_reader));
        }
        SchemaCompatibility::can_read(&writer, self.definition())
            .map_err(|error| unfit::<T>("cannot read what was written", error))?;
        let reader = ResolvingReader::build(writer, Some(self.definition().clone()));
        reader.map(Arc::new).map_err(SerdeError::invalid_value::<T>)
    }

    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.writer.borrow_dependent().write_ser(out, value).map_err(SerdeError::custom::<T>)?;
        Ok(())
    }

    fn decode(&self, reader: &Arc<ResolvingReader>, bytes: &[u8]) -> Result<T, SerdeError> {
        let mut rest = bytes;
        let datum = reader.borrow_dependent();
        let value = if reader.is_direct() {
            datum.read_deser(&mut rest)
        } else {
            datum.read_value(&mut rest).and_then(|value| from_value(&value))
        };
        complete::<T, _>(value.map_err(SerdeError::custom::<T>)?, rest, bytes)
    }

    fn to_json(&self, reader: &Arc<ResolvingReader>, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        let mut rest = bytes;
        let value: Value =
            reader.borrow_dependent().read_value(&mut rest).map_err(SerdeError::custom::<T>)?;
        let value = complete::<T, _>(value, rest, bytes)?;
        value.try_into().map_err(|error: apache_avro::Error| SerdeError::custom::<T>(error))
    }

    fn value_from_text(&self, text: &str) -> Result<T, SerdeError> {
        value_from_text(text)
    }
}

/// The value, if nothing is left of the bytes.
fn complete<T, A>(value: A, rest: &[u8], bytes: &[u8]) -> Result<A, SerdeError> {
    match rest {
        [] => Ok(value),
        _ => {
            let reason = format!(
                "{} of {} bytes are left over; were they written by another schema?",
                rest.len(),
                bytes.len()
            );
            Err(SerdeError::invalid_value::<T>(reason))
        }
    }
}

/// Says that the named types are written to Kafka in Avro: implements [`HasSerde`](crate::HasSerde) for each of them, by the schema that
/// `#[derive(apache_avro::AvroSchema)]` gives, or by a given one. See [`AvroSerde`](crate::AvroSerde).
///
/// ```
/// use millstream_state_stores::{HasSerde, avro_serde};
///
/// #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// struct Order { sku: String }
/// avro_serde!(Order, schema = r#"{"type": "record", "name": "Order", "fields": [{"name": "sku", "type": "string"}]}"#);
///
/// assert_eq!(Order::serde().decode(b"\x0capples")?.sku, "apples");
/// # Ok::<(), millstream_state_stores::SerdeError>(())
/// ```
#[macro_export]
macro_rules! avro_serde {
    ($type:ty, schema = $schema:expr $(,)?) => {
        impl $crate::HasSerde for $type {
            fn serde() -> $crate::SerdeRef<Self> {
                static SERDE: ::std::sync::OnceLock<$crate::SerdeRef<$type>> = ::std::sync::OnceLock::new();
                SERDE.get_or_init(|| ::std::sync::Arc::new($crate::AvroSerde::<$type>::with_schema($schema))).clone()
            }
        }
    };
    ($($type:ty),+ $(,)?) => {
        $(
            impl $crate::HasSerde for $type {
                fn serde() -> $crate::SerdeRef<Self> {
                    static SERDE: ::std::sync::OnceLock<$crate::SerdeRef<$type>> = ::std::sync::OnceLock::new();
                    SERDE.get_or_init(|| ::std::sync::Arc::new($crate::AvroSerde::<$type>::derived())).clone()
                }
            }
        )+
    };
}

#[cfg(test)]
mod tests;
