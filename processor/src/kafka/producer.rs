//! The producer of a stream thread. Used by that thread only.

use std::ffi::{CString, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use millstream_state_stores::{Offset, Timestamp, partition_for_key};
use parking_lot::{Mutex, RwLock};
use rdkafka::bindings as rdsys;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};
use rustc_hash::FxHashMap;

use super::client::{client_config, kafka_error, log, millis};
use super::closing::Closing;
use super::transactions::TransactionState;
use crate::api::{Header, Headers};
use crate::clients::{PartitionOffset, Producer, Traffic};
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::patience::{MustEnd, once_propagated, patiently};
use crate::step::{Step, StepListener};
use crate::task::{ChangelogSlot, FailedOutput, OutgoingRecord, RecordSender, SenderTopic};

/// How long a record may wait for the brokers before the thread gives up; as long as commits may fail.
const PATIENCE: Duration = Duration::from_secs(300);

/// Between two looks at a full queue. The brokers empty it by many records in that time.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(1);

pub(crate) struct KafkaProducer {
    // Declared, and so dropped, before the client.
    topics: Vec<Topic>,
    topic_indexes: FxHashMap<String, SenderTopic>,
    pub(super) client: Closing<BaseProducer<Deliveries>>,
    pub(super) transaction: TransactionState,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) timeout: Duration,
    on_step: StepListener,
    /// Whether it is to wait no longer than for one answer.
    must_end: MustEnd,
    /// Where the next record without a key goes.
    round_robin: i32,
    traffic: Traffic,
}

struct Topic {
    handle: *mut rdsys::rd_kafka_topic_t,
    name: Arc<str>,
    partitions: i32,
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: created by `rd_kafka_topic_new` and destroyed once.
        unsafe { rdsys::rd_kafka_topic_destroy(self.handle) }
    }
}

impl KafkaProducer {
    pub(crate) fn idempotent(settings: &Settings, client_id: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        KafkaProducer::create(settings, client_id, clock, &[])
    }

    /// With transactions, which are ready when this returns.
    ///
    /// # Errors
    /// `Retry` if the brokers do not answer in time.
    pub(crate) fn transactional(
        settings: &Settings,
        client_id: &str,
        transactional_id: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let timeout = millis(settings.transaction_timeout).to_string();
        let idle = millis(settings.transaction_timeout / 2).to_string();
        let fixed = [
            ("transactional.id", transactional_id),
            ("transaction.timeout.ms", &timeout),
            // librdkafka looks for a group coordinator that has gone only when some connection opens or closes, and heeds no timeout
            // until then (its issues 5456 and 5511). Idle connections that close are what wakes it.
            ("connections.max.idle.ms", &idle),
        ];
        let mut producer = KafkaProducer::create(settings, client_id, clock, &fixed)?;
        producer.init_transactions()?;
        Ok(producer)
    }

    fn create(
        settings: &Settings,
        client_id: &str,
        clock: Arc<dyn Clock>,
        fixed: &[(&str, &str)],
    ) -> Result<Self> {
        let defaults = [
            ("linger.ms", "20"),
            ("batch.size", "1000000"),
            ("batch.num.messages", "10000"),
            ("queue.buffering.max.messages", "500000"),
            // What waits longer than the linger time keeps librdkafka's thread spinning until the brokers have taken it.
            ("queue.buffering.max.kbytes", "16384"),
        ];
        let fixed = [&[("enable.idempotence", "true"), ("acks", "all")], fixed].concat();
        let is_transactional = fixed.iter().any(|(name, _)| *name == "transactional.id");
        let config = client_config(settings, client_id, &["producer."], &defaults, &fixed);
        let client = config
            .create_with_context(Deliveries { is_transactional, ..Deliveries::default() })
            .map_err(|error| kafka_error(format!("cannot create producer {client_id}"), error))?;
        let client = Closing::new(client);
        Ok(KafkaProducer {
            topics: Vec::new(),
            topic_indexes: FxHashMap::default(),
            client,
            transaction: TransactionState::Never,
            clock,
            timeout: settings.request_timeout,
            on_step: settings.on_step.clone(),
            must_end: Arc::new(|| false),
            round_robin: 0,
            traffic: Traffic::default(),
        })
    }

