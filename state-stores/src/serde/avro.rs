//! Values in Avro's binary form, for types that `serde` can serialise.

mod branches;
mod default;
mod error;
mod input;
mod misfit;
mod mixed;
mod output;
mod parse;
mod rewrite;
mod shape;
mod struct_name;
mod walk;

use std::any::type_name;
use std::marker::PhantomData;
use std::sync::Arc;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{AvroSchema, Schema as Definition};
use self_cell::self_cell;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::error::{undecodable, unencodable, unreadable, unwritable};
use self::mixed::MixedSerde;
use self::rewrite::{Purpose, Rewrite};
use self::shape::{Shape, last_part};
use self::struct_name::struct_name;
use super::json::{json_error, value_from_text};
use super::{Encoded, Serde, SerdeError, SerdePlace, SerdeRef};
use crate::schema::{RegisteredSerde, Schema, SchemaFormat, SchemaKind, SchemaMatch};

/// Writes a `T` in Avro's binary form: by its registered schema, if the application has a schema registry, and otherwise bare, so that only
/// who knows the schema can read it. With a registry, values are read by the schema they were written by, and brought to the type's.
///
/// A struct is a record of its name (else `#[serde(rename = "..")]`), `u64` no `long` but a type of its own, `Uuid` 16 bytes; the crate `apache-avro`
/// [says](apache_avro::documentation::serde_data_model_to_avro) what becomes what.
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

impl<T: DeserializeOwned> AvroSerde<T> {
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
        let text = serde_json::to_string(&T::get_schema()).map_err(|error| error.to_string());
        Self { format: text.and_then(|text| AvroFormat::new(Schema::new(SchemaKind::Avro, text))) }
    }

    /// By this schema, as JSON. One that is wrong, or not of this type, is an error when the application starts.
    pub fn with_schema(schema: &str) -> Self {
        Self { format: AvroFormat::new(Schema::new(SchemaKind::Avro, schema)) }
    }
}

impl<T> AvroSerde<T> {
    fn format(&self) -> Result<&AvroFormat<T>, SerdeError> {
        self.format.as_ref().map_err(|reason| unfit::<T>("cannot be used", reason))
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Serde<T> for AvroSerde<T> {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        self.format()?.encode(value, out)?;
        Ok(Encoded::Bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        self.format()?.decode(&None, bytes)
    }

    fn in_place(&self, place: &SerdePlace<'_>) -> Result<Option<SerdeRef<T>>, SerdeError> {
        let format = self.format()?;
        let Some(registry) = place.schema_registry() else { return Ok(None) };
        if registry.names_subjects_after_types()
            && let Some(mixed) = MixedSerde::in_place(format, registry, place)?
        {
            return Ok(Some(Arc::new(mixed)));
        }
        Ok(Some(Arc::new(RegisteredSerde::in_place(format, registry, place)?)))
    }

    /// The text is JSON; or, for types that are a string in JSON, that string without its quotes.
    fn key_from_text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.encode(&value_from_text(text)?, out).map(|_bytes| ())
    }

    fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        self.format()?.to_json(&None, bytes)
    }
}

fn unfit<T>(problem: &'static str, reason: &str) -> SerdeError {
    SerdeError::Schema { type_name: type_name::<T>(), problem, source: reason.into() }
}

/// What writes and reads by one schema.
struct Datums<'s> {
    writer: GenericDatumWriter<'s>,
    reader: GenericDatumReader<'s>,
}

self_cell!(
    /// A schema, and what writes and reads by it.
    struct OwnDatums {
        owner: Definition,
        #[covariant]
        dependent: Datums,
    }
);

/// The type's own schema.
struct Own {
    schema: Schema,
    shape: Shape,
    datums: OwnDatums,
}

/// A type that is written in Avro.
struct AvroFormat<T> {
    own: Arc<Own>,
    /// How what the own schema writes becomes what is written, if that is another.
    written_as: Option<Arc<Rewrite>>,
    types: PhantomData<fn() -> T>,
}

impl<T> Clone for AvroFormat<T> {
    fn clone(&self) -> Self {
        Self { own: Arc::clone(&self.own), written_as: self.written_as.clone(), types: PhantomData }
    }
}

impl<T: DeserializeOwned> AvroFormat<T> {
    fn new(schema: Schema) -> Result<Self, String> {
        let shape = Shape::parse_to_read_by(&schema.text)?;
        has_its_name::<T>(&shape)?;
        let definition = Definition::parse_str(&schema.text)
            .map_err(|error| format!("the library takes it for no Avro schema: {error}"))?;
        let datums = OwnDatums::try_new(definition, |definition| {
            // What the library's setting for the whole process says must not change bytes.
            Ok::<_, apache_avro::Error>(Datums {
                writer: GenericDatumWriter::builder(definition).human_readable(false).build()?,
                reader: GenericDatumReader::builder(definition).human_readable(false).build()?,
            })
        });
        let datums = datums.map_err(|error| error.to_string())?;
        Ok(Self { own: Arc::new(Own { schema, shape, datums }), written_as: None, types: PhantomData })
    }
}

