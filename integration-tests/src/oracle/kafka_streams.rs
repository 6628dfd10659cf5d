//! Kafka Streams in a JVM of its own, which is given case after case.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::case::Case;
use super::observation::Observation;
use crate::java::{JavaPrograms, JavaSource};
use crate::process::RunningProgram;

const SOURCES: [JavaSource; 6] = [
    ("Driver.java", include_str!("../../oracle/Driver.java")),
    ("Functions.java", include_str!("../../oracle/Functions.java")),
    ("Oracle.java", include_str!("../../oracle/Oracle.java")),
    ("Processors.java", include_str!("../../oracle/Processors.java")),
    ("Programs.java", include_str!("../../oracle/Programs.java")),
    ("PromptJoins.java", include_str!("../../oracle/PromptJoins.java")),
];

/// Little memory, no time spent on optimising a program that ends soon, and no words about the records that cases make it drop.
const JVM_OPTIONS: [&str; 3] =
    ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=off"];

/// For a JVM on a busy machine to start and answer.
const DEADLINE: Duration = Duration::from_secs(120);

/// Kafka Streams' `TopologyTestDriver`, until the handle is dropped.
#[derive(Debug)]
pub struct KafkaStreams {
    program: RunningProgram,
    _state: tempfile::TempDir,
}

impl KafkaStreams {
    /// Starts the JVM.
    ///
    /// # Errors
    /// If there is no JDK or Maven, or no way to the Maven repository.
    pub fn start() -> Result<Self> {
        let state = tempfile::Builder::new().prefix("kafka-streams-as-oracle-").tempdir()?;
        let mut command = JavaPrograms::compile(&SOURCES)?.command("Oracle", &JVM_OPTIONS);
        command.arg(state.path());
        let program = RunningProgram::start("Kafka Streams as the oracle", command)?;
        Ok(KafkaStreams { program, _state: state })
    }

    /// What Kafka Streams makes of the case.
    ///
    /// # Errors
    /// If `Programs.java` does not know the statements of the program, or makes a mistake of its own; or if the JVM ended.
    pub fn observe(&mut self, case: &Case) -> Result<Observation> {
        self.program.send_line(&serde_json::to_string(case)?)?;
        let line = self.program.await_line(DEADLINE, "an answer", |line| Some(line.to_owned()))?;
        match serde_json::from_str(&line).with_context(|| format!("no answer: {line}"))? {
            Answer::Observed(observation) => Ok(observation),
            Answer::Mistaken { mistake } => bail!("{}: {mistake}", case.name),
        }
    }
}

/// What the JVM says of a case.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Observed(Observation),
    /// It was not Kafka Streams that failed.
    Mistaken {
        mistake: String,
    },
}
