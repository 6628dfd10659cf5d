//! Settings: values a user tunes, with Kafka Streams' names where it has them.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::str::{FromStr, ParseBoolError};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::handlers::Handlers;
use crate::step::StepListener;
use crate::topology::dead_letter_topic;

/// How an application runs. Start from [`Settings::new`] or [`Settings::from_env`] and change fields.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Kafka brokers, `host:port` separated by commas.
    pub bootstrap_servers: String,
    /// Folder of local state; each application and task has its own below it. Keep it between restarts: what is in it need not be restored.
    pub state_dir: PathBuf,
    /// How long the state of a task that runs elsewhere is kept, so that nothing has to be restored if it comes back. Then it is removed.
    pub state_cleanup_delay: Duration,
    /// Stream threads of this instance. Each has a consumer, a producer and its share of the tasks. More than tasks are idle. While the
    /// application runs, [`Streams::add_stream_thread`](crate::Streams::add_stream_thread) makes them more.
    pub num_stream_threads: usize,
    /// What a crash may do to results; see `docs/guide/guarantees.md`.
    pub processing_guarantee: ProcessingGuarantee,
    /// How often outputs, changelogs and input offsets are committed; `None` is one second, or 100 ms under exactly-once. Queries see
    /// committed state, so this is also their delay, and under exactly-once that of whoever reads the outputs;
    /// after a crash, input of at most this span is processed again.
    pub commit_interval: Option<Duration>,
    /// Exactly-once: how long the brokers keep a transaction open for a thread that does not end it. What a process leaves open when it dies
    /// hides what follows it in the output topics for this long, unless the process comes back sooner.
    pub transaction_timeout: Duration,
    /// How often committed state is written to RocksDB with its changelog offset. After a crash, the changelog since the last checkpoint is replayed.
    pub checkpoint_interval: Duration,
    /// Committed bytes of a task's state that may wait for a checkpoint; more makes one at the next commit. So does an eighth of `state_memory`
    /// in the tasks of all stream threads. It is written in the background; the stream thread waits for it only if a quarter is not written.
    pub checkpoint_bytes: usize,
    /// How many other instances keep a copy of each task's state, so that the task can go on there at once (Kafka Streams'
    /// `num.standby.replicas`). `docs/guide/state.md` says which instances, and what it costs.
    pub num_standby_replicas: usize,
    /// Uncommitted bytes of a task's state that make an early commit. So does a quarter of `state_memory` in the tasks of all stream threads.
    pub max_uncommitted_bytes: usize,
    /// Memory for all state of this process, in bytes: rows in write-back caches, rows on their way to Kafka and to RocksDB, RocksDB's block cache.
    /// The allocator and RocksDB's files need some more: see `docs/performance.md`.
    pub state_memory: usize,
    /// Records a task holds for each partition, above which the partition is paused once `input_buffer_max_bytes` are used. When a partition
    /// is paused, the client throws away what it has fetched of it, to fetch it again later.
    pub buffered_records_per_partition: usize,
    /// Bytes of records, estimated, that may wait for their tasks in all stream threads together: how far one input of a join may be fetched ahead of
    /// the other (KIP-770's `input.buffer.max.bytes`). Each partition may have `buffered_records_per_partition` besides.
    pub input_buffer_max_bytes: usize,
    /// How long a task with several inputs waits for a caught-up, empty one before it goes on without it, possibly out of order.
    /// `Some(0)` waits only while the broker is known to have more; `None` never waits (Kafka Streams' -1).
    pub max_task_idle: Option<Duration>,
    /// Where to start in a partition without a committed offset.
    pub offset_reset: OffsetReset,
    /// Replication factor of internal topics; `None` takes the broker's default.
    pub replication_factor: Option<u16>,
    /// How much longer than a window or session store the broker keeps the rows of its changelog (Kafka Streams'
    /// `windowstore.changelog.additional.retention.ms`): brokers go by the clock, stores by event time. It counts when the topic is made.
    pub window_changelog_additional_retention: Duration,
    /// Deadline for each request to the brokers at start, commit and restore.
    pub request_timeout: Duration,
    /// How long a member may be silent before the group gives its partitions away. Under [`GroupProtocol::Consumer`] the group says
    /// (`consumer.session.timeout.ms` of the group, `group.consumer.session.timeout.ms` of the brokers).
    pub session_timeout: Duration,
    /// How the group gives and takes partitions; the same for all instances of an application.
    pub group_protocol: GroupProtocol,
    /// Makes the stream threads static members of the group (KIP-345), each named by this and its number, such as `shop-0-1`. Every instance
    /// has its own. One that comes back within the session finds its tasks, and nobody else notices; one that is gone for good is
    /// noticed only when its session is over, because it does not leave the group when it closes.
    pub group_instance_id: Option<String>,
    /// Whether to refuse programs that keep data under generated names (KIP-1111): when an operator is added to them, it is not found any more.
    /// Without this, building such a program warns.
    pub ensure_explicit_internal_resource_naming: bool,
    /// Topic of dead letters; `None` takes `<application id>-dead-letters`. Made at start if a handler may need it.
    pub dead_letter_topic: Option<String>,
    /// How often an instance looks for topics that match the patterns of its sources, if it has any: those that are created while it runs are
    /// found after this time at most (Kafka's `metadata.max.age.ms`).
    pub metadata_max_age: Duration,
    /// What to do with records that fail.
    pub handlers: Handlers,
    /// Told about each step of commits and checkpoints: for a log of them, and for tests that end the process at one.
    pub on_step: StepListener,
    /// Where the HTTP server listens, such as `127.0.0.1:8080`; `None` starts none.
    pub http_address: Option<String>,
    /// librdkafka properties for all clients, or with the prefix `consumer.`, `restore.consumer.`, `global.consumer.`, `producer.` or `admin.` for one
    /// (the longer prefix wins), such as `security.protocol` or `producer.linger.ms`.
    pub kafka_properties: BTreeMap<String, String>,
}

