//! What the threads of an instance and its owner share: the program, its settings, and who is in which state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use millstream_state_stores::{BackgroundThread, ProcessId, RowLimits, StateDirectory, StateMemory};
use parking_lot::{Condvar, Mutex};
use tracing::{error, info};

use super::life::{ThreadFailureHandler, ThreadFailureResponse};
use super::program::{ApplicationTopics, Program};
use super::roster::{Roster, ThreadPlace};
use super::snapshot::TaskSnapshot;
use super::state::{ClientState, ThreadState};
use super::state_updater::{RestoreListener, StateUpdater, client_id};
use crate::clock::Clock;
use crate::config::{OffsetReset, Settings};
use crate::error::{Error, Result};
use crate::kafka::ClusterAdmin;
use crate::patience::{has_all, once_propagated, patiently};
use crate::query::StoreRegistry;
use crate::task::TaskPlan;
use crate::topology::{Topology, internal_topic};

/// How long what needs the brokers may fail before the thread gives up (Kafka Streams' `task.timeout.ms`).
pub(crate) const GIVE_UP_AFTER: Duration = Duration::from_secs(300);

/// How soon whoever waits for the global tables notices that the application ends.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Whether an application is asked to end, for all who wait on its behalf.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopSignal(Arc<AtomicBool>);

