//! The harness of the end-to-end tests: a real Apache Kafka ([`kafka`]), the JVM with Kafka Streams as the oracle
//! ([`java`], [`interop`]), programs run as processes that can be killed ([`process`]), free ports for them ([`ports`]),
//! and waiting for a condition ([`wait`]); what applications to be killed have in common ([`worker`]); and the fault suite, which is built on
//! all of it ([`faults`]).
//!
//! Only the fault suite, the oracle and those applications know millstream's types: what the other tests read and write is what is in Kafka. A test which needs
//! something that is not there (no Docker engine, no JDK) fails and says what to install; it is never skipped.
//! Whatever the harness starts ends with its handle, and also when the test process is killed.
#![expect(
    clippy::disallowed_methods,
    reason = "the harness waits for other processes, so it needs the real clock"
)]

pub mod faults;
pub mod interop;
pub mod java;
pub mod kafka;
pub mod oracle;
pub mod ports;
pub mod process;
pub mod registry;
pub mod wait;
pub mod worker;

use std::path::PathBuf;

use anyhow::Context;

/// The folder cargo puts finished binaries into (`<target>/release`), found from the running test's own path.
///
/// # Errors
/// If the running executable has no path, or lies nowhere below a cargo target folder.
pub fn cargo_profile_folder() -> anyhow::Result<PathBuf> {
    let executable = std::env::current_exe().context("the running executable's path is not known")?;
    let folder = executable.parent().context("the running executable lies in no folder")?;
    let is_inner = folder.ends_with("deps") || folder.ends_with("examples");
    let profile = if is_inner { folder.parent() } else { Some(folder) };
    profile.map(PathBuf::from).with_context(|| {
        format!("{} does not lie in a cargo target folder; run it through cargo", executable.display())
    })
}
