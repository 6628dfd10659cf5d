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
use super::rule::{Broken, Rule};
use super::scenario::Scenario;
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::{
    ApplicationTopics, Life, Shared, SharedParts, StopSignal, StreamThread, ThreadFailureHandler,
    ThreadFailureResponse, ThreadPlace, UpdaterLoop,
};
use crate::step::StepListener;
use crate::task::TaskPlan;
use crate::testing::no_cluster::NoCluster;
use crate::topology::{PartitionCount, Topology};

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
    /// What failed since somebody looked.
    failures: Arc<Mutex<Vec<Failed>>>,
    pub(super) workers: Vec<Worker>,
    updater: SimulatedUpdater,
}

/// A stream thread's place, and its life there.
pub(super) struct Worker {
    place: Arc<ThreadPlace>,
    life: Life<SimulatedClients>,
    is_over: bool,
    clients: SimulatedClients,
}

/// What became of a turn.
#[derive(Debug)]
pub(super) enum Turn {
    GoesOn,
    /// Its process is dead.
    Crashed,
    /// The instance is to end: it was asked to, or a thread failed for a reason that was given to it.
    Ends,
    Breaks(Broken),
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
        let (stop, failures) = (StopSignal::default(), Arc::default());
        let keep_tombstones = [(around.scenario.program.changelog().to_string(), TOMBSTONES_KEPT)].into();
        let partition_count = partition_count(&process, &stop);
        let mut shared = Shared::new(SharedParts {
            plans: TaskPlan::all(&around.topology, &application_id, &settings, &partition_count),
            application_id,
            topology: Arc::clone(&around.topology),
            settings,
            clock: Arc::new(clock),
            admin: Arc::new(NoCluster),
            background,
            topics: ApplicationTopics { partition_counts, keep_tombstones, ..ApplicationTopics::default() },
            restore_listener: None,
            state_listener: None,
            failure_handler: Some(failure_handler(&failures, around.scenario.replaces_threads)),
            process_id: ProcessId::unclaimed(&*self.name),
            stop,
        });
        shared.directory = self.directory(&process);
        let shared = Arc::new(shared);
        let clients = around.clients(&process);
        let updater = SimulatedUpdater::new(clients.clone(), clients.into_group_view(), Arc::clone(&shared));
        let mut instance = Instance { process, shared, failures, workers: Vec::new(), updater };
        for place in instance.shared.threads.places() {
            instance.put_worker(place, around);
        }
        self.instance = Some(instance);
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
            match process.suffers(Fault::DiskFails) {
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
        let mut worker = instance.workers.remove(around.fate.below(instance.workers.len()));
        around.fate.note(|| format!("{} loses {}", instance.process.name, worker.place.name()));
        instance.shared.stop_thread(&worker.place);
        worker.end();
        instance.shared.remove_thread(&worker.place);
        instance.judge(Ok(()), around)
    }

    /// Ends the instance as asked.
    pub(super) fn stop(&mut self, around: &Surroundings) -> Turn {
        let Some(mut instance) = self.instance.take() else { return Turn::GoesOn };
        around.fate.note(|| format!("{} is asked to end", instance.process.name));
        instance.shared.stop();
        instance.workers.iter_mut().for_each(Worker::end);
        let turn = instance.judge(Ok(()), around);
        instance.updater.close();
        match turn {
            Turn::Ends => Turn::GoesOn,
            other => other,
        }
    }
}

impl Worker {
    fn step(&mut self) {
        self.is_over = self.is_over || !self.life.step();
    }

    /// The thread was asked to end.
    fn end(&mut self) {
        while !self.is_over {
            self.step();
        }
    }

    pub(super) fn thread(&self) -> Option<&StreamThread<SimulatedClients>> {
        self.life.thread()
    }
}

/// How many partitions topics have, for those who choose among them. Whoever is not told may be asked to end while it waits.
fn partition_count(process: &Arc<Process>, stop: &StopSignal) -> PartitionCount {
    let (process, stop) = (Arc::clone(process), stop.clone());
    Arc::new(move |topic| {
        process.calls("partitions to choose from")?;
        if !process.suffers(Fault::PartitionsUnknown) {
            return Ok(1);
        }
        if process.fate.one_in(2) {
            process.fate.note(|| format!("{} is asked to end while it waits", process.name));
            stop.give();
        }
        Err(Error::new(ErrorKind::Retry, format!("nobody says how many partitions {topic} has")))
    })
}

