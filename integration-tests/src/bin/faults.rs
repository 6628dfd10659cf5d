//! The fault suite by hand: `make faults`, with arguments in `ARGS`. Ends with the line
//! `N faults, 0 lost, 0 duplicated, 0 diverged` and exit code 0, or names each violation, with the command that replays it, and 1.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use millstream_integration_tests::faults::{FaultKind, Guarantee, Options, Program, Progress, run};

/// Runs applications under load on a cluster of Apache Kafka, hurts them, and compares what they wrote with a recount of their input.
#[derive(Parser)]
struct Arguments {
    /// How many faults
    #[arg(long, default_value_t = 50)]
    faults: usize,
    /// Where chance begins; the same seed is the same schedule
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What the applications promise
    #[arg(long, value_enum, default_value_t = Guarantee::ExactlyOnce)]
    guarantee: Guarantee,
    /// What they are held to; by default what they promise
    #[arg(long, value_enum)]
    judged_by: Option<Guarantee>,
    /// Only these faults
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<FaultKind>,
    /// Only these programs
    #[arg(long, value_enum, value_delimiter = ',')]
    program: Vec<Program>,
    /// Nodes of the cluster
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// Instances of the application
    #[arg(long, default_value_t = 2)]
    instances: usize,
    /// Records of input a second
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// Keep what the instances said in this folder
    #[arg(long)]
    logs: Option<PathBuf>,
}

/// Clients complain about brokers that are away, which is what the suite does to them.
const QUIET: &str = "warn,rdkafka=off,librdkafka=off";

fn main() -> Result<ExitCode> {
    tracing_subscriber::fmt().with_env_filter(QUIET).with_writer(std::io::stderr).init();
    let options = Arguments::parse().into_options()?;
    let bar = ProgressBar::new(options.faults as u64);
    let style = "{pos}/{len} {wide_bar} {elapsed_precise} {msg}";
    bar.set_style(ProgressStyle::with_template(style)?);
    bar.enable_steady_tick(Duration::from_millis(250));
    say(&bar, &format!("seed {}: starting {} nodes", options.seed, options.nodes));
    let outcome = run(&options, &mut |progress| match progress {
        Progress::Batch { seed, program } => bar.set_message(format!("seed {seed}, {program:?}")),
        Progress::Fault(fault) => {
            say(&bar, &format!("  {fault}"));
            bar.inc(1);
        }
        Progress::Judged(batch) => say(&bar, &options.report(batch)),
    });
    let outcome = outcome.inspect_err(|_| eprintln!("seed {}", options.seed))?;
    let elapsed = bar.elapsed();
    bar.finish_and_clear();
    let kinds: Vec<String> =
        outcome.by_kind().iter().map(|(kind, count)| format!("{count} {kind:?}")).collect();
    println!("{} in {}", kinds.join(", "), HumanDuration(elapsed));
    let (judged, wholly) = outcome.judged();
    println!(
        "{judged} applications looked at for what is lost, {wholly} of them for what comes twice and what diverges, too"
    );
    println!("{}", outcome.summary());
    Ok(if outcome.is_faultless() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

impl Arguments {
    fn into_options(self) -> Result<Options> {
        let possible = FaultKind::possible(self.guarantee, self.nodes);
        let impossible = self.only.iter().find(|kind| !possible.contains(kind));
        ensure!(
            impossible.is_none(),
            "{impossible:?} cannot be had under {:?} with {} nodes",
            self.guarantee,
            self.nodes
        );
        if let Some(logs) = &self.logs {
            std::fs::create_dir_all(logs).with_context(|| format!("cannot create {}", logs.display()))?;
        }
        Ok(Options {
            faults: self.faults,
            seed: self.seed,
            guarantee: self.guarantee,
            judged_by: self.judged_by.unwrap_or(self.guarantee),
            kinds: if self.only.is_empty() { possible } else { self.only },
            programs: if self.program.is_empty() { Program::ALL.to_vec() } else { self.program },
            nodes: self.nodes,
            instances: self.instances,
            rate: self.rate,
            logs: self.logs,
        })
    }
}

/// Above the bar on a terminal, as plain lines elsewhere.
fn say(bar: &ProgressBar, line: &str) {
    if bar.is_hidden() {
        println!("{line}");
    } else {
        bar.println(line);
    }
}
