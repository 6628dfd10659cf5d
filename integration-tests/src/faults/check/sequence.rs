//! Records that must be there once, and records that must come in a given order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display};

use super::{Findings, ViolationKind};
use crate::faults::Guarantee;

/// Whether each of `expected` is among `found`, and under exactly-once not twice; and whether nothing else is.
pub(in crate::faults) fn each_once<T: Ord + Display>(
    topic: &str,
    expected: impl IntoIterator<Item = T>,
    found: impl IntoIterator<Item = T>,
    guarantee: Guarantee,
) -> Findings {
    let mut findings = Findings::default();
    let mut times: BTreeMap<T, u32> = BTreeMap::new();
    for one in found {
        *times.entry(one).or_insert(0) += 1;
    }
    let expected: BTreeSet<T> = expected.into_iter().collect();
    for missing in expected.iter().filter(|one| !times.contains_key(one)) {
        findings.add(ViolationKind::Lost, format!("{missing} is not in {topic}"));
    }
    for (one, times) in times {
        if !expected.contains(&one) {
            findings.add(ViolationKind::Diverged, format!("{one} is in {topic}, but nothing in the input"));
        } else if times > 1 && guarantee == Guarantee::ExactlyOnce {
            findings.add(ViolationKind::Duplicated, format!("{one} is {times} times in {topic}"));
        }
    }
    findings
}

/// Whether `found` is `expected`, for one key of a topic, which grows. Under at-least-once it is enough that it comes as far.
pub(in crate::faults) fn in_sequence<T: Ord + Debug>(
    what: &str,
    expected: &[T],
    found: &[T],
    guarantee: Guarantee,
) -> Findings {
    let mut findings = Findings::default();
    if guarantee == Guarantee::AtLeastOnce {
        let (furthest, expected) = (found.iter().max(), expected.iter().max());
        if furthest < expected {
            findings.add(ViolationKind::Lost, format!("{what} comes to {furthest:?}, not to {expected:?}"));
        }
        return findings;
    }
    let mut times: BTreeMap<&T, u32> = BTreeMap::new();
    for one in found {
        *times.entry(one).or_insert(0) += 1;
    }
    let known: BTreeSet<&T> = expected.iter().collect();
    for missing in expected.iter().filter(|one| !times.contains_key(one)) {
        findings.add(ViolationKind::Lost, format!("{what} misses {missing:?}"));
    }
    for (one, times) in times {
        if !known.contains(one) {
            findings.add(ViolationKind::Duplicated, format!("{what} has {one:?}, which is beyond the input"));
        } else if times > 1 {
            findings.add(ViolationKind::Duplicated, format!("{what} has {one:?} {times} times"));
        }
    }
    if findings.violations.is_empty() && found != expected {
        findings.add(ViolationKind::Diverged, format!("{what} has everything once, but out of order"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use Guarantee::{AtLeastOnce, ExactlyOnce};
    use ViolationKind::{Diverged, Duplicated, Lost};

    fn kinds(findings: &Findings) -> Vec<ViolationKind> {
        findings.violations.iter().map(|violation| violation.kind).collect()
    }

    #[test]
    fn what_is_not_there_once_is_named() {
        let check = |found: &[u8], guarantee| {
            let findings = each_once("out", [1, 2, 3], found.iter().copied(), guarantee);
            (kinds(&findings), findings.violations.first().map(|violation| violation.what.clone()))
        };
        assert_eq!(check(&[1, 2, 3], ExactlyOnce), (vec![], None));
        assert_eq!(check(&[3, 1], ExactlyOnce), (vec![Lost], Some("2 is not in out".into())));
        assert_eq!(check(&[1, 2, 2, 3], ExactlyOnce), (vec![Duplicated], Some("2 is 2 times in out".into())));
        assert_eq!(check(&[1, 2, 3, 9], ExactlyOnce).0, [Diverged]);
        assert_eq!(check(&[1, 2, 2, 3], AtLeastOnce).0, []);
        assert_eq!(check(&[1, 1, 3], AtLeastOnce).0, [Lost]);
    }

    #[test]
    fn a_sequence_is_whole_and_in_order() {
        let check = |found: &[u8], guarantee| kinds(&in_sequence("counts", &[1, 2, 3], found, guarantee));
        assert_eq!(check(&[1, 2, 3], ExactlyOnce), []);
        assert_eq!(check(&[1, 3], ExactlyOnce), [Lost]);
        assert_eq!(check(&[1, 2, 2, 3], ExactlyOnce), [Duplicated]);
        assert_eq!(check(&[1, 2, 3, 4], ExactlyOnce), [Duplicated]);
        assert_eq!(check(&[2, 1, 3], ExactlyOnce), [Diverged]);
        assert_eq!(check(&[1, 2, 1, 2, 3, 4], AtLeastOnce), []);
        assert_eq!(check(&[1, 2], AtLeastOnce), [Lost]);
        assert_eq!(check(&[], AtLeastOnce), [Lost]);
    }
}
