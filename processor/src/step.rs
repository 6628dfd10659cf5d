//! The steps of a commit and of a checkpoint, told to who wants to know: a log of what happened, or a test that ends the process at
//! a chosen one.

use std::fmt;
use std::sync::Arc;

use millstream_state_stores::{CheckpointListener, CheckpointStep};

/// A point between two effects of a commit or a checkpoint: what the names before it say has happened, the rest has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A commit is due, and nothing of it is done.
    CommitBegun,
    /// Outputs and changelog entries are with the producer.
    OutputsSent,
    /// Kafka has acknowledged them.
    OutputsAcknowledged,
    /// The offsets are part of the transaction, which is open. Under exactly-once only.
    OffsetsSent,
    /// The offsets, or the transaction with them, are committed. Readers do not see the new state yet.
    OffsetsCommitted,
    /// Readers see the new state, which no checkpoint has.
    StatePublished,
    /// A checkpoint's rows are frozen, and none is written.
    CheckpointFrozen,
    /// RocksDB has them on the disk; the changelog offsets they reflect are still those of the checkpoint before.
    CheckpointRowsWritten,
    /// Both are on the disk.
    CheckpointOffsetsWritten,
}

impl Step {
    /// All of them, in their order.
    pub const ALL: [Step; 9] = [
        Step::CommitBegun,
        Step::OutputsSent,
        Step::OutputsAcknowledged,
        Step::OffsetsSent,
        Step::OffsetsCommitted,
        Step::StatePublished,
        Step::CheckpointFrozen,
        Step::CheckpointRowsWritten,
        Step::CheckpointOffsetsWritten,
    ];

    /// Its name, such as `outputs-sent`.
    pub fn name(self) -> &'static str {
        match self {
            Step::CommitBegun => "commit-begun",
            Step::OutputsSent => "outputs-sent",
            Step::OutputsAcknowledged => "outputs-acknowledged",
            Step::OffsetsSent => "offsets-sent",
            Step::OffsetsCommitted => "offsets-committed",
            Step::StatePublished => "state-published",
            Step::CheckpointFrozen => "checkpoint-frozen",
            Step::CheckpointRowsWritten => "checkpoint-rows-written",
            Step::CheckpointOffsetsWritten => "checkpoint-offsets-written",
        }
    }
}

impl From<CheckpointStep> for Step {
    fn from(step: CheckpointStep) -> Self {
        match step {
            CheckpointStep::Frozen => Step::CheckpointFrozen,
            CheckpointStep::RowsWritten => Step::CheckpointRowsWritten,
            CheckpointStep::OffsetsWritten => Step::CheckpointOffsetsWritten,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who is told about each step. By default nobody, which costs a comparison per commit.
#[derive(Clone, Default)]
pub struct StepListener(Option<Arc<dyn Fn(Step) + Send + Sync>>);

impl StepListener {
    /// One that calls `listener` on the thread that made the step, which must return soon: the stream thread waits.
    pub fn new(listener: impl Fn(Step) + Send + Sync + 'static) -> Self {
        StepListener(Some(Arc::new(listener)))
    }

    pub(crate) fn tell(&self, step: Step) {
        if let Some(listener) = &self.0 {
            listener(step);
        }
    }

    pub(crate) fn for_checkpoints(&self) -> CheckpointListener {
        let told = self.0.clone();
        told.map_or_else(CheckpointListener::default, |told| {
            CheckpointListener::new(move |step| told(step.into()))
        })
    }
}

impl fmt::Debug for StepListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StepListener").field(&self.0.is_some()).finish()
    }
}
