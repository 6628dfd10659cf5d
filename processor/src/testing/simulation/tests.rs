//! Schedules by the thousand; and mistakes on purpose, which must be found.

use std::collections::BTreeMap;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use millstream_state_stores::Timestamp;

use super::cluster::LogRecord;
use super::fate::{Fate, Fault};
use super::invariants;
use super::machine::{Machine, TOMBSTONES_KEPT};
use super::mutation::{Mutation, set_in_runtime};
use super::program::{Kind, Program};
use super::rule::{Broken, Rule};
use super::scenario::Scenario;
use super::world::{Passed, Violation, World};
use crate::config::ProcessingGuarantee;

/// Seeds of one run of the test. `MILLSTREAM_SIMULATION_SEEDS` makes them more, `MILLSTREAM_SIMULATION_SEED` says where they begin;
/// alone, it is the only one.
const SEEDS: u64 = 10_000;
/// Seeds within which each mistake must be found.
const SEEDS_FOR_A_MISTAKE: u64 = 10_000;

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, which is not a whole number")))
}

fn run(seed: u64, mutation: Option<Mutation>, is_traced: bool) -> Result<Passed, Violation> {
    let scenario = Scenario::of_seed(seed, mutation);
    let run = catch_unwind(AssertUnwindSafe(|| World::run(scenario, is_traced)));
    run.unwrap_or_else(|_| Err(Violation { rule: Rule::NoPanic, what: "see above".into(), trace: vec![] }))
}

/// Runs it again with a trace, and says how everybody can.
fn explain(seed: u64, found: &Violation) -> String {
    let Violation { rule, what, .. } = found;
    let trace = run(seed, None, true).err().map_or_else(Vec::new, |violation| violation.trace);
    format!(
        "seed {seed}: {rule:?}: {what}\n{}\nseed {seed}: {rule:?}: {what}\nagain: make simulate SEED={seed}",
        trace.join("\n"),
    )
}

#[test]
fn every_schedule_keeps_the_guarantees() {
    let (first, many) = (number("MILLSTREAM_SIMULATION_SEED"), number("MILLSTREAM_SIMULATION_SEEDS"));
    let many = many.unwrap_or(if first.is_some() { 1 } else { SEEDS });
    let seeds = first.unwrap_or(0)..first.unwrap_or(0) + many;
    let mut turns = 0;
    let mut faults: BTreeMap<Fault, u64> = BTreeMap::new();
    for seed in seeds {
        match run(seed, None, false) {
            Ok(passed) => {
                passed
                    .faults
                    .into_iter()
                    .for_each(|(fault, count)| *faults.entry(fault).or_default() += count);
                turns += passed.turns;
            }
            Err(violation) => panic!("{}", explain(seed, &violation)),
        }
    }
    println!("{many} schedules, {turns} turns, {} faults: {faults:?}", faults.values().sum::<u64>());
    if many >= SEEDS {
        let missed: Vec<Fault> = Fault::ALL.into_iter().filter(|fault| !faults.contains_key(fault)).collect();
        assert!(missed.is_empty(), "never struck: {missed:?}");
    }
}

#[test]
fn a_seed_is_a_schedule() {
    for seed in 0..20 {
        let trace = |seed| {
            let mut scenario = Scenario::of_seed(seed, None);
            scenario.steps = 80;
            World::run(scenario, true).map_or_else(|violation| violation.trace, |passed| passed.trace)
        };
        assert!(trace(seed).len() > 1, "seed {seed}");
        assert_eq!(trace(seed), trace(seed), "seed {seed}");
    }
}

/// A machine that is away for longer than tombstones are kept has rows that nothing in the changelog's tail deletes.
#[test]
fn deleted_rows_do_not_come_back_with_state_that_is_older_than_the_tombstones() {
    for kind in [Kind::Join, Kind::JoinWithCopy] {
        for guarantee in [ProcessingGuarantee::AtLeastOnce, ProcessingGuarantee::ExactlyOnce] {
            run_with_a_machine_away(kind, guarantee, None).unwrap();
            let mistake = Mutation::OldStateResumed;
            let broken =
                run_with_a_machine_away(kind, guarantee, Some(mistake)).map_err(|broken| broken.rule);
            assert_eq!(broken, Err(mistake.breaks()), "{kind:?} {guarantee:?}");
        }
    }
}

fn run_with_a_machine_away(
    kind: Kind,
    guarantee: ProcessingGuarantee,
    mutation: Option<Mutation>,
) -> Result<(), Broken> {
    let program = Program { kind, is_cached: false, partitions: 2, chooses_partitions: false };
    let changelog = program.changelog();
    let scenario = Scenario {
        program,
        guarantee,
        mutation,
        has_zombies: false,
        machines: 1,
        threads: 1,
        standby_replicas: 0,
        inputs: 0,
        ..Scenario::of_seed(0, None)
    };
    set_in_runtime(mutation);
    let fate = Arc::new(Fate::new(0, false, |_fault| false));
    let mut world = World::new(scenario, &fate).expect("its program can be built");
    let mut other = Machine::new(1);
    let write = |world: &World, sku: i64, value: Option<&str>, time: i64| {
        let key = Some(format!("sku-{sku}").into_bytes());
        let record = LogRecord { key, value: value.map(Into::into), timestamp: Timestamp::from_millis(time) };
        world.around.cluster.borrow_mut().write_input("stock".into(), record);
    };
    let run_until_done = |world: &mut World| {
        world.come_to_rest()?;
        invariants::check_stores(world)?;
        let ended = world.machines[0].stop(&world.around);
        world.after(0, ended)
    };
    (0..8).for_each(|sku| write(&world, sku, Some("here"), sku));
    run_until_done(&mut world)?;

    std::mem::swap(&mut world.machines[0], &mut other);
    (0..4).for_each(|sku| write(&world, sku, None, 10 + sku));
    (8..16).for_each(|sku| write(&world, sku, Some("here"), 20 + sku));
    run_until_done(&mut world)?;

    world.around.clock.advance(i64::try_from(TOMBSTONES_KEPT.as_millis()).unwrap());
    world.around.cluster.borrow_mut().compact(&changelog, false);
    std::mem::swap(&mut world.machines[0], &mut other);
    run_until_done(&mut world)
}

#[test]
fn every_mistake_breaks_the_rule_that_is_there_for_it() {
    let seeds = number("MILLSTREAM_SIMULATION_SEEDS")
        .map_or(SEEDS_FOR_A_MISTAKE, |seeds| seeds.min(SEEDS_FOR_A_MISTAKE));
    let mut missed = Vec::new();
    for mutation in Mutation::FOUND_BY_CHANCE {
        let rule = mutation.breaks();
        let mut others: BTreeMap<Rule, u64> = BTreeMap::new();
        let found = (0..seeds).find_map(|seed| {
            let violation = run(seed, Some(mutation), false).err()?;
            let is_found = violation.rule == rule;
            if !is_found {
                others.entry(violation.rule).or_insert(seed);
            }
            is_found.then_some((seed, violation.what))
        });
        match found {
            Some((seed, what)) => println!("{mutation:?} breaks {rule:?} at seed {seed}: {what}"),
            None => missed.push(format!("{mutation:?} does not break {rule:?}, but {others:?}")),
        }
    }
    assert!(missed.is_empty(), "within {seeds} seeds: {}", missed.join("; "));
}
