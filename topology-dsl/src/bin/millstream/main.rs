//! The command line of millstream: resets applications, looks at running ones, tidies their state directories, checks schemas, and puts dead
//! letters back.

mod cluster;
mod dead_letters;
mod instance;
mod lag;
mod output;
mod query;
mod reset;
mod schema;
mod state;
mod time;
mod topology;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use millstream::Result;

use crate::output::Output;

/// Looks at millstream applications, resets them, and tidies up after them.
#[derive(Debug, Parser)]
#[command(name = "millstream", version, arg_required_else_help = true)]
#[command(after_help = "\
Exit codes:
  0  done, or there was nothing to do
  1  it could not be done; why is on stderr
  2  the arguments are wrong
  3  not confirmed: nothing was changed")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Reset(reset::Reset),
    Topology(topology::Topology),
    Query(query::Query),
    Lag(lag::Lag),
    State(state::State),
    Schema(schema::Schema),
    DeadLetters(dead_letters::DeadLetters),
    /// Print the completions for a shell, such as: millstream completions bash > /etc/bash_completion.d/millstream
    Completions {
        /// For this shell
        shell: Shell,
    },
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Done,
    NotConfirmed,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output { json: arguments.json };
    match run(arguments.command, output) {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::NotConfirmed) => ExitCode::from(3),
        Err(error) => {
            eprintln!("millstream: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, output: Output) -> Result<Ended> {
    match command {
        Command::Reset(reset) => reset.run(output),
        Command::Topology(topology) => topology.run(output),
        Command::Query(query) => query.run(output),
        Command::Lag(lag) => lag.run(output),
        Command::State(state) => state.run(output),
        Command::Schema(schema) => schema.run(output),
        Command::DeadLetters(dead_letters) => dead_letters.run(output),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "millstream", &mut std::io::stdout());
            Ok(Ended::Done)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_make_sense() {
        Arguments::command().debug_assert();
    }
}
