//! The processors of the simulated programs.

use millstream_state_stores::{KeyValueStore, StoreError, ValueAndTimestamp};

use crate::api::{Failure, Processor, ProcessorContext, Record};
use crate::topology::PartitionCount;

type Text = Record<String, String>;
type TextContext<'a> = ProcessorContext<'a, String, String>;
type TextStore = KeyValueStore<String, String>;

/// Makes the sku the key, and the order's number the value.
pub(super) struct BySku;

impl Processor for BySku {
    type KeyIn = String;
    type ValueIn = String;
    type KeyOut = String;
    type ValueOut = String;

    fn process(&mut self, order: Text, context: &mut TextContext<'_>) -> Result<(), Failure> {
        context.forward(Record::new(order.value, order.key, order.timestamp))
    }
}

/// Writes down the numbers of all orders of a sku, in the order in which they came.
pub(super) struct Tally {
    pub(super) tallies: TextStore,
    /// Whom it asks before it says what it has written down, as a sink does whose topic is another for each record; none if it does not.
    pub(super) ask: Option<PartitionCount>,
}

impl Processor for Tally {
    type KeyIn = String;
    type ValueIn = String;
    type KeyOut = String;
    type ValueOut = String;

    fn process(&mut self, order: Text, context: &mut TextContext<'_>) -> Result<(), Failure> {
        let changed = self.tallies.update::<StoreError>(&order.key, order.timestamp, false, |tally| {
            let value = match tally {
                Some(tally) => format!("{} {}", tally.value, order.value),
                None => order.value.clone(),
            };
            Ok(Some(ValueAndTimestamp { value, timestamp: order.timestamp }))
        })?;
        if let Some(ask) = &self.ask {
            ask("results").map_err(Failure::of_task)?;
        }
        match changed.and_then(|(change, timestamp)| Some((change.new?, timestamp))) {
            Some((tally, timestamp)) => context.forward(Record::new(order.key, tally, timestamp)),
            None => Ok(()),
        }
    }

    fn prepare_commit(&mut self, context: &mut TextContext<'_>) -> Result<(), Failure> {
        if !self.tallies.is_cached() {
            return Ok(());
        }
        for emission in self.tallies.emissions()? {
            if let Some(tally) = emission.change.new {
                context.forward(Record::new(emission.key, tally, emission.timestamp))?;
            }
        }
        Ok(())
    }
}

/// Keeps the newest stock of each sku that is not sold out.
pub(super) struct KeepStock {
    pub(super) on_hand: TextStore,
}

impl Processor for KeepStock {
    type KeyIn = String;
    type ValueIn = Option<String>;
    type KeyOut = String;
    type ValueOut = String;

    fn process(
        &mut self,
        stock: Record<String, Option<String>>,
        _context: &mut TextContext<'_>,
    ) -> Result<(), Failure> {
        let row = stock.value.map(|value| ValueAndTimestamp { value, timestamp: stock.timestamp });
        self.on_hand.update::<StoreError>(&stock.key, stock.timestamp, false, |_before| Ok(row))?;
        Ok(())
    }
}

/// Says of each order what stock there was.
pub(super) struct CheckOrders {
    pub(super) on_hand: TextStore,
}

impl Processor for CheckOrders {
    type KeyIn = String;
    type ValueIn = String;
    type KeyOut = String;
    type ValueOut = String;

    fn process(&mut self, order: Text, context: &mut TextContext<'_>) -> Result<(), Failure> {
        let on_hand = self.on_hand.get(&order.key)?.map_or_else(|| "none".to_string(), |row| row.value);
        context.forward(Record::new(order.key, format!("{} {on_hand}", order.value), order.timestamp))
    }
}