impl StopSignal {
    pub(crate) fn give(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_given(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Told about each change of state: the old one and the new one.
pub(crate) type StateListener = Arc<dyn Fn(ClientState, ClientState) + Send + Sync>;

pub(crate) struct Shared {
    pub(crate) application_id: Arc<str>,
    pub(crate) topology: Arc<Topology>,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) admin: Arc<dyn ClusterAdmin>,
    program: ArcSwap<Program>,
    pub(crate) memory: Arc<StateMemory>,
    /// Writes the checkpoints of all tasks, and ends with the application. Without one, each thread writes its own.
    pub(crate) background: Option<Arc<BackgroundThread>>,
    pub(crate) directory: StateDirectory,
    /// What the thread of the global tables last told; none if there are no such tables.
    pub(crate) global_snapshot: ArcSwapOption<TaskSnapshot>,
    /// Bytes in the state directory, as last measured.
    pub(crate) state_bytes: AtomicU64,
    pub(crate) stores: Arc<StoreRegistry>,
    pub(crate) restore_listener: Option<RestoreListener>,
    /// Makes the stores of tasks complete, for all stream threads.
    pub(crate) state_updater: StateUpdater,
    failure_handler: Option<ThreadFailureHandler>,
    /// Of this instance: part of the client ids of its stream threads and, exactly-once, of their transactional ids.
    process_id: ProcessId,
    pub(crate) threads: Roster,
    /// Whether topics that match patterns are to be looked for soon.
    topics_wanted: AtomicBool,
    stop: StopSignal,
    awaits_others: AtomicBool,
    states: Mutex<States>,
    state_changed: Condvar,
    state_listener: Option<StateListener>,
}

struct States {
    client: ClientState,
    has_global_tables: bool,
    error: Option<Error>,
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
    pub(crate) stop: StopSignal,
}

impl Shared {
    pub(crate) fn new(parts: SharedParts) -> Self {
        let SharedParts { application_id, topology, settings, clock, admin, plans, background, .. } = parts;
        Shared {
            background,
            threads: Roster::new(&application_id, settings.num_stream_threads),
            memory: StateMemory::new(settings.state_memory),
            directory: StateDirectory::new(settings.state_dir.clone(), &application_id),
            global_snapshot: ArcSwapOption::empty(),
            state_bytes: AtomicU64::new(0),
            stores: Arc::new(StoreRegistry::new(&topology, &parts.topics.partition_counts)),
            program: ArcSwap::from_pointee(Program::new(Arc::clone(&topology), plans, parts.topics)),
            restore_listener: parts.restore_listener,
            state_updater: StateUpdater::new(),
            failure_handler: parts.failure_handler,
            process_id: parts.process_id,
            topics_wanted: AtomicBool::new(false),
            stop: parts.stop,
            awaits_others: AtomicBool::new(true),
            states: Mutex::new(States {
                client: ClientState::Created,
                has_global_tables: topology.global_stores.is_empty(),
                error: None,
            }),
            state_changed: Condvar::new(),
            state_listener: parts.state_listener,
            application_id,
            topology,
            settings,
            clock,
            admin,
        }
    }

    /// Asks for a look at the topics that match patterns: the group knows others.
    pub(crate) fn look_for_topics(&self) {
        self.topics_wanted.store(true, Ordering::Relaxed);
    }

    /// Whether somebody has asked for a look since the last question.
    pub(super) fn take_wish_for_topics(&self) -> bool {
        self.topics_wanted.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn state(&self) -> ClientState {
        self.states.lock().client
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_given()
    }

    /// Whether a thread is asked to end, alone or with the application.
    pub(crate) fn must_end(&self, thread: &ThreadPlace) -> bool {
        self.is_stopping() || thread.is_removed()
    }

    /// The place of a thread that is about to start.
    pub(crate) fn add_thread(&self) -> Arc<ThreadPlace> {
        let place = self.threads.add();
        self.follow_threads();
        place
    }

    /// A thread has ended that was asked to end alone, or never started.
    pub(crate) fn remove_thread(&self, thread: &ThreadPlace) {
        self.threads.remove(thread);
        self.follow_threads();
    }

    /// Asks one thread to end, which no longer counts from here on.
    pub(crate) fn stop_thread(&self, thread: &ThreadPlace) {
        thread.ask_to_end();
        self.follow_threads();
    }

    /// Asks the threads to end.
    pub(crate) fn stop(&self) {
        self.stop.give();
        self.move_to(ClientState::PendingShutdown);
    }

    /// What the instance runs now.
    pub(crate) fn program(&self) -> Arc<Program> {
        self.program.load_full()
    }

    /// Whether it is what the instance runs now.
    pub(crate) fn runs(&self, program: &Arc<Program>) -> bool {
        Arc::ptr_eq(&self.program.load(), program)
    }

    /// Runs another program from now on: the stream threads notice, and begin anew.
    pub(super) fn run_program(&self, program: Program) {
        self.stores.become_as_many(&program.topology, &program.topics.partition_counts);
        self.program.store(Arc::new(program));
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

    /// Looks whether the changelogs are those of the start, before tasks are opened. A reset deletes them, and an instance that did not
    /// notice must not outlive it: topics, offsets and local state are no longer those it knows.
    ///
    /// # Errors
    /// `Invalid` if one was made anew or is gone, `Retry` if the cluster does not answer.
    pub(crate) fn check_changelogs(&self) -> Result<()> {
        let program = self.program();
        // No store is logged, or the brokers give no ids.
        if program.topics.changelog_ids.is_empty() {
            return Ok(());
        }
        let topics: Vec<String> = program.topics.changelog_ids.keys().cloned().collect();
        let ask = || self.patiently(GIVE_UP_AFTER, || self.admin.topic_ids(&topics));
        let found = once_propagated(&*self.clock, || self.is_stopping(), has_all(&topics), ask)?;
        let changed =
            program.topics.changelog_ids.iter().find(|(topic, id)| found.get(*topic) != Some(&Some(**id)));
        let Some((topic, _)) = changed else { return Ok(()) };
        let what = if found.contains_key(topic) { "was made anew" } else { "is gone" };
        Err(Error::invalid(format!(
            "topic {topic} {what} since this instance started, as after a reset of {}: start the instance anew",
            self.application_id
        )))
    }

    /// A thread's report of its state; the application's follows from all of them.
    pub(crate) fn thread_is(&self, thread: &ThreadPlace, state: ThreadState) {
        thread.become_state(state);
        self.follow_threads();
    }

    fn follow_threads(&self) {
        self.move_as(|| {
            let next = ClientState::of_threads(&self.threads.states());
            if next == ClientState::Error {
                self.stop.give();
            }
            (next == ClientState::Error || !self.is_stopping()).then_some(next)
        });
    }

    /// What one thread may hold in memory while there are as many as there are, that of the global tables among them.
    pub(crate) fn limits_of_thread(&self) -> RowLimits {
        let with_state = self.threads.len() + usize::from(!self.topology.global_stores.is_empty());
        self.memory.limits_of_thread(with_state)
    }

    pub(crate) fn process_id(&self) -> &str {
        self.process_id.as_str()
    }

    /// What the clients of a stream thread are called, up to what each of them does.
    pub(crate) fn client_id(&self, thread: &ThreadPlace) -> String {
        client_id(&self.application_id, self.process_id(), thread.number())
    }

    /// As Kafka Streams names them; none at-least-once.
    pub(crate) fn transactional_id(&self, thread: &ThreadPlace) -> Option<String> {
        let id = || format!("{}-{}-{}", self.application_id, self.process_id(), thread.number());
        self.settings.is_exactly_once().then(id)
    }

    /// Of a static member (KIP-345), as Kafka Streams names them.
    pub(crate) fn group_instance_id(&self, thread: &ThreadPlace) -> Option<String> {
        let id = self.settings.group_instance_id.as_ref()?;
        Some(format!("{id}-{}", thread.number()))
    }

    pub(crate) fn response_to(&self, failure: &Error) -> ThreadFailureResponse {
        self.failure_handler.as_ref().map_or_else(ThreadFailureResponse::default, |handler| handler(failure))
    }

    /// A thread begins anew: all of its tasks are to be assigned and restored again.
    pub(crate) fn thread_restarts(&self, thread: &ThreadPlace) {
        thread.restarts_again();
        self.thread_is(thread, ThreadState::Rebalancing);
    }

    /// A thread has failed, and what it has open is yet to be closed; the other threads end, too.
    pub(crate) fn thread_fails(&self, thread: &ThreadPlace, failure: Error) {
        error!(thread = %thread.name(), error = %failure, kind = ?failure.kind(), "a stream thread failed; the application stops");
        self.end_with(failure);
    }

    /// Another instance asks all of them to end.
    pub(crate) fn shutdown_requested_by(&self, process: &str) {
        let application = &self.application_id;
        error!(%application, process, "a process asks all instances to end; this one stops");
        self.end_with(Error::fatal(format!(
            "process {process} asked all instances of {application} to end: its own error says why"
        )));
        self.move_to(ClientState::Error);
    }

    /// Asks the threads to end. Of several errors the first one is the application's.
    fn end_with(&self, failure: Error) {
        self.states.lock().error.get_or_insert(failure);
        self.stop.give();
    }

    /// Whether a thread that waits for other instances to end is to wait on.
    pub(crate) fn awaits_others(&self) -> bool {
        self.awaits_others.load(Ordering::Relaxed)
    }

    pub(crate) fn stop_awaiting_others(&self) {
        self.awaits_others.store(false, Ordering::Relaxed);
    }

    /// What nothing can replace has failed, such as the state updater: the application stops.
    pub(crate) fn part_fails(&self, what: &str, failure: Error) {
        error!(application = %self.application_id, error = %failure, kind = ?failure.kind(), "{what}; the application stops");
        self.end_with(failure);
        self.move_to(ClientState::Error);
    }

    /// The global tables are complete: tasks may be built.
    pub(crate) fn global_tables_are_complete(&self) {
        self.states.lock().has_global_tables = true;
        self.state_changed.notify_all();
    }

    /// Waits until the global tables are complete; false if the application ends before.
    pub(crate) fn await_global_tables(&self) -> bool {
        let mut states = self.states.lock();
        while !states.has_global_tables && !self.is_stopping() {
            self.state_changed.wait_for(&mut states, LOOK_AGAIN);
        }
        states.has_global_tables
    }

    pub(crate) fn take_error(&self) -> Option<Error> {
        self.states.lock().error.take()
    }

    /// Goes to a state if the diagram at [`ClientState`] has an arrow to it, and says so to the listener.
    pub(crate) fn move_to(&self, next: ClientState) {
        self.move_as(|| Some(next));
    }

    /// `decide` is asked while nobody else changes the state, so that of two changes the later one stays.
    fn move_as(&self, decide: impl FnOnce() -> Option<ClientState>) {
        let (before, next) = {
            let mut states = self.states.lock();
            let Some(next) = decide().filter(|next| states.client.can_become(*next)) else { return };
            (std::mem::replace(&mut states.client, next), next)
        };
        info!(application = %self.application_id, "state {before} -> {next}");
        if let Some(listener) = &self.state_listener {
            listener(before, next);
        }
        self.state_changed.notify_all();
    }

    /// Waits for a state that fulfils the condition; none if there was none within the time.
    pub(crate) fn await_state(
        &self,
        timeout: Duration,
        wanted: impl Fn(ClientState) -> bool,
    ) -> Option<ClientState> {
        let mut states = self.states.lock();
        let result = self.state_changed.wait_while_for(&mut states, |states| !wanted(states.client), timeout);
        (!result.timed_out()).then_some(states.client)
    }
}
