//! Which Kafka, and how to reach it. Says the same as the environment of an application.

use std::path::PathBuf;

use clap::Args;
use millstream::{Error, Result, Settings};

/// A Kafka cluster.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClusterArguments {
    /// Brokers, as host:port,host:port
    #[arg(long, value_name = "SERVERS", env = "MILLSTREAM_BOOTSTRAP_SERVERS")]
    bootstrap_servers: String,
    /// A property of librdkafka, such as security.protocol=ssl; may be repeated. The environment's MILLSTREAM_KAFKA_.. hold, too
    #[arg(long = "property", value_name = "NAME=VALUE")]
    properties: Vec<String>,
}

impl ClusterArguments {
    pub(crate) fn settings(&self) -> Result<Settings> {
        let brokers = ("MILLSTREAM_BOOTSTRAP_SERVERS".to_owned(), self.bootstrap_servers.clone());
        let mut settings = Settings::from_variables(std::env::vars().chain([brokers]))?;
        for property in &self.properties {
            let Some((name, value)) = property.split_once('=') else {
                return Err(Error::invalid(format!("--property {property}: write name=value")));
            };
            settings.kafka_properties.insert(name.to_owned(), value.to_owned());
        }
        // Somebody is waiting, and a wrong address is likelier than a slow cluster.
        settings.request_timeout = std::time::Duration::from_secs(10);
        Ok(settings)
    }
}

/// Where local state lies.
#[derive(Clone, Debug, Args)]
pub(crate) struct StateDirArgument {
    /// The folder of local state, as in the settings of the application; by default below the system's temporary folder
    #[arg(long, global = true, value_name = "FOLDER", env = "MILLSTREAM_STATE_DIR")]
    state_dir: Option<PathBuf>,
}

impl StateDirArgument {
    pub(crate) fn path(&self) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(|| Settings::new("").state_dir)
    }
}
