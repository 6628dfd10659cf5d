//! What a run has achieved, seen on the broker: nothing in the process that is measured takes part.

use std::cell::OnceCell;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use millstream_integration_tests::wait::await_until;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

const DEADLINE: Duration = Duration::from_secs(30);

/// Reads how far topics and groups are, with one request a look.
pub(crate) struct Watch {
    /// In no group: to end one that is in a group takes a tenth of a second.
    inspector: BaseConsumer,
    in_group: OnceCell<BaseConsumer>,
    settings_in_group: ClientConfig,
}

impl Watch {
    /// `group` is the one whose committed offsets are asked for.
    pub(crate) fn new(bootstrap_servers: &str, group: &str) -> Result<Self> {
        let inspector = ClientConfig::new().set("bootstrap.servers", bootstrap_servers).create()?;
        let mut settings_in_group = ClientConfig::new();
        settings_in_group
            .set("bootstrap.servers", bootstrap_servers)
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            // The end of a partition is told when there is nothing to fetch for so long.
            .set("fetch.wait.max.ms", "10")
            .set("fetch.queue.backoff.ms", "5");
        Ok(Self { inspector, in_group: OnceCell::new(), settings_in_group })
    }

    fn in_group(&self) -> Result<&BaseConsumer> {
        match self.in_group.get() {
            Some(consumer) => Ok(consumer),
            None => {
                let consumer = self.settings_in_group.create()?;
                Ok(self.in_group.get_or_init(|| consumer))
            }
        }
    }

    /// Records in a topic.
    pub(crate) fn records(&self, topic: &str, partitions: i32) -> Result<u64> {
        let ends = self.at(topic, partitions, Offset::End)?;
        // A request for times answers with offsets; the end is a time of its own in the protocol.
        let ask = || sum(&self.inspector.offsets_for_times(ends.clone(), DEADLINE)?);
        // Partitions that were just made may not have a leader yet.
        await_until(DEADLINE, format!("the end of {topic}"), || ask().ok())
    }

    /// Records of a topic that the group has committed.
    pub(crate) fn committed(&self, topic: &str, partitions: i32) -> Result<u64> {
        use RDKafkaErrorCode::{CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator};
        let (asked, consumer) = (self.at(topic, partitions, Offset::Invalid)?, self.in_group()?);
        // The first group of a broker waits until that has a place for committed offsets.
        let is_to_come = |error: &KafkaError| {
            let code = error.rdkafka_error_code();
            matches!(code, Some(CoordinatorLoadInProgress | CoordinatorNotAvailable | NotCoordinator))
        };
        let committed = await_until(DEADLINE, "the coordinator of the group", || {
            match consumer.committed_offsets(asked.clone(), DEADLINE) {
                Err(error) if is_to_come(&error) => None,
                answer => Some(answer),
            }
        })??;
        sum(&committed)
    }

    fn at(&self, topic: &str, partitions: i32, offset: Offset) -> Result<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, offset)?;
        }
        Ok(list)
    }

    /// A number that two topics share only if they hold the same records, in whatever order the keys came. What is known to be missing yet
    /// is waited for.
    pub(crate) fn digest(&self, topic: &str, partitions: i32, what: Digest) -> Result<u64> {
        let mut newest: FxHashMap<Vec<u8>, u64> = FxHashMap::default();
        let consumer = self.in_group()?;
        let (mut all, mut count) = (0_u64, 0_u64);
        let expected = match what {
            Digest::AllRecords { expected } => expected,
            Digest::NewestByKey => 0,
        };
        consumer.assign(&self.at(topic, partitions, Offset::Beginning)?)?;
        let mut at_end: FxHashSet<i32> = FxHashSet::default();
        while at_end.len() < usize::try_from(partitions)? || count < expected {
            match consumer.poll(DEADLINE) {
                Some(Ok(message)) => {
                    at_end.remove(&message.partition());
                    count += 1;
                    let (key, value) = (message.key().unwrap_or_default(), message.payload());
                    let mut hasher = FxBuildHasher.build_hasher();
                    hasher.write(key);
                    hasher.write_u8(u8::from(value.is_some()));
                    hasher.write(value.unwrap_or_default());
                    let hash = hasher.finish();
                    match what {
                        Digest::AllRecords { .. } => all = all.wrapping_add(hash),
                        Digest::NewestByKey => drop(newest.insert(key.to_vec(), hash)),
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(at_end.insert(partition)),
                Some(Err(error)) => return Err(error).with_context(|| format!("cannot read {topic}")),
                None => bail!("waited {DEADLINE:?} for more than {count} records in {topic}"),
            }
        }
        consumer.unassign()?;
        Ok(newest.values().fold(all, |sum, hash| sum.wrapping_add(*hash)))
    }
}

/// What of a topic must be the same on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Digest {
    AllRecords {
        /// How many there are going to be at least.
        expected: u64,
    },
    /// How often a key is written may differ, how it ends may not.
    NewestByKey,
}

fn sum(offsets: &TopicPartitionList) -> Result<u64> {
    let mut sum = 0;
    for element in offsets.elements() {
        element.error().with_context(|| format!("no offset for {}", element.topic()))?;
        if let Offset::Offset(offset) = element.offset() {
            sum += u64::try_from(offset)?;
        }
    }
    Ok(sum)
}
