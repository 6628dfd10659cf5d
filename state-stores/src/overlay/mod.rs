//! Committed rows that lie over those of the engine: one run per commit, merged as they become many.
//!
//! An overlay is a list of shared runs, so copying it is cheap and a copy is a snapshot. A read looks into the runs from the
//! newest to the oldest. Runs are merged so that each is more than twice as large as the next newer one:
//! there are few of them, a row is merged a few times at most, and old rows of a hot key do not pile up.

mod run;
mod scan;

use std::sync::Arc;

pub(crate) use run::{RowPlace, Run, hash_of};
pub(crate) use scan::OverlayScan;

use crate::key_range::{Direction, KeyRange};

/// Runs, the oldest first; a newer one hides what older ones say of the same key.
#[derive(Clone, Default)]
pub(crate) struct Overlay {
    runs: Vec<Arc<Run>>,
}

impl Overlay {
    /// What the overlay says of a key whose hash this is; `None` if nothing, `Some(None)` if the key was deleted.
    pub(crate) fn get(&self, hash: u64, key: &[u8]) -> Option<Option<&[u8]>> {
        self.runs.iter().rev().find_map(|run| run.get(hash, key))
    }

    /// The rows of a range.
    pub(crate) fn scan(&self, range: &KeyRange, direction: Direction) -> OverlayScan {
        OverlayScan::new(self.runs.iter().rev(), range, direction)
    }

    /// Adds runs, the newest last.
    pub(crate) fn extend(&mut self, newer: impl IntoIterator<Item = Arc<Run>>) {
        self.runs.extend(newer);
    }

    /// Adds what is older than everything here.
    pub(crate) fn put_below(&mut self, older: Self) {
        self.runs.splice(..0, older.runs);
    }

    /// The newest runs that should become one, if there are any.
    pub(crate) fn to_merge(&self) -> Option<MergeableRuns> {
        let mut newest = self.runs.iter().rev();
        let mut rows = newest.next()?.len();
        let mut count = 1;
        for run in newest {
            if run.len() > 2 * rows {
                break;
            }
            rows += run.len();
            count += 1;
        }
        (count > 1).then(|| MergeableRuns { runs: self.runs[self.runs.len() - count..].to_vec(), rows })
    }

    /// Puts a merged run, unless it is empty, in the place of those it was made of, unless they are not here any more.
    pub(crate) fn replace(&mut self, merged: &MergeableRuns, by: &Arc<Run>) {
        let is_here =
            |window: &[Arc<Run>]| window.iter().zip(&merged.runs).all(|(one, other)| Arc::ptr_eq(one, other));
        if let Some(start) = self.runs.windows(merged.runs.len()).position(is_here) {
            let by = (!by.is_empty()).then(|| Arc::clone(by));
            self.runs.splice(start..start + merged.runs.len(), by);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Rows in all runs: an upper bound of the keys.
    pub(crate) fn rows(&self) -> usize {
        self.runs.iter().map(|run| run.len()).sum()
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.runs.iter().map(|run| run.bytes()).sum()
    }
}

/// Neighbouring runs of an overlay that should become one.
pub(crate) struct MergeableRuns {
    runs: Vec<Arc<Run>>,
    rows: usize,
}

impl MergeableRuns {
    /// Rows in all of them: what merging costs.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// One run of all, without the rows of keys that are to be left out.
    pub(crate) fn merge(&self, leave_out: impl Fn(&[u8]) -> bool) -> Run {
        Run::merged(self.runs.iter().map(|run| &**run), leave_out)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Rows = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

    fn run(rows: &Rows) -> Arc<Run> {
        let mut run = Run::default();
        rows.iter().for_each(|(key, row)| run.put(key, row.as_deref()));
        Arc::new(run)
    }

    fn run_of(keys: std::ops::Range<u32>) -> Arc<Run> {
        run(&keys.map(|key| (key.to_be_bytes().to_vec(), None)).collect())
    }

    fn merge(overlay: &mut Overlay) {
        while let Some(runs) = overlay.to_merge() {
            overlay.replace(&runs, &Arc::new(runs.merge(|_| false)));
        }
    }

    fn commits() -> impl Strategy<Value = Vec<Rows>> {
        let key = prop::collection::vec(0..3_u8, 0..4);
        let row = prop::option::of(prop::collection::vec(any::<u8>(), 8..10));
        prop::collection::vec(prop::collection::btree_map(key, row, 0..10), 0..8)
    }

    proptest! {
        #[test]
        fn merged_or_not_an_overlay_is_a_map_whose_newest_commit_wins(
            commits in commits(),
            merges in any::<bool>(),
            start in prop::collection::vec(0..3_u8, 0..3),
            end in prop::collection::vec(0..4_u8, 0..3),
        ) {
            let mut overlay = Overlay::default();
            let mut model = Rows::new();
            for rows in &commits {
                overlay.extend([run(rows)]);
                if merges {
                    merge(&mut overlay);
                }
                model.extend(rows.clone());
            }
            for (key, row) in &model {
                prop_assert_eq!(overlay.get(hash_of(key), key), Some(row.as_deref()));
            }
            let range = KeyRange::new(std::ops::Bound::Included(start), std::ops::Bound::Excluded(end));
            let mut expected: Vec<_> = model.into_iter().filter(|(key, _)| range.contains(key)).collect();
            prop_assert_eq!(&overlay.scan(&range, Direction::Forward).collect::<Vec<_>>(), &expected);
            expected.reverse();
            prop_assert_eq!(overlay.scan(&range, Direction::Reverse).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn small_commits_after_a_large_one_leave_it_alone_and_stay_few() {
        let mut overlay = Overlay::default();
        overlay.extend([run_of(0..1_000)]);
        let large = Arc::clone(&overlay.runs[0]);
        for key in 0..100 {
            overlay.extend([run_of(key..key + 1)]);
            merge(&mut overlay);
        }
        assert!(Arc::ptr_eq(&overlay.runs[0], &large));
        assert!(overlay.runs.len() <= 7, "{}", overlay.runs.len());
        assert_eq!(overlay.rows(), 1_100);
    }

    #[test]
    fn what_is_left_out_of_a_merge_is_gone_and_so_is_a_run_of_which_nothing_is_left() {
        let mut overlay = Overlay::default();
        overlay.extend([run_of(0..2), run_of(2..4)]);
        let runs = overlay.to_merge().unwrap();
        let last = 3_u32.to_be_bytes();
        overlay.replace(&runs, &Arc::new(runs.merge(|key| key != last)));
        assert_eq!((overlay.rows(), overlay.get(hash_of(&last), &last)), (1, Some(None)));
        overlay.extend([run_of(5..6)]);
        let runs = overlay.to_merge().unwrap();
        overlay.replace(&runs, &Arc::new(runs.merge(|_| true)));
        assert!(overlay.is_empty());
    }

    #[test]
    fn runs_that_went_away_while_they_were_merged_do_not_come_back() {
        let mut overlay = Overlay::default();
        overlay.extend([run_of(0..1)]);
        overlay.extend([run_of(1..2)]);
        let runs = overlay.to_merge().unwrap();
        let merged = Arc::new(runs.merge(|_| false));
        let mut frozen = std::mem::take(&mut overlay);
        overlay.extend([run_of(2..3)]);
        overlay.replace(&runs, &merged);
        assert_eq!(overlay.rows(), 1);
        frozen.replace(&runs, &merged);
        assert_eq!(frozen.runs.len(), 1);
    }
}
