//! How our own cost grows with partitions, keys, threads and commits. Not compared with anyone.

use super::throughput::Throughput;
use super::{Row, count, pass};
use crate::input::{Input, Keys};

pub(super) fn rows() -> Vec<Box<dyn Row>> {
    let uniform = |keys| Input::stream(2_000_000, Keys::Uniform(keys));
    let partitions = |name, title, partitions| Throughput {
        name,
        title,
        input: Input { partitions, ..uniform(100_000) },
        ..count::uniform()
    };
    let keys = |name, title, input| Throughput { name, title, input, ..count::uniform() };
    let commits = |name, title, ours| Throughput { name, title, ours, ..pass::small() };
    let threads = |name, title, threads| Throughput { name, title, threads, ..count::uniform() };
    let rows = [
        partitions("scale-partitions-1", "count-uniform in 1 partition", 1),
        partitions("scale-partitions-10", "count-uniform in 10 partitions", 10),
        partitions("scale-partitions-100", "count-uniform in 100 partitions", 100),
        keys("scale-keys-10k", "count of 10 k keys", uniform(10_000)),
        keys("scale-keys-1m", "count of 1 M keys", uniform(1_000_000)),
        keys("scale-keys-10m", "count of 10 M keys, each once", Input::stream(10_000_000, Keys::Unique)),
        threads("scale-threads-1", "count-uniform on 1 thread", 1),
        threads("scale-threads-2", "count-uniform on 2 threads", 2),
        commits("scale-commit-30s", "pass-100b, a commit every 30 s", &["commit.interval.ms=30000"]),
        commits("scale-commit-1s", "pass-100b, a commit every second", &["commit.interval.ms=1000"]),
        commits("scale-commit-100ms", "pass-100b, a commit every 100 ms", &["commit.interval.ms=100"]),
    ];
    let alone =
        |row| Throughput { is_compared: false, is_in_quick_look: false, goals: &[], columns: MATCHED, ..row };
    rows.into_iter().map(|row| Box::new(alone(row)) as Box<dyn Row>).collect()
}

const MATCHED: &[crate::settings::Column] = &[crate::settings::Column::Matched];
