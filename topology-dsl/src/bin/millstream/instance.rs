//! A running instance, asked over HTTP.

use std::time::Duration;

use clap::Args;
use millstream::{Error, ErrorKind, Result};
use serde_json::Value;

/// The instance to ask.
#[derive(Clone, Debug, Args)]
pub(crate) struct InstanceArgument {
    /// Where the instance serves HTTP: its http_address
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "MILLSTREAM_HTTP_ADDRESS",
        default_value = "http://localhost:8080"
    )]
    address: String,
}

impl InstanceArgument {
    /// The body of what it answers.
    ///
    /// # Errors
    /// `Retry` if it cannot be reached or has no answer now, `Invalid` with its words if it refuses.
    pub(crate) fn get(&self, path: &str, parameters: &[(&str, String)]) -> Result<String> {
        let address = self.address.trim_end_matches('/');
        let scheme = if address.contains("://") { "" } else { "http://" };
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .into();
        let mut request = agent.get(format!("{scheme}{address}{path}"));
        for (name, value) in parameters {
            request = request.query(name, value);
        }
        let unreachable = |error| {
            Error::new(
                ErrorKind::Retry,
                format!("no answer from {address}: is the application running, with http_address set?"),
            )
            .with_source(error)
        };
        let mut response = request.call().map_err(unreachable)?;
        let body = response.body_mut().read_to_string().map_err(unreachable)?;
        let status = response.status();
        if status.is_success() {
            return Ok(body);
        }
        let kind = if status.is_server_error() { ErrorKind::Retry } else { ErrorKind::Invalid };
        Err(Error::new(
            kind,
            refusal(&body).unwrap_or_else(|| format!("{address} answered {status}: {body}")),
        ))
    }

    /// The same, where it answers with JSON.
    pub(crate) fn get_json(&self, path: &str, parameters: &[(&str, String)]) -> Result<Value> {
        let body = self.get(path, parameters)?;
        serde_json::from_str(&body).map_err(|error| {
            Error::invalid(format!("{} answered no JSON: is it a millstream application?", self.address))
                .with_source(error)
        })
    }
}

/// What an instance says when it cannot answer: an error, and what to do.
fn refusal(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let error = body["error"].as_str()?;
    Some(body["remedy"].as_str().map_or_else(|| error.to_owned(), |remedy| format!("{error}: {remedy}")))
}
