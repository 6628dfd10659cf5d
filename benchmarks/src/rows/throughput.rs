//! Rows that ask how many records per second a topology takes, and how much CPU time each costs.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::measured::{Mark, Measured, Round, outcome};
use super::{Row, Workload};
use crate::bench::{Bench, Scene};
use crate::child::Child;
use crate::input::Input;
use crate::report::{Goal, Outcome};
use crate::settings::Column;
use crate::sides::Side;
use crate::watch::{Digest, Watch};

/// Such a row.
pub(crate) struct Throughput {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) workload: Workload,
    pub(super) input: Input,
    /// What the input is joined with.
    pub(super) other: Option<Input>,
    pub(super) columns: &'static [Column],
    pub(super) emission: Emission,
    /// Of each thousand input records, how many come out, where every update is emitted.
    pub(super) outputs_per_thousand: u64,
    /// Whether it reads topics that it writes. How much of the input was committed does not say how much is done then, so all of the run is
    /// measured, from its start.
    pub(super) has_topics_between: bool,
    /// Whether the raw limit runs, too.
    pub(super) has_limit: bool,
    /// Whether anyone else runs at all.
    pub(super) is_compared: bool,
    pub(super) threads: usize,
    pub(super) query_threads: usize,
    /// Whether these threads only wake up as often as if they queried.
    pub(super) idle_query_threads: bool,
    /// Further settings of ours, `name=value`.
    pub(super) ours: &'static [&'static str],
    /// Further settings of Kafka Streams.
    pub(super) peer: &'static [&'static str],
    /// The interval of commits under exactly-once, on both sides; none is at-least-once.
    pub(super) exactly_once: Option<Duration>,
    pub(super) goals: &'static [Goal],
    pub(super) is_in_quick_look: bool,
    pub(super) is_in_full_look: bool,
}

/// When a store's updates go downstream and to the changelog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emission {
    EveryUpdate,
    /// The newest of each key at commit: Kafka Streams' record cache.
    Cached,
    /// Nothing is held back, but how many records come out depends on which came in.
    Unforeseen,
    /// Nothing is held back, but only the newest of each key is known.
    InTheEnd,
}

impl Row for Throughput {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn title(&self) -> String {
        self.title.to_owned()
    }

    fn is_in_quick_look(&self) -> bool {
        self.is_in_quick_look
    }

    fn is_in_full_look(&self) -> bool {
        self.is_in_full_look
    }

    fn measure(&self, bench: &mut Bench) -> Result<Vec<Outcome>> {
        let topics = self.topics(bench)?;
        let mut outcomes = Vec::new();
        for column in self.columns {
            let sides = if self.is_compared { bench.sides(self.has_limit) } else { vec![Side::Ours] };
            let most = if self.goals.is_empty() { ROUNDS_WITHOUT_GOAL } else { usize::MAX };
            let rounds = bench.rounds(most, |round| {
                let takes_part = |side: &&Side| **side != Side::Limit || round < ROUNDS_OF_LIMIT;
                let one = |side: &Side| Ok((*side, self.run(bench, &topics, *side, *column, round)?));
                sides.iter().filter(takes_part).map(one).collect::<Result<Round>>()
            })?;
            let outcome = outcome(self, self.goals, *column, &rounds);
            ensure!(outcome.outputs_agree, "the sides wrote different records: the row is void");
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }
}

/// What the runs of a row read.
pub(super) struct Topics {
    input: Input,
    stream: String,
    other: Option<String>,
    /// Records of both.
    records: u64,
}

impl Throughput {
    /// A row in the quick look, against Kafka Streams and the limit with matched settings on one thread, that emits every update.
    pub(super) const fn new(
        name: &'static str,
        title: &'static str,
        workload: Workload,
        input: Input,
        goals: &'static [Goal],
    ) -> Self {
        Throughput {
            name,
            title,
            workload,
            input,
            other: None,
            columns: &[Column::Matched],
            emission: Emission::EveryUpdate,
            outputs_per_thousand: 1000,
            has_topics_between: false,
            has_limit: true,
            is_compared: true,
            threads: 1,
            query_threads: 0,
            idle_query_threads: false,
            ours: &[],
            peer: &[],
            exactly_once: None,
            goals,
            is_in_quick_look: true,
            is_in_full_look: true,
        }
    }

