//! Each row of a table with the row of another one that it names.

use anyhow::Result;
use millstream::StreamsBuilder;
use millstream::prelude::*;

use super::throughput::{Emission, Throughput};
use super::{Workload, joined, other_input};
use crate::child::OneRun;
use crate::input::{Content, EventTime, Input, Keys, REFERENCE_BYTES};
use crate::report::Goal;

const GOALS: &[Goal] = &[Goal::throughput(2.0, 2.5), Goal::cpu(0.5), Goal::rss(0.25)];

const LEFT: StoreName<Vec<u8>, Vec<u8>> = StoreName::new("left");
const RIGHT: StoreName<Vec<u8>, Vec<u8>> = StoreName::new("right");

pub(super) fn rows() -> Vec<Throughput> {
    const RIGHT_ROWS: u64 = 20_000;
    let left = Input { content: Content::Reference(RIGHT_ROWS), ..Input::stream(800_000, Keys::Unique) };
    vec![Throughput {
        other: Some(Input {
            time: EventTime::Table,
            value_bytes: 20,
            ..Input::stream(RIGHT_ROWS, Keys::Unique)
        }),
        emission: Emission::InTheEnd,
        has_topics_between: true,
        ours: &["commit.interval.ms=500"],
        has_limit: false,
        is_in_quick_look: false,
        ..Throughput::new(
            "foreign-key-join",
            "join 800 k rows with 20 k rows that they name",
            Workload::ForeignKeyJoin,
            left,
            GOALS,
        )
    }]
}

pub(super) fn topology(builder: &StreamsBuilder, run: &OneRun) -> Result<()> {
    let left = builder.table::<Vec<u8>, Vec<u8>>(run.input.as_str()).materialized(LEFT.without_caching());
    let right = builder.table::<Vec<u8>, Vec<u8>>(other_input(run)?).materialized(RIGHT.without_caching());
    let rows = left
        .on(|_key, value| value[..REFERENCE_BYTES].to_vec())
        .join(&right, |left, right| joined(left, right));
    rows.to_stream().to(run.output.as_str());
    Ok(())
}
