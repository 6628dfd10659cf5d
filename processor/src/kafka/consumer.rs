//! A consumer that hands out messages in batches and group events one by one, both on the thread that asks.
//!
//! Partitions are forwarded to a queue of our own after each assignment: the consumer's own queue also carries rebalance
//! events, which a batch call would swallow. A rebalance is not carried out in the callback but reported as a
//! [`GroupEvent`], so that tasks are closed before their partitions are given up.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millstream_state_stores::Offset;
use parking_lot::Mutex;
use rdkafka::bindings as rdsys;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer as _, ConsumerContext, ConsumerGroupMetadata, RebalanceProtocol,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset as NativeOffset, TopicPartitionList};
use rustc_hash::FxHashMap;

use super::client::{client_config, kafka_error, log, millis};
use super::closing::Closing;
use super::message::KafkaMessage;
use crate::clients::{Consumer, Fetched, GroupEvent, PartitionOffset, Traffic};
use crate::config::{OffsetReset, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::reset::UNFINISHED;
use crate::task::InputMessage;

const RESTORE_PREFIXES: &[&str] = &["consumer.", "restore.consumer."];
/// Messages taken from the client at once.
const BATCH: usize = 1000;

pub(crate) struct KafkaConsumer {
    // Declared, and so dropped, before the client: the queue holds a reference to it.
    queue: OwnQueue,
    client: Closing<BaseConsumer<GroupContext>>,
    /// Sees open transactions, to find the end of a changelog; only where a store is restored.
    log: Option<Closing<BaseConsumer>>,
    /// Index into `assigned` by topic handle and partition, so that no name is compared on the path.
    routes: FxHashMap<(usize, i32), usize>,
    assigned: Vec<(Arc<str>, i32)>,
    /// By index into `assigned`: where the partition's end was, if nothing was fetched from it since.
    ends_fetched: Vec<Option<Offset>>,
    /// Messages on their way to the sink; kept for its memory.
    batch: Vec<KafkaMessage>,
    buffer: Box<[MaybeUninit<*mut rdsys::rd_kafka_message_t>; BATCH]>,
    timeout: Duration,
    traffic: Traffic,
}

impl KafkaConsumer {
    /// A member of the application's group.
    pub(crate) fn in_group(settings: &Settings, group: &str, client_id: &str) -> Result<Self> {
        let reset = match settings.offset_reset {
            OffsetReset::Earliest => "earliest",
            OffsetReset::Latest => "latest",
        };
        let session_timeout = millis(settings.session_timeout).to_string();
        let heartbeat = millis(settings.session_timeout / 10).clamp(100, 3000).to_string();
        let defaults = [("session.timeout.ms", &*session_timeout), ("heartbeat.interval.ms", &*heartbeat)];
        let mut fixed = vec![
            ("group.id", group),
            ("auto.offset.reset", reset),
            ("partition.assignment.strategy", "range"),
        ];
        if settings.is_exactly_once() {
            fixed.push(("isolation.level", "read_committed"));
        }
        KafkaConsumer::create(settings, client_id, &["consumer."], &defaults, &fixed)
    }

    /// As [`KafkaConsumer::alone`], and able to tell where a log ends whose last transaction is open.
    pub(crate) fn for_restore(settings: &Settings, client_id: &str) -> Result<Self> {
        let fixed = [("group.id", client_id), ("isolation.level", "read_uncommitted")];
        let log = client_config(settings, &format!("{client_id}-log"), RESTORE_PREFIXES, &[], &fixed)
            .create()
            .map_err(|error| kafka_error(format!("cannot create consumer {client_id}-log"), error))?;
        let mut consumer = KafkaConsumer::alone(settings, client_id)?;
        consumer.log = Some(Closing::new(log));
        Ok(consumer)
    }

    /// A consumer outside of any group, which reads what is committed of what it is assigned.
    pub(crate) fn alone(settings: &Settings, client_id: &str) -> Result<Self> {
        // librdkafka has no group-less consumer; nothing is ever committed under this name.
        let fixed =
            [("group.id", client_id), ("auto.offset.reset", "error"), ("isolation.level", "read_committed")];
        KafkaConsumer::create(settings, client_id, RESTORE_PREFIXES, &[], &fixed)
    }

    fn create(
        settings: &Settings,
        client_id: &str,
        prefixes: &[&str],
        defaults: &[(&str, &str)],
        fixed: &[(&str, &str)],
    ) -> Result<Self> {
        let mut all_defaults = vec![
            ("fetch.queue.backoff.ms", "5"),
            ("queued.min.messages", "100000"),
            ("queued.max.messages.kbytes", "16384"),
            ("fetch.wait.max.ms", "100"),
            ("check.crcs", "true"),
        ];
        all_defaults.extend_from_slice(defaults);
        let mut all_fixed = vec![
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("allow.auto.create.topics", "false"),
        ];
        all_fixed.extend_from_slice(fixed);
        let config = client_config(settings, client_id, prefixes, &all_defaults, &all_fixed);
        let client: BaseConsumer<GroupContext> = config
            .create_with_context(GroupContext::default())
            .map_err(|error| kafka_error(format!("cannot create consumer {client_id}"), error))?;
        // SAFETY: the native client is valid; the queue is destroyed before it by field order.
        let queue = OwnQueue(unsafe { rdsys::rd_kafka_queue_new(client.client().native_ptr()) });
        Ok(KafkaConsumer {
            queue,
            client: Closing::new(client),
            log: None,
            routes: FxHashMap::default(),
            assigned: Vec::new(),
            ends_fetched: Vec::new(),
            batch: Vec::with_capacity(BATCH),
            buffer: Box::new([const { MaybeUninit::uninit() }; BATCH]),
            timeout: settings.request_timeout,
            traffic: Traffic::default(),
        })
    }

    /// The offsets that a reader gets to see: of the oldest record, and after the newest one that is committed.
    pub(crate) fn watermarks(&self, topic: &str, partition: i32) -> Result<(Offset, Offset)> {
        bounds(&self.client, topic, partition, self.timeout)
    }

    fn forward_all(&self) -> Result<()> {
        for (topic, partition) in &self.assigned {
            self.forward(topic, *partition, self.queue.0)?;
        }
        Ok(())
    }

    fn is_cooperative(&self) -> bool {
        matches!(self.client.rebalance_protocol(), RebalanceProtocol::Cooperative)
    }

    fn forward(&self, topic: &str, partition: i32, to: *mut rdsys::rd_kafka_queue_t) -> Result<()> {
        let name = CString::new(topic)
            .map_err(|error| Error::invalid(format!("{topic:?} is not a topic name")).with_source(error))?;
        // SAFETY: the client and the target queue are valid; the partition's queue is released right after.
        unsafe {
            let from = rdsys::rd_kafka_queue_get_partition(
                self.client.client().native_ptr(),
                name.as_ptr(),
                partition,
            );
            if !from.is_null() {
                rdsys::rd_kafka_queue_forward(from, to);
                rdsys::rd_kafka_queue_destroy(from);
            }
        }
        Ok(())
    }

    fn consume(&mut self, wait: Duration, most: usize) -> Result<usize> {
        // SAFETY: the queue is valid and the buffer has room for `most` pointers.
        let count = unsafe {
            rdsys::rd_kafka_consume_batch_queue(
                self.queue.0,
                millis(wait),
                self.buffer.as_mut_ptr().cast(),
                most,
            )
        };
        usize::try_from(count).map_err(|_| Error::fatal("the consumer's queue cannot be read"))
    }

    fn route(
        &mut self,
        message: KafkaMessage,
        sink: &mut impl FnMut(usize, Fetched<KafkaMessage>) -> Result<()>,
    ) -> Result<()> {
        let handle = (message.topic_handle() as usize, message.partition());
        let assigned = match self.routes.get(&handle) {
            Some(index) => *index,
            None => {
                let name = message.topic_name();
                let found = self
                    .assigned
                    .iter()
                    .position(|(topic, partition)| **topic == *name && *partition == handle.1);
                // Left over from a partition that was given up.
                let Some(index) = found else { return Ok(()) };
                self.routes.insert(handle, index);
                index
            }
        };
        match message.error_code() {
            rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {
                self.traffic.records += 1;
                self.traffic.bytes += message.size() as u64;
                self.ends_fetched[assigned] = None;
                sink(assigned, Fetched::Message(message))
            }
            rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                let end = message.offset();
                self.ends_fetched[assigned] = Some(end);
                sink(assigned, Fetched::EndOfPartition(end))
            }
            code => {
                let error = KafkaError::MessageConsumption(RDKafkaErrorCode::from(code));
                let (topic, partition) = &self.assigned[assigned];
                let error =
                    kafka_error(format!("partition {partition} of topic {topic} cannot be read"), error);
                if error.kind() != ErrorKind::Retry {
                    return Err(error);
                }
                // The client tries again by itself.
                tracing::warn!(%error, "the consumer reports a problem");
                Ok(())
            }
        }
    }
}