/// What a crash may do to results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ProcessingGuarantee {
    /// No record is lost. What was processed since the last commit is processed again, so its results may come twice.
    #[default]
    AtLeastOnce,
    /// Results, state and input offsets of a commit become visible together or not at all: one Kafka transaction for each commit of a thread
    /// (Kafka Streams' `exactly_once_v2`, KIP-447). Readers of the outputs must set `isolation.level=read_committed`.
    ExactlyOnce,
}

/// How a group gives partitions to its members and takes them away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GroupProtocol {
    /// At each rebalance all members stop, join again and are given partitions anew, by the assignor `range`. Tasks that stay with their
    /// thread keep their stores open.
    #[default]
    Classic,
    /// The brokers move partitions one by one, and the others go on (KIP-848; Kafka 4.0 and later). They use their assignor `range`.
    Consumer,
}

impl FromStr for GroupProtocol {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name.to_ascii_lowercase().as_str() {
            "classic" => Ok(GroupProtocol::Classic),
            "consumer" => Ok(GroupProtocol::Consumer),
            _ => Err(Error::invalid(format!("{name:?} is no group protocol: choose classic or consumer"))),
        }
    }
}

impl FromStr for ProcessingGuarantee {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "at_least_once" => Ok(ProcessingGuarantee::AtLeastOnce),
            "exactly_once" | "exactly_once_v2" => Ok(ProcessingGuarantee::ExactlyOnce),
            other => Err(Error::invalid(format!(
                "{other:?} is no processing guarantee: choose at_least_once or exactly_once"
            ))),
        }
    }
}

/// Where a source starts in a partition of which the application has no committed offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the oldest record, so that no history is missed.
    #[default]
    Earliest,
    /// After the newest record.
    Latest,
}

impl Settings {
    /// Default settings for these brokers.
    pub fn new(bootstrap_servers: impl Into<String>) -> Self {
        Settings {
            bootstrap_servers: bootstrap_servers.into(),
            state_dir: env::temp_dir().join("millstream"),
            state_cleanup_delay: Duration::from_secs(600),
            num_stream_threads: 1,
            processing_guarantee: ProcessingGuarantee::AtLeastOnce,
            commit_interval: None,
            transaction_timeout: Duration::from_secs(10),
            checkpoint_interval: Duration::from_secs(5),
            checkpoint_bytes: 32 << 20,
            num_standby_replicas: 0,
            max_uncommitted_bytes: 64 << 20,
            state_memory: 256 << 20,
            buffered_records_per_partition: 1000,
            input_buffer_max_bytes: 32 << 20,
            max_task_idle: Some(Duration::ZERO),
            offset_reset: OffsetReset::Earliest,
            replication_factor: None,
            window_changelog_additional_retention: Duration::from_secs(24 * 60 * 60),
            request_timeout: Duration::from_secs(30),
            session_timeout: Duration::from_secs(45),
            group_protocol: GroupProtocol::Classic,
            group_instance_id: None,
            ensure_explicit_internal_resource_naming: false,
            dead_letter_topic: None,
            metadata_max_age: Duration::from_secs(300),
            handlers: Handlers::default(),
            on_step: StepListener::default(),
            http_address: None,
            kafka_properties: BTreeMap::new(),
        }
    }

