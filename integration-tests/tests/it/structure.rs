//! The rules of this codebase that a machine can check: who may depend on what, and that the documents tell the truth.
//!
//! These tests read the checkout and ask cargo; they need no broker and none of the workspace's own code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn state_stores_know_neither_kafka_nor_an_async_runtime_nor_metrics() {
    let tree = cargo(&[
        "tree",
        "-p",
        "millstream-state-stores",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--offline",
    ]);
    let below: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(
        below.contains("rocksdb"),
        "`cargo tree` shows no rocksdb below state-stores; is it still read right?\n{tree}"
    );
    for forbidden in ["rdkafka", "tokio", "prometheus"] {
        assert!(
            !below.contains(forbidden),
            "millstream-state-stores depends on {forbidden}: stores hand their changes out, the processor crate talks to \
             the outside (`cargo tree -p millstream-state-stores -i {forbidden}` shows the way it comes in)"
        );
    }
}

#[test]
fn examples_depend_on_the_facade_alone() {
    let metadata: serde_json::Value =
        serde_json::from_str(&cargo(&["metadata", "--no-deps", "--format-version", "1", "--offline"]))
            .unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let name_of = |package: &serde_json::Value| package["name"].as_str().unwrap().to_owned();
    let workspace: BTreeSet<String> = packages.iter().map(name_of).collect();
    let examples = packages.iter().find(|package| name_of(package) == "millstream-examples").unwrap();
    // Dev- and build-dependencies are in this list too.
    let used: BTreeSet<String> = examples["dependencies"]
        .as_array()
        .unwrap()
        .iter()
        .map(name_of)
        .filter(|name| workspace.contains(name))
        .collect();
    assert_eq!(
        used,
        BTreeSet::from(["millstream".to_owned()]),
        "the examples show what a user writes, and a user depends on `millstream` alone: re-export there what is missing"
    );
}

#[test]
fn only_the_kafka_folder_and_the_tests_name_rdkafka() {
    let allowed = ["processor/src/kafka/", "integration-tests/", "benchmarks/"];
    let mut found = Vec::new();
    for path in files_below("", "rs") {
        if allowed.iter().any(|folder| path.starts_with(folder)) {
            continue;
        }
        for (index, line) in read(&path).lines().enumerate() {
            let code = line.trim_start();
            if !code.starts_with("//") && (code.contains("rdkafka::") || code.contains("use rdkafka")) {
                found.push(format!("{path}:{}", index + 1));
            }
        }
    }
    assert!(
        found.is_empty(),
        "rdkafka is named outside {allowed:?}: {found:#?}\nput the Kafka call behind processor/src/kafka"
    );
}

#[test]
fn every_rust_file_opens_with_a_sentence_on_what_it_is() {
    let files = files_below("", "rs");
    assert!(files.len() > 6, "found only these Rust files, is the search still right? {files:?}");
    let silent: Vec<_> = files.into_iter().filter(|path| !read(path).starts_with("//! ")).collect();
    assert!(
        silent.is_empty(),
        "these files do not open with `//!`, say in plain words what each is for: {silent:#?}"
    );
}

#[test]
fn every_path_named_in_the_architecture_exists() {
    let named = paths_in_backticks(&read("ARCHITECTURE.md"));
    assert!(named.len() > 5, "ARCHITECTURE.md names only these paths, is it still read right? {named:?}");
    let missing: Vec<_> = named.iter().filter(|path| !root().join(path).exists()).collect();
    assert!(
        missing.is_empty(),
        "ARCHITECTURE.md names paths that do not exist (write them from the root): {missing:#?}"
    );
}

