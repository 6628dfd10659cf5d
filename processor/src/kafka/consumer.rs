//! A consumer that hands out messages in batches and group events one by one, both on the thread that asks.
//!
//! Partitions are forwarded to a queue of our own after each assignment: the consumer's own queue also carries rebalance
//! events, which a batch call would swallow. What the group has to do with it is in [`super::member`].

use std::collections::BTreeSet;
use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

use millstream_state_stores::Offset;
use rdkafka::bindings as rdsys;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset as NativeOffset, TopicPartitionList};
use rustc_hash::FxHashMap;

use super::client::{client_config, kafka_error, known_topic_error};
use super::closing::Closing;
use super::member::{GroupContext, is_incremental};
use super::message::KafkaMessage;
use super::own_queue::OwnQueue;
use crate::clients::{Consumer, Fetched, GroupEvent, PartitionOffset, Traffic};
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::membership::TopicPartition;
use crate::task::InputMessage;

const RESTORE_PREFIXES: &[&str] = &["consumer.", "restore.consumer."];
const GLOBAL_PREFIXES: &[&str] = &["consumer.", "global.consumer."];
/// Fetches after which all partitions are forwarded again: the end of an earlier assignment is asynchronous, takes the forwarding
/// back, and may come late.
const FETCHES_PER_FORWARD: u32 = 64;

pub(crate) struct KafkaConsumer {
    // Declared, and so dropped, before the client.
    pub(super) queue: OwnQueue,
    pub(super) client: Closing<BaseConsumer<GroupContext>>,
    /// Sees open transactions, to find the end of a changelog, and what the application's group has committed; only where a store is
    /// restored. It never joins that group.
    log: Option<Closing<BaseConsumer>>,
    /// Index into `assigned` by topic handle and partition, so that no name is compared on the path.
    routes: FxHashMap<(usize, i32), usize>,
    pub(super) assigned: Vec<TopicPartition>,
    /// By index into `assigned`: what is to be handed out next.
    positions: Vec<Option<Offset>>,
    /// Messages on their way to the sink; kept for its memory.
    batch: Vec<KafkaMessage>,
    pub(super) timeout: Duration,
    /// Whether its group would expect it back, and it can say that it does not come.
    pub(super) knows_a_farewell: bool,
    pub(super) leaves_for_good: bool,
    fetches: u32,
    traffic: Traffic,
}

impl KafkaConsumer {
    /// As [`KafkaConsumer::alone`], and able to tell where a log ends whose last transaction is open, and what a group has committed.
    pub(crate) fn for_restore(settings: &Settings, group: &str, client_id: &str) -> Result<Self> {
        let fixed =
            [("group.id", group), ("enable.auto.commit", "false"), ("isolation.level", "read_uncommitted")];
        let log = client_config(settings, &format!("{client_id}-log"), RESTORE_PREFIXES, &[], &fixed)
            .create()
            .map_err(|error| kafka_error(format!("cannot create consumer {client_id}-log"), error))?;
        let mut consumer = KafkaConsumer::alone(settings, client_id)?;
        consumer.log = Some(Closing::new(log));
        Ok(consumer)
    }

    /// As [`KafkaConsumer::alone`], for the topics of global tables.
    pub(crate) fn for_global_tables(settings: &Settings, client_id: &str) -> Result<Self> {
        KafkaConsumer::outside_groups(settings, client_id, GLOBAL_PREFIXES)
    }

    /// A consumer outside of any group, which reads what is committed of what it is assigned.
    pub(crate) fn alone(settings: &Settings, client_id: &str) -> Result<Self> {
        KafkaConsumer::outside_groups(settings, client_id, RESTORE_PREFIXES)
    }

    fn outside_groups(settings: &Settings, client_id: &str, prefixes: &[&str]) -> Result<Self> {
        // librdkafka has no group-less consumer; nothing is ever committed under this name.
        let fixed =
            [("group.id", client_id), ("auto.offset.reset", "error"), ("isolation.level", "read_committed")];
        KafkaConsumer::create(settings, client_id, prefixes, &[], &fixed)
    }

    pub(super) fn create(
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
        let mut client: BaseConsumer<GroupContext> = config
            .create_with_context(GroupContext::default())
            .map_err(|error| kafka_error(format!("cannot create consumer {client_id}"), error))?;
        Ok(KafkaConsumer {
            queue: OwnQueue::of(&mut client)?,
            client: Closing::new(client),
            log: None,
            routes: FxHashMap::default(),
            assigned: Vec::new(),
            positions: Vec::new(),
            batch: Vec::new(),
            timeout: settings.request_timeout,
            knows_a_farewell: false,
            leaves_for_good: false,
            fetches: 0,
            traffic: Traffic::default(),
        })
    }

    /// The offsets that a reader gets to see: of the oldest record, and after the newest one that is committed.
    pub(crate) fn watermarks(&self, topic: &str, partition: i32) -> Result<(Offset, Offset)> {
        bounds(&self.client, topic, partition, self.timeout)
    }

    fn forward_all(&self) -> Result<()> {
        for (topic, partition) in &self.assigned {
            self.forward(topic, *partition, self.queue.native())?;
        }
        Ok(())
    }

