//! Point queries of a store while it is being written to, and what they cost the writer.

use anyhow::Result;

use super::measured::{self, Round};
use super::throughput::Throughput;
use super::{Row, count};
use crate::bench::Bench;
use crate::report::{Figure, Goal, Outcome};
use crate::settings::Column;
use crate::sides::Side;
use crate::stats::median;

const THREADS: usize = 8;

pub(super) struct Queries;

impl Row for Queries {
    fn name(&self) -> String {
        "query".to_owned()
    }

    fn title(&self) -> String {
        format!("point queries by {THREADS} threads, a thousand a second each, while count-uniform runs")
    }

    fn is_in_quick_look(&self) -> bool {
        true
    }

    fn measure(&self, bench: &mut Bench) -> Result<Vec<Outcome>> {
        let queried = Throughput { query_threads: THREADS, ..count::uniform() };
        let quiet = Throughput { query_threads: THREADS, idle_query_threads: true, ..count::uniform() };
        let topics = quiet.topics(bench)?;
        let mut times = Vec::new();
        let rounds = bench.rounds(usize::MAX, |number| {
            let mut round = Round::new();
            for side in bench.sides(false) {
                let run = queried.run(bench, &topics, side, Column::Matched, number)?;
                times.extend(run.queries.map(|queries| (side, queries)));
                round.push((side, run));
            }
            // The limit of a writer under queries is the same writer beside threads that wake up as often and ask nothing: what
            // waking up costs on a busy machine is not the store's doing.
            round.push((Side::Limit, quiet.run(bench, &topics, Side::Ours, Column::Matched, number)?));
            Ok(round)
        })?;
        let goals = [
            Goal::of(Figure::P50, 1.0 / 3.0),
            Goal::of(Figure::P50Micros, 2.0),
            Goal::of(Figure::P99Micros, 50.0),
            Goal::throughput_of_limit(0.95),
        ];
        let mut outcome = measured::outcome(self, &goals, Column::Matched, &rounds);
        let of = |side: Side, value: fn(&crate::child::QueryTimes) -> f64| {
            median(times.iter().filter(|(found, _)| *found == side).map(|(_, times)| value(times) / 1e3))
        };
        outcome.ours.p50_ms = of(Side::Ours, |times| times.p50_us);
        outcome.ours.p99_ms = of(Side::Ours, |times| times.p99_us);
        if let Some(peer) = &mut outcome.peer {
            peer.p50_ms = of(Side::Peer, |times| times.p50_us);
            peer.p99_ms = of(Side::Peer, |times| times.p99_us);
        }
        outcome.cpu_of_limit = None;
        outcome.notes.push(
            "the limit is our own count beside as many threads that wake up as often but ask nothing"
                .to_owned(),
        );
        Ok(vec![outcome])
    }
}
