//! The processors of a task as its life sees them: begun, punctuated, asked before each commit, closed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use millstream_state_stores::Timestamp;

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

    /// Their numbers, parents before children.
    pub(super) fn indexes(&self) -> Vec<usize> {
        self.0.keys().copied().collect()
    }

    pub(super) fn advance_stream_time(
        &self,
        index: usize,
        time: Timestamp,
        task: &mut TaskContext,
    ) -> Result<(), Failure> {
        match self.0.get(&index) {
            Some(node) => node.borrow_mut().advance_stream_time(time, task),
            None => Ok(()),
        }
    }

    /// Whether time that a heartbeat has moved on for a node moves on for its children.
    pub(super) fn passes_stream_time(&self, index: usize) -> bool {
        self.0.get(&index).is_none_or(|node| node.borrow().passes_stream_time())
    }

    pub(super) fn prepare_commit_of(&self, index: usize, task: &mut TaskContext) -> Result<(), Failure> {
        match self.0.get(&index) {
            Some(node) => node.borrow_mut().prepare_commit(task),
            None => Ok(()),
        }
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
