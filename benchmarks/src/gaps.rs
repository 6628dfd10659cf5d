//! How long readers of a topic waited, from the times at which its records were appended. Knows no Kafka.

use std::collections::{BTreeMap, BTreeSet};

/// A time without a record, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Gap {
    pub(crate) fn millis(self) -> i64 {
        self.to - self.from
    }
}

/// The longest gap of a partition that ends after `from`; it is cut off at `to`, as if a record had come then. `appended` are the
/// times of its records, ascending.
pub(crate) fn longest_gap(appended: &[i64], from: i64, to: i64) -> Gap {
    let first = appended.partition_point(|time| *time <= from);
    let end = appended.partition_point(|time| *time < to).max(first);
    // What was silent when the time began has been so since its last record.
    let begin = first.checked_sub(1).map_or(from, |last| appended[last]);
    let within = appended[first..end].iter().copied();
    let begins = std::iter::once(begin).chain(within.clone());
    let gaps = begins.zip(within.chain([to])).map(|(from, to)| Gap { from, to });
    gaps.max_by_key(|gap| gap.millis()).unwrap_or(Gap { from, to })
}

/// The longest gap of any of these partitions, in milliseconds; none of no partition. `appended` has the times of each partition.
pub(crate) fn longest_of(
    appended: &[Vec<i64>],
    partitions: impl IntoIterator<Item = i32>,
    from: i64,
    to: i64,
) -> Option<i64> {
    let times = partitions.into_iter().filter_map(|partition| appended.get(usize::try_from(partition).ok()?));
    times.map(|appended| longest_gap(appended, from, to).millis()).max()
}

/// The instance that owns each partition.
pub(crate) type Owners = BTreeMap<i32, usize>;

/// The partitions that have one owner, before and after.
pub(crate) fn staying(before: &Owners, after: &Owners) -> BTreeSet<i32> {
    let stays =
        |(partition, owner): (&i32, &usize)| (after.get(partition) == Some(owner)).then_some(*partition);
    before.iter().filter_map(stays).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_is_found_wherever_it_lies() {
        let cases: [(&str, &[i64], Gap); 8] = [
            ("in the middle", &[90, 110, 150, 190], Gap { from: 110, to: 150 }),
            ("it began before the time did", &[60, 130, 150, 190], Gap { from: 60, to: 130 }),
            ("it has not ended", &[90, 110, 120], Gap { from: 120, to: 200 }),
            ("what was earlier does not count", &[10, 95, 120, 150, 190], Gap { from: 150, to: 190 }),
            ("nor what is later", &[90, 110, 130, 150, 170, 190, 400], Gap { from: 90, to: 110 }),
            (
                "a record at the beginning ends what was before",
                &[10, 100, 130, 190],
                Gap { from: 130, to: 190 },
            ),
            ("a record at the end is the end", &[90, 200, 300], Gap { from: 90, to: 200 }),
            ("no record at all", &[], Gap { from: 100, to: 200 }),
        ];
        for (case, appended, longest) in cases {
            let found = longest_gap(appended, 100, 200);
            assert_eq!(found.millis(), longest.millis(), "{case}: {found:?}");
        }
        assert_eq!(
            longest_gap(&[90, 110, 150, 190], 100, 200),
            Gap { from: 150, to: 190 },
            "of two, the later"
        );
    }

    #[test]
    fn partitions_are_looked_at_one_by_one() {
        let appended = [vec![90, 110, 190], vec![90, 180]];
        assert_eq!(longest_of(&appended, [0, 1], 100, 200), Some(90));
        assert_eq!(longest_of(&appended, [0], 100, 200), Some(80), "the records of others do not count");
        assert_eq!(longest_of(&appended, [], 100, 200), None);
    }

    #[test]
    fn a_partition_stays_where_its_owner_does() {
        let before = Owners::from([(0, 0), (1, 0), (2, 1), (3, 1)]);
        let after = Owners::from([(0, 0), (1, 2), (2, 1)]);
        assert_eq!(staying(&before, &after), BTreeSet::from([0, 2]), "1 has moved, 3 has no owner");
    }
}
