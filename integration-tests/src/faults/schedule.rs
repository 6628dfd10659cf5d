//! Which fault comes when: a pure function of the seed.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use millstream::runtime::Step;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::Guarantee;
use super::power::PowerSupply;

/// How many milliseconds a clock is beside the right time at most. From end to end it must be less than the 23 hours after which state is
/// too old to be resumed, and rightly rebuilt.
const MOST_OFF: i64 = 11 * 3_600_000;

/// What a fault does. Its name is what `--only` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum FaultKind {
    /// `kill -9` of an instance at any moment.
    Kill,
    /// `kill -9` of an instance at a step of a commit or checkpoint; every second time as [`FaultKind::Power`].
    Step,
    /// A power cut under an instance, at any moment: of its files only what was synced is left. On Linux only.
    Power,
    /// An instance paused as a whole (`SIGSTOP`) for longer than its session.
    Pause,
    /// A stream thread stalled past `max.poll.interval.ms`, while heartbeats go on.
    Stall,
    /// A second owner of an instance's transactional id. Exactly-once only.
    Fence,
    /// Instances that join and leave, one a second.
    Storm,
    /// Connections to a broker cut.
    Cut,
    /// Connections to a broker slowed down.
    Delay,
    /// A broker stopped or killed, and started again with its data.
    Broker,
    /// The leader of a partition killed, and started again with its data. With several nodes only.
    Leader,
    /// A broker paused as a whole (`SIGSTOP`).
    Freeze,
    /// A full disk under the state.
    Disk,
    /// A wall clock that jumps.
    Clock,
}

/// One fault, and everything that is left to chance about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What it does.
    pub kind: FaultKind,
    /// How long all is well before it.
    pub after: Duration,
    /// Which instance, node or partition it hits, counted round as many as there are.
    pub target: usize,
    /// How long it lasts; where something ends, how long until it is started again.
    pub lasting: Duration,
    /// Of [`FaultKind::Step`]: where.
    pub step: Step,
    /// Of [`FaultKind::Step`]: the how manieth time. Of [`FaultKind::Storm`]: how many instances.
    pub times: u32,
    /// Of [`FaultKind::Broker`]: with `SIGKILL`, else with `SIGTERM`. Of [`FaultKind::Step`]: the power is cut.
    pub is_violent: bool,
    /// Of [`FaultKind::Delay`]: by how much.
    pub latency: Duration,
    /// Of [`FaultKind::Clock`]: to how many milliseconds beside the right time.
    pub jump: i64,
}

/// The first `count` faults of a seed, of these kinds. A longer schedule of the same seed begins with a shorter one.
#[must_use]
pub fn schedule(seed: u64, count: usize, kinds: &[FaultKind]) -> Vec<Fault> {
    let mut chance = StdRng::seed_from_u64(seed);
    let weighted: Vec<FaultKind> = kinds.iter().flat_map(|kind| vec![*kind; kind.weight()]).collect();
    std::iter::repeat_with(|| weighted.choose(&mut chance).map(|kind| Fault::draw(*kind, &mut chance)))
        .map_while(|fault| fault)
        .take(count)
        .collect()
}

impl FaultKind {
    /// The kinds that can be had under a guarantee and with so many nodes.
    #[must_use]
    pub fn possible(guarantee: Guarantee, nodes: usize) -> Vec<FaultKind> {
        let is_possible = |kind: &FaultKind| match kind {
            FaultKind::Fence => guarantee == Guarantee::ExactlyOnce,
            FaultKind::Leader => nodes > 1,
            FaultKind::Power => PowerSupply::IS_POSSIBLE,
            _ => true,
        };
        <Self as clap::ValueEnum>::value_variants().iter().copied().filter(is_possible).collect()
    }

    /// Whether an instance can outlive its membership in the group by it, and write after its successor has begun.
    pub(super) fn may_leave_two_writers(self) -> bool {
        !matches!(
            self,
            FaultKind::Kill
                | FaultKind::Step
                | FaultKind::Power
                | FaultKind::Storm
                | FaultKind::Disk
                | FaultKind::Clock
        )
    }

    /// How often it comes beside the others: those that cost seconds come less often.
    fn weight(self) -> usize {
        match self {
            FaultKind::Kill => 8,
            FaultKind::Step => 12,
            FaultKind::Power => 6,
            FaultKind::Fence | FaultKind::Cut | FaultKind::Delay => 4,
            FaultKind::Disk | FaultKind::Clock | FaultKind::Pause => 3,
            FaultKind::Stall | FaultKind::Storm | FaultKind::Freeze => 2,
            FaultKind::Broker | FaultKind::Leader => 2,
        }
    }

