//! A plain producer for programs around an application: what feeds its input topics. No group, no tasks, no state.

use std::sync::Arc;

use millstream_state_stores::{Encoded, RecordField, Timestamp};

use super::producer::KafkaProducer;
use crate::api::Headers;
use crate::clients::Producer;
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::error::Result;
use crate::task::{OutgoingRecord, RecordSender};

/// Writes records to topics, each to the partition that Kafka's default partitioner gives its key (murmur2), so that an
/// application finds equal keys together. Idempotent, in order, and batched: a record is safe once [`flush`](Self::flush) returns.
///
/// ```no_run
/// use millstream_processor::Settings;
/// use millstream_processor::kafka::TopicWriter;
///
/// let mut writer = TopicWriter::new(&Settings::new("localhost:9092"), "stock-feed")?;
/// writer.write("stock-movements", &"apples".to_string(), &40_i64)?;
/// writer.flush()?;
/// # Ok::<(), millstream_processor::Error>(())
/// ```
pub struct TopicWriter {
    producer: KafkaProducer,
    clock: Arc<dyn Clock>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl TopicWriter {
    /// A writer for the cluster of these settings. `client_id` names it in the brokers' logs.
    ///
    /// # Errors
    /// `Invalid` if a property of the settings is not accepted.
    pub fn new(settings: &Settings, client_id: &str) -> Result<Self> {
        let clock = SystemClock::shared();
        let producer = KafkaProducer::idempotent(settings, client_id, Arc::clone(&clock))?;
        Ok(TopicWriter { producer, clock, key: Vec::new(), value: Vec::new() })
    }

    /// Writes a record with the present time. `None` in an `Option` is written as Kafka's null.
    ///
    /// # Errors
    /// `Record` if key or value cannot be encoded, `Invalid` if there is no such topic, `Retry` if the brokers take no more.
    pub fn write<K: RecordField, V: RecordField>(&mut self, topic: &str, key: &K, value: &V) -> Result<()> {
        let (mut key_bytes, mut value_bytes) =
            (std::mem::take(&mut self.key), std::mem::take(&mut self.value));
        key_bytes.clear();
        value_bytes.clear();
        let written = (|| {
            let key = K::field_serde().encode(key, &mut key_bytes)?;
            let value = V::field_serde().encode(value, &mut value_bytes)?;
            let unhashed = K::field_serde().unhashed_key_bytes();
            self.send(topic, non_null(key, &key_bytes), unhashed, non_null(value, &value_bytes))
        })();
        (self.key, self.value) = (key_bytes, value_bytes);
        written
    }

    /// Writes a record given as bytes, with the present time. Records without a key are spread over the partitions.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_bytes(&mut self, topic: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<()> {
        self.send(topic, key, 0, value)
    }

    fn send(
        &mut self,
        topic: &str,
        key: Option<&[u8]>,
        unhashed_key_bytes: usize,
        value: Option<&[u8]>,
    ) -> Result<()> {
        let timestamp: Timestamp = self.clock.wall_clock();
        let topic = self.producer.resolve(topic)?;
        let headers = Headers::default();
        self.producer.send(&OutgoingRecord {
            topic,
            partition: None,
            key,
            unhashed_key_bytes,
            value,
            timestamp,
            headers: &headers,
            changelog: None,
        })?;
        self.producer.poll();
        Ok(())
    }

    /// Waits until the brokers have acknowledged every record written so far.
    ///
    /// # Errors
    /// `Retry` if they do not answer in time; what a broker said, with the number of records, if it refused some.
    pub fn flush(&mut self) -> Result<()> {
        self.producer.flush()?;
        self.producer.take_refusal()
    }
}

fn non_null(encoded: Encoded, bytes: &[u8]) -> Option<&[u8]> {
    match encoded {
        Encoded::Bytes => Some(bytes),
        Encoded::Null => None,
    }
}
