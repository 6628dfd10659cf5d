//! A case through millstream: its public DSL and its `TopologyTestDriver`.

mod grouped;
mod handle;
mod processors;
mod program;
mod stores;
mod stream_joins;
mod streams;
mod tables;
mod windowed;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use millstream::api::{Header, Record};
use millstream::testing::TopologyTestDriver;
use millstream::{Timestamp, Topology};

use self::program::build;
use super::case::{Case, Input, Statement, Step};
use super::observation::{Failure, Observation, Outcome, Written};

/// What millstream makes of the case.
///
/// # Errors
/// If the case is no program: a statement builds on something that has no such operator, or names a function that does not exist.
pub fn observe(case: &Case) -> Result<Observation> {
    let topology = match build(&case.program, case.optimized)? {
        Ok(topology) => topology,
        Err(refused) => return Ok(Observation::Refused { refused: refused.to_string() }),
    };
    let (describe, stores) = (topology.describe(), stores::stores_of(&topology));
    let driver = match driver(topology, case) {
        Ok(driver) => driver,
        Err(refused) => return Ok(Observation::Refused { refused: refused.to_string() }),
    };
    let mut outcome =
        Outcome { describe, failed: None, topics: BTreeMap::new(), stores: BTreeMap::new(), dropped: 0 };
    for (step, what) in case.steps.iter().map(Some).chain([None]).enumerate() {
        if let Err(error) = carry_out(&driver, what) {
            outcome.failed = Some(Failure { step, error: format!("{error:?}") });
            return Ok(Observation::Ran(outcome));
        }
        take(&driver, step, &mut outcome.topics)?;
    }
    outcome.stores = stores::rows(&driver, &stores, case)?;
    outcome.dropped = driver.dropped_records();
    Ok(Observation::Ran(outcome))
}

/// Whether statements make a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fitness {
    /// They do.
    Program,
    /// They do, but millstream refuses it.
    Refused,
    /// They do not: there is no such operator on what they name.
    Nothing,
}

pub(super) fn fitness(program: &[Statement]) -> Fitness {
    match build(program, false) {
        Ok(Ok(_)) => Fitness::Program,
        Ok(Err(_)) => Fitness::Refused,
        Err(_) => Fitness::Nothing,
    }
}

fn driver(topology: Topology, case: &Case) -> millstream::Result<TopologyTestDriver> {
    let builder = TopologyTestDriver::builder(topology).application_id("oracle");
    let builder = builder.existing_topics(case.inputs().map(|input| &*input.topic));
    if case.commits_by_hand { builder.commit_by_hand().build() } else { builder.build() }
}

/// Carries out a step; none is the end, where everything is committed.
fn carry_out(driver: &TopologyTestDriver, step: Option<&Step>) -> millstream::Result<()> {
    match step {
        Some(Step::Pipe(Input { topic, key, value, at, headers })) => {
            let header = |(name, value): &(String, String)| Header {
                name: name.clone(),
                value: Some(value.clone().into_bytes().into()),
            };
            let headers = headers.iter().map(header).collect();
            let record = Record::new(key.clone(), value.clone(), Timestamp::from_millis(*at));
            let topic = driver.input_topic::<Option<String>, Option<String>>(topic);
            topic.pipe_record(record.with_headers(headers))
        }
        Some(Step::Advance(millis)) => driver.advance_wall_clock_time(Duration::from_millis(*millis)),
        Some(Step::Commit) | None => driver.commit(),
    }
}

/// Adds what a step has written, as bytes, to what those before have.
fn take(
    driver: &TopologyTestDriver,
    step: usize,
    topics: &mut BTreeMap<String, Vec<Written>>,
) -> millstream::Result<()> {
    for name in driver.produced_topic_names() {
        let topic = driver.output_topic::<Option<Vec<u8>>, Option<Vec<u8>>>(&name);
        let records = topic.read_records_to_list()?.into_iter().map(|record| Written {
            step: Some(step),
            key: record.key.as_deref().map(hex),
            value: record.value.as_deref().map(hex),
            at: Some(record.timestamp.as_millis()),
            headers: record
                .headers
                .iter()
                .map(|header| (header.name.clone(), header.value.as_deref().map(hex)))
                .collect(),
        });
        topics.entry(name).or_default().extend(records);
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
