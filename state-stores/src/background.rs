//! One thread that does for all tasks of an application what their own threads must not wait for: checkpoints are written and
//! merged, rows are freed. A simulation does these jobs by hand.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

type Job = Box<dyn FnOnce() + Send>;

/// Says the time since some fixed point; never goes back.
pub(crate) type JobClock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Does one job after the other, in order. Dropping it waits for those that were given to it.
pub struct BackgroundThread {
    jobs: Jobs,
    clock: JobClock,
}

enum Jobs {
    Thread { sender: Option<Sender<Job>>, thread: Option<JoinHandle<()>> },
    ByHand(Mutex<VecDeque<Job>>),
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
        let jobs = Jobs::Thread { sender: Some(sender), thread: Some(thread) };
        Ok(Arc::new(Self { jobs, clock: Arc::new(clock) }))
    }

    /// For simulations: no thread. A job waits for [`Self::run_next`], or until somebody has to wait for it; those that are left
    /// when this is dropped are not done, as after a crash.
    pub fn by_hand(clock: impl Fn() -> Duration + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { jobs: Jobs::ByHand(Mutex::default()), clock: Arc::new(clock) })
    }

    /// Does the next job here and now, if jobs are done by hand and there is one.
    pub fn run_next(&self) -> bool {
        let Jobs::ByHand(jobs) = &self.jobs else { return false };
        let next = jobs.lock().pop_front();
        next.map(|job| job()).is_some()
    }

    /// Has the thread do `job` after those it was given before. If an earlier one panicked, the job is dropped undone: who
    /// needs to know gives it a channel.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        match &self.jobs {
            Jobs::ByHand(jobs) => jobs.lock().push_back(Box::new(job)),
            Jobs::Thread { sender: Some(sender), .. } if sender.send(Box::new(job)).is_ok() => {}
            Jobs::Thread { .. } => {
                tracing::error!("the background thread of the state stores has ended; a job is left undone");
            }
        }
    }

    /// Does all jobs that would otherwise wait for whoever is about to wait for them.
    pub(crate) fn before_waiting(&self) {
        while self.run_next() {}
    }

    /// By which jobs are timed.
    pub(crate) fn clock(&self) -> JobClock {
        Arc::clone(&self.clock)
    }
}

impl Drop for BackgroundThread {
    fn drop(&mut self) {
        let Jobs::Thread { sender, thread } = &mut self.jobs else { return };
        *sender = None;
        if let Some(thread) = thread.take()
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
