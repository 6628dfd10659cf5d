//! The client of a schema registry, over HTTP. What is asked, and what follows from the answers, is in the state stores' crate
//! ([`SchemaRegistry`](crate::SchemaRegistry)); this is who asks.

mod builder;
mod client;
mod http;

pub use builder::SchemaRegistryClientBuilder;
pub use client::CachedSchemaRegistryClient;
