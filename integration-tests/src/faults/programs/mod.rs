//! The programs under test: what each reads and writes, what is fed to it, and what must come out.

mod count;
mod join;
mod order_inventory;

use std::collections::BTreeMap;

use anyhow::Result;
use millstream::Topology;

use self::join::Prices;
use super::check::{Findings, Rules, Topics};
use crate::kafka::{ClusterClient, NewRecord, ReadRecord};

/// A program to run through the faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Program {
    /// Counts words, through a repartition topic.
    Count,
    /// Joins orders with a table of prices.
    Join,
    /// The same, with a versioned table: an order finds the price of its time, some versions ago.
    Versions,
    /// The order and inventory example.
    OrderInventory,
}

/// A topic that a program is given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given {
    /// Its name, after the application's id and a hyphen.
    pub(super) name: &'static str,
    pub(super) passed_on: Option<PassedOn>,
}

/// Of a topic that gets the records of an input topic one by one, in their partitions and their order.
#[derive(Debug, Clone, Copy)]
pub(super) struct PassedOn {
    pub(super) from: &'static str,
    /// The value in the input, which no other record has, given the value in the output.
    pub(super) input_of: fn(&str) -> &str,
}

/// Makes up the input of a program, from a seed and from what the program answers.
pub(super) trait Feed {
    /// The next record and its topic; none while there is nothing to say.
    fn next(&mut self) -> Result<Option<(&'static str, NewRecord)>>;
}

impl Program {
    /// All of them.
    pub const ALL: [Program; 4] = [Program::Count, Program::Join, Program::Versions, Program::OrderInventory];

    /// The program for an application of this id, which its topics' names begin with.
    ///
    /// # Errors
    /// If the id does not fit into topic names.
    pub fn topology(self, application_id: &str) -> millstream::Result<Topology> {
        match self {
            Program::Count => count::topology(application_id),
            Program::Join => join::topology(application_id, Prices::Newest),
            Program::Versions => join::topology(application_id, Prices::Versions),
            Program::OrderInventory => order_inventory::topology(application_id),
        }
    }

    pub(super) fn topics(self) -> &'static [Given] {
        match self {
            Program::Count => count::TOPICS,
            Program::Join | Program::Versions => join::TOPICS,
            Program::OrderInventory => order_inventory::TOPICS,
        }
    }

    pub(super) fn feed(
        self,
        seed: u64,
        client: &ClusterClient,
        application_id: &str,
    ) -> Result<Box<dyn Feed>> {
        Ok(match self {
            Program::Count => Box::new(count::Lines::new(seed)),
            Program::Join => Box::new(join::OrdersAndPrices::new(seed, Prices::Newest)),
            Program::Versions => Box::new(join::OrdersAndPrices::new(seed, Prices::Versions)),
            Program::OrderInventory => {
                Box::new(order_inventory::ShopFeed::new(seed, client, application_id)?)
            }
        })
    }

    /// Compares what came out with a recount of the input. `changelogs` is by store.
    pub(super) fn check(
        self,
        topics: &Topics,
        changelogs: &BTreeMap<String, Vec<ReadRecord>>,
        rules: Rules,
    ) -> Result<Findings> {
        match self {
            Program::Count => count::check(topics, changelogs, rules),
            Program::Join => join::check(topics, changelogs, rules, Prices::Newest),
            Program::Versions => join::check(topics, changelogs, rules, Prices::Versions),
            Program::OrderInventory => order_inventory::check(topics, changelogs, rules),
        }
    }
}

/// The name of a program's topic in Kafka.
pub(super) fn topic_of(application_id: &str, name: &str) -> String {
    format!("{application_id}-{name}")
}

/// A record as a test reads it back.
#[cfg(test)]
fn read_back(offset: usize, key: &str, value: impl Into<Vec<u8>>) -> ReadRecord {
    ReadRecord {
        partition: 0,
        offset: i64::try_from(offset).unwrap_or(0),
        timestamp: Some(0),
        key: Some(key.into()),
        value: Some(value.into()),
        headers: Vec::new(),
    }
}
