//! An instance of one of the fault suite's programs. Settings come from the environment (`MILLSTREAM_*`); on its standard input it
//! takes orders to have a fault: [`Order`]. Ends on SIGINT.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use millstream::clock::{Clock, SystemClock};
use millstream::prelude::*;
use millstream::runtime::{Step, StepListener};
use millstream::{ClientState, Streams};
use millstream_integration_tests::faults::{Order, Program, RestoreBeginning};
use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, Signal, getpid, getrlimit, kill_process, setrlimit};
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
struct Arguments {
    program: Program,
    #[arg(long)]
    application_id: String,
    #[arg(long)]
    session_timeout_ms: u64,
}

/// How soon a worker that is asked to end hears of it.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

fn main() -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    // A guest of a moment may be asked to leave while it still starts.
    let asked_to_end = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&asked_to_end))?;
    // Without a handler, the first write beyond the limit would end the process instead of failing.
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    let faults = Arc::new(Faults::default());
    let mut settings = Settings::from_env()?;
    settings.session_timeout = Duration::from_millis(arguments.session_timeout_ms);
    settings.state_memory = 32 << 20;
    let told = Arc::clone(&faults);
    settings.on_step = StepListener::new(move |step| told.reached(step));
    let machine = SystemClock::shared();
    let clock = FaultyClock { machine: Arc::clone(&machine), faults: Arc::clone(&faults) };
    let app =
        Streams::builder(&arguments.application_id, arguments.program.topology(&arguments.application_id)?)
            .settings(settings)
            .clock(Arc::new(clock))
            .on_restore(|progress| {
                if let Some(beginning) = RestoreBeginning::of(progress) {
                    tracing::info!("{beginning}");
                }
            })
            .start()?;
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if let Err(error) = faults.obey(&line) {
                tracing::error!("cannot do what was ordered: {error:#}");
            }
        }
    });
    let has_ended = || matches!(app.state(), ClientState::Error | ClientState::NotRunning);
    while !asked_to_end.load(Ordering::Relaxed) && !has_ended() {
        machine.sleep(LOOK_INTERVAL);
    }
    app.close().context("the application ended with an error")
}

/// The faults this process is about to have.
#[derive(Default)]
struct Faults {
    /// Where to die, and how often to pass there before.
    fatal_step: Mutex<Option<(Step, u32)>>,
    stall_ms: AtomicU64,
    jump_ms: AtomicI64,
}

impl Faults {
    fn obey(&self, line: &str) -> Result<()> {
        match line.parse()? {
            Order::DieAt { step, nth } => *self.fatal_step.lock() = Some((step, nth)),
            Order::Stall(lasting) => {
                self.stall_ms.store(u64::try_from(lasting.as_millis())?, Ordering::Relaxed);
            }
            Order::JumpClock(millis) => {
                self.jump_ms.store(millis, Ordering::Relaxed);
            }
            Order::FillDisk(is_full) => {
                let Rlimit { maximum, .. } = getrlimit(Resource::Fsize);
                let current = if is_full { Some(0) } else { maximum };
                setrlimit(Resource::Fsize, Rlimit { current, maximum })?;
            }
        }
        Ok(())
    }

    fn reached(&self, step: Step) {
        let mut fatal = self.fatal_step.lock();
        if let Some((wanted, left)) = fatal.as_mut()
            && *wanted == step
        {
            *left = left.saturating_sub(1);
            if *left == 0 {
                // Nothing of this process runs after it: no destructor, no flush.
                if let Err(error) = kill_process(getpid(), Signal::KILL) {
                    tracing::error!(%error, "cannot die");
                }
            }
        }
    }
}

/// The machine's clock, but for its faults: the wall clock jumps, and who asks for the time on a stream thread may be stalled.
struct FaultyClock {
    machine: Arc<dyn Clock>,
    faults: Arc<Faults>,
}

impl Clock for FaultyClock {
    fn wall_clock(&self) -> Timestamp {
        let jump = self.faults.jump_ms.load(Ordering::Relaxed);
        Timestamp::from_millis(self.machine.wall_clock().as_millis() + jump)
    }

    fn monotonic(&self) -> Duration {
        let is_stream_thread =
            || std::thread::current().name().is_some_and(|name| name.contains("-StreamThread-"));
        if self.faults.stall_ms.load(Ordering::Relaxed) > 0 && is_stream_thread() {
            let stall = self.faults.stall_ms.swap(0, Ordering::Relaxed);
            self.machine.sleep(Duration::from_millis(stall));
        }
        self.machine.monotonic()
    }

    fn sleep(&self, duration: Duration) {
        self.machine.sleep(duration);
    }
}
