//! What a task does when a record or a commit fails.

use std::sync::Arc;

use millstream_state_stores::{HasSerde, KeyValueStoreBuilder, StoreError, ValueAndTimestamp};

use super::*;
use crate::api::{Failure, Processor, ProcessorContext, Punctuation, PunctuationType, Record};
use crate::error::ErrorKind;
use crate::handlers::{Handlers, Reaction};
use crate::topology::{Consumed, Sink};

const COUNTS: StoreName<String, i64> = StoreName::new("counts");

/// Counts by key; emits at commits.
struct Count {
    counts: KeyValueStore<String, i64>,
}

impl Processor for Count {
    type KeyIn = String;
    type ValueIn = i64;
    type KeyOut = String;
    type ValueOut = i64;

    fn process(
        &mut self,
        order: Record<String, i64>,
        _context: &mut ProcessorContext<'_, String, i64>,
    ) -> Result<(), Failure> {
        let timestamp = order.timestamp;
        self.counts.update::<StoreError>(&order.key, timestamp, false, |count| {
            Ok(Some(ValueAndTimestamp { value: count.map_or(0, |row| row.value) + 1, timestamp }))
        })?;
        Ok(())
    }

    fn prepare_commit(&mut self, context: &mut ProcessorContext<'_, String, i64>) -> Result<(), Failure> {
        for emission in self.counts.emissions()? {
            if let Some(count) = emission.change.new {
                context.forward(Record::new(emission.key, count, emission.timestamp))?;
            }
        }
        Ok(())
    }
}

/// Counts orders whose event time is their value.
fn driver() -> Result<TopologyTestDriver> {
    let mut topology = Topology::new();
    let consumed = Consumed::with(String::serde(), i64::serde())
        .with_timestamp_extractor(|_sku, time, _| Timestamp::from_millis(*time));
    topology.add_source("orders", ["orders"], consumed)?;
    let counts = KeyValueStoreBuilder::new(COUNTS.name(), String::serde(), i64::serde());
    topology.add_state_store(Arc::new(counts))?;
    topology.add_processor("count", &["orders"], &[COUNTS.name()], |wiring| {
        Ok(Count { counts: wiring.store(COUNTS)? })
    })?;
    topology.add_sink("emitted", &["count"], "emitted", String::serde(), i64::serde())?;
    let mut settings = Settings::new("none");
    settings.handlers = Handlers::all(Reaction::Skip);
    TopologyTestDriver::builder(topology).settings(settings).commit_by_hand().build()
}

#[test]
fn a_record_whose_event_time_cannot_be_read_takes_nothing_back() -> Result<()> {
    let driver = driver()?;
    let orders = driver.input_topic::<String, i64>("orders");
    orders.pipe_input("apples", 5)?;
    orders.pipe_raw(Some(b"apples"), Some(b"not a number"))?;
    let count = driver.key_value_store(COUNTS)?.get(&"apples".to_string())?;
    assert_eq!(count.map(|row| row.value), Some(1));
    assert_eq!(driver.skipped_records(), 1);
    Ok(())
}

#[test]
fn a_commit_that_is_tried_again_emits_and_logs_nothing_twice() -> Result<()> {
    let driver = driver()?;
    driver.input_topic::<String, i64>("orders").pipe_input("apples", 5)?;
    {
        let core = &mut *driver.core.borrow_mut();
        let task = &mut core.tasks.all[0];
        for _failing in 0..3 {
            task.prepare_commit()?;
            task.deliver(&mut core.produced, Duration::ZERO)?;
            let processed = task.process(1, Timestamp::from_millis(0), Duration::ZERO)?;
            assert_eq!(processed, 0, "a prepared task processes nothing");
        }
        task.committed(&core.produced)?;
    }
    assert_eq!(
        driver.output_topic::<String, i64>("emitted").read_key_values_to_list()?,
        [("apples".to_string(), 1)]
    );
    assert_eq!(driver.output_topic::<String, i64>("test-counts-changelog").len(), 1);
    Ok(())
}

/// Forwards the time every second.
struct Clockwork;

impl Processor for Clockwork {
    type KeyIn = String;
    type ValueIn = i64;
    type KeyOut = String;
    type ValueOut = i64;

    fn init(&mut self, context: &mut ProcessorContext<'_, String, i64>) -> Result<(), Failure> {
        context.schedule(Duration::from_secs(1), PunctuationType::WallClockTime).map(drop)
    }

    fn process(
        &mut self,
        _order: Record<String, i64>,
        _context: &mut ProcessorContext<'_, String, i64>,
    ) -> Result<(), Failure> {
        Ok(())
    }

    fn punctuate(
        &mut self,
        punctuation: Punctuation,
        context: &mut ProcessorContext<'_, String, i64>,
    ) -> Result<(), Failure> {
        context.forward(Record::new("now".into(), punctuation.time.as_millis(), punctuation.time))
    }
}

#[test]
fn what_a_punctuation_did_is_committed_with_the_position_that_there_is() -> Result<()> {
    let mut topology = Topology::new();
    topology.add_source("orders", ["orders"], Consumed::with(String::serde(), i64::serde()))?;
    topology.add_processor("clockwork", &["orders"], &[], |_| Ok(Clockwork))?;
    topology.add_sink("times", &["clockwork"], "times", String::serde(), i64::serde())?;
    let driver = TopologyTestDriver::builder(topology).commit_by_hand().build()?;
    let to_commit = || -> Vec<i64> {
        let core = driver.core.borrow();
        core.tasks.all[0].offsets_to_commit().map(|(_, _, next)| next.get()).collect()
    };
    driver.input_topic::<String, i64>("orders").pipe_input("apples", 5)?;
    assert_eq!(to_commit(), [1]);
    driver.commit()?;
    assert!(to_commit().is_empty());
    driver.advance_wall_clock_time(Duration::from_secs(1))?;
    assert_eq!(to_commit(), [1], "once more, so that the group looks who commits it");
    driver.commit()?;
    assert!(to_commit().is_empty());
    Ok(())
}

#[test]
fn a_partitioner_whose_topic_cannot_be_asked_about_ends_the_thread_whatever_the_handler_says() -> Result<()> {
    let mut topology = Topology::new();
    topology.add_source("orders", ["orders"], Consumed::with(String::serde(), i64::serde()))?;
    let first = Sink::<String, i64>::topic("packing").partitioned_by(|_order, _partitions| 0);
    topology.add_sink("packing", &["orders"], first, String::serde(), i64::serde())?;
    let mut settings = Settings::new("none");
    settings.handlers = Handlers::all(Reaction::Skip);
    let ask: PartitionCount = Arc::new(|topic| Err(Error::no_output_topic(topic)));
    let mut core = Core {
        tasks: DriverTasks::build(topology, "test", &settings, &ask)?,
        produced: Produced::default(),
        next_offsets: BTreeMap::new(),
        clock: ManualClock::at(Timestamp::from_millis(0)),
        commits_each_record: true,
    };
    let order = OwnedMessage {
        offset: Offset::new(0),
        timestamp: Timestamp::from_millis(0),
        key: Some(b"apples".to_vec()),
        value: Some(vec![0; 8]),
        headers: Headers::default(),
    };
    let error = core.pipe("orders", order).expect_err("there is no such topic");
    assert_eq!((error.kind(), error.node()), (ErrorKind::Invalid, Some("packing")));
    assert!(error.to_string().contains("output topic packing does not exist"), "{error}");
    Ok(())
}
