//! What the two do not agree on, on purpose: each is a row of `docs/differences-from-kafka-streams.md`, and has a case in
//! `integration-tests/oracle/cases` that shows it.

mod buffers;
mod changelogs;
mod joins;
mod optimizer;
mod order;
mod program;
mod records;
mod tables;
mod time;
mod windows;

use super::case::Case;
use super::observation::{Observation, Outcome};

/// A difference that is meant to be there.
pub struct Exception {
    /// By which cases that show it name it.
    pub id: &'static str,
    /// The first column of its row.
    pub row: &'static str,
    /// Whether it may show in the case.
    pub applies: fn(&Case) -> bool,
    /// Makes what it shows in the same on both sides. Without it, cases in which it may show cannot be compared at all.
    pub forgive: Option<fn(&Case, &mut Outcome)>,
}

/// All of them, in the order in which they are forgiven: what goes by the order of records comes before that order is.
pub fn exceptions() -> impl Iterator<Item = &'static Exception> {
    [tables::ALL, buffers::ALL, windows::ALL, joins::ALL, optimizer::ALL, order::ALL].into_iter().flatten()
}

/// The exception because of which the case cannot be compared, if there is one.
pub(super) fn hindrance(case: &Case) -> Option<&'static Exception> {
    exceptions().find(|exception| exception.forgive.is_none() && (exception.applies)(case))
}

/// Makes what exceptions of the case show in the same on both sides, if their ids are among those meant.
pub(super) fn forgive(case: &Case, observation: &mut Observation, is_meant: impl Fn(&str) -> bool) {
    let Observation::Ran(outcome) = observation else { return };
    for exception in exceptions().filter(|exception| is_meant(exception.id) && (exception.applies)(case)) {
        if let Some(forgive) = exception.forgive {
            forgive(case, outcome);
        }
    }
}
