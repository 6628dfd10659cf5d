//! Turns the snapshots of the stream threads into series when Prometheus asks for them.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use millstream_state_stores::{TaskId, Timestamp};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::families::FAMILIES;
use crate::runtime::{Shared, TaskSnapshot, ThreadSnapshot, UpdaterSnapshot};

/// A metric: its name, and how its series are read off an application.
pub(super) struct Family {
    name: &'static str,
    kind: MetricType,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Scrape<'_>, &mut Series),
}

/// A metric that only grows.
pub(super) const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Scrape<'_>, &mut Series),
) -> Family {
    Family { name, kind: MetricType::COUNTER, labels, help, read }
}

/// A metric that goes up and down.
pub(super) const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Scrape<'_>, &mut Series),
) -> Family {
    Family { name, kind: MetricType::GAUGE, labels, help, read }
}

/// What one scrape looks at: every snapshot is loaded once, so that its values fit together.
pub(super) struct Scrape<'a> {
    pub(super) shared: &'a Shared,
    pub(super) threads: &'a [Arc<ThreadSnapshot>],
    /// A task that moves between two threads is in both of their snapshots for a moment; a series may be told only once.
    pub(super) tasks: BTreeMap<TaskId, &'a TaskSnapshot>,
    pub(super) updater: &'a UpdaterSnapshot,
}

/// The series of one metric, while they are collected.
pub(super) struct Series {
    kind: MetricType,
    labels: &'static [&'static str],
    metrics: Vec<Metric>,
}

impl Series {
    /// Adds the series with these label values, in the order of the metric's labels; none if there is no value.
    pub(super) fn add(&mut self, labels: &[&dyn Display], value: impl Sample) {
        let Some(value) = value.sample() else { return };
        let pair = |(name, value): (&&str, &&dyn Display)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_string());
            pair.set_value(value.to_string());
            pair
        };
        let mut metric = Metric::from_label(self.labels.iter().zip(labels).map(pair).collect());
        if self.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.metrics.push(metric);
    }
}

/// A number as Prometheus wants it: times in seconds, yes as 1, and nothing at all where there is no value yet.
pub(super) trait Sample {
    fn sample(self) -> Option<f64>;
}

impl Sample for u64 {
    fn sample(self) -> Option<f64> {
        Some(self as f64)
    }
}

impl Sample for usize {
    fn sample(self) -> Option<f64> {
        Some(self as f64)
    }
}

impl Sample for bool {
    fn sample(self) -> Option<f64> {
        Some(f64::from(u8::from(self)))
    }
}

impl Sample for Duration {
    fn sample(self) -> Option<f64> {
        Some(self.as_secs_f64())
    }
}

impl Sample for Timestamp {
    fn sample(self) -> Option<f64> {
        Some(self.as_millis() as f64 / 1000.0)
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(self) -> Option<f64> {
        self.and_then(Sample::sample)
    }
}

/// Collects [`FAMILIES`] of an application.
pub(super) struct SnapshotCollector {
    shared: Arc<Shared>,
    descriptions: Vec<Desc>,
}

impl SnapshotCollector {
    pub(super) fn new(shared: Arc<Shared>) -> prometheus::Result<Self> {
        let describe = |family: &Family| {
            let labels = family.labels.iter().map(ToString::to_string).collect();
            Desc::new(family.name.to_string(), family.help.to_string(), labels, HashMap::new())
        };
        Ok(SnapshotCollector {
            shared,
            descriptions: FAMILIES.iter().map(describe).collect::<Result<_, _>>()?,
        })
    }
}

impl Collector for SnapshotCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let threads = self.shared.threads.snapshots();
        let global = self.shared.global_snapshot.load_full();
        let tasks = threads.iter().flat_map(|thread| &thread.tasks).chain(global.as_deref());
        let tasks = tasks.map(|task| (task.id, task)).collect();
        let updater = self.shared.state_updater.snapshot();
        let scrape = Scrape { shared: &self.shared, threads: &threads, tasks, updater: &updater };
        let collect = |family: &Family| {
            let mut series = Series { kind: family.kind, labels: family.labels, metrics: Vec::new() };
            (family.read)(&scrape, &mut series);
            let mut collected = MetricFamily::default();
            collected.set_name(family.name.to_string());
            collected.set_help(family.help.to_string());
            collected.set_field_type(family.kind);
            collected.set_metric(series.metrics);
            collected
        };
        FAMILIES.iter().map(collect).collect()
    }
}
