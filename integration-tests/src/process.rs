//! Other programs as children of the test: their lines are captured, they can be sent signals, and they end with their
//! handle. They also end when the test process dies without running any destructor (`kill -9`, a static, a timeout).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::await_until;

/// How many of the newest lines an error shows.
const LINES_IN_AN_ERROR: usize = 30;

/// How long what a program wrote last is waited for once it has ended.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// A program that runs beside the test, with its output captured. It is killed when this handle is dropped.
#[derive(Debug)]
pub struct RunningProgram {
    name: String,
    process: GuardedProcess,
    stdin: Option<ChildStdin>,
    output: Arc<Output>,
    lines_read: usize,
}

impl RunningProgram {
    /// Starts `command` with its stdin, stdout and stderr connected to this handle; `name` stands for it in errors.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start(name: &str, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process =
            GuardedProcess::start(command, None).with_context(|| format!("cannot start {name}"))?;
        let output = Arc::new(Output::default());
        if let Some(stdout) = process.child.stdout.take() {
            capture(stdout, Arc::clone(&output), |captured| &mut captured.stdout);
        }
        if let Some(stderr) = process.child.stderr.take() {
            capture(stderr, Arc::clone(&output), |captured| &mut captured.stderr);
        }
        let stdin = process.child.stdin.take();
        Ok(Self { name: name.to_owned(), process, stdin, output, lines_read: 0 })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.child.id()
    }

    /// The lines of stdout so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.output.lock().stdout.clone()
    }

    /// The lines of stderr so far.
    #[must_use]
    pub fn error_lines(&self) -> Vec<String> {
        self.output.lock().stderr.clone()
    }

    /// Reads on in stdout, for at most `deadline`, until `wanted` recognises a line, and returns what it made of it.
    /// Lines up to that one count as read; `what` completes the sentence "waited 10s for ...".
    ///
    /// # Errors
    /// If the deadline passes, or the program's stdout ends before; the error shows the newest lines of both streams.
    pub fn await_line<T>(
        &mut self,
        deadline: Duration,
        what: &str,
        mut wanted: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        let started = Instant::now();
        let output = Arc::clone(&self.output);
        let mut captured = output.lock();
        loop {
            while let Some(line) = captured.stdout.get(self.lines_read) {
                self.lines_read += 1;
                if let Some(found) = wanted(line) {
                    return Ok(found);
                }
            }
            let left = deadline.saturating_sub(started.elapsed());
            let ended = captured.streams_ended == 2;
            if ended || left.is_zero() {
                let why =
                    if ended { "ended before".to_owned() } else { format!("gave none in {deadline:?}:") };
                anyhow::bail!("{} {why} {what}\n{}", self.name, captured.newest_lines());
            }
            captured = output.changed.wait_timeout(captured, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Writes `line` and a newline to the program's stdin.
    ///
    /// # Errors
    /// If the program has ended or its stdin was closed.
    pub fn send_line(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().with_context(|| format!("the stdin of {} is closed", self.name))?;
        writeln!(stdin, "{line}")
            .and_then(|()| stdin.flush())
            .with_context(|| format!("{} takes no more input", self.name))
    }

    /// Ends the program's stdin.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends `SIGINT`, as Ctrl-C does.
    ///
    /// # Errors
    /// If the program has ended.
    pub fn interrupt(&mut self) -> Result<()> {
        self.process.signal(Signal::INT).with_context(|| format!("cannot interrupt {}", self.name))
    }

    /// Sends `SIGSTOP`: the program stands still, and is neither gone nor there.
    ///
    /// # Errors
    /// If the program has ended.
    pub fn pause(&mut self) -> Result<()> {
        self.process.signal(Signal::STOP).with_context(|| format!("cannot pause {}", self.name))
    }

    /// Sends `SIGCONT` to a paused program.
    ///
    /// # Errors
    /// If the program has ended.
    pub fn resume(&mut self) -> Result<()> {
        self.process.signal(Signal::CONT).with_context(|| format!("cannot resume {}", self.name))
    }

    /// Whether it has not ended yet.
    ///
    /// # Errors
    /// If the operating system does not say.
    pub fn is_running(&mut self) -> Result<bool> {
        self.process.is_running()
    }

    /// Sends `SIGKILL` (`kill -9`) and waits until the program is gone. Ending one that has ended is no error.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill().with_context(|| format!("cannot kill {}", self.name))
    }

    /// Waits for at most `deadline` until the program ends by itself.
    ///
    /// # Errors
    /// If it still runs at the deadline; the error shows the newest lines of both streams.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let ended = self.process.wait(deadline);
        if ended.is_ok() {
            // What it wrote last may still be in its pipes. Who has inherited them keeps them open, so they are not waited for without end.
            let captured = self.output.lock();
            let is_open = |captured: &mut Captured| captured.streams_ended < 2;
            drop(self.output.changed.wait_timeout_while(captured, LAST_WORDS, is_open));
        }
        ended.with_context(|| format!("{} did not end\n{}", self.name, self.output.lock().newest_lines()))
    }
}

