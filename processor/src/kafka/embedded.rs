//! A Kafka inside the process, for examples and quick tests: real protocol, real consumer groups, in memory. It knows
//! nothing of millstream; any Kafka client of librdkafka can connect to it. Java clients cannot.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::bindings;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer};
#[cfg(test)]
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

/// A cluster answers from memory: longer than this means that it is gone.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long the first member of a group is kept waiting for others, so that all threads of an application meet in one
/// rebalance. Kafka's default, and the mock's, is 3 s.
const GROUP_INITIAL_REBALANCE_DELAY_MS: i32 = 100;

/// How often members of a group with `group.protocol=consumer` ask for their assignment, and so how fast a rebalance
/// is. Kafka's default, and the mock's, is 3 s.
const GROUP_HEARTBEAT_INTERVAL_MS: i32 = 100;

/// The mock replicates to no more brokers than there are.
const MAX_REPLICAS: i32 = 3;

/// librdkafka's mock cluster, as a Kafka for examples and quick tests. It listens on free ports of the loopback
/// interface, starts in about a millisecond and stops when it is dropped; with it go its topics.
///
/// What is as in Kafka: produce and fetch with keys, values, headers, create-time timestamps and compression; begin and
/// end offsets; consumer groups of both protocols, their commits, and resuming from them; the idempotent producer.
///
/// What differs, so that a program which relies on it needs a real Kafka:
///
/// - **Retention** is 5 MiB or 100,000 batches per partition, in bytes as sent. The oldest batches go first, silently,
///   from compacted topics also: a changelog that outgrows it no longer restores the whole store.
/// - **Nothing is compacted**, nothing expires, and a topic has no configuration.
/// - **Admin requests** are not answered: `CreateTopics`, `DeleteTopics`, `CreatePartitions` and the configuration
///   requests run into the client's timeout; `DeleteRecords`, `DeleteGroups` and listing groups fail at once as
///   unsupported. Topics are created with [`EmbeddedKafka::create_topic`]; none can be deleted.
/// - **A topic is created, with 4 partitions, when a producer names it** or asks for its metadata, and when a consumer
///   with `allow.auto.create.topics=true` does; it cannot be switched off.
/// - **A fetch that finds nothing answers after the whole `fetch.wait.max.ms`**, even if records arrive meanwhile, and
///   holds up offset requests on the same connection. With librdkafka's 500 ms a record takes up to half a second;
///   set 10 ms.
/// - **A fetch brings one batch per partition.** Small batches are read slowly, and more so the more of them a
///   partition holds.
/// - **A group of the classic protocol** (`partition.assignment.strategy=range` works) forms within 0.1 s, but each
///   later join or leave takes `session.timeout.ms` minus one second, 44 s by default, and so does starting again
///   under the same group before that has passed. Meanwhile commits are refused, which the brokers do not: a thread
///   that joins late has records counted twice. All members must put the same assignor first, else the process
///   aborts. With **`group.protocol=consumer`** (KIP-848, range only) members join in milliseconds and rebalance in
///   0.2 s: that is what the settings say.
/// - **Transactions** are accepted and have no effect: `read_committed` sees records of open and of aborted ones, and
///   there are no control records in the offsets. Producers without a transactional id are not fenced, and their
///   duplicates not recognised.
/// - **Offsets by timestamp** are never found: the answer is the end of the partition.
///
/// Read from librdkafka 2.12.1 (`rdkafka_mock.c`, `rdkafka_mock_handlers.c`, `rdkafka_mock_cgrp.c`) and tried.
pub struct EmbeddedKafka {
    /// The cluster belongs to a librdkafka client and lives as long as it does.
    owner: BaseProducer,
    bootstrap_servers: String,
    replicas: i32,
}

impl EmbeddedKafka {
    /// Starts a cluster of `brokers` brokers, one of which is enough for most purposes. It has no topics.
    ///
    /// # Errors
    /// [`EmbeddedKafkaError::CannotStart`] if librdkafka cannot start it, for want of ports or with no broker asked
    /// for.
    pub fn start(brokers: usize) -> Result<Self, EmbeddedKafkaError> {
        let cannot_start = |source| EmbeddedKafkaError::CannotStart { brokers, source };
        let owner: BaseProducer = ClientConfig::new()
            .set("test.mock.num.brokers", brokers.to_string())
            // Else the first request waits for a timer that connects once a second.
            .set("enable.sparse.connections", "false")
            .create()
            .map_err(cannot_start)?;
        let no_cluster = || cannot_start(KafkaError::MockCluster(RDKafkaErrorCode::InvalidArgument));
        let bootstrap_servers = owner.client().mock_cluster().ok_or_else(no_cluster)?.bootstrap_servers();
        // SAFETY: the client is alive, and the cluster it owns was just found; both calls take the cluster's own lock
        // or are read by its thread on the next group event, and no group exists yet.
        unsafe {
            let cluster = bindings::rd_kafka_handle_mock_cluster(owner.client().native_ptr());
            bindings::rd_kafka_mock_group_initial_rebalance_delay_ms(
                cluster,
                GROUP_INITIAL_REBALANCE_DELAY_MS,
            );
            bindings::rd_kafka_mock_set_group_consumer_heartbeat_interval_ms(
                cluster,
                GROUP_HEARTBEAT_INTERVAL_MS,
            );
        }
        let replicas = i32::try_from(brokers).unwrap_or(MAX_REPLICAS).min(MAX_REPLICAS);
        Ok(Self { owner, bootstrap_servers, replicas })
    }

