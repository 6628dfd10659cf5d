//! The rows of the result, a file each: what is run, on which input, what is to be reached.

mod commit_stall;
mod count;
mod decode;
mod exactly_once;
mod failover;
mod filter_map;
mod foreign_key_join;
mod idle;
mod join;
mod latency;
mod measured;
pub(crate) mod nexmark;
mod pass;
mod query;
mod reopen;
mod repartition;
mod restore;
mod rolling;
mod scale;
mod start;
mod state_memory;
mod stream_join;
mod throughput;
mod windowed_count;

use anyhow::{Result, bail};
use clap::ValueEnum;
use millstream::prelude::*;
use millstream_integration_tests::kafka::ClusterClient;

use crate::bench::{Bench, KEEP_ALL};
use crate::child::OneRun;
use crate::report::Outcome;
use crate::sides::run_member;

pub(crate) use self::reopen::Fill;

/// The store that counts are kept in, on every side.
pub(crate) const COUNTS: StoreName<Vec<u8>, u64> = StoreName::new("counts");

/// A row of the result.
pub(crate) trait Row {
    /// What `--only` takes, and what the result calls it.
    fn name(&self) -> String;

    /// What it is about, in a sentence.
    fn title(&self) -> String;

    /// Whether it is one of the few that a look in three minutes has time for.
    fn is_in_quick_look(&self) -> bool;

    /// Whether it is measured although nobody asks for it by name.
    fn is_in_full_look(&self) -> bool {
        true
    }

    /// Runs all sides. One outcome for each column of settings.
    ///
    /// # Errors
    /// If a side fails, or the outputs of the sides differ.
    fn measure(&self, bench: &mut Bench) -> Result<Vec<Outcome>>;
}

/// Every row, in the order of the result.
pub(crate) fn all() -> Vec<Box<dyn Row>> {
    let mut rows: Vec<Box<dyn Row>> = Vec::new();
    let mut add = |throughput: Vec<throughput::Throughput>| {
        rows.extend(throughput.into_iter().map(|row| Box::new(row) as Box<dyn Row>));
    };
    add(pass::rows());
    add(filter_map::rows());
    add(count::rows());
    add(decode::rows());
    add(join::rows());
    add(repartition::rows());
    add(windowed_count::rows());
    add(stream_join::rows());
    add(foreign_key_join::rows());
    add(nexmark::rows());
    rows.extend(restore::rows());
    rows.extend(exactly_once::rows());
    rows.extend(latency::rows());
    rows.push(Box::new(query::Queries));
    rows.push(Box::new(start::Start));
    rows.push(Box::new(idle::Idle));
    rows.push(Box::new(commit_stall::CommitStall));
    rows.push(Box::new(state_memory::StateMemory));
    rows.push(Box::new(reopen::Reopen));
    rows.extend(scale::rows());
    rows.extend(failover::rows());
    rows.extend(rolling::rows());
    rows
}

/// A topology that every side knows. Kafka Streams' are in `java/Bench.java`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    Pass,
    FilterMap,
    Count,
    DecodeJson,
    DecodeJsonBorrowed,
    DecodeAvro,
    DecodeProtobuf,
    Join,
    Repartition,
    WindowedCount,
    HoppingCount,
    FinalCount,
    StreamJoin,
    ForeignKeyJoin,
    NexmarkQ1,
    NexmarkQ2,
    NexmarkQ3,
    NexmarkQ4,
    NexmarkQ5,
    NexmarkQ6,
    NexmarkQ7,
    NexmarkQ8,
    Restore,
    Start,
    /// The count of a group of instances, some of which come and go.
    Group,
}