    fn millis(self) -> Range<u64> {
        match self {
            // Longer than the session and than `max.poll.interval.ms` at least half of the time.
            FaultKind::Pause | FaultKind::Stall => 1000..6000,
            FaultKind::Freeze | FaultKind::Cut => 100..4000,
            FaultKind::Delay => 500..3000,
            _ => 0..1500,
        }
    }
}

impl Fault {
    /// Draws every number, whether the kind needs it or not, so that what follows does not depend on the kind.
    fn draw(kind: FaultKind, chance: &mut StdRng) -> Self {
        let mut millis = |range: Range<u64>| Duration::from_millis(chance.random_range(range));
        let (after, lasting, latency) = (millis(0..800), millis(kind.millis()), millis(10..250));
        Fault {
            kind,
            after,
            lasting,
            latency,
            target: chance.random_range(0..64),
            step: Step::ALL[chance.random_range(0..Step::ALL.len())],
            times: chance.random_range(1..=4),
            is_violent: chance.random_bool(0.5),
            jump: chance.random_range(-MOST_OFF..=MOST_OFF),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { target, lasting, .. } = self;
        match self.kind {
            FaultKind::Kill => write!(formatter, "kill -9 of instance {target}, back after {lasting:?}"),
            FaultKind::Step => {
                let how = if self.is_violent { "power cut under" } else { "kill -9 of" };
                let (step, times) = (self.step, self.times);
                write!(formatter, "{how} instance {target} at {step}, time {times}, back after {lasting:?}")
            }
            FaultKind::Power => {
                write!(formatter, "power cut under instance {target}, back after {lasting:?}")
            }
            FaultKind::Pause => write!(formatter, "instance {target} paused for {lasting:?}"),
            FaultKind::Stall => {
                write!(formatter, "stream thread of instance {target} stalled for {lasting:?}")
            }
            FaultKind::Fence => write!(formatter, "transactional id {target} taken over"),
            FaultKind::Storm => write!(formatter, "{} instances join and leave", self.times),
            FaultKind::Cut => write!(formatter, "connections to node {target} cut for {lasting:?}"),
            FaultKind::Delay => {
                write!(formatter, "connections to node {target} slower by {:?} for {lasting:?}", self.latency)
            }
            FaultKind::Broker => {
                let signal = if self.is_violent { "kill -9" } else { "SIGTERM" };
                write!(formatter, "{signal} of node {target}, back after {lasting:?}")
            }
            FaultKind::Leader => {
                write!(formatter, "kill -9 of the leader of partition {target}, back after {lasting:?}")
            }
            FaultKind::Freeze => write!(formatter, "node {target} frozen for {lasting:?}"),
            FaultKind::Disk => write!(formatter, "disk full for {lasting:?}"),
            FaultKind::Clock => write!(
                formatter,
                "clock of instance {target} jumps to {} ms beside the right time",
                self.jump
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all() -> Vec<FaultKind> {
        FaultKind::possible(Guarantee::ExactlyOnce, 3)
    }

    #[test]
    fn the_seed_alone_decides() {
        let whole = schedule(7, 50, &all());
        assert_eq!(schedule(7, 50, &all()), whole);
        assert_eq!(
            schedule(7, 20, &all()),
            whole[..20],
            "a shorter schedule is the beginning of a longer one"
        );
        assert_ne!(schedule(8, 50, &all()), whole);
    }

    #[test]
    fn every_kind_and_every_step_comes() {
        let faults = schedule(1, 500, &all());
        let kinds: BTreeSet<FaultKind> = faults.iter().map(|fault| fault.kind).collect();
        assert_eq!(kinds, all().into_iter().collect());
        let steps = faults.iter().filter(|fault| fault.kind == FaultKind::Step).map(|fault| fault.step);
        assert_eq!(steps.map(Step::name).collect::<BTreeSet<_>>().len(), Step::ALL.len());
    }

    #[test]
    fn only_what_is_asked_for_and_possible_comes() {
        let faults = schedule(3, 30, &[FaultKind::Kill, FaultKind::Disk]);
        assert_eq!(faults.len(), 30);
        assert!(faults.iter().all(|fault| matches!(fault.kind, FaultKind::Kill | FaultKind::Disk)));
        let possible = FaultKind::possible(Guarantee::AtLeastOnce, 1);
        assert!(!possible.contains(&FaultKind::Fence) && !possible.contains(&FaultKind::Leader));
        assert_eq!(schedule(3, 30, &[]), []);
    }
}
