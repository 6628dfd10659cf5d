//! Waiting for something to become true: by asking again until a deadline, never by sleeping and hoping.

use std::thread;
use std::time::{Duration, Instant};

/// How long to pause between two questions: short beside a Kafka round trip, long beside a busy loop.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks `probe` until it answers, for at most `deadline`. `what` completes the sentence "waited 10s for ...".
///
/// # Errors
/// If `probe` has answered `None` until the deadline. It is asked at least once, and a last time at the deadline.
pub fn await_until<T>(
    deadline: Duration,
    what: impl AsRef<str>,
    mut probe: impl FnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        let last = started.elapsed() >= deadline;
        if let Some(found) = probe() {
            return Ok(found);
        }
        if last {
            anyhow::bail!("waited {deadline:?} for {}", what.as_ref());
        }
        thread::sleep(PAUSE);
    }
}
