//! A plain consumer for programs around an application: what reads its topics, from the beginning and on. No group, no commits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_state_stores::{Offset, RecordField, SerdeError, Timestamp};

use super::admin::{ClusterAdmin, KafkaAdmin};
use super::consumer::KafkaConsumer;
use super::message::KafkaMessage;
use crate::api::Headers;
use crate::clients::{Consumer, Fetched, PartitionOffset, out_of_range};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::error::{Error, RecordLocation, Result};
use crate::patience::{has_all, once_propagated, patiently};
use crate::task::InputMessage;

/// Reads all partitions of some topics, from their oldest records, and then what is written to them. Records of one partition come
/// in order; between partitions there is none.
///
/// ```no_run
/// use std::time::Duration;
///
/// use millstream_processor::Settings;
/// use millstream_processor::kafka::TopicReader;
///
/// let mut reader = TopicReader::from_beginning(&Settings::new("localhost:9092"), "audit", &["stock-movements"])?;
/// let mut on_hand = 0;
/// while !reader.is_at_end() {
///     reader.read(Duration::from_millis(100), |record| {
///         on_hand += record.value::<i64>()?;
///         Ok(())
///     })?;
/// }
/// # Ok::<(), millstream_processor::Error>(())
/// ```
pub struct TopicReader {
    consumer: KafkaConsumer,
    /// By partition, in the consumer's order.
    partitions: Vec<Progress>,
}

struct Progress {
    /// The offset after the last record read.
    next: Offset,
    /// The end as last looked up.
    end: Offset,
}

impl TopicReader {
    /// A reader for the cluster of these settings. `client_id` names it in the brokers' logs.
    ///
    /// # Errors
    /// `Invalid` if a topic does not exist or a property of the settings is not accepted; `Retry` if the cluster cannot be reached.
    pub fn from_beginning(settings: &Settings, client_id: &str, topics: &[&str]) -> Result<Self> {
        let names: Vec<String> = topics.iter().map(ToString::to_string).collect();
        let clock = SystemClock::shared();
        let counts = partition_counts(settings, client_id, &names, &*clock)?;
        let partitions =
            names.iter().flat_map(|name| (0..counts[name]).map(move |partition| (name, partition)));
        let from = partitions.map(|(name, partition)| (name.as_str(), partition, Offset::new(0)));
        TopicReader::from_offsets(settings, client_id, from)
    }

    /// A reader of these partitions, which must exist, from these offsets on. From the oldest record where the offset is of one that was
    /// deleted, and of what is written from here on where it is not reached yet.
    ///
    /// # Errors
    /// As [`from_beginning`](Self::from_beginning).
    pub(crate) fn from_offsets<'a>(
        settings: &Settings,
        client_id: &str,
        from: impl IntoIterator<Item = (&'a str, i32, Offset)>,
    ) -> Result<Self> {
        let clock = SystemClock::shared();
        let mut consumer = KafkaConsumer::alone(settings, client_id)?;
        let (mut starts, mut partitions) = (Vec::new(), Vec::new());
        for (topic, partition, from) in from {
            let ask = || consumer.watermarks(topic, partition);
            let (oldest, end) = patiently(&*clock, settings.request_timeout, || false, ask)?;
            let next = from.min(end).max(oldest);
            starts.push(PartitionOffset { topic: topic.into(), partition, offset: Some(next) });
            partitions.push(Progress { next, end });
        }
        consumer.assign(&starts)?;
        Ok(TopicReader { consumer, partitions })
    }

