//! How often each key came in each window of event time; one record in twenty is out of order.

use std::time::Duration;

use millstream::StreamsBuilder;
use millstream::prelude::*;

use super::Workload;
use super::throughput::{Emission, Throughput};
use crate::child::OneRun;
use crate::input::{EventTime, Input, Keys};
use crate::report::Goal;

const GOALS: &[Goal] = &[Goal::throughput(3.0, 4.5), Goal::cpu(1.0 / 3.0), Goal::rss(0.25)];

const COUNTS: WindowStoreName<Vec<u8>, u64> = WindowStoreName::new("counts");
const SIZE: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(1);
/// Of hopping windows, ten of which a record lies in.
const ADVANCE: Duration = Duration::from_millis(100);

pub(super) fn rows() -> Vec<Throughput> {
    vec![
        Throughput {
            is_in_quick_look: true,
            ..row(
                "windowed-count",
                "count 10 k keys in tumbling windows, every update emitted",
                Workload::WindowedCount,
                1_000_000,
            )
        },
        Throughput {
            outputs_per_thousand: 10_000,
            ..row(
                "windowed-count-hopping",
                "count 10 k keys in ten hopping windows each, every update emitted",
                Workload::HoppingCount,
                200_000,
            )
        },
        Throughput {
            emission: Emission::Unforeseen,
            ours: &["commit.interval.ms=200"],
            ..row(
                "windowed-count-final",
                "count 10 k keys in tumbling windows, the last result of each emitted by suppress",
                Workload::FinalCount,
                2_000_000,
            )
        },
    ]
}

fn row(name: &'static str, title: &'static str, workload: Workload, records: u64) -> Throughput {
    let input = Input { time: EventTime::Disordered, ..Input::stream(records, Keys::Uniform(10_000)) };
    Throughput {
        has_limit: false,
        is_in_quick_look: false,
        ..Throughput::new(name, title, workload, input, GOALS)
    }
}

pub(super) fn topology(builder: &StreamsBuilder, run: &OneRun) {
    let tumbling = TimeWindows::of_size_and_grace(SIZE, GRACE);
    let windows = match run.workload {
        Workload::HoppingCount => tumbling.advance_by(ADVANCE),
        _ => tumbling,
    };
    let records = builder.stream::<Vec<u8>, Vec<u8>>(run.input.as_str()).group_by_key();
    let counts = records.windowed_by(windows).count(COUNTS.without_caching());
    let counts = match run.workload {
        Workload::FinalCount => counts.suppress(Suppressed::until_window_closes(BufferConfig::unbounded())),
        _ => counts,
    };
    counts.to_stream().to(run.output.as_str());
}
