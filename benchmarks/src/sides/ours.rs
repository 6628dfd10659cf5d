//! millstream in a process of its own.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use millstream::prelude::*;
use millstream::query::ReadOnlyKeyValueStore;
use millstream::runtime::{RestoreProgress, ThreadSnapshot, TimeSpent};
use millstream::{ClientState, Streams, TaskState};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::child::{CommitTimes, OneRun};
use crate::clock::clock;
use crate::rows::COUNTS;

pub(crate) fn run(run: &OneRun) -> Result<()> {
    let (restored, from_zero) = (AtomicU64::new(0), AtomicU64::new(0));
    let began = AtomicBool::new(false);
    let app = Streams::builder(run.id.as_str(), run.workload.topology(run)?)
        .settings(settings(run)?)
        .on_restore(move |progress: &RestoreProgress| {
            if !began.swap(true, Ordering::Relaxed) {
                println!("restoring");
            }
            if progress.is_complete() {
                if progress.from.get() == 0 && progress.records > 0 {
                    println!("restored-from-zero {}", from_zero.fetch_add(1, Ordering::Relaxed) + 1);
                }
                let sum = restored.fetch_add(progress.records, Ordering::Relaxed) + progress.records;
                println!("restored {sum}");
            }
        })
        .on_state_change(|_before, now: ClientState| {
            if now == ClientState::Running {
                println!("running");
            }
        })
        .start()?;
    let mut queries = None;
    if run.query_threads > 0 {
        app.await_state(ClientState::Running, Duration::from_secs(60))?;
        queries = Some(Queries::start(&app.store(COUNTS)?, run));
    }
    for line in std::io::stdin().lock().lines() {
        line?;
        if let Some(queries) = queries.take() {
            println!("{}", queries.report()?);
        }
        println!("commits {}", serde_json::to_string(&commit_times(&app))?);
        println!("assigned {}", serde_json::to_string(&assigned(&app))?);
    }
    ensure!(app.state() != ClientState::Error, "the application failed");
    Ok(app.close()?)
}

/// The partitions whose tasks run here: there is one sub-topology, so a task is a partition of the input.
fn assigned(app: &Streams) -> Vec<i32> {
    let threads = app.threads();
    let tasks = threads.iter().flat_map(|thread| &thread.tasks);
    tasks.filter(|task| task.state == TaskState::Running).map(|task| task.id.partition).collect()
}

/// Of the thread whose commits took longest.
fn commit_times(app: &Streams) -> CommitTimes {
    let threads = app.threads();
    let longest = |part: fn(&ThreadSnapshot) -> TimeSpent| {
        let times = threads.iter().map(|thread| part(thread).longest.as_secs_f64() * 1e3);
        times.fold(0.0, f64::max)
    };
    #[allow(clippy::cast_precision_loss, reason = "a count of commits fits")]
    CommitTimes {
        commits: threads.iter().map(|thread| thread.commits).sum::<u64>() as f64,
        longest_ms: longest(|thread| thread.commit_time),
        longest_in_stores_ms: longest(|thread| thread.commit_time_in_stores),
        longest_for_kafka_ms: longest(|thread| thread.commit_time_for_kafka),
    }
}

fn settings(run: &OneRun) -> Result<Settings> {
    let mut settings = Settings::new(&run.bootstrap_servers);
    settings.state_dir.clone_from(&run.state_dir);
    settings.num_stream_threads = run.threads;
    for property in &run.properties {
        let (name, value) = property.split_once('=').context("--property takes name=value")?;
        let millis = || value.parse().map(Duration::from_millis);
        match name {
            "commit.interval.ms" => settings.commit_interval = Some(millis()?),
            "processing.guarantee" => settings.processing_guarantee = value.parse()?,
            "session.timeout.ms" => settings.session_timeout = millis()?,
            "num.standby.replicas" => settings.num_standby_replicas = value.parse()?,
            "checkpoint.interval.ms" => settings.checkpoint_interval = millis()?,
            "state.memory" => settings.state_memory = value.parse()?,
            _ => drop(settings.kafka_properties.insert(name.to_owned(), value.to_owned())),
        }
    }
    Ok(settings)
}

/// Threads that ask for random keys, with a pause between two questions, and remember how long each answer took. Idle ones do all
/// that but ask.
struct Queries {
    done: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Histogram<u64>>>>,
}

impl Queries {
    const PAUSE: Duration = Duration::from_millis(1);

    fn start(store: &ReadOnlyKeyValueStore<Vec<u8>, u64>, run: &OneRun) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let ask = |seed: usize| {
            let store = (!run.idle_query_threads).then(|| store.clone());
            let (done, keys) = (Arc::clone(&done), run.keys);
            std::thread::spawn(move || ask(store.as_ref(), &done, StdRng::seed_from_u64(seed as u64), keys))
        };
        let threads = (0..run.query_threads).map(ask).collect();
        Queries { done, threads }
    }

    fn report(self) -> Result<String> {
        self.done.store(true, Ordering::Relaxed);
        let mut all = Histogram::<u64>::new(3)?;
        for thread in self.threads {
            let times = thread.join().map_err(|_| anyhow::anyhow!("a query thread panicked"))??;
            all.add(times)?;
        }
        #[allow(clippy::cast_precision_loss, reason = "nanoseconds of a query fit")]
        let micros = |quantile| all.value_at_quantile(quantile) as f64 / 1e3;
        let (p50_us, p99_us) = (micros(0.5), micros(0.99));
        let times = serde_json::json!({ "count": all.len(), "p50_us": p50_us, "p99_us": p99_us });
        Ok(format!("queries {times}"))
    }
}

fn ask(
    store: Option<&ReadOnlyKeyValueStore<Vec<u8>, u64>>,
    done: &AtomicBool,
    mut random: StdRng,
    keys: u64,
) -> Result<Histogram<u64>> {
    let clock = clock();
    let mut nanos = Histogram::<u64>::new(3)?;
    while !done.load(Ordering::Relaxed) {
        let key = random.random_range(0..keys).to_be_bytes().to_vec();
        let start = clock.monotonic();
        if let Some(store) = store {
            store.get(&key)?;
        }
        nanos.record(u64::try_from(clock.monotonic().saturating_sub(start).as_nanos())?)?;
        clock.sleep(Queries::PAUSE);
    }
    Ok(nanos)
}
