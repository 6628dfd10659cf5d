//! Instances of one application, each a process of its own, of which some come and go while records are processed.
//!
//! What readers of the output notice is read off the output afterwards: the broker stamps each record with the time at which it
//! was appended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use millstream_integration_tests::wait::await_until;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Message, Offset, Timestamp, TopicPartitionList};
use rustc_hash::FxHashMap;

use crate::bench::{Bench, KEEP_ALL, Scene};
use crate::child::Child;
use crate::gaps::Owners;
use crate::input::{Input, Keys};
use crate::load::{Load, Target};
use crate::rows::Workload;
use crate::settings::Column;
use crate::sides::Side;
use crate::watch::Watch;

const PARTITIONS: i32 = 8;
const VALUE_BYTES: usize = 16;

/// The running instances of one side, and what they read and write.
pub(crate) struct Instances<'bench> {
    // Declared, and so dropped, before the folder their state is in.
    running: BTreeMap<usize, Child>,
    /// What those have restored that have ended.
    restored_by_ended: Restored,
    bench: &'bench Bench,
    scene: Scene<'bench>,
    column: Column,
    watch: Watch,
}

/// What instances have read to bring their stores up to date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restored {
    /// Records of changelogs.
    pub(crate) records: u64,
    /// Stores of which they had nothing.
    pub(crate) from_zero: u64,
}

/// What has come out.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// For each partition, when its records were appended: milliseconds since 1970, ascending.
    pub(crate) appended: Vec<Vec<i64>>,
    /// The newest count of each key.
    pub(crate) newest: FxHashMap<u64, u64>,
}

impl<'bench> Instances<'bench> {
    /// Starts instances on an empty input, and waits until each has its share of the partitions.
    pub(crate) fn start(
        bench: &'bench Bench,
        side: Side,
        column: Column,
        properties: &[&str],
        count: usize,
    ) -> Result<Self> {
        let mut scene = bench.scene(side, Workload::Group, "", PARTITIONS)?;
        scene.run.input = format!("{}-input", scene.run.id);
        scene.run.properties = properties.iter().map(|property| (*property).to_owned()).collect();
        bench.kafka().create_topic(&scene.run.input, usize::try_from(PARTITIONS)?, &KEEP_ALL)?;
        let watch = Watch::new(bench.bootstrap_servers(), &scene.run.id)?;
        let (running, restored_by_ended) = (BTreeMap::new(), Restored::default());
        let mut instances = Instances { running, restored_by_ended, bench, scene, column, watch };
        (0..count).try_for_each(|number| instances.add(number))?;
        let each_has_some =
            |owners: &Owners| (0..count).all(|number| owners.values().any(|owner| *owner == number));
        instances.await_owners(
            Duration::from_secs(120),
            "every instance to have its share",
            each_has_some,
        )?;
        Ok(instances)
    }

    /// Starts the instance with this number, anew if there was one, on the state it had.
    pub(crate) fn add(&mut self, number: usize) -> Result<()> {
        let child = self.scene.start_instance(self.column, number)?;
        self.running.insert(number, child);
        Ok(())
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self, number: usize) -> Result<()> {
        self.remove(number)?.kill()
    }

    /// Ends it as its operator would: it commits, closes and leaves the group. Returns when it has ended.
    pub(crate) fn stop(&mut self, number: usize) -> Result<()> {
        self.remove(number)?.close().with_context(|| format!("instance {number} did not end well"))
    }

    fn remove(&mut self, number: usize) -> Result<Child> {
        let child = self.running.remove(&number).with_context(|| format!("no instance {number} runs"))?;
        self.restored_by_ended = self.restored_by_ended.and(Restored::told_by(&child.lines()));
        Ok(child)
    }

    /// What all instances have restored so far, those that have ended included.
    pub(crate) fn restored(&self) -> Restored {
        let running = self.running.values().map(|child| Restored::told_by(&child.lines()));
        running.fold(self.restored_by_ended, Restored::and)
    }

    /// Waits until every partition has one owner and `is_wanted` agrees.
    pub(crate) fn await_owners(
        &mut self,
        deadline: Duration,
        what: &str,
        is_wanted: impl Fn(&Owners) -> bool,
    ) -> Result<Owners> {
        let found = await_until(deadline, what, || match self.owners() {
            Ok(owners) => owners.filter(&is_wanted).map(Ok),
            Err(error) => Some(Err(error)),
        });
        found
            .with_context(|| format!("{} instances of {}", self.running.len(), self.scene.run.side.name()))?
    }

    /// Who owns what, by their own account; `None` while a partition has no owner, or two.
    fn owners(&mut self) -> Result<Option<Owners>> {
        let mut owners = Owners::new();
        for (number, child) in &mut self.running {
            for partition in child.assigned()? {
                if owners.insert(partition, *number).is_some() {
                    return Ok(None);
                }
            }
        }
        Ok((owners.len() == usize::try_from(PARTITIONS)?).then_some(owners))
    }

    /// Sends each of `keys` once, and waits until all are committed: state, and a warm JVM.
    pub(crate) fn preload(&self, keys: u64) -> Result<()> {
        let input =
            Input { value_bytes: VALUE_BYTES, partitions: PARTITIONS, ..Input::stream(keys, Keys::Unique) };
        input.write_to(self.bench.bootstrap_servers(), &self.scene.run.input)?;
        self.await_committed(keys)?;
        let outputs = self.watch.records(&self.scene.run.output, PARTITIONS)?;
        ensure!(outputs == keys, "{outputs} outputs of {keys} records although nothing has failed yet");
        Ok(())
    }

