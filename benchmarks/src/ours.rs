//! The workloads as millstream runs them.

use std::time::Duration;

use anyhow::{Result, ensure};
use millstream::clock::SystemClock;
use millstream::prelude::*;
use millstream::{ClientState, Streams};

use crate::measure::{cpu_time, measured};
use crate::{Measured, OneRun, Workload};

const COUNTS: StoreName<Vec<u8>, u64> = StoreName::new("counts");

pub(crate) fn run(run: &OneRun) -> Result<Measured> {
    let state = tempfile::tempdir()?;
    let mut settings = Settings::new(&run.bootstrap_servers);
    settings.state_dir = state.path().to_path_buf();
    let clock = SystemClock::shared();
    let app = Streams::builder(&run.id, topology(run)?).settings(settings).start()?;
    let processed =
        || app.threads().iter().flat_map(|thread| &thread.tasks).map(|task| task.processed).sum::<u64>();
    let mut first = None;
    while processed() < run.records {
        ensure!(app.state() != ClientState::Error, "the application failed");
        if first.is_none() && processed() > 0 {
            first = Some(clock.monotonic());
        }
        clock.sleep(Duration::from_millis(5));
    }
    let elapsed = clock.monotonic().saturating_sub(first.unwrap_or_default());
    app.close()?;
    measured(run.records, elapsed, cpu_time()?)
}

fn topology(run: &OneRun) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let input = builder.stream::<Vec<u8>, Vec<u8>>(run.input.as_str());
    match run.workload {
        Workload::Pass => input.to(run.output.as_str()),
        Workload::Count => {
            input.group_by_key().count(COUNTS.without_caching()).to_stream().to(run.output.as_str())
        }
    };
    Ok(builder.build()?)
}
