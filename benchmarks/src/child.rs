//! One side of one run, in a process of its own, and what the operating system says about that process.
//!
//! All sides take the same flags and print the same lines: `restoring` when the first restore begins, `restored N` when none is
//! open any more, and before it `restored-from-zero N` if stores were restored of which nothing was there; `running` when
//! records are processed; asked with an empty line on stdin, `queries {..}` with the times of the queries, ours `commits {..}`
//! with those of the commits, and `assigned [..]` with the partitions. They close, and leave the group, when stdin ends. The
//! JVM takes one run after the other, so that it is warm from the second on: the flags come as a line, and the line `end` ends the run.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use millstream_integration_tests::java::JavaPrograms;
use millstream_integration_tests::process::RunningProgram;
use serde::{Deserialize, Serialize};

use crate::clock::clock;
use crate::rows::Workload;
use crate::sides::Side;

/// For a process to start, join its group, restore and end.
const DEADLINE: Duration = Duration::from_secs(180);

/// What one run does. Kafka Streams' side reads the same flags, in `java/Bench.java`.
#[derive(Args, Clone, Debug)]
pub(crate) struct OneRun {
    #[arg(long)]
    pub(crate) side: Side,
    #[arg(long)]
    pub(crate) workload: Workload,
    #[arg(long)]
    pub(crate) bootstrap_servers: String,
    /// Application id, group, prefix of the internal topics.
    #[arg(long)]
    pub(crate) id: String,
    #[arg(long)]
    pub(crate) input: String,
    #[arg(long)]
    pub(crate) partitions: i32,
    /// The topic that the input is joined with.
    #[arg(long)]
    pub(crate) other_input: Option<String>,
    #[arg(long)]
    pub(crate) output: String,
    #[arg(long)]
    pub(crate) state_dir: PathBuf,
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// Emits the newest update of each key at commit, instead of every update.
    #[arg(long)]
    pub(crate) emission_cache: bool,
    /// Threads that query the store.
    #[arg(long, default_value_t = 0)]
    pub(crate) query_threads: usize,
    /// These threads wake up as often, but do not query.
    #[arg(long)]
    pub(crate) idle_query_threads: bool,
    /// Keys `0..keys` are queried.
    #[arg(long, default_value_t = 1)]
    pub(crate) keys: u64,
    /// Settings, `name=value`.
    #[arg(long = "property")]
    pub(crate) properties: Vec<String>,
}

impl OneRun {
    fn arguments(&self) -> Vec<String> {
        let path = self.state_dir.display().to_string();
        let mut arguments = Vec::new();
        let mut flag = |name: &str, value: &str| arguments.extend([format!("--{name}"), value.to_owned()]);
        flag("workload", self.workload.name());
        flag("bootstrap-servers", &self.bootstrap_servers);
        flag("id", &self.id);
        flag("input", &self.input);
        flag("partitions", &self.partitions.to_string());
        flag("output", &self.output);
        flag("state-dir", &path);
        flag("threads", &self.threads.to_string());
        flag("query-threads", &self.query_threads.to_string());
        flag("keys", &self.keys.to_string());
        if let Some(other) = &self.other_input {
            flag("other-input", other);
        }
        for property in &self.properties {
            flag("property", property);
        }
        arguments
    }
}

/// A side at work.
#[derive(Debug)]
pub(crate) struct Child {
    program: RunningProgram,
}

/// What a process has used up to a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// On a clock that never goes back.
    pub(crate) at: Duration,
    /// User and system time of all threads.
    pub(crate) cpu: Duration,
}

/// The times of the queries of a run.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct QueryTimes {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// The commits of a run of ours.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct CommitTimes {
    pub(crate) commits: f64,
    pub(crate) longest_ms: f64,
    pub(crate) longest_in_stores_ms: f64,
    pub(crate) longest_for_kafka_ms: f64,
}

