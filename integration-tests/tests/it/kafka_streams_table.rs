//! `docs/kafka-streams-table.md` has a row for each method and configuration that Kafka Streams offers, and the tests it names use what they
//! are said to test.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use millstream_integration_tests::java::JavaPrograms;
use millstream_integration_tests::oracle::written_cases;

use crate::structure::{files_below, read};

const TABLE: &str = include_str!("../../../docs/kafka-streams-table.md");

/// A row: what Kafka Streams calls it, what it is here, the verdict, and the test or the reason.
struct Row<'a> {
    what: &'a str,
    here: &'a str,
    verdict: &'a str,
    because: &'a str,
}

impl Row<'_> {
    /// The names in code that say what it is here: `BufferConfig::max_records` is two.
    fn names(&self) -> Vec<&str> {
        self.here.split('`').skip(1).step_by(2).flat_map(words).collect()
    }
}

fn rows(table: &str) -> Vec<Row<'_>> {
    let cells = |line| {
        let mut cells = str::split(line, '|').map(str::trim);
        let (_, what) = (cells.next()?, cells.next()?.strip_prefix('`')?.strip_suffix('`')?);
        let (here, verdict, because) = (cells.next()?, cells.next()?, cells.next()?);
        Some(Row { what, here, verdict, because })
    };
    table.lines().filter_map(cells).collect()
}

/// The names and numbers of a text in Rust.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty())
}

/// Something that shows how a program behaves.
pub(crate) enum Evidence {
    /// The text of a test, and of the functions of its file that it calls.
    Test(String),
    /// The program of a case of the oracle, as JSON.
    Case(String),
}

impl Evidence {
    /// Whether the test or the case uses what has these names in the DSL.
    fn uses(&self, names: &[&str]) -> bool {
        match self {
            Evidence::Test(text) => {
                let used: BTreeSet<&str> = words(text).collect();
                names.iter().all(|name| used.contains(name))
            }
            // A case has no types, and the options of a store or a window have no operator.
            Evidence::Case(program) => names
                .iter()
                .filter(|name| name.starts_with(char::is_lowercase))
                .all(|name| program.contains(&in_a_case(name))),
        }
    }
}

