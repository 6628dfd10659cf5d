//! What every row needs: the broker, the JVM if there is one, the input topics, and a bar that says how far it is.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use millstream_integration_tests::java::JavaPrograms;
use millstream_integration_tests::kafka::{RealKafka, unique_name};
use millstream_integration_tests::wait::await_until;
use tempfile::TempDir;

use crate::child::{Child, OneRun};
use crate::input::Input;
use crate::machine;
use crate::rows::Workload;
use crate::settings::Column;
use crate::sides::Side;
use crate::watch::Watch;

/// The event times of the inputs lie years back: retention would remove them while they are read.
pub(crate) const KEEP_ALL: [(&str, &str); 1] = [("retention.ms", "-1")];

/// A tenth is enough to see whether everything works.
const QUICK_DIVISOR: u64 = 10;

pub(crate) struct Bench {
    kafka: RealKafka,
    java: Option<JavaPrograms>,
    /// The JVM of the row and its column, between two runs.
    warm_jvm: RefCell<Option<(Column, Child)>>,
    inputs: HashMap<Input, String>,
    pairs: usize,
    is_quick: bool,
    bar: ProgressBar,
    /// What Kafka Streams passes on per second at most while it is sent to, once that was measured.
    peer_maximum: Option<f64>,
}

/// A process to be measured with what is its own: topics and state.
pub(crate) struct Scene<'bench> {
    bench: &'bench Bench,
    pub(crate) run: OneRun,
    state: TempDir,
}

impl Bench {
    pub(crate) fn start(pairs: usize, is_quick: bool, rows: usize) -> Result<Self> {
        let java = JavaPrograms::compile(&[
            ("Bench.java", include_str!("../java/Bench.java")),
            ("Bid.java", include_str!("../java/Bid.java")),
            ("Bids.java", include_str!("../java/Bids.java")),
            ("Nexmark.java", include_str!("../java/Nexmark.java")),
        ]);
        let java = java.map_err(|error| eprintln!("Kafka Streams is not compared: {error:#}")).ok();
        let kafka = RealKafka::for_measuring()?;
        let bar = ProgressBar::new(rows as u64);
        bar.set_style(ProgressStyle::with_template(
            "{bar:30} {pos}/{len} rows, {elapsed} gone: {prefix} {msg}",
        )?);
        bar.enable_steady_tick(Duration::from_millis(500));
        let inputs = HashMap::new();
        let warm_jvm = RefCell::new(None);
        Ok(Bench { kafka, java, warm_jvm, inputs, pairs, is_quick, bar, peer_maximum: None })
    }

    pub(crate) fn has_peer(&self) -> bool {
        self.java.is_some()
    }

    /// The sides there are, in the order in which they take turns.
    pub(crate) fn sides(&self, has_limit: bool) -> Vec<Side> {
        let peer = self.java.is_some().then_some(Side::Peer);
        let limit = has_limit.then_some(Side::Limit);
        [Some(Side::Ours), peer, limit].into_iter().flatten().collect()
    }

    pub(crate) fn is_quick(&self) -> bool {
        self.is_quick
    }

    pub(crate) fn pairs(&self) -> usize {
        self.pairs
    }

    pub(crate) fn bootstrap_servers(&self) -> &str {
        self.kafka.bootstrap_servers()
    }

    pub(crate) fn kafka(&self) -> &RealKafka {
        &self.kafka
    }

    pub(crate) fn begin_row(&self, name: &str) {
        self.bar.set_prefix(name.to_owned());
    }

    pub(crate) fn end_row(&self) {
        self.cool_down();
        self.bar.inc(1);
    }

    /// Ends the JVM, so that the next run of Kafka Streams begins cold.
    pub(crate) fn cool_down(&self) {
        self.warm_jvm.take();
    }

    fn jvm(&self, column: Column) -> Result<Child> {
        match self.warm_jvm.take() {
            Some((warm_for, jvm)) if warm_for == column => Ok(jvm),
            _ => self.cold_jvm(column),
        }
    }

    fn cold_jvm(&self, column: Column) -> Result<Child> {
        Child::start_jvm(self.java.as_ref().context("Kafka Streams needs a JVM")?, column.heap())
    }

    pub(crate) fn message(&self, message: String) {
        self.bar.set_message(message);
    }

