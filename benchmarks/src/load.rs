//! Fills the input topic.

use std::time::Duration;

use anyhow::Result;
use millstream::partition_for_key;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::PARTITIONS;

/// Writes `records` records of 8-byte keys, uniformly drawn from `keys`, and 100-byte values.
pub(crate) fn fill(bootstrap_servers: &str, topic: &str, records: u64, keys: u64) -> Result<()> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap_servers)
        .set("linger.ms", "50")
        .set("batch.size", "1000000")
        .create()?;
    let mut random = StdRng::seed_from_u64(7);
    let value = [b'x'; 100];
    for _ in 0..records {
        let key = random.random_range(0..keys).to_be_bytes();
        let partition = partition_for_key(&key, PARTITIONS);
        while let Err((error, _)) =
            producer.send(BaseRecord::to(topic).partition(partition).key(&key).payload(&value))
        {
            match error {
                KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => {
                    producer.poll(Duration::from_millis(1))
                }
                error => return Err(error.into()),
            }
        }
    }
    Ok(producer.flush(Duration::from_secs(60))?)
}
