//! Compares case after case.

use anyhow::{Context, Result, bail, ensure};

use super::case::Case;
use super::compare::{Difference, differences};
use super::exceptions::{exceptions, forgive, hindrance};
use super::kafka_streams::KafkaStreams;
use super::observation::Observation;
use super::ours::observe;
use super::report::side_by_side;
use super::shrink::shrink;
use super::written::difference_of;

/// What came of the cases so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// Cases with the same outcome on both sides.
    pub agree: usize,
    /// Those of them whose programs both sides refuse.
    pub refused: usize,
    /// Those of them that fail in the same step on both sides.
    pub failed: usize,
    /// Cases that are there to differ, and differ in what they are there for.
    pub differ_as_meant: usize,
    /// Cases that should agree and do not.
    pub differ: Vec<Case>,
    /// What is wrong with cases that are there to differ.
    pub unproven: Vec<String>,
}

impl Tally {
    /// The differing cases, small ones first.
    pub fn smallest_first(&self) -> Vec<&Case> {
        let mut cases: Vec<&Case> = self.differ.iter().collect();
        cases.sort_by_key(|case| case.program.len() + case.steps.len());
        cases
    }

    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.differ.is_empty() && self.unproven.is_empty()
    }

    /// What is in the summary, more closely: how cases that agree end, and how many are there to differ.
    pub fn details(&self) -> String {
        format!(
            "{} of those that agree are refused, {} fail; beside them {} differ as they are meant to",
            self.refused, self.failed, self.differ_as_meant
        )
    }

    /// `N cases agree, M differ`
    pub fn summary(&self) -> String {
        format!("{} cases agree, {} differ", self.agree, self.differ.len() + self.unproven.len())
    }

    fn add(&mut self, case: Case, kafka_streams: &mut KafkaStreams) -> Result<()> {
        if let Some(exception) = &case.differs {
            match differs_as_meant(&case, exception, kafka_streams) {
                Ok(()) => self.differ_as_meant += 1,
                Err(wrong) => self.unproven.push(format!("{wrong:#}")),
            }
            return Ok(());
        }
        let (ours, theirs) = both(&case, kafka_streams)?;
        if !differences(&ours, &theirs).is_empty() {
            self.differ.push(case);
            return Ok(());
        }
        self.agree += 1;
        match &ours {
            Observation::Refused { .. } => self.refused += 1,
            Observation::Ran(outcome) => self.failed += usize::from(outcome.failed.is_some()),
        }
        Ok(())
    }
}

/// Where the two sides differ, but for what is meant to.
///
/// # Errors
/// If the case is no program, or the JVM ended.
pub fn compare(case: &Case, kafka_streams: &mut KafkaStreams) -> Result<Vec<Difference>> {
    let (ours, theirs) = both(case, kafka_streams)?;
    Ok(differences(&ours, &theirs))
}

/// What millstream and Kafka Streams make of a case, without what is meant to differ.
fn both(case: &Case, kafka_streams: &mut KafkaStreams) -> Result<(Observation, Observation)> {
    if let Some(exception) = hindrance(case) {
        bail!("{} cannot be compared: {}", case.name, exception.id);
    }
    let mut ours = observe(case).with_context(|| case.name.clone())?;
    let mut theirs = kafka_streams.observe(case).with_context(|| case.name.clone())?;
    forgive(case, &mut ours, |_| true);
    forgive(case, &mut theirs, |_| true);
    Ok((ours, theirs))
}

/// Whether the case differs in what the exception of this id is about, and in nothing else: it differs if only all others are forgiven, and
/// agrees if it is forgiven, too; or, if it cannot be, it differs as `differences.txt` says.
fn differs_as_meant(case: &Case, id: &str, kafka_streams: &mut KafkaStreams) -> Result<()> {
    let name = &case.name;
    let exception = exceptions().find(|exception| exception.id == id);
    let exception = exception.with_context(|| format!("{name}: there is no exception {id:?}"))?;
    ensure!((exception.applies)(case), "{name}: the exception {id:?} does not apply to it");
    let (ours, theirs) = (observe(case)?, kafka_streams.observe(case)?);
    let found = |is_forgiven: fn(&str, &str) -> bool| {
        let (mut ours, mut theirs) = (ours.clone(), theirs.clone());
        forgive(case, &mut ours, |other| is_forgiven(other, id));
        forgive(case, &mut theirs, |other| is_forgiven(other, id));
        differences(&ours, &theirs)
    };
    let without_it = found(|other, id| other != id);
    ensure!(!without_it.is_empty(), "{name}: the two do not differ in {id:?}");
    if exception.forgive.is_some() {
        let with_it = found(|_, _| true);
        ensure!(with_it.is_empty(), "{name}: more than {id:?} differs\n{}", side_by_side(&with_it));
        return Ok(());
    }
    let (shown, expected) = (side_by_side(&without_it), difference_of(name));
    match expected {
        Some(expected) if expected == shown.trim() => Ok(()),
        _ => bail!("differences.txt must have this for what is shown:\n### {name}\n{}\n###END", shown.trim()),
    }
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
        tally.add(case, kafka_streams)?;
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