    /// Prints a line above the bar.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| println!("{line}"));
    }

    pub(crate) fn remember_peer_maximum(&mut self, rate: f64) {
        self.peer_maximum = Some(rate);
    }

    pub(crate) fn peer_maximum(&self) -> Option<f64> {
        self.peer_maximum
    }

    /// A duration, or a tenth of it in a quick run.
    pub(crate) fn scaled(&self, duration: Duration) -> Duration {
        if self.is_quick { duration / 10 } else { duration }
    }

    /// An input as large as this run wants it.
    pub(crate) fn sized(&self, input: Input) -> Input {
        if self.is_quick { input.scaled_down(QUICK_DIVISOR) } else { input }
    }

    /// The topic that holds `input`; the first to ask fills it.
    pub(crate) fn topic(&mut self, input: Input) -> Result<String> {
        if let Some(topic) = self.inputs.get(&input) {
            return Ok(topic.clone());
        }
        self.message(format!("writing {} records", input.records));
        let topic = unique_name("bench-input");
        self.kafka.create_topic(&topic, usize::try_from(input.partitions)?, &KEEP_ALL)?;
        input.write_to(self.kafka.bootstrap_servers(), &topic)?;
        self.inputs.insert(input, topic.clone());
        Ok(topic)
    }

    /// An empty output topic, an empty state directory and a name of its own for one run.
    pub(crate) fn scene(
        &self,
        side: Side,
        workload: Workload,
        input: &str,
        partitions: i32,
    ) -> Result<Scene<'_>> {
        let id = unique_name("bench");
        let output = format!("{id}-output");
        self.kafka.create_topic(&output, usize::try_from(partitions)?, workload.output_config())?;
        let state = tempfile::Builder::new().prefix("millstream-bench-").tempdir()?;
        let run = OneRun {
            side,
            workload,
            bootstrap_servers: self.kafka.bootstrap_servers().to_owned(),
            id,
            input: input.to_owned(),
            partitions,
            other_input: None,
            output,
            state_dir: state.path().to_owned(),
            threads: 1,
            emission_cache: false,
            query_threads: 0,
            idle_query_threads: false,
            keys: 1,
            properties: Vec::new(),
        };
        Ok(Scene { bench: self, run, state })
    }

    /// Does `round` as often as there are pairs, and at most `most` times. A round in which the machine changed its speed is done
    /// again, unless half of all rounds were.
    pub(crate) fn rounds<T>(&self, most: usize, mut round: impl FnMut(usize) -> Result<T>) -> Result<Vec<T>> {
        let wanted = self.pairs.min(most);
        let mut results = Vec::new();
        let mut before = machine::look();
        for attempt in 1..=2 * wanted {
            let result = round(results.len())?;
            let after = machine::look();
            let is_steady = machine::is_steady(before, after);
            before = after;
            if is_steady || self.is_quick {
                results.push(result);
            } else {
                self.say(&format!(
                    "round {attempt} is dropped: the machine was not as fast after it as before"
                ));
            }
            if results.len() == wanted {
                break;
            }
        }
        ensure!(
            !results.is_empty(),
            "the machine never kept its speed for a round; measure when it is less busy"
        );
        Ok(results)
    }
}

impl Scene<'_> {
    pub(crate) fn is_quick(&self) -> bool {
        self.bench.is_quick
    }

    /// Starts the process with the settings of a column.
    pub(crate) fn start(&self, column: Column) -> Result<Child> {
        self.bench.message(format!("{}, {}", self.run.side.name(), column.name()));
        let run = self.run_with(column);
        match run.side {
            Side::Ours | Side::Limit => Child::start(&run),
            Side::Peer => self.bench.jvm(column)?.begun(&run),
        }
    }

    /// Starts one of several instances, in a process and with a state directory of its own. A JVM, too, is a new one.
    pub(crate) fn start_instance(&self, column: Column, number: usize) -> Result<Child> {
        let mut run = self.run_with(column);
        run.state_dir = self.state.path().join(number.to_string());
        std::fs::create_dir_all(&run.state_dir)?;
        match run.side {
            Side::Ours | Side::Limit => Child::start(&run),
            Side::Peer => self.bench.cold_jvm(column)?.begun(&run),
        }
    }

    fn run_with(&self, column: Column) -> OneRun {
        let mut run = self.run.clone();
        run.properties.splice(0..0, column.properties(run.side));
        run
    }

    /// Looks again and again until `look` finds that it is done.
    pub(crate) fn watch(&self, child: &Child, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
        const DEADLINE: Duration = Duration::from_secs(120);
        // A process that has ended has no usage to tell.
        let mut is_done = || child.usage().and_then(|_| look());
        let done = await_until(DEADLINE, format!("{} to be done", self.run.side.name()), || {
            is_done().map(|done| done.then_some(())).transpose()
        });
        done.with_context(|| format!("it printed {:?}", child.lines()))?
    }

    /// Ends the run and cleans up. A JVM stays for the next run with these settings.
    pub(crate) fn end(self, mut child: Child, column: Column) -> Result<()> {
        let ended = match self.run.side {
            Side::Ours | Side::Limit => child.close(),
            Side::Peer => child.end().map(|()| {
                self.bench.warm_jvm.replace(Some((column, child)));
            }),
        };
        ended.with_context(|| format!("{} did not end well", self.run.side.name()))?;
        self.clean_up()
    }

    /// The topics that were made for it.
    fn own_topics(&self) -> Result<Vec<String>> {
        let all = self.bench.kafka.topics()?;
        Ok(all.into_iter().filter(|topic| topic.starts_with(&self.run.id)).collect())
    }

    /// Whether the topics between the parts of its program are read to their ends.
    pub(crate) fn is_settled(&self, watch: &Watch) -> Result<bool> {
        let mut between = self.own_topics()?;
        between.retain(|topic| *topic != self.run.output && !topic.ends_with("-changelog"));
        let partitions = self.run.partitions;
        for topic in between {
            if watch.committed(&topic, partitions)? < watch.records(&topic, partitions)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes every topic that was made for it.
    pub(crate) fn clean_up(self) -> Result<()> {
        let own = self.own_topics()?;
        self.bench.kafka.delete_topics(&own.iter().map(String::as_str).collect::<Vec<_>>())
    }
}