    /// Tells the client where to go on in all that it reads, before it resumes. When partitions come or go one by one, librdkafka (2.12)
    /// pauses all of them and resumes each where it takes the application to be. But an end of a partition that was taken in a batch
    /// counts as a record there, and a batch that is being taken does not count yet.
    fn hold_positions(&self) -> Result<()> {
        let positions = self.known_positions();
        if positions.is_empty() {
            return Ok(());
        }
        self.seek_all(&positions).map_err(|error| {
            Error::new(ErrorKind::Migrated, "what is read cannot be read on").with_source(error)
        })
    }

    /// After all were resumed: nothing else tells the client's threads, which look again after up to a second only.
    fn wake(&self) -> Result<()> {
        let positions = self.known_positions();
        if positions.is_empty() {
            return Ok(());
        }
        let sought = self.client.seek_partitions(partition_list(&positions)?, Duration::ZERO);
        sought.map_err(|error| kafka_error("cannot resume what is read", error))?;
        for PartitionOffset { topic, partition, .. } in positions.iter().filter(|at| is_first(at.offset)) {
            self.nudge(topic, *partition);
        }
        Ok(())
    }

    /// Wakes the client's thread that reads this partition. To librdkafka (2.12) a seek to offset 0 is nothing to look up, so it tells
    /// nobody; a request to the leader goes through the thread. For the answer nobody waits.
    fn nudge(&self, topic: &str, partition: i32) {
        drop(self.client.fetch_watermarks(topic, partition, Duration::from_millis(1)));
    }

    fn known_positions(&self) -> Vec<PartitionOffset> {
        let known = self.assigned.iter().zip(&self.positions).filter(|(_, next)| next.is_some());
        let position = |((topic, partition), next): (&TopicPartition, &Option<Offset>)| PartitionOffset {
            topic: Arc::clone(topic),
            partition: *partition,
            offset: *next,
        };
        known.map(position).collect()
    }