    /// Waits for no more than one answer once this says so.
    pub(super) fn heeding(self, must_end: &MustEnd) -> Self {
        KafkaProducer { must_end: Arc::clone(must_end), ..self }
    }

    /// None if the broker that is asked knows no such topic.
    fn open_topic(&self, name: &str) -> Result<Option<Topic>> {
        let metadata =
            self.client.client().fetch_metadata(Some(name), self.timeout).map_err(|error| {
                kafka_error(format!("cannot ask for the partitions of topic {name}"), error)
            })?;
        if metadata.topics().iter().any(|topic| topic.name() == name && is_settling(topic.error())) {
            return Err(Error::new(ErrorKind::Retry, format!("topic {name} has no leader yet")));
        }
        let partitions =
            metadata.topics().iter().find(|topic| topic.name() == name).map(|topic| topic.partitions().len());
        let Some(partitions) = partitions.filter(|partitions| *partitions > 0) else { return Ok(None) };
        let native_name = CString::new(name)
            .map_err(|error| Error::invalid(format!("{name:?} is not a topic name")).with_source(error))?;
        // SAFETY: the client is valid, the name is a C string, a null configuration means the defaults.
        let handle = unsafe {
            rdsys::rd_kafka_topic_new(
                self.client.client().native_ptr(),
                native_name.as_ptr(),
                ptr::null_mut(),
            )
        };
        if handle.is_null() {
            return Err(Error::invalid(format!("cannot write to topic {name}")));
        }
        let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
        Ok(Some(Topic { handle, name: name.into(), partitions }))
    }

    /// Takes what the brokers refused, where nobody asks which records it was.
    ///
    /// # Errors
    /// What they said of the first of them, and how many there are.
    pub(super) fn take_refusal(&self) -> Result<()> {
        let failed = self.take_failed();
        let Some(FailedOutput { topic, error, .. }) = failed.first() else { return Ok(()) };
        let problem =
            format!("{} records were not written, the first of them to topic {topic}", failed.len());
        Err(Error::new(error.kind(), problem).with_source(Arc::clone(error)))
    }

    /// Sends an output again, and waits for what becomes of it.
    fn send_one(&mut self, output: &FailedOutput) -> Result<()> {
        let topic = self.resolve(&output.topic)?;
        self.send(&OutgoingRecord {
            topic,
            partition: output.partition,
            key: output.key.as_deref(),
            // It was sent to its partition before.
            unhashed_key_bytes: 0,
            value: output.value.as_deref(),
            timestamp: output.timestamp,
            headers: &output.headers,
            changelog: None,
        })?;
        self.flush()
    }

    /// Whether there is time left for another try of what was first tried then. Of whoever is to end, others wait for the next.
    fn may_wait(&self, since: Duration) -> bool {
        let patience = if (self.must_end)() { self.timeout.min(PATIENCE) } else { PATIENCE };
        self.clock.monotonic() < since + patience
    }

    /// Waits for a moment until every record has its report, and serves the reports. Whether all have theirs.
    fn flush_for_a_moment(&self) -> bool {
        // SAFETY: the native client is valid.
        let code = unsafe { rdsys::rd_kafka_flush(self.client.client().native_ptr(), 1) };
        self.client.poll(Duration::ZERO);
        code == rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
    }

    /// # Errors
    /// Why the client can do nothing more, if so.
    fn check_not_fatal(&self) -> Result<()> {
        let Some((code, reason)) = self.client.client().fatal_error() else { return Ok(()) };
        let kind = match self.transaction {
            TransactionState::Never => ErrorKind::Fatal,
            _ => ErrorKind::Migrated,
        };
        Err(Error::new(kind, format!("the producer cannot go on: {reason} ({code})")))
    }

    fn partition_of(&mut self, record: &OutgoingRecord<'_>, partitions: i32) -> i32 {
        match (record.partition, record.hashed_key()) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_for_key(key, partitions),
            (None, None) => {
                self.round_robin = self.round_robin.wrapping_add(1) & i32::MAX;
                self.round_robin % partitions
            }
        }
    }
}

