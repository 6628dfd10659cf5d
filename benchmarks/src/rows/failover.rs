//! What readers of the output notice when an instance dies or is stopped, while others of its group go on counting.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Row;
use crate::bench::Bench;
use crate::clock::clock;
use crate::gaps::{longest_of, staying};
use crate::instances::Instances;
use crate::report::{Figure, Figures, Goal, Outcome, Stalls};
use crate::settings::Column;
use crate::sides::Side;
use crate::stats::{Spread, median};

/// Enough for a restore from nothing to show.
const KEYS: u64 = 1_000_000;
const QUICK_KEYS: u64 = KEYS / 10;
/// Well below what any side can take, so that gaps are not queues.
const RECORDS_PER_S: u64 = 8000;
/// For standbys to catch up with the preload.
const SETTLE: Duration = Duration::from_secs(2);
const STEADY: Duration = Duration::from_secs(3);
/// After the last partition has caught up, so that what follows at once counts, too.
const AFTERMATH: Duration = Duration::from_secs(2);
/// For a group to give an instance that has come its share. Kafka Streams' classic protocol may first warm its state up, for minutes.
const PATIENCE: Duration = Duration::from_secs(10);
const ROUNDS: usize = 3;

const OF_PEER: Goal = Goal::of(Figure::Gap, 1.0);
const KILL: &[Goal] = &[OF_PEER];
const KILL_WITH_STANDBY: &[Goal] = &[Goal::of(Figure::GapAboveLimitMs, 300.0), OF_PEER];
const STOP: &[Goal] = &[Goal::of(Figure::GapMs, 1000.0), OF_PEER];

/// Instances of one application, and what happens to them.
pub(super) struct Failover {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// How many there are at first.
    pub(super) instances: usize,
    pub(super) event: Event,
    pub(super) has_standby: bool,
    /// Rounds in which Kafka Streams takes part: its runs take twice as long as ours.
    pub(super) rounds_of_peer: usize,
    pub(super) goals: &'static [Goal],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The last instance is killed, so that nobody tells the group.
    Kill,
    /// The last instance is stopped, and leaves the group.
    Stop,
    /// One more is started.
    Add,
    /// Each is stopped and started again, one after the other.
    Restart,
}

/// What was noticed of one run.
#[derive(Clone, Copy, Debug)]
struct Noticed {
    gap_ms: f64,
    staying_gap_ms: Option<f64>,
    moved: f64,
    reprocessed: f64,
    restored: f64,
    from_zero: f64,
}

/// What every side noticed in one round.
type Round = Vec<(Side, Column, Noticed)>;

pub(super) fn rows() -> Vec<Box<dyn Row>> {
    let row = |name, title, event, has_standby, goals| -> Box<dyn Row> {
        Box::new(Failover { name, title, instances: 2, event, has_standby, rounds_of_peer: 2, goals })
    };
    vec![
        row("failover-kill", "one of two instances is killed", Event::Kill, false, KILL),
        row(
            "failover-kill-standby",
            "one of two instances is killed, with a standby",
            Event::Kill,
            true,
            KILL_WITH_STANDBY,
        ),
        row("failover-stop", "one of two instances is stopped", Event::Stop, false, STOP),
        row(
            "failover-stop-standby",
            "one of two instances is stopped, with a standby",
            Event::Stop,
            true,
            STOP,
        ),
    ]
}

impl Row for Failover {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn title(&self) -> String {
        format!("{}, counting 1 M keys", self.title)
    }

    fn is_in_quick_look(&self) -> bool {
        false
    }

    /// They wait for timeouts most of the time, and would double the time of the whole.
    fn is_in_full_look(&self) -> bool {
        false
    }

    fn measure(&self, bench: &mut Bench) -> Result<Vec<Outcome>> {
        let rounds = bench.rounds(ROUNDS, |number| {
            let mut round = Round::new();
            for (side, column) in self.contenders(bench, number) {
                let noticed = self.run(bench, side, column);
                let noticed = noticed.with_context(|| format!("{}, {}", side.name(), column.name()))?;
                let Noticed { gap_ms, reprocessed, restored, .. } = noticed;
                bench.say(&format!(
                    "{}, round {}, {}, {}: longest gap {gap_ms} ms, {reprocessed} records reprocessed, {restored} restored",
                    self.name,
                    number + 1,
                    side.name(),
                    column.name()
                ));
                round.push((side, column, noticed));
            }
            Ok(round)
        })?;
        let columns: &[Column] = match bench.has_peer() {
            true => &[Column::ClassicGroup, Column::StreamsGroup],
            false => &[Column::ClassicGroup],
        };
        Ok(columns.iter().map(|column| self.outcome(*column, &rounds)).collect())
    }
}