impl Child {
    /// Starts ours or the limit on its run.
    pub(crate) fn start(run: &OneRun) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["one", "--side", run.side.name()]);
        if run.emission_cache {
            command.arg("--emission-cache");
        }
        if run.idle_query_threads {
            command.arg("--idle-query-threads");
        }
        command.args(run.arguments());
        Ok(Child { program: RunningProgram::start(run.side.name(), command)? })
    }

    /// Starts a JVM that waits for runs. Without a heap it takes what it takes.
    pub(crate) fn start_jvm(java: &JavaPrograms, heap: Option<&str>) -> Result<Self> {
        let heap = heap.map(|heap| [format!("-Xms{heap}"), format!("-Xmx{heap}")]);
        let mut options = vec!["-XX:+UseG1GC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"];
        options.extend(heap.iter().flatten().map(String::as_str));
        Ok(Child { program: RunningProgram::start(Side::Peer.name(), java.command("Bench", &options))? })
    }

    /// Begins a run in a JVM that has none.
    pub(crate) fn begun(mut self, run: &OneRun) -> Result<Self> {
        self.program.send_line(&run.arguments().join("\t"))?;
        Ok(self)
    }

    /// Ends the run of a JVM as its operator would, so that it leaves the group.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.program.send_line("end")?;
        self.await_line("ended").map(drop)
    }

    /// Waits for a line that begins with `word`, and returns what follows.
    pub(crate) fn await_line(&mut self, word: &str) -> Result<String> {
        self.program.await_line(DEADLINE, word, |line| {
            line.strip_prefix(word).map(|rest| rest.trim_start().to_owned())
        })
    }

    /// The lines it has printed so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.program.lines()
    }

    pub(crate) fn query_times(&mut self) -> Result<QueryTimes> {
        self.program.send_line("")?;
        Ok(serde_json::from_str(&self.await_line("queries")?)?)
    }

    pub(crate) fn commit_times(&mut self) -> Result<CommitTimes> {
        self.program.send_line("")?;
        Ok(serde_json::from_str(&self.await_line("commits")?)?)
    }

    /// The partitions of its input that it owns now.
    pub(crate) fn assigned(&mut self) -> Result<Vec<i32>> {
        self.program.send_line("")?;
        Ok(serde_json::from_str(&self.await_line("assigned")?)?)
    }

    /// # Errors
    /// If it has ended, or this is not Linux.
    pub(crate) fn usage(&self) -> Result<Usage> {
        const TICKS_PER_SECOND: u64 = 100;
        let stat = self.proc("stat")?;
        // The process name, in parentheses, may contain spaces; user and system time are fields 14 and 15.
        let after_name = stat.rsplit_once(") ").context("/proc/PID/stat has no process name")?.1;
        ensure!(!after_name.starts_with('Z'), "the process has ended\n{}", self.end_of_errors());
        let mut fields = after_name.split(' ').skip(11).map(str::parse::<u64>);
        let mut next = || fields.next().context("/proc/PID/stat is too short");
        let ticks = next()?? + next()??;
        let at = clock().monotonic();
        Ok(Usage { at, cpu: Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND) })
    }

    /// The largest resident size so far, in megabytes.
    pub(crate) fn peak_resident_megabytes(&self) -> Result<f64> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes: f64 =
            line.context("/proc/PID/status has no VmHWM")?.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes / 1024.0)
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.program.id());
        fs::read_to_string(&path).with_context(|| {
            format!(
                "{path} cannot be read: the process has ended, or this is not Linux\n{}",
                self.end_of_errors()
            )
        })
    }

    fn end_of_errors(&self) -> String {
        let errors = self.program.error_lines();
        errors[errors.len().saturating_sub(10)..].join("\n")
    }

    /// Kills it (`kill -9`), and waits until it is gone.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.program.kill()
    }

    /// Ends it as its operator would, so that it leaves the group.
    pub(crate) fn close(mut self) -> Result<()> {
        self.program.close_stdin();
        let status = self.program.wait(DEADLINE)?;
        ensure!(status.success(), "it ended with {status}:\n{}", self.program.error_lines().join("\n"));
        Ok(())
    }
}
