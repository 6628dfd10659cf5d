//! What a test does with a cluster from outside: create topics, write records, read all of a topic, look at offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication, TopicResult};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::group_member::GroupMember;
use super::record::{NewRecord, ReadRecord};
use super::writer::TopicWriter;

/// No request of a test may take longer; a broker that does not answer fails the test.
const DEADLINE: Duration = Duration::from_secs(120);

/// librdkafka asks every consumer for a group, also those that read without one.
const NO_GROUP: &str = "inspection";

/// Kafka's way to ask for `default.replication.factor`.
const BROKER_DEFAULT: i32 = -1;

/// Reads and writes a cluster as a test needs it. Works with any cluster that can be reached at the bootstrap servers;
/// librdkafka's mock cluster has no admin requests, though.
#[derive(Clone)]
pub struct ClusterClient {
    bootstrap_servers: String,
    // Both are kept, and shared by all clones: to make a client and to end it takes longer than most requests.
    admin: Arc<AdminClient<DefaultClientContext>>,
    /// A consumer in no group and of no partition, which only looks things up.
    inspector: Arc<BaseConsumer>,
}

impl fmt::Debug for ClusterClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("ClusterClient");
        shown.field("bootstrap_servers", &self.bootstrap_servers).finish_non_exhaustive()
    }
}

impl ClusterClient {
    /// A client of the cluster at `bootstrap_servers` (`host:port`, separated by commas), which need not run yet: it is connected to
    /// when it is there, and again when it comes back.
    ///
    /// # Errors
    /// If the bootstrap servers are empty, or the client cannot be created.
    pub fn new(bootstrap_servers: impl Into<String>) -> Result<Self> {
        let bootstrap_servers = bootstrap_servers.into();
        ensure!(!bootstrap_servers.is_empty(), "the bootstrap servers are empty; name one as host:port");
        let admin = config(&bootstrap_servers, &[]).create().context("cannot create an admin client")?;
        let inspecting = [("isolation.level", "read_committed")];
        let inspector =
            config(&bootstrap_servers, &inspecting).create().context("cannot create a consumer")?;
        Ok(Self { bootstrap_servers, admin: Arc::new(admin), inspector: Arc::new(inspector) })
    }

    /// The servers to configure a client of the cluster with: `host:port`, separated by commas.
    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// Creates a topic with as many replicas as the cluster has by default, and waits until its partitions can be written. `settings` are names and values
    /// of Kafka's topic configuration.
    ///
    /// # Errors
    /// If the topic exists already, or a setting is none of Kafka's.
    pub fn create_topic(&self, name: &str, partitions: usize, settings: &[(&str, &str)]) -> Result<()> {
        let topic = NewTopic::new(name, i32::try_from(partitions)?, TopicReplication::Fixed(BROKER_DEFAULT));
        // Records of long ago stay: what the tests expect does not depend on when the broker looks for old ones.
        let topic = topic.set("retention.ms", "-1");
        let topic = settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
        let created = block_on(self.admin.create_topics([&topic], &admin_options()))??;
        check_topic_results(created).context("cannot create a topic")?;
        let all_led = || self.topic_partitions(name).is_ok_and(|found| found == partitions).then_some(());
        crate::wait::await_until(DEADLINE, format!("the {partitions} partitions of {name}"), all_led)
    }

    /// Deletes topics, all with one request.
    ///
    /// # Errors
    /// If none is named, or there is none of a name; the others are deleted nevertheless.
    pub fn delete_topics(&self, names: &[&str]) -> Result<()> {
        let deleted = block_on(self.admin.delete_topics(names, &admin_options()))??;
        check_topic_results(deleted).context("cannot delete a topic")
    }