impl Failover {
    fn contenders(&self, bench: &Bench, round: usize) -> Vec<(Side, Column)> {
        let mut contenders = vec![(Side::Ours, Column::ClassicGroup)];
        if bench.has_peer() && round < self.rounds_of_peer {
            contenders.extend([(Side::Peer, Column::ClassicGroup), (Side::Peer, Column::StreamsGroup)]);
        }
        contenders.push((Side::Limit, Column::ClassicGroup));
        contenders
    }

    fn properties(&self, side: Side, column: Column) -> &'static [&'static str] {
        match (self.has_standby, side, column) {
            (false, ..) | (_, Side::Limit, _) => &[],
            (true, Side::Peer, Column::StreamsGroup) => &["bench.group.streams.num.standby.replicas=1"],
            (true, ..) => &["num.standby.replicas=1"],
        }
    }

    fn run(&self, bench: &Bench, side: Side, column: Column) -> Result<Noticed> {
        let clock = clock();
        let say = |what: &str| bench.message(format!("{}, {}: {what}", side.name(), column.name()));
        let keys = if bench.is_quick() { QUICK_KEYS } else { KEYS };
        say("starting");
        let properties = self.properties(side, column);
        let mut instances = Instances::start(bench, side, column, properties, self.instances)?;
        say("counting every key once");
        instances.preload(keys)?;
        clock.sleep(SETTLE);
        say("steady load");
        let (load, begin) = instances.load(keys, RECORDS_PER_S)?;
        clock.sleep(STEADY);
        instances.await_caught_up()?;
        let owned = |instances: &mut Instances<'_>| {
            instances.await_owners(Duration::from_secs(60), "every partition to have one owner", |_| true)
        };
        let (before, restored) = (owned(&mut instances)?, instances.restored());

        say(self.event.name());
        let from = clock.wall_clock().as_millis();
        self.cause(&mut instances)?;
        let after = owned(&mut instances)?;
        instances.await_caught_up()?;
        clock.sleep(AFTERMATH);
        let to = clock.wall_clock().as_millis();

        say("reading the output");
        let restored = instances.restored().since(restored);
        let sent = load.stop()?;
        let output = instances.finish(keys + sent.records(), &begin)?;
        let reprocessed = output.records().checked_sub(sent.records());
        let reprocessed = reprocessed.context("fewer records came out than went in: the row is void")?;
        if side != Side::Limit {
            let again = sent.counted_again(&output.newest).context("the row is void")?;
            // A killed instance may have logged updates that it has not sent on.
            let under_way = if self.event == Event::Kill { RECORDS_PER_S } else { 0 };
            ensure!(
                again <= reprocessed + under_way,
                "{again} records were counted again, but only {reprocessed} came out again: the row is void"
            );
        }
        let stay = staying(&before, &after);
        let moved = before.len() - stay.len();
        let longest = |partitions: Vec<i32>| longest_of(&output.appended, partitions, from, to);
        let gap = longest(before.keys().copied().collect()).context("no partition")?;
        // Where every instance restarts, a partition comes back to its owner, or not, but does not stay.
        let staying_gap =
            if self.event == Event::Restart { None } else { longest(stay.into_iter().collect()) };
        #[allow(clippy::cast_precision_loss, reason = "milliseconds of a run, and counts of records, fit")]
        Ok(Noticed {
            gap_ms: gap as f64,
            staying_gap_ms: staying_gap.map(|gap| gap as f64),
            moved: moved as f64,
            reprocessed: reprocessed as f64,
            restored: restored.records as f64,
            from_zero: restored.from_zero as f64,
        })
    }

    fn cause(&self, instances: &mut Instances<'_>) -> Result<()> {
        let last = self.instances - 1;
        match self.event {
            Event::Kill => instances.kill(last),
            Event::Stop => instances.stop(last),
            Event::Add => {
                instances.add(self.instances)?;
                await_share(instances, self.instances);
                Ok(())
            }
            Event::Restart => (0..self.instances).try_for_each(|number| {
                instances.stop(number)?;
                instances.add(number)?;
                await_share(instances, number);
                instances.await_caught_up()
            }),
        }
    }

    fn outcome(&self, column: Column, rounds: &[Round]) -> Outcome {
        let figures = |side: Side, column: Column| {
            let runs = rounds.iter().flatten().filter(|run| (run.0, run.1) == (side, column));
            figures(&runs.map(|run| run.2).collect::<Vec<_>>())
        };
        let mut outcome = Outcome::new(self, column, rounds.len());
        // Against the limit and the clock, ours is judged once.
        let is_of_column = |goal: &&Goal| column == Column::ClassicGroup || goal.figure == Figure::Gap;
        outcome.goals = self.goals.iter().filter(is_of_column).copied().collect();
        outcome.ours = figures(Side::Ours, Column::ClassicGroup).unwrap_or_default();
        outcome.peer = figures(Side::Peer, column);
        outcome.limit = figures(Side::Limit, Column::ClassicGroup);
        outcome
    }
}

