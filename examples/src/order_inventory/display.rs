//! What a run shows of itself: a live table on a terminal, a line a second elsewhere, or nothing.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use crossterm::cursor::MoveUp;
use crossterm::queue;
use crossterm::terminal::{Clear, ClearType};
use indicatif::{ProgressBar, ProgressStyle};
use millstream::ClientState;

/// A run at one moment.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Time since the start of the run.
    pub at: Duration,
    /// What the program is doing.
    pub phase: &'static str,
    /// The application's state.
    pub state: ClientState,
    /// Events written by this run.
    pub written: u64,
    /// Records that this instance processed, those of its own topics included.
    pub processed: u64,
    /// Records that this instance has yet to process.
    pub lag: u64,
    /// Records that could not be read.
    pub poison: u64,
    /// Records restored and to be restored, while state is being restored.
    pub restore: Option<(u64, u64)>,
    /// What the stores say, by sku; only partitions that live here and can be read now.
    pub skus: Vec<SkuRow>,
}

/// A line of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SkuRow {
    /// Which goods.
    pub sku: String,
    /// Pieces in the warehouse.
    pub on_hand: i64,
    /// Pieces of these that are promised.
    pub reserved: i64,
    /// Orders that got a promise.
    pub promised_orders: u64,
    /// Orders that got none.
    pub refused_orders: u64,
}

/// Draws frames, as often as its medium wants them.
pub struct Display {
    medium: Medium,
    last: Option<(Duration, u64)>,
    records_per_second: u64,
}

enum Medium {
    Terminal { lines_drawn: u16, bar: Option<ProgressBar> },
    Lines,
    Nothing,
}

/// Lines of a table that are no rows: borders, header, totals, the number of rows left out, the cursor's.
const LINES_BESIDE_ROWS: u16 = 8;

impl Display {
    /// For standard output, whatever it is; or for nobody.
    pub fn new(is_quiet: bool) -> Self {
        let medium = match (is_quiet, io::stdout().is_terminal()) {
            (true, _) => Medium::Nothing,
            (false, true) => Medium::Terminal { lines_drawn: 0, bar: None },
            (false, false) => Medium::Lines,
        };
        Display { medium, last: None, records_per_second: 0 }
    }

    /// Whether a frame is wanted now. Saves the work of making one.
    pub fn is_due(&self, now: Duration) -> bool {
        let interval = match &self.medium {
            Medium::Terminal { .. } => Duration::from_millis(200),
            Medium::Lines => Duration::from_secs(1),
            Medium::Nothing => return false,
        };
        self.last.is_none_or(|(at, _)| now >= at + interval)
    }

    /// Shows a frame. If nobody can see it any more, none is wanted from then on.
    pub fn show(&mut self, frame: &Frame) {
        if let Some((at, processed)) = self.last {
            let millis = u64::try_from((frame.at - at).as_millis()).unwrap_or(u64::MAX).max(1);
            self.records_per_second = frame.processed.saturating_sub(processed) * 1000 / millis;
        }
        self.last = Some((frame.at, frame.processed));
        let shown = match &mut self.medium {
            Medium::Terminal { lines_drawn, bar } => show_restore(bar, frame.restore)
                .map_or_else(|| draw(lines_drawn, frame, self.records_per_second), Ok),
            Medium::Lines => writeln!(io::stdout(), "{}", line_of(frame, self.records_per_second)),
            Medium::Nothing => Ok(()),
        };
        if shown.is_err() {
            self.medium = Medium::Nothing;
        }
    }

    /// Prints something for a person to read, above what is drawn next.
    pub fn note(&mut self, text: &str) {
        if matches!(self.medium, Medium::Nothing) {
            return;
        }
        if let Medium::Terminal { lines_drawn, .. } = &mut self.medium {
            *lines_drawn = 0;
        }
        if writeln!(io::stdout(), "{text}").is_err() {
            self.medium = Medium::Nothing;
        }
    }
}

/// Shows the bar while something is being restored. None if nothing is.
fn show_restore(bar: &mut Option<ProgressBar>, restore: Option<(u64, u64)>) -> Option<()> {
    let Some((done, all)) = restore else {
        if let Some(bar) = bar.take() {
            bar.finish_and_clear();
        }
        return None;
    };
    let style = ProgressStyle::with_template("restoring state {wide_bar} {pos}/{len} records");
    let bar = bar.get_or_insert_with(|| {
        ProgressBar::new(all).with_style(style.unwrap_or_else(|_invalid| ProgressStyle::default_bar()))
    });
    bar.set_length(all);
    bar.set_position(done);
    Some(())
}

