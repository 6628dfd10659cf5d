//! What the threads of an instance and its owner share: the program, its settings, and who is in which state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use millstream_state_stores::{BackgroundThread, ProcessId, StateDirectory, StateMemory, TaskId, TopicId};
use parking_lot::{Condvar, Mutex};
use tracing::{error, info};

use super::life::{ThreadFailureHandler, ThreadFailureResponse};
use super::snapshot::ThreadSnapshot;
use super::state::{ClientState, ThreadState};
use super::state_updater::{RestoreListener, StateUpdater, client_id};
use crate::clock::Clock;
use crate::config::{OffsetReset, Settings};
use crate::error::{Error, Result};
use crate::kafka::ClusterAdmin;
use crate::patience::patiently;
use crate::query::StoreRegistry;
use crate::task::TaskPlan;
use crate::topology::{TopicName, Topology, internal_topic};

/// How long what needs the brokers may fail before the thread gives up (Kafka Streams' `task.timeout.ms`).
pub(crate) const GIVE_UP_AFTER: Duration = Duration::from_secs(300);

/// Told about each change of state: the old one and the new one.
pub(crate) type StateListener = Arc<dyn Fn(ClientState, ClientState) + Send + Sync>;

pub(crate) struct Shared {
    pub(crate) application_id: Arc<str>,
    pub(crate) topology: Arc<Topology>,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) admin: Arc<dyn ClusterAdmin>,
    /// By sub-topology id.
    pub(crate) plans: Vec<TaskPlan>,
    /// Topics read, by name in Kafka: the sub-topology that reads them.
    pub(crate) readers: BTreeMap<String, u32>,
    pub(crate) memory: Arc<StateMemory>,
    /// Writes the checkpoints of all tasks, and ends with the application. Without one, each thread writes its own.
    pub(crate) background: Option<Arc<BackgroundThread>>,
    pub(crate) directory: StateDirectory,
    pub(crate) stores: Arc<StoreRegistry>,
    /// The topics that are the changelogs, by name in Kafka.
    pub(crate) changelog_ids: BTreeMap<String, TopicId>,
    pub(crate) restore_listener: Option<RestoreListener>,
    /// Makes the stores of tasks complete, for all stream threads.
    pub(crate) state_updater: StateUpdater,
    failure_handler: Option<ThreadFailureHandler>,
    /// Of this instance: part of the client ids of its stream threads and, exactly-once, of their transactional ids.
    process_id: ProcessId,
    /// By thread: how often it began anew.
    restarts: Vec<AtomicU64>,
    pub(crate) snapshots: Vec<ArcSwap<ThreadSnapshot>>,
    stopping: AtomicBool,
    states: Mutex<States>,
    state_changed: Condvar,
    state_listener: Option<StateListener>,
}

struct States {
    client: ClientState,
    threads: Vec<ThreadState>,
    error: Option<Error>,
}

/// What was found out about the topics at start.
#[derive(Default)]
pub(crate) struct ApplicationTopics {
    pub(crate) partition_counts: BTreeMap<TopicName, i32>,
    /// By name in Kafka; none where the brokers give no ids.
    pub(crate) changelog_ids: BTreeMap<String, TopicId>,
}

/// Everything a [`Shared`] is made of besides its own states.
pub(crate) struct SharedParts {
    pub(crate) application_id: Arc<str>,
    pub(crate) topology: Arc<Topology>,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) admin: Arc<dyn ClusterAdmin>,
    pub(crate) plans: Vec<TaskPlan>,
    pub(crate) background: Option<Arc<BackgroundThread>>,
    pub(crate) topics: ApplicationTopics,
    pub(crate) restore_listener: Option<RestoreListener>,
    pub(crate) state_listener: Option<StateListener>,
    pub(crate) failure_handler: Option<ThreadFailureHandler>,
    pub(crate) process_id: ProcessId,
}

impl Shared {
    pub(crate) fn new(parts: SharedParts) -> Self {
        let SharedParts { application_id, topology, settings, clock, admin, plans, background, .. } = parts;
        let threads = settings.num_stream_threads;
        let snapshot =
            |index| ArcSwap::from_pointee(ThreadSnapshot::before_start(thread_name(&application_id, index)));
        Shared {
            background,
            snapshots: (0..threads).map(snapshot).collect(),
            memory: StateMemory::new(settings.state_memory),
            directory: StateDirectory::new(settings.state_dir.clone(), &application_id),
            stores: Arc::new(StoreRegistry::new(&topology, &parts.topics.partition_counts)),
            changelog_ids: parts.topics.changelog_ids,
            restore_listener: parts.restore_listener,
            state_updater: StateUpdater::new(),
            failure_handler: parts.failure_handler,
            process_id: parts.process_id,
            restarts: (0..threads).map(|_| AtomicU64::new(0)).collect(),
            stopping: AtomicBool::new(false),
            states: Mutex::new(States {
                client: ClientState::Created,
                threads: vec![ThreadState::Rebalancing; threads],
                error: None,
            }),
            state_changed: Condvar::new(),
            state_listener: parts.state_listener,
            application_id,
            topology,
            settings,
            clock,
            admin,
            readers: readers(&plans),
            plans,
        }
    }

