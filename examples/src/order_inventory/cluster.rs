//! The Kafka a run uses: the user's, or an embedded one. The rest of the program does not see the difference.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream::handlers::{Handlers, Reaction};
use millstream::kafka::{ClusterAdmin, KafkaAdmin, NewTopic};
use millstream::testing::EmbeddedKafka;
use millstream::{Result, Settings};
use tempfile::TempDir;

use super::arguments::Arguments;
use super::topics::Topics;

/// A cluster with the program's topics, and how to run on it.
pub struct Cluster {
    /// How the application runs.
    pub settings: Settings,
    /// Who makes topics.
    pub admin: Arc<dyn ClusterAdmin>,
    /// Put before the numbers of orders, so that they differ from those of earlier runs.
    pub order_prefix: String,
    /// Removed at the end, because the topics it belongs to are gone then.
    _state_of_this_run: Option<TempDir>,
}

impl Cluster {
    /// Starts or reaches it, and makes the topics that are missing.
    ///
    /// # Errors
    /// `Retry` if it cannot be reached, `Invalid` if it refuses a topic, `Fatal` if the embedded one cannot be started.
    pub fn prepare(arguments: &Arguments, topics: &Topics, run_name: &str) -> Result<Self> {
        let cluster = match &arguments.bootstrap_servers {
            Some(servers) => Cluster::of_user(servers, arguments, run_name)?,
            None => Cluster::embedded(arguments)?,
        };
        let names = topics.all().map(str::to_string);
        let existing = cluster.admin.partition_counts(&names)?;
        for name in names.into_iter().filter(|name| !existing.contains_key(name)) {
            let partitions = i32::from(arguments.partitions);
            cluster.admin.create_topic(&NewTopic { name, partitions, config: BTreeMap::new() })?;
        }
        Ok(cluster)
    }

    fn of_user(servers: &str, arguments: &Arguments, run_name: &str) -> Result<Self> {
        let mut settings = common(Settings::new(servers), arguments);
        if let Some(folder) = &arguments.state_dir {
            settings.state_dir.clone_from(folder);
        }
        // At the start somebody is waiting, and a wrong address is likelier than a slow cluster.
        let impatient = Settings { request_timeout: Duration::from_secs(10), ..settings.clone() };
        let admin = KafkaAdmin::new(&impatient, &format!("{}-topics", arguments.application_id))?;
        Ok(Cluster {
            settings,
            admin: Arc::new(admin),
            order_prefix: format!("order-{run_name}-"),
            _state_of_this_run: None,
        })
    }

    fn embedded(arguments: &Arguments) -> Result<Self> {
        let kafka = Arc::new(EmbeddedKafka::start(1)?);
        let mut settings = common(kafka.settings(), arguments);
        let folder = match &arguments.state_dir {
            Some(_) => None,
            None => Some(TempDir::with_prefix("order-inventory-").map_err(|error| {
                millstream::Error::invalid(
                    "cannot make a temporary folder for state: name one with --state-dir",
                )
                .with_source(error)
            })?),
        };
        if let Some(path) = folder.as_ref().map(TempDir::path).or(arguments.state_dir.as_deref()) {
            settings.state_dir = path.to_path_buf();
        }
        Ok(Cluster { settings, admin: kafka, order_prefix: "order-".into(), _state_of_this_run: folder })
    }
}

fn common(mut settings: Settings, arguments: &Arguments) -> Settings {
    settings.num_stream_threads = usize::from(arguments.threads);
    settings.commit_interval = Some(arguments.commit_interval());
    settings.session_timeout = Duration::from_millis(arguments.session_timeout_ms);
    settings.group_protocol = arguments.group_protocol.unwrap_or(settings.group_protocol);
    settings.group_instance_id.clone_from(&arguments.group_instance_id);
    settings.http_address = arguments.http_address();
    // A record that cannot be read is kept where somebody can look at it, and the rest goes on.
    settings.handlers = Handlers { decode: Arc::new(Reaction::DeadLetter), ..Handlers::default() };
    settings
}
