//! Compares case after case.

use anyhow::{Context, Result, ensure};

use super::case::Case;
use super::compare::{Difference, differences};
use super::exceptions::{forgive, is_comparable};
use super::kafka_streams::KafkaStreams;
use super::ours::observe;
use super::shrink::shrink;

/// How many cases were compared, and which of them differ.
#[derive(Debug, Default)]
pub struct Tally {
    /// Cases with the same outcome on both sides, or that differ as they must.
    pub agree: usize,
    /// The others.
    pub differ: Vec<Case>,
}

impl Tally {
    /// The differing cases, small ones first.
    pub fn smallest_first(&self) -> Vec<&Case> {
        let mut cases: Vec<&Case> = self.differ.iter().collect();
        cases.sort_by_key(|case| case.program.len() + case.steps.len());
        cases
    }

    /// `N cases agree, M differ`
    pub fn summary(&self) -> String {
        format!("{} cases agree, {} differ", self.agree, self.differ.len())
    }
}

/// Where the two sides differ. What is meant to differ is forgiven, unless the case is there to show it.
///
/// # Errors
/// If the case is no program, or the JVM ended.
pub fn compare(case: &Case, kafka_streams: &mut KafkaStreams) -> Result<Vec<Difference>> {
    let is_there_to_differ = case.differs.is_some();
    ensure!(
        is_there_to_differ || is_comparable(case),
        "{} cannot be compared, as `exceptions.rs` says",
        case.name
    );
    let mut ours = observe(case).with_context(|| case.name.clone())?;
    let mut theirs = kafka_streams.observe(case).with_context(|| case.name.clone())?;
    if !is_there_to_differ {
        forgive(case, &mut ours);
        forgive(case, &mut theirs);
    }
    Ok(differences(&ours, &theirs))
}

/// Compares all cases; `progress` is called after each.
///
/// # Errors
/// As [`compare`].
pub fn run(
    cases: impl IntoIterator<Item = Case>,
    kafka_streams: &mut KafkaStreams,
    progress: &mut dyn FnMut(&Tally),
) -> Result<Tally> {
    let mut tally = Tally::default();
    for case in cases {
        let differs = !compare(&case, kafka_streams)?.is_empty();
        if differs == case.differs.is_some() {
            tally.agree += 1;
        } else {
            tally.differ.push(case);
        }
        progress(&tally);
    }
    Ok(tally)
}

/// A case that differs made as small as it can be while it does, and where it differs. One in which both sides take the program, and each
/// step, is not made smaller to one in which only one side does.
///
/// # Errors
/// As [`compare`].
pub fn smallest(case: &Case, kafka_streams: &mut KafkaStreams) -> Result<(Case, Vec<Difference>)> {
    let ends_otherwise = |differences: &[Difference]| differences.iter().any(Difference::is_of_the_end);
    let ended_otherwise = ends_otherwise(&compare(case, kafka_streams)?);
    let smallest = shrink(case, &mut |candidate| {
        // Where it fails, what is left is no program, or cannot be compared.
        compare(candidate, kafka_streams).is_ok_and(|differences| {
            !differences.is_empty() && ends_otherwise(&differences) == ended_otherwise
        })
    });
    let differences = compare(&smallest, kafka_streams)?;
    Ok((smallest, differences))
}
