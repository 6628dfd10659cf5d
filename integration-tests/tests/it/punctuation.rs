//! Processors on a cluster: punctuated by the wall clock while no records come, and choosing the partitions of what they write.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millstream::api::{Failure, Processor, ProcessorContext, Punctuation, PunctuationType, Record};
use millstream::prelude::*;
use millstream::topology::Partitions;
use millstream::{KeyValueStore, ProcessingGuarantee, ValueAndTimestamp};
use millstream_integration_tests::kafka::ReadRecord;
use millstream_integration_tests::wait::await_until;

use crate::in_process::{DEADLINE, Scene, count_from, running};

const TICKS: StoreName<String, u64> = StoreName::new("ticks");
const INTERVAL: Duration = Duration::from_millis(20);
/// A thread that did not wake up for its punctuations would go on as soon as its longest wait for records has passed.
const LONGEST_WAIT_MILLIS: i64 = 100;

/// Counts the ticks of the clock.
struct Clockwork {
    ticks: KeyValueStore<String, u64>,
}

impl Processor for Clockwork {
    type KeyIn = String;
    type ValueIn = String;
    type KeyOut = String;
    type ValueOut = u64;

    fn init(&mut self, context: &mut ProcessorContext<'_, String, u64>) -> Result<(), Failure> {
        context.schedule(INTERVAL, PunctuationType::WallClockTime).map(drop)
    }

    fn process(
        &mut self,
        _record: Record<String, String>,
        _context: &mut ProcessorContext<'_, String, u64>,
    ) -> Result<(), Failure> {
        Ok(())
    }

    fn punctuate(
        &mut self,
        punctuation: Punctuation,
        context: &mut ProcessorContext<'_, String, u64>,
    ) -> Result<(), Failure> {
        let key = "ticks".to_string();
        let ticks = self.ticks.get(&key)?.map_or(0, |row| row.value) + 1;
        self.ticks.put(&key, Some(ValueAndTimestamp::new(ticks, punctuation.time)))?;
        context.forward(Record::new(key, ticks, punctuation.time))
    }
}

fn topology(scene: &Scene) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    builder.add_store(TICKS);
    let ticks = builder
        .stream::<String, String>(scene.input.as_str())
        .process(TICKS, |wiring| Ok(Clockwork { ticks: wiring.store(TICKS)? }));
    let everywhere = |_: &String, _: &u64, partitions: i32| Partitions::Each((0..partitions).collect());
    ticks.to(Produced::topic(scene.output.as_str()).partitioned_by(everywhere));
    Ok(builder.build()?)
}

/// The ticks in one partition of the output, with their times.
fn ticks_in(records: &[ReadRecord], partition: i32) -> Result<Vec<(u64, i64)>> {
    let of_partition = records.iter().filter(|record| record.partition == partition);
    let tick = |record: &ReadRecord| {
        let number = count_from(record.value.as_deref().context("a tick without a number")?)?;
        Ok((number, record.timestamp.context("a tick without a time")?))
    };
    of_partition.map(tick).collect()
}

fn ticks_while_idle(guarantee: ProcessingGuarantee) -> Result<()> {
    // One input partition, so one task; two output partitions.
    let scene = Scene::new("clockwork", 1)?;
    scene.kafka.create_topic(&format!("{}-2", scene.output), 2, &[])?;
    let scene = Scene { output: format!("{}-2", scene.output), ..scene };
    let mut settings = scene.settings();
    settings.processing_guarantee = guarantee;
    settings.commit_interval = Some(Duration::from_secs(1));
    let app = running(scene.app(topology(&scene)?, settings))?;
    let mut ticks = 0;
    await_until(DEADLINE, "a hundred ticks to be committed", || {
        ticks = app.store(TICKS).ok()?.get(&"ticks".into()).ok()??;
        (ticks >= 100).then_some(())
    })
    .with_context(|| format!("there were {ticks}"))?;
    app.close()?;

    let records = scene.kafka.read_all(&scene.output)?;
    let first = ticks_in(&records, 0)?;
    ensure!(first == ticks_in(&records, 1)?, "each tick goes to both partitions");
    let numbers: Vec<u64> = first.iter().map(|(number, _)| *number).collect();
    ensure!(numbers == (1..=numbers.len() as u64).collect::<Vec<_>>(), "a tick is missing, or there twice");
    let mut gaps: Vec<i64> = first.windows(2).map(|two| two[1].1 - two[0].1).collect();
    gaps.sort_unstable();
    // A thread that sleeps through them has none that are closer than its longest wait.
    let quick = gaps[gaps.len() / 10];
    ensure!(quick < LONGEST_WAIT_MILLIS / 2, "nine of ten ticks are {quick} ms apart, or more");
    Ok(())
}

#[test]
fn an_idle_thread_wakes_up_for_its_punctuations() -> Result<()> {
    ticks_while_idle(ProcessingGuarantee::AtLeastOnce)
}

#[test]
fn what_punctuations_change_and_write_is_committed_in_transactions() -> Result<()> {
    ticks_while_idle(ProcessingGuarantee::ExactlyOnce)
}
