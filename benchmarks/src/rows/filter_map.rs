//! Half of the records, with another value.

use anyhow::Result;
use millstream::StreamsBuilder;

use super::throughput::Throughput;
use super::{Workload, pass, reversed};
use crate::child::OneRun;
use crate::input::{Input, Keys};
use crate::sides::Limit;

pub(super) fn rows() -> Vec<Throughput> {
    // No key twice, and every other one even: exactly half of the records come out.
    let input = Input::stream(3_000_000, Keys::Unique);
    let title = "filter half of the 100-byte records, map their values";
    vec![Throughput {
        outputs_per_thousand: 500,
        ..Throughput::new("filter-map", title, Workload::FilterMap, input, pass::STATELESS)
    }]
}

pub(super) fn topology(builder: &StreamsBuilder, run: &OneRun) {
    let input = builder.stream::<Vec<u8>, Vec<u8>>(run.input.as_str());
    input
        .filter(|key, _value| is_even(key))
        .map_values(|_key, value| reversed(&value))
        .to(run.output.as_str());
}

pub(super) fn limit(run: &OneRun) -> Result<()> {
    let limit = Limit::new(run, &[&run.input], &[&run.output])?;
    limit.run(|limit, record| {
        if is_even(record.key) {
            limit.produce(0, record.key, &reversed(record.value), record.timestamp);
        }
    })
}

fn is_even(key: &[u8]) -> bool {
    key.last().is_some_and(|last| last & 1 == 0)
}
