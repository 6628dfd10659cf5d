//! Trying again what needs the brokers, or a lock that somebody else has.

use std::time::Duration;

use tracing::warn;

use crate::clock::Clock;
use crate::error::{ErrorKind, Result};

const PAUSE: Duration = Duration::from_millis(100);

/// How often something that is tried again and again is logged.
const NOTE_INTERVAL: Duration = Duration::from_secs(5);

/// Calls `attempt` until it fails in no way that can pass (`Retry`), the time is over, or `is_given_up` says so.
///
/// # Errors
/// Those of the last attempt.
pub(crate) fn patiently<T>(
    clock: &dyn Clock,
    within: Duration,
    is_given_up: impl Fn() -> bool,
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<T> {
    let start = clock.monotonic();
    let mut next_note = start + NOTE_INTERVAL;
    loop {
        let error = match attempt() {
            Err(error) if error.kind() == ErrorKind::Retry => error,
            outcome => return outcome,
        };
        let now = clock.monotonic();
        if now >= start + within || is_given_up() {
            return Err(error);
        }
        if now >= next_note {
            next_note = now + NOTE_INTERVAL;
            warn!(%error, since = ?now.saturating_sub(start), "still trying");
        }
        clock.sleep(PAUSE);
    }
}