/// The library reads a record only into a struct of its name, and so refuses each value if that is another.
fn has_its_name<T: DeserializeOwned>(shape: &Shape) -> Result<(), String> {
    let Some(name) = struct_name::<T>() else { return Ok(()) };
    match shape {
        Shape::Record { names, .. } => match last_part(&names.full) {
            record if record == name => Ok(()),
            record => Err(format!(
                "it is of a record {record}, and the struct is {name}; add #[serde(rename = \"{record}\")] to the struct"
            )),
        },
        Shape::Union(_) => Ok(()),
        _ => Err(format!(
            "it is of no record, and {name} is a struct; if that stands for its only field, add #[serde(transparent)] to it"
        )),
    }
}

impl Own {
    fn write<T: Serialize>(&self, value: &T, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let written = self.datums.borrow_dependent().writer.write_ser(out, value);
        written.map(|_bytes| ()).map_err(unencodable::<T>)
    }

    /// The value of bytes that this schema has written, or may have.
    fn read<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        let reader = &self.datums.borrow_dependent().reader;
        reader.read_deser(&mut &*bytes).map_err(|error| undecodable::<T>(reader, error, bytes))
    }
}

impl<T: Serialize + DeserializeOwned + 'static> SchemaFormat for AvroFormat<T> {
    type Value = T;
    /// How what was written becomes what the own schema would have written, if it does not say the same.
    type Reader = Option<Rewrite>;

    fn schema(&self) -> &Schema {
        &self.own.schema
    }

    fn record_name(&self) -> Option<&str> {
        self.own.shape.full_name()
    }

    fn preamble(&self, _written: &Schema) -> Result<Vec<u8>, SerdeError> {
        Ok(Vec::new())
    }

    fn writing_by(&self, schema: &Schema) -> Result<Self, SerdeError> {
        let written_as = written_as::<T>(&self.own.shape, schema)?;
        Ok(Self { written_as: written_as.map(Arc::new), ..self.clone() })
    }

    fn compare(&self, written: &Schema) -> SchemaMatch {
        let own = &self.own.shape;
        let Ok(written) = Shape::parse(&written.text) else { return SchemaMatch::Other };
        if written.is_exactly(own) {
            return SchemaMatch::Exact;
        }
        if written.says_the_same(own) {
            return SchemaMatch::Same;
        }
        Rewrite::plan(&written, own, Purpose::Reading)
            .map_or(SchemaMatch::Other, |rewrite| rewrite.schema_match())
    }

    fn reader(&self, written: &Schema) -> Result<Self::Reader, SerdeError> {
        let own = &self.own.shape;
        let written = Shape::parse(&written.text).map_err(SerdeError::invalid_value::<T>)?;
        if written.says_the_same(own) {
            return Ok(None);
        }
        let rewrite = Rewrite::plan(&written, own, Purpose::Reading);
        rewrite.map(Some).map_err(|misfit| unreadable::<T>(&misfit))
    }

    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let Some(rewrite) = &self.written_as else { return self.own.write(value, out) };
        let mut own = Vec::new();
        self.own.write(value, &mut own)?;
        rewrite.apply(&own, out).map_err(|misfit| unwritable::<T>(&misfit))
    }

    fn decode(&self, reader: &Self::Reader, bytes: &[u8]) -> Result<T, SerdeError> {
        let Some(rewrite) = reader else {
            self.own.shape.check(bytes).map_err(|misfit| unreadable::<T>(&misfit))?;
            return self.own.read(bytes);
        };
        let mut own = Vec::with_capacity(bytes.len());
        rewrite.apply(bytes, &mut own).map_err(|misfit| unreadable::<T>(&misfit))?;
        self.own.read(&own)
    }

    fn to_json(&self, reader: &Self::Reader, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        serde_json::to_value(self.decode(reader, bytes)?).map_err(json_error::<T>)
    }

    fn value_from_text(&self, text: &str) -> Result<T, SerdeError> {
        value_from_text(text)
    }
}

/// How what `own` writes becomes what `schema` would have written, which is the newest of its subject; none if they say the same.
fn written_as<T>(own: &Shape, schema: &Schema) -> Result<Option<Rewrite>, SerdeError> {
    let unfit = |path: &str, reason: &str| SerdeError::unfit_for_newest::<T>(path, reason);
    let newest = Shape::parse(&schema.text).map_err(|reason| unfit(".", &reason))?;
    if newest.is_exactly(own) {
        return Ok(None);
    }
    let rewrite = Rewrite::plan(own, &newest, Purpose::Writing);
    rewrite.map(Some).map_err(|misfit| unfit(misfit.path(), &misfit.reason))
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
        $crate::avro_serde!(@once $type, $crate::AvroSerde::<$type>::with_schema($schema));
    };
    ($($type:ty),+ $(,)?) => {
        $($crate::avro_serde!(@once $type, $crate::AvroSerde::<$type>::derived());)+
    };
    // A schema is parsed once for a type, and not each time its serde is asked for.
    (@once $type:ty, $serde:expr) => {
        impl $crate::HasSerde for $type {
            fn serde() -> $crate::SerdeRef<Self> {
                static SERDE: ::std::sync::OnceLock<$crate::SerdeRef<$type>> = ::std::sync::OnceLock::new();
                SERDE.get_or_init(|| ::std::sync::Arc::new($serde)).clone()
            }
        }
    };
}

#[cfg(test)]
mod tests;