impl Consumer for KafkaConsumer {
    type Message = KafkaMessage;
    type GroupMetadata = ConsumerGroupMetadata;

    fn subscribe(&self, topics: &[&str]) -> Result<()> {
        self.client
            .subscribe(topics)
            .map_err(|error| kafka_error(format!("cannot subscribe to {topics:?}"), error))
    }

    fn poll_group(&mut self) -> Result<Option<GroupEvent>> {
        loop {
            if let Some(event) = self.client.context().events.lock().pop_front() {
                return Ok(Some(event));
            }
            match self.client.poll(Duration::ZERO) {
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    return Err(Error::fatal("the consumer cannot go on")
                        .with_source(KafkaError::MessageConsumptionFatal(code)));
                }
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
                None if self.client.context().events.lock().is_empty() => return Ok(None),
                None => {}
            }
        }
    }

    fn assign(&mut self, partitions: &[PartitionOffset]) -> Result<()> {
        let list = partition_list(partitions)?;
        // Before: so that not one record goes to the consumer's own queue. After: because the end of an earlier assignment
        // of the same partition takes the forwarding back.
        for partition in partitions {
            self.forward(&partition.topic, partition.partition, self.queue.0)?;
        }
        let assigned = if self.is_cooperative() {
            self.client.incremental_assign(&list)
        } else {
            self.assigned.clear();
            self.ends_fetched.clear();
            self.client.assign(&list)
        };
        assigned.map_err(|error| kafka_error("cannot take the assigned partitions", error))?;
        self.routes.clear();
        for partition in partitions {
            self.assigned.push((Arc::clone(&partition.topic), partition.partition));
            self.ends_fetched.push(None);
        }
        self.forward_all()
    }

    fn unassign(&mut self, partitions: &[(Arc<str>, i32)]) -> Result<()> {
        // A pause outlives the assignment in the client; the next owner of the partition may be this consumer again.
        let plain: Vec<PartitionOffset> = partitions.iter().map(without_offset).collect();
        let resumed = self.client.resume(&partition_list(&plain)?);
        resumed.map_err(|error| kafka_error("cannot resume the revoked partitions", error))?;
        for (topic, partition) in partitions {
            self.forward(topic, *partition, std::ptr::null_mut())?;
        }
        let unassigned = if self.is_cooperative() {
            self.client.incremental_unassign(&partition_list(&plain)?)
        } else {
            self.client.unassign()
        };
        (self.assigned, self.ends_fetched) = std::mem::take(&mut self.assigned)
            .into_iter()
            .zip(std::mem::take(&mut self.ends_fetched))
            .filter(|(assigned, _)| !partitions.contains(assigned))
            .unzip();
        self.routes.clear();
        unassigned.map_err(|error| kafka_error("cannot give up the revoked partitions", error))
    }

    fn assigned(&self) -> &[(Arc<str>, i32)] {
        &self.assigned
    }

    fn starts(
        &self,
        partitions: &[(Arc<str>, i32)],
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
            let offset = match known.map(|found| found.offset()) {
                Some(NativeOffset::Offset(offset)) => Offset::new(offset),
                _ => {
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

    fn fetch(
        &mut self,
        wait: Duration,
        mut sink: impl FnMut(usize, Fetched<KafkaMessage>) -> Result<()>,
    ) -> Result<usize> {
        let mut count = self.consume(Duration::ZERO, BATCH)?;
        if count == 0 && !wait.is_zero() {
            count = self.consume(wait, 1)?;
            if count == 0 {
                // The end of an earlier assignment is asynchronous and may have come after `assign`; doing it again is harmless.
                self.forward_all()?;
            }
        }
        // Owned before the sink runs, so that they are released even if it fails or panics.
        // SAFETY: the call filled the first `count` slots, and each is taken once.
        let taken = self.buffer[..count]
            .iter()
            .filter_map(|slot| unsafe { KafkaMessage::from_raw(slot.assume_init()) });
        let mut batch = std::mem::take(&mut self.batch);
        batch.extend(taken);
        let outcome = batch.drain(..).try_for_each(|message| self.route(message, &mut sink));
        self.batch = batch;
        outcome.map(|()| count)
    }

    fn pause(&self, assigned: usize, pause: bool) -> Result<()> {
        let partition = &self.assigned[assigned];
        let list = partition_list(&[without_offset(partition)])?;
        let done = if pause { self.client.pause(&list) } else { self.client.resume(&list) };
        let done = done.and_then(|()| match self.ends_fetched[assigned] {
            // Taken in a batch, the end counts as a record for librdkafka (2.12): without this, one would be left out.
            Some(end) if !pause => {
                self.client.seek(&partition.0, partition.1, NativeOffset::Offset(end.get()), Duration::ZERO)
            }
            _ => Ok(()),
        });
        done.map_err(|error| kafka_error(format!("cannot pause or resume topic {}", partition.0), error))
    }

    fn commit(&self, offsets: &[PartitionOffset]) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        self.client
            .commit(&partition_list(offsets)?, CommitMode::Sync)
            .map_err(|error| kafka_error("cannot commit offsets", error))
    }

    fn seek(&mut self, positions: &[PartitionOffset]) -> Result<()> {
        let sought = self.client.seek_partitions(partition_list(positions)?, self.timeout);
        let sought = sought.map_err(|error| kafka_error("cannot seek", error))?;
        for partition in sought.elements() {
            partition.error().map_err(|error| {
                let place = format!("partition {} of topic {}", partition.partition(), partition.topic());
                kafka_error(format!("cannot seek in {place}"), error)
            })?;
        }
        for (assigned, end) in self.assigned.iter().zip(&mut self.ends_fetched) {
            if positions.iter().any(|sought| (&sought.topic, sought.partition) == (&assigned.0, assigned.1)) {
                *end = None;
            }
        }
        Ok(())
    }

    fn group_metadata(&self) -> Result<ConsumerGroupMetadata> {
        self.client.group_metadata().ok_or_else(|| Error::fatal("the consumer is not in a group"))
    }

    fn last_seen_end(&self, topic: &str, partition: i32) -> Option<Offset> {
        let name = CString::new(topic).ok()?;
        let (mut low, mut high) = (0, 0);
        // SAFETY: the client is valid and the out-pointers are too.
        let code = unsafe {
            rdsys::rd_kafka_get_watermark_offsets(
                self.client.client().native_ptr(),
                name.as_ptr(),
                partition,
                &raw mut low,
                &raw mut high,
            )
        };
        let known = code == rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0;
        known.then(|| Offset::new(high))
    }

    fn log_bounds(&self, topic: &str, partition: i32) -> Result<(Offset, Offset)> {
        match &self.log {
            Some(log) => bounds(log, topic, partition, self.timeout),
            None => self.watermarks(topic, partition),
        }
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        // From here on the client closes itself, and nobody is left to carry out its events.
        self.client.context().closing.store(true, Ordering::Relaxed);
        let assigned = std::mem::take(&mut self.assigned);
        if let Err(error) = self.unassign(&assigned) {
            tracing::debug!(%error, "closing the consumer");
        }
    }
}

/// First and next offset of a partition that is known to exist: a broker that does not know it has yet to hear of it.
pub(super) fn bounds<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
    timeout: Duration,
) -> Result<(Offset, Offset)> {
    use RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
    let (low, high) = client.fetch_watermarks(topic, partition, timeout).map_err(|error| {
        let doing = format!("cannot ask for the end of partition {partition} of topic {topic}");
        match error.rdkafka_error_code() {
            Some(UnknownPartition | UnknownTopic | UnknownTopicOrPartition) => {
                Error::new(ErrorKind::Retry, doing).with_source(error)
            }
            _ => kafka_error(doing, error),
        }
    })?;
    Ok((Offset::new(low), Offset::new(high)))
}

