//! The life of a stream thread: it runs until it is asked to end, begins anew when its place in the group or its producer is lost, and
//! when it fails, the application says what becomes of it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, warn};

use super::roster::ThreadPlace;
use super::shared::Shared;
use super::state::ThreadState;
use super::thread::StreamThread;
use crate::clients::Clients;
use crate::error::{Error, ErrorKind, Result};

/// A pause before a thread begins anew, so that what fails at once does not keep the brokers busy.
const PAUSE: Duration = Duration::from_secs(1);

/// What becomes of an instance one of whose threads has failed (Kafka Streams' `StreamThreadExceptionResponse`, KIP-671).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ThreadFailureResponse {
    /// The thread begins anew, with new clients, and reads again what was not committed. A failure that a record causes comes again with it.
    #[doc(alias = "REPLACE_THREAD")]
    ReplaceThread,
    /// The instance closes and goes to the state `Error`; its tasks go to other instances.
    #[default]
    #[doc(alias = "SHUTDOWN_CLIENT")]
    ShutdownClient,
}

/// Asked about each failure of a stream thread.
pub(crate) type ThreadFailureHandler = Arc<dyn Fn(&Error) -> ThreadFailureResponse + Send + Sync>;

/// The body of a stream thread.
pub(crate) fn run<C: Clients>(clients: &C, shared: &Arc<Shared>, place: &Arc<ThreadPlace>) {
    let name = place.name();
    if !shared.await_global_tables() {
        return shared.thread_is(place, ThreadState::Ended);
    }
    loop {
        let outcome = catch_unwind(AssertUnwindSafe(|| live(clients, Arc::clone(shared), Arc::clone(place))));
        let failure = match outcome {
            Ok(Ok(())) => return shared.thread_is(place, ThreadState::Ended),
            Ok(Err(failure)) => failure,
            Err(panic) => Error::fatal(format!("panicked: {}", panic_message(&*panic))),
        };
        let is_lost = failure.kind() == ErrorKind::Migrated;
        if shared.must_end(place) && is_lost {
            warn!(thread = %name, error = %failure, "ends without its last commit; its records will be processed again");
            return shared.thread_is(place, ThreadState::Ended);
        }
        if shared.must_end(place)
            || !is_lost && shared.response_to(&failure) == ThreadFailureResponse::ShutdownClient
        {
            return shared.thread_failed(place, failure);
        }
        if is_lost {
            warn!(thread = %name, error = %failure, "lost its tasks or its producer, and begins anew");
        } else {
            error!(thread = %name, error = %failure, kind = ?failure.kind(), "failed, and is replaced");
        }
        shared.thread_restarts(place);
        shared.clock.sleep(PAUSE);
    }
}

fn live<C: Clients>(clients: &C, shared: Arc<Shared>, place: Arc<ThreadPlace>) -> Result<()> {
    let mut thread = StreamThread::create(clients, shared, place)?;
    let ran = thread.run();
    let closed = thread.close(ran.is_ok());
    ran.and(closed)
}

/// What a panic says.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
