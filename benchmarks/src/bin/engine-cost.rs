//! Runs one scenario of the engine over records in memory, so that `benchmarks/tests/instructions` can count what it costs.
//!
//! What is done per record is the same from the second round on, so the cost of a record is the difference between two runs of
//! different length, divided by the difference of their records. There is no Kafka, no RocksDB, no clock and no chance in it.

use std::sync::Arc;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use millstream::prelude::*;
use millstream::testing::{Delivered, TopologyBench};
use millstream::{
    KeyValueStore, KeyValueStoreBuilder, Position, StateMemory, StoreError, TaskId, TaskStores,
    TaskStoresOptions, ValueAndTimestamp,
};

const COUNTS: StoreName<String, u64> = StoreName::new("counts");
/// Records between two commits.
const ROUND: usize = 1000;
/// Distinct keys of a round.
const KEYS: usize = 100;

/// Runs one scenario and prints what left it.
#[derive(Parser)]
struct Arguments {
    scenario: Scenario,
    /// A multiple of 1000.
    records: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Scenario {
    /// Records of 100 bytes from one topic to another.
    Pass,
    /// Half of the records are left out, the others get a new value.
    FilterMap,
    /// A count by key, every update emitted and logged.
    CountLogged,
    /// A count by key, the newest emitted and logged at commit.
    CountCached,
    /// Each record finds a row of the table.
    StreamTableJoin,
    /// Each record gets a new key and goes to the repartition topic of a count.
    SelectKey,
    /// Updates of rows that are in a store's table and changed already.
    StoreUpdate,
    /// The commit of rows that each changed once.
    StoreCommit,
}

fn main() -> Result<()> {
    let Arguments { scenario, records } = Arguments::parse();
    ensure!(records > 0 && records.is_multiple_of(ROUND), "give a multiple of {ROUND} records");
    let rounds = records / ROUND;
    match scenario {
        Scenario::StoreUpdate => update_store(rounds, KEYS, false),
        Scenario::StoreCommit => update_store(rounds, ROUND, true),
        _ => run_topology(scenario, rounds),
    }
}

fn run_topology(scenario: Scenario, rounds: usize) -> Result<()> {
    let mut bench = TopologyBench::new(topology(scenario)?)?;
    let records = match scenario {
        Scenario::Pass => {
            let record = |n| (key(n % KEYS).into_bytes(), vec![7; 100], at(n));
            bench.prepare::<Vec<u8>, Vec<u8>>("input", (0..ROUND).map(record))?
        }
        _ => bench.prepare("input", (0..ROUND).map(|n| (key(n % KEYS), n as i64, at(n))))?,
    };
    if let Scenario::StreamTableJoin = scenario {
        let prices = bench.prepare("prices", (0..KEYS).map(|n| (key(n), n as i64, at(0))))?;
        bench.process(&prices)?;
        bench.commit()?;
    }
    let before = bench.delivered();
    for _ in 0..rounds {
        bench.process(&records)?;
        bench.commit()?;
    }
    let Delivered { records, bytes } = bench.delivered();
    let expected = rounds * delivered_per_round(scenario);
    ensure!(
        records - before.records == expected as u64,
        "{scenario:?} delivered {} records instead of {expected}",
        records - before.records
    );
    println!("{records} records, {bytes} bytes");
    Ok(())
}

fn topology(scenario: Scenario) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    if let Scenario::Pass = scenario {
        builder.stream::<Vec<u8>, Vec<u8>>("input").to("output");
        return Ok(builder.build()?);
    }
    let input = builder.stream::<String, i64>("input");
    match scenario {
        Scenario::FilterMap => {
            input.filter(|_, value| value % 2 == 0).map_values(|_, value| value + 1).to("output")
        }
        Scenario::CountLogged => {
            input.group_by_key().count(COUNTS.without_caching()).to_stream().to("output")
        }
        Scenario::CountCached => input.group_by_key().count(COUNTS).to_stream().to("output"),
        Scenario::StreamTableJoin => input
            .join(&builder.table::<String, i64>("prices"), |quantity, price| quantity * price)
            .to("output"),
        _ => input.select_key(|_, value| value % 10).group_by_key().count(()).to_stream().to("output"),
    };
    Ok(builder.build()?)
}

/// How many records leave a scenario in one round, changelogs included.
fn delivered_per_round(scenario: Scenario) -> usize {
    match scenario {
        Scenario::FilterMap => ROUND / 2,
        Scenario::CountLogged => 2 * ROUND,
        Scenario::CountCached => 2 * KEYS,
        _ => ROUND,
    }
}

/// Updates each of the keys in turn; commits after each round, or else never.
fn update_store(rounds: usize, keys: usize, commits: bool) -> Result<()> {
    let task = TaskId { subtopology: 0, partition: 0 };
    let builder = KeyValueStoreBuilder::new(COUNTS.name(), String::serde(), u64::serde()).with_logging(false);
    let options = TaskStoresOptions::default();
    let memory = StateMemory::new(64 << 20);
    let mut stores = TaskStores::open(task, "bench", None, memory, options, &[Arc::new(builder)])?;
    let counts: KeyValueStore<String, u64> = stores.key_value(COUNTS.name())?;
    let keys: Vec<String> = (0..keys).map(key).collect();
    for round in 0..rounds {
        for key in keys.iter().cycle().take(ROUND) {
            counts.update(key, at(round), false, |count| {
                let value = count.map_or(0, |row| row.value) + 1;
                Ok::<_, StoreError>(Some(ValueAndTimestamp::new(value, at(round))))
            })?;
        }
        if commits {
            stores.prepare_commit()?;
            stores.commit(Arc::new(Position::default()))?;
        }
    }
    let total: u64 = counts.all()?.map(|row| row.map(|(_, count)| count.value)).sum::<Result<u64, _>>()?;
    ensure!(total == (rounds * ROUND) as u64, "the counts add up to {total}");
    println!("{total} updates");
    Ok(())
}

fn key(n: usize) -> String {
    format!("key-{n:06}")
}

fn at(n: usize) -> Timestamp {
    Timestamp::from_millis(n as i64)
}
