//! The committed figures, and what counts as worse than them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::callgrind::Counts;

/// Growth that fails, and shrinkage that is worth a new baseline.
const TOLERANCE: f64 = 0.05;
/// Functions that cost less per record are left out.
const LEAST: f64 = 1.0;
/// Functions named in a message.
const NAMED: usize = 5;

/// `benchmarks/instructions.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Baseline {
    /// What it was measured with.
    pub(crate) tools: String,
    pub(crate) scenarios: BTreeMap<String, Cost>,
}

/// Instructions per record.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cost {
    total: f64,
    /// By function, without its callees in the program.
    functions: BTreeMap<String, f64>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    Same,
    /// A hint: something costs less, and would not be missed if it grew back.
    Better(String),
    /// Why the gate fails.
    Worse(String),
}

impl Cost {
    /// The cost of one of the `records` by which the runs differ.
    pub(crate) fn between(short: &Counts, long: &Counts, records: u64) -> Cost {
        let per_record =
            |short: u64, long: u64| ((long as f64 - short as f64) * 10.0 / records as f64).round() / 10.0;
        let functions = long.functions.iter().map(|(function, count)| {
            let before = short.functions.get(function).copied().unwrap_or(0);
            (function.clone(), per_record(before, *count))
        });
        Cost {
            total: per_record(short.total, long.total),
            functions: functions.filter(|(_, cost)| *cost >= LEAST).collect(),
        }
    }

    /// How much more each function costs than in `before`, the largest growth first.
    fn growth_since<'a>(&'a self, before: &'a Cost) -> Vec<(&'a str, f64, f64)> {
        let of = |cost: &Cost, function: &str| cost.functions.get(function).copied().unwrap_or(0.0);
        let names: BTreeSet<&String> = self.functions.keys().chain(before.functions.keys()).collect();
        let mut growth: Vec<(&str, f64, f64)> =
            names.into_iter().map(|name| (name.as_str(), of(before, name), of(self, name))).collect();
        growth.sort_by(|(_, old, new), (_, other_old, other_new)| {
            (other_new - other_old).total_cmp(&(new - old))
        });
        growth
    }
}

impl Baseline {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read; `make bench-baseline` makes it", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not a baseline", path.display()))
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
    }

    pub(crate) fn judge(&self, measured: &Baseline) -> Verdict {
        let (mut worse, mut better) = (String::new(), String::new());
        for (name, new) in &measured.scenarios {
            let Some(old) = self.scenarios.get(name) else {
                writeln!(worse, "{name}: {:.1}, and the baseline does not have it", new.total)
                    .expect(TO_STRING);
                continue;
            };
            let line = format!(
                "{name}: {:.1} -> {:.1} ({:+.1} %)",
                old.total,
                new.total,
                (new.total / old.total - 1.0) * 100.0
            );
            if new.total > old.total * (1.0 + TOLERANCE) {
                writeln!(worse, "{line}").expect(TO_STRING);
                let grew = new.growth_since(old).into_iter().filter(|(_, old, new)| new > old).take(NAMED);
                for (function, old, new) in grew {
                    writeln!(worse, "    {:+8.1}  {function} ({old:.1} -> {new:.1})", new - old)
                        .expect(TO_STRING);
                }
            } else if new.total < old.total * (1.0 - TOLERANCE) {
                writeln!(better, "{line}").expect(TO_STRING);
            }
        }
        if !worse.is_empty() {
            return Verdict::Worse(format!(
                "the engine needs more instructions per record than benchmarks/instructions.json allows (5 %):\n\n{worse}\n\
                 If that is the price of something worth it, accept it with `make bench-baseline` and say so in the commit.\n{}",
                self.other_tools(measured)
            ));
        }
        if !better.is_empty() {
            return Verdict::Better(format!(
                "the engine needs fewer instructions per record; keep that with `make bench-baseline`:\n\n{better}"
            ));
        }
        Verdict::Same
    }

    fn other_tools(&self, measured: &Baseline) -> String {
        if self.tools == measured.tools {
            return String::new();
        }
        format!(
            "The baseline was made with other tools, which may be all there is to it:\n  then {}\n  now  {}\n",
            self.tools, measured.tools
        )
    }
}

const TO_STRING: &str = "writing to a String cannot fail";

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(total: f64, functions: &[(&str, f64)]) -> Baseline {
        let functions = functions.iter().map(|(name, cost)| (name.to_string(), *cost)).collect();
        Baseline {
            tools: "valgrind".into(),
            scenarios: BTreeMap::from([("pass".into(), Cost { total, functions })]),
        }
    }

    #[test]
    fn what_both_runs_have_drops_out() {
        let counts = |process: u64| Counts {
            total: 1_000 + process,
            functions: [("start".into(), 1_000), ("process".into(), process)].into(),
        };
        let (short, long) = (counts(400), counts(800));
        let cost = Cost::between(&short, &long, 100);
        assert_eq!((cost.total, cost.functions), (4.0, BTreeMap::from([("process".to_string(), 4.0)])));
    }

    #[test]
    fn more_than_the_tolerance_fails_and_names_what_grew() {
        let before = baseline(400.0, &[("malloc", 100.0), ("encode", 50.0), ("decode", 50.0)]);
        let after = baseline(460.0, &[("malloc", 180.0), ("encode", 30.0), ("decode", 50.0)]);
        let Verdict::Worse(message) = before.judge(&after) else { panic!("15 % passed") };
        assert!(message.contains("pass: 400.0 -> 460.0 (+15.0 %)"), "{message}");
        assert!(message.contains("+80.0  malloc (100.0 -> 180.0)"), "{message}");
        assert!(!message.contains("encode") && !message.contains("other tools"), "{message}");
    }

    #[test]
    fn a_scenario_without_a_figure_fails() {
        let nothing = Baseline { tools: String::new(), scenarios: BTreeMap::new() };
        let Verdict::Worse(message) = nothing.judge(&baseline(400.0, &[])) else { panic!("it passed") };
        assert!(message.contains("make bench-baseline"), "{message}");
    }

    #[test]
    fn what_lies_within_the_tolerance_passes_and_a_gain_gives_a_hint() {
        let before = baseline(400.0, &[]);
        assert_eq!(before.judge(&baseline(419.0, &[])), Verdict::Same);
        assert_eq!(before.judge(&baseline(381.0, &[])), Verdict::Same);
        let Verdict::Better(hint) = before.judge(&baseline(379.0, &[])) else { panic!("no hint") };
        assert!(hint.contains("pass: 400.0 -> 379.0 (-5.2 %)"), "{hint}");
    }
}