/// Notes each failure of a thread, and says what becomes of the instance.
fn failure_handler(failures: &Arc<Mutex<Vec<Failed>>>, replaces_threads: bool) -> ThreadFailureHandler {
    let failures = Arc::clone(failures);
    Arc::new(move |failure| {
        failures.lock().push(Failed::of(failure));
        match replaces_threads {
            true => ThreadFailureResponse::ReplaceThread,
            false => ThreadFailureResponse::ShutdownClient,
        }
    })
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
    /// Lets a party do one step, and looks at what became of it.
    pub(super) fn take_turn(&mut self, party: usize, around: &Surroundings) -> Turn {
        let done = self.step(party);
        self.judge(done, around)
    }

    /// Lets a party do one step: a thread of its life; what writes checkpoints, of the next one; the state updater, of its loop.
    pub(super) fn step(&mut self, party: usize) -> Result<(), Broken> {
        let threads = self.workers.len();
        match party.checked_sub(threads) {
            None => self.workers[party].step(),
            Some(0) => self.write_checkpoint(),
            Some(_) => {
                let turn = catch_unwind(AssertUnwindSafe(|| self.updater.turn()));
                turn.map_err(|_panic| Rule::NoPanic.broken("the state updater panicked"))?;
            }
        }
        Ok(())
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
        self.workers.iter().all(|worker| worker.thread().is_none())
    }

    pub(super) fn add_thread(&mut self, around: &Surroundings) {
        self.put_worker(self.shared.add_thread(), around);
    }

    fn put_worker(&mut self, place: Arc<ThreadPlace>, around: &Surroundings) {
        let clients = around.clients(&self.process);
        let life = Life::new(clients.clone(), Arc::clone(&self.shared), Arc::clone(&place));
        self.workers.push(Worker { place, life, is_over: false, clients });
    }

    /// The tasks that stayed with their threads and were opened again all the same.
    pub(super) fn opened_again(&self, around: &Surroundings) -> Vec<i32> {
        let store = around.scenario.program.store();
        let opened_again = |worker: &Worker| {
            let thread = worker.thread()?;
            worker.clients.opened_again(|partition| thread.reader(store, partition))
        };
        self.workers.iter().filter_map(opened_again).collect()
    }

    /// What something that was done means for the instance.
    pub(super) fn judge(&self, done: Result<(), Broken>, around: &Surroundings) -> Turn {
        let failures = std::mem::take(&mut *self.failures.lock());
        if self.process.is_dead() {
            return Turn::Crashed;
        }
        let of_instance = self.shared.take_error().map(|error| Failed::of(&error));
        for failed in failures.into_iter().chain(of_instance) {
            around.fate.note(|| format!("{}: {}", self.process.name, failed.what));
            if !self.is_excused(failed.kind, around) {
                let what = format!("{}: {}", self.process.name, failed.what);
                return Turn::Breaks(Rule::NoFailureWithoutReason.broken(what));
            }
        }
        match done {
            Err(broken) => Turn::Breaks(broken),
            Ok(()) if self.shared.is_stopping() => Turn::Ends,
            Ok(()) => Turn::GoesOn,
        }
    }

    /// Whether something was done to this process that ends a thread: a panic; a disk that fails; at-least-once, a record that cannot be
    /// delivered; no answer for as long as it is patient; a directory that a sibling held, or a checkpoint, which got no turn for as long as
    /// its heirs are patient.
    fn is_excused(&self, kind: ErrorKind, around: &Surroundings) -> bool {
        let suffered = |faults: &[Fault]| faults.iter().any(|fault| self.process.has_suffered(*fault));
        let has_lost_record = !around.scenario.is_exactly_once() && suffered(&[Fault::RecordFails]);
        match kind {
            // A commit that cannot be prepared has no record that could wait.
            ErrorKind::Fatal => {
                has_lost_record || suffered(&[Fault::Panic, Fault::DiskFails, Fault::PartitionsUnknown])
            }
            ErrorKind::Record => has_lost_record,
            ErrorKind::Retry => {
                let passes_time = [Fault::Stall, Fault::Pause, Fault::AddThread];
                let gives_up = [Fault::QueueFull, Fault::PartitionsUnknown];
                around.scenario.threads > 1 || suffered(&passes_time) || suffered(&gives_up)
            }
            _ => false,
        }
    }
}

/// A failure of a thread, or of the instance.
struct Failed {
    kind: ErrorKind,
    what: String,
}

impl Failed {
    fn of(error: &Error) -> Self {
        Failed { kind: error.kind(), what: format!("{error:?}") }
    }
}
