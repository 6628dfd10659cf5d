//! The result as Markdown.

use std::fmt::Write as _;

use super::{Figure, Figures, Goal, Outcome};
use crate::rows::nexmark;
use crate::stats::Spread;

/// One outcome, while the others are still being measured.
pub(crate) fn line(outcome: &Outcome) -> String {
    let goals = outcome.goals.iter().map(|goal| goal_cell(goal, outcome)).collect::<Vec<_>>().join("; ");
    format!("{} ({}): {goals}", outcome.workload, outcome.settings.name())
}

/// All outcomes: the figures, then the goals.
pub(crate) fn tables(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| workload | settings | ours rec/s | Kafka Streams rec/s | limit rec/s | throughput x (min to max) \
         | CPU ns/rec: ours, Kafka Streams, limit | CPU x (min to max) | CPU to limit | RSS MB: ours, Kafka Streams | pairs |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for outcome in outcomes.iter().filter(|outcome| outcome.ours.records_per_s.is_some()) {
        let (ours, peer, limit) = sides(outcome);
        let ratio = outcome.ratio;
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {}, {}, {} | {} | {} | {}, {} | {} |",
            outcome.workload,
            outcome.settings.name(),
            thousands(ours.records_per_s),
            thousands(peer.records_per_s),
            thousands(limit.records_per_s),
            spread(ratio.map(|ratio| ratio.throughput)),
            whole(ours.cpu_ns_per_record),
            whole(peer.cpu_ns_per_record),
            whole(limit.cpu_ns_per_record),
            spread(ratio.map(|ratio| ratio.cpu)),
            spread(outcome.cpu_of_limit),
            whole(ours.rss_mb),
            whole(peer.rss_mb),
            outcome.pairs,
        )
        .expect("writing to a String cannot fail");
    }
    text.push_str(&table_of_stalls(outcomes));
    text.push_str("\n| workload | settings | goal | reached |\n|---|---|---|---|\n");
    for outcome in outcomes {
        for goal in &outcome.goals {
            let cell = goal_cell(goal, outcome);
            let (goal, reached) = cell.split_once(": ").unwrap_or((&cell, ""));
            writeln!(text, "| {} | {} | {goal} | {reached} |", outcome.workload, outcome.settings.name())
                .expect("writing to a String cannot fail");
        }
    }
    text.push_str(&mean_of_nexmark(outcomes));
    let notes =
        outcomes.iter().flat_map(|outcome| outcome.notes.iter().map(|note| (&outcome.workload, note)));
    for (workload, note) in notes {
        writeln!(text, "\n- {workload}: {note}").expect("writing to a String cannot fail");
    }
    text
}

/// Nexmark's goal is about all of its queries; empty until each was measured.
fn mean_of_nexmark(outcomes: &[Outcome]) -> String {
    let queries = outcomes.iter().filter(|outcome| outcome.workload.starts_with(nexmark::PREFIX));
    let ratios: Vec<f64> = queries.filter_map(|query| Some(query.ratio?.throughput.median)).collect();
    if ratios.len() < nexmark::QUERIES {
        return String::new();
    }
    #[allow(clippy::cast_precision_loss, reason = "there are eight")]
    let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
    let missed = if mean < nexmark::MEAN_MUST { ", missed" } else { "" };
    format!(
        "\nThroughput of Nexmark's queries, of Kafka Streams', geometric mean of the medians: {mean:.2}{missed}; the goal is at least {:.2} (stretch {:.2}).\n",
        nexmark::MEAN_MUST,
        nexmark::MEAN_STRETCH,
    )
}

/// What was noticed of instances that came and went, a line for each side; empty if none did.
fn table_of_stalls(outcomes: &[Outcome]) -> String {
    let mut lines = String::new();
    for outcome in outcomes {
        for (side, stalls) in outcome.stalls() {
            let Spread { median, min, max, .. } = stalls.gap_ms;
            writeln!(
                lines,
                "| {} | {side} | {median:.0} ({min:.0} to {max:.0}) | {} | {:.0} | {:.0} | {:.0} | {:.0} |",
                outcome.workload,
                whole(stalls.staying_gap_ms),
                stalls.moved,
                stalls.reprocessed,
                stalls.restored,
                stalls.from_zero,
            )
            .expect("writing to a String cannot fail");
        }
    }
    if lines.is_empty() {
        return lines;
    }
    format!(
        "\n| workload | side | longest gap in the output, ms (min to max) | of partitions that stay, ms | partitions moved \
         | records reprocessed | changelog records restored | stores restored from nothing |\n|---|---|---|---|---|---|---|---|\n{lines}"
    )
}

fn sides(outcome: &Outcome) -> (Figures, Figures, Figures) {
    (
        outcome.ours.clone(),
        outcome.peer.clone().unwrap_or_default(),
        outcome.limit.clone().unwrap_or_default(),
    )
}

fn goal_cell(goal: &Goal, outcome: &Outcome) -> String {
    let what = match goal.figure {
        Figure::Throughput => "throughput, of Kafka Streams'",
        Figure::Cpu => "CPU per record, of Kafka Streams'",
        Figure::CpuOfLimit => "CPU per record, of the limit's",
        Figure::ThroughputOfLimit => "throughput, of the limit's",
        Figure::Rss => "peak RSS, of Kafka Streams'",
        Figure::P50 => "p50, of Kafka Streams'",
        Figure::P99 => "p99, of Kafka Streams'",
        Figure::P999 => "p99.9, of Kafka Streams'",
        Figure::P50AboveLimitMs => "p50 above the limit's, ms",
        Figure::P50Micros => "p50, us",
        Figure::P99Micros => "p99, us",
        Figure::Start => "start without the group's join, of Kafka Streams'",
        Figure::StartMs => "start without the group's join, ms",
        Figure::IdleCpuPercent => "idle CPU, % of a core",
        Figure::StoreStallMs => "longest store stall at 100 k dirty keys, ms",
        Figure::RssOfBudget => "peak RSS above that of tiny state, of state_memory",
        Figure::ReopenMs => "store of 1 GiB reopened after kill -9, ms",
        Figure::Gap => "longest gap in the output, of Kafka Streams'",
        Figure::GapMs => "longest gap in the output, ms",
        Figure::GapAboveLimitMs => "longest gap in the output above the limit's (detection and join), ms",
        Figure::StayingGapMs => "longest gap of a partition that stays, ms",
        Figure::FromZero => "stores restored from nothing",
    };
    let bound = match goal.figure {
        Figure::Throughput | Figure::ThroughputOfLimit => "at least",
        Figure::IdleCpuPercent => "less than",
        _ => "at most",
    };
    let stretch = goal.stretch.map_or(String::new(), |stretch| format!(" (stretch {stretch:.2})"));
    let reached = match goal.reached(outcome) {
        None => "no figure".to_owned(),
        Some(reached) if goal.is_met_by(reached) => format!("{reached:.2}"),
        Some(reached) => format!("**{reached:.2}, missed**"),
    };
    format!("{what} {bound} {:.2}{stretch}: {reached}", goal.must)
}

fn spread(spread: Option<Spread>) -> String {
    spread.map_or_else(String::new, |spread| {
        let Spread { median, min, max, .. } = spread;
        match spread.is_tight() {
            true => format!("{median:.2} ({min:.2} to {max:.2})"),
            false => format!("too far apart ({min:.2} to {max:.2})"),
        }
    })
}

fn thousands(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{:.0} k", value / 1e3))
}

fn whole(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"))
}
