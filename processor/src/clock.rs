//! Time as a parameter: the only file that reads a clock or sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use millstream_state_stores::Timestamp;

/// Where the runtime gets the time from. [`SystemClock`] in production, [`ManualClock`] in tests.
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time, in milliseconds since the epoch. May jump.
    fn wall_clock(&self) -> Timestamp;

    /// Time since some fixed point. Never goes back; measures spans and deadlines.
    fn monotonic(&self) -> Duration;

    /// Waits. Used where nothing wakes the caller, such as between two tries of an operation.
    fn sleep(&self, duration: Duration);
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// The clock, counting monotonic time from now.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(SystemClock { start: std::time::Instant::now() })
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
impl Clock for SystemClock {
    fn wall_clock(&self) -> Timestamp {
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// A clock that moves only when told to. Wall-clock and monotonic time move together.
#[derive(Debug)]
pub struct ManualClock {
    start: i64,
    now: AtomicI64,
}

impl ManualClock {
    /// A clock that stands at `start`.
    pub fn at(start: Timestamp) -> Arc<Self> {
        Arc::new(ManualClock { start: start.as_millis(), now: AtomicI64::new(start.as_millis()) })
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.now.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn wall_clock(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        let elapsed = self.now.load(Ordering::Relaxed) - self.start;
        Duration::from_millis(u64::try_from(elapsed).unwrap_or(0))
    }

    fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}