impl RecordSender for KafkaProducer {
    fn resolve(&mut self, topic: &str) -> Result<SenderTopic> {
        if let Some(index) = self.topic_indexes.get(topic) {
            return Ok(*index);
        }
        let since = self.clock.monotonic();
        let open = || patiently(&*self.clock, PATIENCE, || !self.may_wait(since), || self.open_topic(topic));
        let opened = once_propagated(&*self.clock, || false, Option::is_some, open)?;
        let opened = opened.ok_or_else(|| Error::no_output_topic(topic))?;
        let index = SenderTopic(u32::try_from(self.topics.len()).unwrap_or(u32::MAX));
        self.topics.push(opened);
        self.topic_indexes.insert(topic.to_string(), index);
        Ok(index)
    }

    fn send(&mut self, record: &OutgoingRecord<'_>) -> Result<()> {
        if self.transaction == TransactionState::Between {
            self.begin_transaction()?;
        }
        let (handle, partitions) = {
            let topic = &self.topics[record.topic.0 as usize];
            (topic.handle, topic.partitions)
        };
        let partition = self.partition_of(record, partitions);
        // Since when the queue is full: no clock is read for a record that goes through.
        let mut since = None;
        loop {
            match produce(self.client.client().native_ptr(), handle, partition, record) {
                Ok(()) => {
                    self.traffic.records += 1;
                    self.traffic.bytes +=
                        (record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)) as u64;
                    return Ok(());
                }
                Err(RDKafkaErrorCode::QueueFull)
                    if self.may_wait(*since.get_or_insert_with(|| self.clock.monotonic())) =>
                {
                    // The crate's poll with a timeout below two milliseconds is a busy wait.
                    self.client.poll(Duration::ZERO);
                    self.clock.sleep(FULL_QUEUE_PAUSE);
                }
                Err(code) => {
                    let doing =
                        format!("cannot produce to topic {}", self.topics[record.topic.0 as usize].name);
                    return Err(match self.transaction {
                        TransactionState::Never => kafka_error(doing, KafkaError::MessageProduction(code)),
                        _ => self.not_taken(doing, code),
                    });
                }
            }
        }
    }

    fn open_changelog(&mut self) -> ChangelogSlot {
        let mut acknowledged = self.client.context().acknowledged.write();
        acknowledged.push(AtomicI64::new(NOTHING_YET));
        ChangelogSlot(u32::try_from(acknowledged.len() - 1).unwrap_or(u32::MAX))
    }

    fn acknowledged(&self, slot: ChangelogSlot) -> Option<Offset> {
        let acknowledged = self.client.context().acknowledged.read();
        let next = acknowledged.get(slot.0 as usize)?.load(Ordering::Relaxed);
        (next != NOTHING_YET).then(|| Offset::new(next))
    }
}

impl Producer for KafkaProducer {
    type Identity = ConsumerGroupMetadata;

    fn poll(&self) {
        self.client.poll(Duration::ZERO);
    }

    fn flush(&self) -> Result<()> {
        let deadline = self.clock.monotonic() + self.timeout;
        // The crate's flush waits 100 ms at a time; this one returns as soon as the last report is served.
        loop {
            self.client.poll(Duration::ZERO);
            // One record that was not delivered takes the transaction with it: the others are not waited for.
            let has_failed = || !self.client.context().failed.lock().is_empty();
            let is_over =
                self.transaction == TransactionState::Open && has_failed() || self.flush_for_a_moment();
            // Only now: a client that cannot go on discards what waits in it, so that nothing is left to be acknowledged.
            self.check_not_fatal()?;
            if is_over {
                return Ok(());
            }
            if self.clock.monotonic() > deadline {
                let kind = match self.transaction {
                    TransactionState::Never => ErrorKind::Retry,
                    _ => ErrorKind::Abortable,
                };
                return Err(Error::new(
                    kind,
                    format!(
                        "{} records were not acknowledged within {:?}",
                        self.client.in_flight_count(),
                        self.timeout
                    ),
                ));
            }
        }
    }

