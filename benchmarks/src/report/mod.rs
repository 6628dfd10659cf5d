//! What was measured, as values: rows of `latest.json`, a Markdown table, plots.

pub(crate) mod markdown;
mod plot;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::rows::Row;
use crate::settings::Column;
use crate::stats::Spread;

/// A row of the result, with the settings of one column.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) workload: String,
    pub(crate) title: String,
    pub(crate) settings: Column,
    pub(crate) ours: Figures,
    /// Kafka Streams; none where there is no JVM, or nothing to compare.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) peer: Option<Figures>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) limit: Option<Figures>,
    /// Ours to Kafka Streams'.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) ratio: Option<Ratios>,
    /// Our CPU time per record to the limit's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) cpu_of_limit: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) throughput_of_limit: Option<Spread>,
    pub(crate) outputs_agree: bool,
    pub(crate) pairs: usize,
    pub(crate) versions: Versions,
    pub(crate) goals: Vec<Goal>,
    /// What the figures alone do not say.
    pub(crate) notes: Vec<String>,
}

/// Medians of one side.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) records_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) cpu_ns_per_record: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) rss_mb: Option<f64>,
    /// Records written to the output.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) outputs: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) p99_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) p999_ms: Option<f64>,
    /// From the start of the process to its first output.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) start_ms: Option<f64>,
    /// Share of one core while there is nothing to do, in percent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) idle_cpu_percent: Option<f64>,
    /// The longest a commit spent in operators and stores.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) store_stall_ms: Option<f64>,
    /// Peak memory above that of the same program with hardly any state, in parts of `state_memory`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) rss_of_budget: Option<f64>,
    /// From nothing to a store that answers, after its process was killed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) reopen_ms: Option<f64>,
    /// Of instances that came and went.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) stalls: Option<Stalls>,
}

/// What readers of the output noticed when an instance came or went; medians, but for the longest gap.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Stalls {
    /// The longest time without output of any partition, in milliseconds.
    pub(crate) gap_ms: Spread,
    /// The same of the partitions that stayed with their instance, if any did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) staying_gap_ms: Option<f64>,
    /// Partitions that had another owner afterwards.
    pub(crate) moved: f64,
    /// Outputs beyond one for each input.
    pub(crate) reprocessed: f64,
    /// Changelog records that were read because of it.
    pub(crate) restored: f64,
    /// Stores that were restored from nothing.
    pub(crate) from_zero: f64,
}

/// Ours divided by Kafka Streams', round by round.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Ratios {
    pub(crate) throughput: Spread,
    pub(crate) cpu: Spread,
    pub(crate) rss: Spread,
}

impl Ratios {
    pub(crate) fn of(throughput: Option<Spread>, cpu: Option<Spread>, rss: Option<Spread>) -> Option<Self> {
        Some(Ratios { throughput: throughput?, cpu: cpu?, rss: rss? })
    }
}

/// What a row is to reach.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Goal {
    pub(crate) figure: Figure,
    pub(crate) must: f64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) stretch: Option<f64>,
}

/// The figure a goal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Figure {
    /// Ours to Kafka Streams'; at least.
    Throughput,
    /// Ours to Kafka Streams'; at most.
    Cpu,
    /// Ours to the limit's; at most.
    CpuOfLimit,
    /// Ours to the limit's; at least.
    ThroughputOfLimit,
    /// Ours to Kafka Streams'; at most.
    Rss,
    /// Ours to Kafka Streams'; at most.
    P99,
    /// Ours to Kafka Streams'; at most.
    P999,
    /// Ours above the limit's, in milliseconds; at most.
    P50AboveLimitMs,
    /// Ours to Kafka Streams', at most.
    P50,
    /// Ours in microseconds, at most.
    P50Micros,
    /// Ours in microseconds, at most.
    P99Micros,
    /// Ours to Kafka Streams', the time of the group's join taken off both; at most.
    Start,
    /// Ours without the group's join, in milliseconds; at most.
    StartMs,
    /// Ours, in percent of a core; less than.
    IdleCpuPercent,
    /// Ours, in milliseconds; at most.
    StoreStallMs,
    /// Ours; at most.
    RssOfBudget,
    /// Ours, in milliseconds; at most.
    ReopenMs,
    /// The longest gap, ours to Kafka Streams'; at most.
    Gap,
    /// The longest gap, ours in milliseconds; at most.
    GapMs,
    /// The longest gap, ours above the limit's, in milliseconds; at most.
    GapAboveLimitMs,
    /// The longest gap of a partition that stays, ours in milliseconds; at most.
    StayingGapMs,
    /// Stores restored from nothing, ours; at most.
    FromZero,
}

