//! Kafka Streams as the oracle: what the Java programs in `integration-tests/kafka/src` answer, as Rust values.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::java::JavaPrograms;
use crate::process::RunningProgram;

/// Little memory, and no time spent on optimising a program that ends soon.
const JVM_OPTIONS: [&str; 3] =
    ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"];

/// For a JVM on a busy machine to start and answer.
const DEADLINE: Duration = Duration::from_secs(120);

/// The partition out of `partitions` to which Java's default partitioner sends each key, in the keys' order.
///
/// # Errors
/// If the JVM cannot be run.
pub fn java_partitions(keys: &[impl AsRef<[u8]>], partitions: u32) -> Result<Vec<i32>> {
    #[derive(Deserialize)]
    struct Answer {
        partition: i32,
    }
    let mut program = start(&["partition", &partitions.to_string()])?;
    let questions = keys.iter().map(|key| to_hex(key.as_ref()));
    questions.map(|key| ask(&mut program, &key).map(|answer: Answer| answer.partition)).collect()
}

/// What Kafka Streams prints for a reference topology, as `Topology#describe` does. The names and the programs behind
/// them are those of `Topologies.java`.
///
/// # Errors
/// If there is no topology of that name, or the JVM cannot be run.
pub fn java_topology(name: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Answer {
        text: String,
    }
    let mut program = start(&["topology", name])?;
    next_answer(&mut program).map(|answer: Answer| answer.text)
}

/// A value of the repartition topic behind `KTable.groupBy`: what a key's value was, and what it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableChange {
    /// The value to subtract, if there was one.
    pub old: Option<String>,
    /// The value to add, if there is one.
    pub new: Option<String>,
    /// Whether `new` is the newest value of its key: false for records out of order.
    pub latest: bool,
}

/// The bytes Kafka Streams' own serializer makes of each change.
///
/// # Errors
/// If the serializer refuses one, or the JVM cannot be run.
pub fn java_serialize_changes(changes: &[TableChange]) -> Result<Vec<Vec<u8>>> {
    #[derive(Deserialize)]
    struct Answer {
        hex: String,
    }
    let mut program = start(&["changes"])?;
    let ask = |change| {
        let answer: Answer = ask(&mut program, &serde_json::to_string(change)?)?;
        from_hex(&answer.hex)
    };
    changes.iter().map(ask).collect()
}

/// What Kafka Streams' own deserializer makes of each value.
///
/// # Errors
/// If the deserializer refuses one, or the JVM cannot be run.
pub fn java_deserialize_changes(values: &[impl AsRef<[u8]>]) -> Result<Vec<TableChange>> {
    let mut program = start(&["changes"])?;
    let questions = values.iter().map(|value| serde_json::json!({ "hex": to_hex(value.as_ref()) }));
    questions.map(|question| ask(&mut program, &question.to_string())).collect()
}

/// Which of the applications in `CountApps.java` to run; both keep their counts in the store `counts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JavaCountApp {
    /// `stream(input).groupByKey().count("counts").toStream().to(output)`.
    ByKey,
    /// The same after `selectKey(value)`, through the repartition topic `<application id>-by-value-repartition`.
    ByValue,
}

/// A Kafka Streams application that runs in a JVM of its own until this handle is dropped.
#[derive(Debug)]
pub struct RunningJavaApp {
    program: RunningProgram,
    _state: tempfile::TempDir,
}

impl RunningJavaApp {
    /// Starts the application under `application_id`, in an empty state directory: what it knows, it restores from its
    /// changelog topic, whoever wrote that. Both topics must exist.
    ///
    /// # Errors
    /// If the JVM cannot be run.
    pub fn start(
        app: JavaCountApp,
        application_id: &str,
        bootstrap_servers: &str,
        input: &str,
        output: &str,
    ) -> Result<Self> {
        let state = tempfile::Builder::new().prefix("kafka-streams-of-a-test-").tempdir()?;
        let subcommand = match app {
            JavaCountApp::ByKey => "count-app",
            JavaCountApp::ByValue => "repartition-app",
        };
        let program = start(&[
            subcommand,
            input,
            output,
            &format!("application.id={application_id}"),
            &format!("bootstrap.servers={bootstrap_servers}"),
            &format!("state.dir={}", state.path().display()),
        ])?;
        Ok(Self { program, _state: state })
    }

    /// Waits until the application has restored its state and runs.
    ///
    /// # Errors
    /// If it does not within a minute; the error shows what it printed.
    pub fn await_running(&mut self) -> Result<()> {
        self.program.await_line(DEADLINE, r#"the line {"state":"RUNNING"}"#, |line| {
            (line == r#"{"state":"RUNNING"}"#).then_some(())
        })
    }

    /// The count of `key` in the store, `None` if the store has no such key. The key is one line of text.
    ///
    /// # Errors
    /// If the application has failed; the error shows what it printed.
    pub fn count_of(&mut self, key: &str) -> Result<Option<i64>> {
        #[derive(Deserialize)]
        struct Answer {
            count: Option<i64>,
        }
        ask(&mut self.program, &format!("get {key}")).map(|answer: Answer| answer.count)
    }

    /// Closes the application as its operator would, and waits until it has ended.
    ///
    /// # Errors
    /// If it does not end, or not well.
    pub fn close(mut self) -> Result<()> {
        self.program.close_stdin();
        let status = self.program.wait(DEADLINE)?;
        anyhow::ensure!(status.success(), "the Kafka Streams application ended with {status}");
        Ok(())
    }
}

fn start(arguments: &[&str]) -> Result<RunningProgram> {
    let mut command = JavaPrograms::of_the_harness()?.command("Interop", &JVM_OPTIONS);
    command.args(arguments);
    RunningProgram::start(&format!("Kafka Streams ({})", arguments.join(" ")), command)
}

fn ask<T: for<'a> Deserialize<'a>>(program: &mut RunningProgram, question: &str) -> Result<T> {
    program.send_line(question)?;
    next_answer(program)
}

/// The next line that has the answer's shape; lines of another shape, such as a change of state, are passed over.
fn next_answer<T: for<'a> Deserialize<'a>>(program: &mut RunningProgram) -> Result<T> {
    program.await_line(DEADLINE, "an answer", |line| serde_json::from_str(line).ok())
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    let digits: Vec<char> = text.chars().collect();
    digits
        .chunks(2)
        .map(|pair| {
            u8::from_str_radix(&String::from_iter(pair), 16).with_context(|| format!("not hex: {text}"))
        })
        .collect()
}