impl Workload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Workload::Pass => "pass",
            Workload::FilterMap => "filter-map",
            Workload::Count => "count",
            Workload::DecodeJson => "decode-json",
            Workload::DecodeJsonBorrowed => "decode-json-borrowed",
            Workload::DecodeAvro => "decode-avro",
            Workload::DecodeProtobuf => "decode-protobuf",
            Workload::Join => "join",
            Workload::Repartition => "repartition",
            Workload::WindowedCount => "windowed-count",
            Workload::HoppingCount => "hopping-count",
            Workload::FinalCount => "final-count",
            Workload::StreamJoin => "stream-join",
            Workload::ForeignKeyJoin => "foreign-key-join",
            Workload::NexmarkQ1 => "nexmark-q1",
            Workload::NexmarkQ2 => "nexmark-q2",
            Workload::NexmarkQ3 => "nexmark-q3",
            Workload::NexmarkQ4 => "nexmark-q4",
            Workload::NexmarkQ5 => "nexmark-q5",
            Workload::NexmarkQ6 => "nexmark-q6",
            Workload::NexmarkQ7 => "nexmark-q7",
            Workload::NexmarkQ8 => "nexmark-q8",
            Workload::Restore => "restore",
            Workload::Start => "start",
            Workload::Group => "group",
        }
    }

    pub(crate) fn topology(self, run: &OneRun) -> Result<Topology> {
        let builder = StreamsBuilder::new();
        match self {
            Workload::Pass | Workload::Start => pass::topology(&builder, run),
            Workload::FilterMap => filter_map::topology(&builder, run),
            Workload::Count | Workload::Restore | Workload::Group => count::topology(&builder, run),
            Workload::DecodeJson
            | Workload::DecodeJsonBorrowed
            | Workload::DecodeAvro
            | Workload::DecodeProtobuf => decode::topology(&builder, run),
            Workload::Join => join::topology(&builder, run)?,
            Workload::Repartition => repartition::topology(&builder, run),
            Workload::WindowedCount | Workload::HoppingCount | Workload::FinalCount => {
                windowed_count::topology(&builder, run);
            }
            Workload::StreamJoin => stream_join::topology(&builder, run)?,
            Workload::ForeignKeyJoin => foreign_key_join::topology(&builder, run)?,
            _ => nexmark::topology(&builder, run),
        }
        Ok(builder.build()?)
    }

    pub(crate) fn limit(self, run: &OneRun) -> Result<()> {
        match self {
            Workload::Pass => pass::limit(run),
            Workload::FilterMap => filter_map::limit(run),
            Workload::Count => count::limit(run),
            Workload::Join => join::limit(run),
            Workload::Repartition => repartition::limit(run),
            Workload::NexmarkQ1 | Workload::NexmarkQ2 => nexmark::limit(run),
            Workload::Restore => restore::limit(run),
            Workload::Start => start::limit(run),
            Workload::Group => run_member(run),
            _ => bail!("the workload {} has no raw limit", self.name()),
        }
    }

    /// How its output topic is set up.
    pub(crate) fn output_config(self) -> &'static [(&'static str, &'static str)] {
        match self {
            // The time at which a record came out, by the clock of the broker.
            Workload::Group => &[("message.timestamp.type", "LogAppendTime")],
            _ => &KEEP_ALL,
        }
    }
}

/// The second topic of a join.
fn other_input(run: &OneRun) -> Result<&str> {
    let Some(other) = &run.other_input else {
        bail!("the workload {} needs --other-input", run.workload.name())
    };
    Ok(other)
}

/// The left value, its beginning replaced by the right one.
fn joined(left: &[u8], right: &[u8]) -> Vec<u8> {
    let mut joined = left.to_vec();
    joined[..right.len()].copy_from_slice(right);
    joined
}

/// What `map` makes of a value, and `select_key` of a key: the same bytes from the end.
fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

/// A topic of the raw limit's own, beside the run's output.
fn create_topic(run: &OneRun, topic: &str) -> Result<()> {
    let kafka = ClusterClient::new(&run.bootstrap_servers)?;
    kafka.create_topic(topic, usize::try_from(run.partitions)?, &KEEP_ALL)
}
