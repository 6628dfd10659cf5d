//! A machine: its disk, which stays, and the instance of the application that runs on it, if one does.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use millstream_state_stores::{
    BackgroundThread, DiskAnswer, ProcessId, SimulatedDisk, StateDirectory, TaskId,
};
use parking_lot::Mutex;

use super::clients::{SharedCluster, SimulatedClients};
use super::clock::{InstanceClock, SimulatedClock};
use super::fate::{Fate, Fault};
use super::process::Process;
use super::program::APPLICATION;
use super::scenario::Scenario;
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::{ApplicationTopics, Shared, SharedParts, StreamThread, ThreadPlace, UpdaterLoop};
use crate::step::StepListener;
use crate::task::TaskPlan;
use crate::testing::no_cluster::NoCluster;
use crate::topology::{PartitionCount, Topology};

pub(super) type SimulatedThread = StreamThread<SimulatedClients>;
type SimulatedUpdater = UpdaterLoop<SimulatedClients>;

/// What all machines have in common.
pub(super) struct Surroundings {
    pub(super) scenario: Scenario,
    pub(super) topology: Arc<Topology>,
    pub(super) cluster: SharedCluster,
    pub(super) clock: Arc<SimulatedClock>,
    pub(super) fate: Arc<Fate>,
}

impl Surroundings {
    pub(super) fn clients(&self, process: &Arc<Process>) -> SimulatedClients {
        SimulatedClients::new(&self.cluster, process, &self.clock, &self.scenario)
    }
}

pub(super) struct Machine {
    pub(super) name: String,
    pub(super) disk: SimulatedDisk,
    /// The tasks whose files changed since somebody looked.
    pub(super) written: Arc<Mutex<BTreeSet<TaskId>>>,
    starts: usize,
    pub(super) instance: Option<Instance>,
}

pub(super) struct Instance {
    pub(super) process: Arc<Process>,
    pub(super) shared: Arc<Shared>,
    pub(super) workers: Vec<Worker>,
    updater: SimulatedUpdater,
}

/// A stream thread, or the place of one that is about to begin anew.
pub(super) struct Worker {
    place: Arc<ThreadPlace>,
    pub(super) thread: Option<SimulatedThread>,
    /// Those of the thread.
    clients: Option<SimulatedClients>,
    is_busy: bool,
}

/// What became of a thread's turn.
#[derive(Debug)]
pub(super) enum Turn {
    GoesOn,
    /// Its process is dead.
    Crashed,
    /// It failed for a reason that ends the instance, and that was given to it.
    Failed,
    /// It failed, and nothing that was done to it excuses that.
    Inexcusable(String),
}

/// For how long a changelog keeps tombstones. A schedule is over before that, unless its clock jumps.
pub(super) const TOMBSTONES_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

impl Machine {
    pub(super) fn new(number: usize) -> Self {
        Machine {
            name: format!("machine-{number}"),
            disk: SimulatedDisk::default(),
            written: Arc::default(),
            starts: 0,
            instance: None,
        }
    }

    pub(super) fn start(&mut self, around: &Surroundings) -> Result<()> {
        self.starts += 1;
        let process = Process::new(format!("{}.{}", self.name, self.starts), &around.fate);
        around.fate.note(|| format!("{} starts", process.name));
        let settings = Settings { on_step: may_die_at_steps(&process), ..around.scenario.settings() };
        let external: Vec<(String, i32)> = around
            .scenario
            .program
            .topics()
            .into_iter()
            .map(|(name, count)| (name.to_string(), count))
            .collect();
        let partition_counts = around.topology.partition_counts(&external.into_iter().collect())?;
        let application_id: Arc<str> = APPLICATION.into();
        let background = around.scenario.checkpoints_behind.then(|| background(&around.clock));
        let clock = InstanceClock { clock: Arc::clone(&around.clock), background: background.clone() };
        let keep_tombstones = [(around.scenario.program.changelog().to_string(), TOMBSTONES_KEPT)].into();
        let one_partition: PartitionCount = Arc::new(|_topic| Ok(1));
        let mut shared = Shared::new(SharedParts {
            plans: TaskPlan::all(&around.topology, &application_id, &settings, &one_partition),
            application_id,
            topology: Arc::clone(&around.topology),
            settings,
            clock: Arc::new(clock),
            admin: Arc::new(NoCluster),
            background,
            topics: ApplicationTopics { partition_counts, keep_tombstones, ..ApplicationTopics::default() },
            restore_listener: None,
            state_listener: None,
            failure_handler: None,
            process_id: ProcessId::unclaimed(&*self.name),
        });
        shared.directory = self.directory(&process);
        let workers = shared.threads.places().into_iter().map(Worker::at).collect();
        let shared = Arc::new(shared);
        let clients = around.clients(&process);
        let updater = SimulatedUpdater::new(clients.clone(), clients.into_group_view(), Arc::clone(&shared));
        self.instance = Some(Instance { process, shared, workers, updater });
        Ok(())
    }

