//! The performance gate: how many instructions the engine needs per record, against `benchmarks/instructions.json`.
//!
//! Counting instructions instead of time makes it deterministic: the same program gives the same figure, however busy the
//! machine is. It says nothing about caches, branches or waiting; `make bench` does. The counts are those of one architecture,
//! and of the C library and compiler they were made with, so the gate runs on x86-64 Linux only.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod baseline;
mod callgrind;

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, ensure};

use baseline::{Baseline, Cost, Verdict};

/// As `engine-cost --help` lists them.
const SCENARIOS: [&str; 8] = [
    "pass",
    "filter-map",
    "count-logged",
    "count-cached",
    "stream-table-join",
    "select-key",
    "store-update",
    "store-commit",
];
/// The records of the shorter run; the longer one has twice as many.
const RECORDS: u64 = 2000;
/// Set by `make bench-baseline`.
const ACCEPT: &str = "MILLSTREAM_ACCEPT_INSTRUCTIONS";

#[test]
fn a_record_costs_no_more_than_the_baseline_allows() -> Result<()> {
    ensure!(
        !cfg!(debug_assertions),
        "instructions are counted in the release profile: run `cargo test --release --locked --workspace --test instructions`"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.json");
    let measured = Baseline { tools: callgrind::tools()?, scenarios: measure()? };
    if std::env::var_os(ACCEPT).is_some() {
        return measured.write(&path);
    }
    match Baseline::read(&path)?.judge(&measured) {
        Verdict::Same => Ok(()),
        Verdict::Better(hint) => {
            println!("{hint}");
            Ok(())
        }
        Verdict::Worse(message) => panic!("{message}"),
    }
}

fn measure() -> Result<BTreeMap<String, Cost>> {
    SCENARIOS
        .into_iter()
        .map(|scenario| {
            let cost =
                cost_of(scenario).with_context(|| format!("scenario {scenario} cannot be measured"))?;
            Ok((scenario.to_string(), cost))
        })
        .collect()
}

/// What a record costs: start-up and first round are in both runs, and drop out.
fn cost_of(scenario: &str) -> Result<Cost> {
    let (short, long) = thread::scope(|scope| {
        let short = scope.spawn(|| callgrind::count(scenario, RECORDS));
        let long = callgrind::count(scenario, 2 * RECORDS);
        (short.join().expect("counting returns its errors"), long)
    });
    Ok(Cost::between(&short?, &long?, RECORDS))
}
