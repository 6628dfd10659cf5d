//! What an application costs that has nothing to do.

use std::time::Duration;

use anyhow::Result;

use super::{Row, Workload};
use crate::bench::Bench;
use crate::clock::clock;
use crate::input::{Input, Keys};
use crate::report::{Figure, Figures, Goal, Outcome};
use crate::settings::Column;
use crate::sides::Side;
use crate::stats::median;
use crate::watch::Watch;

const TASKS: i32 = 100;

pub(super) struct Idle;

impl Row for Idle {
    fn name(&self) -> String {
        "idle".to_owned()
    }

    fn title(&self) -> String {
        format!("a count of {TASKS} tasks that has caught up")
    }

    fn is_in_quick_look(&self) -> bool {
        false
    }

    fn measure(&self, bench: &mut Bench) -> Result<Vec<Outcome>> {
        let input = Input { partitions: TASKS, ..Input::stream(100_000, Keys::Unique) };
        let topic = bench.topic(input)?;
        let mut all = Vec::new();
        for side in bench.sides(false) {
            all.push((side, run(bench, side, &topic, input)?));
        }
        let figures = |side: Side| {
            let of = |value: fn(&(f64, f64)) -> f64| {
                median(all.iter().filter(|(found, _)| *found == side).map(|(_, run)| value(run)))
            };
            let (idle_cpu_percent, rss_mb) = (Some(of(|run| run.0)?), of(|run| run.1));
            Some(Figures { idle_cpu_percent, rss_mb, ..Figures::default() })
        };
        let mut outcome = Outcome::new(self, Column::Matched, 1);
        outcome.goals = vec![Goal::of(Figure::IdleCpuPercent, 1.0)];
        outcome.ours = figures(Side::Ours).unwrap_or_default();
        outcome.peer = figures(Side::Peer);
        let figure = |figures: Option<&Figures>| {
            figures.map_or((0.0, 0.0), |figures| {
                (figures.idle_cpu_percent.unwrap_or_default(), figures.rss_mb.unwrap_or_default())
            })
        };
        let ((ours, ours_mb), (peer, peer_mb)) = (figure(Some(&outcome.ours)), figure(outcome.peer.as_ref()));
        outcome.notes.push(format!(
            "ours {ours:.2} % of a core and {ours_mb:.0} MB, Kafka Streams {peer:.2} % and {peer_mb:.0} MB"
        ));
        Ok(vec![outcome])
    }
}

/// Percent of a core, and the largest resident size in megabytes.
fn run(bench: &Bench, side: Side, topic: &str, input: Input) -> Result<(f64, f64)> {
    let mut scene = bench.scene(side, Workload::Count, topic, input.partitions)?;
    scene.run.emission_cache = true;
    let child = scene.start(Column::Matched)?;
    let watch = Watch::new(bench.bootstrap_servers(), &scene.run.id)?;
    scene.watch(&child, || Ok(watch.committed(topic, input.partitions)? >= input.records))?;
    let clock = clock();
    clock.sleep(bench.scaled(Duration::from_secs(5)));
    let from = child.usage()?;
    clock.sleep(bench.scaled(Duration::from_secs(10)));
    let to = child.usage()?;
    let busy = to.cpu.saturating_sub(from.cpu).as_secs_f64() / to.at.saturating_sub(from.at).as_secs_f64();
    let rss_mb = child.peak_resident_megabytes()?;
    scene.end(child, Column::Matched)?;
    Ok((busy * 100.0, rss_mb))
}
