//! Where instances begin to restore, which they say themselves: in a directory that is never dropped, no store begins before where it
//! began once.

use std::collections::BTreeMap;
use std::fmt;

use millstream::runtime::RestoreProgress;

/// A store of a task begins to be restored. Written as a line of an instance, and read from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreBeginning {
    /// `0_3 word-counts`.
    of: String,
    from: i64,
}

impl RestoreBeginning {
    const WORDS: [&str; 2] = ["begins to restore ", " from "];

    /// What a restore tells, if it begins.
    #[must_use]
    pub fn of(progress: &RestoreProgress) -> Option<Self> {
        let of = format!("{} {}", progress.task, progress.store);
        (progress.next == progress.from).then(|| Self { of, from: progress.from.get() })
    }

    fn in_line(line: &str) -> Option<Self> {
        let [begins, from] = Self::WORDS;
        let (_, said) = line.split_once(begins)?;
        let (of, from) = said.rsplit_once(from)?;
        Some(Self { of: of.to_owned(), from: from.parse().ok()? })
    }
}

impl fmt::Display for RestoreBeginning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [begins, from] = Self::WORDS;
        write!(formatter, "{begins}{}{from}{}", self.of, self.from)
    }
}

/// What was heard of the restores in one directory, over the lives of its processes.
#[derive(Debug, Default)]
pub(super) struct Restores {
    /// The furthest beginning of each store.
    furthest: BTreeMap<String, i64>,
    setbacks: Vec<String>,
}

impl Restores {
    /// Takes note of what a process has said in its life.
    pub(super) fn hear(&mut self, lines: &[String]) {
        for RestoreBeginning { of, from } in lines.iter().filter_map(|line| RestoreBeginning::in_line(line)) {
            let furthest = self.furthest.entry(of.clone()).or_insert(from);
            if from < *furthest {
                self.setbacks.push(format!("{of} began to be restored from {from}, once from {furthest}"));
            }
            *furthest = from.max(*furthest);
        }
    }

    /// Where a store began before where it had begun once: what was on the disk is lost.
    pub(super) fn setbacks(&self) -> &[String] {
        &self.setbacks
    }
}

#[cfg(test)]
mod tests {
    use millstream::{Offset, TaskId};

    use super::*;

    fn lines(beginnings: &[(&str, i64)]) -> Vec<String> {
        let said = beginnings.iter().map(|(store, from)| {
            let progress = RestoreProgress {
                task: TaskId { subtopology: 1, partition: 0 },
                store: (*store).into(),
                from: Offset::new(*from),
                next: Offset::new(*from),
                end: Offset::new(100),
                records: 0,
                left_out: 0,
            };
            let beginning = RestoreBeginning::of(&progress).expect("nothing was restored yet");
            format!("2026-11-29T00:00:00Z  INFO fault_worker: {beginning}")
        });
        said.chain(["from somewhere begins something else".to_owned()]).collect()
    }

    #[test]
    fn a_store_that_begins_before_where_it_began_once_is_a_setback() {
        let mut restores = Restores::default();
        restores.hear(&lines(&[("counts", 0), ("sums", 0)]));
        restores.hear(&lines(&[("counts", 40), ("sums", 0)]));
        restores.hear(&lines(&[("counts", 40), ("sums", 7)]));
        assert_eq!(restores.setbacks(), [""; 0]);
        restores.hear(&lines(&[("counts", 0), ("sums", 9)]));
        restores.hear(&lines(&[("counts", 50)]));
        assert_eq!(restores.setbacks(), ["1_0 counts began to be restored from 0, once from 40"]);
    }
}
