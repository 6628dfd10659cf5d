//! An instance of a program, in a process of its own with a state directory of its own.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::control::Order;
use super::power::SyncedBytes;
use super::restores::Restores;
use super::{Guarantee, Program};
use crate::process::{RunningProgram, workspace_binary};

/// How long a member may be silent. As short as the brokers of the tests let it be without a busy machine losing members.
pub(super) const SESSION_TIMEOUT: Duration = Duration::from_millis(2500);
/// How long a stream thread may be away, while its client's own threads answer for it.
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(4000);
/// As short, so that a pause outlasts it, too.
const TRANSACTION_TIMEOUT: Duration = Duration::from_millis(4000);
/// Several commits and a checkpoint fall into each second.
const COMMIT_INTERVAL: Duration = Duration::from_millis(150);
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(400);

/// What a write fails with on a full disk, and where files may not grow.
const NO_ROOM: [&str; 2] = ["No space left on device", "File too large"];

/// How an application says that it drops its state, for whatever reason.
const REBUILT: &str = "; it is rebuilt";

/// Everything instances of one application have in common.
#[derive(Debug, Clone)]
pub(super) struct Application {
    pub(super) program: Program,
    pub(super) id: String,
    pub(super) guarantee: Guarantee,
    pub(super) bootstrap_servers: String,
    /// Where what the instances said is kept, if it is.
    pub(super) logs: Option<PathBuf>,
    /// Whether no fault is to cost an instance its place in the group while it lives. Then a busy machine must not either: it would make a
    /// second writer.
    pub(super) has_one_writer: bool,
}

impl Application {
    fn session_timeout(&self) -> Duration {
        if self.has_one_writer { 2 * SESSION_TIMEOUT } else { SESSION_TIMEOUT }
    }

    fn max_poll_interval(&self) -> Duration {
        if self.has_one_writer { 5 * MAX_POLL_INTERVAL } else { MAX_POLL_INTERVAL }
    }
}

/// An instance, whether it runs or not.
#[derive(Debug)]
pub(super) struct Worker {
    name: String,
    state_dir: PathBuf,
    synced: SyncedBytes,
    log: Option<PathBuf>,
    process: Option<RunningProgram>,
    /// Whether its end would be part of a fault.
    may_end: bool,
    /// Whether a write of it may have failed for want of room. Where a busy thread has yet to hear of that, it ends by it later.
    has_met_full_disk: bool,
    has_rebuilt: bool,
    restores: Restores,
    has_died: bool,
}

impl Worker {
    pub(super) fn new(name: &str, disk: &Path, synced: SyncedBytes, logs: Option<&Path>) -> Self {
        Self {
            name: name.to_owned(),
            state_dir: disk.join(name),
            synced,
            log: logs.map(|folder| folder.join(format!("{name}.log"))),
            process: None,
            may_end: false,
            has_met_full_disk: false,
            has_rebuilt: false,
            restores: Restores::default(),
            has_died: false,
        }
    }

    pub(super) fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    pub(super) fn start(&mut self, application: &Application) -> Result<()> {
        let millis = |duration: Duration| duration.as_millis().to_string();
        let mut command = workspace_binary("fault-worker")?;
        self.synced.watch(&mut command);
        command
            .env("MILLSTREAM_BOOTSTRAP_SERVERS", &application.bootstrap_servers)
            .env("MILLSTREAM_STATE_DIR", &self.state_dir)
            .env("MILLSTREAM_PROCESSING_GUARANTEE", application.guarantee.setting())
            .env("MILLSTREAM_COMMIT_INTERVAL_MS", millis(COMMIT_INTERVAL))
            .env("MILLSTREAM_CHECKPOINT_INTERVAL_MS", millis(CHECKPOINT_INTERVAL))
            .env("MILLSTREAM_TRANSACTION_TIMEOUT_MS", millis(TRANSACTION_TIMEOUT))
            .env("MILLSTREAM_KAFKA_CONSUMER_MAX_POLL_INTERVAL_MS", millis(application.max_poll_interval()))
            // Of the restore consumer too, which else would have a session longer than its poll interval, and be refused.
            .env("MILLSTREAM_KAFKA_CONSUMER_SESSION_TIMEOUT_MS", millis(application.session_timeout()))
            .env("MILLSTREAM_KAFKA_RECONNECT_BACKOFF_MAX_MS", "500")
            // Its last words are to be what went wrong, not where.
            .env("RUST_LIB_BACKTRACE", "0")
            .args(["--application-id", &application.id])
            .args(["--session-timeout-ms", &millis(application.session_timeout())])
            .arg(clap::ValueEnum::to_possible_value(&application.program).context("a program")?.get_name());
        // A process that is still known was not stopped.
        self.has_died |= self.process.is_some();
        self.forget_process();
        self.process = Some(RunningProgram::start(&self.name, command)?);
        self.may_end = false;
        self.has_met_full_disk = false;
        Ok(())
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.has_died |= self.process.is_some();
        let killed = self.process.as_mut().map_or(Ok(()), RunningProgram::kill);
        self.forget_process();
        killed
    }