    fn directory(&self, process: &Arc<Process>) -> StateDirectory {
        let (process, written) = (Arc::clone(process), Arc::clone(&self.written));
        self.disk.directory(APPLICATION, move |task, request| {
            if process.calls("disk").is_err() {
                return DiskAnswer::Failed;
            }
            process.fate.note(|| format!("{}: {request:?} of task {task}", process.name));
            written.lock().insert(task);
            match process.fate.strikes(Fault::DiskFails) {
                false => DiskAnswer::Done,
                true if process.fate.one_in(2) => DiskAnswer::DoneAndFailed,
                true => DiskAnswer::Failed,
            }
        })
    }

    /// The process is gone, and with it everything that was not on the disk.
    pub(super) fn crash(&mut self) {
        if let Some(instance) = self.instance.take() {
            instance.process.fate.note(|| format!("{} is dead", instance.process.name));
            instance.process.die();
        }
    }

    /// Ends one of the instance's threads as asked.
    pub(super) fn remove_thread(&mut self, around: &Surroundings) -> Turn {
        let Some(instance) = self.instance.as_mut().filter(|instance| !instance.workers.is_empty()) else {
            return Turn::GoesOn;
        };
        let Worker { place, thread, .. } = instance.workers.remove(around.fate.below(instance.workers.len()));
        around.fate.note(|| format!("{} loses {}", instance.process.name, place.name()));
        instance.shared.stop_thread(&place);
        let closed = thread.map_or(Ok(()), end);
        instance.shared.remove_thread(&place);
        instance.judge(closed, around)
    }

    /// Ends the instance as asked.
    pub(super) fn stop(&mut self, around: &Surroundings) -> Turn {
        let Some(mut instance) = self.instance.take() else { return Turn::GoesOn };
        let workers = std::mem::take(&mut instance.workers);
        around.fate.note(|| format!("{} is asked to end", instance.process.name));
        instance.shared.stop();
        let mut turn = Turn::GoesOn;
        for thread in workers.into_iter().filter_map(|worker| worker.thread) {
            turn = turn.worse(instance.judge(end(thread), around));
        }
        let is_dead = instance.process.is_dead();
        instance.updater.close();
        if is_dead { Turn::Crashed } else { turn }
    }
}

fn end(thread: SimulatedThread) -> Result<()> {
    let closed = catch_unwind(AssertUnwindSafe(|| thread.close(true)));
    closed.unwrap_or_else(|_panic| Err(Error::fatal("panicked")))
}

impl Worker {
    fn at(place: Arc<ThreadPlace>) -> Self {
        Worker { place, thread: None, clients: None, is_busy: false }
    }
}

/// A process may die between any two steps of a commit or a checkpoint, and notices it when it calls somebody next.
fn may_die_at_steps(process: &Arc<Process>) -> StepListener {
    let process = Arc::clone(process);
    StepListener::new(move |step| drop(process.calls(step.name())))
}

fn background(clock: &Arc<SimulatedClock>) -> Arc<BackgroundThread> {
    let clock = Arc::clone(clock);
    BackgroundThread::by_hand(move || clock.monotonic())
}

impl Instance {
    /// Lets a party do one round: a thread of its loop, or begin anew as the life of a thread has it.
    pub(super) fn take_turn(&mut self, party: usize, around: &Surroundings) -> Turn {
        let threads = self.workers.len();
        let outcome = match party.checked_sub(threads) {
            None => match self.workers[party].thread.take() {
                None => self.begin(party, around),
                Some(thread) => self.round(party, thread, &around.fate),
            },
            Some(0) => {
                self.write_checkpoint();
                Ok(())
            }
            Some(_) => self.update_state(),
        };
        self.judge(outcome, around)
    }

    fn update_state(&mut self) -> Result<()> {
        let turn = catch_unwind(AssertUnwindSafe(|| self.updater.turn()));
        turn.map(drop).map_err(|_panic| Error::invalid("the state updater panicked"))
    }

