//! The comparison with Kafka Streams by hand: `make oracle`, with arguments in `ARGS`. Ends with the line `N cases agree, 0 differ` and exit
//! code 0, or shows the smallest case that differs, with what both sides made of it, and 1.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use millstream_integration_tests::oracle::{
    KafkaStreams, cases_in, random_case, report, run, smallest, written_cases,
};

/// Runs the same programs with the same records through millstream and through Kafka Streams, and compares all that comes out.
#[derive(Parser)]
struct Arguments {
    /// How many random cases, beside those in integration-tests/oracle/cases
    #[arg(long, default_value_t = 500)]
    cases: u64,
    /// Where chance begins; the same seed is the same cases
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the cases of this file
    #[arg(long)]
    file: Option<PathBuf>,
    /// Only the random case of this number
    #[arg(long)]
    number: Option<u64>,
    /// How many of the cases that differ are shown, the smallest first
    #[arg(long, default_value_t = 1)]
    show: usize,
}

fn main() -> Result<ExitCode> {
    let Arguments { cases, seed, file, number, show } = Arguments::parse();
    let (chosen, numbers) = match (file, number) {
        (Some(file), _) => (cases_in(&file)?, 0..0),
        (None, Some(number)) => (Vec::new(), number..number + 1),
        (None, None) => (written_cases()?, 0..cases),
    };
    let bar = ProgressBar::new(chosen.len() as u64 + numbers.end - numbers.start);
    bar.set_style(ProgressStyle::with_template("{pos}/{len} {wide_bar} {elapsed_precise} {msg}")?);
    bar.enable_steady_tick(Duration::from_millis(250));
    let mut kafka_streams = KafkaStreams::start()?;
    let all = chosen.into_iter().chain(numbers.map(|number| random_case(seed, number)));
    let tally = run(all, &mut kafka_streams, &mut |tally| {
        bar.inc(1);
        bar.set_message(format!("{} differ", tally.differ.len() + tally.unproven.len()));
    })?;
    bar.finish_and_clear();
    for case in tally.smallest_first() {
        println!("differs: {}", case.name);
    }
    for case in tally.smallest_first().into_iter().take(show) {
        let (case, differences) = smallest(case, &mut kafka_streams)?;
        println!("{}", report(&case, &differences));
    }
    for wrong in &tally.unproven {
        println!("{wrong}\n");
    }
    println!("{}", tally.details());
    println!("{}", tally.summary());
    Ok(if tally.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