    /// Settings from environment variables: `MILLSTREAM_BOOTSTRAP_SERVERS` (required), `MILLSTREAM_STATE_DIR`, `MILLSTREAM_STATE_CLEANUP_DELAY_MS`, `MILLSTREAM_NUM_STREAM_THREADS`,
    /// `MILLSTREAM_PROCESSING_GUARANTEE` (`at_least_once` or `exactly_once`), `MILLSTREAM_COMMIT_INTERVAL_MS`, `MILLSTREAM_TRANSACTION_TIMEOUT_MS`, `MILLSTREAM_CHECKPOINT_INTERVAL_MS`, `MILLSTREAM_NUM_STANDBY_REPLICAS`, `MILLSTREAM_STATE_MEMORY` and `MILLSTREAM_INPUT_BUFFER_MAX_BYTES` (bytes), `MILLSTREAM_HTTP_ADDRESS`,
    /// `MILLSTREAM_SESSION_TIMEOUT_MS`, `MILLSTREAM_GROUP_PROTOCOL` (`classic` or `consumer`), `MILLSTREAM_GROUP_INSTANCE_ID`, `MILLSTREAM_DEAD_LETTER_TOPIC`, `MILLSTREAM_METADATA_MAX_AGE_MS`, `MILLSTREAM_ENSURE_EXPLICIT_INTERNAL_RESOURCE_NAMING` (`true` or `false`), and `MILLSTREAM_KAFKA_<PROPERTY>` for librdkafka (`MILLSTREAM_KAFKA_SECURITY_PROTOCOL` is `security.protocol`).
    ///
    /// # Errors
    /// `Invalid`, with the variable, if one is missing or does not parse.
    pub fn from_env() -> Result<Self> {
        Settings::from_variables(env::vars())
    }