impl Goal {
    pub(crate) const fn throughput(must: f64, stretch: f64) -> Self {
        Goal { figure: Figure::Throughput, must, stretch: Some(stretch) }
    }

    pub(crate) const fn cpu(must: f64) -> Self {
        Self::of(Figure::Cpu, must)
    }

    pub(crate) const fn cpu_of_limit(must: f64) -> Self {
        Self::of(Figure::CpuOfLimit, must)
    }

    pub(crate) const fn throughput_of_limit(must: f64) -> Self {
        Self::of(Figure::ThroughputOfLimit, must)
    }

    pub(crate) const fn rss(must: f64) -> Self {
        Self::of(Figure::Rss, must)
    }

    pub(crate) const fn of(figure: Figure, must: f64) -> Self {
        Goal { figure, must, stretch: None }
    }

    /// What was reached; `None` where it was not measured, or the rounds lie too far apart.
    pub(crate) fn reached(&self, outcome: &Outcome) -> Option<f64> {
        let ours = &outcome.ours;
        let (peer, limit) = (outcome.peer.as_ref(), outcome.limit.as_ref());
        let median = |spread: Spread| spread.is_tight().then_some(spread.median);
        let gap = |side: &Figures| side.stalls.map(|stalls| stalls.gap_ms.median);
        match self.figure {
            Figure::Throughput => median(outcome.ratio?.throughput),
            Figure::Cpu => median(outcome.ratio?.cpu),
            Figure::Rss => median(outcome.ratio?.rss),
            Figure::CpuOfLimit => median(outcome.cpu_of_limit?),
            Figure::ThroughputOfLimit => median(outcome.throughput_of_limit?),
            Figure::P50 => Some(ours.p50_ms? / peer?.p50_ms?),
            Figure::P99 => Some(ours.p99_ms? / peer?.p99_ms?),
            Figure::P999 => Some(ours.p999_ms? / peer?.p999_ms?),
            Figure::P50AboveLimitMs => Some(ours.p50_ms? - limit?.p50_ms?),
            Figure::P50Micros => Some(ours.p50_ms? * 1e3),
            Figure::P99Micros => Some(ours.p99_ms? * 1e3),
            Figure::Start => Some((ours.start_ms? - limit?.start_ms?) / (peer?.start_ms? - limit?.start_ms?)),
            Figure::StartMs => Some(ours.start_ms? - limit?.start_ms?),
            Figure::IdleCpuPercent => ours.idle_cpu_percent,
            Figure::StoreStallMs => ours.store_stall_ms,
            Figure::RssOfBudget => ours.rss_of_budget,
            Figure::ReopenMs => ours.reopen_ms,
            Figure::Gap => Some(gap(ours)? / gap(peer?)?),
            Figure::GapMs => gap(ours),
            Figure::GapAboveLimitMs => Some(gap(ours)? - gap(limit?)?),
            Figure::StayingGapMs => ours.stalls?.staying_gap_ms,
            Figure::FromZero => Some(ours.stalls?.from_zero),
        }
    }

    pub(crate) fn is_met_by(&self, reached: f64) -> bool {
        match self.figure {
            Figure::Throughput | Figure::ThroughputOfLimit => reached >= self.must,
            Figure::IdleCpuPercent => reached < self.must,
            _ => reached <= self.must,
        }
    }
}

/// What was measured with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Versions {
    pub(crate) millstream: String,
    pub(crate) kafka_streams: String,
    pub(crate) librdkafka: String,
}

impl Versions {
    fn current() -> Self {
        Versions {
            millstream: env!("CARGO_PKG_VERSION").to_owned(),
            kafka_streams: "4.3.1".to_owned(),
            librdkafka: rdkafka::util::get_rdkafka_version().1,
        }
    }
}

