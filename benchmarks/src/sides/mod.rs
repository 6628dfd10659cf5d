//! The sides, as they run in a process of their own: millstream and the raw limit here, Kafka Streams in `java/Bench.java`.

mod limit;
mod member;
mod ours;

use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::child::OneRun;

pub(crate) use limit::{Limit, Message};
pub(crate) use member::run_member;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    /// millstream.
    Ours,
    /// Kafka Streams.
    Peer,
    /// The bare client, without a framework.
    Limit,
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Side::Ours => "ours",
            Side::Peer => "peer",
            Side::Limit => "limit",
        }
    }
}

/// The body of a process that is measured.
pub(crate) fn run(run: &OneRun) -> Result<()> {
    match run.side {
        Side::Ours => ours::run(run),
        Side::Limit => run.workload.limit(run),
        Side::Peer => bail!("Kafka Streams runs in a JVM: java/Bench.java"),
    }
}

/// True once stdin has ended: the process is to close.
pub(crate) fn end_of_stdin() -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    let to_set = Arc::clone(&ended);
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().for_each(drop);
        to_set.store(true, Ordering::Relaxed);
    });
    ended
}
