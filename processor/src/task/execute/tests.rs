//! What is left to do after an error that can pass: the rest, and nothing twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millstream_state_stores::{Offset, Timestamp};

use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::handlers::{Handlers, Reaction};
use crate::task::{ChangelogSlot, OutgoingRecord, RecordSender, SenderTopic, Task};
use crate::testing::one_task::{Order, adding_up};
use crate::topology::{PartitionCount, Sink};

const NOW: Duration = Duration::ZERO;
/// A sum that the brokers take for too large.
const TOO_LARGE: i64 = 1_000;

/// Takes records until it is full.
#[derive(Default)]
struct Full {
    topics: Vec<String>,
    room: usize,
    sent: Vec<(String, i64)>,
}

impl RecordSender for Full {
    fn resolve(&mut self, topic: &str) -> Result<SenderTopic> {
        self.topics.push(topic.to_string());
        Ok(SenderTopic(u32::try_from(self.topics.len() - 1).expect("there are few topics")))
    }

    fn send(&mut self, record: &OutgoingRecord<'_>) -> Result<()> {
        let topic = &self.topics[record.topic.0 as usize];
        let value = record.value.expect("no row is removed");
        let sum = i64::from_be_bytes(value[value.len() - 8..].try_into().expect("there are eight bytes"));
        if self.room == 0 {
            return Err(Error::new(ErrorKind::Retry, "the queue is full"));
        }
        if topic == "totals" && sum >= TOO_LARGE {
            return Err(Error::new(ErrorKind::Record, "too large"));
        }
        self.room -= 1;
        self.sent.push((topic.clone(), sum));
        Ok(())
    }

    fn open_changelog(&mut self) -> ChangelogSlot {
        ChangelogSlot(0)
    }

    fn acknowledged(&self, _slot: ChangelogSlot) -> Option<Offset> {
        None
    }
}

impl Full {
    fn sent_to(&self, topic: &str) -> Vec<i64> {
        self.sent.iter().filter(|(sent_to, _)| sent_to == topic).map(|(_, sum)| *sum).collect()
    }
}

fn settings(reaction: Reaction) -> Settings {
    Settings { handlers: Handlers::all(reaction), ..Settings::new("none") }
}

fn process(task: &mut Task<Order>) -> Result<usize> {
    task.process(100, Timestamp::from_millis(0), NOW)
}

#[test]
fn what_a_full_queue_did_not_take_is_sent_later_and_nothing_twice() -> Result<()> {
    let one_partition: PartitionCount = Arc::new(|_topic| Ok(1));
    let orders = [1, 2, 3, TOO_LARGE, 4];
    let sink = Sink::topic("totals");
    let mut task = adding_up(&orders, sink, &settings(Reaction::DeadLetter), &one_partition)?;
    assert_eq!(process(&mut task)?, orders.len());
    let mut sender = Full::default();
    let mut tries = 0;
    while let Err(error) = task.deliver(&mut sender, NOW) {
        assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
        sender.room += 1;
        tries += 1;
    }
    assert_eq!(tries, sender.sent.len(), "each try goes on where the one before had to stop");
    assert_eq!(sender.sent_to("totals"), [1, 3, 6]);
    assert_eq!(sender.sent_to("shop-dead-letters"), [1_006, 1_010], "they were refused once each");
    assert_eq!(sender.sent_to("shop-sums-changelog"), [1, 3, 6, 1_006, 1_010]);
    Ok(())
}

#[test]
fn a_record_that_waited_in_vain_leaves_no_trace() -> Result<()> {
    let is_away = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&is_away);
    let partition_count: PartitionCount = Arc::new(move |_topic| match asked.load(Ordering::Relaxed) {
        true => Err(Error::new(ErrorKind::Retry, "the brokers are away")),
        false => Ok(1),
    });
    let sink = Sink::topic("totals").partitioned_by(|_total, _count| 0);
    let mut task = adding_up(&[5], sink, &settings(Reaction::Skip), &partition_count)?;
    let error = process(&mut task).expect_err("nobody says how many partitions there are");
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    assert!(!task.stores().has_changelog(), "what the record did is taken back");

    is_away.store(false, Ordering::Relaxed);
    assert_eq!(process(&mut task)?, 1);
    let mut sender = Full { room: usize::MAX, ..Full::default() };
    task.deliver(&mut sender, NOW)?;
    assert_eq!(sender.sent_to("totals"), [5]);
    assert_eq!(sender.sent_to("shop-sums-changelog"), [5]);
    Ok(())
}
