//! The HTTP server of an instance: queries, topology, health, tasks and metrics, all read-only.
//!
//! It reads what the stream threads publish (committed rows, snapshots, states) and never asks them anything, so no
//! request can delay processing. It does not know Kafka: what lives on other instances is answered with 503.

mod error;
mod parameters;
mod routes;
mod server;
mod status;
mod stores;
#[cfg(test)]
pub(crate) mod test_app;
#[cfg(test)]
mod tests;

pub(crate) use server::HttpServer;
