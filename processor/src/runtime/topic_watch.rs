//! Looks for topics that match the patterns of the sources, and did not before, or that match no more because they are gone.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tracing::{info, warn};

use super::program::{ApplicationTopics, Program, existing_topics};
use super::shared::Shared;
use super::state::ClientState;
use crate::error::{Error, ErrorKind, Result};
use crate::membership;
use crate::patience::{has_all, once_propagated};
use crate::topology::TopicName;

/// How soon a wish for a look is noticed, and how often there may be one.
const PAUSE: Duration = Duration::from_millis(500);

/// Starts the thread, if any source reads topics by a pattern. It ends with the application.
pub(super) fn start(shared: &Arc<Shared>) -> Result<()> {
    if !shared.topology.has_patterns() {
        return Ok(());
    }
    let application = Arc::downgrade(shared);
    std::thread::Builder::new()
        .name(format!("{}-TopicWatch", shared.application_id))
        .spawn(move || run(&application))
        .map_err(|error| Error::fatal("cannot start the thread that looks for topics").with_source(error))?;
    Ok(())
}

fn run(application: &Weak<Shared>) {
    while let Some(shared) = application.upgrade()
        && await_look(&shared)
    {
        match other_program(&shared) {
            Ok(None) => {}
            Ok(Some(program)) => {
                let topics = program.topology.source_topics();
                info!(application = %shared.application_id, ?topics, "other topics match: the stream threads begin anew");
                shared.run_program(program);
            }
            Err(error) if error.kind() == ErrorKind::Retry => {
                warn!(%error, "it could not be looked for topics; they are at the next look");
            }
            Err(_) if shared.is_stopping() => return,
            Err(error) => return shared.part_fails("the topics of a pattern cannot be read", error),
        }
    }
}

/// Waits until it is time to look, or a stream thread asks for it; false if the application ends.
fn await_look(shared: &Shared) -> bool {
    let due = shared.clock.monotonic() + shared.settings.metadata_max_age;
    loop {
        if shared.await_state(PAUSE, ClientState::is_ending).is_some() {
            return false;
        }
        if shared.take_wish_for_topics() || shared.clock.monotonic() >= due {
            return true;
        }
    }
}

/// The program of the topics that match now, if they are others than those that are read.
fn other_program(shared: &Shared) -> Result<Option<Program>> {
    let (program, application_id) = (shared.program(), &shared.application_id);
    // A topic that is gone for a broker that has just started is not gone.
    let read = program.topology.source_topics().into_iter().filter_map(TopicName::external);
    let read: Vec<String> = read.map(str::to_string).collect();
    let ask = || existing_topics(&*shared.admin, &shared.settings);
    let existing = once_propagated(&*shared.clock, || shared.is_stopping(), has_all(&read), ask)?;
    let topology = program.topology.bound_to(existing.keys().map(String::as_str), application_id)?;
    if topology.source_topics() == program.topology.source_topics() {
        return Ok(None);
    }
    // After a reset, its changelogs must not be made again.
    shared.check_changelogs()?;
    let topology = Arc::new(topology);
    let (settings, admin, clock) = (&shared.settings, &*shared.admin, &*shared.clock);
    let is_given_up = || shared.is_stopping();
    let topics = ApplicationTopics::prepare(&topology, application_id, settings, admin, clock, &is_given_up)?;
    let other = program.bound_to(&topology, topics);
    membership::check(settings, &other.inputs)?;
    Ok(Some(other))
}
