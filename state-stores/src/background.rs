//! One thread that does for all tasks of an application what their own threads must not wait for: checkpoints are written and
//! merged, rows are freed.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

type Job = Box<dyn FnOnce() + Send>;

/// Says the time since some fixed point; never goes back.
pub(crate) type JobClock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Does one job after the other, in order. Dropping it waits for those that were given to it.
pub struct BackgroundThread {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    clock: JobClock,
}

impl BackgroundThread {
    /// Starts the thread. `clock` says the time since some fixed point, by which jobs are timed.
    ///
    /// # Errors
    /// If the operating system has no more threads to give.
    pub fn start(name: &str, clock: impl Fn() -> Duration + Send + Sync + 'static) -> io::Result<Arc<Self>> {
        let (sender, jobs) = channel::<Job>();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || jobs.iter().for_each(|job| job()))?;
        Ok(Arc::new(Self { jobs: Some(sender), thread: Some(thread), clock: Arc::new(clock) }))
    }

    /// Has the thread do `job` after those it was given before. If an earlier one panicked, the job is dropped undone: who
    /// needs to know gives it a channel.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        if let Some(jobs) = &self.jobs
            && jobs.send(Box::new(job)).is_err()
        {
            tracing::error!("the background thread of the state stores has ended; a job is left undone");
        }
    }

    /// By which jobs are timed.
    pub(crate) fn clock(&self) -> JobClock {
        Arc::clone(&self.clock)
    }
}

impl Drop for BackgroundThread {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the background thread of the state stores panicked");
        }
    }
}

impl std::fmt::Debug for BackgroundThread {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("BackgroundThread").finish_non_exhaustive()
    }
}