/// A command that runs the workspace's binary of this name, in the release profile. Cargo builds it first where it is
/// missing or older than its sources.
///
/// # Errors
/// If there is no such binary, or its build fails; the error carries cargo's messages.
pub fn workspace_binary(name: &str) -> Result<Command> {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = built.get(name) {
        return Ok(Command::new(path));
    }
    let profile_folder = crate::cargo_profile_folder()?;
    let target_folder = profile_folder.parent().context("the cargo target folder has no parent")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    // What cargo says of the package whose test this is would make it compile ring anew, and all that is above, now and after the tests.
    let is_of_test = |name: &OsStr| {
        let name = name.as_encoded_bytes();
        name.starts_with(b"CARGO_PKG_") || name.starts_with(b"CARGO_MANIFEST_")
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_test(name)) {
        build.env_remove(name);
    }
    // With the features of the whole workspace, as the tests are built: else cargo compiles RocksDB a second time.
    let build = build
        .args(["build", "--quiet", "--release", "--workspace", "--bin", name, "--target-dir"])
        .arg(target_folder)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .context("cannot run cargo, which must build the program under test; install Rust through rustup")?;
    ensure!(
        build.status.success(),
        "cargo could not build {name}:\n{}",
        String::from_utf8_lossy(&build.stderr)
    );
    let path = target_folder.join("release").join(name);
    ensure!(path.exists(), "cargo built {name}, but not as {}", path.display());
    built.insert(name.to_owned(), path.clone());
    Ok(Command::new(path))
}

/// A child which is killed when this handle is dropped, and by a [`Watchdog`] when this process dies first.
#[derive(Debug)]
pub(crate) struct GuardedProcess {
    child: Child,
    watchdog: Option<Watchdog>,
}

impl GuardedProcess {
    /// Starts `command`. Where this process dies first, `folder_of_child` is deleted with the child.
    pub(crate) fn start(mut command: Command, folder_of_child: Option<&Path>) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("cannot run {:?}", command.get_program()))?;
        let mut process = Self { child, watchdog: None };
        let pid = process.child.id().to_string();
        let folder = folder_of_child.unwrap_or(Path::new(""));
        // A second attempt, because the child may still write while its folder goes.
        let script = r#"kill -9 "$1"; test -z "$2" || rm -rf "$2" || { sleep 1; rm -rf "$2"; }"#;
        process.watchdog = Some(Watchdog::start(script, [pid.as_ref(), folder.as_os_str()])?);
        Ok(process)
    }

    pub(crate) fn is_running(&mut self) -> Result<bool> {
        Ok(self.reap()?.is_none())
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        ensure!(self.is_running()?, "the process has ended already");
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("not a process id")?;
        kill_process(pid, signal).context("the signal was refused")
    }

    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.watchdog = None;
        Ok(())
    }

    pub(crate) fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        await_until(deadline, "the process to end", || self.reap().transpose())?
    }

    /// The exit status, where the child has ended. The watchdog goes with it, as the process id may be given anew.
    fn reap(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        if status.is_some() {
            self.watchdog = None;
        }
        Ok(status)
    }
}

impl Drop for GuardedProcess {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            tracing::warn!(%error, pid = self.child.id(), "a process of the test could not be ended; end it by hand");
        }
    }
}

/// Runs a shell script when this process dies, in whatever way: a `sh` reads from a pipe which only this process holds
/// open, so the operating system wakes it. It works alike on Linux and macOS, and depends on no thread of this process.
#[derive(Debug)]
pub(crate) struct Watchdog(Child);

impl Watchdog {
    /// `script` sees `arguments` as `$1`, `$2` and so on.
    pub(crate) fn start<'a>(
        script: &str,
        arguments: impl IntoIterator<Item = &'a std::ffi::OsStr>,
    ) -> Result<Self> {
        // In a process group of its own and deaf to signals: Ctrl-C reaches this process and not the watchdog.
        let script = format!("trap '' HUP INT TERM; read -r line; {script}");
        Command::new("sh")
            .args(["-c", &script, "watchdog"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map(Self)
            .context("cannot run sh, which ends the processes of a test that is killed")
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let ended = self.0.kill().and_then(|()| self.0.wait());
        if let Err(error) = ended {
            tracing::warn!(%error, "the watchdog of a process of the test could not be ended");
        }
    }
}

/// What a program has written, shared with the threads that read it.
#[derive(Debug, Default)]
struct Output {
    captured: Mutex<Captured>,
    changed: Condvar,
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Captured> {
        self.captured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Captured {
    stdout: Vec<String>,
    stderr: Vec<String>,
    streams_ended: usize,
}

impl Captured {
    fn newest_lines(&self) -> String {
        let newest = |lines: &[String]| lines[lines.len().saturating_sub(LINES_IN_AN_ERROR)..].join("\n");
        format!(
            "--- stdout ends with:\n{}\n--- stderr ends with:\n{}",
            newest(&self.stdout),
            newest(&self.stderr)
        )
    }
}

fn capture(
    stream: impl Read + Send + 'static,
    output: Arc<Output>,
    lines_of: impl Fn(&mut Captured) -> &mut Vec<String> + Send + 'static,
) {
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            lines_of(&mut output.lock()).push(text);
            output.changed.notify_all();
            line.clear();
        }
        output.lock().streams_ended += 1;
        output.changed.notify_all();
    });
}