    /// As [`Settings::from_env`], from given variables.
    ///
    /// ```
    /// use millstream_processor::Settings;
    ///
    /// let variable = |name: &str, value: &str| (name.to_string(), value.to_string());
    /// let settings = Settings::from_variables([
    ///     variable("MILLSTREAM_BOOTSTRAP_SERVERS", "kafka:9092"),
    ///     variable("MILLSTREAM_KAFKA_SECURITY_PROTOCOL", "ssl"),
    /// ])?;
    /// assert_eq!(settings.kafka_properties["security.protocol"], "ssl");
    /// # Ok::<(), millstream_processor::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid`, with the variable, if one is missing, unknown, or does not parse.
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let mut settings = Settings::new("");
        for (name, value) in variables {
            let Some(setting) = name.strip_prefix("MILLSTREAM_") else { continue };
            match setting {
                "BOOTSTRAP_SERVERS" => settings.bootstrap_servers = value,
                "STATE_DIR" => settings.state_dir = value.into(),
                "STATE_CLEANUP_DELAY_MS" => settings.state_cleanup_delay = millis(&name, &value)?,
                "NUM_STREAM_THREADS" => settings.num_stream_threads = parse(&name, &value)?,
                "PROCESSING_GUARANTEE" => settings.processing_guarantee = choice(&name, &value)?,
                "SESSION_TIMEOUT_MS" => settings.session_timeout = millis(&name, &value)?,
                "GROUP_PROTOCOL" => settings.group_protocol = choice(&name, &value)?,
                "GROUP_INSTANCE_ID" => settings.group_instance_id = Some(value),
                "COMMIT_INTERVAL_MS" => settings.commit_interval = Some(millis(&name, &value)?),
                "TRANSACTION_TIMEOUT_MS" => settings.transaction_timeout = millis(&name, &value)?,
                "CHECKPOINT_INTERVAL_MS" => settings.checkpoint_interval = millis(&name, &value)?,
                "NUM_STANDBY_REPLICAS" => settings.num_standby_replicas = parse(&name, &value)?,
                "INPUT_BUFFER_MAX_BYTES" => settings.input_buffer_max_bytes = parse(&name, &value)?,
                "STATE_MEMORY" => settings.state_memory = parse(&name, &value)?,
                "HTTP_ADDRESS" => settings.http_address = Some(value),
                "METADATA_MAX_AGE_MS" => settings.metadata_max_age = millis(&name, &value)?,
                "DEAD_LETTER_TOPIC" => settings.dead_letter_topic = Some(value),
                "ENSURE_EXPLICIT_INTERNAL_RESOURCE_NAMING" => {
                    settings.ensure_explicit_internal_resource_naming = flag(&name, &value)?;
                }
                _ => {
                    if let Some(property) = setting.strip_prefix("KAFKA_") {
                        let property = property.to_ascii_lowercase().replace('_', ".");
                        settings.kafka_properties.insert(property, value);
                    }
                }
            }
        }
        if settings.bootstrap_servers.is_empty() {
            return Err(Error::invalid(
                "MILLSTREAM_BOOTSTRAP_SERVERS is not set: name the brokers, such as localhost:9092",
            ));
        }
        Ok(settings)
    }

    /// The commit interval in force: the one that is set, else the guarantee's.
    pub fn effective_commit_interval(&self) -> Duration {
        self.commit_interval.unwrap_or(match self.processing_guarantee {
            ProcessingGuarantee::AtLeastOnce => Duration::from_secs(1),
            ProcessingGuarantee::ExactlyOnce => Duration::from_millis(100),
        })
    }

    pub(crate) fn is_exactly_once(&self) -> bool {
        self.processing_guarantee == ProcessingGuarantee::ExactlyOnce
    }

    /// # Errors
    /// `Invalid`, with the setting, if a value makes no sense.
    pub(crate) fn validate(&self) -> Result<()> {
        let (commit_interval, transaction_timeout) =
            (self.effective_commit_interval(), self.transaction_timeout);
        self.check_properties()?;
        if self.is_exactly_once() && transaction_timeout <= commit_interval {
            return Err(Error::invalid(format!(
                "transaction_timeout is {transaction_timeout:?} and commit_interval is {commit_interval:?}: the brokers would abort every \
                 transaction before it is committed. Raise transaction_timeout (the brokers' transaction.max.timeout.ms is the most) or \
                 lower commit_interval"
            )));
        }
        let problem = if self.bootstrap_servers.trim().is_empty() {
            "bootstrap_servers is empty: name the brokers, such as localhost:9092"
        } else if self.num_stream_threads == 0 {
            "num_stream_threads is 0: at least one thread is needed"
        } else if commit_interval.is_zero() {
            "commit_interval is 0: the least is one millisecond"
        } else if self.is_exactly_once() && transaction_timeout < Duration::from_secs(1) {
            "transaction_timeout is below one second, which is the least the client takes"
        } else if self.buffered_records_per_partition == 0 {
            "buffered_records_per_partition is 0: the least is 1"
        } else if self.group_instance_id.as_ref().is_some_and(|id| id.trim().is_empty()) {
            "group_instance_id is empty: give each instance a name of its own, or leave it out"
        } else if self.state_memory < 1 << 20 {
            "state_memory is below 1 MiB: that leaves no room for RocksDB's indexes and filters"
        } else {
            return Ok(());
        };
        Err(Error::invalid(problem))
    }

    /// What the group needs is set up by settings, alike for all clients.
    fn check_properties(&self) -> Result<()> {
        const SET_OTHERWISE: [(&str, &str); 4] = [
            ("group.protocol", "group_protocol"),
            ("group.remote.assignor", "group_protocol"),
            ("partition.assignment.strategy", "group_protocol"),
            ("group.instance.id", "group_instance_id"),
        ];
        for (property, setting) in SET_OTHERWISE {
            if self.kafka_properties.keys().any(|name| name.ends_with(property)) {
                return Err(Error::invalid(format!(
                    "{property} cannot be set as a property: use the setting {setting}"
                )));
            }
        }
        Ok(())
    }

    /// The topic of an application's dead letters.
    pub(crate) fn dead_letter_topic_of(&self, application_id: &str) -> String {
        self.dead_letter_topic.clone().unwrap_or_else(|| dead_letter_topic(application_id))
    }

    /// The librdkafka properties for one client, given its prefixes from the most general to the most special.
    pub(crate) fn properties_for(&self, prefixes: &[&str]) -> BTreeMap<String, String> {
        const CLIENTS: [&str; 5] =
            ["restore.consumer.", "global.consumer.", "consumer.", "producer.", "admin."];
        let is_general = |name: &str| !CLIENTS.iter().any(|client| name.starts_with(client));
        let general = self.kafka_properties.iter().filter(|(name, _)| is_general(name));
        let mut properties: BTreeMap<String, String> =
            general.map(|(name, value)| (name.clone(), value.clone())).collect();
        for prefix in prefixes {
            for (name, value) in &self.kafka_properties {
                if let Some(name) = name.strip_prefix(prefix) {
                    properties.insert(name.to_string(), value.clone());
                }
            }
        }
        properties
    }
}

