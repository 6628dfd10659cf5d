//! Whether the setting `state_memory` holds: the same count with hardly any state and with ten times what it allows.

use anyhow::Result;

use super::throughput::{ROUNDS_WITHOUT_GOAL, Throughput};
use super::{Row, count};
use crate::bench::Bench;
use crate::report::{Figure, Figures, Goal, Outcome};
use crate::settings::Column;
use crate::sides::Side;
use crate::stats::median;

pub(super) struct StateMemory;

impl Row for StateMemory {
    fn name(&self) -> String {
        "state-memory".to_owned()
    }

    fn title(&self) -> String {
        "peak memory of a count whose state is ten times state_memory, above that of hardly any state"
            .to_owned()
    }

    fn is_in_quick_look(&self) -> bool {
        false
    }

    fn measure(&self, bench: &mut Bench) -> Result<Vec<Outcome>> {
        let (tiny, large) = count::of_tiny_and_large_state();
        let topics = [tiny.topics(bench)?, large.topics(bench)?];
        let rounds = bench.rounds(ROUNDS_WITHOUT_GOAL, |number| {
            let rss = |row: &Throughput, topics| -> Result<f64> {
                Ok(row.run(bench, topics, Side::Ours, Column::Matched, number)?.rss_mb)
            };
            Ok((rss(&tiny, &topics[0])?, rss(&large, &topics[1])?))
        })?;
        let above = median(rounds.iter().map(|(tiny, large)| large - tiny)).unwrap_or_default();
        let (tiny, large) =
            (median(rounds.iter().map(|round| round.0)), median(rounds.iter().map(|round| round.1)));
        let mut outcome = Outcome::new(self, Column::Matched, rounds.len());
        outcome.goals = vec![Goal::of(Figure::RssOfBudget, 1.1)];
        let rss_of_budget = Some(above / count::SMALL_STATE_MEMORY_MIB);
        outcome.ours = Figures { rss_mb: large, rss_of_budget, ..Figures::default() };
        outcome.notes.push(format!(
            "{:.0} MB with a thousand keys, {:.0} MB with 1.2 M; state_memory is {:.0} MB",
            tiny.unwrap_or_default(),
            large.unwrap_or_default(),
            count::SMALL_STATE_MEMORY_MIB,
        ));
        Ok(vec![outcome])
    }
}
