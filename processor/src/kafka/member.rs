//! The part of a consumer that belongs to the group: how it joins, what the group decides about it, and its offsets there.
//!
//! A rebalance is not carried out in the client's callback but reported as a [`GroupEvent`], so that tasks are committed before their
//! partitions are given up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::bindings as rdsys;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer as _, ConsumerContext, ConsumerGroupMetadata, RebalanceProtocol,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::types::RDKafkaRespErr;

use super::client::{kafka_error, known_topic_error, log, millis};
use super::consumer::{KafkaConsumer, partition_list, told_offset, without_offset};
use crate::clients::{GroupChange, GroupEvent, PartitionOffset};
use crate::config::{GroupProtocol, OffsetReset, Settings};
use crate::error::{Error, Result};
use crate::membership::{GroupMember, TopicPartition};
use crate::reset::UNFINISHED;

/// Most of the time between two heartbeats under the classic protocol: a member hears of a rebalance with the next one, and everybody waits
/// for the last.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);
/// How long the client is served while it leaves the group, in slices.
const SLICES_TO_LEAVE: u32 = 50;
const SLICE: Duration = Duration::from_millis(20);

impl KafkaConsumer {
    /// A member of the application's group; a static one if it has an instance id.
    pub(crate) fn in_group(
        settings: &Settings,
        group: &str,
        client_id: &str,
        instance_id: Option<&str>,
    ) -> Result<Self> {
        let reset = match settings.offset_reset {
            OffsetReset::Earliest => "earliest",
            OffsetReset::Latest => "latest",
        };
        let session_timeout = millis(settings.session_timeout).to_string();
        let heartbeat = millis((settings.session_timeout / 10).min(HEARTBEAT_INTERVAL)).max(100).to_string();
        let mut defaults = Vec::new();
        let mut fixed = vec![("group.id", group), ("auto.offset.reset", reset)];
        match settings.group_protocol {
            GroupProtocol::Classic => {
                defaults.push(("session.timeout.ms", &*session_timeout));
                defaults.push(("heartbeat.interval.ms", &*heartbeat));
                fixed.push(("group.protocol", "classic"));
                fixed.push(("partition.assignment.strategy", "range"));
            }
            // Sessions and heartbeats are the group's own configuration here.
            GroupProtocol::Consumer => {
                fixed.push(("group.protocol", "consumer"));
                fixed.push(("group.remote.assignor", "range"));
            }
        }
        fixed.extend(instance_id.map(|id| ("group.instance.id", id)));
        if settings.is_exactly_once() {
            fixed.push(("isolation.level", "read_committed"));
        }
        let mut member = KafkaConsumer::create(settings, client_id, &["consumer."], &defaults, &fixed)?;
        // Under the consumer protocol librdkafka (2.12) knows a static member only as one that comes back.
        member.knows_a_farewell = instance_id.is_some() && settings.group_protocol == GroupProtocol::Classic;
        Ok(member)
    }

    /// Serves the client and returns the next decision of the group, if there is one.
    pub(super) fn next_event(&mut self) -> Result<Option<GroupEvent>> {
        loop {
            if let Some(event) = self.client.context().events.lock().pop_front() {
                return Ok(Some(event));
            }
            match self.client.poll(Duration::ZERO) {
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => return Err(self.fatal(code)),
                Some(Err(KafkaError::MessageConsumption(code))) => {
                    tracing::warn!(%code, "the consumer reports a problem")
                }
                Some(Ok(message)) => {
                    return Err(Error::fatal(format!(
                        "record {}-{}@{} bypassed the queue of its partition; it is read again after a restart",
                        message.topic(),
                        message.partition(),
                        message.offset()
                    )));
                }
                Some(Err(error)) => tracing::debug!(%error, "event of the consumer"),
                // Nothing, or something that the client has seen to by itself.
                None if self.queue.client_has_more_to_say()
                    || !self.client.context().events.lock().is_empty() => {}
                None => return Ok(None),
            }
        }
    }

    /// When it is closed, the client says no farewell for a static member of a classic group; when it unsubscribes, it does, as soon as it
    /// was told to give up its partitions.
    pub(super) fn say_farewell(&self) {
        self.client.unsubscribe();
        for _ in 0..SLICES_TO_LEAVE {
            if let Some(Err(error)) = self.client.poll(SLICE) {
                tracing::debug!(%error, "leaving the group");
            }
            if self.client.context().has_let_go.load(Ordering::Relaxed) {
                return;
            }
        }
        tracing::warn!("the group did not let a member go; its tasks wait for its session");
    }

