//! The result as a Markdown table: medians, and ratios pair by pair.

use std::fmt::Write as _;

use crate::{Measured, Workload};

/// One workload: ours and the limit, pair by pair.
pub(crate) struct Row {
    pub(crate) workload: Workload,
    pub(crate) pairs: Vec<(Measured, Measured)>,
}

pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| workload | ours rec/s | limit rec/s | ours CPU ns/rec | limit CPU ns/rec | CPU ratio: median (min to max) | ours RSS MB |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let ours = |value: fn(&Measured) -> f64| median(row.pairs.iter().map(|(ours, _)| value(ours)));
        let limit = |value: fn(&Measured) -> f64| median(row.pairs.iter().map(|(_, limit)| value(limit)));
        let ratios = || {
            row.pairs
                .iter()
                .map(|(ours, limit)| ours.cpu_nanoseconds_per_record / limit.cpu_nanoseconds_per_record)
        };
        writeln!(
            text,
            "| {:?} | {:.0} | {:.0} | {:.0} | {:.0} | {:.2} ({:.2} to {:.2}) | {:.0} |",
            row.workload,
            ours(|run| run.records_per_second),
            limit(|run| run.records_per_second),
            ours(|run| run.cpu_nanoseconds_per_record),
            limit(|run| run.cpu_nanoseconds_per_record),
            median(ratios()),
            ratios().fold(f64::INFINITY, f64::min),
            ratios().fold(0.0, f64::max),
            ours(|run| run.resident_megabytes),
        )
        .expect("writing to a String cannot fail");
    }
    text
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
    }
}
