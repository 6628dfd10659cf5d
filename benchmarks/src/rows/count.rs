//! How often each key came.

use anyhow::Result;
use millstream::StreamsBuilder;
use millstream::prelude::*;
use rustc_hash::FxHashMap;

use super::throughput::{Emission, Throughput};
use super::{COUNTS, Workload};
use crate::child::OneRun;
use crate::input::{Input, Keys};
use crate::report::Goal;
use crate::sides::{Limit, Message};

const IN_MEMORY: &[Goal] = &[Goal::throughput(3.0, 4.5), Goal::cpu(1.0 / 3.0), Goal::rss(0.25)];
const CACHED: &[Goal] = &[Goal::throughput(5.0, 9.0), Goal::cpu(1.0 / 6.0), Goal::rss(0.25)];
const ON_DISK: &[Goal] = &[Goal::throughput(1.3, 1.7), Goal::cpu(0.6), Goal::rss(0.25)];

/// The state memory of the counts whose state exceeds it.
pub(super) const SMALL_STATE_MEMORY_MIB: f64 = 16.0;

pub(super) fn rows() -> Vec<Throughput> {
    vec![
        uniform(),
        count("count-zipf", "count 1 M keys by Zipf's law, every update emitted", Keys::Zipf(1_000_000)),
        count("count-unique", "count keys that come once, every update emitted", Keys::Unique),
        on_disk(1_200_000),
        Throughput {
            is_in_quick_look: true,
            ..cached(
                "count-cached-uniform",
                "count 100 k uniform keys, newest update at commit",
                Keys::Uniform(100_000),
            )
        },
        cached(
            "count-cached-zipf",
            "count 1 M keys by Zipf's law, newest update at commit",
            Keys::Zipf(1_000_000),
        ),
        Throughput {
            input: Input::stream(2_000_000, Keys::Unique),
            goals: &[],
            ..cached(
                "count-cached-unique",
                "count keys that come once, newest update at commit",
                Keys::Unique,
            )
        },
    ]
}

/// The count that other rows are about, too.
pub(super) fn uniform() -> Throughput {
    Throughput {
        is_in_quick_look: true,
        ..count("count-uniform", "count 100 k uniform keys, every update emitted", Keys::Uniform(100_000))
    }
}

/// With [`SMALL_STATE_MEMORY_MIB`] on both sides, which 1.2 M keys exceed tenfold. Left alone, Kafka Streams gives the RocksDB of each task
/// 98 MiB.
fn on_disk(keys: u64) -> Throughput {
    Throughput {
        input: Input::stream(1_600_000, Keys::Uniform(keys)),
        ours: &["state.memory=16777216"],
        peer: &["rocksdb.config.setter=Bench$BoundedMemory", "bench.state.memory=16777216"],
        goals: ON_DISK,
        ..count("count-10x-cache", "count uniform keys, ten times what the cache holds", Keys::Unique)
    }
}

/// The same count with next to no state, and with ten times what it may keep in memory.
pub(super) fn of_tiny_and_large_state() -> (Throughput, Throughput) {
    (on_disk(1_000), on_disk(1_200_000))
}

fn count(name: &'static str, title: &'static str, keys: Keys) -> Throughput {
    Throughput {
        is_in_quick_look: false,
        ..Throughput::new(name, title, Workload::Count, Input::stream(1_200_000, keys), IN_MEMORY)
    }
}

fn cached(name: &'static str, title: &'static str, keys: Keys) -> Throughput {
    Throughput {
        input: Input::stream(2_000_000, keys),
        emission: Emission::Cached,
        has_limit: false,
        // Kafka Streams takes about five times as long, so this gives both as many commits, and outputs, a record.
        ours: &["commit.interval.ms=200"],
        goals: CACHED,
        ..count(name, title, keys)
    }
}

pub(super) fn topology(builder: &StreamsBuilder, run: &OneRun) {
    let by_key = builder.stream::<Vec<u8>, Vec<u8>>(run.input.as_str()).group_by_key();
    let counts = match run.emission_cache {
        true => by_key.count(COUNTS),
        false => by_key.count(COUNTS.without_caching()),
    };
    counts.to_stream().to(run.output.as_str());
}

pub(super) fn limit(run: &OneRun) -> Result<()> {
    let mut counter = Counter::new(run)?;
    let limit = Limit::new(run, &[&run.input], &[&run.output, &counter.changelog])?;
    limit.run(|limit, record| counter.count(limit, record))
}

/// A hash table of counts, each update to an output and a changelog.
pub(super) struct Counter {
    pub(super) changelog: String,
    counts: FxHashMap<Vec<u8>, u64>,
}

impl Counter {
    pub(super) fn new(run: &OneRun) -> Result<Self> {
        let changelog = format!("{}-counts-changelog", run.id);
        super::create_topic(run, &changelog)?;
        Ok(Counter { changelog, counts: FxHashMap::default() })
    }

    /// Writes to the outputs 0 and 1.
    pub(super) fn count(&mut self, limit: &Limit<'_>, record: &Message<'_>) {
        let count = match self.counts.get_mut(record.key) {
            Some(count) => count,
            None => self.counts.entry(record.key.to_vec()).or_default(),
        };
        *count += 1;
        let value = count.to_be_bytes();
        limit.produce(1, record.key, &value, record.timestamp);
        limit.produce(0, record.key, &value, record.timestamp);
    }
}
