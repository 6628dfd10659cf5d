//! Values of several types in one topic: of a union, each branch of which is registered by itself.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::branches::branches_alone;
use super::error::unwritable;
use super::input::Input;
use super::rewrite::Rewrite;
use super::shape::Shape;
use super::{AvroFormat, Own, written_as};
use crate::format::wire_format;
use crate::schema::{RegisteredSerde, RegistryError, Schema, SchemaMatch, SchemaRegistry};
use crate::serde::json::value_from_text;
use crate::serde::{Encoded, Serde, SerdeError, SerdePlace};

/// Writes each value as the branch that it is, alone, as who has only that type would; and reads as the union what any of them, or the union, has
/// written.
pub(super) struct MixedSerde<T: Serialize + DeserializeOwned + 'static> {
    union: Arc<Own>,
    /// In the order of the union; none where nothing is written.
    branches: Vec<Branch>,
    reading: RegisteredSerde<AvroFormat<T>>,
}

/// How a branch is written.
struct Branch {
    /// What comes before each value.
    header: [u8; 5],
    /// How it becomes what is written, if that is by another schema.
    written_as: Option<Rewrite>,
}

impl<T: Serialize + DeserializeOwned + 'static> MixedSerde<T> {
    /// Settles the schemas of the branches of a union with the registry; none if this is no union of types with names, so that there is nothing to
    /// register its branches as.
    pub(super) fn in_place(
        format: &AvroFormat<T>,
        registry: &SchemaRegistry,
        place: &SerdePlace<'_>,
    ) -> Result<Option<Self>, SerdeError> {
        let own = &format.own;
        let Shape::Union(shapes) = &own.shape else { return Ok(None) };
        let Some(names) = shapes.iter().map(Shape::full_name).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let reading = RegisteredSerde::reading(format, registry);
        let mut branches = Vec::new();
        for ((shape, name), text) in shapes.iter().zip(names).zip(branches_alone(&own.schema.text)) {
            let schema = Schema::new(own.schema.kind, text);
            let Some((id, written)) = reading.settle(&schema, Some(name), place)? else { continue };
            let written_as = written_as::<T>(shape, &written)?;
            branches.push(Branch { header: wire_format(id), written_as });
        }
        Ok(Some(Self { union: Arc::clone(own), branches, reading }))
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Serde<T> for MixedSerde<T> {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        if self.branches.is_empty() {
            return Err(RegistryError::OnlyRead.into());
        }
        let mut of_union = Vec::new();
        self.union.write(value, &mut of_union)?;
        let mut input = Input::new(&of_union);
        let (_, branch) =
            input.choice(&self.branches, "branches").map_err(|misfit| unwritable::<T>(&misfit))?;
        out.extend_from_slice(&branch.header);
        match &branch.written_as {
            Some(rewrite) => rewrite.apply(input.rest(), out).map_err(|misfit| unwritable::<T>(&misfit))?,
            None => out.extend_from_slice(input.rest()),
        }
        Ok(Encoded::Bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        self.reading.decode(bytes)
    }

    fn schema_match(&self, bytes: &[u8]) -> Result<SchemaMatch, SerdeError> {
        self.reading.schema_match(bytes)
    }

    /// The first byte is that of the wire format.
    fn never_begins_with_ff(&self) -> bool {
        true
    }

    fn key_from_text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.encode(&value_from_text(text)?, out).map(|_bytes| ())
    }

    fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        self.reading.to_json(bytes)
    }
}

#[cfg(test)]
mod tests;