/// How a case says what has this name in the DSL (`integration-tests/src/oracle/case.rs`).
fn in_a_case(name: &str) -> String {
    let option = match name {
        "named" => r#""named":"#,
        "in_memory" => r#""in_memory":true"#,
        "without_caching" => r#""cached":false"#,
        "without_logging" => r#""logged":false"#,
        "of_size_and_grace" => r#""kind":"time""#,
        "of_time_difference_and_grace" => r#""kind":"sliding""#,
        "of_inactivity_gap_and_grace" => r#""kind":"session""#,
        "advance_by" => r#""advance":"#,
        "max_records" => r#""max_records":"#,
        "max_bytes" | "with_max_bytes" => r#""max_bytes":"#,
        operator => return format!(r#""op":"{operator}""#),
    };
    option.to_owned()
}

/// All tests of the workspace and all written cases of the oracle, by name.
pub(crate) fn tests_and_cases() -> Result<BTreeMap<String, Vec<Evidence>>> {
    let mut known: BTreeMap<String, Vec<Evidence>> = BTreeMap::new();
    for case in written_cases()? {
        let program = serde_json::to_string(&case.program)?;
        known.entry(case.name).or_default().push(Evidence::Case(program));
    }
    for path in files_below("", "rs") {
        for (name, text) in tests_in(&read(&path)) {
            known.entry(name).or_default().push(Evidence::Test(text));
        }
    }
    Ok(known)
}

/// The tests of a file, by name, each with the functions it calls.
fn tests_in(file: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = file.lines().collect();
    let (mut tests, mut functions) = (Vec::new(), BTreeMap::new());
    let mut is_test = false;
    for (number, line) in lines.iter().enumerate() {
        is_test |= line.trim() == "#[test]";
        let indent = &line[..line.len() - line.trim_start().len()];
        let signature = line.trim_start();
        let signature = signature.strip_prefix("pub(super) ").unwrap_or(signature);
        let Some(name) = signature.strip_prefix("fn ").and_then(|signature| words(signature).next()) else {
            continue;
        };
        let last = lines[number..].iter().position(|line| line.strip_prefix(indent) == Some("}"));
        let text = lines[number..].iter().take(last.map_or(1, |last| last + 1));
        let text = text.fold(String::new(), |text, line| text + line + "\n");
        if std::mem::take(&mut is_test) {
            tests.push((name.to_owned(), text));
        } else {
            functions.entry(name).or_insert(text);
        }
    }
    let with_functions = |text: String| {
        let called: BTreeSet<&str> = words(&text).collect();
        let called = called.iter().filter_map(|name| functions.get(name));
        called.fold(text.clone(), |text, function| text + function)
    };
    tests.into_iter().map(|(name, text)| (name, with_functions(text))).collect()
}

#[test]
fn it_has_a_row_for_whatever_kafka_streams_offers() -> Result<()> {
    let programs = JavaPrograms::compile(&[("PublicApi.java", include_str!("../../oracle/PublicApi.java"))])?;
    let printed = programs.command("PublicApi", &["-XX:TieredStopAtLevel=1"]).output()?;
    ensure!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let printed = String::from_utf8(printed.stdout)?;
    let offered: BTreeSet<&str> = printed.lines().collect();
    assert!(offered.contains("KStream.flatMapValues") && offered.contains("state.dir"), "{offered:?}");
    let rows = rows(TABLE);
    let described: BTreeSet<&str> = rows.iter().map(|row| row.what).collect();
    assert_eq!(described.len(), rows.len(), "there are two rows of one name");
    let missing: Vec<_> = offered.difference(&described).collect();
    let unknown: Vec<_> = described.difference(&offered).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing: {missing:?}\nunknown: {unknown:?}");
    Ok(())
}

#[test]
fn what_is_the_same_names_a_test_and_all_else_a_reason() -> Result<()> {
    let known = tests_and_cases()?;
    for row in rows(TABLE) {
        let Row { what, here, verdict, because } = row;
        match verdict {
            "same" => {
                let test = because.trim_matches('`');
                let [evidence] = known.get(test).map_or(&[][..], Vec::as_slice) else {
                    panic!("{what}: there is not one test or case of the oracle named {test:?}")
                };
                let names = row.names();
                assert!(!names.is_empty(), "{what} is the same, but as what?");
                assert!(evidence.uses(&names), "{what}: {test:?} does not use {here}");
            }
            "different" | "left out" => assert!(!because.is_empty(), "{what} is {verdict}, but why?"),
            _ => panic!("{what} is {verdict:?}, which is none of same, different and left out"),
        }
    }
    Ok(())
}

#[test]
fn what_is_here_has_the_name_it_is_said_to_have() {
    let sources = files_below("", "rs").into_iter().map(|path| read(&path));
    let known: BTreeSet<String> =
        sources.flat_map(|text| words(&text).map(str::to_owned).collect::<Vec<_>>()).collect();
    for row in rows(TABLE) {
        for name in row.names() {
            assert!(known.contains(name), "{}: nothing is named {name}", row.what);
        }
    }
}

#[test]
fn a_test_uses_what_it_and_the_functions_it_calls_name() {
    let file = "fn open() {\n    stores();\n}\n\n#[test]\nfn rows_are_kept() {\n    open().put(1);\n}\n\nfn other() {\n    get();\n}\n";
    let [(name, text)] = tests_in(file).try_into().unwrap_or_else(|_| panic!("one test"));
    let test = Evidence::Test(text);
    assert_eq!(name, "rows_are_kept");
    assert!(test.uses(&["put", "stores"]));
    assert!(!test.uses(&["get"]) && !test.uses(&["put", "pu"]));
    let case = Evidence::Case(r#"[{"id":"rows","op":"count","store":{"cached":false}}]"#.to_owned());
    assert!(case.uses(&["KGroupedStream", "count", "without_caching"]));
    assert!(!case.uses(&["rows"]) && !case.uses(&["named"]));
}

#[test]
fn a_row_is_told_from_the_lines_around_it() {
    let table = "| Kafka Streams | millstream | | Test, or why |\n|---|---|---|---|\n| `KStream.to` | `to` | same | `a, b` |\n";
    let [row] = rows(table).try_into().unwrap_or_else(|_| panic!("one row"));
    assert_eq!((row.what, row.verdict, row.because), ("KStream.to", "same", "`a, b`"));
    assert_eq!(row.names(), ["to"]);
}