    /// Why the client can never work again.
    fn fatal(&self, code: RDKafkaErrorCode) -> Error {
        let (cause, reason) = self.client.client().fatal_error().unwrap_or((code, code.to_string()));
        let what = match cause {
            RDKafkaErrorCode::FencedInstanceId | RDKafkaErrorCode::UnreleasedInstanceId => {
                "another instance runs with the same group_instance_id: give each its own".to_string()
            }
            RDKafkaErrorCode::UnsupportedVersion | RDKafkaErrorCode::UnsupportedFeature => {
                "the brokers do not know the group protocol: use `classic`, or brokers from Kafka 4.0 on"
                    .to_string()
            }
            _ => format!("the consumer cannot go on: {reason}"),
        };
        Error::fatal(what).with_source(KafkaError::MessageConsumptionFatal(cause))
    }
}

impl GroupMember for KafkaConsumer {
    type Identity = ConsumerGroupMetadata;

    fn subscribe(&self, topics: &[&str]) -> Result<()> {
        self.client
            .subscribe(topics)
            .map_err(|error| kafka_error(format!("cannot subscribe to {topics:?}"), error))
    }

    fn starts(
        &self,
        partitions: &[TopicPartition],
        reset: impl Fn(&str) -> OffsetReset,
    ) -> Result<Vec<PartitionOffset>> {
        let asked: Vec<PartitionOffset> = partitions.iter().map(without_offset).collect();
        let committed = self
            .client
            .committed_offsets(partition_list(&asked)?, self.timeout)
            .map_err(|error| kafka_error("cannot ask for the committed offsets", error))?;
        let mut starts = Vec::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            let known = committed.find_partition(topic, *partition);
            if known.as_ref().is_some_and(|found| found.metadata() == UNFINISHED) {
                return Err(Error::invalid(format!(
                    "{UNFINISHED} (partition {partition} of topic {topic}): run it again before an instance is started"
                )));
            }
            let offset = match known.map(|found| told_offset(&found)).transpose()?.flatten() {
                Some(offset) => offset,
                None => {
                    let (oldest, end) = self.watermarks(topic, *partition)?;
                    match reset(topic) {
                        OffsetReset::Earliest => oldest,
                        OffsetReset::Latest => end,
                    }
                }
            };
            starts.push(PartitionOffset {
                topic: Arc::clone(topic),
                partition: *partition,
                offset: Some(offset),
            });
        }
        Ok(starts)
    }

    fn commit(&self, offsets: &[PartitionOffset]) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        self.client
            .commit(&partition_list(offsets)?, CommitMode::Sync)
            .map_err(|error| known_topic_error("cannot commit offsets", error))
    }

    fn identity(&self) -> Result<ConsumerGroupMetadata> {
        self.client.group_metadata().ok_or_else(|| Error::fatal("the consumer is not in a group"))
    }

    fn leave_for_good(&mut self) {
        self.leaves_for_good = self.knows_a_farewell;
    }
}

/// Whether the group gives and takes partitions one by one.
pub(super) fn is_incremental(client: &BaseConsumer<GroupContext>) -> bool {
    matches!(client.rebalance_protocol(), RebalanceProtocol::Cooperative)
}

#[derive(Default)]
pub(super) struct GroupContext {
    events: Mutex<VecDeque<GroupEvent>>,
    is_closing: AtomicBool,
    /// Whether it gave up its partitions while closing.
    has_let_go: AtomicBool,
}

impl GroupContext {
    /// From here on the client carries out by itself what the group decides.
    pub(super) fn begin_to_close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }

    /// Gives up all partitions, once. What the group had asked before and what the client asks because it closes are two questions, and to
    /// librdkafka (2.12) the first answer is one to both. A second may come when nobody is left to take it, and would wait for ever:
    /// <https://github.com/confluentinc/librdkafka/issues/4884>.
    fn let_go(&self, consumer: &BaseConsumer<Self>) {
        if self.has_let_go.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Err(error) = consumer.unassign() {
            tracing::debug!(%error, "giving up partitions while closing");
        }
    }
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "the consumer reports a problem");
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        if self.is_closing.load(Ordering::Relaxed) {
            self.let_go(consumer);
            return;
        }
        let change = match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS if is_incremental(consumer) => {
                GroupChange::AssignedMore
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => GroupChange::AssignedAll,
            _ if consumer.assignment_lost() => GroupChange::Lost,
            _ => GroupChange::Revoked,
        };
        let named = partitions.elements();
        let partitions = named.iter().map(|element| (element.topic().into(), element.partition())).collect();
        let generation = generation(consumer);
        self.events.lock().push_back(GroupEvent { partitions, generation, change });
    }
}

/// The generation of the group, or the member's epoch, that the client knows of; -1 if it is in none.
fn generation(consumer: &BaseConsumer<GroupContext>) -> i32 {
    // SAFETY: the client is valid; what it hands out is destroyed once.
    unsafe {
        let metadata = rdsys::rd_kafka_consumer_group_metadata(consumer.client().native_ptr());
        if metadata.is_null() {
            return -1;
        }
        let generation = rdsys::rd_kafka_consumer_group_metadata_generation_id(metadata);
        rdsys::rd_kafka_consumer_group_metadata_destroy(metadata);
        generation
    }
}