/// Draws over what was drawn last. That works only for what fits on the screen.
fn draw(lines_drawn: &mut u16, frame: &Frame, records_per_second: u64) -> io::Result<()> {
    let (columns, rows) = crossterm::terminal::size()?;
    let text = text_of(frame, records_per_second, usize::from(rows.saturating_sub(LINES_BESIDE_ROWS)));
    let mut out = io::stdout().lock();
    if *lines_drawn > 0 {
        queue!(out, MoveUp(*lines_drawn))?;
    }
    queue!(out, Clear(ClearType::FromCursorDown))?;
    *lines_drawn = 0;
    for line in text.lines() {
        let fitting: String = line.chars().take(usize::from(columns)).collect();
        writeln!(out, "{fitting}")?;
        *lines_drawn += 1;
    }
    out.flush()
}

/// The frame as a table of at most so many rows, with totals below.
pub fn text_of(frame: &Frame, records_per_second: u64, most_rows: usize) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["sku", "on hand", "reserved", "available", "orders promised", "refused"]);
    for row in frame.skus.iter().take(most_rows) {
        table.add_row([
            row.sku.clone(),
            row.on_hand.to_string(),
            row.reserved.to_string(),
            (row.on_hand - row.reserved).to_string(),
            row.promised_orders.to_string(),
            row.refused_orders.to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = table.to_string();
    if let Some(more @ 1..) = frame.skus.len().checked_sub(most_rows) {
        text.push_str(&format!("\n  and {more} more"));
    }
    format!("{text}\n{}\n{}", work_of(frame, records_per_second), stock_of(frame))
}

/// The frame in one line.
pub fn line_of(frame: &Frame, records_per_second: u64) -> String {
    format!("{}; {}", work_of(frame, records_per_second), stock_of(frame))
}

fn work_of(frame: &Frame, records_per_second: u64) -> String {
    let Frame { phase, state, written, processed, .. } = frame;
    format!(
        "{phase}, {state}: {written} events written, {processed} records processed ({records_per_second}/s)"
    )
}

fn stock_of(frame: &Frame) -> String {
    let sum = |of: fn(&SkuRow) -> i64| frame.skus.iter().map(of).sum::<i64>();
    let (on_hand, reserved) = (sum(|row| row.on_hand), sum(|row| row.reserved));
    let mut line = format!("lag {}, on hand {on_hand}, reserved {reserved}", frame.lag);
    if frame.poison > 0 {
        line.push_str(&format!(", poison {}", frame.poison));
    }
    if let Some((done, all)) = frame.restore {
        line.push_str(&format!(", restored {done} of {all}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_well_and_keeps_to_its_rows() {
        let row = |sku: &str, on_hand, reserved| SkuRow {
            sku: sku.into(),
            on_hand,
            reserved,
            promised_orders: 12,
            refused_orders: 3,
        };
        let frame = Frame {
            at: Duration::from_secs(1),
            phase: "writing events",
            state: ClientState::Running,
            written: 100,
            processed: 250,
            lag: 4,
            poison: 2,
            restore: Some((10, 40)),
            skus: vec![row("apples", 38, 22), row("figs", 5, 0), row("plums", 0, 0)],
        };
        insta::assert_snapshot!(text_of(&frame, 240, 2), @r"
        ┌────────┬─────────┬──────────┬───────────┬─────────────────┬─────────┐
        │ sku    ┆ on hand ┆ reserved ┆ available ┆ orders promised ┆ refused │
        ╞════════╪═════════╪══════════╪═══════════╪═════════════════╪═════════╡
        │ apples ┆      38 ┆       22 ┆        16 ┆              12 ┆       3 │
        │ figs   ┆       5 ┆        0 ┆         5 ┆              12 ┆       3 │
        └────────┴─────────┴──────────┴───────────┴─────────────────┴─────────┘
          and 1 more
        writing events, running: 100 events written, 250 records processed (240/s)
        lag 4, on hand 43, reserved 22, poison 2, restored 10 of 40
        ");
    }
}
