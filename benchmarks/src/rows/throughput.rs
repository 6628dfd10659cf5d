//! Rows that ask how many records per second a topology takes, and how much CPU time each costs.

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
    pub(super) table: Option<Input>,
    pub(super) columns: &'static [Column],
    pub(super) emission: Emission,
    /// Of each thousand input records, how many come out, where every update is emitted.
    pub(super) outputs_per_thousand: u64,
    /// Whether the raw limit runs, too.
    pub(super) has_limit: bool,
    /// Whether anyone else runs at all.
    pub(super) is_compared: bool,
    pub(super) threads: usize,
    pub(super) query_threads: usize,
    /// Further settings of ours, `name=value`.
    pub(super) ours: &'static [&'static str],
    pub(super) goals: &'static [Goal],
    pub(super) is_in_quick_look: bool,
}

/// When a store's updates go downstream and to the changelog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emission {
    EveryUpdate,
    /// The newest of each key at commit: Kafka Streams' record cache.
    Cached,
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

    fn measure(&self, bench: &mut Bench) -> Result<Vec<Outcome>> {
        let topics = self.topics(bench)?;
        let mut outcomes = Vec::new();
        for column in self.columns {
            let sides = if self.is_compared { bench.sides(self.has_limit) } else { vec![Side::Ours] };
            let rounds = bench.rounds(|round| {
                let one = |side: &Side| Ok((*side, self.run(bench, &topics, *side, *column, round)?));
                sides.iter().map(one).collect::<Result<Round>>()
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
    table: Option<String>,
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
            table: None,
            columns: &[Column::Matched],
            emission: Emission::EveryUpdate,
            outputs_per_thousand: 1000,
            has_limit: true,
            is_compared: true,
            threads: 1,
            query_threads: 0,
            ours: &[],
            goals,
            is_in_quick_look: true,
        }
    }

    pub(super) fn topics(&self, bench: &mut Bench) -> Result<Topics> {
        let input = bench.sized(self.input);
        let table = self.table.map(|table| bench.topic(table)).transpose()?;
        Ok(Topics { input, stream: bench.topic(input)?, table })
    }

    pub(super) fn run(
        &self,
        bench: &Bench,
        topics: &Topics,
        side: Side,
        column: Column,
        round: usize,
    ) -> Result<Measured> {
        let input = topics.input;
        let mut scene = bench.scene(side, self.workload, &topics.stream, input.partitions)?;
        scene.run.table.clone_from(&topics.table);
        scene.run.emission_cache = self.emission == Emission::Cached;
        scene.run.properties = self.properties(side);
        scene.run.threads = self.threads;
        scene.run.query_threads = self.query_threads;
        scene.run.keys = input.distinct_keys();
        let mut child = scene.start(column)?;
        let watch = Watch::new(bench.bootstrap_servers(), &scene.run.id)?;
        let (from, to) = self.await_done(&scene, &child, &watch, input)?;
        let rss_mb = child.peak_resident_megabytes()?;
        let outputs = watch.records(&scene.run.output, input.partitions)?;
        let what = match self.emission {
            Emission::EveryUpdate => {
                let expected = self.outputs(input.records);
                ensure!(outputs == expected, "{} wrote {outputs} records instead of {expected}", side.name());
                Digest::AllRecords
            }
            Emission::Cached => Digest::NewestByKey,
        };
        let digest = match round {
            0 => Some(watch.digest(&scene.run.output, input.partitions, what)?),
            _ => None,
        };
        let queries = if self.query_threads > 0 { Some(child.query_times()?) } else { None };
        scene.end(child)?;
        Ok(Measured { outputs, digest, queries, ..Measured::between(from, to, rss_mb) })
    }

    fn properties(&self, side: Side) -> Vec<String> {
        let properties = match (side, self.emission) {
            (Side::Ours, _) => self.ours,
            (Side::Peer, Emission::EveryUpdate) => &["statestore.cache.max.bytes=0"],
            (Side::Peer, Emission::Cached) => &["statestore.cache.max.bytes=67108864"],
            (Side::Limit, _) => &[],
        };
        properties.iter().map(|property| (*property).to_owned()).collect()
    }

    /// What comes out of this many records if every update is emitted.
    fn outputs(&self, records: u64) -> u64 {
        records * self.outputs_per_thousand / 1000
    }

    /// The second half of the run, so that the JVM is warm: the mark at its beginning and the mark at its end. Where every
    /// update is emitted, outputs on the broker are counted; else commits, from one to another.
    fn await_done(
        &self,
        scene: &Scene<'_>,
        child: &Child,
        watch: &Watch,
        input: Input,
    ) -> Result<(Mark, Mark)> {
        let mut marks: Vec<Mark> = Vec::new();
        scene.watch(child, || {
            let records = match self.emission {
                Emission::EveryUpdate => {
                    watch.records(&scene.run.output, input.partitions)? * 1000 / self.outputs_per_thousand
                }
                Emission::Cached => watch.committed(&scene.run.input, input.partitions)?,
            };
            if records > marks.last().map_or(0, |last| last.records) {
                marks.push(Mark { usage: child.usage()?, records });
            }
            Ok(self.is_done(records, input))
        })?;
        if self.emission == Emission::Cached && marks.len() > 2 {
            // The last commit waits for its interval although there is nothing left to do.
            marks.pop();
        }
        let last = marks.pop().context("the run had no output")?;
        let first = marks.iter().find(|mark| mark.records >= input.records / 2).or(marks.last());
        Ok((*first.context("the run was too short to be measured: give it more records")?, last))
    }

    fn is_done(&self, records: u64, input: Input) -> bool {
        match self.emission {
            Emission::EveryUpdate => self.outputs(records) >= self.outputs(input.records),
            Emission::Cached => records >= input.records,
        }
    }
}
