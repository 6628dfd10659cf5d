//! How long a store takes to come back from its changelog, with an empty state directory.

use anyhow::{Context, Result, ensure};
use millstream_integration_tests::kafka::unique_name;
use rocksdb::{DB, Options, WriteBatch};

use super::measured::{Mark, Measured, Round, outcome};
use super::{Row, Workload};
use crate::bench::Bench;
use crate::child::OneRun;
use crate::input::{Input, Keys};
use crate::report::{Goal, Outcome};
use crate::settings::Column;
use crate::sides::{Limit, Side};
use crate::watch::Watch;

struct Restore {
    name: &'static str,
    title: &'static str,
    changelog: Input,
    goals: &'static [Goal],
    is_in_quick_look: bool,
}

const REPEATED: &[Goal] = &[Goal::throughput(3.5, 5.0), Goal::cpu(0.5), Goal::throughput_of_limit(0.8)];
const UNIQUE: &[Goal] = &[Goal::throughput(1.5, 2.0), Goal::cpu(0.5), Goal::throughput_of_limit(0.8)];

pub(super) fn rows() -> Vec<Box<dyn Row>> {
    let changelog = |records, keys| Input { value_bytes: 8, ..Input::stream(records, keys) };
    vec![
        Box::new(Restore {
            name: "restore-repeated",
            title: "restore 4 M changelog records of 100 k keys",
            changelog: changelog(4_000_000, Keys::Uniform(100_000)),
            goals: REPEATED,
            is_in_quick_look: true,
        }),
        Box::new(Restore {
            name: "restore-unique",
            title: "restore 5 M changelog records, each key once",
            changelog: changelog(5_000_000, Keys::Unique),
            goals: UNIQUE,
            is_in_quick_look: false,
        }),
    ]
}

impl Row for Restore {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn title(&self) -> String {
        self.title.to_owned()
    }

    fn is_in_quick_look(&self) -> bool {
        self.is_in_quick_look
    }

    fn measure(&self, bench: &mut Bench) -> Result<Vec<Outcome>> {
        let changelog = bench.sized(self.changelog);
        let empty = bench.topic(Input { records: 0, ..changelog })?;
        // A changelog has its name from the application, so each side has its own, which all of its runs read.
        let sides: Vec<(Side, String)> =
            bench.sides(true).into_iter().map(|side| (side, unique_name("bench-restore"))).collect();
        for (_, id) in &sides {
            bench.message(format!("writing {} records", changelog.records));
            let topic = format!("{id}-counts-changelog");
            let partitions = usize::try_from(changelog.partitions)?;
            bench.kafka().create_topic(
                &topic,
                partitions,
                &[("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "1")],
            )?;
            changelog.write_to(bench.bootstrap_servers(), &topic)?;
        }
        for (side, id) in sides.iter().filter(|(side, _)| *side == Side::Peer && !bench.is_quick()) {
            // Warms the JVM up.
            run(bench, *side, id, &empty, changelog)?;
        }
        let rounds = bench.rounds(usize::MAX, |_| {
            let one = |(side, id): &(Side, String)| Ok((*side, run(bench, *side, id, &empty, changelog)?));
            sides.iter().map(one).collect::<Result<Round>>()
        })?;
        for (_, id) in &sides {
            bench.kafka().delete_topics(&[&format!("{id}-counts-changelog")])?;
        }
        Ok(vec![outcome(self, self.goals, Column::Matched, &rounds)])
    }
}

/// From the line that says that a restore begins to the one that says that records are processed.
fn run(bench: &Bench, side: Side, id: &str, input: &str, changelog: Input) -> Result<Measured> {
    let mut scene = bench.scene(side, Workload::Restore, input, changelog.partitions)?;
    let topics_of_scene = std::mem::replace(&mut scene.run.id, id.to_owned());
    let mut child = scene.start(Column::Matched)?;
    child.await_line("restoring")?;
    let from = Mark { usage: child.usage()?, records: 0 };
    child.await_line("running")?;
    let usage = child.usage()?;
    let restored = child.lines().iter().rev().find_map(|line| line.strip_prefix("restored ")?.parse().ok());
    let records = restored.context("it did not say how much it has restored")?;
    ensure!(records == changelog.records, "{} restored {records} records", side.name());
    let rss_mb = child.peak_resident_megabytes()?;
    scene.run.id = topics_of_scene;
    scene.end(child, Column::Matched)?;
    Ok(Measured::between(from, Mark { usage, records }, rss_mb))
}

/// The changelog straight into RocksDB, in batches.
pub(super) fn limit(run: &OneRun) -> Result<()> {
    const BATCH: usize = 10_000;
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_write_buffer_size(16 << 20);
    let database = DB::open(&options, &run.state_dir)?;
    let changelog = format!("{}-counts-changelog", run.id);
    let watch = Watch::new(&run.bootstrap_servers, &run.id)?;
    let end = watch.records(&changelog, run.partitions)?;
    let limit = Limit::new(run, &[&changelog], &[])?;
    let (mut batch, mut failure, mut restored) = (WriteBatch::default(), None, 0);
    println!("restoring");
    limit.run(|_, record| {
        batch.put(record.key, record.value);
        restored += 1;
        if batch.len() >= BATCH || restored == end {
            failure = database.write_without_wal(std::mem::take(&mut batch)).err().or(failure.take());
        }
        if restored == end {
            println!("restored {restored}\nrunning");
        }
    })?;
    failure.map_or(Ok(()), |error| Err(error.into()))
}
