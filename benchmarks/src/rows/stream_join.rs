//! Each record with those of another stream that were near it in time.

use std::time::Duration;

use anyhow::Result;
use millstream::{JoinWindows, StreamsBuilder};

use super::throughput::{Emission, Throughput};
use super::{Workload, joined, other_input};
use crate::child::OneRun;
use crate::input::{EventTime, Input, Keys};
use crate::report::Goal;

const GOALS: &[Goal] = &[Goal::throughput(2.0, 3.0), Goal::cpu(0.5), Goal::rss(0.25)];

/// At a hundred records a millisecond, ten thousand of the other stream lie within it: as many as there are keys.
const TIME_DIFFERENCE: Duration = Duration::from_millis(50);
/// No record is later: what is joined does not depend on how the two topics were read beside each other.
const GRACE: Duration = Duration::from_secs(1);

pub(super) fn rows() -> Vec<Throughput> {
    const RECORDS: u64 = 800_000;
    let left = Input { time: EventTime::Disordered, ..Input::stream(RECORDS, Keys::Uniform(10_000)) };
    vec![Throughput {
        other: Some(Input { value_bytes: 20, ..left }),
        emission: Emission::Unforeseen,
        ours: &["commit.interval.ms=500"],
        has_limit: false,
        is_in_quick_look: false,
        ..Throughput::new(
            "stream-join",
            "join two streams of 10 k keys within 50 ms, two matches for each record on average",
            Workload::StreamJoin,
            left,
            GOALS,
        )
    }]
}

pub(super) fn topology(builder: &StreamsBuilder, run: &OneRun) -> Result<()> {
    let left = builder.stream::<Vec<u8>, Vec<u8>>(run.input.as_str());
    let right = builder.stream::<Vec<u8>, Vec<u8>>(other_input(run)?);
    let windows = JoinWindows::of_time_difference_and_grace(TIME_DIFFERENCE, GRACE);
    left.within(windows).join(&right, |left, right| joined(left, right)).to(run.output.as_str());
    Ok(())
}