#[test]
fn every_metric_is_documented_and_has_a_panel() {
    let documented: BTreeSet<String> = read("docs/metrics.md")
        .lines()
        .filter_map(|line| metric_names(line.strip_prefix("| `")?).pop_first())
        .collect();
    assert!(
        documented.len() > 20,
        "docs/metrics.md has only these metrics, is it still read right? {documented:?}"
    );
    let dashboards = files_below("deploy/grafana/dashboards", "json");
    let rules = files_below("deploy/prometheus", "yml");
    assert!(!dashboards.is_empty() && !rules.is_empty(), "deploy/ has lost its dashboards or its rules");
    let mut without_panel = documented.clone();
    for path in dashboards.iter().chain(&rules) {
        let text = read(path);
        if path.ends_with(".json") {
            let valid = serde_json::from_str::<serde_json::Value>(&text);
            assert!(valid.is_ok(), "{path} is no valid JSON: {valid:?}");
            without_panel = &without_panel - &metric_names(&text);
        }
        let used = metric_names(&text);
        let unknown: Vec<_> = used.difference(&documented).collect();
        assert!(unknown.is_empty(), "{path} uses metrics that docs/metrics.md does not have: {unknown:#?}");
    }
    assert!(without_panel.is_empty(), "no panel of {dashboards:?} shows {without_panel:#?}");
}

#[test]
fn the_description_of_the_formats_is_reviewed_when_their_code_changes() {
    let sources = files_below("state-stores/src/format", "rs");
    assert!(
        !sources.is_empty(),
        "state-stores/src/format holds no Rust file, yet it is the one home of byte layouts"
    );
    let contents: Vec<String> = sources.iter().map(|path| read(path)).collect();
    let marker = format!("<!-- format-hash: {:016x} -->", fnv_1a_64(contents.concat().as_bytes()));
    assert!(
        read("docs/formats.md").lines().any(|line| line.trim() == marker),
        "state-stores/src/format has changed since docs/formats.md was last reviewed. Compare the two, correct the \
         document (a changed layout also needs an ADR and new golden files), then put this line into it:\n{marker}"
    );
}

#[test]
fn the_image_is_built_with_the_pinned_toolchain() {
    let toolchain = read("rust-toolchain.toml");
    let version =
        toolchain.lines().find_map(|line| line.strip_prefix("channel = \"")).unwrap().trim_end_matches('"');
    let argument = format!("ARG RUST_VERSION={version}");
    assert!(
        read("Dockerfile").lines().any(|line| line == argument),
        "rust-toolchain.toml says {version}: the Dockerfile needs `{argument}`"
    );
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path))
        .unwrap_or_else(|error| panic!("{path} cannot be read: {error}"))
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {} failed:\n{errors}", arguments.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// The files with this extension below a folder of the checkout, as sorted paths from its root.
/// Build output and hidden folders are left out.
pub(crate) fn files_below(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{} cannot be read: {error}", folder.display()));
        for entry in entries {
            let path: PathBuf = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                folders.push(path);
            } else if path.is_file() && path.extension().is_some_and(|found| found == extension) {
                found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// What stands between backticks outside code blocks and looks like a path from the root: letters, digits and `_ - . /`,
/// with a slash inside or the ending of a Rust or Markdown file. HTTP routes start with a slash and are none.
fn paths_in_backticks(markdown: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    let mut in_code_block = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            in_code_block = !in_code_block;
        } else if !in_code_block {
            paths.extend(
                line.split('`').skip(1).step_by(2).filter(|text| looks_like_a_path(text)).map(str::to_owned),
            );
        }
    }
    paths
}

fn looks_like_a_path(text: &str) -> bool {
    let has_path_letters =
        text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-./".contains(letter));
    has_path_letters
        && !text.starts_with('/')
        && (text.contains('/') || text.ends_with(".rs") || text.ends_with(".md"))
}

/// Every word of the text that starts like our metrics.
fn metric_names(text: &str) -> BTreeSet<String> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("millstream_"))
        .map(str::to_owned)
        .collect()
}

/// FNV-1a with 64 bits: stable over versions of Rust, unlike the standard library's hasher.
fn fnv_1a_64(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn the_hash_is_fnv_1a() {
    assert_eq!(fnv_1a_64(b""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(fnv_1a_64(b"foobar"), 0x8594_4171_f739_67e8);
}

#[test]
fn paths_are_told_from_other_code() {
    let text = "`a/b.rs`, `lib.rs`, `/stores`, `Vec<T>`, `docs/`, `key_value`, `<app>/x`\n```text\n`not/this`\n```\n`README.md`";
    let expected = ["README.md", "a/b.rs", "docs/", "lib.rs"];
    assert_eq!(paths_in_backticks(text), expected.map(str::to_owned).into());
}
