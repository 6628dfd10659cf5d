//! A bare consumer in a group, with a producer behind it: its gaps are the time the group takes to notice and to share out anew.

use std::io::BufRead;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use millstream_integration_tests::kafka::GroupMember;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::child::OneRun;
use crate::clock::clock;
use crate::input;

const FLUSH: Duration = Duration::from_secs(60);

/// Passes records on, with the settings of ours.
pub(crate) fn run_member(run: &OneRun) -> Result<()> {
    let mut consumer = ClientConfig::new();
    consumer
        .set("bootstrap.servers", &run.bootstrap_servers)
        .set("group.id", &run.id)
        .set("partition.assignment.strategy", "range")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.wait.max.ms", "100");
    let mut producer = ClientConfig::new();
    producer.set("bootstrap.servers", &run.bootstrap_servers).set("enable.idempotence", "true");
    let mut commit_interval = Duration::from_secs(1);
    for property in &run.properties {
        match property.split_once('=').context("--property takes name=value")? {
            ("commit.interval.ms", value) => commit_interval = Duration::from_millis(value.parse()?),
            (name @ "session.timeout.ms", value) => {
                consumer.set(name, value);
            }
            (name, value) => {
                if let Some(name) = name.strip_prefix("consumer.") {
                    consumer.set(name, value);
                } else if let Some(name) = name.strip_prefix("producer.") {
                    producer.set(name, value);
                }
            }
        }
    }
    let consumer = GroupMember::join(&consumer, &run.input)?;
    Member { consumer, producer: producer.create()?, run, commit_interval }.run()
}

struct Member<'run> {
    consumer: GroupMember,
    producer: BaseProducer,
    run: &'run OneRun,
    commit_interval: Duration,
}

impl Member<'_> {
    fn run(&self) -> Result<()> {
        let (clock, questions) = (clock(), lines_of_stdin());
        let mut settled = TopicPartitionList::new();
        let mut committed_at = clock.monotonic();
        loop {
            match questions.try_recv() {
                Ok(()) => println!("assigned {}", serde_json::to_string(&self.assigned()?)?),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => break,
            }
            if clock.monotonic().saturating_sub(committed_at) >= self.commit_interval {
                committed_at = clock.monotonic();
                // A commit that waited for the producer would be a gap, so the positions of an interval ago are committed: what
                // was read before them has long been sent.
                self.commit(&settled, CommitMode::Async)?;
                settled = self.consumer.position()?;
            }
            match self.consumer.poll(Duration::from_millis(20)) {
                Some(Ok(message)) => self.pass_on(&message)?,
                Some(Err(error)) => eprintln!("the consumer reports {error}"),
                None => {}
            }
            self.producer.poll(Duration::ZERO);
        }
        self.producer.flush(FLUSH)?;
        self.commit(&self.consumer.position()?, CommitMode::Sync)
    }

    fn pass_on(&self, message: &impl Message) -> Result<()> {
        let (key, value) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
        let record = BaseRecord::to(&self.run.output).partition(message.partition()).key(key).payload(value);
        input::send(&self.producer, record)
    }

    fn assigned(&self) -> Result<Vec<i32>> {
        let assignment = self.consumer.assignment()?;
        Ok(assignment.elements().iter().map(|element| element.partition()).collect())
    }

    /// Commits the positions of the partitions that it still owns.
    fn commit(&self, positions: &TopicPartitionList, mode: CommitMode) -> Result<()> {
        let owned = self.assigned()?;
        let mut list = TopicPartitionList::new();
        for element in positions.elements() {
            if let offset @ Offset::Offset(_) = element.offset()
                && owned.contains(&element.partition())
            {
                list.add_partition_offset(element.topic(), element.partition(), offset)?;
            }
        }
        if list.count() > 0 {
            // In the middle of a rebalance it is refused; what comes of it is read again, as after any crash.
            if let Err(error) = self.consumer.commit(&list, mode) {
                eprintln!("a commit was refused: {error}");
            }
        }
        Ok(())
    }
}

/// A message for each line of stdin, until it ends.
fn lines_of_stdin() -> Receiver<()> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let lines = std::io::stdin().lock().lines();
        lines.map_while(Result::ok).try_for_each(|_| sender.send(()))
    });
    receiver
}
