//! An application instance: built, started, asked, closed.

use std::any::type_name;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use millstream_state_stores::{
    BackgroundThread, KeyValueStoreBuilder, ProcessId, SessionStoreBuilder, SessionStoreName, StateDirectory,
    StoreName, WindowStoreBuilder, WindowStoreName,
};
use parking_lot::Mutex;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::info;
use uuid::Uuid;

use super::cleanup;
use super::global::GlobalThread;
use super::life::{self, ThreadFailureHandler, ThreadFailureResponse};
use super::program::{ApplicationTopics, existing_topics};
use super::purge;
use super::roster::ThreadPlace;
use super::shared::{GIVE_UP_AFTER, Shared, SharedParts, StateListener, StopSignal};
use super::snapshot::{TaskSnapshot, ThreadSnapshot};
use super::state::ClientState;
use super::state_updater::{self, RestoreListener, RestoreProgress, UpdaterSnapshot};
use super::topic_watch;
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::http::HttpServer;
use crate::kafka::{ClusterAdmin, KafkaAdmin, KafkaClients};
use crate::membership;
use crate::metrics::Metrics;
use crate::patience::{once_propagated, patiently};
use crate::query::{
    QueryError, ReadOnlyKeyValueStore, ReadOnlySessionStore, ReadOnlyVersionedStore, ReadOnlyWindowStore,
    StoreView, TimedView,
};
use crate::task::TaskPlan;
use crate::topology::{PartitionCount, Topology, validate_name};

/// How soon a signal is noticed, and the end of the threads.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(100);

/// An application about to start.
pub struct AppBuilder {
    application_id: String,
    topology: Topology,
    settings: Option<Settings>,
    clock: Arc<dyn Clock>,
    admin: Option<Arc<dyn ClusterAdmin>>,
    state_listener: Option<StateListener>,
    restore_listener: Option<RestoreListener>,
    failure_handler: Option<ThreadFailureHandler>,
}

impl AppBuilder {
    /// How to run. Without it, [`Settings::from_env`].
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = Some(settings);
        self
    }

    /// Where the time comes from. Without it, the machine's clocks.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Who makes and describes topics. Without it, Kafka's admin API; the embedded Kafka brings its own.
    #[must_use]
    pub fn admin(mut self, admin: Arc<dyn ClusterAdmin>) -> Self {
        self.admin = Some(admin);
        self
    }

    /// Called at each change of state with the old and the new one, on the thread that made it: it must return soon.
    #[must_use]
    pub fn on_state_change(
        mut self,
        listener: impl Fn(ClientState, ClientState) + Send + Sync + 'static,
    ) -> Self {
        self.state_listener = Some(Arc::new(listener));
        self
    }

    /// Called when a restore begins, after each batch and at its end, on the thread of the state updater: it must return soon. Standbys
    /// are not told of.
    #[must_use]
    pub fn on_restore(mut self, listener: impl Fn(&RestoreProgress) + Send + Sync + 'static) -> Self {
        self.restore_listener = Some(Arc::new(listener));
        self
    }

    /// Asked what to do when a stream thread has failed, panics included; it runs on that thread. Without it, the instance shuts down.
    #[doc(alias = "setUncaughtExceptionHandler")]
    #[must_use]
    pub fn on_thread_failure(
        mut self,
        handler: impl Fn(&Error) -> ThreadFailureResponse + Send + Sync + 'static,
    ) -> Self {
        self.failure_handler = Some(Arc::new(handler));
        self
    }

    /// Checks the topology against the cluster, makes internal topics, starts the threads and the HTTP server, and returns.
    ///
    /// # Errors
    /// `Invalid` if topology, settings, schemas or existing topics are wrong; `Retry` if the cluster or the schema registry cannot be reached.
    pub fn start(self) -> Result<Streams> {
        let settings = match self.settings {
            Some(settings) => settings,
            None => Settings::from_env()?,
        };
        settings.validate()?;
        validate_name("application id", &self.application_id)?;
        self.topology.validate()?;
        if settings.ensure_explicit_internal_resource_naming {
            self.topology.check_names_are_given()?;
        }
        let application_id: Arc<str> = self.application_id.into();
        let admin = match self.admin {
            Some(admin) => admin,
            None => Arc::new(KafkaAdmin::new(&settings, &format!("{application_id}-admin"))?),
        };
        let topology = bound(self.topology, &application_id, &settings, &*admin, &*self.clock)?;
        // Before anything is made in Kafka, the schema registry has agreed.
        let topology = Arc::new(topology.with_serdes_in_place(&application_id)?);
        // A broker may go away in the middle; what was made already is found by the next try.
        let topics = patiently(
            &*self.clock,
            settings.request_timeout,
            || false,
            || {
                ApplicationTopics::prepare(
                    &topology,
                    &application_id,
                    &settings,
                    &*admin,
                    &*self.clock,
                    &|| false,
                )
            },
        )?;
        let stop = StopSignal::default();
        let partition_count = partition_count(&admin, &self.clock, &stop);
        let plans = TaskPlan::all(&topology, &application_id, &settings, &partition_count);
        let global = TaskPlan::of_global_tables(&plans, |topic| {
            topics.partition_counts.get(topic).copied().unwrap_or(0)
        });
        let process_id = process_id(&topology, &application_id, &settings)?;
        let background = checkpoint_thread(&application_id, &self.clock)?;
        let shared = Arc::new(Shared::new(SharedParts {
            application_id,
            topology,
            settings,
            clock: self.clock,
            admin,
            plans,
            background: Some(background),
            topics,
            restore_listener: self.restore_listener,
            state_listener: self.state_listener,
            failure_handler: self.failure_handler,
            process_id,
            stop,
        }));
        membership::check(&shared.settings, &shared.program().inputs)?;
        Streams::spawn(shared, global)
    }
}

