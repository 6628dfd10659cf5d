//! Requests to a schema registry: to whichever of its addresses answers, again and again until a deadline.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use millstream_processor::clock::Clock;
use millstream_processor::{BoxError, RegistryError};
use serde_json::Value;
use ureq::http::StatusCode;
use ureq::{Agent, RequestBuilder};

const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// The pause after the first try that failed; each further one is twice as long.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A registry at one or several addresses.
pub(super) struct Http {
    agent: Agent,
    /// Without a slash at the end; at least one.
    pub(super) addresses: Vec<String>,
    /// The place of that which answered last, and is asked first.
    answered_last: AtomicUsize,
    authorization: Authorization,
    /// How long a single try may take.
    request_timeout: Duration,
    /// For how long an answer is waited for, tries and all.
    deadline: Duration,
    pub(super) clock: Arc<dyn Clock>,
}

/// Who asks.
pub(super) enum Authorization {
    Nobody,
    /// As the header has it.
    Always(String),
    /// Whoever has the token that this gives.
    Bearer(Box<dyn Fn() -> Result<String, BoxError> + Send + Sync>),
}

/// What an answer says.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
    /// Who answered.
    pub(super) address: String,
}

impl Answer {
    /// What it says when it refuses.
    pub(super) fn message(&self) -> String {
        self.body["message"].as_str().map_or_else(|| self.body.to_string(), str::to_owned)
    }

    /// Confluent's own code of a refusal.
    pub(super) fn code(&self) -> Option<u64> {
        self.body["error_code"].as_u64()
    }

    /// A refusal of what was asked.
    pub(super) fn refused(&self, what: &str) -> RegistryError {
        RegistryError::Refused {
            url: self.address.clone(),
            what: what.to_owned(),
            status: self.status,
            message: self.message(),
        }
    }

    /// A registry would have said more.
    pub(super) fn incomplete(&self, missing: &str) -> RegistryError {
        RegistryError::NoRegistry {
            url: self.address.clone(),
            reason: format!("its answer has no {missing}"),
        }
    }
}

impl Http {
    /// The registry at these addresses, of which there is at least one.
    pub(super) fn new(
        agent: Agent,
        addresses: Vec<String>,
        authorization: Authorization,
        request_timeout: Duration,
        deadline: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let answered_last = AtomicUsize::new(0);
        Http { agent, addresses, answered_last, authorization, request_timeout, deadline, clock }
    }