    fn seek_all(&self, positions: &[PartitionOffset]) -> Result<()> {
        let sought = self.client.seek_partitions(partition_list(positions)?, self.timeout);
        let sought = sought.map_err(|error| kafka_error("cannot seek", error))?;
        for partition in sought.elements() {
            match partition.error() {
                // Its fetches have not begun; they will, where it was assigned from.
                Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::State) => {}
                sought => sought.map_err(|error| {
                    let place = format!("partition {} of topic {}", partition.partition(), partition.topic());
                    kafka_error(format!("cannot seek in {place}"), error)
                })?,
            }
        }
        Ok(())
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
                self.positions[assigned] = Some(message.offset().next());
                sink(assigned, Fetched::Message(message))
            }
            rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                let end = message.offset();
                self.positions[assigned] = Some(end);
                sink(assigned, Fetched::EndOfPartition(end))
            }
            // The client has stopped to read the partition.
            rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET => {
                sink(assigned, Fetched::OutOfRange)
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

    fn poll_group(&mut self) -> Result<Option<GroupEvent>> {
        self.next_event()
    }

    fn assign(&mut self, partitions: &[PartitionOffset]) -> Result<()> {
        let list = partition_list(partitions)?;
        // Before: so that not one record goes to the consumer's own queue. After: because the end of an earlier assignment
        // of the same partition takes the forwarding back.
        for partition in partitions {
            self.forward(&partition.topic, partition.partition, self.queue.native())?;
        }
        let assigned = if is_incremental(&self.client) {
            self.hold_positions()?;
            self.client.incremental_assign(&list)
        } else {
            self.assigned.clear();
            self.positions.clear();
            self.client.assign(&list)
        };
        assigned.map_err(|error| kafka_error("cannot take the assigned partitions", error))?;
        self.routes.clear();
        for partition in partitions {
            self.assigned.push((Arc::clone(&partition.topic), partition.partition));
            self.positions.push(partition.offset);
        }
        self.forward_all()?;
        if is_incremental(&self.client) { self.wake() } else { Ok(()) }
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let plain: Vec<PartitionOffset> = partitions.iter().map(without_offset).collect();
        let list = partition_list(&plain)?;
        if !partitions.is_empty() {
            // A pause outlives the assignment in the client; the next owner of the partition may be this consumer again.
            let resumed = self.client.resume(&list);
            resumed.map_err(|error| kafka_error("cannot resume the revoked partitions", error))?;
        }
        for (topic, partition) in partitions {
            self.forward(topic, *partition, std::ptr::null_mut())?;
        }
        let revoked: BTreeSet<&TopicPartition> = partitions.iter().collect();
        (self.assigned, self.positions) = std::mem::take(&mut self.assigned)
            .into_iter()
            .zip(std::mem::take(&mut self.positions))
            .filter(|(assigned, _)| !revoked.contains(assigned))
            .unzip();
        self.routes.clear();
        let doing = "cannot give up the revoked partitions";
        if !is_incremental(&self.client) {
            return self.client.unassign().map_err(|error| kafka_error(doing, error));
        }
        self.hold_positions()?;
        self.client.incremental_unassign(&list).map_err(|error| kafka_error(doing, error))?;
        self.wake()
    }

    fn assigned(&self) -> &[(Arc<str>, i32)] {
        &self.assigned
    }

    fn fetch(
        &mut self,
        wait: Duration,
        mut sink: impl FnMut(usize, Fetched<KafkaMessage>) -> Result<()>,
    ) -> Result<usize> {
        // Owned before the sink runs, so that they are released even if it fails or panics.
        let mut batch = std::mem::take(&mut self.batch);
        let mut count = self.queue.take_into(&mut batch)?;
        if count == 0 && !wait.is_zero() {
            self.queue.wait(wait);
            count = self.queue.take_into(&mut batch)?;
        }
        self.fetches = (self.fetches + 1) % FETCHES_PER_FORWARD;
        if self.fetches == 0 || count == 0 && !wait.is_zero() {
            self.forward_all()?;
        }
        let outcome = batch.drain(..).try_for_each(|message| self.route(message, &mut sink));
        self.batch = batch;
        outcome.map(|()| count)
    }

    fn pause(&self, assigned: usize, pause: bool) -> Result<()> {
        let partition = &self.assigned[assigned];
        let list = partition_list(&[without_offset(partition)])?;
        let done = match self.positions[assigned] {
            _ if pause => self.client.pause(&list),
            None => self.client.resume(&list),
            // As in `hold_positions` and `wake`.
            Some(next) => {
                let to = NativeOffset::Offset(next.get());
                let seek = || self.client.seek(&partition.0, partition.1, to, Duration::ZERO);
                seek().and_then(|()| self.client.resume(&list)).and_then(|()| seek())
            }
        };
        if !pause && is_first(self.positions[assigned]) {
            self.nudge(&partition.0, partition.1);
        }
        done.map_err(|error| kafka_error(format!("cannot pause or resume topic {}", partition.0), error))
    }

    fn seek(&mut self, positions: &[PartitionOffset]) -> Result<()> {
        self.seek_all(positions)?;
        for (assigned, next) in self.assigned.iter().zip(&mut self.positions) {
            let sought = positions.iter().find(|at| (&at.topic, at.partition) == (&assigned.0, assigned.1));
            sought.into_iter().for_each(|sought| *next = sought.offset);
        }
        Ok(())
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

    fn committed(&self, topic: &str, partition: i32) -> Result<Option<Offset>> {
        let asked = partition_list(&[without_offset(&(topic.into(), partition))])?;
        let committed = match &self.log {
            Some(log) => log.committed_offsets(asked, self.timeout),
            None => self.client.committed_offsets(asked, self.timeout),
        };
        let committed = committed.map_err(|error| kafka_error("cannot ask for a committed offset", error))?;
        Ok(committed.find_partition(topic, partition).map(|found| told_offset(&found)).transpose()?.flatten())
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        // From here on the client closes itself, and nobody is left to carry out its events.
        self.client.context().begin_to_close();
        let assigned = std::mem::take(&mut self.assigned);
        if let Err(error) = self.unassign(&assigned) {
            tracing::debug!(%error, "closing the consumer");
        }
        if self.leaves_for_good {
            self.say_farewell();
        }
    }
}

/// First and next offset of a partition that is known to exist.
///
/// A partition that had no leader when the client last heard of its topic is to librdkafka (2.12) an unknown one, and stays one until
/// the topic's metadata expires, after minutes: the client asks for the leader of what it has never heard of alone. So it is made to ask.
pub(super) fn bounds<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
    timeout: Duration,
) -> Result<(Offset, Offset)> {
    let ask = || client.fetch_watermarks(topic, partition, timeout);
    let is_unknown =
        |error: &KafkaError| error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownPartition);
    let found = match ask() {
        Err(error) if is_unknown(&error) => client.fetch_metadata(Some(topic), timeout).and_then(|_| ask()),
        found => found,
    };
    let (low, high) = found.map_err(|error| {
        known_topic_error(format!("cannot ask for the end of partition {partition} of topic {topic}"), error)
    })?;
    Ok((Offset::new(low), Offset::new(high)))
}

/// The offset of a partition, out of the brokers' answer; none if there is none.
///
/// # Errors
/// Why they do not tell it: `Retry` while a transaction decides about it. It stands beside the partition, in an answer that is good as a whole.
pub(super) fn told_offset(told: &TopicPartitionListElem<'_>) -> Result<Option<Offset>> {
    told.error().map_err(|error| {
        let (topic, partition) = (told.topic(), told.partition());
        known_topic_error(
            format!("the brokers tell no offset of partition {partition} of topic {topic}"),
            error,
        )
    })?;
    Ok(match told.offset() {
        NativeOffset::Offset(offset) => Some(Offset::new(offset)),
        _ => None,
    })
}

pub(super) fn without_offset((topic, partition): &TopicPartition) -> PartitionOffset {
    PartitionOffset { topic: Arc::clone(topic), partition: *partition, offset: None }
}

fn is_first(position: Option<Offset>) -> bool {
    position == Some(Offset::new(0))
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

#[cfg(test)]
mod tests;