    /// One round, and the end of the thread if it fails, as in `runtime::life`.
    fn round(&mut self, worker: usize, mut thread: SimulatedThread, fate: &Fate) -> Result<()> {
        let busy = self.workers[worker].is_busy;
        let outcome = catch_unwind(AssertUnwindSafe(|| thread.round(busy)));
        match outcome.unwrap_or_else(|_panic| Err(Error::fatal("panicked"))) {
            Ok(is_busy) => {
                let worker = &mut self.workers[worker];
                (worker.thread, worker.is_busy) = (Some(thread), is_busy);
                Ok(())
            }
            Err(error) => {
                fate.note(|| format!("{} thread {worker}: {error:?}", self.process.name));
                // Whatever closing it says, the first error counts.
                drop(thread.close(false));
                Err(error)
            }
        }
    }

    /// How many take turns: stream threads, what writes checkpoints behind them, and the state updater.
    pub(super) fn parties(&self) -> usize {
        self.workers.len() + 2
    }

    /// Writes the next checkpoint that waits behind the threads.
    fn write_checkpoint(&self) {
        if let Some(background) = &self.shared.background {
            background.run_next();
        }
    }

    pub(super) fn has_no_thread(&self) -> bool {
        self.workers.iter().all(|worker| worker.thread.is_none())
    }

    pub(super) fn add_thread(&mut self) {
        self.workers.push(Worker::at(self.shared.add_thread()));
    }

    fn begin(&mut self, worker: usize, around: &Surroundings) -> Result<()> {
        let clients = around.clients(&self.process);
        let worker = &mut self.workers[worker];
        worker.clients = Some(clients.clone());
        let thread = SimulatedThread::create(&clients, Arc::clone(&self.shared), Arc::clone(&worker.place))?;
        thread.join_group()?;
        (worker.thread, worker.is_busy) = (Some(thread), false);
        Ok(())
    }

    /// The tasks that stayed with their threads and were opened again all the same.
    pub(super) fn opened_again(&self, around: &Surroundings) -> Vec<i32> {
        let store = around.scenario.program.store();
        let opened_again = |worker: &Worker| {
            let (clients, thread) = (worker.clients.as_ref()?, worker.thread.as_ref()?);
            clients.opened_again(|partition| thread.reader(store, partition))
        };
        self.workers.iter().filter_map(opened_again).collect()
    }

    /// What an outcome means for the instance.
    fn judge(&self, outcome: Result<()>, around: &Surroundings) -> Turn {
        let fate = &around.fate;
        match outcome {
            _ if self.process.is_dead() => Turn::Crashed,
            Ok(()) => Turn::GoesOn,
            // The place of the thread is empty; it begins anew at its next turn.
            Err(error) if error.kind() == ErrorKind::Migrated => Turn::GoesOn,
            Err(error) if is_excused(&error, around) => {
                fate.note(|| format!("{}: {error}", self.process.name));
                if around.scenario.replaces_threads { Turn::GoesOn } else { Turn::Failed }
            }
            Err(error) => Turn::Inexcusable(format!("{}: {error:?}", self.process.name)),
        }
    }
}

/// Whether something was done to the instances that ends a thread: a panic; a disk that fails; at-least-once, a record that cannot be
/// delivered; a directory that a sibling held, or a checkpoint, which got no turn for as long as its heirs are patient.
fn is_excused(error: &Error, around: &Surroundings) -> bool {
    let has_lost_record = !around.scenario.is_exactly_once() && around.fate.has_struck(Fault::RecordFails);
    match error.kind() {
        ErrorKind::Fatal => {
            let ends_threads = [Fault::Panic, Fault::DiskFails];
            has_lost_record || ends_threads.into_iter().any(|fault| around.fate.has_struck(fault))
        }
        ErrorKind::Record => has_lost_record,
        ErrorKind::Retry => {
            let passes_time = [Fault::Stall, Fault::Pause, Fault::AddThread];
            around.scenario.threads > 1 || passes_time.into_iter().any(|fault| around.fate.has_struck(fault))
        }
        _ => false,
    }
}

impl Turn {
    /// That the rest of an instance that failed fails, too, changes nothing.
    pub(super) fn unless_failed(self) -> Self {
        if matches!(self, Turn::Failed) { Turn::GoesOn } else { self }
    }

    fn worse(self, other: Self) -> Self {
        match (&self, &other) {
            (Turn::Inexcusable(_), _) => self,
            (_, Turn::Inexcusable(_)) => other,
            (Turn::GoesOn, _) => other,
            _ => self,
        }
    }
}
