//! Applications that run inside the test: topics and names of their own, and what the tests ask of them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use millstream::prelude::*;
use millstream::runtime::AppBuilder;
use millstream::{ClientState, Streams};
use millstream_integration_tests::kafka::{NewRecord, ReadRecord, RealKafka, unique_name};
use millstream_integration_tests::wait::await_until;
use tempfile::TempDir;

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) const COUNTS: StoreName<String, u64> = StoreName::new("counts");

/// What a test has of the cluster and of this machine: an input and an output topic, an application id, a state directory.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) kafka: &'static RealKafka,
    pub(crate) application_id: String,
    pub(crate) input: String,
    pub(crate) output: String,
    pub(crate) state_dir: TempDir,
}

impl Scene {
    /// Both topics exist with this many partitions.
    pub(crate) fn new(subject: &str, partitions: usize) -> Result<Self> {
        let kafka = RealKafka::shared()?;
        let scene = Scene {
            kafka,
            application_id: unique_name(subject),
            input: unique_name("in"),
            output: unique_name("out"),
            state_dir: tempfile::Builder::new().prefix("millstream-of-a-test-").tempdir()?,
        };
        kafka.create_topic(&scene.input, partitions, &[])?;
        kafka.create_topic(&scene.output, partitions, &[])?;
        Ok(scene)
    }

    /// One whose application has counted these records by key, and has ended.
    pub(crate) fn counted(
        subject: &str,
        partitions: usize,
        records: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let scene = Scene::new(subject, partitions)?;
        scene.write(records)?;
        let app = scene.run(scene.count_by_key()?)?;
        scene.await_committed(&[&scene.input])?;
        app.close()?;
        Ok(scene)
    }

    /// Settings for this cluster and state directory that commit often. The session is longer than a busy machine makes anybody stand still.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings::new(self.kafka.bootstrap_servers());
        settings.state_dir = self.state_dir.path().into();
        settings.commit_interval = Some(Duration::from_millis(100));
        settings.checkpoint_interval = Duration::from_millis(200);
        settings.session_timeout = Duration::from_secs(30);
        settings.state_memory = 64 << 20;
        settings
    }

    /// The application, about to start with these settings.
    pub(crate) fn app(&self, topology: Topology, settings: Settings) -> AppBuilder {
        Streams::builder(self.application_id.as_str(), topology).settings(settings)
    }

    /// The application, running.
    pub(crate) fn run(&self, topology: Topology) -> Result<Streams> {
        running(self.app(topology, self.settings()))
    }

    /// Counts the records of each key.
    pub(crate) fn count_by_key(&self) -> Result<Topology> {
        let builder = StreamsBuilder::new();
        let orders = builder.stream::<String, String>(self.input.as_str());
        orders.group_by_key().count(COUNTS).to_stream().to(self.output.as_str());
        Ok(builder.build()?)
    }

    /// Counts the records of each value, through the repartition topic `<application id>-by-value-repartition`.
    pub(crate) fn count_by_value(&self) -> Result<Topology> {
        let builder = StreamsBuilder::new();
        let orders = builder.stream::<String, String>(self.input.as_str());
        let by_value = orders.select_key(|_, value| value.clone()).group_by_key().named("by-value");
        by_value.count(COUNTS).to_stream().to(self.output.as_str());
        Ok(builder.build()?)
    }

    /// The name of an internal topic of the application.
    pub(crate) fn internal(&self, name: &str) -> String {
        format!("{}-{name}", self.application_id)
    }

    /// Where a task, such as `0_1`, has its state.
    pub(crate) fn task_directory(&self, task: &str) -> PathBuf {
        self.state_dir.path().join(&self.application_id).join(task)
    }

    pub(crate) fn write(&self, records: impl IntoIterator<Item = (String, String)>) -> Result<()> {
        let records = records.into_iter().map(|(key, value)| NewRecord::new(key, value));
        self.kafka.produce(&self.input, records)
    }

    /// Waits until the application has committed all of these topics.
    pub(crate) fn await_committed(&self, topics: &[&str]) -> Result<()> {
        await_until(DEADLINE, format!("the whole of {topics:?} to be committed"), || {
            let committed = self.kafka.committed_offsets(&self.application_id).ok()?;
            let all_of = |topic: &&str| {
                let ends = self.kafka.end_offsets(topic).ok()?;
                let next = |partition| committed.get(&((*topic).to_owned(), partition)).copied().unwrap_or(0);
                ends.into_iter().all(|(partition, end)| next(partition) >= end).then_some(())
            };
            topics.iter().all(|topic| all_of(topic).is_some()).then_some(())
        })
    }

    /// Waits until the application has committed this many records of its input, all partitions together.
    pub(crate) fn await_committed_records(&self, records: i64) -> Result<()> {
        await_until(DEADLINE, format!("{records} records to be committed"), || {
            let committed = self.kafka.committed_offsets(&self.application_id).ok()?;
            let of_input = committed.iter().filter(|((topic, _), _)| *topic == self.input);
            (of_input.map(|(_, next)| next).sum::<i64>() >= records).then_some(())
        })
    }

    /// How often each key is in the input.
    pub(crate) fn recount(&self) -> Result<BTreeMap<String, u64>> {
        Ok(recount(self.kafka.read_all(&self.input)?.iter().filter_map(ReadRecord::key_text)))
    }

    /// The newest count of each key in the changelog topic, as a restore would find it.
    pub(crate) fn counts_in_changelog(&self) -> Result<BTreeMap<String, u64>> {
        newest_counts(&self.kafka.read_all(&self.internal("counts-changelog"))?)
    }
}

/// Starts an application and waits until it runs.
pub(crate) fn running(app: AppBuilder) -> Result<Streams> {
    let streams = app.start()?;
    streams.await_state(ClientState::Running, DEADLINE)?;
    Ok(streams)
}

/// All rows of the store `counts`.
pub(crate) fn counts_of(app: &Streams) -> Result<BTreeMap<String, u64>> {
    let rows = app.store(COUNTS)?.all()?;
    Ok(rows.collect::<Result<BTreeMap<_, _>, _>>()?)
}

/// Waits until a store has these rows and no others. What is committed is published to readers a moment after the brokers know of it.
pub(crate) fn await_rows<V: PartialEq + Debug>(
    expected: &BTreeMap<String, V>,
    mut rows: impl FnMut() -> Result<BTreeMap<String, V>>,
) -> Result<()> {
    let mut seen = String::new();
    // A broker that starts again beside other tests takes its time.
    let equal = await_until(3 * DEADLINE, "the rows to be those of a recount", || {
        let found = rows();
        seen = format!("{found:?}");
        found.is_ok_and(|found| found == *expected).then_some(())
    });
    equal.with_context(|| format!("the store has {seen}, not {expected:?}"))
}

/// The last value of each key, as a count.
pub(crate) fn newest_counts(records: &[ReadRecord]) -> Result<BTreeMap<String, u64>> {
    let mut newest = BTreeMap::new();
    for record in records {
        let key = record.key_text().context("a record without a key")?;
        match &record.value {
            Some(value) => newest.insert(key, count_from(value)?),
            None => newest.remove(&key),
        };
    }
    Ok(newest)
}

/// A count as Kafka Streams' `Long` writes it.
pub(crate) fn count_from(bytes: &[u8]) -> Result<u64> {
    Ok(u64::from_be_bytes(bytes.try_into().context("a count has eight bytes")?))
}

/// How often each of these is there.
pub(crate) fn recount(keys: impl IntoIterator<Item = String>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for key in keys {
        *counts.entry(key).or_insert(0) += 1;
    }
    counts
}
