//! A real Apache Kafka for the tests, with what they need to prepare and inspect its topics ([`ClusterClient`]); and a cluster of
//! several nodes behind proxies, each of which can be stopped, frozen or cut off ([`KafkaCluster`]).
//!
//! Where it comes from, in this order: the cluster named in `MILLSTREAM_BOOTSTRAP_SERVERS`; a container, where a Docker
//! engine answers; Apache Kafka resolved through Maven and run on the JDK. Without any of them the tests fail.

mod client;
mod cluster;
mod docker;
mod group_member;
mod jvm;
mod proxy;
mod record;
mod settings;
mod writer;

use std::ops::Deref;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

pub use self::client::ClusterClient;
pub use self::cluster::KafkaCluster;
pub use self::group_member::GroupMember;
pub use self::proxy::Proxy;
pub use self::record::{NewRecord, ReadRecord, RecordHeader};
pub use self::writer::TopicWriter;

use self::docker::DockerBroker;
use self::jvm::JvmBroker;
use self::settings::{BrokerSettings, Heap, Life};
use crate::wait::await_until;

/// The environment variable that names a running cluster for the tests which do not stop or kill their broker.
pub const BOOTSTRAP_SERVERS_VARIABLE: &str = "MILLSTREAM_BOOTSTRAP_SERVERS";

const DEADLINE_OF_A_START: Duration = Duration::from_secs(180);
const DEADLINE_OF_A_STOP: Duration = Duration::from_secs(60);

/// A running Apache Kafka. Everything [`ClusterClient`] can do, it can do. What it started, it ends: when it is
/// dropped, and also when the test process dies without dropping it.
#[derive(Debug)]
pub struct RealKafka {
    client: ClusterClient,
    broker: Broker,
}

#[derive(Debug)]
enum Broker {
    /// Someone else's: not ours to stop.
    Named,
    Docker(Box<DockerBroker>),
    Jvm(JvmBroker),
}

impl RealKafka {
    /// The one broker of this test binary, started by the first call. Tests share it, so they take their topics' names
    /// and application ids from [`unique_name`].
    ///
    /// # Errors
    /// If no Kafka can be had; the error says what to install.
    pub fn shared() -> Result<&'static RealKafka> {
        static SHARED: OnceLock<Result<RealKafka, String>> = OnceLock::new();
        let shared =
            SHARED.get_or_init(|| Self::named_or_started(Heap::Small).map_err(|error| format!("{error:#}")));
        shared.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// A broker with enough memory to be measured against: the one that is named, else one of its own.
    ///
    /// # Errors
    /// If no Kafka can be had; the error says what to install.
    pub fn for_measuring() -> Result<Self> {
        Self::named_or_started(Heap::Large)
    }

    /// A broker of the caller's own, to stop and kill: a container, else on the JVM.
    ///
    /// # Errors
    /// If neither can be had; the error says what to install, and shows the end of the broker's log.
    pub fn start() -> Result<Self> {
        Self::start_with(Heap::Small, Life::Hard)
    }

    fn named_or_started(heap: Heap) -> Result<Self> {
        match std::env::var(BOOTSTRAP_SERVERS_VARIABLE).ok().filter(|servers| !servers.is_empty()) {
            Some(bootstrap_servers) => Self::named(&bootstrap_servers),
            None => Self::start_with(heap, Life::Shared),
        }
    }

    fn start_with(heap: Heap, life: Life) -> Result<Self> {
        let settings = BrokerSettings::with_free_ports(heap, life)?;
        let client = ClusterClient::new(settings.bootstrap_servers())?;
        let docker = DockerBroker::create(&settings).map(|broker| Broker::Docker(Box::new(broker)));
        let broker = docker.or_else(|no_docker| {
            tracing::debug!("no container for the tests: {no_docker:#}");
            JvmBroker::start(&settings.properties("127.0.0.1"), heap).map(Broker::Jvm).with_context(|| {
                format!(
                    "the tests need an Apache Kafka, and found none. Do one of these: name one in \
                     {BOOTSTRAP_SERVERS_VARIABLE}; start Docker (now: {no_docker:#}); {}",
                    crate::java::HOW_TO_INSTALL
                )
            })
        })?;
        let mut kafka = Self { client, broker };
        kafka.await_ready()?;
        Ok(kafka)
    }