    /// Deletes the records of a partition before an offset, as retention does.
    ///
    /// # Errors
    /// If there is no such partition, or its topic keeps its records (`cleanup.policy=compact`).
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Result<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before))?;
        let deleted = block_on(self.admin.delete_records(&list, &admin_options()))??;
        let refused = deleted.elements().iter().find_map(|partition| partition.error().err());
        refused
            .map_or(Ok(()), |error| Err(error).with_context(|| format!("cannot delete records of {topic}")))
    }

    /// The names of all topics, Kafka's internal ones included.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub fn topics(&self) -> Result<BTreeSet<String>> {
        let metadata = self.inspector.fetch_metadata(None, DEADLINE).context("cannot list the topics")?;
        Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
    }

    /// The configuration of a topic, defaults included: name and value.
    ///
    /// # Errors
    /// If there is no such topic.
    pub fn topic_config(&self, topic: &str) -> Result<BTreeMap<String, String>> {
        let specifier = ResourceSpecifier::Topic(topic);
        let described = block_on(self.admin.describe_configs([&specifier], &admin_options()))??;
        let described = described.into_iter().next().context("Kafka described no topic")?;
        let config = described
            .map_err(|code| anyhow!("cannot read the configuration of the topic {topic}: {code}"))?;
        Ok(config
            .entries
            .into_iter()
            .filter_map(|entry| entry.value.map(|value| (entry.name, value)))
            .collect())
    }

    /// How many partitions a topic has.
    ///
    /// # Errors
    /// If there is no such topic, or one of its partitions has no leader at the moment.
    pub fn topic_partitions(&self, topic: &str) -> Result<usize> {
        partitions_of(&self.inspector, topic)
    }

    /// A writer of this cluster's topics, which keeps records in order, writes none twice, and tries for so long to write each.
    ///
    /// # Errors
    /// If the client cannot be created.
    pub fn writer(&self, patience: Duration) -> Result<TopicWriter> {
        let patience = patience.as_millis().to_string();
        TopicWriter::new(self.config(&[("enable.idempotence", "true"), ("message.timeout.ms", &patience)]))
    }

    /// Writes the records in order, and returns when all are acknowledged.
    ///
    /// # Errors
    /// If one of them cannot be written.
    pub fn produce(&self, topic: &str, records: impl IntoIterator<Item = NewRecord>) -> Result<()> {
        let writer = self.writer(DEADLINE)?;
        records.into_iter().try_for_each(|record| writer.write(topic, &record))?;
        writer.flush()
    }

    /// Writes the records in order in one committed transaction, which ends each partition with a control record.
    ///
    /// # Errors
    /// If one of them cannot be written, or the cluster has no transactions.
    pub fn produce_in_transaction(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = NewRecord>,
    ) -> Result<()> {
        let transactional_id = super::unique_name("transaction");
        let writer = TopicWriter::new(self.config(&[("transactional.id", &transactional_id)]))?;
        writer.begin_transaction(DEADLINE)?;
        records.into_iter().try_for_each(|record| writer.write(topic, &record))?;
        writer.commit_transaction(DEADLINE)
    }

    /// Takes over a transactional id, as a second instance with the same id would: its owner is fenced, and its open transaction
    /// aborted.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub fn fence(&self, transactional_id: &str) -> Result<()> {
        let writer = TopicWriter::new(self.config(&[("transactional.id", transactional_id)]))?;
        writer.init_transactions(DEADLINE)
    }

    /// All records of a topic, by partition and offset, up to the end each partition has at the time of the call.
    /// Reads as a committed reader, once the transactions that are open in the topic at the time of the call have ended: the broker
    /// tells the producer that a transaction is committed before readers see all of it.
    ///
    /// # Errors
    /// If there is no such topic, a transaction does not end, or the end is not reached within half a minute.
    pub fn read_all(&self, topic: &str) -> Result<Vec<ReadRecord>> {
        let written = self.written_ends(topic)?;
        crate::wait::await_until(DEADLINE, format!("the transactions in {topic} to end"), || {
            let ends = self.end_offsets(topic).ok()?;
            written.iter().all(|(partition, end)| ends.get(partition) >= Some(end)).then_some(())
        })?;
        let mut ends = written;
        ends.retain(|_, end| *end > 0);
        let starts = ends.keys().map(|partition| (*partition, Offset::Beginning)).collect();
        self.read(topic, starts, ends)
    }

    fn read(
        &self,
        topic: &str,
        starts: Vec<(i32, Offset)>,
        mut unfinished: BTreeMap<i32, i64>,
    ) -> Result<Vec<ReadRecord>> {
        let consumer = self.consumer(NO_GROUP)?;
        let mut assignment = TopicPartitionList::new();
        for (partition, start) in starts {
            assignment.add_partition_offset(topic, partition, start)?;
        }
        consumer.assign(&assignment)?;
        let mut records = Vec::new();
        let started = Instant::now();
        while !unfinished.is_empty() {
            let left = DEADLINE.saturating_sub(started.elapsed());
            ensure!(
                !left.is_zero(),
                "waited {DEADLINE:?} for the end of {topic}; not reached: {unfinished:?}"
            );
            match consumer.poll(left) {
                Some(Ok(message)) => {
                    let record = ReadRecord::from(&message);
                    let Some(end) = unfinished.get(&record.partition).copied() else { continue };
                    if record.offset >= end - 1 {
                        unfinished.remove(&record.partition);
                    }
                    if record.offset < end {
                        records.push(record);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    unfinished.remove(&partition);
                }
                Some(Err(error)) if may_pass(&error) => {}
                Some(Err(error)) => {
                    return Err(error).with_context(|| format!("cannot read the topic {topic}"));
                }
                None => {}
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        Ok(records)
    }

    /// How many committed records each partition of a topic has from `next` on (from its start, where that names none): what a
    /// group with these offsets has yet to read. Control records do not count.
    ///
    /// # Errors
    /// As [`ClusterClient::read_all`].
    pub fn unread(&self, topic: &str, next: &BTreeMap<(String, i32), i64>) -> Result<usize> {
        let next_of = |partition| next.get(&(topic.to_owned(), partition)).copied().unwrap_or(0);
        let mut unfinished = self.end_offsets(topic)?;
        unfinished.retain(|partition, end| next_of(*partition) < *end);
        let starts = unfinished.keys().map(|partition| (*partition, Offset::Offset(next_of(*partition))));
        let starts = starts.collect();
        Ok(self.read(topic, starts, unfinished)?.len())
    }

    /// The id of the node that leads a partition, if one does.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub fn leader(&self, topic: &str, partition: i32) -> Result<Option<i32>> {
        let metadata = self.inspector.fetch_metadata(Some(topic), DEADLINE)?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        let leader = partitions.filter(|found| found.id() == partition).map(|found| found.leader()).next();
        Ok(leader.filter(|leader| *leader >= 0))
    }

    /// Whether every replica of every partition is in sync with its leader.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub fn is_in_sync(&self) -> Result<bool> {
        let metadata = self.inspector.fetch_metadata(None, Duration::from_secs(5))?;
        let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        Ok(partitions.all(|found| found.leader() >= 0 && found.isr().len() == found.replicas().len()))
    }

    /// The offset after the last record of each partition that a committed reader can see.
    ///
    /// # Errors
    /// If there is no such topic.
    pub fn end_offsets(&self, topic: &str) -> Result<BTreeMap<i32, i64>> {
        patient_ends_of(&self.inspector, topic)
    }

    /// Whether a transaction is open in a partition of the topic, which hides from committed readers what comes after its first
    /// record.
    ///
    /// # Errors
    /// If there is no such topic.
    pub fn has_open_transaction(&self, topic: &str) -> Result<bool> {
        Ok(self.end_offsets(topic)? != self.written_ends(topic)?)
    }

    /// The offset after the last record of each partition, committed or not.
    fn written_ends(&self, topic: &str) -> Result<BTreeMap<i32, i64>> {
        let reading_all: BaseConsumer = self
            .config(&[("isolation.level", "read_uncommitted")])
            .create()
            .context("cannot create a consumer")?;
        patient_ends_of(&reading_all, topic)
    }

    /// The offsets a consumer group has committed, by topic and partition; empty for a group nobody has heard of.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub fn committed_offsets(&self, group: &str) -> Result<BTreeMap<(String, i32), i64>> {
        let consumer = self.consumer(group)?;
        let metadata = consumer.fetch_metadata(None, DEADLINE).context("cannot list the topics")?;
        let mut asked = TopicPartitionList::new();
        for topic in metadata.topics() {
            for partition in topic.partitions() {
                asked.add_partition(topic.name(), partition.id());
            }
        }
        let committed = consumer
            .committed_offsets(asked, DEADLINE)
            .with_context(|| format!("cannot read the offsets of the group {group}"))?;
        let known = committed.elements().into_iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some(((element.topic().to_owned(), element.partition()), offset)),
            _ => None,
        });
        Ok(known.collect())
    }

    /// A member of the group, under the protocol `classic` or `consumer` (KIP-848), which shares out ranges.
    ///
    /// # Errors
    /// If there is no such protocol.
    pub fn join(&self, group: &str, protocol: &str, client_id: &str, topic: &str) -> Result<GroupMember> {
        let assignor =
            if protocol == "classic" { "partition.assignment.strategy" } else { "group.remote.assignor" };
        let settings = [
            ("group.id", group),
            ("group.protocol", protocol),
            (assignor, "range"),
            ("client.id", client_id),
            ("enable.auto.commit", "false"),
        ];
        GroupMember::join(&self.config(&settings), topic)
    }

    /// How many brokers take requests; none if none answers.
    pub(super) fn brokers(&self) -> usize {
        let metadata = self.inspector.fetch_metadata(None, Duration::from_millis(500));
        metadata.map_or(0, |metadata| metadata.brokers().len())
    }

    fn config(&self, settings: &[(&str, &str)]) -> ClientConfig {
        config(&self.bootstrap_servers, settings)
    }

    /// A consumer that never joins a group nor commits; its group's name is only asked about.
    fn consumer(&self, group: &str) -> Result<BaseConsumer> {
        self.config(&[
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "error"),
            ("isolation.level", "read_committed"),
            ("fetch.wait.max.ms", "10"),
        ])
        .create()
        .context("cannot create a consumer")
    }
}

