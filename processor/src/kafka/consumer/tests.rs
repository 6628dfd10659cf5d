//! The consumer on the embedded Kafka.

use std::time::Duration;

use super::KafkaConsumer;
use crate::clients::{Consumer, Fetched, PartitionOffset};
use crate::clock::SystemClock;
use crate::error::Result;
use crate::kafka::{EmbeddedKafka, TopicWriter};
use millstream_state_stores::Offset;

const TOPIC: &str = "orders";
const DEADLINE: Duration = Duration::from_secs(20);

fn write(writer: &mut TopicWriter, records: std::ops::Range<i64>) -> Result<()> {
    for record in records {
        writer.write(TOPIC, &"key".to_string(), &record)?;
    }
    writer.flush()
}

/// Offsets fetched until the wanted one has come, and whether the end was seen after it.
fn fetch_to(consumer: &mut KafkaConsumer, next: i64) -> Result<Vec<i64>> {
    let clock = SystemClock::shared();
    let (mut offsets, mut at_end) = (Vec::new(), false);
    while !(at_end && offsets.last().is_some_and(|last| last + 1 >= next)) {
        assert!(clock.monotonic() < DEADLINE, "fetched {offsets:?}, then nothing more");
        consumer.poll_group()?;
        consumer.fetch(Duration::from_millis(50), |_, fetched| {
            match fetched {
                Fetched::Message(message) => {
                    at_end = false;
                    offsets.push(crate::task::InputMessage::raw(&message).offset.get());
                }
                Fetched::EndOfPartition(_) => at_end = true,
            }
            Ok(())
        })?;
    }
    Ok(offsets)
}

#[test]
fn a_pause_at_the_end_of_a_partition_leaves_no_record_out() -> Result<()> {
    let kafka = EmbeddedKafka::start(1)?;
    kafka.create_topic(TOPIC, 1)?;
    let settings = kafka.settings();
    let mut writer = TopicWriter::new(&settings, "writer")?;
    write(&mut writer, 0..10)?;
    let mut consumer = KafkaConsumer::alone(&settings, "reader")?;
    consumer.assign(&[PartitionOffset {
        topic: TOPIC.into(),
        partition: 0,
        offset: Some(Offset::new(0)),
    }])?;
    assert_eq!(fetch_to(&mut consumer, 10)?, (0..10).collect::<Vec<_>>());

    consumer.pause(0, true)?;
    write(&mut writer, 10..20)?;
    consumer.pause(0, false)?;
    assert_eq!(fetch_to(&mut consumer, 20)?, (10..20).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn a_pause_does_not_outlive_the_assignment() -> Result<()> {
    let kafka = EmbeddedKafka::start(1)?;
    kafka.create_topic(TOPIC, 1)?;
    let settings = kafka.settings();
    let mut writer = TopicWriter::new(&settings, "writer")?;
    write(&mut writer, 0..10)?;
    let mut consumer = KafkaConsumer::alone(&settings, "reader")?;
    let from =
        |offset| [PartitionOffset { topic: TOPIC.into(), partition: 0, offset: Some(Offset::new(offset)) }];
    consumer.assign(&from(0))?;
    assert_eq!(fetch_to(&mut consumer, 10)?.len(), 10);

    consumer.pause(0, true)?;
    consumer.unassign(&[(TOPIC.into(), 0)])?;
    write(&mut writer, 10..20)?;
    consumer.assign(&from(10))?;
    assert_eq!(fetch_to(&mut consumer, 20)?, (10..20).collect::<Vec<_>>());
    Ok(())
}
