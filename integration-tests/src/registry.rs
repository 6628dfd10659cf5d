//! A schema registry for the tests, which nobody here wrote.
//!
//! Where it comes from, in this order: the one named in `MILLSTREAM_SCHEMA_REGISTRY_URL`; Apicurio Registry as a container, where a Docker engine
//! answers; franz-go's registry in memory, where Go is. Without any of them the tests fail.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, GenericImage};

use crate::process::{RunningProgram, Watchdog};

/// The environment variable that names a running registry for the tests.
pub const SCHEMA_REGISTRY_URL_VARIABLE: &str = "MILLSTREAM_SCHEMA_REGISTRY_URL";

const IMAGE: &str = "apicurio/apicurio-registry-mem";
const TAG: &str = "2.6.8.Final";
const PORT: u16 = 8080;
const DEADLINE_OF_A_START: Duration = Duration::from_secs(120);

/// A running schema registry. What it started, it ends.
#[derive(Debug)]
pub struct RealSchemaRegistry {
    url: String,
    _running: Running,
}

/// What keeps it running. It is only dropped.
#[derive(Debug)]
#[expect(dead_code, reason = "held for as long as the registry is to run")]
enum Running {
    /// Someone else's.
    Named,
    Container(Box<Container<GenericImage>>, Watchdog),
    Program(RunningProgram),
}

impl RealSchemaRegistry {
    /// The one registry of this test binary, started by the first call. Tests share it, so they take their subjects from
    /// [`unique_name`](crate::kafka::unique_name).
    ///
    /// # Errors
    /// If no registry can be had; the error says what to install.
    pub fn shared() -> Result<&'static RealSchemaRegistry> {
        static SHARED: OnceLock<Result<RealSchemaRegistry, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Self::named_or_started().map_err(|error| format!("{error:#}")));
        shared.as_ref().map_err(|error| anyhow!("{error}"))
    }

    fn named_or_started() -> Result<Self> {
        if let Some(url) = std::env::var(SCHEMA_REGISTRY_URL_VARIABLE).ok().filter(|url| !url.is_empty()) {
            return Ok(Self { url, _running: Running::Named });
        }
        Self::in_container().or_else(|no_docker| {
            tracing::debug!("no container for the tests: {no_docker:#}");
            Self::program(None).with_context(|| {
                format!(
                    "the tests need a schema registry, and found none. Do one of these: name one in \
                     {SCHEMA_REGISTRY_URL_VARIABLE}; start Docker (now: {no_docker:#}); install Go (Debian, Ubuntu: apt-get install \
                     golang-go; Homebrew: brew install go)"
                )
            })
        })
    }

    fn in_container() -> Result<Self> {
        let image = GenericImage::new(IMAGE, TAG)
            .with_exposed_port(PORT.tcp())
            .with_wait_for(WaitFor::message_on_stdout("Listening on"));
        let container = image.start().context("no Docker engine runs a container of a schema registry")?;
        let watchdog = Watchdog::start(r#"docker rm --force --volumes "$1""#, [container.id().as_ref()])?;
        let port = container.get_host_port_ipv4(PORT.tcp()).context("the container has no port")?;
        let url = format!("http://127.0.0.1:{port}/apis/ccompat/v7");
        Ok(Self { url, _running: Running::Container(Box::new(container), watchdog) })
    }

    /// franz-go's registry, which asks for this header `Authorization` if one is given.
    ///
    /// # Errors
    /// If there is no Go, or it cannot build the program.
    pub fn program(authorization: Option<&str>) -> Result<Self> {
        let binary = built_program()?;
        let mut command = Command::new(binary);
        command.args(authorization);
        let mut program = RunningProgram::start("the schema registry", command)?;
        let url = program.await_line(DEADLINE_OF_A_START, "its address", |line| {
            line.starts_with("http://").then(|| line.to_owned())
        })?;
        Ok(Self { url, _running: Running::Program(program) })
    }

    /// Where it answers.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// The program in `integration-tests/registry`, built once, beside the other binaries.
fn built_program() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build_program().map_err(|error| format!("{error:#}")));
    built.clone().map_err(|error| anyhow!("{error}"))
}

fn build_program() -> Result<PathBuf> {
    let binary = crate::cargo_profile_folder()?.join("schema-registry-of-the-tests");
    let build = Command::new("go")
        .args(["build", "-o"])
        .arg(&binary)
        .arg(".")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("registry"))
        .output()
        .context("cannot run go")?;
    let errors = String::from_utf8_lossy(&build.stderr);
    ensure!(build.status.success(), "go could not build the registry of the tests:\n{errors}");
    Ok(binary)
}
