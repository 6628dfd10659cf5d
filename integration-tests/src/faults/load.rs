//! Writes a program's input without a pause, at a given rate, until it is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::Program;
use super::programs::topic_of;
use crate::kafka::ClusterClient;

/// How long the brokers may be away before the load gives up.
const PATIENCE: Duration = Duration::from_secs(300);
const TICK: Duration = Duration::from_millis(10);

/// The thread that writes.
#[derive(Debug)]
pub(super) struct Load {
    is_over: Arc<AtomicBool>,
    writing: Option<JoinHandle<Result<u64>>>,
}

impl Load {
    /// Begins to write so many records a second for the program.
    pub(super) fn start(
        program: Program,
        application_id: &str,
        seed: u64,
        rate: u32,
        client: &ClusterClient,
    ) -> Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let (is_told, client, id) = (Arc::clone(&is_over), client.clone(), application_id.to_owned());
        let writing = thread::spawn(move || write(program, &id, seed, rate, &client, &is_told));
        Ok(Self { is_over, writing: Some(writing) })
    }

    /// Stops, and waits until everything is acknowledged. Returns how many records there are.
    pub(super) fn stop(mut self) -> Result<u64> {
        self.is_over.store(true, Ordering::Relaxed);
        let writing = self.writing.take().ok_or_else(|| anyhow!("the load was stopped before"))?;
        writing.join().map_err(|_| anyhow!("the load panicked"))?
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn write(
    program: Program,
    application_id: &str,
    seed: u64,
    rate: u32,
    client: &ClusterClient,
    is_over: &AtomicBool,
) -> Result<u64> {
    let mut feed = program.feed(seed, client, application_id)?;
    let writer = client.writer(PATIENCE)?;
    let (started, mut asked, mut written) = (Instant::now(), 0, 0);
    while !is_over.load(Ordering::Relaxed) {
        let due = started.elapsed().as_millis() * u128::from(rate) / 1000;
        while asked < due {
            asked += 1;
            if let Some((topic, record)) = feed.next()? {
                writer.write(&topic_of(application_id, topic), &record)?;
                written += 1;
            }
        }
        writer.poll();
        thread::sleep(TICK);
    }
    writer.flush()?;
    Ok(written)
}
