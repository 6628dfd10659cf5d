//! What the applications have in common that tests kill: their arguments, their settings, and the lines by which they tell what happens to
//! them.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow};
use millstream::prelude::*;
use millstream::{ClientState, Streams};

/// Begins to log to stderr, and returns the program's arguments.
///
/// # Errors
/// If there are not as many as are asked for.
pub fn arguments<const COUNT: usize>() -> Result<[String; COUNT]> {
    tracing_subscriber::fmt().with_env_filter("info").with_writer(std::io::stderr).init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    arguments.try_into().map_err(|given: Vec<String>| {
        let given = given.len();
        anyhow!(
            "{COUNT} arguments are needed instead of {given}; the head of this program's source names them"
        )
    })
}

/// Those of the environment, with a session of six seconds and a checkpoint each second.
///
/// # Errors
/// If the environment says what is wrong.
pub fn settings(bootstrap_servers: &str, state_dir: &str) -> Result<Settings> {
    let brokers = ("MILLSTREAM_BOOTSTRAP_SERVERS".to_owned(), bootstrap_servers.to_owned());
    let mut settings = Settings::from_variables(std::env::vars().chain([brokers]))?;
    settings.state_dir = PathBuf::from(state_dir);
    settings.session_timeout = Duration::from_secs(6);
    settings.checkpoint_interval = Duration::from_secs(1);
    Ok(settings)
}

/// Runs until SIGINT, and says `state NAME` at each change of state.
///
/// # Errors
/// What the application ends with.
pub fn run(application_id: &str, topology: Topology, settings: Settings) -> Result<()> {
    let app = Streams::builder(application_id, topology)
        .settings(settings)
        .on_state_change(|_before, now: ClientState| say(&format!("state {now}")))
        .start()?;
    app.run_until_signal().map_err(|error| anyhow!(error).context("the application ended with an error"))
}

/// A line on stdout, whole even when several threads talk. Who reads it may be gone; that is no reason to end.
pub fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        tracing::warn!(%error, line, "nobody hears this line");
    }
}
