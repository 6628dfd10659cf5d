//! Heartbeats: when they are written, and what a task does with those it reads.

use millstream_state_stores::HasSerde;

use super::*;
use crate::api::{Failure, Processor, ProcessorContext, Record};
use crate::handlers::{Handlers, Reaction};
use crate::topology::{Consumed, HEARTBEAT_HEADER, heartbeat_headers};

const SECOND: Duration = Duration::from_secs(1);

/// Forwards at commits what came and how time moved since the last one. It fails where time comes to a number of milliseconds that ends with 3.
#[derive(Default)]
struct Diary {
    held_back: Vec<String>,
}

impl Processor for Diary {
    type KeyIn = String;
    type ValueIn = String;
    type KeyOut = String;
    type ValueOut = String;

    fn process(
        &mut self,
        record: Record<String, String>,
        _context: &mut ProcessorContext<'_, String, String>,
    ) -> Result<(), Failure> {
        self.held_back.push(record.value);
        Ok(())
    }

    fn advance_stream_time(
        &mut self,
        time: Timestamp,
        context: &mut ProcessorContext<'_, String, String>,
    ) -> Result<(), Failure> {
        assert_eq!(context.task().stream_time().max(Some(time)), context.task().stream_time());
        let now = format!("now {}", time.as_millis());
        context.forward(Record::new(String::new(), format!("at once {now}"), time))?;
        if time.as_millis() % 10 == 3 {
            return Err(std::io::Error::other("not at this time").into());
        }
        self.held_back.push(now);
        Ok(())
    }

    fn prepare_commit(&mut self, context: &mut ProcessorContext<'_, String, String>) -> Result<(), Failure> {
        let entries = self.held_back.drain(..);
        entries
            .map(|entry| Record::new(String::new(), entry, Timestamp::from_millis(0)))
            .try_for_each(|entry| context.forward(entry))
    }
}

/// A diary of the diary of orders; neither knows of what else is read.
fn topology() -> Result<Topology> {
    let mut topology = Topology::new();
    let consumed = || Consumed::with(String::serde(), String::serde());
    topology.add_source("orders", ["orders"], consumed().with_heartbeats(10 * SECOND))?;
    topology.add_source("others", ["others"], consumed())?;
    topology.add_processor("above", &["orders"], &[], |_| Ok(Diary::default()))?;
    topology.add_processor("below", &["above", "others"], &[], |_| Ok(Diary::default()))?;
    topology.add_processor("beside", &["others"], &[], |_| Ok(Diary::default()))?;
    topology.add_sink("diary", &["below", "beside"], "diary", String::serde(), String::serde())?;
    Ok(topology)
}

fn driver() -> Result<TopologyTestDriver> {
    let mut settings = Settings::new("none");
    settings.handlers = Handlers::all(Reaction::Skip);
    TopologyTestDriver::builder(topology()?).settings(settings).commit_by_hand().build()
}

fn order(driver: &TopologyTestDriver, value: &str, millis: i64) -> Result<()> {
    let orders = driver.input_topic::<String, String>("orders");
    orders.pipe_input_at("apples", value, Timestamp::from_millis(millis))
}

/// The times of the heartbeats that were written since the last look.
fn written(driver: &TopologyTestDriver) -> Result<Vec<i64>> {
    let orders = driver.output_topic::<Option<String>, Option<String>>("orders").read_records_to_list()?;
    for heartbeat in &orders {
        assert_eq!((&heartbeat.key, &heartbeat.value), (&None, &None));
        let time = heartbeat.timestamp.as_millis().to_be_bytes();
        assert_eq!(heartbeat.headers.last(HEARTBEAT_HEADER).flatten().map(|told| &told[..]), Some(&time[..]));
    }
    Ok(orders.into_iter().map(|heartbeat| heartbeat.timestamp.as_millis()).collect())
}

