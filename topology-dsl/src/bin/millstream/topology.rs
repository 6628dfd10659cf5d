//! `millstream topology`

use clap::{Args, ValueEnum};
use millstream::Result;

use crate::Ended;
use crate::instance::InstanceArgument;
use crate::output::Output;

/// Show the program of a running instance
#[derive(Debug, Args)]
pub(crate) struct Topology {
    #[command(flatten)]
    instance: InstanceArgument,
    /// How: as Kafka Streams describes it, for Graphviz, for Mermaid, or as JSON
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Dot,
    Mermaid,
    Json,
}

impl Topology {
    pub(crate) fn run(self, output: Output) -> Result<Ended> {
        let format = match self.format {
            _ if output.json => "json",
            Format::Json => "json",
            Format::Text => "text",
            Format::Dot => "dot",
            Format::Mermaid => "mermaid",
        };
        output.line(&self.instance.get("/topology", &[("format", format.to_owned())])?)?;
        Ok(Ended::Done)
    }
}
