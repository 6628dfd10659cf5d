//! How long a commit keeps a stream thread from processing, with as many dirty keys as a commit may have.

use anyhow::Result;

use super::throughput::ROUNDS_WITHOUT_GOAL;
use super::{Row, Workload};
use crate::bench::{Bench, Scene};
use crate::child::CommitTimes;
use crate::input::{Input, Keys};
use crate::report::{Figure, Figures, Goal, Outcome};
use crate::settings::Column;
use crate::sides::Side;
use crate::stats::median;
use crate::watch::Watch;

const KEYS: u64 = 100_000;

pub(super) struct CommitStall;

impl Row for CommitStall {
    fn name(&self) -> String {
        "commit-stall".to_owned()
    }

    fn title(&self) -> String {
        format!("the longest commit of a count of {KEYS} keys that all change in a commit interval of 1 s")
    }

    fn is_in_quick_look(&self) -> bool {
        false
    }

    fn measure(&self, bench: &mut Bench) -> Result<Vec<Outcome>> {
        let input = bench.sized(Input::stream(5_000_000, Keys::Uniform(KEYS)));
        let topic = bench.topic(input)?;
        let rounds = bench.rounds(ROUNDS_WITHOUT_GOAL, |_| {
            let mut scene = bench.scene(Side::Ours, Workload::Count, &topic, input.partitions)?;
            scene.run.emission_cache = true;
            run(scene, input)
        })?;
        let of = |value: fn(&CommitTimes) -> f64| median(rounds.iter().map(value)).unwrap_or_default();
        let stall = of(|times| times.longest_in_stores_ms);
        let mut outcome = Outcome::new(self, Column::Matched, rounds.len());
        outcome.goals = vec![Goal::of(Figure::StoreStallMs, 50.0)];
        outcome.ours = Figures { store_stall_ms: Some(stall), ..Figures::default() };
        outcome.notes.push(format!(
            "in {:.0} commits at most {stall:.1} ms in operators and stores, {:.1} ms for Kafka; {:.1} ms together",
            of(|times| times.commits),
            of(|times| times.longest_for_kafka_ms),
            of(|times| times.longest_ms),
        ));
        Ok(vec![outcome])
    }
}

fn run(scene: Scene<'_>, input: Input) -> Result<CommitTimes> {
    let mut child = scene.start(Column::Matched)?;
    let watch = Watch::new(&scene.run.bootstrap_servers, &scene.run.id)?;
    scene.watch(&child, || Ok(watch.committed(&scene.run.input, input.partitions)? >= input.records))?;
    let times = child.commit_times()?;
    scene.end(child, Column::Matched)?;
    Ok(times)
}