    pub(crate) fn state(&self) -> ClientState {
        self.states.lock().client
    }

    /// The states of the stream threads, also of those that have ended and report no more.
    pub(crate) fn thread_states(&self) -> Vec<ThreadState> {
        self.states.lock().threads.clone()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Asks the threads to end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.move_to(ClientState::PendingShutdown);
    }

    /// What the tasks of this one's sub-topology have in common.
    pub(crate) fn plan_of(&self, task: TaskId) -> &TaskPlan {
        &self.plans[task.subtopology as usize]
    }

    /// Where to start in a topic without a committed offset. What the application sent to itself is never passed over.
    pub(crate) fn reset_of(&self, topic: &str) -> OffsetReset {
        let is_own = self
            .topology
            .repartition_topics()
            .iter()
            .any(|own| internal_topic(&self.application_id, &own.name) == topic);
        if is_own { OffsetReset::Earliest } else { self.settings.offset_reset }
    }

    /// Does something that needs the brokers or a lock, and tries again while it fails with `Retry`, within the time and until the
    /// application is asked to end.
    pub(crate) fn patiently<T>(&self, within: Duration, attempt: impl FnMut() -> Result<T>) -> Result<T> {
        patiently(&*self.clock, within, || self.is_stopping(), attempt)
    }

    /// A thread's report of its state; the application's follows from all of them.
    pub(crate) fn thread_is(&self, thread: usize, state: ThreadState) {
        let next = {
            let mut states = self.states.lock();
            states.threads[thread] = state;
            ClientState::of_threads(&states.threads)
        };
        if next == ClientState::Error {
            self.stopping.store(true, Ordering::Relaxed);
        }
        if next == ClientState::Error || !self.is_stopping() {
            self.move_to(next);
        }
    }

    pub(crate) fn process_id(&self) -> &str {
        self.process_id.as_str()
    }

    /// What the clients of a stream thread are called, up to what each of them does.
    pub(crate) fn client_id(&self, thread: usize) -> String {
        client_id(&self.application_id, self.process_id(), thread)
    }

    /// As Kafka Streams names them; none at-least-once.
    pub(crate) fn transactional_id(&self, thread: usize) -> Option<String> {
        let id = || format!("{}-{}-{}", self.application_id, self.process_id(), thread + 1);
        self.settings.is_exactly_once().then(id)
    }

    pub(crate) fn response_to(&self, failure: &Error) -> ThreadFailureResponse {
        self.failure_handler.as_ref().map_or_else(ThreadFailureResponse::default, |handler| handler(failure))
    }

    /// A thread begins anew: all of its tasks are to be assigned and restored again.
    pub(crate) fn thread_restarts(&self, thread: usize) {
        self.restarts[thread].fetch_add(1, Ordering::Relaxed);
        self.thread_is(thread, ThreadState::Rebalancing);
    }

    pub(crate) fn restarts_of(&self, thread: usize) -> u64 {
        self.restarts[thread].load(Ordering::Relaxed)
    }

    /// A thread's last word. The first error is the application's.
    pub(crate) fn thread_failed(&self, thread: usize, failure: Error) {
        error!(thread = %thread_name(&self.application_id, thread), error = %failure, kind = ?failure.kind(), "a stream thread failed; the application stops");
        self.states.lock().error.get_or_insert(failure);
        self.thread_is(thread, ThreadState::Failed);
    }

    /// The state updater's last word: without it no task can be taken.
    pub(crate) fn state_updater_failed(&self, failure: Error) {
        error!(error = %failure, "the state updater failed; the application stops");
        self.states.lock().error.get_or_insert(failure);
        self.stopping.store(true, Ordering::Relaxed);
        self.move_to(ClientState::Error);
    }

    pub(crate) fn take_error(&self) -> Option<Error> {
        self.states.lock().error.take()
    }

    /// Goes to a state if the diagram at [`ClientState`] has an arrow to it, and says so to the listener.
    pub(crate) fn move_to(&self, next: ClientState) {
        let before = {
            let mut states = self.states.lock();
            if !states.client.can_become(next) {
                return;
            }
            std::mem::replace(&mut states.client, next)
        };
        info!(application = %self.application_id, "state {before} -> {next}");
        if let Some(listener) = &self.state_listener {
            listener(before, next);
        }
        self.state_changed.notify_all();
    }

    /// Waits until the state fulfils the condition; false if it did not within the time.
    pub(crate) fn await_state(&self, timeout: Duration, wanted: impl Fn(ClientState) -> bool) -> bool {
        let mut states = self.states.lock();
        let result = self.state_changed.wait_while_for(&mut states, |states| !wanted(states.client), timeout);
        !result.timed_out()
    }
}

fn readers(plans: &[TaskPlan]) -> BTreeMap<String, u32> {
    let of_plan = |plan: &TaskPlan| {
        let id = plan.subtopology.id;
        let application_id = Arc::clone(&plan.application_id);
        let topics = plan.subtopology.source_topics.clone();
        topics.into_iter().map(move |topic| (topic.in_application(&application_id), id))
    };
    plans.iter().flat_map(of_plan).collect()
}

pub(crate) fn thread_name(application_id: &str, index: usize) -> Arc<str> {
    format!("{application_id}-StreamThread-{}", index + 1).into()
}