    pub(super) fn topics(&self, bench: &mut Bench) -> Result<Topics> {
        let input = bench.sized(self.input);
        let other = self.other.map(|other| bench.topic(other)).transpose()?;
        let records = input.records + self.other.map_or(0, |other| other.records);
        Ok(Topics { input, stream: bench.topic(input)?, other, records })
    }

    /// One run of a side in a round. Before its first one, Kafka Streams runs once more: the JVM is warm then, and what it has
    /// written is compared.
    pub(super) fn run(
        &self,
        bench: &Bench,
        topics: &Topics,
        side: Side,
        column: Column,
        round: usize,
    ) -> Result<Measured> {
        let once = |part, is_compared| self.run_part(bench, topics, side, column, part, is_compared);
        // How much input was committed says nothing of what still waits in topics in between.
        let of_peer = match self.emission {
            Emission::EveryUpdate | Emission::Cached => Part::Window,
            Emission::Unforeseen | Emission::InTheEnd => Part::Whole,
        };
        match (side, round) {
            (Side::Peer, 0) if bench.is_quick() => once(Part::Whole, true),
            (Side::Peer, 0) => {
                let cold = once(Part::Whole, true)?;
                Ok(Measured { outputs: cold.outputs, digest: cold.digest, ..once(of_peer, false)? })
            }
            (Side::Peer, _) => once(of_peer, false),
            (Side::Ours | Side::Limit, _) => once(Part::Whole, round == 0),
        }
    }

    fn run_part(
        &self,
        bench: &Bench,
        topics: &Topics,
        side: Side,
        column: Column,
        part: Part,
        is_compared: bool,
    ) -> Result<Measured> {
        let input = topics.input;
        let mut scene = bench.scene(side, self.workload, &topics.stream, input.partitions)?;
        scene.run.other_input.clone_from(&topics.other);
        scene.run.emission_cache = self.emission == Emission::Cached;
        scene.run.properties = self.properties(side);
        scene.run.threads = self.threads;
        scene.run.query_threads = self.query_threads;
        scene.run.idle_query_threads = self.idle_query_threads;
        scene.run.keys = input.distinct_keys();
        let mut child = scene.start(column)?;
        let watch = Watch::new(bench.bootstrap_servers(), &scene.run.id)?;
        let (from, to) = self.await_done(&scene, &child, &watch, topics, part)?;
        let rss_mb = child.peak_resident_megabytes()?;
        let outputs = match part {
            Part::Whole => Some(self.checked_outputs(&scene, &watch, input)?),
            Part::Window => None,
        };
        let digest = match is_compared {
            true => Some(watch.digest(&scene.run.output, input.partitions, self.digest(input))?),
            false => None,
        };
        let queries = if self.query_threads > 0 { Some(child.query_times()?) } else { None };
        scene.end(child, column)?;
        Ok(Measured { outputs, digest, queries, ..Measured::between(from, to, rss_mb) })
    }

    /// What of the output must be the same on all sides.
    fn digest(&self, input: Input) -> Digest {
        match self.emission {
            Emission::EveryUpdate => Digest::AllRecords { expected: self.outputs(input.records) },
            Emission::Unforeseen => Digest::AllRecords { expected: 0 },
            Emission::Cached | Emission::InTheEnd => Digest::NewestByKey,
        }
    }

    /// Records in the output. Where every update is emitted it is known how many there must be; the ends of transactions count, too.
    fn checked_outputs(&self, scene: &Scene<'_>, watch: &Watch, input: Input) -> Result<u64> {
        let outputs = watch.records(&scene.run.output, input.partitions)?;
        let expected = self.outputs(input.records);
        let is_right = match (self.emission, self.exactly_once) {
            (Emission::EveryUpdate, None) => outputs == expected,
            (Emission::EveryUpdate, Some(_)) => outputs >= expected,
            (Emission::Cached | Emission::Unforeseen | Emission::InTheEnd, _) => true,
        };
        ensure!(is_right, "{} wrote {outputs} records instead of {expected}", scene.run.side.name());
        Ok(outputs)
    }

