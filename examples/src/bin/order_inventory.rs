//! Runs the order and inventory example; `--help` tells how.

use std::io::{IsTerminal, stderr, stdout};
use std::process::ExitCode;

use clap::Parser;
use millstream_examples::order_inventory::arguments::Arguments;
use millstream_examples::order_inventory::run::run;
use tikv_jemallocator::Jemalloc;
use tracing_subscriber::EnvFilter;

// Kafka's client frees on one thread what it allocated on another, which this allocator is better at than most systems' own.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Warnings would tear the live table apart; it shows what they are about in its last line.
    let least = if stdout().is_terminal() { "error" } else { "warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new(least));
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    log.with_ansi(stderr().is_terminal()).with_writer(stderr).init();
    match run(&arguments) {
        Ok(outcome) => outcome.exit_code(),
        Err(error) => {
            eprintln!("order_inventory: {error:#}");
            ExitCode::from(2)
        }
    }
}