fn config(bootstrap_servers: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap_servers).set("reconnect.backoff.max.ms", "250");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
}

/// The client tries again by itself, as long as the deadline of the caller allows.
fn may_pass(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        AllBrokersDown, BrokerTransportFailure, LeaderNotAvailable, NotLeaderForPartition, OperationTimedOut,
    };
    matches!(
        error.rdkafka_error_code(),
        Some(
            AllBrokersDown
                | BrokerTransportFailure
                | LeaderNotAvailable
                | NotLeaderForPartition
                | OperationTimedOut
        )
    )
}

/// A broker that is away for a moment, or has just come back, is waited for.
fn patient_ends_of(consumer: &BaseConsumer, topic: &str) -> Result<BTreeMap<i32, i64>> {
    let started = Instant::now();
    loop {
        let ends = ends_of(consumer, topic);
        let may_come = |error: &anyhow::Error| error.downcast_ref::<KafkaError>().is_some_and(may_pass);
        if !ends.as_ref().is_err_and(may_come) || started.elapsed() > DEADLINE {
            return ends;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn ends_of(consumer: &BaseConsumer, topic: &str) -> Result<BTreeMap<i32, i64>> {
    (0..i32::try_from(partitions_of(consumer, topic)?)?)
        .map(|partition| {
            let (_, end) = consumer
                .fetch_watermarks(topic, partition, DEADLINE)
                .with_context(|| format!("cannot read the end of {topic}-{partition}"))?;
            Ok((partition, end))
        })
        .collect()
}

fn partitions_of(consumer: &BaseConsumer, topic: &str) -> Result<usize> {
    use RDKafkaErrorCode::LeaderNotAvailable;
    let metadata = consumer.fetch_metadata(Some(topic), DEADLINE);
    let metadata = metadata.with_context(|| format!("cannot look up the topic {topic}"))?;
    let found =
        metadata.topics().first().with_context(|| format!("Kafka told nothing of the topic {topic}"))?;
    if let Some(error) = found.error() {
        return Err(anyhow!("cannot look up the topic {topic}: {}", RDKafkaErrorCode::from(error)));
    }
    let without_leader = found.partitions().iter().find(|partition| partition.leader() < 0);
    match without_leader {
        Some(partition) => Err(anyhow::Error::new(KafkaError::MetadataFetch(LeaderNotAvailable))
            .context(format!("{topic}-{} has no leader at the moment", partition.id()))),
        None => Ok(found.partitions().len()),
    }
}

fn admin_options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(DEADLINE)).operation_timeout(Some(DEADLINE))
}

fn check_topic_results(results: Vec<TopicResult>) -> Result<()> {
    results.into_iter().try_for_each(|result| match result {
        Ok(_) => Ok(()),
        Err((name, code)) => Err(anyhow!("{name}: {code}")),
    })
}

/// The admin client of the rdkafka crate answers by futures only; the tests are not asynchronous.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().context("cannot start tokio")?;
    Ok(runtime.block_on(future))
}
