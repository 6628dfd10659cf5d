//! What the runtime asks of a cluster beyond reading and writing: topics and their configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_state_stores::TopicId;
use rdkafka::admin::{
    AdminClient, AdminOptions, NewTopic as NativeTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::client::{client_config, kafka_error, known_topic_error, unreachable};
use super::group_assignment::{self, GroupAssignment};
use super::group_members::{self, GroupDescription};
use super::topic_ids;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};

/// Who asks for the members of a group does so again and again, and has other things to do.
const GROUP_TIMEOUT: Duration = Duration::from_secs(2);

/// A topic to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Name in Kafka.
    pub name: String,
    /// Partition count.
    pub partitions: i32,
    /// Topic configuration, such as `cleanup.policy`.
    pub config: BTreeMap<String, String>,
}

/// Topics of a cluster. [`KafkaAdmin`] on a cluster; the embedded Kafka brings its own.
pub trait ClusterAdmin: Send + Sync + 'static {
    /// Partition counts of those of the topics that exist.
    ///
    /// # Errors
    /// If the cluster cannot be asked.
    fn partition_counts(&self, topics: &[String]) -> Result<BTreeMap<String, i32>>;

    /// The partition counts of all topics of the cluster. Asked only if a source reads topics by a pattern; none unless implemented.
    ///
    /// # Errors
    /// If the cluster cannot be asked.
    fn all_partition_counts(&self) -> Result<BTreeMap<String, i32>> {
        Ok(BTreeMap::new())
    }

    /// Makes a topic, and returns once it can be asked about. A topic that exists already is left as it is and is no error.
    ///
    /// # Errors
    /// If the cluster refuses.
    fn create_topic(&self, topic: &NewTopic) -> Result<()>;

    /// The configuration in force for an existing topic. Empty unless implemented: nothing is known of it then, nor checked.
    ///
    /// # Errors
    /// If the cluster cannot be asked.
    fn topic_config(&self, _topic: &str) -> Result<BTreeMap<String, String>> {
        Ok(BTreeMap::new())
    }

    /// The ids of those of the topics that exist, as far as the broker knows that is asked; `None` of one without: brokers give topics ids
    /// since Kafka 2.8 (KIP-516). None has one unless implemented.
    ///
    /// # Errors
    /// If the cluster cannot be asked, or does not say what it knows of a topic, as to a user who may not `Describe` it.
    fn topic_ids(&self, topics: &[String]) -> Result<BTreeMap<String, Option<TopicId>>> {
        Ok(topics.iter().map(|topic| (topic.clone(), None)).collect())
    }

    /// The members of a consumer group and what each reads; none if there is no such group, and unless implemented.
    ///
    /// # Errors
    /// If the cluster cannot be asked.
    fn group_assignment(&self, _group: &str) -> Result<Option<GroupAssignment>> {
        Ok(None)
    }

    /// Deletes the records of a partition before an offset. Unless implemented they stay, and only take room.
    ///
    /// # Errors
    /// If the cluster refuses.
    fn delete_records(&self, _before: &[(String, i32, i64)]) -> Result<()> {
        Ok(())
    }
}

/// The ids of topics that were just made, or seen. A broker that has yet to hear of one is not one that gives topics no ids: what is
/// noted of the topic, such as rows, would be of none.
///
/// # Errors
/// `Retry` if the broker has yet to hear of one; else those of [`ClusterAdmin::topic_ids`].
pub(crate) fn ids_of_existing(
    admin: &dyn ClusterAdmin,
    topics: &[String],
) -> Result<BTreeMap<String, Option<TopicId>>> {
    let ids = admin.topic_ids(topics)?;
    match topics.iter().find(|topic| !ids.contains_key(*topic)) {
        None => Ok(ids),
        Some(unheard) => Err(Error::new(
            ErrorKind::Retry,
            format!("the brokers do not tell the id of topic {unheard} yet: try again in a moment"),
        )),
    }
}

/// [`ClusterAdmin`] through Kafka's admin API.
pub struct KafkaAdmin {
    client: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
    bootstrap_servers: String,
    replication_factor: Option<u16>,
    timeout: Duration,
}