    /// After it was killed: of its state only what was synced is left.
    pub(super) fn lose_what_is_not_synced(&self) -> Result<()> {
        let gone = self.synced.cut_back(&self.state_dir)?;
        tracing::info!(instance = self.name, bytes = gone, "lost what was not synced");
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    pub(super) fn stop(&mut self, deadline: Duration) -> Result<()> {
        let Some(process) = &mut self.process else { return Ok(()) };
        process.interrupt()?;
        let status = process.wait(deadline)?;
        ensure!(status.success(), "{} ended with {status}\n{}", self.name, self.last_words());
        self.forget_process();
        Ok(())
    }

    pub(super) fn pause(&mut self) -> Result<()> {
        self.running()?.pause()
    }

    pub(super) fn resume(&mut self) -> Result<()> {
        self.running()?.resume()
    }

    pub(super) fn order(&mut self, order: Order) -> Result<()> {
        self.running()?.send_line(&order.to_string())
    }

    /// From now on its end is part of a fault.
    pub(super) fn expect_end(&mut self) {
        self.may_end = true;
    }

    /// From now on its end is part of a fault if it says that there is no room for its state.
    pub(super) fn meet_full_disk(&mut self) {
        self.expect_end();
        self.has_met_full_disk = true;
    }

    /// From now on its end is a failure again.
    pub(super) fn expect_no_end(&mut self) {
        self.may_end = false;
    }

    pub(super) fn is_running(&mut self) -> Result<bool> {
        match &mut self.process {
            Some(process) => process.is_running(),
            None => Ok(false),
        }
    }

    /// What it said last, if it ended although nothing was done to end it.
    pub(super) fn unexpected_end(&mut self) -> Result<Option<String>> {
        let has_ended = match &mut self.process {
            Some(process) if !self.may_end => !process.is_running()?,
            _ => false,
        };
        let is_of_full_disk = || self.has_met_full_disk && self.has_said_that_there_is_no_room();
        Ok((has_ended && !is_of_full_disk()).then(|| self.last_words()))
    }

    /// Whether it ended by a failed write, and named the directory.
    fn has_said_that_there_is_no_room(&self) -> bool {
        let place = self.state_dir.display().to_string();
        let lines = self.process.as_ref().map(RunningProgram::error_lines).unwrap_or_default();
        lines.iter().any(|line| line.contains(&place) && NO_ROOM.iter().any(|reason| line.contains(reason)))
    }

    /// Whether it has said this on its standard error.
    pub(super) fn has_said(&self, text: &str) -> bool {
        let lines = self.process.as_ref().map(RunningProgram::error_lines).unwrap_or_default();
        lines.iter().any(|line| line.contains(text))
    }

    /// Whether it ever dropped state that was there and rebuilt it from the start of a changelog, which none of the faults is a
    /// reason for.
    pub(super) fn has_rebuilt(&self) -> bool {
        self.has_rebuilt || self.has_said(REBUILT)
    }

    /// Where it restored more than its directory should have left it to, over all lives that have ended.
    pub(super) fn setbacks(&self) -> &[String] {
        self.restores.setbacks()
    }

    /// Whether any of its processes ended otherwise than it was asked to.
    pub(super) fn has_died(&self) -> bool {
        self.has_died
    }

    /// The newest of what it said.
    pub(super) fn last_words(&self) -> String {
        const LINES: usize = 15;
        let lines = self.process.as_ref().map(RunningProgram::error_lines).unwrap_or_default();
        format!("{}:\n{}", self.name, lines[lines.len().saturating_sub(LINES)..].join("\n"))
    }

    fn forget_process(&mut self) {
        self.has_rebuilt = self.has_rebuilt();
        let Some(process) = self.process.take() else { return };
        let lines = process.error_lines();
        self.restores.hear(&lines);
        if let Some(path) = &self.log
            && let Err(error) = append(path, &lines)
        {
            tracing::warn!(%error, path = %path.display(), "cannot keep what an instance said");
        }
    }

    fn running(&mut self) -> Result<&mut RunningProgram> {
        self.process.as_mut().with_context(|| format!("{} does not run", self.name))
    }
}

/// An instance that goes with its batch, as after a failure, still leaves what it said.
impl Drop for Worker {
    fn drop(&mut self) {
        self.forget_process();
    }
}

fn append(path: &Path, lines: &[String]) -> std::io::Result<()> {
    let mut file = File::options().create(true).append(true).open(path)?;
    lines.iter().try_for_each(|line| writeln!(file, "{line}"))
}
