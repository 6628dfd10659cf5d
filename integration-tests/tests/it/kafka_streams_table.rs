//! `docs/kafka-streams-table.md` has a row for each method and configuration that Kafka Streams offers, and the tests it names exist.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use millstream_integration_tests::java::JavaPrograms;
use millstream_integration_tests::oracle::written_cases;

use crate::structure::{files_below, read};

const TABLE: &str = include_str!("../../../docs/kafka-streams-table.md");

/// A row: what Kafka Streams calls it, the verdict, and the test or the reason.
struct Row<'a> {
    what: &'a str,
    verdict: &'a str,
    because: &'a str,
}

fn rows(table: &str) -> Vec<Row<'_>> {
    let cells = |line| {
        let mut cells = str::split(line, '|').map(str::trim);
        let (_, what) = (cells.next()?, cells.next()?.strip_prefix('`')?.strip_suffix('`')?);
        let (_, verdict, because) = (cells.next()?, cells.next()?, cells.next()?);
        Some(Row { what, verdict, because })
    };
    table.lines().filter_map(cells).collect()
}

/// The names of all tests of the workspace, and of the oracle's written cases.
pub(crate) fn tests_and_cases() -> Result<BTreeSet<String>> {
    let mut known: BTreeSet<String> = written_cases()?.into_iter().map(|case| case.name).collect();
    for path in files_below("", "rs") {
        let text = read(&path);
        let mut lines = text.lines().map(str::trim);
        while let Some(line) = lines.next() {
            if line == "#[test]" {
                let name = lines.find_map(|line| line.strip_prefix("fn ")?.split('(').next());
                known.extend(name.map(str::to_owned));
            }
        }
    }
    Ok(known)
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
    for Row { what, verdict, because } in rows(TABLE) {
        match verdict {
            "same" => {
                let test = because.trim_matches('`');
                assert!(
                    known.contains(test),
                    "{what}: there is no test or case of the oracle named {test:?}"
                );
            }
            "different" | "left out" => assert!(!because.is_empty(), "{what} is {verdict}, but why?"),
            _ => panic!("{what} is {verdict:?}, which is none of same, different and left out"),
        }
    }
    Ok(())
}

#[test]
fn a_row_is_told_from_the_lines_around_it() {
    let table = "| Kafka Streams | millstream | | Test, or why |\n|---|---|---|---|\n| `KStream.to` | `to` | same | `a, b` |\n";
    let [Row { what, verdict, because }] = rows(table).try_into().unwrap_or_else(|_| panic!("one row"));
    assert_eq!((what, verdict, because), ("KStream.to", "same", "`a, b`"));
}
