//! Trying again what needs the brokers, or a lock that somebody else has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::clock::Clock;
use crate::error::{ErrorKind, Result};

const PAUSE: Duration = Duration::from_millis(100);

/// How long brokers may take to hear of a topic that was just made: until then one may say that there is none.
pub(crate) const PROPAGATION: Duration = Duration::from_secs(10);

/// How often something that is tried again and again is logged.
const NOTE_INTERVAL: Duration = Duration::from_secs(5);

/// Says whether whoever waits is asked to end.
pub(crate) type MustEnd = Arc<dyn Fn() -> bool + Send + Sync>;

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

/// Asks about topics until all are there, every broker must have heard of them, or `is_given_up` says so. Returns the last answer.
///
/// # Errors
/// Those of the question.
pub(crate) fn once_propagated<T>(
    clock: &dyn Clock,
    is_given_up: impl Fn() -> bool,
    has_all: impl Fn(&T) -> bool,
    mut ask: impl FnMut() -> Result<T>,
) -> Result<T> {
    let mut deadline = None;
    loop {
        let answer = ask()?;
        if has_all(&answer) {
            return Ok(answer);
        }
        let now = clock.monotonic();
        let deadline = *deadline.get_or_insert_with(|| {
            info!(within = ?PROPAGATION, "waiting for topics that the brokers do not know, or not yet");
            now + PROPAGATION
        });
        if now >= deadline || is_given_up() {
            return Ok(answer);
        }
        clock.sleep(PAUSE);
    }
}

/// Whether an answer tells of all of these topics.
pub(crate) fn has_all<V>(topics: &[String]) -> impl Fn(&BTreeMap<String, V>) -> bool {
    move |answer| topics.iter().all(|topic| answer.contains_key(topic))
}

#[cfg(test)]
mod tests {
    use millstream_state_stores::Timestamp;

    use super::*;
    use crate::clock::ManualClock;
    use crate::error::Error;

    #[test]
    fn a_topic_that_brokers_have_yet_to_hear_of_is_waited_for_and_one_that_is_missing_is_not_for_long()
    -> Result<()> {
        let clock = ManualClock::at(Timestamp::from_millis(0));
        let mut asked = 0;
        let known = once_propagated(
            &*clock,
            || false,
            Option::is_some,
            || {
                asked += 1;
                Ok((asked == 3).then_some("orders"))
            },
        )?;
        assert_eq!((known, asked, clock.monotonic()), (Some("orders"), 3, 2 * PAUSE));

        let start = clock.monotonic();
        let ask = || {
            once_propagated(
                &*clock,
                || clock.monotonic() > start + 2 * PROPAGATION,
                Option::is_some,
                || Ok(None::<&str>),
            )
        };
        assert_eq!(ask()?, None);
        assert_eq!(clock.monotonic() - start, PROPAGATION);
        clock.advance(2 * PROPAGATION);
        let given_up = clock.monotonic();
        assert_eq!((ask()?, clock.monotonic()), (None, given_up));

        let refused = once_propagated(
            &*clock,
            || false,
            Option::is_some,
            || Err::<Option<&str>, _>(Error::invalid("no")),
        );
        assert_eq!(refused.expect_err("it is no answer").kind(), ErrorKind::Invalid);
        Ok(())
    }
}
