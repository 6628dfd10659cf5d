//! The consumer on the embedded Kafka.

use std::collections::BTreeMap;
use std::time::Duration;

use super::KafkaConsumer;
use crate::clients::{Consumer, Fetched, GroupChange, PartitionOffset};
use crate::clock::SystemClock;
use crate::config::{GroupProtocol, OffsetReset, Settings};
use crate::error::{ErrorKind, Result};
use crate::kafka::client::kafka_error;
use crate::kafka::closing::PATIENCE;
use crate::kafka::group::KafkaGroup;
use crate::kafka::{EmbeddedKafka, TopicWriter};
use crate::membership::GroupMember;
use crate::reset::ResetCluster;
use crate::task::InputMessage;
use millstream_state_stores::Offset;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{Consumer as _, ConsumerContext as _};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

const NOT_YET: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
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
                    offsets.push(message.raw().offset.get());
                }
                Fetched::EndOfPartition(_) => at_end = true,
                Fetched::OutOfRange => panic!("nothing was deleted"),
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
fn a_partition_is_found_again_when_it_has_a_leader_again() -> Result<()> {
    let kafka = EmbeddedKafka::start(1)?;
    kafka.create_topic(TOPIC, 1)?;
    let settings = kafka.settings();
    write(&mut TopicWriter::new(&settings, "writer")?, 0..10)?;
    let consumer = KafkaConsumer::for_restore(&settings, "shop", "reader")?;
    kafka.set_leader(TOPIC, 0, None);
    let leaderless = consumer.log_bounds(TOPIC, 0).expect_err("a partition without a leader answered");
    assert_eq!(leaderless.kind(), ErrorKind::Retry, "{leaderless}");

    kafka.set_leader(TOPIC, 0, Some(1));
    assert_eq!(consumer.log_bounds(TOPIC, 0)?, (Offset::new(0), Offset::new(10)));
    Ok(())
}

