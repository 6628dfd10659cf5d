//! Time that moves only when the simulation says so: monotonic time forward, wall-clock time also in jumps.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use millstream_state_stores::{BackgroundThread, Timestamp};

use crate::clock::Clock;

#[derive(Debug, Default)]
pub(super) struct SimulatedClock {
    millis: AtomicI64,
    wall_offset: AtomicI64,
}

impl SimulatedClock {
    pub(super) fn advance(&self, millis: i64) {
        self.millis.fetch_add(millis, Ordering::Relaxed);
    }

    /// Moves the wall clock alone, as when somebody sets it.
    pub(super) fn jump(&self, millis: i64) {
        self.wall_offset.fetch_add(millis, Ordering::Relaxed);
    }

    pub(super) fn millis(&self) -> i64 {
        self.millis.load(Ordering::Relaxed)
    }
}

impl Clock for SimulatedClock {
    fn wall_clock(&self) -> Timestamp {
        Timestamp::from_millis(self.millis() + self.wall_offset.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.millis()).unwrap_or(0))
    }

    fn sleep(&self, duration: Duration) {
        self.advance(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX));
    }
}

/// The clock of an instance: while one of its threads sleeps, the checkpoints behind it go on.
#[derive(Debug)]
pub(super) struct InstanceClock {
    pub(super) clock: Arc<SimulatedClock>,
    pub(super) background: Option<Arc<BackgroundThread>>,
}

impl Clock for InstanceClock {
    fn wall_clock(&self) -> Timestamp {
        self.clock.wall_clock()
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    fn sleep(&self, duration: Duration) {
        if let Some(background) = &self.background {
            background.run_next();
        }
        self.clock.sleep(duration);
    }
}