/// Waits until an instance that has come owns something; if it is not given anything in time, that is how it is.
fn await_share(instances: &mut Instances<'_>, number: usize) {
    let what = format!("instance {number} to have its share");
    let owners =
        instances.await_owners(PATIENCE, &what, |owners| owners.values().any(|owner| *owner == number));
    if let Err(error) = owners {
        eprintln!("{error:#}");
    }
}

impl Event {
    fn name(self) -> &'static str {
        match self {
            Event::Kill => "killing an instance",
            Event::Stop => "stopping an instance",
            Event::Add => "adding an instance",
            Event::Restart => "restarting one instance after the other",
        }
    }
}

fn figures(runs: &[Noticed]) -> Option<Figures> {
    let of = |value: fn(&Noticed) -> f64| median(runs.iter().map(value));
    let stalls = Stalls {
        gap_ms: Spread::of(runs.iter().map(|run| run.gap_ms))?,
        staying_gap_ms: median(runs.iter().filter_map(|run| run.staying_gap_ms)),
        moved: of(|run| run.moved)?,
        reprocessed: of(|run| run.reprocessed)?,
        restored: of(|run| run.restored)?,
        from_zero: of(|run| run.from_zero)?,
    };
    Some(Figures { stalls: Some(stalls), ..Figures::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafka_streams_is_compared_with_both_protocols_and_ours_is_judged_once() {
        let goals = KILL_WITH_STANDBY;
        let (name, title, event) = ("failover", "one is killed", Event::Kill);
        let row = Failover { name, title, instances: 2, event, has_standby: true, rounds_of_peer: 1, goals };
        let run = |side, column, gap_ms| {
            let (moved, reprocessed, restored, from_zero) = (4.0, 900.0, 0.0, 0.0);
            let staying_gap_ms = None;
            (side, column, Noticed { gap_ms, staying_gap_ms, moved, reprocessed, restored, from_zero })
        };
        let (classic, streams) = (Column::ClassicGroup, Column::StreamsGroup);
        let first = vec![
            run(Side::Ours, classic, 3300.0),
            run(Side::Peer, classic, 4000.0),
            run(Side::Peer, streams, 6800.0),
            run(Side::Limit, classic, 3100.0),
        ];
        let rounds = [first, vec![run(Side::Ours, classic, 3500.0), run(Side::Limit, classic, 3200.0)]];
        let reached = |column| {
            let outcome = row.outcome(column, &rounds);
            let goals = outcome.goals.iter().map(|goal| (goal.figure, goal.reached(&outcome)));
            (goals.collect::<Vec<_>>(), outcome.stalls().len())
        };
        let of_classic = vec![(Figure::GapAboveLimitMs, Some(250.0)), (Figure::Gap, Some(0.85))];
        assert_eq!(reached(classic), (of_classic, 3));
        assert_eq!(reached(streams), (vec![(Figure::Gap, Some(0.5))], 1));
    }
}
