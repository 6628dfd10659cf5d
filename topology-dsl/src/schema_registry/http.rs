//! Requests to a schema registry: to whichever of its addresses answers, again and again until a deadline.

use std::sync::Arc;
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
    pub(super) agent: Agent,
    /// Without a slash at the end; at least one.
    pub(super) addresses: Vec<String>,
    pub(super) authorization: Option<String>,
    /// How long a single try may take.
    pub(super) request_timeout: Duration,
    /// For how long an answer is waited for, tries and all.
    pub(super) deadline: Duration,
    pub(super) clock: Arc<dyn Clock>,
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
    /// The header for a user and a password.
    pub(super) fn basic(user: &str, password: &str) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
    }

    /// Asks; with a body, it is posted.
    ///
    /// # Errors
    /// `Away` if nobody answers before the deadline, `Unauthorized` and `NoRegistry` by what the answer is. Other refusals are answers.
    pub(super) fn ask(&self, path: &str, body: Option<&Value>) -> Result<Answer, RegistryError> {
        let start = self.clock.monotonic();
        let (mut tries, mut pause) = (0, FIRST_PAUSE);
        loop {
            let address = &self.addresses[tries as usize % self.addresses.len()];
            tries += 1;
            let left = self.deadline.saturating_sub(self.clock.monotonic().saturating_sub(start));
            let source = match self.try_once(address, path, body, left.min(self.request_timeout))? {
                Ok(answer) => return Ok(answer),
                Err(source) => source,
            };
            let waited = self.clock.monotonic().saturating_sub(start);
            if waited.saturating_add(pause) >= self.deadline {
                let url = self.addresses.join(", ");
                return Err(RegistryError::Away { url, tries, seconds: waited.as_secs(), source });
            }
            self.clock.sleep(pause);
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
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
        let response = match body {
            Some(body) => self
                .prepared(self.agent.post(&url), timeout)
                .header("content-type", CONTENT_TYPE)
                .send(body.to_string()),
            None => self.prepared(self.agent.get(&url), timeout).call(),
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

    /// What all requests have in common.
    fn prepared<B>(&self, request: RequestBuilder<B>, timeout: Duration) -> RequestBuilder<B> {
        let request = request.config().timeout_global(Some(timeout)).build().header("accept", CONTENT_TYPE);
        match &self.authorization {
            Some(authorization) => request.header("authorization", authorization),
            None => request,
        }
    }
}
