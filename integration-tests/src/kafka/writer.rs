//! Writes records to a cluster: in order, acknowledged by all replicas, and none twice.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::record::NewRecord;

/// An idempotent or transactional producer.
pub struct TopicWriter(BaseProducer<Failures>);

impl TopicWriter {
    pub(super) fn new(mut config: ClientConfig) -> Result<Self> {
        config
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "2")
            .set("queue.buffering.max.messages", "100000");
        let producer = config.create_with_context(Failures::default());
        Ok(Self(producer.context("cannot create a producer")?))
    }

    /// Hands a record to the client, and makes room where its queue is full.
    ///
    /// # Errors
    /// If the client refuses it. Whether the brokers took it says [`TopicWriter::flush`].
    pub fn write(&self, topic: &str, record: &NewRecord) -> Result<()> {
        loop {
            let queued = self.0.send(BaseRecord {
                topic,
                partition: record.partition,
                payload: record.value.as_deref(),
                key: record.key.as_deref(),
                timestamp: record.timestamp,
                headers: record.owned_headers(),
                delivery_opaque: (),
            });
            match queued {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    self.0.poll(Duration::from_millis(5));
                }
                Err((error, _)) => {
                    return Err(error).with_context(|| format!("cannot write to the topic {topic}"));
                }
            }
        }
    }

    /// Waits until every record is acknowledged or has failed.
    ///
    /// # Errors
    /// That of the first record that could not be written.
    pub fn flush(&self) -> Result<()> {
        while self.0.in_flight_count() > 0 {
            self.0.poll(Duration::from_millis(1));
        }
        match self.0.context().first() {
            Some((topic, error)) => Err(error).with_context(|| format!("cannot write to the topic {topic}")),
            None => Ok(()),
        }
    }

    /// Serves the client: what was acknowledged meanwhile is taken note of.
    pub fn poll(&self) {
        self.0.poll(Duration::ZERO);
    }

    pub(super) fn init_transactions(&self, deadline: Duration) -> Result<()> {
        self.0.init_transactions(deadline).context("cannot prepare transactions")
    }

    pub(super) fn begin_transaction(&self, deadline: Duration) -> Result<()> {
        self.init_transactions(deadline)?;
        self.0.begin_transaction().context("cannot begin a transaction")
    }

    pub(super) fn commit_transaction(&self, deadline: Duration) -> Result<()> {
        self.flush()?;
        self.0.commit_transaction(deadline).context("cannot commit a transaction")
    }
}

impl std::fmt::Debug for TopicWriter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TopicWriter").finish_non_exhaustive()
    }
}

/// Keeps the first record that could not be delivered.
#[derive(Debug, Default)]
struct Failures(Mutex<Option<(String, KafkaError)>>);

impl Failures {
    fn first(&self) -> Option<(String, KafkaError)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            use rdkafka::Message as _;
            let failure = || (message.topic().to_owned(), error.clone());
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(failure);
        }
    }
}