/// The topology with the topics that its patterns match now.
fn bound(
    topology: Topology,
    application_id: &str,
    settings: &Settings,
    admin: &dyn ClusterAdmin,
    clock: &dyn Clock,
) -> Result<Topology> {
    if !topology.has_patterns() {
        return Ok(topology);
    }
    let existing = patiently(clock, settings.request_timeout, || false, || existing_topics(admin, settings))?;
    topology.bound_to(existing.keys().map(String::as_str), application_id)
}

/// Asks the cluster how many partitions an output topic has; while it does not answer, until the application is to end.
fn partition_count(
    admin: &Arc<dyn ClusterAdmin>,
    clock: &Arc<dyn Clock>,
    stop: &StopSignal,
) -> PartitionCount {
    let (admin, clock, stop) = (Arc::clone(admin), Arc::clone(clock), stop.clone());
    Arc::new(move |topic| {
        let count = || admin.partition_counts(&[topic.to_string()]);
        let ask = || patiently(&*clock, GIVE_UP_AFTER, || stop.is_given(), count);
        let counts = once_propagated(&*clock, || false, |counts| counts.contains_key(topic), ask)?;
        counts.get(topic).copied().ok_or_else(|| Error::no_output_topic(topic))
    })
}

/// Who has something on the disk is after a restart who he was before. So is everybody exactly-once, where a transaction may be left open.
fn process_id(topology: &Topology, application_id: &str, settings: &Settings) -> Result<ProcessId> {
    let new_id = || Uuid::new_v4().to_string();
    if !settings.is_exactly_once() && !topology.stores().any(|store| store.is_persistent()) {
        return Ok(ProcessId::unclaimed(new_id()));
    }
    Ok(StateDirectory::new(settings.state_dir.clone(), application_id).claim_process_id(new_id)?)
}

fn checkpoint_thread(application_id: &str, clock: &Arc<dyn Clock>) -> Result<Arc<BackgroundThread>> {
    let clock = Arc::clone(clock);
    BackgroundThread::start(&format!("{application_id}-CheckpointThread"), move || clock.monotonic())
        .map_err(|error| Error::fatal("cannot start the thread that writes checkpoints").with_source(error))
}

