//! A task of tests that need one outside of a driver. It adds up the orders of each sku in a store, and passes the sums on.

use std::sync::Arc;

use millstream_state_stores::{
    HasSerde, KeyValueStore, KeyValueStoreBuilder, Offset, StateMemory, StoreName, TaskId, Timestamp,
    ValueAndTimestamp,
};

use crate::api::{Failure, Headers, Processor, ProcessorContext, Record};
use crate::config::Settings;
use crate::error::Result;
use crate::task::{InputMessage, Task, TaskPlan, TaskSite, TaskState};
use crate::topology::{Consumed, PartitionCount, RawRecord, Sink, Topology};

const SUMS: StoreName<String, i64> = StoreName::new("sums");

/// An order for apples, in a topic of its kind.
pub(crate) struct Order {
    offset: Offset,
    quantity: [u8; 8],
}

impl Order {
    pub(crate) fn new(offset: i64, quantity: i64) -> Self {
        Order { offset: Offset::new(offset), quantity: quantity.to_be_bytes() }
    }
}

impl InputMessage for Order {
    fn offset(&self) -> Offset {
        self.offset
    }

    fn raw(&self) -> RawRecord<'_> {
        RawRecord {
            offset: self.offset,
            timestamp: Timestamp::from_millis(self.offset.get()),
            key: Some(b"apples"),
            value: Some(&self.quantity),
        }
    }

    fn headers(&self) -> Headers {
        Headers::default()
    }
}

/// Adds up the orders of each sku, and hands on each sum.
pub(crate) struct AddUp {
    pub(crate) sums: KeyValueStore<String, i64>,
}

impl Processor for AddUp {
    type KeyIn = String;
    type ValueIn = i64;
    type KeyOut = String;
    type ValueOut = i64;

    fn process(
        &mut self,
        order: Record<String, i64>,
        context: &mut ProcessorContext<'_, String, i64>,
    ) -> Result<(), Failure> {
        let sum = order.value + self.sums.get(&order.key)?.map_or(0, |row| row.value);
        self.sums.put(&order.key, Some(ValueAndTimestamp::new(sum, order.timestamp)))?;
        context.forward(Record::new(order.key, sum, order.timestamp))
    }
}

/// The task, which runs, with these orders before it.
///
/// # Errors
/// None: the topology is right.
pub(crate) fn adding_up(
    quantities: &[i64],
    sink: Sink<String, i64>,
    settings: &Settings,
    partition_count: &PartitionCount,
) -> Result<Task<Order>> {
    let mut topology = Topology::new();
    topology.add_source("orders", ["orders"], Consumed::with(String::serde(), i64::serde()))?;
    let store = KeyValueStoreBuilder::new(SUMS.name(), String::serde(), i64::serde()).with_caching(false);
    topology.add_state_store(Arc::new(store))?;
    topology.add_processor("add-up", &["orders"], &[SUMS.name()], |wiring| {
        Ok(AddUp { sums: wiring.store(SUMS)? })
    })?;
    topology.add_sink("totals", &["add-up"], sink, String::serde(), i64::serde())?;

    let plans = TaskPlan::all(&Arc::new(topology), &"shop".into(), settings, partition_count);
    let id = TaskId { subtopology: plans[0].subtopology.id, partition: 0 };
    let stores = plans[0].open_stores(id, None, &StateMemory::new(settings.state_memory))?;
    let stores = plans[0].wake(stores, None);
    let mut task = plans[0].build(TaskSite { id, stores, owns: &|_| true })?;
    task.become_state(TaskState::Restoring)?;
    task.become_state(TaskState::Running)?;
    for (offset, quantity) in (0..).zip(quantities) {
        task.queue_mut(0).push(Order::new(offset, *quantity));
    }
    Ok(task)
}