    /// The client for the topics of this broker.
    #[must_use]
    pub fn client(&self) -> &ClusterClient {
        &self.client
    }

    /// Where the broker keeps its data and its log, if that is a folder of this machine.
    #[must_use]
    pub fn folder(&self) -> Option<&std::path::Path> {
        match &self.broker {
            Broker::Jvm(broker) => Some(broker.folder()),
            Broker::Named | Broker::Docker(_) => None,
        }
    }

    /// Stops the broker as its operator would (`SIGTERM`), and waits until it has ended.
    ///
    /// # Errors
    /// If it is not ours, does not run, or does not end.
    pub fn stop(&mut self) -> Result<()> {
        match &mut self.broker {
            Broker::Named => bail!("{} is not ours to stop", self.client.bootstrap_servers()),
            Broker::Docker(broker) => broker.stop(DEADLINE_OF_A_STOP),
            Broker::Jvm(broker) => broker.stop(DEADLINE_OF_A_STOP),
        }
    }

    /// Kills the broker (`kill -9`), and waits until it is gone.
    ///
    /// # Errors
    /// If it is not ours, or the operating system refuses.
    pub fn kill(&mut self) -> Result<()> {
        match &mut self.broker {
            Broker::Named => bail!("{} is not ours to kill", self.client.bootstrap_servers()),
            Broker::Docker(broker) => broker.stop(Duration::ZERO),
            Broker::Jvm(broker) => broker.kill(),
        }
    }

    /// Starts a broker again that was stopped or killed, with the data and the ports it had.
    ///
    /// # Errors
    /// If it does not come up; the error shows the end of the broker's log.
    pub fn start_again(&mut self) -> Result<()> {
        match &mut self.broker {
            Broker::Named => bail!("{} is not ours to start", self.client.bootstrap_servers()),
            Broker::Docker(broker) => broker.start_again()?,
            Broker::Jvm(broker) => broker.start_again()?,
        }
        self.await_ready()
    }

    fn named(bootstrap_servers: &str) -> Result<Self> {
        let mut kafka = Self { client: ClusterClient::new(bootstrap_servers)?, broker: Broker::Named };
        kafka.await_ready().with_context(|| {
            format!("no broker answers at {bootstrap_servers}, which {BOOTSTRAP_SERVERS_VARIABLE} names")
        })?;
        Ok(kafka)
    }

    fn await_ready(&mut self) -> Result<()> {
        let (client, broker) = (&self.client, &mut self.broker);
        let ready = await_until(DEADLINE_OF_A_START, "Kafka to answer", || {
            if client.brokers() > 0 {
                return Some(Ok(()));
            }
            let runs = match broker {
                Broker::Named => Ok(true),
                Broker::Docker(broker) => broker.is_running(),
                Broker::Jvm(broker) => broker.is_running(),
            };
            match runs {
                Ok(true) => None,
                Ok(false) => Some(Err(anyhow!("Kafka ended while it started"))),
                Err(error) => Some(Err(error)),
            }
        });
        ready.and_then(|answer| answer).with_context(|| match &self.broker {
            Broker::Named => "its own log may say why".to_owned(),
            Broker::Docker(broker) => broker.end_of_log(),
            Broker::Jvm(broker) => broker.end_of_log(),
        })
    }
}

impl Deref for RealKafka {
    type Target = ClusterClient;

    fn deref(&self) -> &ClusterClient {
        &self.client
    }
}

/// A name that no other test and no earlier run has: `<prefix>-<32 hex digits>`. For topics, groups, application ids.
#[must_use]
pub fn unique_name(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4().simple())
}

/// The end of a log, as errors show it.
fn end_of(log: &str) -> String {
    const LINES: usize = 40;
    let lines: Vec<&str> = log.lines().collect();
    format!("Kafka's log ends with:\n{}", lines[lines.len().saturating_sub(LINES)..].join("\n"))
}