impl Outcome {
    pub(crate) fn new(row: &dyn Row, settings: Column, pairs: usize) -> Self {
        Outcome {
            workload: row.name(),
            title: row.title(),
            settings,
            ours: Figures::default(),
            peer: None,
            limit: None,
            ratio: None,
            cpu_of_limit: None,
            throughput_of_limit: None,
            outputs_agree: true,
            pairs,
            versions: Versions::current(),
            goals: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// What was noticed of instances that came and went, and on which side. Ours and the limit have one protocol, so they are
    /// left out beside Kafka Streams' other one.
    pub(crate) fn stalls(&self) -> Vec<(String, Stalls)> {
        let is_once = self.settings != Column::StreamsGroup;
        let sides = [
            ("ours".to_owned(), Some(&self.ours).filter(|_| is_once)),
            (format!("Kafka Streams, {}", self.settings.name()), self.peer.as_ref()),
            ("limit".to_owned(), self.limit.as_ref().filter(|_| is_once)),
        ];
        sides.into_iter().filter_map(|(side, figures)| Some((side, figures?.stalls?))).collect()
    }
}

/// The rows of `latest.json`: those of earlier runs, replaced one by one by those that are measured now.
pub(crate) struct Results {
    outcomes: Vec<Outcome>,
    /// The names of the rows, in the order in which they are shown.
    order: Vec<String>,
}

impl Results {
    const FILE: &str = "latest.json";

    pub(crate) fn read(folder: &Path, order: Vec<String>) -> Result<Self> {
        let path = folder.join(Self::FILE);
        if !path.exists() {
            return Ok(Results { outcomes: Vec::new(), order });
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let outcomes = serde_json::from_str(&text).with_context(|| {
            format!("{} is of another version of this program; remove it", path.display())
        })?;
        Ok(Results { outcomes, order })
    }

    pub(crate) fn put(&mut self, outcome: Outcome) {
        let is_same =
            |found: &&mut Outcome| found.workload == outcome.workload && found.settings == outcome.settings;
        match self.outcomes.iter_mut().find(is_same) {
            Some(found) => *found = outcome,
            None => self.outcomes.push(outcome),
        }
        // Stable, so that the columns of a row stay as they came.
        let order = &self.order;
        self.outcomes.sort_by_key(|outcome| order.iter().position(|name| *name == outcome.workload));
    }

    pub(crate) fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// Writes `latest.json`, `latest.md` and the plots.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::write(folder.join(Self::FILE), serde_json::to_string_pretty(&self.outcomes)? + "\n")?;
        fs::write(folder.join("latest.md"), markdown::tables(&self.outcomes))?;
        plot::write_all(&self.outcomes, folder)
    }
}

/// What both sides have in common, and what not.
pub(crate) fn fairness_sheet(has_peer: bool) -> String {
    let Versions { millstream, kafka_streams, librdkafka } = Versions::current();
    let peer = match has_peer {
        true => format!("Kafka Streams {kafka_streams}"),
        false => "not compared: no JVM or Maven".to_owned(),
    };
    format!(
        "ours: millstream {millstream} on librdkafka {librdkafka}; peer: {peer}; limit: bare librdkafka, bare RocksDB\n\
         same broker process, topics, partitions (4), records, serdes (bytes, long) and stream threads (1); replication 1;\n\
         acks=all, idempotence and CRC checks on both sides; no compression; at-least-once; group protocol classic unless the row says streams\n\
         ours and the limit allocate with jemalloc, as the guide advises; what Kafka Streams allocates beside its heap is the C library's\n\
         matched: commit 1 s, linger 100 ms, batches 256 KiB, fetches 1 MiB, 1,000 records a poll, JVM -Xms2g -Xmx2g with G1\n\
         defaults: each side as shipped, the JVM with the heap it takes\n\
         every update emitted: record cache 0 there, without_caching() here; newest at commit: 64 MiB there, ours sized by state_memory\n\
         windowed counts, stream-join: a hundred records a millisecond of event time, one in twenty up to half a second late; grace 1 s\n\
         windowed-count-final, count-cached: ours commits every 200 ms, stream-join, foreign-key-join, nexmark: every 500 ms, so that both have about as many commits a record\n\
         nexmark: JSON by serde_json here, by Jackson there; where there are topics in between, a run ends when all of them are read\n\
         failover, rolling: 8 partitions, 8,000 records/s after 1 M keys that were counted once, commit 1 s, linger 5 ms, every update emitted, JVMs of 1 GiB;\n\
         a death is detected after 3 s on all sides (session.timeout.ms; of the group under the streams protocol), heartbeats every 100 ms;\n\
         the streams protocol shares out anew once a second at most (its default); who is stopped leaves the group on all sides\n\
         count-10x-cache: 16 MiB for all state on both sides (rocksdb.config.setter there, state_memory here)\n\
         measured over the second half of each run, where there are topics in between over all of it; Kafka Streams' runs of a row share a JVM, which has read the whole input once before:\n\
         where its outputs, or the newest at commit, are counted, it is measured for 3 s past the first tenth of its input; CPU is user and system time of the whole process\n\
         a figure is a median of rounds, given where the middle half of the rounds lies within a quarter of it"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reaches_the_bound_has_met_the_goal_unless_it_is_to_stay_below() {
        let is_met_at_the_bound = |figure| Goal::of(figure, 1.0).is_met_by(1.0);
        assert!(is_met_at_the_bound(Figure::Throughput));
        assert!(is_met_at_the_bound(Figure::Cpu));
        assert!(!is_met_at_the_bound(Figure::IdleCpuPercent));
    }
}
