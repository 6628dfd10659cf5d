//! Input topics: filled once for all rows that read the same.

use std::time::Duration;

use anyhow::Result;
use millstream::{Serde as _, partition_for_key};
use prost::Message as _;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::ToBytes;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::auction_site::{Bid, Event};

/// Event time of the first record of a stream; tables lie before it, so that they are complete when the stream begins.
const START_OF_STREAMS: i64 = 1_700_000_000_000;
const START_OF_TABLES: i64 = 1_600_000_000_000;

/// What an input topic holds. Keys are eight bytes, big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Input {
    pub(crate) records: u64,
    pub(crate) keys: Keys,
    pub(crate) value_bytes: usize,
    pub(crate) partitions: i32,
    pub(crate) time: EventTime,
    pub(crate) content: Content,
}

/// What is in the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Content {
    /// The same byte, `value_bytes` times.
    Filler,
    /// The same, but for the key of one of so many rows of another input in the first [`REFERENCE_BYTES`].
    Reference(u64),
    /// An [`Event`] as JSON.
    AuctionSite,
    /// A [`Bid`]; the same ones in every format.
    Bids(Format),
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    Json,
    Avro,
    Protobuf,
}

/// The size of a key.
pub(crate) const REFERENCE_BYTES: usize = size_of::<u64>();

/// Which key a record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Keys {
    /// Each of this many keys equally often.
    Uniform(u64),
    /// This many keys, the n-th 1/n as often as the first.
    Zipf(u64),
    /// No key twice.
    Unique,
}

/// Where the records lie in event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum EventTime {
    /// A thousand records in a millisecond, in order.
    Stream,
    /// The same, before all streams.
    Table,
    /// A hundred records in a millisecond, and one in twenty up to half a second late.
    Disordered,
    /// Ten records in a millisecond, in order.
    Unhurried,
}

impl Input {
    /// 100-byte values in four partitions.
    pub(crate) const fn stream(records: u64, keys: Keys) -> Self {
        Input {
            records,
            keys,
            value_bytes: 100,
            partitions: 4,
            time: EventTime::Stream,
            content: Content::Filler,
        }
    }

    /// The same with fewer records, and no more keys than that.
    pub(crate) fn scaled_down(self, divisor: u64) -> Self {
        let records = (self.records / divisor).max(1);
        let keys = match self.keys {
            Keys::Uniform(keys) => Keys::Uniform(keys.min(records)),
            Keys::Zipf(keys) => Keys::Zipf(keys.min(records)),
            Keys::Unique => Keys::Unique,
        };
        Input { records, keys, ..self }
    }

    /// How many different keys there are at most.
    pub(crate) fn distinct_keys(&self) -> u64 {
        match self.keys {
            Keys::Uniform(keys) | Keys::Zipf(keys) => keys,
            Keys::Unique => self.records,
        }
    }

    /// Writes the records; the same ones for the same description.
    pub(crate) fn write_to(&self, bootstrap_servers: &str, topic: &str) -> Result<()> {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap_servers)
            .set("linger.ms", "50")
            .set("batch.size", "1000000")
            .set("queue.buffering.max.messages", "500000")
            .create()?;
        let mut random = StdRng::seed_from_u64(7);
        let mut value = vec![b'x'; self.value_bytes];
        let zipf = match self.keys {
            #[allow(clippy::cast_precision_loss, reason = "a number of keys fits")]
            Keys::Zipf(keys) => Some(Zipf::new(keys as f64, 1.0)?),
            Keys::Uniform(_) | Keys::Unique => None,
        };
        let avro = Bid::avro();
        for number in 0..self.records {
            let key = match (self.keys, &zipf) {
                (Keys::Uniform(keys), _) => random.random_range(0..keys),
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "between 1 and the number of keys"
                )]
                (_, Some(zipf)) => zipf.sample(&mut random) as u64 - 1,
                (_, None) => number,
            };
            let key = key.to_be_bytes();
            let number = i64::try_from(number)?;
            match self.content {
                Content::Filler => {}
                Content::Reference(rows) => {
                    value[..REFERENCE_BYTES].copy_from_slice(&random.random_range(0..rows).to_be_bytes());
                }
                Content::AuctionSite => value = serde_json::to_vec(&Event::of_number(number, &mut random))?,
                Content::Bids(format) => {
                    let bid = Bid::of_number(number, &mut random);
                    value.clear();
                    match format {
                        Format::Json => serde_json::to_writer(&mut value, &bid)?,
                        Format::Avro => avro.encode(&bid, &mut value).map(|_bytes| ())?,
                        Format::Protobuf => bid.encode(&mut value)?,
                    }
                }
            }
            let timestamp = match self.time {
                EventTime::Stream => START_OF_STREAMS + number / 1000,
                EventTime::Table => START_OF_TABLES + number / 1000,
                EventTime::Unhurried => START_OF_STREAMS + number / 10,
                EventTime::Disordered => {
                    let late = if random.random_ratio(1, 20) { random.random_range(0..500) } else { 0 };
                    START_OF_STREAMS + number / 100 - late
                }
            };
            let record = BaseRecord::to(topic)
                .partition(partition_for_key(&key, self.partitions))
                .key(&key)
                .payload(&value)
                .timestamp(timestamp);
            send(&producer, record)?;
        }
        Ok(producer.flush(Duration::from_secs(60))?)
    }
}

/// Sends a record, waiting while the producer's queue is full.
pub(crate) fn send<K, V>(producer: &BaseProducer, record: BaseRecord<'_, K, V>) -> Result<()>
where
    K: ToBytes + ?Sized,
    V: ToBytes + ?Sized,
{
    let mut record = record;
    while let Err((error, refused)) = producer.send(record) {
        match error {
            KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => {
                producer.poll(Duration::from_millis(1));
                record = refused;
            }
            error => return Err(error.into()),
        }
    }
    Ok(())
}