    /// The servers to configure a client with: `host:port`, separated by commas.
    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// [`EmbeddedKafkaError::TopicExists`] if there is a topic of that name, maybe because a producer has named it;
    /// [`EmbeddedKafkaError::CannotCreate`] if the name or the number of partitions is none of Kafka's.
    pub fn create_topic(&self, name: &str, partitions: usize) -> Result<(), EmbeddedKafkaError> {
        let refused =
            |source| EmbeddedKafkaError::CannotCreate { topic: name.to_owned(), partitions, source };
        let invalid = || refused(KafkaError::MockCluster(RDKafkaErrorCode::InvalidPartitions));
        let count = i32::try_from(partitions).ok().filter(|count| *count > 0).ok_or_else(invalid)?;
        let gone = || refused(KafkaError::MockCluster(RDKafkaErrorCode::BrokerNotAvailable));
        let cluster = self.owner.client().mock_cluster().ok_or_else(gone)?;
        match cluster.create_topic(name, count, self.replicas) {
            Ok(()) => Ok(()),
            Err(KafkaError::MockCluster(RDKafkaErrorCode::TopicAlreadyExists)) => {
                Err(EmbeddedKafkaError::TopicExists { topic: name.to_owned() })
            }
            Err(source) => Err(refused(source)),
        }
    }

    /// Takes a partition's leader away, or gives it to a broker, whose numbers begin with 1.
    #[cfg(test)]
    pub(super) fn set_leader(&self, topic: &str, partition: i32, broker: Option<i32>) {
        let cluster = self.owner.client().mock_cluster().expect("the owner has a cluster");
        cluster.partition_leader(topic, partition, broker).expect("the partition exists");
    }

    /// Has the next requests of a kind answered with these errors.
    #[cfg(test)]
    pub(super) fn refuse(&self, request: RDKafkaApiKey, errors: &[RDKafkaRespErr]) {
        let cluster = self.owner.client().mock_cluster().expect("the owner has a cluster");
        cluster.request_errors(request, errors);
    }

    /// Is from now on a Kafka that knows a kind of request up to this version of it.
    #[cfg(test)]
    pub(super) fn knows_up_to(&self, request: RDKafkaApiKey, version: i16) {
        let cluster = self.owner.client().mock_cluster().expect("the owner has a cluster");
        cluster.apiversion(request, Some(0), Some(version)).expect("it knows this version");
    }

    /// The topics there are, with their numbers of partitions, those that producers created by naming them included.
    ///
    /// # Errors
    /// [`EmbeddedKafkaError::NoAnswer`] if the cluster does not answer.
    pub fn topics(&self) -> Result<BTreeMap<String, usize>, EmbeddedKafkaError> {
        let metadata = self.owner.client().fetch_metadata(None, DEADLINE);
        let metadata = metadata.map_err(|source| EmbeddedKafkaError::NoAnswer { source })?;
        Ok(metadata
            .topics()
            .iter()
            .map(|topic| (topic.name().to_owned(), topic.partitions().len()))
            .collect())
    }
}

impl std::fmt::Debug for EmbeddedKafka {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("EmbeddedKafka").field("bootstrap_servers", &self.bootstrap_servers).finish()
    }
}

/// What an [`EmbeddedKafka`] cannot do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedKafkaError {
    /// The cluster does not start.
    #[error(
        "cannot start an embedded Kafka of {brokers} brokers on loopback ports; ask for at least one broker"
    )]
    CannotStart {
        /// How many brokers were asked for.
        brokers: usize,
        /// What librdkafka says.
        source: KafkaError,
    },
    /// There is a topic of that name.
    #[error("the topic {topic} exists already; create topics before the first producer names them")]
    TopicExists {
        /// The topic that was to be created.
        topic: String,
    },
    /// The topic is refused.
    #[error(
        "cannot create the topic {topic} with {partitions} partitions; give it at least one, and a name without NUL"
    )]
    CannotCreate {
        /// The topic that was to be created.
        topic: String,
        /// How many partitions it was to have.
        partitions: usize,
        /// What librdkafka says.
        source: KafkaError,
    },
    /// The cluster does not answer.
    #[error("the embedded Kafka does not answer")]
    NoAnswer {
        /// What librdkafka says.
        source: KafkaError,
    },
}

#[cfg(test)]
mod tests;