impl KafkaAdmin {
    /// Connects lazily: no broker is needed yet.
    ///
    /// # Errors
    /// `Invalid` if a property is not accepted.
    pub fn new(settings: &Settings, client_id: &str) -> Result<Self> {
        let client = client_config(settings, client_id, &["admin."], &[], &[])
            .create()
            .map_err(|error| kafka_error(format!("cannot create admin client {client_id}"), error))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| Error::fatal("cannot start the admin client's runtime").with_source(error))?;
        Ok(KafkaAdmin {
            client,
            runtime,
            bootstrap_servers: settings.bootstrap_servers.clone(),
            replication_factor: settings.replication_factor,
            timeout: settings.request_timeout,
        })
    }

    fn options(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(self.timeout)).operation_timeout(Some(self.timeout))
    }

    /// Who is in a group, and who coordinates it.
    pub(super) fn describe_group(&self, group: &str) -> Result<GroupDescription> {
        group_members::ask(self.client.inner(), group, self.timeout)
            .map_err(|error| self.unreachable(&format!("cannot ask for the members of {group}"), error))
    }

    /// Deletes a topic, and returns once the cluster tells of it no more. One that does not exist is no error.
    pub(super) fn delete_topic(&self, name: &str) -> Result<()> {
        let doing = format!("cannot delete topic {name}");
        let results = self.answer(&doing, self.client.delete_topics(&[name], &self.options()))?;
        for result in results {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                Err((_, code)) => return Err(kafka_error(doing, KafkaError::AdminOp(code))),
            }
        }
        self.await_topic(name, false)
    }

    /// Waits until the cluster tells of a topic it has made, or no more of one it has deleted. The answer to the request comes a
    /// moment before that.
    fn await_topic(&self, name: &str, exists: bool) -> Result<()> {
        let as_wanted = async {
            while self.partition_counts(&[name.to_string()])?.is_empty() == exists {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        let in_time = async { tokio::time::timeout(self.timeout, as_wanted).await };
        self.runtime.block_on(in_time).unwrap_or_else(|_elapsed| {
            let (done, said) =
                if exists { ("created", "did not tell of it") } else { ("deleted", "still told of it") };
            Err(Error::new(
                ErrorKind::Retry,
                format!("topic {name} was {done} but the brokers {said} after {:?}", self.timeout),
            ))
        })
    }

    /// Waits for the answer to a request, and not without end: librdkafka may leave one unanswered although it has timeouts.
    fn answer<T>(&self, doing: &str, request: impl Future<Output = KafkaResult<T>>) -> Result<T> {
        let in_time = async { tokio::time::timeout(2 * self.timeout, request).await };
        match self.runtime.block_on(in_time) {
            Ok(answer) => answer.map_err(|error| self.unreachable(doing, error)),
            Err(_elapsed) => {
                Err(self.unreachable(doing, KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut)))
            }
        }
    }

    fn unreachable(&self, doing: &str, error: KafkaError) -> Error {
        unreachable(doing, &self.bootstrap_servers, self.timeout, error)
    }
}

impl ClusterAdmin for KafkaAdmin {
    fn all_partition_counts(&self) -> Result<BTreeMap<String, i32>> {
        let metadata = self
            .client
            .inner()
            .fetch_metadata(None, self.timeout)
            .map_err(|error| self.unreachable("cannot ask the cluster for its topics", error))?;
        let count = |partitions: usize| i32::try_from(partitions).unwrap_or(i32::MAX);
        let topics = metadata.topics().iter();
        Ok(topics.map(|topic| (topic.name().to_string(), count(topic.partitions().len()))).collect())
    }

    fn partition_counts(&self, topics: &[String]) -> Result<BTreeMap<String, i32>> {
        // All topics at once: asking for a single one would create it where the brokers create topics by themselves.
        let mut counts = self.all_partition_counts()?;
        counts.retain(|name, _| topics.contains(name));
        Ok(counts)
    }

    fn create_topic(&self, topic: &NewTopic) -> Result<()> {
        let replication = match self.replication_factor {
            Some(factor) => i32::from(factor),
            None => -1,
        };
        let mut native =
            NativeTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(replication));
        for (name, value) in &topic.config {
            native = native.set(name, value);
        }
        let doing = match self.replication_factor {
            Some(factor) => {
                format!("cannot create topic {} with a replication_factor of {factor}", topic.name)
            }
            None => format!("cannot create topic {}", topic.name),
        };
        let results = self.answer(&doing, self.client.create_topics([&native], &self.options()))?;
        for result in results {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(kafka_error(doing, KafkaError::AdminOp(code))),
            }
        }
        self.await_topic(&topic.name, true)
    }

    fn topic_config(&self, topic: &str) -> Result<BTreeMap<String, String>> {
        let doing = format!("cannot ask for the configuration of topic {topic}");
        let asked = [&ResourceSpecifier::Topic(topic)];
        let resources = self.answer(&doing, self.client.describe_configs(asked, &self.options()))?;
        let mut config = BTreeMap::new();
        for resource in resources {
            let resource =
                resource.map_err(|code| known_topic_error(doing.clone(), KafkaError::AdminOp(code)))?;
            config.extend(resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))));
        }
        Ok(config)
    }

    fn topic_ids(&self, topics: &[String]) -> Result<BTreeMap<String, Option<TopicId>>> {
        topic_ids::ask(self.client.inner(), topics, self.timeout)
            .map_err(|error| self.unreachable("cannot ask the cluster for the ids of topics", error))
    }

    fn group_assignment(&self, group: &str) -> Result<Option<GroupAssignment>> {
        let timeout = self.timeout.min(GROUP_TIMEOUT);
        let doing = "cannot ask who is in the group";
        group_assignment::ask(self.client.inner(), group, timeout)
            .map_err(|error| unreachable(doing, &self.bootstrap_servers, timeout, error))
    }

    fn delete_records(&self, before: &[(String, i32, i64)]) -> Result<()> {
        let doing = "cannot delete the records of repartition topics that were processed";
        let mut list = rdkafka::TopicPartitionList::new();
        for (topic, partition, offset) in before {
            list.add_partition_offset(topic, *partition, rdkafka::Offset::Offset(*offset))
                .map_err(|error| kafka_error(doing, error))?;
        }
        let answer = self.answer(doing, self.client.delete_records(&list, &self.options()))?;
        let refused = answer.elements().iter().find_map(|partition| partition.error().err());
        refused.map_or(Ok(()), |error| Err(kafka_error(doing, error)))
    }
}
