//! What the runs of a row came to, and what they come to together.

use super::Row;
use crate::child::{QueryTimes, Usage};
use crate::report::{Figures, Goal, Outcome, Ratios};
use crate::settings::Column;
use crate::sides::Side;
use crate::stats::{Spread, median};

/// How far a run is, and what it has used.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    pub(super) usage: Usage,
    /// Input records.
    pub(super) records: u64,
}

/// What one run came to.
#[derive(Clone, Copy)]
pub(super) struct Measured {
    pub(super) records_per_s: f64,
    pub(super) cpu_ns_per_record: f64,
    pub(super) rss_mb: f64,
    /// Records written to the output, if all of the input was read.
    pub(super) outputs: Option<u64>,
    /// Of the output; only taken in the first round, as reading everything back takes longer than writing it.
    pub(super) digest: Option<u64>,
    pub(super) queries: Option<QueryTimes>,
}

/// What every side came to in one round.
pub(super) type Round = Vec<(Side, Measured)>;

impl Measured {
    pub(super) fn between(from: Mark, to: Mark, rss_mb: f64) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "a count of records fits")]
        let records = (to.records - from.records) as f64;
        Measured {
            records_per_s: records / to.usage.at.saturating_sub(from.usage.at).as_secs_f64(),
            cpu_ns_per_record: to.usage.cpu.saturating_sub(from.usage.cpu).as_secs_f64() * 1e9 / records,
            rss_mb,
            outputs: None,
            digest: None,
            queries: None,
        }
    }
}

/// Medians of each side, and ratios round by round.
pub(super) fn outcome(row: &dyn Row, goals: &[Goal], column: Column, rounds: &[Round]) -> Outcome {
    let of = |side: Side| -> Vec<Measured> {
        let all = rounds.iter().flatten();
        all.filter(|(found, _)| *found == side).map(|(_, measured)| *measured).collect()
    };
    let (ours, peer, limit) = (of(Side::Ours), of(Side::Peer), of(Side::Limit));
    let ratio = |theirs: &[Measured], value: fn(&Measured) -> f64| {
        Spread::of(ours.iter().zip(theirs).map(|(ours, theirs)| value(ours) / value(theirs)))
    };
    let digests: Vec<u64> = rounds.iter().flatten().filter_map(|(_, measured)| measured.digest).collect();
    let mut outcome = Outcome::new(row, column, rounds.len());
    outcome.goals = goals.to_vec();
    outcome.outputs_agree = digests.windows(2).all(|pair| pair[0] == pair[1]);
    outcome.ratio = Ratios::of(
        ratio(&peer, |run| run.records_per_s),
        ratio(&peer, |run| run.cpu_ns_per_record),
        ratio(&peer, |run| run.rss_mb),
    );
    outcome.cpu_of_limit = ratio(&limit, |run| run.cpu_ns_per_record);
    outcome.throughput_of_limit = ratio(&limit, |run| run.records_per_s);
    outcome.ours = figures(&ours).unwrap_or_default();
    outcome.peer = figures(&peer);
    outcome.limit = figures(&limit);
    outcome
}

fn figures(runs: &[Measured]) -> Option<Figures> {
    let of = |value: fn(&Measured) -> f64| median(runs.iter().map(value));
    #[allow(clippy::cast_precision_loss, reason = "a count of records fits")]
    let outputs = median(runs.iter().filter_map(|run| run.outputs).map(|outputs| outputs as f64));
    Some(Figures {
        records_per_s: Some(of(|run| run.records_per_s)?),
        cpu_ns_per_record: of(|run| run.cpu_ns_per_record),
        rss_mb: of(|run| run.rss_mb),
        outputs,
        ..Figures::default()
    })
}
