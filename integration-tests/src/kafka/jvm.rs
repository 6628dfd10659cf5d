//! Apache Kafka as a child process on the JDK, its data and log in a temporary folder.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use tempfile::TempDir;

use super::end_of;
use super::settings::{Heap, Properties};
use crate::java::JavaPrograms;
use crate::process::GuardedProcess;

/// Fields are dropped in this order: the process ends before its folder goes.
#[derive(Debug)]
pub(super) struct JvmBroker {
    process: GuardedProcess,
    programs: JavaPrograms,
    heap: Heap,
    folder: TempDir,
}

impl JvmBroker {
    pub(super) fn start(settings: &Properties, heap: Heap) -> Result<Self> {
        let programs = JavaPrograms::of_the_harness()?;
        let folder = tempfile::Builder::new().prefix("kafka-of-a-test-").tempdir()?;
        let mut properties = format!("log.dirs={}\n", folder.path().join("data").display());
        for (name, value) in settings {
            writeln!(properties, "{name}={value}")?;
        }
        fs::write(folder.path().join("server.properties"), properties)?;
        let process = launch(&programs, heap, folder.path())?;
        Ok(Self { process, programs, heap, folder })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn is_running(&mut self) -> Result<bool> {
        self.process.is_running()
    }

    pub(super) fn stop(&mut self, deadline: Duration) -> Result<()> {
        self.process.signal(Signal::TERM).context("cannot stop Kafka")?;
        let stopped = self.process.wait(deadline);
        stopped.map(drop).with_context(|| self.end_of_log())
    }

    pub(super) fn kill(&mut self) -> Result<()> {
        self.process.kill().context("cannot kill Kafka")
    }

    /// Stops it in its tracks (`SIGSTOP`): its connections stay open and nobody answers.
    pub(super) fn freeze(&mut self) -> Result<()> {
        self.process.signal(Signal::STOP).context("cannot freeze Kafka")
    }

    pub(super) fn thaw(&mut self) -> Result<()> {
        self.process.signal(Signal::CONT).context("cannot thaw Kafka")
    }

    pub(super) fn start_again(&mut self) -> Result<()> {
        self.process = launch(&self.programs, self.heap, self.folder.path())?;
        Ok(())
    }

    pub(super) fn end_of_log(&self) -> String {
        match fs::read(log_file(self.folder.path())) {
            Ok(log) => end_of(&String::from_utf8_lossy(&log)),
            Err(error) => format!("Kafka's log cannot be read: {error}"),
        }
    }
}

fn launch(programs: &JavaPrograms, heap: Heap, folder: &Path) -> Result<GuardedProcess> {
    let log = File::options().create(true).append(true).open(log_file(folder))?;
    let options = [heap.jvm_options(), &["-Dorg.slf4j.simpleLogger.defaultLogLevel=info"]].concat();
    let mut command = programs.command("Broker", &options);
    command.arg(folder.join("server.properties")).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    GuardedProcess::start(command, Some(folder))
}

fn log_file(folder: &Path) -> std::path::PathBuf {
    folder.join("broker.log")
}
