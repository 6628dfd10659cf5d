//! What a task does between records: it begins its processors, and punctuates them.

use std::time::Duration;

use millstream_state_stores::Timestamp;

use super::{InputMessage, Task};
use crate::api::PunctuationType;
use crate::error::Result;

impl<M: InputMessage> Task<M> {
    /// Begins the processors, in topological order.
    ///
    /// # Errors
    /// Those of a processor.
    pub(super) fn init(&mut self) -> Result<()> {
        self.is_initialized = true;
        self.context.leave_record();
        self.nodes
            .init(&mut self.context)
            .map_err(|failure| self.failed_between_records("a processor could not begin", failure))?;
        self.acted_by_itself = !self.context.outputs().is_empty() || self.stores.has_uncommitted();
        self.needs_commit |= self.acted_by_itself;
        Ok(())
    }

    /// Calls the processors for everything that is due on this clock, earliest first.
    ///
    /// # Errors
    /// As of a record that fails: if the handler of the stage `process` says so, or if a store failed.
    #[cold]
    pub(super) fn punctuate(&mut self, kind: PunctuationType, now: Duration) -> Result<()> {
        self.context.leave_record();
        while let Some((node, punctuation)) = self.context.next_punctuation(kind) {
            let mark = self.begin_record();
            (self.acted_by_itself, self.needs_commit) = (true, true);
            match self.nodes.punctuate(node, punctuation, &mut self.context) {
                Ok(()) => self.counters.punctuations += 1,
                Err(failure) => self.failed(None, failure, mark, now)?,
            }
        }
        Ok(())
    }

    /// When something is to be done by the wall clock next, a punctuation or a heartbeat, if anything is. None comes while a commit is being tried again.
    pub(crate) fn next_by_wall_clock(&self) -> Option<Timestamp> {
        let scheduled = self.context.next_punctuation_at(PunctuationType::WallClockTime);
        let next = scheduled.into_iter().chain(self.next_heartbeat()).min();
        next.filter(|_| !self.is_prepared)
    }
}

#[cfg(test)]
mod tests;
