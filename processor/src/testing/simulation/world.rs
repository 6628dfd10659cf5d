//! A schedule: machines, threads and faults take turns on one thread of the operating system, in an order that the seed decides.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::clock::SimulatedClock;
use super::cluster::{Cluster, TopicPartition};
use super::fate::{Fate, Fault};
use super::invariants;
use super::machine::{Instance, Machine, Surroundings, Turn};
use super::mutation;
use super::program::APPLICATION;
use super::rule::{Broken, Rule};
use super::scenario::Scenario;
use crate::error::Error;

/// Rounds after which a program without faults must have done everything there is to do.
const MOST_ROUNDS_TO_REST: usize = 3_000;
/// Rounds for which it must have nothing to do: a commit whose answer was lost is tried again after the commit interval.
const ROUNDS_OF_REST: usize = 30;

/// How a schedule ended that broke no rule.
pub(super) struct Passed {
    pub(super) faults: BTreeMap<Fault, u64>,
    pub(super) turns: u64,
    pub(super) trace: Vec<String>,
}

/// How a schedule ended that broke one.
#[derive(Debug)]
pub(super) struct Violation {
    pub(super) rule: Rule,
    pub(super) what: String,
    pub(super) trace: Vec<String>,
}

pub(super) struct World {
    pub(super) around: Surroundings,
    pub(super) machines: Vec<Machine>,
    written: usize,
    turns: u64,
}

impl World {
    /// Runs the schedule of a scenario to its end.
    pub(super) fn run(scenario: Scenario, is_traced: bool) -> Result<Passed, Violation> {
        mutation::set_in_runtime(scenario.mutation);
        let fate = Arc::new(Fate::new(scenario.seed, is_traced, |fault| scenario.can_have(fault)));
        let mut world =
            World::new(scenario, &fate).map_err(|error| Violation::of(cannot_start(&error), &fate))?;
        world.pass().map_err(|broken| Violation::of(broken, &fate))?;
        Ok(Passed { faults: fate.struck(), turns: world.turns, trace: fate.trace() })
    }

    pub(super) fn new(scenario: Scenario, fate: &Arc<Fate>) -> Result<Self, Error> {
        let clock = Arc::new(SimulatedClock::default());
        let program = Rc::new(scenario.program);
        let cluster =
            Cluster::new(&program, scenario.protocol, scenario.timeouts(), &clock, fate, scenario.mutation);
        let mut world = World {
            machines: (0..scenario.machines).map(Machine::new).collect(),
            around: Surroundings {
                topology: Arc::new(program.topology()?),
                cluster: Rc::new(RefCell::new(cluster)),
                clock,
                fate: Arc::clone(fate),
                scenario,
            },
            written: 0,
            turns: 0,
        };
        world.around.fate.note(|| format!("{:?}", world.around.scenario));
        if !program.input_may_trickle() {
            world.write_input(world.around.scenario.inputs);
        }
        Ok(world)
    }

    fn pass(&mut self) -> Result<(), Broken> {
        for _ in 0..self.around.scenario.steps {
            self.step()?;
        }
        self.come_to_rest()?;
        invariants::check_end(self)?;
        for machine in 0..self.machines.len() {
            let turn = self.machines[machine].stop(&self.around);
            self.after(machine, turn)?;
        }
        invariants::check_closed(self)
    }

    pub(super) fn step(&mut self) -> Result<(), Broken> {
        let fate = Arc::clone(&self.around.fate);
        self.around.clock.advance(i64::try_from(fate.below(5)).unwrap_or(0));
        if fate.one_in(4) {
            self.write_input(1 + fate.below(3));
        }
        let machine = fate.below(self.machines.len());
        self.strike(machine)?;
        let Some(instance) = &mut self.machines[machine].instance else { return Ok(()) };
        if instance.process.is_paused() {
            return Ok(());
        }
        self.turns += 1;
        let party = fate.below(instance.parties());
        let turn = instance.take_turn(party, &self.around);
        self.after(machine, turn)
    }

    /// What happens to a machine, and to the cluster, between two rounds.
    fn strike(&mut self, machine: usize) -> Result<(), Broken> {
        let around = &self.around;
        let fate = &around.fate;
        let this = &mut self.machines[machine];
        match &mut this.instance {
            None if fate.one_in(6) => this.start(around).map_err(|error| cannot_start(&error))?,
            None => {}
            Some(instance) if instance.process.is_paused() => {
                around.clock.advance(500);
                if fate.one_in(20) {
                    fate.note(|| format!("{} goes on", instance.process.name));
                    instance.process.pause(false);
                }
            }
            Some(_) if fate.strikes(Fault::Kill) => this.crash(),
            Some(_) if fate.strikes(Fault::Stop) => {
                let turn = this.stop(around);
                self.after(machine, turn)?;
            }
            Some(instance) if instance.process.suffers(Fault::Pause) => {
                fate.note(|| format!("{} is paused", instance.process.name));
                instance.process.pause(true);
            }
            Some(_) if fate.strikes(Fault::RemoveThread) => {
                let turn = this.remove_thread(around);
                self.after(machine, turn)?;
            }
            Some(instance) if instance.process.suffers(Fault::AddThread) => instance.add_thread(around),
            Some(instance) => {
                let threads = instance.shared.threads.places();
                if fate.strikes(Fault::Fence)
                    && let Some(thread) = threads.get(fate.below(threads.len()))
                    && let Some(id) = instance.shared.transactional_id(thread)
                {
                    // If a transaction is being ended, the intruder would have to ask again; this one gives up.
                    let _identity_or_not_yet = around.cluster.borrow_mut().init_transactions(&id);
                }
            }
        }
        self.strike_cluster();
        Ok(())
    }

