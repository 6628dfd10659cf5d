//! A group and its topics from outside, for a reset and to see how far it is: nothing here joins the group.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_state_stores::{Offset, Timestamp};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{Offset as NativeOffset, TopicPartitionList};

use super::admin::{ClusterAdmin, KafkaAdmin};
use super::client::{client_config, kafka_error, unreachable};
use super::consumer::{bounds, told_offset};
use super::leave_group;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::reset::{GroupMember, Partition, ResetCluster};

/// [`ResetCluster`] through a consumer that never subscribes, and the admin API.
pub(crate) struct KafkaGroup {
    group: String,
    consumer: BaseConsumer,
    admin: KafkaAdmin,
    settings: Settings,
    timeout: Duration,
}

/// How the tools of a group name themselves to the brokers.
fn client_id(group: &str) -> String {
    format!("{group}-tool")
}

impl KafkaGroup {
    pub(crate) fn new(settings: &Settings, group: &str) -> Result<Self> {
        let client_id = client_id(group);
        let fixed =
            [("group.id", group), ("enable.auto.commit", "false"), ("isolation.level", "read_committed")];
        let consumer = client_config(settings, &client_id, &["consumer."], &[], &fixed)
            .create()
            .map_err(|error| kafka_error(format!("cannot create consumer {client_id}"), error))?;
        let admin = KafkaAdmin::new(settings, &client_id)?;
        let (settings, timeout) = (settings.clone(), settings.request_timeout);
        Ok(KafkaGroup { group: group.to_owned(), consumer, admin, settings, timeout })
    }

    fn unreachable(&self, doing: &str, error: KafkaError) -> Error {
        unreachable(doing, &self.settings.bootstrap_servers, self.timeout, error)
    }
}

impl ResetCluster for KafkaGroup {
    fn topics(&self) -> Result<BTreeMap<String, i32>> {
        self.admin.all_partition_counts()
    }

    fn group_ids(&self) -> Result<Vec<String>> {
        let groups = self.consumer.client().fetch_group_list(None, self.timeout);
        let groups =
            groups.map_err(|error| self.unreachable("cannot ask the cluster for its groups", error))?;
        Ok(groups.groups().iter().map(|group| group.name().to_owned()).collect())
    }

    fn members(&self) -> Result<Vec<GroupMember>> {
        Ok(self.admin.describe_group(&self.group)?.members)
    }

    fn remove_members(&self, members: &[GroupMember]) -> Result<()> {
        let coordinator = self.admin.describe_group(&self.group)?.coordinator.ok_or_else(|| {
            Error::new(ErrorKind::Retry, format!("no broker coordinates {} at the moment", self.group))
        })?;
        leave_group::send(&self.settings, &client_id(&self.group), &coordinator, &self.group, members)
    }

    fn committed(&self) -> Result<BTreeMap<Partition, Offset>> {
        let mut asked = TopicPartitionList::new();
        for (topic, count) in self.topics()?.iter().filter(|(_, count)| **count > 0) {
            asked.add_partition_range(topic, 0, count - 1);
        }
        let committed = self.consumer.committed_offsets(asked, self.timeout).map_err(|error| {
            self.unreachable(&format!("cannot ask for the committed offsets of {}", self.group), error)
        })?;
        offsets_of(&committed)
    }

    fn bounds(&self, (topic, partition): &Partition) -> Result<(Offset, Offset)> {
        bounds(&self.consumer, topic, *partition, self.timeout)
    }

    fn at_time(&self, partitions: &[Partition], time: Timestamp) -> Result<BTreeMap<Partition, Offset>> {
        let mut asked = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            let time = NativeOffset::Offset(time.as_millis());
            asked.add_partition_offset(topic, *partition, time).map_err(|error| {
                kafka_error(format!("time for partition {partition} of topic {topic}"), error)
            })?;
        }
        let found = self
            .consumer
            .offsets_for_times(asked, self.timeout)
            .map_err(|error| self.unreachable("cannot ask for the offsets at that time", error))?;
        offsets_of(&found)
    }

    fn commit(&self, offsets: &[(Partition, Offset)], note: &str) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for ((topic, partition), offset) in offsets {
            let mut added = list.add_partition(topic, *partition);
            added.set_offset(NativeOffset::Offset(offset.get())).map_err(|error| {
                kafka_error(format!("offset of partition {partition} of topic {topic}"), error)
            })?;
            added.set_metadata(note);
        }
        let doing = || format!("cannot commit the offsets of {}", self.group);
        self.consumer.commit(&list, CommitMode::Sync).map_err(|error| kafka_error(doing(), error))?;
        // The client says nothing about single partitions that were refused.
        let committed = self.committed()?;
        match offsets.iter().find(|(partition, offset)| committed.get(partition) != Some(offset)) {
            Some(((topic, partition), _)) => Err(Error::new(
                ErrorKind::Retry,
                format!(
                    "{}: the brokers did not take that of partition {partition} of topic {topic}",
                    doing()
                ),
            )),
            None => Ok(()),
        }
    }

    fn delete_topic(&self, topic: &str) -> Result<()> {
        self.admin.delete_topic(topic)
    }
}

/// How far a group is in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionLag {
    /// Topic in Kafka.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
    /// The next offset the group will process.
    pub committed: Offset,
    /// The offset after the newest committed record.
    pub end: Offset,
}

impl PartitionLag {
    /// Offsets that are left. An upper bound of the records: compacted ones leave gaps.
    pub fn records(&self) -> u64 {
        u64::try_from(self.end.get() - self.committed.get()).unwrap_or(0)
    }
}

/// How far a group, which is an application's id, is in each partition it has committed an offset of, sorted. Members may be running or not.
///
/// # Errors
/// `Invalid` if it has committed none, `Retry` if the cluster does not answer.
pub fn group_lag(settings: &Settings, group: &str) -> Result<Vec<PartitionLag>> {
    let cluster = KafkaGroup::new(settings, group)?;
    let lag = |((topic, partition), committed): ((String, i32), Offset)| {
        let end = cluster.bounds(&(topic.clone(), partition))?.1;
        Ok(PartitionLag { topic, partition, committed, end })
    };
    let committed = cluster.committed()?;
    if committed.is_empty() {
        return Err(Error::invalid(format!(
            "{group} has committed no offsets here: check the application id"
        )));
    }
    committed.into_iter().map(lag).collect()
}

/// The offsets in a list, without the partitions that have none.
///
/// # Errors
/// That of the first partition the brokers refuse.
fn offsets_of(list: &TopicPartitionList) -> Result<BTreeMap<Partition, Offset>> {
    let mut offsets = BTreeMap::new();
    for element in list.elements() {
        let partition = (element.topic().to_owned(), element.partition());
        if let Some(offset) = told_offset(&element)? {
            offsets.insert(partition, offset);
        }
    }
    Ok(offsets)
}
