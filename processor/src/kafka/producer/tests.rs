//! The producer on the embedded Kafka.

use std::time::Duration;

use millstream_state_stores::Timestamp;
use rdkafka::producer::Producer as _;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::KafkaProducer;
use crate::api::Headers;
use crate::clients::Producer;
use crate::clock::SystemClock;
use crate::error::{ErrorKind, Result};
use crate::kafka::EmbeddedKafka;
use crate::task::{OutgoingRecord, RecordSender};

const TOPIC: &str = "orders";
const DEADLINE: Duration = Duration::from_secs(20);

fn send(producer: &mut KafkaProducer) -> Result<()> {
    let topic = producer.resolve(TOPIC)?;
    producer.send(&OutgoingRecord {
        topic,
        partition: None,
        key: Some(b"apples"),
        unhashed_key_bytes: 0,
        value: None,
        timestamp: Timestamp::from_millis(1),
        headers: &Headers::default(),
        changelog: None,
    })
}

/// Without the right to be idempotent, librdkafka takes records until the brokers have said so, and then discards them.
#[test]
fn what_a_client_that_cannot_go_on_discards_does_not_count_as_delivered() -> Result<()> {
    let kafka = EmbeddedKafka::start(1)?;
    kafka.create_topic(TOPIC, 1)?;
    let (not_yet, refused) = (
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
    );
    kafka.refuse(RDKafkaApiKey::InitProducerId, &[not_yet, not_yet, not_yet, refused, refused, refused]);
    let clock = SystemClock::shared();
    let mut producer = KafkaProducer::idempotent(&kafka.settings(), "shop", clock.clone())?;
    send(&mut producer)?;
    let start = clock.monotonic();
    while producer.client.in_flight_count() > 0 {
        assert!(clock.monotonic() < start + DEADLINE, "the record is still on its way");
        producer.poll();
    }
    let error = producer.flush().expect_err("nothing was delivered");
    assert_eq!(error.kind(), ErrorKind::Fatal, "{error}");
    assert_eq!(producer.take_failed().len(), 1, "the record is accounted for");
    Ok(())
}

#[test]
fn what_an_abort_discards_has_not_failed() -> Result<()> {
    let kafka = EmbeddedKafka::start(1)?;
    kafka.create_topic(TOPIC, 1)?;
    let clock = SystemClock::shared();
    let mut producer = KafkaProducer::transactional(&kafka.settings(), "shop", "shop-1", clock)?;
    send(&mut producer)?;
    producer.abort_transaction()?;
    assert!(producer.take_failed().is_empty());
    send(&mut producer)?;
    producer.flush()?;
    assert!(producer.take_failed().is_empty());
    Ok(())
}