    fn strike_cluster(&self) {
        let (clock, fate) = (&self.around.clock, &self.around.fate);
        let cluster = &mut *self.around.cluster.borrow_mut();
        if fate.strikes(Fault::Compaction) {
            cluster.compact(&self.around.scenario.program.changelog(), true);
        }
        let group = &mut cluster.group;
        if fate.strikes(Fault::Rebalance) {
            group.rebalance(fate);
        }
        if fate.strikes(Fault::Kick) {
            let members = group.members();
            members.get(fate.below(members.len())).into_iter().for_each(|member| group.remove(*member));
        }
        if fate.strikes(Fault::ClockJump) {
            let hours = i64::try_from(fate.below(48)).unwrap_or(0) - 24;
            clock.jump(hours * 3_600_000);
        }
        if fate.strikes(Fault::Stall) {
            let instances = self.machines.iter().filter_map(|machine| machine.instance.as_ref());
            instances.for_each(|instance| instance.process.has_to_suffer(Fault::Stall));
            clock.advance(15_000);
        }
    }

    /// Looks at what a turn has done, and at the rules.
    pub(super) fn after(&mut self, machine: usize, turn: Turn) -> Result<(), Broken> {
        match turn {
            Turn::GoesOn => {}
            Turn::Crashed => self.machines[machine].crash(),
            Turn::Ends => {
                let others = self.machines[machine].stop(&self.around);
                return self.after(machine, others);
            }
            Turn::Breaks(broken) => return Err(broken),
        }
        if let Some(broken) = self.around.cluster.borrow_mut().broken.pop() {
            return Err(broken);
        }
        invariants::check_readers(&self.machines[machine], &self.around)?;
        invariants::check_staying(&self.machines[machine], &self.around)?;
        invariants::check_disk(&self.machines[machine], &self.around)
    }

    /// Without faults, and with all machines, the program does what is left to do.
    pub(super) fn come_to_rest(&mut self) -> Result<(), Broken> {
        self.around.fate.note(|| "-- no more faults".to_string());
        self.around.fate.relent();
        self.write_input(self.around.scenario.inputs);
        let mut rest = 0;
        for _ in 0..MOST_ROUNDS_TO_REST {
            for machine in 0..self.machines.len() {
                if self.machines[machine].instance.is_none() {
                    self.machines[machine].start(&self.around).map_err(|error| cannot_start(&error))?;
                }
                if let Some(instance) =
                    self.machines[machine].instance.as_mut().filter(|it| it.workers.is_empty())
                {
                    instance.add_thread(&self.around);
                }
                let parties = self.machines[machine].instance.as_ref().map_or(0, Instance::parties);
                for party in 0..parties {
                    // An earlier fault may have had its consequences only now.
                    let Some(instance) = &mut self.machines[machine].instance else { break };
                    instance.process.pause(false);
                    let turn = instance.take_turn(party, &self.around);
                    self.after(machine, turn)?;
                }
            }
            self.around.clock.advance(10);
            let is_at_rest = self.around.cluster.borrow().is_at_rest()
                && invariants::all_stores_readable(self)
                && invariants::standbys_in_place(self);
            rest = if is_at_rest { rest + 1 } else { 0 };
            if rest == ROUNDS_OF_REST {
                return Ok(());
            }
        }
        let cluster = self.around.cluster.borrow();
        let offsets = cluster.source_partitions().map(|partition| self.progress(&cluster, &partition));
        Err(Rule::ComesToRest.broken(offsets.collect::<Vec<_>>().join(", ")))
    }

    fn progress(&self, cluster: &Cluster, partition: &TopicPartition) -> String {
        let (committed, log) = (cluster.sealed_offset(partition), cluster.log(partition));
        let ends = (log.stable_end().get(), log.end().get());
        format!("{partition:?} of {APPLICATION} is at {committed} of {ends:?}")
    }

    fn write_input(&mut self, many: usize) {
        let around = &self.around;
        let last = (self.written + many).min(around.scenario.inputs);
        for number in self.written..last {
            let input = around.scenario.program.input(number, |below| around.fate.below(below));
            around.cluster.borrow_mut().write_input(input.topic, input.record);
        }
        self.written = last;
    }
}

fn cannot_start(error: &Error) -> Broken {
    Rule::NoFailureWithoutReason.broken(format!("an instance cannot start: {error}"))
}

impl Violation {
    fn of(broken: Broken, fate: &Fate) -> Self {
        Violation { rule: broken.rule, what: broken.what, trace: fate.trace() }
    }
}
