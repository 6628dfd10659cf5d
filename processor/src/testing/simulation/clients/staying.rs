//! Which tasks a thread has open and keeps: one that stays keeps its store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use millstream_state_stores::StoreReader;

use crate::clients::{GroupChange, GroupEvent};
use crate::testing::simulation::cluster::TopicPartition;
use crate::testing::simulation::scenario::Scenario;

/// The stateful tasks of a thread, by their number: partitions of the same number make one, and no two of the program's have a store.
pub(super) struct Staying {
    /// The store that each of them has; closed and opened again, it is another.
    stores: BTreeMap<i32, Weak<StoreReader>>,
    /// What was revoked last, and when.
    revoked: Option<(BTreeSet<TopicPartition>, i32)>,
    /// At-least-once: a commit was tried and has not succeeded. What it was for must be restored.
    is_commit_open: bool,
    is_exactly_once: bool,
    /// The topic that tasks with a store read.
    pub(super) topic: Arc<str>,
}

impl Staying {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Staying {
            stores: BTreeMap::new(),
            revoked: None,
            is_commit_open: false,
            is_exactly_once: scenario.is_exactly_once(),
            topic: scenario.program.kept_topic(),
        }
    }

    /// A thread begins, which has nothing yet.
    pub(super) fn begin_anew(&mut self) {
        self.stores.clear();
        (self.revoked, self.is_commit_open) = (None, false);
    }

    /// Follows what the thread is told: some of what it has goes, the rest stays.
    pub(super) fn told(&mut self, event: &GroupEvent) {
        match event.change {
            GroupChange::Revoked => {
                self.revoked = Some((event.partitions.iter().cloned().collect(), event.generation));
            }
            GroupChange::Lost => {
                self.revoked = None;
                self.stores.clear();
            }
            GroupChange::AssignedAll | GroupChange::AssignedMore => {
                let Some((revoked, generation)) = self.revoked.take() else { return };
                let is_back = |partition: &TopicPartition| {
                    generation + 1 == event.generation
                        && !self.is_commit_open
                        && event.partitions.contains(partition)
                };
                let went = revoked.iter().filter(|partition| !is_back(partition));
                let went: BTreeSet<i32> = went.map(|(_, number)| *number).collect();
                self.stores.retain(|number, _| !went.contains(number));
            }
        }
    }

    /// A commit begins, or what must precede it fails.
    pub(super) fn commit_may_fail(&mut self) {
        self.is_commit_open = !self.is_exactly_once;
    }

    pub(super) fn commit_succeeded(&mut self) {
        self.is_commit_open = false;
    }

    /// The store that a task of the thread has now; whether it is another than it had, although the task stayed.
    pub(super) fn was_opened_again(&mut self, number: i32, store: &Arc<StoreReader>) -> bool {
        let store = Arc::downgrade(store);
        let before = self.stores.insert(number, Weak::clone(&store));
        before.is_some_and(|before| !before.ptr_eq(&store))
    }
}
