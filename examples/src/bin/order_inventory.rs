//! Runs the order and inventory example; `--help` tells how.

use std::process::ExitCode;

use clap::Parser;
use millstream_examples::order_inventory::arguments::Arguments;
use millstream_examples::order_inventory::run::run;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(&arguments) {
        Ok(outcome) => outcome.exit_code(),
        Err(error) => {
            eprintln!("order_inventory: {error:#}");
            ExitCode::from(2)
        }
    }
}