/// The brokers say it beside the partition, in an answer that is good as a whole; those that know the second version only say it nowhere else.
#[test]
fn an_offset_that_is_not_told_is_not_one_that_was_never_committed() -> Result<()> {
    let kafka = EmbeddedKafka::start(1)?;
    kafka.create_topic(TOPIC, 1)?;
    kafka.knows_up_to(RDKafkaApiKey::OffsetFetch, 1);
    let settings = kafka.settings();
    write(&mut TopicWriter::new(&settings, "writer")?, 0..10)?;
    let member = KafkaConsumer::in_group(&settings, "shop", "member", None)?;
    let follower = KafkaConsumer::for_restore(&settings, "shop", "follower")?;
    let tool = KafkaGroup::new(&settings, "shop")?;
    let starts = |reset| member.starts(&[(TOPIC.into(), 0)], |_topic| reset);
    let refuse_next = || kafka.refuse(RDKafkaApiKey::OffsetFetch, &[NOT_YET]);

    for reset in [OffsetReset::Earliest, OffsetReset::Latest] {
        refuse_next();
        assert_eq!(starts(reset).expect_err("it is not told").kind(), ErrorKind::Retry);
    }
    refuse_next();
    assert_eq!(follower.committed(TOPIC, 0).expect_err("it is not told").kind(), ErrorKind::Retry);
    refuse_next();
    assert_eq!(tool.committed().expect_err("it is not told").kind(), ErrorKind::Retry);

    let offset_of = |starts: Vec<PartitionOffset>| starts[0].offset.map(Offset::get);
    assert_eq!(offset_of(starts(OffsetReset::Earliest)?), Some(0));
    assert_eq!(offset_of(starts(OffsetReset::Latest)?), Some(10));
    assert_eq!(follower.committed(TOPIC, 0)?, None);
    assert!(tool.committed()?.is_empty());
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

#[test]
fn who_waits_for_records_is_woken_by_the_group() -> Result<()> {
    let kafka = EmbeddedKafka::start(1)?;
    kafka.create_topic(TOPIC, 1)?;
    let mut consumer = KafkaConsumer::in_group(&kafka.settings(), "shop", "first", None)?;
    consumer.subscribe(&[TOPIC])?;
    let clock = SystemClock::shared();
    let start = clock.monotonic();
    while consumer.poll_group()?.is_none() {
        assert!(clock.monotonic() < start + DEADLINE / 2, "it slept through what the group decided");
        consumer.fetch(DEADLINE, |_, _| Ok(()))?;
    }
    Ok(())
}

#[test]
fn a_member_that_closes_answers_its_group_once() -> Result<()> {
    let kafka = EmbeddedKafka::start(1)?;
    kafka.create_topic(TOPIC, 1)?;
    let consumer = KafkaConsumer::alone(&kafka.settings(), "closing")?;
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition(TOPIC, 0);
    let mut ask = || -> Result<usize> {
        consumer.client.assign(&partitions).map_err(|error| kafka_error("assigning", error))?;
        let revoked = RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS;
        consumer.client.context().rebalance(&consumer.client, revoked, &mut partitions);
        let left = consumer.client.assignment().map_err(|error| kafka_error("what is left", error))?;
        Ok(left.count())
    };
    consumer.client.context().begin_to_close();
    assert_eq!(ask()?, 0, "it gave up what it had");
    assert_eq!(ask()?, 1, "nobody may be left to take a second answer");
    Ok(())
}

#[test]
fn a_static_member_closes_at_once_whether_or_not_it_comes_back() -> Result<()> {
    for (protocol, leaves) in [GroupProtocol::Classic, GroupProtocol::Consumer]
        .into_iter()
        .flat_map(|protocol| [(protocol, false), (protocol, true)])
    {
        let kafka = EmbeddedKafka::start(1)?;
        kafka.create_topic(TOPIC, 1)?;
        let settings = Settings { group_protocol: protocol, ..kafka.settings() };
        let consumer = KafkaConsumer::in_group(&settings, "shop", "first", Some("shop-0"))?;
        consumer.subscribe(&[TOPIC])?;
        let mut members = [Member { consumer, read: BTreeMap::new(), ends: 0, changes: 0 }];
        turns_until(&mut members, "its partition", |members| members[0].consumer.assigned().len() == 1)?;
        let [mut member] = members;
        if leaves {
            member.consumer.leave_for_good();
        }
        let clock = SystemClock::shared();
        let start = clock.monotonic();
        drop(member);
        let took = clock.monotonic() - start;
        assert!(took < PATIENCE, "{protocol:?}, leaves {leaves}: it was left to itself");
    }
    Ok(())
}

/// A member of a group to which partitions come one by one, and all it has read.
struct Member {
    consumer: KafkaConsumer,
    read: BTreeMap<i32, Vec<i64>>,
    ends: usize,
    changes: usize,
}

impl Member {
    fn join(settings: &Settings, client_id: &str) -> Result<Self> {
        let consumer = KafkaConsumer::in_group(settings, "shop", client_id, None)?;
        consumer.subscribe(&[TOPIC])?;
        Ok(Member { consumer, read: BTreeMap::new(), ends: 0, changes: 0 })
    }

    /// Carries out what the group decided, and fetches.
    fn turn(&mut self) -> Result<()> {
        while let Some(event) = self.consumer.poll_group()? {
            self.changes += 1;
            if matches!(event.change, GroupChange::AssignedAll | GroupChange::AssignedMore) {
                let starts = match event.partitions.is_empty() {
                    true => Vec::new(),
                    false => self.consumer.starts(&event.partitions, |_| OffsetReset::Earliest)?,
                };
                self.consumer.assign(&starts)?;
            } else {
                let next = |partition| self.read.get(partition)?.last().map(|last| Offset::new(last + 1));
                let offsets = event.partitions.iter().filter_map(|(topic, partition)| {
                    let offset = Some(next(partition)?);
                    Some(PartitionOffset { topic: topic.clone(), partition: *partition, offset })
                });
                self.consumer.commit(&offsets.collect::<Vec<_>>())?;
                self.consumer.unassign(&event.partitions)?;
            }
        }
        let assigned: Vec<i32> = self.consumer.assigned().iter().map(|(_, partition)| *partition).collect();
        self.consumer.fetch(Duration::from_millis(10), |index, fetched| {
            match fetched {
                Fetched::Message(message) => {
                    self.read.entry(assigned[index]).or_default().push(message.raw().offset.get());
                }
                Fetched::EndOfPartition(_) => self.ends += 1,
                Fetched::OutOfRange => panic!("nothing was deleted"),
            }
            Ok(())
        })?;
        Ok(())
    }
}

fn turns_until(members: &mut [Member], what: &str, done: impl Fn(&[Member]) -> bool) -> Result<()> {
    let clock = SystemClock::shared();
    let deadline = clock.monotonic() + DEADLINE;
    while !done(members) {
        let read: Vec<_> = members.iter().map(|member| &member.read).collect();
        assert!(clock.monotonic() < deadline, "waited for {what}; read {read:?}");
        members.iter_mut().try_for_each(Member::turn)?;
    }
    Ok(())
}

#[test]
fn a_partition_that_stays_while_others_go_is_read_on_without_a_gap_and_nothing_twice() -> Result<()> {
    let kafka = EmbeddedKafka::start(1)?;
    kafka.create_topic(TOPIC, 4)?;
    let settings = Settings { group_protocol: GroupProtocol::Consumer, ..kafka.settings() };
    let mut writer = TopicWriter::new(&settings, "writer")?;
    let mut write = |records: std::ops::Range<i64>| {
        records.clone().try_for_each(|record| writer.write(TOPIC, &format!("key-{record}"), &record))?;
        writer.flush()
    };
    let all_read = |many: usize| {
        move |members: &[Member]| {
            let read = members.iter().flat_map(|member| member.read.values()).map(Vec::len);
            read.sum::<usize>() >= many
        }
    };
    write(0..200)?;
    let mut members = vec![Member::join(&settings, "first")?];
    turns_until(&mut members, "everything", all_read(200))?;
    turns_until(&mut members, "the ends", |members| members[0].ends >= 4)?;

    members.push(Member::join(&settings, "second")?);
    let shared = |members: &[Member]| members.iter().all(|member| member.consumer.assigned().len() == 2);
    turns_until(&mut members, "the partitions to be shared", shared)?;
    write(200..400)?;
    turns_until(&mut members, "what came since", all_read(400))?;
    write(400..600)?;
    turns_until(&mut members, "what came then", all_read(600))?;

    assert!(members[0].changes >= 2, "some of its partitions went");
    let mut by_partition: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for (partition, offsets) in members.iter().flat_map(|member| &member.read) {
        by_partition.entry(*partition).or_default().extend(offsets);
    }
    for (partition, offsets) in by_partition {
        let expected: Vec<i64> = (0..).take(offsets.len()).collect();
        assert_eq!(offsets, expected, "partition {partition}");
    }
    Ok(())
}