/// A running application instance. Dropping it closes it.
pub struct Streams {
    shared: Arc<Shared>,
    global: Option<GlobalThread>,
    threads: Mutex<Vec<RunningThread>>,
    state_updater: Option<JoinHandle<()>>,
    metrics: Arc<Metrics>,
    http: Option<HttpServer>,
}

struct RunningThread {
    place: Arc<ThreadPlace>,
    handle: JoinHandle<()>,
}

impl RunningThread {
    fn start(shared: &Arc<Shared>, place: Arc<ThreadPlace>) -> Result<Self> {
        let (shared, own_place) = (Arc::clone(shared), Arc::clone(&place));
        let handle = std::thread::Builder::new()
            .name(place.name().to_string())
            .spawn(move || life::run(KafkaClients, &shared, &own_place))
            .map_err(|error| Error::fatal("cannot start a stream thread").with_source(error))?;
        Ok(RunningThread { place, handle })
    }

    /// Whether it is the thread that asks.
    fn is_asking(&self) -> bool {
        self.handle.thread().id() == std::thread::current().id()
    }
}

impl Streams {
    /// Names the application and its program. The id is the consumer group and the prefix of internal topics and of the state directory.
    pub fn builder(application_id: impl Into<String>, topology: Topology) -> AppBuilder {
        AppBuilder {
            application_id: application_id.into(),
            topology,
            settings: None,
            clock: SystemClock::shared(),
            admin: None,
            state_listener: None,
            restore_listener: None,
            failure_handler: None,
        }
    }

