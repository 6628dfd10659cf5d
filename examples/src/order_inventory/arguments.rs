//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use millstream::GroupProtocol;

use super::format::Format;

/// Orders and stock movements in; stock on hand, order availability and order status out.
///
/// Without --bootstrap-servers a Kafka runs inside the program and is gone with it. Ends on Ctrl-C, or after --events.
#[derive(Clone, Debug, Parser)]
#[command(name = "order_inventory", version)]
#[command(after_help = "\
Exit codes:
  0  ended as asked; with --events: and the view agrees with the recount
  1  the view differs from the recount, and the keys that differ were named
  2  the arguments are wrong, or the program could not start or go on; why is on stderr")]
pub struct Arguments {
    /// A Kafka cluster, as host:port,host:port; without it an embedded one is started
    #[arg(long, value_name = "SERVERS")]
    pub bootstrap_servers: Option<String>,

    /// End after writing this many events, recount the topics and compare; 0 compares what is there already
    #[arg(long, value_name = "N")]
    pub events: Option<u64>,

    /// Events a second; 0 is as fast as the answers come
    #[arg(long, value_name = "R", default_value_t = 100)]
    pub rate: u64,

    /// Where the made-up shop's chances begin
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub seed: u64,

    /// Whether this instance writes events; with false it only shares the work of others (one should write)
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub generate: bool,

    /// Write a record that cannot be read after every N-th event; 0 writes none
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub poison: u64,

    /// Stream threads
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: u16,

    /// Partitions of the topics, where they do not exist yet
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub partitions: u16,

    /// Where to serve queries, topology and metrics; none serves nothing
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub http: String,

    /// Folder of local state; by default below the system's temporary folder, and a fresh one with the embedded Kafka
    #[arg(long, value_name = "FOLDER")]
    pub state_dir: Option<PathBuf>,

    /// Consumer group, and prefix of the program's own topics
    #[arg(long, value_name = "ID", default_value = "order-inventory")]
    pub application_id: String,

    /// Put before the names of the topics, to keep runs apart that share a cluster
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub topic_prefix: String,

    /// Topic of the answers to orders; another one keeps those of a second pass over the same history apart
    #[arg(long, value_name = "TOPIC", default_value = "order-availability")]
    pub answers: String,

    /// How the topics are written. For avro, they must hold no JSON yet
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Json)]
    pub format: Format,

    /// The schema registry of --format avro. A user and password, or a token, come from
    /// MILLSTREAM_SCHEMA_REGISTRY_USER and _PASSWORD, or _TOKEN; certificates of an authority of your own from the file in _CA
    #[arg(long, value_name = "URL", env = "MILLSTREAM_SCHEMA_REGISTRY_URL")]
    pub schema_registry: Option<String>,

    /// Keep one view more: pieces asked for, by sku. Over history that was read without it, after a reset
    #[arg(long)]
    pub demand: bool,

    /// How often results are committed and become visible to queries
    #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    pub commit_interval_ms: u64,

    /// How long a killed instance keeps its share of the work before others get it
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub session_timeout_ms: u64,

    /// How the group moves partitions between instances: classic or consumer (KIP-848, Kafka 4.0 and later) [default: classic; with the embedded
    /// Kafka, consumer]
    #[arg(long, value_name = "PROTOCOL")]
    pub group_protocol: Option<GroupProtocol>,

    /// Makes this instance a static member, whose share of the work waits while it restarts; each has its own
    #[arg(long, value_name = "ID")]
    pub group_instance_id: Option<String>,

    /// Print the result only
    #[arg(long)]
    pub quiet: bool,
}

impl Arguments {
    /// The commit interval.
    pub fn commit_interval(&self) -> Duration {
        Duration::from_millis(self.commit_interval_ms)
    }

    /// Where HTTP listens, if it does.
    pub fn http_address(&self) -> Option<String> {
        (self.http != "none").then(|| self.http.clone())
    }
}
