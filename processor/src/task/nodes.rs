//! The processors of a task as its life sees them: begun, punctuated, asked before each commit, closed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::api::{Failure, Lifecycle, Punctuation, TaskContext};

/// By their numbers in the topology, so that parents come before children. Closed when dropped.
#[derive(Default)]
pub(super) struct Nodes(BTreeMap<usize, Rc<RefCell<dyn Lifecycle>>>);

impl Nodes {
    pub(super) fn add(&mut self, index: usize, node: Rc<RefCell<dyn Lifecycle>>) {
        self.0.insert(index, node);
    }

    pub(super) fn init(&self, task: &mut TaskContext) -> Result<(), Failure> {
        self.0.values().try_for_each(|node| node.borrow_mut().init(task))
    }

    pub(super) fn punctuate(
        &self,
        index: usize,
        punctuation: Punctuation,
        task: &mut TaskContext,
    ) -> Result<(), Failure> {
        match self.0.get(&index) {
            Some(node) => node.borrow_mut().punctuate(punctuation, task),
            None => Ok(()),
        }
    }

    pub(super) fn prepare_commit(&self, task: &mut TaskContext) -> Result<(), Failure> {
        self.0.values().try_for_each(|node| node.borrow_mut().prepare_commit(task))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        // A node that panicked may not be borrowed again.
        for mut node in self.0.values().filter_map(|node| node.try_borrow_mut().ok()) {
            node.close();
        }
    }
}
