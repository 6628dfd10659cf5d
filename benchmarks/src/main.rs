//! Measures millstream against Kafka Streams and against the raw limit (bare librdkafka, bare RocksDB), on the same Apache Kafka
//! and the same topics.
//!
//! Each run is a process of its own and the sides alternate. What is compared is the ratio pair by pair: of the throughput,
//! and of the CPU time per record, which does not depend on how busy the machine is. Every row is a file in `rows/`.

mod auction_site;
mod bench;
mod child;
mod clock;
mod gaps;
mod input;
mod instances;
mod load;
mod machine;
mod report;
mod rows;
mod settings;
mod sides;
mod stats;
mod watch;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use tikv_jemallocator::Jemalloc;

use crate::bench::Bench;
use crate::child::OneRun;
use crate::rows::{Fill, Row};

/// Of ours and of the limit, as the guide advises (`docs/guide/first-topology.md`).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Benchmarks of millstream against Kafka Streams and the raw limit.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    run: Option<Run>,
    /// A few rows with a tenth of the records and one round each: a look in under three minutes, not a measurement.
    #[arg(long)]
    quick: bool,
    /// Rounds in which every side runs once; ratios are taken round by round.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Only the rows whose name begins with one of these; `--list` shows the names.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Lists the rows.
    #[arg(long)]
    list: bool,
    /// Folder for `latest.json`, `latest.md` and the plots. Rows that are not measured keep what is there.
    #[arg(long, default_value = "benchmarks/results")]
    results: PathBuf,
}

/// What runs in a process of its own; used by the program itself.
#[derive(Subcommand)]
enum Run {
    /// One run of one side.
    #[command(hide = true)]
    One(OneRun),
    /// The writer of a store that is to be killed.
    #[command(hide = true)]
    Fill(Fill),
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match &arguments.run {
        Some(Run::One(run)) => return sides::run(run),
        Some(Run::Fill(fill)) => return fill.run(),
        None => {}
    }
    let is_chosen = |row: &dyn Row| match arguments.only.as_slice() {
        [] if arguments.quick => row.is_in_quick_look(),
        [] => arguments.list || row.is_in_full_look(),
        only => only.iter().any(|prefix| row.name().starts_with(prefix.as_str())),
    };
    let all = rows::all();
    let order = all.iter().map(|row| row.name()).collect();
    let rows: Vec<_> = all.into_iter().filter(|row| is_chosen(&**row)).collect();
    ensure!(!rows.is_empty(), "no row's name begins with {:?}; --list shows the names", arguments.only);
    if arguments.list {
        let width = rows.iter().map(|row| row.name().len()).max().unwrap_or(0);
        rows.iter().for_each(|row| println!("{:<width$}  {}", row.name(), row.title()));
        return Ok(());
    }
    ensure!(arguments.pairs > 0, "--pairs must be at least 1");
    let pairs = if arguments.quick { 1 } else { arguments.pairs };
    let mut bench = Bench::start(pairs, arguments.quick, rows.len())?;
    println!("{}", report::fairness_sheet(bench.has_peer()));
    let mut results = report::Results::read(&arguments.results, order)?;
    let mut failed = Vec::new();
    let clock = clock::clock();
    let start = clock.monotonic();
    for row in rows {
        let row_start = clock.monotonic();
        bench.begin_row(&row.name());
        match row.measure(&mut bench) {
            Ok(outcomes) => {
                for outcome in outcomes {
                    bench.say(&report::markdown::line(&outcome));
                    results.put(outcome);
                }
                results.write(&arguments.results)?;
            }
            Err(error) => {
                bench.say(&format!("{} FAILED: {error:#}", row.name()));
                failed.push(row.name());
            }
        }
        bench.end_row();
        let took = clock.monotonic().saturating_sub(row_start);
        bench.say(&format!("{} took {:.0} s", row.name(), took.as_secs_f64()));
    }
    println!("{}", report::markdown::tables(results.outcomes()));
    let minutes = clock.monotonic().saturating_sub(start).as_secs_f64() / 60.0;
    println!("written to {} after {minutes:.1} minutes", arguments.results.display());
    ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
    Ok(())
}