    fn has_unacknowledged(&self) -> bool {
        self.client.in_flight_count() > 0
    }

    fn take_failed(&self) -> Vec<FailedOutput> {
        std::mem::take(&mut *self.client.context().failed.lock())
    }

    fn send_alone(&mut self, failed: Vec<FailedOutput>) -> Result<Vec<FailedOutput>> {
        let mut refused = Vec::new();
        let mut left = failed.into_iter();
        while let Some(output) = left.next() {
            if !output.may_pass_alone {
                refused.push(output);
                continue;
            }
            match self.send_one(&output) {
                Ok(()) => refused.extend(self.take_failed()),
                Err(error) => {
                    // None of them is forgotten: the next try of the commit finds them here.
                    let unsettled = refused.into_iter().chain([output]).chain(left);
                    self.client.context().failed.lock().extend(unsettled);
                    return Err(error);
                }
            }
        }
        Ok(refused)
    }

    fn commit_transaction(
        &mut self,
        offsets: &[PartitionOffset],
        identity: &ConsumerGroupMetadata,
    ) -> Result<()> {
        match self.transaction {
            TransactionState::Lost => return Err(KafkaProducer::lost()),
            TransactionState::Between if offsets.is_empty() => return Ok(()),
            TransactionState::Between => self.begin_transaction()?,
            TransactionState::Open | TransactionState::Never => {}
        }
        if !offsets.is_empty() {
            self.send_offsets(offsets, identity)?;
        }
        self.on_step.tell(Step::OffsetsSent);
        self.end_with_commit()
    }

    fn abort_transaction(&mut self) -> Result<()> {
        match self.transaction {
            TransactionState::Lost => Err(KafkaProducer::lost()),
            TransactionState::Open => self.end_with_abort(),
            TransactionState::Between | TransactionState::Never => Ok(()),
        }
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }
}

/// Hands one record to the client, which copies it.
fn produce(
    client: *mut rdsys::rd_kafka_t,
    topic: *mut rdsys::rd_kafka_topic_t,
    partition: i32,
    record: &OutgoingRecord<'_>,
) -> Result<(), RDKafkaErrorCode> {
    type Value = rdsys::rd_kafka_vu_s__bindgen_ty_1;
    use rdsys::rd_kafka_vtype_t as Kind;
    let mut arguments: [MaybeArgument; 8] = [const { MaybeArgument::uninit() }; 8];
    let mut count = 0;
    let mut add = |vtype: Kind, u: Value| {
        arguments[count] = MaybeArgument::new(rdsys::rd_kafka_vu_s { vtype, u });
        count += 1;
    };
    add(Kind::RD_KAFKA_VTYPE_RKT, Value { rkt: topic });
    add(Kind::RD_KAFKA_VTYPE_PARTITION, Value { i32_: partition });
    add(Kind::RD_KAFKA_VTYPE_MSGFLAGS, Value { i: rdsys::RD_KAFKA_MSG_F_COPY });
    // librdkafka takes 0 for "now".
    add(Kind::RD_KAFKA_VTYPE_TIMESTAMP, Value { i64_: record.timestamp.as_millis().max(1) });
    if let Some(key) = record.key {
        add(Kind::RD_KAFKA_VTYPE_KEY, Value { mem: memory(key) });
    }
    if let Some(value) = record.value {
        add(Kind::RD_KAFKA_VTYPE_VALUE, Value { mem: memory(value) });
    }
    if let Some(ChangelogSlot(slot)) = record.changelog {
        add(Kind::RD_KAFKA_VTYPE_OPAQUE, Value { ptr: opaque_of(slot) });
    }
    let headers = native_headers(record.headers);
    if !headers.is_null() {
        add(Kind::RD_KAFKA_VTYPE_HEADERS, Value { headers });
    }
    // SAFETY: the first `count` arguments are initialised; key and value are copied by the call; it owns the headers if it succeeds.
    let error = unsafe { rdsys::rd_kafka_produceva(client, arguments.as_ptr().cast(), count) };
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the error is valid and destroyed once; the headers are still ours after a failure.
    let code = unsafe {
        let code = rdsys::rd_kafka_error_code(error);
        rdsys::rd_kafka_error_destroy(error);
        if !headers.is_null() {
            rdsys::rd_kafka_headers_destroy(headers);
        }
        code
    };
    Err(code.into())
}

