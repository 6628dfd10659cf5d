//! Ports for servers that cannot choose one themselves and say which.

use std::net::TcpListener;

use anyhow::{Context, Result};

/// Below the range that operating systems take the ports of outgoing connections from: a client that tries to reach a
/// stopped server again and again would else one day connect to itself, and hold the server's port.
const FIRST_PORT: u16 = 15_000;
const PORTS: u16 = 15_000;

/// A port of 127.0.0.1 that nothing listens on at the moment, and that is none of `taken`.
///
/// # Errors
/// If there is none.
pub fn free_port(taken: &[u16]) -> Result<u16> {
    // By chance, so that test binaries that run side by side do not race for the same port.
    let (_, start, ..) = uuid::Uuid::new_v4().as_fields();
    (0..PORTS)
        .map(|step| FIRST_PORT + (start % PORTS + step) % PORTS)
        .find(|port| !taken.contains(port) && TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .with_context(|| format!("no free port from {FIRST_PORT} to {}", FIRST_PORT + PORTS - 1))
}
