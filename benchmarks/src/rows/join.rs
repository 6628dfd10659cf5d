//! Each record with the row of its key in a table.

use anyhow::Result;
use millstream::StreamsBuilder;
use rustc_hash::FxHashMap;

use super::throughput::Throughput;
use super::{Workload, joined, other_input};
use crate::child::OneRun;
use crate::input::{EventTime, Input, Keys};
use crate::report::Goal;
use crate::sides::Limit;

const GOALS: &[Goal] = &[Goal::throughput(2.5, 3.5), Goal::cpu(1.0 / 3.0), Goal::rss(0.25)];

pub(super) fn rows() -> Vec<Throughput> {
    const ROWS: u64 = 200_000;
    let input = Input::stream(2_000_000, Keys::Uniform(ROWS));
    let title = "join 100-byte records with a table of 200 k rows";
    vec![Throughput {
        other: Some(Input { time: EventTime::Table, value_bytes: 20, ..Input::stream(ROWS, Keys::Unique) }),
        ..Throughput::new("join", title, Workload::Join, input, GOALS)
    }]
}

pub(super) fn topology(builder: &StreamsBuilder, run: &OneRun) -> Result<()> {
    let table = builder.table::<Vec<u8>, Vec<u8>>(other_input(run)?);
    let stream = builder.stream::<Vec<u8>, Vec<u8>>(run.input.as_str());
    stream.join(&table, |left, right| joined(&left, right)).to(run.output.as_str());
    Ok(())
}

pub(super) fn limit(run: &OneRun) -> Result<()> {
    let mut rows: FxHashMap<Vec<u8>, Vec<u8>> = FxHashMap::default();
    // The topics are read side by side: what comes before its row waits for it.
    let mut waiting: FxHashMap<Vec<u8>, Vec<(Vec<u8>, i64)>> = FxHashMap::default();
    let limit = Limit::new(run, &[other_input(run)?, &run.input], &[&run.output])?;
    limit.run(|limit, record| {
        let key = record.key;
        if record.is_of_first {
            match rows.get(key) {
                Some(row) => limit.produce(0, key, &joined(record.value, row), record.timestamp),
                None => {
                    waiting.entry(key.to_vec()).or_default().push((record.value.to_vec(), record.timestamp))
                }
            }
            return;
        }
        for (value, timestamp) in waiting.remove(key).unwrap_or_default() {
            limit.produce(0, key, &joined(&value, record.value), timestamp);
        }
        rows.insert(key.to_vec(), record.value.to_vec());
    })
}
