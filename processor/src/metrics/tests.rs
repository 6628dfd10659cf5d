//! What is served is what `docs/metrics.md` says, in a form that Prometheus reads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::http::test_app::TestApp;
use crate::runtime::{ThreadSnapshot, ThreadState};

/// A metric: its type and the names of its labels.
type Described = BTreeMap<String, (String, BTreeSet<String>)>;

/// The text of an application that has something to tell of every metric.
fn text_of_an_app_with_a_past() -> String {
    let app = TestApp::running().with_snapshots();
    app.metrics.count_http_request("/stores/{name}", 200, Duration::from_millis(250));
    app.metrics.count_http_request("/stores/{name}", 404, Duration::from_millis(500));
    app.metrics.text().unwrap()
}

#[test]
fn the_document_and_the_served_metrics_are_the_same() {
    let served: Described = parse(&text_of_an_app_with_a_past())
        .into_iter()
        .map(|(name, family)| {
            let mut labels: BTreeSet<String> = family.series[0].0.keys().cloned().collect();
            assert!(labels.remove("application_id"), "{name} does not name the application");
            (name, (family.kind, labels))
        })
        .collect();
    let documented = documented();
    assert!(
        documented.len() > 20,
        "docs/metrics.md has only these metrics, is it still read right? {documented:?}"
    );
    for (name, described) in &served {
        assert_eq!(documented.get(name), Some(described), "{name} (right) in docs/metrics.md (left)");
    }
    let only_documented: Vec<_> = documented.keys().filter(|name| !served.contains_key(*name)).collect();
    assert!(
        only_documented.is_empty(),
        "docs/metrics.md has metrics that are not served: {only_documented:?}"
    );
}

#[test]
fn the_text_is_this() {
    let text = text_of_an_app_with_a_past();
    let value = parse(&text)["millstream_state_memory_used_bytes"].series[0].1;
    assert!(value.is_finite() && value >= 0.0, "{value}");
    // What RocksDB's block cache takes from the start is its own affair.
    let used = |line: &&str| !line.starts_with("millstream_state_memory_used_bytes{");
    let text: Vec<&str> = text.lines().filter(used).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn a_task_that_moves_between_threads_is_told_once() {
    let app = TestApp::running().with_snapshots();
    let first = app.shared.threads.snapshots()[0].clone();
    let mut second = ThreadSnapshot::before_start("shop-StreamThread-2".into());
    second.tasks = first.tasks.clone();
    app.shared.threads.places()[1].tell(second);
    let processed = &parse(&app.metrics.text().unwrap())["millstream_task_records_processed_total"];
    assert_eq!(processed.series.len(), 2);
}

#[test]
fn a_thread_that_failed_is_counted_although_it_reports_no_more() {
    let app = TestApp::running().with_snapshots();
    app.shared.thread_is(&app.shared.threads.places()[0], ThreadState::Failed);
    let threads = &parse(&app.metrics.text().unwrap())["millstream_threads"];
    let counts: BTreeMap<&str, f64> =
        threads.series.iter().map(|(labels, count)| (&*labels["state"], *count)).collect();
    let expected = [("failed", 1.0), ("running", 1.0), ("rebalancing", 0.0), ("ended", 0.0)];
    assert_eq!(counts, BTreeMap::from(expected));
}

#[test]
fn names_and_values_of_any_kind_are_escaped() {
    let app = TestApp::running().with_snapshots();
    let mut thread = ThreadSnapshot::clone(&app.shared.threads.snapshots()[0]);
    thread.name = "a \"b\"\\c\nd".into();
    app.shared.threads.places()[0].tell(thread);
    let family = &parse(&app.metrics.text().unwrap())["millstream_thread_commits_total"];
    assert!(family.series.iter().any(|(labels, _)| labels["thread"] == "a \"b\"\\c\nd"), "{family:?}");
}

/// The rows of the table in `docs/metrics.md`.
fn documented() -> Described {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let document = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let in_backticks = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_string).collect();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(name, rest)| {
        let cells: Vec<&str> = rest.split('|').map(str::trim).collect();
        (name.to_string(), (cells[1].to_string(), in_backticks(cells[2])))
    })
    .collect()
}

#[derive(Debug)]
struct ParsedFamily {
    kind: String,
    series: Vec<(BTreeMap<String, String>, f64)>,
}

/// Reads Prometheus' text format, as strictly as these metrics need it.
fn parse(text: &str) -> BTreeMap<String, ParsedFamily> {
    let mut families: BTreeMap<String, ParsedFamily> = BTreeMap::new();
    let mut with_help = BTreeSet::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            assert!(!help.is_empty() && with_help.insert(name), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            let family = ParsedFamily { kind: kind.to_string(), series: Vec::new() };
            assert!(
                with_help.contains(name) && families.insert(name.to_string(), family).is_none(),
                "{line}"
            );
        } else {
            let (name, labels, value) = parse_series(line);
            let series =
                &mut families.get_mut(name).unwrap_or_else(|| panic!("no type before {line}")).series;
            assert!(series.iter().all(|(other, _)| *other != labels), "told twice: {line}");
            series.push((labels, value));
        }
    }
    families
}

fn parse_series(line: &str) -> (&str, BTreeMap<String, String>, f64) {
    let (name, mut rest) = line.split_once('{').unwrap();
    let mut labels = BTreeMap::new();
    loop {
        let (label, value) = rest.split_once("=\"").unwrap();
        let (value, after) = parse_quoted(value);
        labels.insert(label.to_string(), value);
        rest = after;
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => break,
        }
    }
    (name, labels, rest.strip_prefix("} ").unwrap().parse().unwrap())
}

/// The text up to the closing quote, without its escapes, and what follows.
fn parse_quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next().unwrap() {
            (at, '"') => return (value, &text[at + 1..]),
            (_, '\\') => value.push(match characters.next().unwrap().1 {
                'n' => '\n',
                other => other,
            }),
            (_, other) => value.push(other),
        }
    }
}
