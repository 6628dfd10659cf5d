//! What an application tells Prometheus: one registry per application, read when it is scraped.
//!
//! The stream threads know nothing of metrics: they leave plain values in their snapshots, which [`SnapshotCollector`] turns
//! into series at scrape time. Only what happens beside the loop, answering HTTP requests, is counted here.
//! `docs/metrics.md` describes every metric; a test compares it with what is served.

mod collector;
mod families;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{CounterVec, IntCounterVec, Opts, Registry, TextEncoder};

use self::collector::SnapshotCollector;
use crate::error::{Error, Result};
use crate::runtime::Shared;

/// The metrics of one application.
pub(crate) struct Metrics {
    registry: Registry,
    http_requests: IntCounterVec,
    http_seconds: CounterVec,
}

impl Metrics {
    /// # Errors
    /// `Fatal` if two metrics have the same name, which the tests rule out.
    pub(crate) fn new(shared: Arc<Shared>) -> Result<Self> {
        let refused =
            |error: prometheus::Error| Error::fatal("the metrics cannot be registered").with_source(error);
        let application = HashMap::from([("application_id".to_string(), shared.application_id.to_string())]);
        let registry = Registry::new_custom(None, Some(application)).map_err(refused)?;

        let requests = Opts::new("millstream_http_requests_total", "Answered HTTP requests.");
        let http_requests = IntCounterVec::new(requests, &["route", "status"]).map_err(refused)?;
        let seconds =
            Opts::new("millstream_http_request_seconds_total", "Time spent answering HTTP requests.");
        let http_seconds = CounterVec::new(seconds, &["route"]).map_err(refused)?;

        let snapshots = SnapshotCollector::new(shared).map_err(refused)?;
        registry.register(Box::new(snapshots)).map_err(refused)?;
        registry.register(Box::new(http_requests.clone())).map_err(refused)?;
        registry.register(Box::new(http_seconds.clone())).map_err(refused)?;
        Ok(Metrics { registry, http_requests, http_seconds })
    }

    /// Counts an answered HTTP request under the pattern of its route.
    pub(crate) fn count_http_request(&self, route: &str, status: u16, duration: Duration) {
        self.http_requests.with_label_values(&[route, &status.to_string()]).inc();
        self.http_seconds.with_label_values(&[route]).inc_by(duration.as_secs_f64());
    }

    /// All metrics in Prometheus' text format, version 0.0.4.
    ///
    /// # Errors
    /// `Fatal` if they cannot be encoded.
    pub(crate) fn text(&self) -> Result<String> {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .map_err(|error| Error::fatal("the metrics cannot be written as text").with_source(error))
    }
}
