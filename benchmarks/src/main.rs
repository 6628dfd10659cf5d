//! Measures millstream against the raw limit, bare librdkafka doing the same to the same topics, on a real Apache Kafka.
//!
//! Each run is a process of its own, the two sides alternate, and what is compared is the CPU time per record: it does not
//! depend on how busy the machine is. The outputs of both sides are counted; a run whose outputs are wrong is an error.

mod limit;
mod load;
mod measure;
mod ours;
mod report;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use millstream_integration_tests::kafka::RealKafka;
use serde::{Deserialize, Serialize};

/// Benchmarks of millstream.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    run: Option<Run>,
    /// Records in the input topic.
    #[arg(long, default_value_t = 3_000_000)]
    records: u64,
    /// Distinct keys.
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Pairs of runs, ours and the limit in turn.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Only these workloads.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Workload>,
}

/// One run of one side, in a process of its own; used by the program itself.
#[derive(Subcommand)]
enum Run {
    #[command(hide = true)]
    One(OneRun),
}

/// What one run does.
#[derive(clap::Args, Clone, Debug)]
struct OneRun {
    #[arg(long)]
    side: Side,
    #[arg(long)]
    workload: Workload,
    #[arg(long)]
    bootstrap_servers: String,
    #[arg(long)]
    input: String,
    #[arg(long)]
    output: String,
    #[arg(long)]
    records: u64,
    /// Unique name of the run: application id, group, changelog.
    #[arg(long)]
    id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
enum Side {
    Ours,
    Limit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
enum Workload {
    /// Every record from one topic to another.
    Pass,
    /// A count by key, every update emitted and logged.
    Count,
}

/// What a run measured, as its process prints it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Measured {
    records_per_second: f64,
    cpu_nanoseconds_per_record: f64,
    resident_megabytes: f64,
}

const PARTITIONS: i32 = 4;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(Run::One(run)) = &arguments.run {
        let measured = match run.side {
            Side::Ours => ours::run(run)?,
            Side::Limit => limit::run(run)?,
        };
        println!("{}", serde_json::to_string(&measured)?);
        return Ok(());
    }
    ensure!(arguments.pairs > 0, "--pairs must be at least 1");
    let workloads = if arguments.only.is_empty() {
        vec![Workload::Pass, Workload::Count]
    } else {
        arguments.only.clone()
    };
    let kafka = RealKafka::shared()?;
    let input = millstream_integration_tests::kafka::unique_name("bench-input");
    kafka.create_topic(&input, PARTITIONS as usize, &[])?;
    load::fill(kafka.bootstrap_servers(), &input, arguments.records, arguments.keys)?;

    let bar = ProgressBar::new((workloads.len() * arguments.pairs * 2) as u64);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} runs, {eta} left: {msg}")?);
    let mut rows = Vec::new();
    for workload in workloads {
        let mut pairs = Vec::new();
        for _ in 0..arguments.pairs {
            let mut measured = [Side::Ours, Side::Limit].into_iter().map(|side| {
                bar.set_message(format!("{workload:?} {side:?}"));
                let measured = one_run(kafka, side, workload, &input, arguments.records);
                bar.inc(1);
                measured
            });
            let mut next = || measured.next().context("there are two sides")?;
            pairs.push((next()?, next()?));
        }
        rows.push(report::Row { workload, pairs });
    }
    bar.finish_and_clear();
    print!("{}", report::table(&rows));
    Ok(())
}

/// Runs one side in a process of its own and checks its output.
fn one_run(kafka: &RealKafka, side: Side, workload: Workload, input: &str, records: u64) -> Result<Measured> {
    let id = millstream_integration_tests::kafka::unique_name("bench");
    let output = format!("{id}-output");
    kafka.create_topic(&output, PARTITIONS as usize, &[])?;
    let name = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
    let child = std::process::Command::new(std::env::current_exe()?)
        .args(["one", "--side", &name(&side), "--workload", &name(&workload)])
        .args(["--bootstrap-servers", kafka.bootstrap_servers(), "--input", input, "--output", &output])
        .args(["--records", &records.to_string(), "--id", &id])
        .stderr(std::process::Stdio::inherit())
        .output()?;
    ensure!(child.status.success(), "{side:?} {workload:?} ended with {}", child.status);
    let produced: i64 = kafka.end_offsets(&output)?.values().sum();
    ensure!(
        produced == i64::try_from(records)?,
        "{side:?} {workload:?} wrote {produced} records instead of {records}"
    );
    kafka.delete_topic(&output)?;
    Ok(serde_json::from_slice(&child.stdout)?)
}
