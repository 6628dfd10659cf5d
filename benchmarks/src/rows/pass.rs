//! Every record from one topic to another.

use anyhow::Result;
use millstream::StreamsBuilder;

use super::Workload;
use super::throughput::Throughput;
use crate::child::OneRun;
use crate::input::{Input, Keys};
use crate::report::Goal;
use crate::settings::Column;
use crate::sides::Limit;

/// What is to be reached wherever no state is kept.
pub(super) const STATELESS: &[Goal] =
    &[Goal::throughput(2.5, 3.2), Goal::cpu(1.0 / 3.0), Goal::cpu_of_limit(1.25), Goal::rss(0.25)];

pub(super) fn rows() -> Vec<Throughput> {
    let large = Throughput {
        name: "pass-1kb",
        title: "pass on 1,000-byte records",
        input: Input { value_bytes: 1000, ..Input::stream(1_200_000, Keys::Uniform(100_000)) },
        columns: &[Column::Matched],
        is_in_quick_look: false,
        ..small()
    };
    vec![small(), large]
}

/// The pass that other rows are about, too.
pub(super) fn small() -> Throughput {
    let input = Input::stream(3_000_000, Keys::Uniform(100_000));
    Throughput {
        columns: &[Column::Matched, Column::Defaults],
        ..Throughput::new("pass-100b", "pass on 100-byte records", Workload::Pass, input, STATELESS)
    }
}

pub(super) fn topology(builder: &StreamsBuilder, run: &OneRun) {
    builder.stream::<Vec<u8>, Vec<u8>>(run.input.as_str()).to(run.output.as_str());
}

pub(super) fn limit(run: &OneRun) -> Result<()> {
    let limit = Limit::new(run, &[&run.input], &[&run.output])?;
    limit.run(|limit, record| limit.produce(0, record.key, record.value, record.timestamp))
}