    /// Hands out the records that have arrived; if there are none, waits up to `wait` for the first. Returns how many there were.
    ///
    /// # Errors
    /// If a partition cannot be read, such as when records were deleted before they were; or what `each` fails with.
    pub fn read(
        &mut self,
        wait: Duration,
        mut each: impl FnMut(&TopicRecord<'_>) -> Result<()>,
    ) -> Result<usize> {
        // Nobody assigns partitions to a consumer without a group; this only serves the client.
        self.consumer.poll_group()?;
        let names: Vec<(Arc<str>, i32)> = self.consumer.assigned().to_vec();
        let (partitions, mut records) = (&mut self.partitions, 0);
        self.consumer.fetch(wait, |index, fetched| {
            match fetched {
                Fetched::Message(message) => {
                    let raw = message.raw();
                    let (topic, partition) = &names[index];
                    let record = TopicRecord {
                        topic,
                        partition: *partition,
                        offset: raw.offset,
                        timestamp: raw.timestamp,
                        key: raw.key,
                        value: raw.value,
                        message: &message,
                    };
                    partitions[index].next = raw.offset.next();
                    records += 1;
                    each(&record)?;
                }
                // Also reached over gaps that compaction or transactions have left.
                Fetched::EndOfPartition(end) => partitions[index].next = partitions[index].next.max(end),
                Fetched::OutOfRange => return Err(out_of_range(&names[index].0, names[index].1)),
            }
            Ok(())
        })?;
        Ok(records)
    }

    /// Asks the cluster for the ends of all partitions, for [`is_at_end`](Self::is_at_end).
    ///
    /// # Errors
    /// `Retry` if the cluster does not answer.
    pub fn look_up_ends(&mut self) -> Result<()> {
        for (index, (topic, partition)) in self.consumer.assigned().iter().enumerate() {
            self.partitions[index].end = self.consumer.watermarks(topic, *partition)?.1;
        }
        Ok(())
    }

    /// Whether everything was read that was there at the start, or when the ends were last looked up.
    pub fn is_at_end(&self) -> bool {
        self.partitions.iter().all(|partition| partition.next >= partition.end)
    }
}

/// How many partitions the topics have, all of them.
fn partition_counts(
    settings: &Settings,
    client_id: &str,
    topics: &[String],
    clock: &dyn Clock,
) -> Result<BTreeMap<String, i32>> {
    let admin = KafkaAdmin::new(settings, client_id)?;
    let counts = once_propagated(clock, || false, has_all(topics), || admin.partition_counts(topics))?;
    match topics.iter().find(|topic| !counts.contains_key(*topic)) {
        None => Ok(counts),
        Some(missing) => {
            Err(Error::invalid(format!("topic {missing} does not exist: create it before it is read")))
        }
    }
}

/// A record as it lies in its topic. Key and value are borrowed; null is `None`.
#[derive(Clone, Copy, Debug)]
pub struct TopicRecord<'a> {
    /// Topic in Kafka.
    pub topic: &'a str,
    /// Partition number.
    pub partition: i32,
    /// Offset within the partition.
    pub offset: Offset,
    /// The record's timestamp.
    pub timestamp: Timestamp,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    message: &'a KafkaMessage,
}

impl TopicRecord<'_> {
    /// The key as this type; an `Option` takes null.
    ///
    /// # Errors
    /// With the record's place: `Record` if the bytes do not fit the type, `Retry` if they name a schema and the registry is away.
    pub fn key<K: RecordField>(&self) -> Result<K> {
        self.decode(self.key)
    }

    /// The value as this type; an `Option` takes null.
    ///
    /// # Errors
    /// As [`key`](Self::key).
    pub fn value<V: RecordField>(&self) -> Result<V> {
        self.decode(self.value)
    }

    /// The encoded key.
    pub fn key_bytes(&self) -> Option<&[u8]> {
        self.key
    }

    /// The encoded value.
    pub fn value_bytes(&self) -> Option<&[u8]> {
        self.value
    }

    /// The headers, in order.
    pub fn headers(&self) -> Headers {
        self.message.headers()
    }

    fn decode<T: RecordField>(&self, bytes: Option<&[u8]>) -> Result<T> {
        let decoded: Result<T, SerdeError> = match bytes {
            Some(bytes) => T::field_serde().decode(bytes),
            None => T::field_serde().decode_null(),
        };
        decoded.map_err(|error| {
            Error::from(error).at(RecordLocation {
                topic: self.topic.into(),
                partition: self.partition,
                offset: self.offset,
            })
        })
    }
}