fn diary(driver: &TopologyTestDriver) -> Result<Vec<String>> {
    let entries = driver.output_topic::<String, String>("diary").read_key_values_to_list()?;
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

#[test]
fn one_is_written_when_nothing_has_come_for_long_enough() -> Result<()> {
    let driver = driver()?;
    driver.advance_wall_clock_time(9 * SECOND)?;
    assert!(written(&driver)?.is_empty());
    driver.advance_wall_clock_time(SECOND)?;
    assert_eq!(written(&driver)?, [0]);
    driver.advance_wall_clock_time(6 * SECOND)?;
    order(&driver, "an order", 5_000)?;
    driver.advance_wall_clock_time(6 * SECOND)?;
    assert!(written(&driver)?.is_empty(), "6 s after the order");
    driver.advance_wall_clock_time(4 * SECOND)?;
    assert_eq!(written(&driver)?, [16_000], "10 s after the order, at 26 s");
    driver.advance_wall_clock_time(10 * SECOND)?;
    assert_eq!(written(&driver)?, [26_000], "it goes on");
    Ok(())
}

#[test]
fn none_is_written_that_would_not_move_time() -> Result<()> {
    let driver = driver()?;
    order(&driver, "an order of tomorrow", 86_400_000)?;
    driver.advance_wall_clock_time(60 * SECOND)?;
    assert!(written(&driver)?.is_empty());
    Ok(())
}

#[test]
fn time_moves_for_the_nodes_below_after_what_those_above_emit() -> Result<()> {
    let driver = driver()?;
    order(&driver, "an order", 1_000)?;
    driver.advance_wall_clock_time(15 * SECOND)?;
    let expected = ["at once now 5000", "at once now 5000", "an order", "now 5000", "now 5000"];
    assert_eq!(diary(&driver)?, expected);
    assert_eq!((driver.dropped_records(), driver.skipped_records()), (0, 0));
    Ok(())
}

#[test]
fn what_comes_in_other_topics_holds_none_back() -> Result<()> {
    let driver = driver()?;
    let others = driver.input_topic::<String, String>("others");
    others.pipe_input_at("apples", "another", Timestamp::from_millis(60_000))?;
    driver.advance_wall_clock_time(15 * SECOND)?;
    assert_eq!(written(&driver)?, [5_000]);
    Ok(())
}

/// Lets records pass a minute late.
#[derive(Default)]
struct Delay {
    held_back: Vec<Record<String, String>>,
}

impl Processor for Delay {
    type KeyIn = String;
    type ValueIn = String;
    type KeyOut = String;
    type ValueOut = String;

    fn process(
        &mut self,
        record: Record<String, String>,
        _context: &mut ProcessorContext<'_, String, String>,
    ) -> Result<(), Failure> {
        self.held_back.push(record);
        Ok(())
    }

    fn advance_stream_time(
        &mut self,
        time: Timestamp,
        context: &mut ProcessorContext<'_, String, String>,
    ) -> Result<(), Failure> {
        let is_over =
            |record: &mut Record<String, String>| record.timestamp.as_millis() + 60_000 <= time.as_millis();
        self.held_back.extract_if(.., is_over).try_for_each(|record| context.forward(record))
    }

    fn passes_stream_time(&self) -> bool {
        false
    }
}

#[test]
fn below_a_node_that_holds_records_back_time_moves_by_what_it_lets_go() -> Result<()> {
    let mut topology = Topology::new();
    let consumed = Consumed::with(String::serde(), String::serde()).with_heartbeats(10 * SECOND);
    topology.add_source("orders", ["orders"], consumed)?;
    topology.add_processor("delay", &["orders"], &[], |_| Ok(Delay::default()))?;
    topology.add_processor("diary", &["delay"], &[], |_| Ok(Diary::default()))?;
    topology.add_sink("out", &["diary"], "diary", String::serde(), String::serde())?;
    let driver = TopologyTestDriver::new(topology)?;
    order(&driver, "an order", 1_000)?;
    driver.advance_wall_clock_time(90 * SECOND)?;
    assert_eq!(diary(&driver)?, ["an order"]);
    Ok(())
}

/// A message of the topic `orders`: a heartbeat if it has no value.
fn message(offset: i64, value: Option<&str>, millis: i64) -> OwnedMessage {
    let mut headers = Headers::default();
    if value.is_none() {
        headers.push(HEARTBEAT_HEADER, None);
    }
    OwnedMessage {
        offset: Offset::new(offset),
        timestamp: Timestamp::from_millis(millis),
        key: value.map(|_| b"apples".to_vec()),
        value: value.map(|value| value.as_bytes().to_vec()),
        headers,
    }
}

#[test]
fn no_record_behind_one_is_taken_before_the_commit() -> Result<()> {
    let driver = driver()?;
    {
        let core = &mut *driver.core.borrow_mut();
        let task = &mut core.tasks.all[0];
        task.queues_mut().iter_mut().for_each(|queue| queue.reached_end(Offset::new(0)));
        let messages = [
            (Some("an order"), 10),
            (None, 1_001),
            (None, 1_002),
            (Some("a late order"), 20),
            (None, 1_003),
            (Some("another"), 30),
        ];
        for (offset, (value, millis)) in (0..).zip(messages) {
            task.queue_mut(0).push(message(offset, value, millis));
        }
        for (processed, next) in [(3, 3), (2, 5), (1, 6)] {
            let done = task.process(usize::MAX, Timestamp::from_millis(0), Duration::ZERO)?;
            assert_eq!((done, task.queues()[0].processed_to()), (processed, Some(Offset::new(next))));
            assert_eq!(task.wants_commit(), next < 6);
            task.prepare_commit()?;
            task.deliver(&mut core.produced, Duration::ZERO)?;
            task.committed(&core.produced)?;
        }
    }
    let expected = [
        "at once now 1002",
        "at once now 1002",
        "an order",
        "now 1002",
        "now 1002",
        // What fails at 1003 is taken back, but for what the diary below has in its memory.
        "at once now 1003",
        "a late order",
        "another",
    ];
    assert_eq!((diary(&driver)?, driver.skipped_records()), (expected.map(String::from).to_vec(), 2));
    Ok(())
}

#[test]
fn those_that_others_write_count_and_what_only_looks_like_one_is_a_record() -> Result<()> {
    let driver = driver()?;
    driver.core.borrow_mut().pipe("orders", message(0, None, 7_000))?;
    let mut by_the_broker = message(1, None, 90_000);
    by_the_broker.headers = heartbeat_headers(Timestamp::from_millis(8_000));
    driver.core.borrow_mut().pipe("orders", by_the_broker)?;
    driver.core.borrow_mut().pipe("others", message(0, None, 9_000))?;
    assert_eq!(driver.skipped_records(), 1, "that topic takes none, and a null key is no text");
    let expected = [7_000, 8_000]
        .map(|time| ["at once now", "at once now", "now", "now"].map(|entry| format!("{entry} {time}")));
    assert_eq!(diary(&driver)?, expected.concat());
    let orders = driver.input_topic::<String, String>("orders");
    orders.pipe_raw(None, None)?;
    assert_eq!(driver.skipped_records(), 2, "it has no such header");
    Ok(())
}
