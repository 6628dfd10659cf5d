//! What exactly-once costs, against Kafka Streams' and against our own at-least-once.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::measured::{self, Round};
use super::throughput::Throughput;
use super::{Row, count, pass, repartition};
use crate::bench::Bench;
use crate::report::{Goal, Outcome};
use crate::settings::Column;
use crate::sides::Side;

struct ExactlyOnce {
    name: String,
    interval: Duration,
    at_least_once: Throughput,
    goals: &'static [Goal],
}

const OFTEN: &[Goal] = &[Goal::throughput(2.5, 3.2), Goal::cpu(0.4), Goal::throughput_of_limit(0.8)];
const BESIDE_CLIENT: &[Goal] = &[Goal::throughput(2.5, 3.2), Goal::cpu_of_limit(1.25)];

/// What the client itself makes of transactions: the pass again, beside bare librdkafka with transactions as long.
fn raw() -> Throughput {
    Throughput {
        name: "exactly-once-100ms-pass-100b-raw",
        title: "pass on 100-byte records, exactly-once, a commit every 100ms, beside bare librdkafka with transactions",
        columns: &[Column::Matched],
        exactly_once: Some(Duration::from_millis(100)),
        goals: BESIDE_CLIENT,
        is_in_quick_look: false,
        ..pass::small()
    }
}

pub(super) fn rows() -> Vec<Box<dyn Row>> {
    let (often, seldom) = (Duration::from_millis(100), Duration::from_secs(1));
    let mut rows: Vec<Box<dyn Row>> = Vec::new();
    for (interval, text, goals) in [(often, "100ms", OFTEN), (seldom, "1s", &[] as &[Goal])] {
        for row in [pass::small(), count::uniform(), repartition::uniform()] {
            let at_least_once = Throughput { columns: &[Column::Matched], has_limit: false, ..row };
            let name = format!("exactly-once-{text}-{}", at_least_once.name);
            rows.push(Box::new(ExactlyOnce { name, interval, at_least_once, goals }));
        }
    }
    rows.push(Box::new(raw()));
    rows
}

impl Row for ExactlyOnce {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn title(&self) -> String {
        format!("{}, exactly-once, a commit every {:?}", self.at_least_once.title, self.interval)
    }

    fn is_in_quick_look(&self) -> bool {
        false
    }

    fn is_in_full_look(&self) -> bool {
        self.interval < Duration::from_secs(1)
    }

    fn measure(&self, bench: &mut Bench) -> Result<Vec<Outcome>> {
        let exactly_once = Throughput { exactly_once: Some(self.interval), ..self.at_least_once };
        let topics = exactly_once.topics(bench)?;
        let rounds = bench.rounds(usize::MAX, |number| {
            let mut round = Round::new();
            for side in bench.sides(false) {
                round.push((side, exactly_once.run(bench, &topics, side, Column::Matched, number)?));
            }
            // The limit of exactly-once is our own at-least-once with the settings of all other rows.
            let without = self.at_least_once.run(bench, &topics, Side::Ours, Column::Matched, number)?;
            round.push((Side::Limit, without));
            Ok(round)
        })?;
        let mut outcome = measured::outcome(self, self.goals, Column::Matched, &rounds);
        ensure!(outcome.outputs_agree, "the sides wrote different records: the row is void");
        outcome.cpu_of_limit = None;
        outcome.notes.push("the limit is our own at-least-once, a commit every second".to_owned());
        Ok(vec![outcome])
    }
}
