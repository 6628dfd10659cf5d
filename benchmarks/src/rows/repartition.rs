//! Counts by another key: every record goes through a topic in between.

use anyhow::Result;
use millstream::StreamsBuilder;
use millstream::prelude::*;

use super::count::Counter;
use super::throughput::Throughput;
use super::{COUNTS, Workload, reversed};
use crate::child::OneRun;
use crate::input::{Input, Keys};
use crate::report::Goal;
use crate::sides::Limit;

const GOALS: &[Goal] = &[Goal::throughput(2.0, 2.5), Goal::cpu(0.5), Goal::rss(0.25)];

pub(super) fn rows() -> Vec<Throughput> {
    vec![uniform()]
}

/// The repartition that other rows are about, too.
pub(super) fn uniform() -> Throughput {
    let input = Input::stream(1_200_000, Keys::Uniform(100_000));
    let title = "select another key, repartition, count, every update emitted";
    Throughput::new("repartition", title, Workload::Repartition, input, GOALS)
}

pub(super) fn topology(builder: &StreamsBuilder, run: &OneRun) {
    let input = builder.stream::<Vec<u8>, Vec<u8>>(run.input.as_str());
    let by_other_key = input.select_key(|key, _value| reversed(key)).group_by_key();
    by_other_key.count(COUNTS.without_caching()).to_stream().to(run.output.as_str());
}

pub(super) fn limit(run: &OneRun) -> Result<()> {
    let mut counter = Counter::new(run)?;
    let repartition = format!("{}-repartition", run.id);
    super::create_topic(run, &repartition)?;
    let outputs = [run.output.as_str(), counter.changelog.as_str(), repartition.as_str()];
    let limit = Limit::new(run, &[&run.input, &repartition], &outputs)?;
    limit.run(|limit, record| {
        if record.is_of_first {
            limit.produce(2, &reversed(record.key), record.value, record.timestamp);
        } else {
            counter.count(limit, record);
        }
    })
}
