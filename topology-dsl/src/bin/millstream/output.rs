//! What is printed, for people or for programs, and what they are asked.

use std::io::{BufRead, IsTerminal, Write};

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use indicatif::{ProgressBar, ProgressStyle};
use millstream::{Error, Result};
use serde_json::Value;

/// How results are printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// Prints a result: as JSON, or as `people` want to see it.
    pub(crate) fn print(self, json: &Value, people: impl FnOnce() -> String) -> Result<()> {
        let text = if self.json { format!("{json:#}") } else { people() };
        self.line(&text)
    }

    /// Prints a line. That nobody reads it any more, as `head` does not, is an error.
    pub(crate) fn line(self, text: &str) -> Result<()> {
        writeln!(std::io::stdout(), "{}", text.trim_end())
            .map_err(|error| Error::invalid("cannot print the result").with_source(error))
    }
}

/// A table with this head.
pub(crate) fn table<const N: usize>(head: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(head);
    table
}

/// Does something of so many parts, with a bar on a terminal, which is gone afterwards however it ended.
pub(crate) fn with_progress<T>(parts: usize, act: impl FnOnce(&ProgressBar) -> T) -> T {
    let bar = ProgressBar::new(parts as u64).with_style(progress_style());
    let done = act(&bar);
    bar.finish_and_clear();
    done
}

fn progress_style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")
        .expect("the template is well-formed, as a test shows")
}

/// Asks whether to go on. Without a terminal there is nobody to ask, and the answer is no.
pub(crate) fn confirm(question: &str) -> Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        eprintln!("millstream: nothing was changed: this is no terminal to ask on; pass --yes");
        return Ok(false);
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    stdin
        .lock()
        .read_line(&mut answer)
        .map_err(|error| Error::invalid("cannot read the answer; pass --yes").with_source(error))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_gone_when_what_it_shows_has_failed() {
        let mut shown = None;
        let done: Result<()> = with_progress(3, |bar| {
            bar.inc(1);
            shown = Some(bar.clone());
            Err(Error::invalid("it failed"))
        });
        assert!(done.is_err());
        assert!(shown.is_some_and(|bar| bar.is_finished()));
    }
}
