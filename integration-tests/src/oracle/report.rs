//! A case that differs, for people: the case as JSON, to be kept among the written ones, and both sides beside each other.

use std::fmt::Write;

use super::case::Case;
use super::compare::Difference;

/// Columns of the left side.
const WIDTH: usize = 60;

/// The case and its differences.
pub fn report(case: &Case, differences: &[Difference]) -> String {
    as_json(case) + &side_by_side(differences)
}

/// What both sides say, line by line.
pub(super) fn side_by_side(differences: &[Difference]) -> String {
    let mut text = String::new();
    for Difference { what, ours, theirs } in differences {
        append(&mut text, format_args!("\n{what}\n  {:WIDTH$}   Kafka Streams\n", "millstream"));
        for line in 0..ours.len().max(theirs.len()) {
            let (ours, theirs) = (ours.get(line).map(String::as_str), theirs.get(line).map(String::as_str));
            let sign = if ours == theirs { ' ' } else { '|' };
            let line = format!("  {:WIDTH$} {sign} {}", ours.unwrap_or("-"), theirs.unwrap_or("-"));
            append(&mut text, format_args!("{}\n", line.trim_end()));
        }
    }
    text
}

/// One line a statement and a step.
fn as_json(case: &Case) -> String {
    let mut text = String::from("{\n");
    let line = |value: serde_json::Result<String>| value.unwrap_or_else(|error| error.to_string());
    append(&mut text, format_args!("  \"name\": {},\n", line(serde_json::to_string(&case.name))));
    let flags = [("commits_by_hand", case.commits_by_hand), ("optimized", case.optimized)];
    for (name, _) in flags.iter().filter(|(_, is_set)| *is_set) {
        append(&mut text, format_args!("  \"{name}\": true,\n"));
    }
    let list = |items: Vec<String>| items.join(",\n    ");
    let program = case.program.iter().map(|statement| line(serde_json::to_string(statement))).collect();
    append(&mut text, format_args!("  \"program\": [\n    {}\n  ],\n", list(program)));
    let steps = case.steps.iter().map(|step| line(serde_json::to_string(step))).collect();
    append(&mut text, format_args!("  \"steps\": [\n    {}\n  ]\n}}\n", list(steps)));
    text
}

fn append(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("writing to a String cannot fail");
}