type MaybeArgument = std::mem::MaybeUninit<rdsys::rd_kafka_vu_s>;

fn memory(bytes: &[u8]) -> rdsys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
    rdsys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
        ptr: bytes.as_ptr().cast_mut().cast(),
        size: bytes.len(),
    }
}

/// A null pointer for no headers.
fn native_headers(headers: &Headers) -> *mut rdsys::rd_kafka_headers_t {
    if headers.is_empty() {
        return ptr::null_mut();
    }
    // SAFETY: names and values are valid for the calls, which copy them.
    unsafe {
        let native = rdsys::rd_kafka_headers_new(8);
        for Header { name, value } in headers.iter() {
            let (start, length) = match value {
                Some(value) => (value.as_ptr().cast::<c_void>(), value.len().cast_signed()),
                None => (ptr::null(), 0),
            };
            rdsys::rd_kafka_header_add(native, name.as_ptr().cast(), name.len().cast_signed(), start, length);
        }
        native
    }
}

const NOTHING_YET: i64 = -1;

/// Whether the client has thrown a record away that it had not sent, or whose answer it did not wait for.
fn was_discarded(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight))
}

/// Delivery reports carry the changelog slot plus one as their opaque value; nothing stands for none.
fn opaque_of(slot: u32) -> *mut c_void {
    ptr::without_provenance_mut(slot as usize + 1)
}

#[derive(Default)]
pub(super) struct Deliveries {
    /// A transaction that fails takes what waits with it, for a reason that the report of another record tells, or the commit.
    is_transactional: bool,
    acknowledged: RwLock<Vec<AtomicI64>>,
    failed: Mutex<Vec<FailedOutput>>,
}

impl Deliveries {
    /// After an abort: what was acknowledged never came to be, and what failed, or was discarded for it, is of no interest.
    pub(super) fn forget(&self) {
        self.acknowledged.read().iter().for_each(|next| next.store(NOTHING_YET, Ordering::Relaxed));
        self.failed.lock().clear();
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "the producer reports a problem");
    }
}

/// A topic that is being made, or whose leader is being chosen.
fn is_settling(error: Option<rdsys::rd_kafka_resp_err_t>) -> bool {
    use rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
    error == Some(RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
}

/// The broker judges whole batches: a record of these fails all of its batch.
fn is_of_batch(code: Option<RDKafkaErrorCode>) -> bool {
    use RDKafkaErrorCode::{InvalidDifferentRecord, InvalidRecord, MessageSizeTooLarge};
    matches!(code, Some(InvalidDifferentRecord | InvalidRecord | MessageSizeTooLarge))
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        match result {
            Ok(message) => {
                if let Some(slot) = opaque.checked_sub(1)
                    && let Some(next) = self.acknowledged.read().get(slot)
                {
                    next.store(message.offset() + 1, Ordering::Relaxed);
                }
            }
            Err((error, _)) if self.is_transactional && was_discarded(error) => {}
            Err((error, message)) => self.failed.lock().push(FailedOutput {
                topic: message.topic().into(),
                partition: Some(message.partition()),
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
                timestamp: Timestamp::from_millis(message.timestamp().to_millis().unwrap_or(0)),
                headers: owned_headers(message),
                error: Arc::new(kafka_error(
                    format!("topic {} refused a record", message.topic()),
                    error.clone(),
                )),
                may_pass_alone: is_of_batch(error.rdkafka_error_code()),
            }),
        }
    }
}

fn owned_headers(message: &impl Message) -> Headers {
    use rdkafka::message::Headers as _;
    let native = message.headers();
    native
        .iter()
        .flat_map(|headers| headers.iter())
        .map(|header| Header {
            name: header.key.to_string(),
            value: header.value.map(bytes::Bytes::copy_from_slice),
        })
        .collect()
}

#[cfg(test)]
mod tests;