    /// The header for a user and a password.
    pub(super) fn basic(user: &str, password: &str) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
    }

    /// The header for a token.
    pub(super) fn bearer(token: &str) -> String {
        format!("Bearer {}", token.trim())
    }

    /// Asks; with a body, it is posted. The address that answered last is tried first, and each of the others before any is tried again.
    ///
    /// # Errors
    /// `Away` if nobody answers before the deadline, `Unauthorized` and `NoRegistry` by what the answer is. Other refusals are answers.
    pub(super) fn ask(&self, path: &str, body: Option<&Value>) -> Result<Answer, RegistryError> {
        let start = self.clock.monotonic();
        let waited = || self.clock.monotonic().saturating_sub(start);
        let first = self.answered_last.load(Ordering::Relaxed);
        let (mut tries, mut pause) = (0_usize, FIRST_PAUSE);
        loop {
            let place = (first + tries) % self.addresses.len();
            let timeout = self.time_for_try(waited(), self.addresses.len().saturating_sub(tries));
            tries += 1;
            let source = match self.try_once(&self.addresses[place], path, body, timeout)? {
                Ok(answer) => {
                    self.answered_last.store(place, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(source) => source,
            };
            let is_round_over = tries >= self.addresses.len();
            let waited = waited();
            if waited.saturating_add(if is_round_over { pause } else { Duration::ZERO }) >= self.deadline {
                let (url, seconds) = (self.addresses.join(", "), waited.as_secs());
                let tries = u32::try_from(tries).unwrap_or(u32::MAX);
                return Err(RegistryError::Away { url, tries, seconds, source });
            }
            if is_round_over {
                self.clock.sleep(pause);
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
        }
    }

    /// How long a try may take when so many addresses, this one among them, were not tried yet: one that swallows what it is asked must leave the
    /// others their share of the time.
    fn time_for_try(&self, waited: Duration, untried: usize) -> Duration {
        let shares = u32::try_from(untried.max(1)).unwrap_or(u32::MAX);
        self.request_timeout.min(self.deadline.saturating_sub(waited) / shares)
    }

    /// One request: an answer, or why there is none for the moment.
    fn try_once(
        &self,
        address: &str,
        path: &str,
        body: Option<&Value>,
        timeout: Duration,
    ) -> Result<Result<Answer, BoxError>, RegistryError> {
        let url = format!("{address}{path}");
        let authorization = match self.authorization() {
            Ok(authorization) => authorization,
            Err(error) => return Ok(Err(format!("there is no token to ask with: {error}").into())),
        };
        let authorization = authorization.as_deref();
        let response = match body {
            Some(body) => prepared(self.agent.post(&url), timeout, authorization)
                .header("content-type", CONTENT_TYPE)
                .send(body.to_string()),
            None => prepared(self.agent.get(&url), timeout, authorization).call(),
        };
        let mut response = match response {
            Ok(response) => response,
            Err(error) => return Ok(Err(error.into())),
        };
        let status = response.status();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Ok(Err(format!("it answered with status {status}").into()));
        }
        let text = match response.body_mut().read_to_string() {
            Ok(text) => text,
            Err(error) => return Ok(Err(error.into())),
        };
        let (url, status) = (address.to_owned(), status.as_u16());
        if matches!(status, 401 | 403) {
            return Err(RegistryError::Unauthorized { url, status });
        }
        let body = serde_json::from_str(&text).map_err(|error| RegistryError::NoRegistry {
            url,
            reason: format!("status {status}, and {error}"),
        })?;
        Ok(Ok(Answer { status, body, address: address.to_owned() }))
    }

    fn authorization(&self) -> Result<Option<Cow<'_, str>>, BoxError> {
        Ok(match &self.authorization {
            Authorization::Nobody => None,
            Authorization::Always(header) => Some(Cow::Borrowed(header)),
            Authorization::Bearer(token) => Some(Cow::Owned(Self::bearer(&token()?))),
        })
    }
}

/// What all requests have in common.
fn prepared<B>(
    request: RequestBuilder<B>,
    timeout: Duration,
    authorization: Option<&str>,
) -> RequestBuilder<B> {
    let request = request.config().timeout_global(Some(timeout)).build().header("accept", CONTENT_TYPE);
    match authorization {
        Some(authorization) => request.header("authorization", authorization),
        None => request,
    }
}

#[cfg(test)]
mod tests {
    use millstream_processor::clock::SystemClock;

    use super::*;

    #[test]
    fn addresses_that_were_not_tried_keep_their_share_of_the_time() {
        let seconds = Duration::from_secs;
        let http = |deadline| {
            let addresses = vec!["http://a".to_owned(), "http://b".to_owned()];
            let agent = Agent::config_builder().build().into();
            Http::new(agent, addresses, Authorization::Nobody, seconds(5), deadline, SystemClock::shared())
        };
        let (short, long) = (http(seconds(4)), http(seconds(20)));
        assert_eq!(short.time_for_try(seconds(0), 2), seconds(2));
        assert_eq!(short.time_for_try(seconds(2), 1), seconds(2));
        assert_eq!(short.time_for_try(seconds(3), 0), seconds(1), "all were tried, and one is tried again");
        assert_eq!(short.time_for_try(seconds(9), 1), seconds(0));
        assert_eq!(long.time_for_try(seconds(0), 2), seconds(5), "no try takes longer than a request may");
    }
}
