//! The result as pictures.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::{Outcome, Stalls};
use crate::settings::Column;
use crate::stats::Spread;

/// A name and how long its bar is.
type Bar = (String, Spread);

/// Writes `throughput.svg`, `cpu.svg` and `gaps.svg`.
pub(crate) fn write_all(outcomes: &[Outcome], folder: &Path) -> Result<()> {
    let bars = |value: fn(&Outcome) -> Option<Spread>| -> Vec<Bar> {
        let matched = outcomes.iter().filter(|outcome| outcome.settings == Column::Matched);
        matched.filter_map(|outcome| Some((outcome.workload.clone(), value(outcome)?))).collect()
    };
    let throughput = bars(|outcome| outcome.ratio.map(|ratio| ratio.throughput));
    draw(&folder.join("throughput.svg"), "Throughput, of Kafka Streams' (more is better)", &throughput)?;
    let cpu = bars(|outcome| outcome.ratio.map(|ratio| ratio.cpu));
    draw(&folder.join("cpu.svg"), "CPU time per record, of Kafka Streams' (less is better)", &cpu)?;
    let gaps: Vec<Bar> = outcomes.iter().flat_map(bars_of_gaps).collect();
    draw(&folder.join("gaps.svg"), "Longest gap in the output, in seconds (less is better)", &gaps)
}

fn bars_of_gaps(outcome: &Outcome) -> Vec<Bar> {
    let seconds = |Spread { median, min, max, lower, upper }| {
        let [median, min, max, lower, upper] = [median, min, max, lower, upper].map(|millis| millis / 1000.0);
        Spread { median, min, max, lower, upper }
    };
    let bar =
        |(side, stalls): (String, Stalls)| (format!("{}: {side}", outcome.workload), seconds(stalls.gap_ms));
    outcome.stalls().into_iter().map(bar).collect()
}

/// A bar for each row, with the range of the pairs, and a line at 1.
fn draw(path: &Path, title: &str, bars: &[Bar]) -> Result<()> {
    if bars.is_empty() {
        return Ok(());
    }
    const ROW: u32 = 26;
    let rows = u32::try_from(bars.len())?;
    let widest = bars.iter().map(|(_, spread)| spread.max).fold(1.0, f64::max) * 1.12;
    let longest_name = bars.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let name_area = 170_u32.max(u32::try_from(longest_name)? * 7);
    let failed = |error: &dyn std::fmt::Display| anyhow!("cannot draw {}: {error}", path.display());
    let area = SVGBackend::new(path, (690 + name_area, rows * ROW + 90)).into_drawing_area();
    area.fill(&WHITE).map_err(|error| failed(&error))?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(28)
        .y_label_area_size(name_area)
        .build_cartesian_2d(0.0..widest, (0..rows).into_segmented())
        .map_err(|error| failed(&error))?;
    let name_of = |place: &SegmentValue<u32>| match place {
        SegmentValue::CenterOf(row) if *row < rows => bars[(rows - 1 - row) as usize].0.clone(),
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(bars.len())
        .y_label_formatter(&name_of)
        .x_label_formatter(&|value| format!("{value:.1}"))
        .label_style(("sans-serif", 13))
        .draw()
        .map_err(|error| failed(&error))?;
    for (row, (_, spread)) in (0..rows).rev().zip(bars) {
        let (from, to) = (SegmentValue::Exact(row), SegmentValue::Exact(row + 1));
        let mut bar = Rectangle::new([(0.0, from), (spread.median, to)], RGBColor(46, 110, 158).filled());
        bar.set_margin(4, 4, 0, 0);
        let middle = SegmentValue::CenterOf(row);
        let range = PathElement::new(
            [(spread.min, middle.clone()), (spread.max, middle.clone())],
            BLACK.stroke_width(2),
        );
        let label = Text::new(
            format!("{:.2}", spread.median),
            (spread.max + widest * 0.01, middle),
            ("sans-serif", 13),
        );
        chart.draw_series([bar]).map_err(|error| failed(&error))?;
        chart.draw_series([range]).map_err(|error| failed(&error))?;
        chart.draw_series([label]).map_err(|error| failed(&error))?;
    }
    let one = [(1.0, SegmentValue::Exact(0)), (1.0, SegmentValue::Exact(rows))];
    chart.draw_series([PathElement::new(one, RED.stroke_width(1))]).map_err(|error| failed(&error))?;
    area.present().map_err(|error| failed(&error))
}