fn parse<T: FromStr>(name: &str, value: &str) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    value.parse().map_err(|error: T::Err| {
        Error::invalid(format!("{name} is {value:?}, which is not a whole number")).with_source(error)
    })
}

fn choice<T: FromStr<Err = Error>>(name: &str, value: &str) -> Result<T> {
    value.parse().map_err(|error| Error::invalid(format!("{name}: {error}")))
}

fn flag(name: &str, value: &str) -> Result<bool> {
    value.parse().map_err(|error: ParseBoolError| {
        Error::invalid(format!("{name} is {value:?}: choose true or false")).with_source(error)
    })
}

fn millis(name: &str, value: &str) -> Result<Duration> {
    parse(name, value).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<Settings> {
        Settings::from_variables(pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())))
    }

    #[test]
    fn a_bad_variable_is_named() {
        let error =
            from(&[("MILLSTREAM_BOOTSTRAP_SERVERS", "b:1"), ("MILLSTREAM_COMMIT_INTERVAL_MS", "soon")]);
        let message = error.expect_err("must be refused").to_string();
        assert!(message.contains("MILLSTREAM_COMMIT_INTERVAL_MS") && message.contains("soon"), "{message}");
        let message = from(&[]).expect_err("brokers are required").to_string();
        assert!(message.contains("MILLSTREAM_BOOTSTRAP_SERVERS"), "{message}");
    }

    #[test]
    fn the_guarantee_decides_the_commit_interval_unless_it_is_set() -> Result<()> {
        let brokers = ("MILLSTREAM_BOOTSTRAP_SERVERS", "b:1");
        let interval =
            |pairs: &[_]| from(pairs).map(|settings| settings.effective_commit_interval().as_millis());
        assert_eq!(interval(&[brokers])?, 1000);
        for name in ["exactly_once", "exactly_once_v2"] {
            let guarantee = ("MILLSTREAM_PROCESSING_GUARANTEE", name);
            assert_eq!(interval(&[brokers, guarantee])?, 100);
            assert_eq!(interval(&[("MILLSTREAM_COMMIT_INTERVAL_MS", "7"), guarantee, brokers])?, 7);
        }
        let message =
            from(&[brokers, ("MILLSTREAM_PROCESSING_GUARANTEE", "twice")]).expect_err("unknown").to_string();
        assert!(
            message.contains("MILLSTREAM_PROCESSING_GUARANTEE") && message.contains("exactly_once"),
            "{message}"
        );
        Ok(())
    }

    #[test]
    fn a_flag_is_true_or_false() -> Result<()> {
        let brokers = ("MILLSTREAM_BOOTSTRAP_SERVERS", "b:1");
        let with = |value| from(&[brokers, ("MILLSTREAM_ENSURE_EXPLICIT_INTERNAL_RESOURCE_NAMING", value)]);
        assert!(with("true")?.ensure_explicit_internal_resource_naming);
        assert!(!with("false")?.ensure_explicit_internal_resource_naming);
        let message = with("yes").expect_err("it is neither").to_string();
        assert!(message.contains("RESOURCE_NAMING") && message.contains("true or false"), "{message}");
        Ok(())
    }

    #[test]
    fn a_transaction_must_outlive_a_commit_interval() {
        let mut settings = Settings::new("b:1");
        settings.commit_interval = Some(Duration::from_secs(10));
        assert!(settings.validate().is_ok(), "there are no transactions");
        settings.processing_guarantee = ProcessingGuarantee::ExactlyOnce;
        let message = settings.validate().expect_err("both are ten seconds").to_string();
        assert!(message.contains("transaction_timeout") && message.contains("commit_interval"), "{message}");
        settings.transaction_timeout = Duration::from_secs(11);
        assert!(settings.validate().is_ok());
    }

    #[test]
    fn the_group_is_set_up_by_settings_alone() -> Result<()> {
        let brokers = ("MILLSTREAM_BOOTSTRAP_SERVERS", "b:1");
        let settings = from(&[
            brokers,
            ("MILLSTREAM_GROUP_PROTOCOL", "consumer"),
            ("MILLSTREAM_GROUP_INSTANCE_ID", "shop-0"),
            ("MILLSTREAM_SESSION_TIMEOUT_MS", "6000"),
        ])?;
        assert_eq!(settings.group_protocol, GroupProtocol::Consumer);
        assert_eq!(settings.group_instance_id.as_deref(), Some("shop-0"));
        assert_eq!(settings.session_timeout, Duration::from_secs(6));
        assert!(settings.validate().is_ok());
        let message =
            from(&[brokers, ("MILLSTREAM_GROUP_PROTOCOL", "streams")]).expect_err("no such").to_string();
        assert!(message.contains("classic or consumer"), "{message}");
        for property in ["GROUP_PROTOCOL", "CONSUMER_GROUP_INSTANCE_ID", "PARTITION_ASSIGNMENT_STRATEGY"] {
            let settings = from(&[brokers, (&format!("MILLSTREAM_KAFKA_{property}"), "consumer")])?;
            let message = settings.validate().expect_err("set by us").to_string();
            assert!(message.contains("use the setting group_"), "{message}");
        }
        Ok(())
    }

    #[test]
    fn the_longer_prefix_wins() -> Result<()> {
        let mut settings = Settings::new("b:1");
        for (name, value) in [
            ("fetch.min.bytes", "1"),
            ("consumer.fetch.min.bytes", "2"),
            ("restore.consumer.fetch.min.bytes", "3"),
        ] {
            settings.kafka_properties.insert(name.into(), value.into());
        }
        let of = |prefixes: &[&str]| settings.properties_for(prefixes)["fetch.min.bytes"].clone();
        assert_eq!(of(&["producer."]), "1");
        assert_eq!(of(&["consumer."]), "2");
        assert_eq!(of(&["consumer.", "restore.consumer."]), "3");
        Ok(())
    }

    const VARIABLES: &[&str] = &[
        "BOOTSTRAP_SERVERS",
        "STATE_DIR",
        "STATE_CLEANUP_DELAY_MS",
        "NUM_STREAM_THREADS",
        "PROCESSING_GUARANTEE",
        "SESSION_TIMEOUT_MS",
        "GROUP_PROTOCOL",
        "GROUP_INSTANCE_ID",
        "COMMIT_INTERVAL_MS",
        "TRANSACTION_TIMEOUT_MS",
        "CHECKPOINT_INTERVAL_MS",
        "NUM_STANDBY_REPLICAS",
        "INPUT_BUFFER_MAX_BYTES",
        "STATE_MEMORY",
        "HTTP_ADDRESS",
        "METADATA_MAX_AGE_MS",
        "DEAD_LETTER_TOPIC",
        "ENSURE_EXPLICIT_INTERNAL_RESOURCE_NAMING",
        "KAFKA_SECURITY_PROTOCOL",
        "KAFKA_CONSUMER_FETCH_MIN_BYTES",
        "KAFKA_",
        "",
    ];

    fn variable() -> impl Strategy<Value = (String, String)> {
        let name = prop_oneof![
            9 => select(VARIABLES).prop_map(|name| format!("MILLSTREAM_{name}")),
            1 => any::<String>(),
        ];
        let numbers = &["0", "1", "-1", "18446744073709551615", "18446744073709551616", "1e9"][..];
        let words = &["true", "exactly_once", "consumer", ""][..];
        let known = prop_oneof![select(numbers), select(words)].prop_map(str::to_owned);
        (name, prop_oneof![3 => known, 1 => any::<String>()])
    }

    proptest! {
        #[test]
        fn arbitrary_variables_are_taken_or_refused(variables in prop::collection::vec(variable(), 0..8)) {
            if let Ok(settings) = Settings::from_variables(variables) {
                drop(settings.validate());
                drop(settings.properties_for(&["consumer.", "restore.consumer."]));
                let _interval = settings.effective_commit_interval();
            }
        }
    }
}
