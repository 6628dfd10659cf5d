//! The comparison with Kafka Streams in its short form: the written cases, a few hundred random ones, and proof that it finds what is there to
//! be found. `make oracle` is the long form.

use std::collections::BTreeSet;

use anyhow::Result;
use millstream_integration_tests::oracle::{
    KafkaStreams, Op, Tally, compare, exceptions, random_case, report, run, smallest, written_cases,
};

use crate::kafka_streams_table::tests_and_cases;

const CHAPTER: &str = include_str!("../../../docs/oracle.md");
/// How many conformance checks there are.
const CHECKS: usize = 40;
const DIFFERENCES: &str = include_str!("../../../docs/differences-from-kafka-streams.md");

fn assert_all_agree(tally: &Tally, kafka_streams: &mut KafkaStreams) -> Result<()> {
    if let Some(case) = tally.smallest_first().first() {
        let (case, differences) = smallest(case, kafka_streams)?;
        panic!("{}\n{}", tally.summary(), report(&case, &differences));
    }
    assert!(tally.is_clean(), "{}\n{}", tally.summary(), tally.unproven.join("\n"));
    Ok(())
}

#[test]
fn what_people_wrote_agrees_with_kafka_streams() -> Result<()> {
    let mut kafka_streams = KafkaStreams::start()?;
    let tally = run(written_cases()?, &mut kafka_streams, &mut |_| ())?;
    assert_all_agree(&tally, &mut kafka_streams)
}

#[test]
fn random_cases_agree_with_kafka_streams() -> Result<()> {
    let mut kafka_streams = KafkaStreams::start()?;
    let cases = (0..300).map(|number| random_case(1, number));
    let tally = run(cases, &mut kafka_streams, &mut |_| ())?;
    assert_all_agree(&tally, &mut kafka_streams)
}

/// That a case shows what it is there for, is seen as it runs among the others.
#[test]
fn every_exception_is_a_row_of_the_differences_and_has_a_case_that_shows_it() -> Result<()> {
    let cases = written_cases()?;
    let mut known = BTreeSet::new();
    for exception in exceptions() {
        let row = format!("\n| {} |", exception.row);
        assert!(
            DIFFERENCES.contains(&row),
            "docs/differences-from-kafka-streams.md has no row `{}`",
            exception.row
        );
        assert!(known.insert(exception.id), "two exceptions are called `{}`", exception.id);
        let is_shown = cases.iter().any(|case| case.differs.as_deref() == Some(exception.id));
        assert!(is_shown, "no case shows `{}`", exception.id);
    }
    Ok(())
}

/// `docs/oracle.md` has a row for each thing that re-implementations get wrong: its number, what it is, and the tests, in backticks.
#[test]
fn every_conformance_check_names_tests_that_exist() -> Result<()> {
    let known = tests_and_cases()?;
    let rows: Vec<Vec<&str>> =
        CHAPTER.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>()).collect();
    let checks = rows.iter().filter_map(|row| Some((row.get(1)?.parse::<usize>().ok()?, *row.get(3)?)));
    let mut last = 0;
    for (number, tests) in checks {
        assert_eq!(number, last + 1, "the checks are numbered");
        let tests: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "check {number} has no test");
        for test in tests {
            assert!(known.contains_key(test), "check {number}: there is no test or case named {test:?}");
        }
        last = number;
    }
    assert_eq!(last, CHECKS, "docs/oracle.md has all checks");
    Ok(())
}

/// An oracle that never says no proves nothing.
#[test]
fn a_program_that_is_not_the_same_on_both_sides_is_found_and_made_small() -> Result<()> {
    let mut kafka_streams = KafkaStreams::start()?;
    let aggregates_late = |name: &str| name.starts_with("aggregate, log, named");
    let case =
        written_cases()?.into_iter().find(|case| aggregates_late(&case.name)).expect("it is among them");
    assert_eq!(compare(&case, &mut kafka_streams)?, []);
    let mut other = case.clone();
    for statement in other.program.iter_mut().filter(|statement| statement.op == Op::Aggregate) {
        statement.by = Some("total_length".into());
    }
    let ours = millstream_integration_tests::oracle::observe(&other)?;
    let theirs = kafka_streams.observe(&case)?;
    let found = millstream_integration_tests::oracle::differences(&ours, &theirs);
    let what: Vec<&str> = found.iter().map(|difference| &*difference.what).collect();
    assert_eq!(what, ["topic oracle-rows-changelog", "topic out", "store rows"]);
    Ok(())
}