fn without_offset((topic, partition): &(Arc<str>, i32)) -> PartitionOffset {
    PartitionOffset { topic: Arc::clone(topic), partition: *partition, offset: None }
}

pub(super) fn partition_list(partitions: &[PartitionOffset]) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for PartitionOffset { topic, partition, offset } in partitions {
        let offset = offset.map_or(NativeOffset::Invalid, |offset| NativeOffset::Offset(offset.get()));
        list.add_partition_offset(topic, *partition, offset).map_err(|error| {
            kafka_error(format!("offset of partition {partition} of topic {topic}"), error)
        })?;
    }
    Ok(list)
}

struct OwnQueue(*mut rdsys::rd_kafka_queue_t);

impl Drop for OwnQueue {
    fn drop(&mut self) {
        // SAFETY: created by `rd_kafka_queue_new` and destroyed once.
        unsafe { rdsys::rd_kafka_queue_destroy(self.0) }
    }
}

#[derive(Default)]
struct GroupContext {
    events: Mutex<std::collections::VecDeque<GroupEvent>>,
    closing: AtomicBool,
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
        if self.closing.load(Ordering::Relaxed) {
            if let Err(error) = consumer.unassign() {
                tracing::debug!(%error, "giving up partitions while closing");
            }
            return;
        }
        let partitions: Vec<(Arc<str>, i32)> = partitions
            .elements()
            .iter()
            .map(|element| (element.topic().into(), element.partition()))
            .collect();
        let event = if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            GroupEvent::Assigned(partitions)
        } else {
            GroupEvent::Revoked { partitions, lost: consumer.assignment_lost() }
        };
        self.events.lock().push_back(event);
    }
}

#[cfg(test)]
mod tests;
