//! The life of a stream thread: it runs until it is asked to end, begins anew when its place in the group or its producer is lost, or
//! its instance runs another program, and when it fails, the application says what becomes of it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, warn};

use super::roster::ThreadPlace;
use super::shared::Shared;
use super::shutdown_request::ShutdownRequest;
use super::state::ThreadState;
use super::state_updater::group_view;
use super::thread::StreamThread;
use crate::clients::Clients;
use crate::error::{Error, ErrorKind, Result};

/// A pause before a thread begins anew, so that what fails at once does not keep the brokers busy.
const PAUSE: Duration = Duration::from_secs(1);

/// What becomes of an application one of whose threads has failed (Kafka Streams' `StreamThreadExceptionResponse`, KIP-671).
///
/// ```
/// use millstream_processor::runtime::ThreadFailureResponse;
/// use millstream_processor::{Error, ErrorKind};
///
/// /// A record that one instance cannot process, no other can: they would fail at it one after the other.
/// fn response_to(failure: &Error) -> ThreadFailureResponse {
///     match failure.kind() {
///         ErrorKind::Record => ThreadFailureResponse::ShutdownApplication,
///         _ => ThreadFailureResponse::ShutdownClient,
///     }
/// }
///
/// let failure = Error::new(ErrorKind::Record, "order 7 has no customer");
/// assert_eq!(response_to(&failure), ThreadFailureResponse::ShutdownApplication);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ThreadFailureResponse {
    /// The thread begins anew, with new clients, and reads again what was not committed. A failure that a record causes comes again with it.
    #[doc(alias = "REPLACE_THREAD")]
    ReplaceThread,
    /// The instance closes and goes to the state `Error`; its tasks go to other instances.
    #[default]
    #[doc(alias = "SHUTDOWN_CLIENT")]
    ShutdownClient,
    /// All instances of the application close and go to the state `Error`, each with an error that names the process that asked, and nobody
    /// takes the tasks of the thread that failed. Others notice within seconds; this instance stays in the group until they have left it,
    /// for three session timeouts and no less than 30 seconds at most, or until a signal ends
    /// [`Streams::run_until_signal`](crate::Streams::run_until_signal). One that is started meanwhile ends in the same way.
    ///
    /// On a cluster that does not tell who is in a group, such as the embedded Kafka, this is [`ThreadFailureResponse::ShutdownClient`].
    #[doc(alias = "SHUTDOWN_APPLICATION")]
    ShutdownApplication,
}

/// Asked about each failure of a stream thread.
pub(crate) type ThreadFailureHandler = Arc<dyn Fn(&Error) -> ThreadFailureResponse + Send + Sync>;

/// What becomes of a thread that does not go on, once it is closed.
enum Fate<C: Clients> {
    Ends,
    /// Its instance runs another program from now on.
    FollowsProgram,
    BeginsAnew,
    /// Its instance ends with it, and may have asked all others to.
    Fails(Option<ShutdownRequest<C::Consumer>>),
}

/// The body of a stream thread.
pub(crate) fn run<C: Clients>(clients: C, shared: &Arc<Shared>, place: &Arc<ThreadPlace>) {
    if !shared.await_global_tables() {
        return shared.thread_is(place, ThreadState::Ended);
    }
    let mut life = Life::new(clients, Arc::clone(shared), Arc::clone(place));
    while life.step() {}
}

/// From the first call to the brokers to the last one, step by step.
pub(crate) struct Life<C: Clients> {
    clients: C,
    shared: Arc<Shared>,
    place: Arc<ThreadPlace>,
    /// None before it begins, for the first time or anew.
    thread: Option<StreamThread<C>>,
}

impl<C: Clients> Life<C> {
    pub(crate) fn new(clients: C, shared: Arc<Shared>, place: Arc<ThreadPlace>) -> Self {
        Life { clients, shared, place, thread: None }
    }

    /// The thread begins, does a round, or is closed. False once its life is over.
    pub(crate) fn step(&mut self) -> bool {
        let fate = match self.thread.take() {
            None if self.shared.must_end(&self.place) => Some(Fate::Ends),
            None => self.begin(),
            Some(thread) => self.go_on(thread),
        };
        let (shared, place) = (&self.shared, &self.place);
        match fate {
            None => {}
            Some(Fate::FollowsProgram) => shared.thread_restarts(place),
            Some(Fate::BeginsAnew) => {
                shared.thread_restarts(place);
                shared.clock.sleep(PAUSE);
            }
            Some(Fate::Ends) => {
                shared.thread_is(place, ThreadState::Ended);
                return false;
            }
            Some(Fate::Fails(request)) => {
                shared.thread_is(place, ThreadState::Failed);
                if request.is_some_and(|request| !request.await_others()) {
                    warn!(thread = %place.name(), "some instances may not have ended; they are waited for no longer");
                }
                return false;
            }
        }
        true
    }

    fn begin(&mut self) -> Option<Fate<C>> {
        let create =
            || StreamThread::create(&self.clients, Arc::clone(&self.shared), Arc::clone(&self.place));
        match caught(create) {
            Ok(thread) => {
                self.thread = Some(thread);
                None
            }
            Err(failure) => Some(self.fate_of(failure)),
        }
    }

    /// What follows from a failure is decided before the thread gives its tasks up.
    fn go_on(&mut self, mut thread: StreamThread<C>) -> Option<Fate<C>> {
        let failed = match caught(|| thread.step()) {
            Ok(true) => {
                self.thread = Some(thread);
                return None;
            }
            Ok(false) => None,
            Err(failure) => Some(self.fate_of(failure)),
        };
        let closed = caught(|| thread.close(failed.is_none()));
        let failed = failed.or_else(|| closed.err().map(|failure| self.fate_of(failure)));
        let must_end = self.shared.must_end(&self.place);
        Some(failed.unwrap_or(if must_end { Fate::Ends } else { Fate::FollowsProgram }))
    }

    fn fate_of(&self, failure: Error) -> Fate<C> {
        let Life { clients, shared, place, .. } = self;
        let thread = place.name();
        let is_lost = failure.kind() == ErrorKind::Migrated;
        let response = match (is_lost, shared.must_end(place)) {
            (true, true) => {
                warn!(%thread, error = %failure, "ends without its last commit; its records will be processed again");
                return Fate::Ends;
            }
            (true, false) => {
                warn!(%thread, error = %failure, "lost its tasks or its producer, and begins anew");
                return Fate::BeginsAnew;
            }
            (false, true) => ThreadFailureResponse::ShutdownClient,
            (false, false) => shared.response_to(&failure),
        };
        match response {
            ThreadFailureResponse::ReplaceThread => {
                error!(%thread, error = %failure, kind = ?failure.kind(), "failed, and is replaced");
                Fate::BeginsAnew
            }
            ThreadFailureResponse::ShutdownClient => {
                shared.thread_fails(place, failure);
                Fate::Fails(None)
            }
            ThreadFailureResponse::ShutdownApplication => {
                let (process, application) = (shared.process_id(), &shared.application_id);
                let message =
                    format!("process {process}, this one, asked all instances of {application} to end");
                shared.thread_fails(place, Error::new(failure.kind(), message).with_source(failure));
                Fate::Fails(ShutdownRequest::make(clients, shared, group_view(shared)))
            }
        }
    }

    /// The thread, while it runs.
    #[cfg(test)]
    pub(crate) fn thread(&self) -> Option<&StreamThread<C>> {
        self.thread.as_ref()
    }
}

/// A panic is a failure, too.
fn caught<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|panic| Err(Error::fatal(format!("panicked: {}", panic_message(&*panic)))))
}

/// What a panic says.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