    /// Begins to send records at a fixed rate. Also says where the output begins that comes of them.
    pub(crate) fn load(&self, keys: u64, per_second: u64) -> Result<(Load, BTreeMap<i32, i64>)> {
        let begin = self.bench.kafka().end_offsets(&self.scene.run.output)?;
        let target = Target {
            bootstrap_servers: self.bench.bootstrap_servers().to_owned(),
            topic: self.scene.run.input.clone(),
            partitions: PARTITIONS,
            keys,
            value_bytes: VALUE_BYTES,
        };
        Ok((Load::start(target, per_second)?, begin))
    }

    /// Waits until there are as many outputs as there are inputs now.
    pub(crate) fn await_caught_up(&self) -> Result<()> {
        let run = &self.scene.run;
        let inputs = self.watch.records(&run.input, PARTITIONS)?;
        self.await_true("the output to catch up with the input", || {
            Ok(self.watch.records(&run.output, PARTITIONS)? >= inputs)
        })
    }

    fn await_committed(&self, records: u64) -> Result<()> {
        let run = &self.scene.run;
        self.await_true("all records to be committed", || {
            Ok(self.watch.committed(&run.input, PARTITIONS)? >= records)
        })
    }

    fn await_true(&self, what: &str, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
        const DEADLINE: Duration = Duration::from_secs(120);
        let done = await_until(DEADLINE, what, || look().map(|done| done.then_some(())).transpose());
        done.with_context(|| format!("of {}", self.scene.run.side.name()))?
    }

    /// Waits until all of `records` are committed, reads the output that came since `begin`, and ends everything.
    pub(crate) fn finish(self, records: u64, begin: &BTreeMap<i32, i64>) -> Result<Output> {
        self.await_committed(records)?;
        let output = Output::read(self.bench.bootstrap_servers(), &self.scene.run.output, begin)?;
        for child in self.running.into_values() {
            // Nobody waits for it any more, so it need not leave the group.
            child.kill()?;
        }
        self.scene.clean_up()?;
        Ok(output)
    }
}

impl Restored {
    fn and(self, other: Restored) -> Restored {
        Restored { records: self.records + other.records, from_zero: self.from_zero + other.from_zero }
    }

    /// The newest of what an instance has said.
    fn told_by(lines: &[String]) -> Restored {
        let newest =
            |word: &str| lines.iter().rev().find_map(|line| line.strip_prefix(word)?.trim().parse().ok());
        Restored {
            records: newest("restored ").unwrap_or(0),
            from_zero: newest("restored-from-zero ").unwrap_or(0),
        }
    }

    pub(crate) fn since(self, earlier: Restored) -> Restored {
        Restored { records: self.records - earlier.records, from_zero: self.from_zero - earlier.from_zero }
    }
}

impl Output {
    pub(crate) fn records(&self) -> u64 {
        self.appended.iter().map(|times| times.len() as u64).sum()
    }

    /// Reads a topic to its end. Keys and counts are eight bytes, big-endian.
    fn read(bootstrap_servers: &str, topic: &str, begin: &BTreeMap<i32, i64>) -> Result<Self> {
        const DEADLINE: Duration = Duration::from_secs(30);
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap_servers)
            .set("group.id", topic)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "10")
            .set("fetch.queue.backoff.ms", "5")
            .create()?;
        let mut list = TopicPartitionList::new();
        for (partition, offset) in begin {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        consumer.assign(&list)?;
        let mut output = Output { appended: vec![Vec::new(); begin.len()], newest: FxHashMap::default() };
        let mut at_end = BTreeSet::new();
        while at_end.len() < begin.len() {
            match consumer.poll(DEADLINE) {
                Some(Ok(message)) => output.take(&message)?,
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(at_end.insert(partition)),
                Some(Err(error)) => return Err(error).with_context(|| format!("cannot read {topic}")),
                None => bail!("waited {DEADLINE:?} for the end of {topic}"),
            }
        }
        Ok(output)
    }

    fn take(&mut self, message: &impl Message) -> Result<()> {
        let Timestamp::LogAppendTime(time) = message.timestamp() else {
            bail!("the broker does not stamp the records of {}", message.topic());
        };
        let number = |bytes: Option<&[u8]>| -> Result<u64> {
            let bytes =
                bytes.and_then(|bytes| bytes.first_chunk()).context("a record without key or count")?;
            Ok(u64::from_be_bytes(*bytes))
        };
        self.newest.insert(number(message.key())?, number(message.payload())?);
        let partition = usize::try_from(message.partition())?;
        self.appended.get_mut(partition).context("a partition that nobody knows")?.push(time);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_line_says_what_was_restored() {
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        assert_eq!(Restored::told_by(&lines(&["restoring", "running"])), Restored::default());
        let told = Restored::told_by(&lines(&[
            "restoring",
            "restored-from-zero 1",
            "restored 100",
            "running",
            "restored-from-zero 2",
            "restored 250",
            "assigned [0, 1]",
        ]));
        assert_eq!(told, Restored { records: 250, from_zero: 2 });
        let earlier = Restored { records: 100, from_zero: 1 };
        assert_eq!(told.since(earlier).and(earlier), told);
    }
}