    fn spawn(shared: Arc<Shared>, global: Option<TaskPlan>) -> Result<Self> {
        let metrics = Arc::new(Metrics::new(Arc::clone(&shared))?);
        let http = match &shared.settings.http_address {
            Some(address) => Some(HttpServer::start(address, Arc::clone(&shared), Arc::clone(&metrics))?),
            None => None,
        };
        shared.move_to(ClientState::Rebalancing);
        let updater = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name(format!("{}-StateUpdater", shared.application_id))
                .spawn(move || state_updater::run(KafkaClients, &shared))
                .map_err(|error| Error::fatal("cannot start the state updater").with_source(error))?
        };
        let mut streams = Streams {
            shared,
            global: None,
            threads: Mutex::default(),
            state_updater: Some(updater),
            metrics,
            http,
        };
        streams.global = match global {
            Some(plan) => Some(GlobalThread::start(&streams.shared, plan)?),
            None => None,
        };
        for place in streams.shared.threads.places() {
            let thread = RunningThread::start(&streams.shared, place)?;
            streams.threads.lock().push(thread);
        }
        purge::start(&streams.shared)?;
        cleanup::start(&streams.shared)?;
        topic_watch::start(&streams.shared)?;
        Ok(streams)
    }

    /// The current state.
    pub fn state(&self) -> ClientState {
        self.shared.state()
    }

    /// Waits until the state is this one. Returns at once if it never can be again.
    ///
    /// # Errors
    /// `Retry` if the time passed first, `Fatal` if the state can no longer be reached.
    pub fn await_state(&self, wanted: ClientState, timeout: Duration) -> Result<()> {
        let is_final = |state| matches!(state, ClientState::Error | ClientState::NotRunning);
        match self.shared.await_state(timeout, |state| state == wanted || is_final(state)) {
            Some(state) if state == wanted => Ok(()),
            Some(state) => {
                Err(Error::fatal(format!("the application is in state {state} and cannot become {wanted}")))
            }
            None => Err(Error::new(
                ErrorKind::Retry,
                format!("after {timeout:?} the application is in state {}, not {wanted}", self.state()),
            )),
        }
    }

    /// Starts one more stream thread (KIP-663) and returns its name: the first that no thread has. It takes its share of the tasks with the
    /// next rebalance, and of the memory at once. None if the application neither runs nor rebalances.
    ///
    /// # Errors
    /// `Fatal` if the system gives no thread.
    #[doc(alias = "addStreamThread")]
    pub fn add_stream_thread(&self) -> Result<Option<String>> {
        let mut threads = self.threads.lock();
        if !self.may_change_threads() {
            return Ok(None);
        }
        let place = self.shared.add_thread();
        let started = RunningThread::start(&self.shared, Arc::clone(&place));
        let thread = started.inspect_err(|_no_thread| self.shared.remove_thread(&place))?;
        threads.push(thread);
        Ok(Some(place.name().to_string()))
    }

    /// Ends the newest stream thread (KIP-663), waits until it has committed, closed its tasks and left the group, and returns its name. The
    /// others take its tasks and its share of the memory. None if there is no thread left, or if the application neither runs nor rebalances.
    ///
    /// The last one may be removed, too: the application then stays in its state and does nothing, until a thread is added or it is closed.
    /// A stream thread that asks this is removed only if it is the last one, and ends when it returns.
    #[doc(alias = "removeStreamThread")]
    pub fn remove_stream_thread(&self) -> Option<String> {
        let thread = {
            let mut threads = self.threads.lock();
            let other = threads.iter().rposition(|thread| !thread.is_asking());
            let newest = other.or(threads.len().checked_sub(1)).filter(|_| self.may_change_threads())?;
            threads.remove(newest)
        };
        self.shared.stop_thread(&thread.place);
        let is_asking = thread.is_asking();
        let RunningThread { place, handle } = thread;
        // A panic was caught inside and is the application's error already.
        if !is_asking && handle.join().is_err() {
            self.shared.move_to(ClientState::Error);
        }
        self.shared.remove_thread(&place);
        Some(place.name().to_string())
    }

    fn may_change_threads(&self) -> bool {
        matches!(self.state(), ClientState::Running | ClientState::Rebalancing)
    }

    /// A typed handle of a store.
    ///
    /// # Errors
    /// [`QueryError::UnknownStore`] or [`QueryError::WrongType`]. That the store is not readable yet shows when it is asked.
    pub fn store<K: 'static, V: 'static>(
        &self,
        name: StoreName<K, V>,
    ) -> Result<ReadOnlyKeyValueStore<K, V>, QueryError> {
        let (view, typed) = self.typed_store::<KeyValueStoreBuilder<K, V>, (K, V)>(name.name())?;
        Ok(ReadOnlyKeyValueStore::new(view, typed.key_serde().clone(), typed.value_serde().clone()))
    }

    /// A typed handle of a versioned store. [`Streams::store`] gives one that sees only the newest versions.
    ///
    /// # Errors
    /// As [`Streams::store`]. That the store keeps no versions shows when it is asked.
    pub fn versioned_store<K: 'static, V: 'static>(
        &self,
        name: StoreName<K, V>,
    ) -> Result<ReadOnlyVersionedStore<K, V>, QueryError> {
        let (view, typed) = self.typed_store::<KeyValueStoreBuilder<K, V>, (K, V)>(name.name())?;
        Ok(ReadOnlyVersionedStore::new(view, typed))
    }

    /// A typed handle of a window store.
    ///
    /// # Errors
    /// As [`Streams::store`].
    pub fn window_store<K: Clone + 'static, V: Clone + 'static>(
        &self,
        name: WindowStoreName<K, V>,
    ) -> Result<ReadOnlyWindowStore<K, V>, QueryError> {
        let (view, typed) = self.typed_store::<WindowStoreBuilder<K, V>, (K, V)>(name.name())?;
        Ok(ReadOnlyWindowStore::new(TimedView::new(view, typed.layout()), typed))
    }

    /// A typed handle of a session store.
    ///
    /// # Errors
    /// As [`Streams::store`].
    pub fn session_store<K: Clone + 'static, V: Clone + 'static>(
        &self,
        name: SessionStoreName<K, V>,
    ) -> Result<ReadOnlySessionStore<K, V>, QueryError> {
        let (view, typed) = self.typed_store::<SessionStoreBuilder<K, V>, (K, V)>(name.name())?;
        Ok(ReadOnlySessionStore::new(TimedView::new(view, typed.layout()), typed))
    }

    /// A store with the builder that knows its types.
    fn typed_store<B: 'static, T>(&self, name: &str) -> Result<(StoreView, &B), QueryError> {
        let view = self.store_view(name)?;
        let builder = self.shared.topology.store(name);
        let typed = builder.and_then(|builder| builder.as_any().downcast_ref::<B>());
        let typed = typed.ok_or_else(|| QueryError::WrongType {
            store: name.to_string(),
            asked: type_name::<T>(),
            found: builder.map_or_else(String::new, |builder| builder.types().to_string()),
        })?;
        Ok((view, typed))
    }

    /// A store as bytes, for those who do not know its types.
    ///
    /// # Errors
    /// [`QueryError::UnknownStore`].
    pub fn store_view(&self, name: &str) -> Result<StoreView, QueryError> {
        let view = StoreView::new(Arc::clone(&self.shared.stores), name);
        view.coverage()?;
        Ok(view)
    }

    /// The program.
    pub fn topology(&self) -> &Topology {
        &self.shared.topology
    }

    /// What the threads last told about themselves, at most a quarter of a second ago.
    pub fn threads(&self) -> Vec<Arc<ThreadSnapshot>> {
        self.shared.threads.snapshots()
    }

    /// What the state updater last told: restores in progress and standbys, at most a quarter of a second ago.
    pub fn state_updater(&self) -> Arc<UpdaterSnapshot> {
        self.shared.state_updater.snapshot()
    }

    /// What the thread of the global tables last told about its task; none if there are no global tables, or it has not told yet.
    pub fn global_tables(&self) -> Option<Arc<TaskSnapshot>> {
        self.shared.global_snapshot.load_full()
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// `Fatal` if they cannot be encoded.
    pub fn metrics_text(&self) -> Result<String> {
        self.metrics.text()
    }

    /// Where the HTTP server listens, if there is one.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(HttpServer::address)
    }

    /// Runs until SIGINT or SIGTERM, or until a thread fails or another instance asks all of them to end; then closes.
    ///
    /// # Errors
    /// The error that ended it, if it did not end as asked.
    pub fn run_until_signal(self) -> Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM])
            .map_err(|error| Error::fatal("cannot listen for signals").with_source(error))?;
        while !self.has_ended() {
            if let Some(signal) = signals.pending().next() {
                info!(signal, "asked to end");
                self.shared.stop_awaiting_others();
                break;
            }
            self.shared.clock.sleep(SIGNAL_INTERVAL);
        }
        self.close()
    }

    /// Whether no stream thread does anything any more, be it only to stay until other instances have ended.
    fn has_ended(&self) -> bool {
        matches!(self.state(), ClientState::Error | ClientState::NotRunning)
            && self.threads.lock().iter().all(|thread| thread.handle.is_finished())
    }

    /// Ends cleanly: the last records are committed, state is written, the group is left at once. An instance that asked all others to end
    /// ([`ThreadFailureResponse::ShutdownApplication`]) waits until they have.
    ///
    /// # Errors
    /// The error of the first thread that failed, now or before.
    pub fn close(mut self) -> Result<()> {
        self.shut_down();
        match self.shared.take_error() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn shut_down(&mut self) {
        self.shared.stop();
        let threads = self.threads.get_mut().drain(..).map(|thread| thread.handle);
        for thread in threads.chain(self.state_updater.take()) {
            // A panic was caught inside and is the application's error already.
            if thread.join().is_err() {
                self.shared.move_to(ClientState::Error);
            }
        }
        if let Some(global) = self.global.take() {
            global.end();
        }
        self.http = None;
        self.shared.move_to(ClientState::NotRunning);
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.shut_down();
    }
}
