//! Schemas of keys and values: what a registry knows of them, and the serdes that read and write by them.
//!
//! Nothing here does I/O: a [`SchemaRegistryClient`] does, and is asked before records flow, or when bytes name a schema that
//! nobody has met.

mod client;
mod error;
mod mock;
mod registered;
mod registry;

pub use client::{RegisteredSchema, Schema, SchemaId, SchemaKind, SchemaRegistryClient};
pub use error::RegistryError;
pub use mock::MockSchemaRegistryClient;
pub use registered::SchemaMatch;
pub(crate) use registered::{RegisteredSerde, SchemaFormat};
pub use registry::{SchemaRegistry, SubjectNameStrategy};
