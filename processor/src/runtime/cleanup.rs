//! Looks after the state directory beside the stream threads: removes the state of tasks that have not run here for long, and
//! measures what there is.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use millstream_state_stores::Timestamp;
use tracing::{info, warn};

use super::shared::Shared;
use super::state::ClientState;
use crate::error::{Error, Result};

/// How often the directory is looked at, at most.
const INTERVAL: Duration = Duration::from_secs(10);
const LEAST_INTERVAL: Duration = Duration::from_millis(100);

/// Starts the thread, which ends with the application.
pub(super) fn start(shared: &Arc<Shared>) -> Result<()> {
    let application = Arc::downgrade(shared);
    std::thread::Builder::new()
        .name(format!("{}-CleanupThread", shared.application_id))
        .spawn(move || run(&application))
        .map_err(|error| {
            Error::fatal("cannot start the thread that looks after the state directory").with_source(error)
        })?;
    Ok(())
}

fn run(application: &Weak<Shared>) {
    let mut started = None;
    while let Some(shared) = application.upgrade() {
        let (now, delay) = (shared.clock.monotonic(), shared.settings.state_cleanup_delay);
        let runs_for = now.saturating_sub(*started.get_or_insert(now));
        let unused_since = unused_since(runs_for, shared.clock.wall_clock(), delay);
        // Nothing is lost: what is not removed or measured now is at the next look.
        if let Err(error) = look_after(&shared, unused_since) {
            warn!(%error, "the state directory could not be looked after");
        }
        if shared.await_state(delay.clamp(LEAST_INTERVAL, INTERVAL), ClientState::is_ending).is_some() {
            return;
        }
    }
}

/// Before when a task must have been used last for its state to go; `None` if it is too early to tell. Whoever has just started may be
/// given back all he had, however long ago that was.
fn unused_since(runs_for: Duration, now: Timestamp, delay: Duration) -> Option<Timestamp> {
    let millis = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
    (runs_for >= delay).then(|| Timestamp::from_millis(now.as_millis().saturating_sub(millis)))
}

fn look_after(shared: &Shared, unused_since: Option<Timestamp>) -> Result<()> {
    let directory = &shared.directory;
    if let Some(time) = unused_since {
        for owner in directory.list()? {
            if directory.remove_unused_since(owner, time)? {
                let delay = shared.settings.state_cleanup_delay;
                info!(path = %directory.of(owner).display(), "removed state that nobody has used for {delay:?}");
            }
        }
    }
    shared.state_bytes.store(directory.bytes()?, Ordering::Relaxed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_goes_after_the_delay_and_not_before_its_task_could_have_come_back() {
        let (second, delay) = (Duration::from_secs(1), Duration::from_secs(600));
        let now = Timestamp::from_millis(10_000_000);
        let cases = [
            (Duration::ZERO, None),
            (delay - second, None),
            (delay, Some(9_400_000)),
            (delay * 10, Some(9_400_000)),
        ];
        for (runs_for, expected) in cases {
            let since = unused_since(runs_for, now, delay).map(Timestamp::as_millis);
            assert_eq!(since, expected, "after {runs_for:?}");
        }
        assert_eq!(
            unused_since(Duration::MAX, now, Duration::MAX).map(Timestamp::as_millis),
            Some(i64::MIN + 10_000_001)
        );
    }
}
