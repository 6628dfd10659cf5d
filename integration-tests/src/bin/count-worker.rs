//! An application to kill: counts records, tells in lines what happens to it, and answers on stdin.
//!
//! Arguments: bootstrap servers, application id, input topic, output topic, state directory, session timeout in
//! milliseconds, threads, and what to count by: `key`, or `value`, which goes through a repartition topic. The environment may say
//! more, as [`Settings::from_env`] reads it, such as `MILLSTREAM_PROCESSING_GUARANTEE`; where `SHUTS_DOWN_THE_APPLICATION` is set, a thread that
//! fails ends all instances. Prints `state NAME` at each change of state and `restored STORE TASK from X to Y records N` for each
//! store that had something to restore. Answers `counts` with `counts {"key":1,..}` of the partitions it has, and
//! `coverage` with `coverage OPEN of ALL`. Ends on SIGINT.

use std::io::BufRead;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use millstream::prelude::*;
use millstream::query::ReadOnlyKeyValueStore;
use millstream::runtime::{RestoreProgress, ThreadFailureResponse};
use millstream::{ClientState, ProcessingGuarantee, Streams};
use millstream_integration_tests::worker::{self, say};

const COUNTS: StoreName<String, u64> = StoreName::new("counts");

fn main() -> Result<()> {
    let [bootstrap_servers, application_id, input, output, state_dir, session_timeout, threads, count_by] =
        worker::arguments()?;
    let mut settings = worker::settings(&bootstrap_servers, &state_dir)?;
    settings.session_timeout = Duration::from_millis(session_timeout.parse()?);
    settings.num_stream_threads = threads.parse()?;
    // Long, so that a kill under load is likely to meet an uncommitted interval on a slow machine, too.
    if settings.processing_guarantee == ProcessingGuarantee::AtLeastOnce {
        settings.commit_interval = Some(Duration::from_secs(2));
    }
    settings.checkpoint_interval = Duration::from_secs(2);
    // A broker on a busy machine takes its time to make a thousand partitions.
    settings.request_timeout = Duration::from_secs(120);

    let app = Streams::builder(application_id.as_str(), topology(&input, &output, &count_by)?)
        .settings(settings)
        .on_state_change(|_before, now: ClientState| say(&format!("state {now}")))
        .on_restore(|progress: &RestoreProgress| {
            if progress.is_complete() {
                let RestoreProgress { task, store, from, end, records, .. } = progress;
                say(&format!("restored {store} {task} from {from} to {end} records {records}"));
            }
        })
        .on_thread_failure(|_error| match std::env::var_os("SHUTS_DOWN_THE_APPLICATION") {
            Some(_) => ThreadFailureResponse::ShutdownApplication,
            None => ThreadFailureResponse::default(),
        })
        .start()?;
    let counts = app.store(COUNTS)?;
    let view = app.store_view(COUNTS.name())?;
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            match line.as_str() {
                "counts" => say(&answer(&counts).unwrap_or_else(|error| format!("no counts: {error:#}"))),
                "coverage" => match view.coverage() {
                    Ok((open, all)) => say(&format!("coverage {open} of {all}")),
                    Err(error) => say(&format!("no coverage: {error}")),
                },
                other => say(&format!("unknown question: {other}")),
            }
        }
    });
    app.run_until_signal().context("the application ended with an error")
}

/// Without the emission cache, so that the changelog runs ahead of the commits and a kill leaves something to restore.
fn topology(input: &str, output: &str, count_by: &str) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let records = builder.stream::<String, String>(input);
    let grouped = match count_by {
        "key" => records.group_by_key(),
        "value" => records.select_key(|_, value| value.clone()).group_by_key().named("by-value"),
        other => bail!("count by key or by value, not by {other}"),
    };
    grouped.count(COUNTS.without_caching()).to_stream().to(output);
    Ok(builder.build()?)
}

fn answer(counts: &ReadOnlyKeyValueStore<String, u64>) -> Result<String> {
    let rows = counts.all()?.collect::<Result<std::collections::BTreeMap<_, _>, _>>()?;
    Ok(format!("counts {}", serde_json::to_string(&rows)?))
}
