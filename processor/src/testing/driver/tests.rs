//! What a task does when a record or a commit fails.

use std::sync::Arc;

use millstream_state_stores::{HasSerde, KeyValueStoreBuilder, StoreError, ValueAndTimestamp};

use super::*;
use crate::api::{Failure, Processor, ProcessorContext, Record};
use crate::handlers::{Handlers, Reaction};
use crate::topology::{Consumed, SinkTopic, TopicName};

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
    let orders = vec![TopicName::External("orders".into())];
    let consumed = Consumed::<String, i64>::with(HasSerde::serde(), HasSerde::serde())
        .with_timestamp_extractor(|_sku, time, _| Timestamp::from_millis(*time));
    topology.add_source("orders", orders, consumed)?;
    let counts = KeyValueStoreBuilder::<String, i64>::new("counts", HasSerde::serde(), HasSerde::serde());
    topology.add_state_store(Arc::new(counts))?;
    topology.add_processor("count", &["orders"], &["counts"], |wiring| {
        Ok(Count { counts: wiring.key_value_store("counts")? })
    })?;
    let emitted = SinkTopic::<String, i64>::Fixed(TopicName::External("emitted".into()));
    topology.add_sink("emitted", &["count"], emitted, HasSerde::serde(), HasSerde::serde())?;
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
