//! What is said of values that do not fit: the path of the field, and what the library says, without the schemas that it prints with it.

use apache_avro::error::Details;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::{Error, Schema as Definition};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};

use super::misfit::Misfit;
use crate::serde::SerdeError;

pub(super) fn unreadable<T>(misfit: &Misfit) -> SerdeError {
    SerdeError::field::<T>(misfit.path(), &misfit.reason)
}

pub(super) fn unwritable<T>(misfit: &Misfit) -> SerdeError {
    SerdeError::custom::<T>(format!("field {} cannot be written: {}", misfit.path(), misfit.reason))
}

/// Why the bytes are no `T`, with the path of the field that does not fit.
#[cold]
pub(super) fn undecodable<T: DeserializeOwned>(
    reader: &GenericDatumReader<'_>,
    error: Error,
    bytes: &[u8],
) -> SerdeError {
    let path = match reader.read_deser(&mut &*bytes) {
        Ok(Located::<T>::Misfit(path)) => path,
        _ => ".".to_owned(),
    };
    SerdeError::field::<T>(&path, reason(error))
}

#[cold]
pub(super) fn unencodable<T>(error: Error) -> SerdeError {
    SerdeError::custom::<T>(reason(error))
}

fn reason(error: Error) -> String {
    match error.into_details() {
        Details::DeserializeSchemaAware { value, schema, .. }
        | Details::SerializeValueWithSchema { value, schema, .. } => {
            format!("{value}, and the schema has {}", kind(&schema))
        }
        Details::DeserializeValue(reason) | Details::SerializeValue(reason) => reason,
        Details::SerializeRecordFieldWithSchema { field_name, error, .. } => {
            format!("field {field_name}: {error}")
        }
        Details::MissingDefaultForSkippedField { field_name, .. } => {
            format!("field {field_name} is left out, and the schema has no default for it")
        }
        Details::GetField(name) => format!("the schema has no field {name}"),
        details => details.to_string(),
    }
}

fn kind(schema: &Definition) -> String {
    match schema.name() {
        Some(name) => name.fullname(None),
        None => format!("{:?}", apache_avro::schema::SchemaKind::from(schema)),
    }
}

/// Reads a `T` for the path of the field where that goes wrong.
enum Located<T> {
    Fits(std::marker::PhantomData<T>),
    Misfit(String),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Located<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match serde_path_to_error::deserialize::<D, T>(deserializer) {
            Ok(_) => Located::Fits(std::marker::PhantomData),
            Err(error) => Located::Misfit(error.path().to_string()),
        })
    }
}