    fn properties(&self, side: Side) -> Vec<String> {
        let (emission, others): (&[&str], &[&str]) = match (side, self.emission) {
            (Side::Ours, _) => (&[], self.ours),
            (Side::Peer, Emission::Cached) => (&["statestore.cache.max.bytes=67108864"], self.peer),
            (Side::Peer, _) => (&["statestore.cache.max.bytes=0"], self.peer),
            (Side::Limit, _) => (&[], &[]),
        };
        let properties = emission.iter().chain(others).map(|property| (*property).to_owned());
        let mut properties: Vec<String> = properties.collect();
        if let Some(interval) = self.exactly_once {
            properties.push("processing.guarantee=exactly_once_v2".to_owned());
            properties.push(format!("commit.interval.ms={}", interval.as_millis()));
        }
        properties
    }

    /// Whether the input that the group has committed is counted, because the output does not tell how much of it was read.
    /// Elsewhere outputs are, also those of a second hop; the ends of transactions among them are too few to show.
    fn counts_commits(&self) -> bool {
        self.emission != Emission::EveryUpdate
    }

    /// Whether what is counted appears commit by commit.
    fn comes_in_steps(&self) -> bool {
        self.counts_commits() || self.exactly_once.is_some()
    }

    /// What comes out of this many records if every update is emitted.
    fn outputs(&self, records: u64) -> u64 {
        records * self.outputs_per_thousand / 1000
    }

    /// The marks at the beginning and at the end of what is measured: outputs on the broker, or commits, from one to another.
    fn await_done(
        &self,
        scene: &Scene<'_>,
        child: &Child,
        watch: &Watch,
        topics: &Topics,
        part: Part,
    ) -> Result<(Mark, Mark)> {
        let partitions = topics.input.partitions;
        let all = if self.counts_commits() { topics.records } else { topics.input.records };
        let begin = if self.has_topics_between { 0 } else { all / part.skipped() };
        // A quick look may be over with the first commit.
        let is_start_counted = self.has_topics_between || scene.is_quick();
        let start = is_start_counted.then(|| child.usage()).transpose()?;
        let mut marks: Vec<Mark> = start.into_iter().map(|usage| Mark { usage, records: 0 }).collect();
        let mut was_unsettled = false;
        scene.watch(child, || {
            let records = match self.counts_commits() {
                true => {
                    let of = |topic: &String| watch.committed(topic, partitions);
                    of(&topics.stream)? + topics.other.as_ref().map_or(Ok(0), of)?
                }
                false => watch.records(&scene.run.output, partitions)? * 1000 / self.outputs_per_thousand,
            };
            if records > marks.last().map_or(0, |last| last.records) {
                marks.push(Mark { usage: child.usage()?, records });
            }
            let measured = marks.iter().find(|mark| mark.records >= begin).zip(marks.last());
            let time = measured.map(|(first, last)| last.usage.at.saturating_sub(first.usage.at));
            let mut is_done = self.outputs(records) >= self.outputs(all);
            if is_done && self.counts_commits() {
                is_done = scene.is_settled(watch)?;
                if was_unsettled && is_done {
                    marks.push(Mark { usage: child.usage()?, records });
                }
                was_unsettled |= !is_done;
            }
            Ok(is_done || part == Part::Window && time >= Some(WINDOW))
        })?;
        if self.comes_in_steps() && !was_unsettled && marks.len() > 2 {
            // The last commit waits for its interval although there is nothing left to do.
            marks.pop();
        }
        let last = marks.pop().context("the run had no output")?;
        marks.retain(|mark| mark.records < last.records);
        let first = marks.iter().find(|mark| mark.records >= begin).or(marks.last());
        Ok((*first.context("the run was too short to be measured: give it more records")?, last))
    }
}

/// Rounds in which the limit runs, at most.
const ROUNDS_OF_LIMIT: usize = 3;

/// Rounds of a row with no goal for its ratios.
pub(super) const ROUNDS_WITHOUT_GOAL: usize = 3;

/// How long a warm Kafka Streams is measured.
const WINDOW: Duration = Duration::from_secs(3);

/// How much of its input a run reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// All of it; the second half is measured, so that a JVM that was cold at the start is warm, or all, where there are topics in between.
    Whole,
    /// As much as a warm JVM reads in [`WINDOW`], after a tenth: it takes so much longer than the others that the rest of the
    /// input would only cost time. Stores are smaller then, which is to its favour.
    Window,
}

impl Part {
    /// One part of so many is read before anything is measured.
    fn skipped(self) -> u64 {
        match self {
            Part::Whole => 2,
            Part::Window => 10,
        }
    }
}
