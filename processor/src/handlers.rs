//! What to do with a record that cannot be decoded, processed or produced. The decision is the user's; carrying it out is not.

use std::fmt;
use std::sync::Arc;

use millstream_state_stores::TaskId;

use crate::api::FailureStage;
use crate::error::RecordLocation;

/// What to do about one failure. Also a handler by itself: the same answer to every failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reaction {
    /// Stop: the thread ends with the error and the application goes to the state `Error`. Nothing is lost: the record is read again after a restart.
    #[default]
    Fail,
    /// Leave the record out. It is counted (`millstream_task_records_skipped_total`) and logged, at most once in ten seconds.
    Skip,
    /// Leave the record out and keep it: its bytes go to the dead-letter topic with the cause in headers. They can be put back from there
    /// ([`dead_letters`](crate::dead_letters)).
    DeadLetter,
}

/// A failure as a handler sees it.
#[derive(Debug)]
pub struct FailureReport<'a> {
    /// Where in the record's life it failed.
    pub stage: FailureStage,
    /// The task.
    pub task: TaskId,
    /// The topology node, where one was reached.
    pub node: Option<&'a str>,
    /// The input record; none where a punctuation failed, or an output that no single input record stands for.
    pub location: Option<&'a RecordLocation>,
    /// Key bytes of the record that failed: the input's, or the output's at the stage `produce` once it was handed to the producer.
    pub key: Option<&'a [u8]>,
    /// Value bytes of that record.
    pub value: Option<&'a [u8]>,
    /// The cause.
    pub error: &'a (dyn std::error::Error + 'static),
}

/// Decides about failures. Implemented by [`Reaction`] and by functions `Fn(&FailureReport) -> Reaction`.
pub trait FailureHandler: Send + Sync + 'static {
    /// The answer to one failure.
    fn react(&self, failure: &FailureReport<'_>) -> Reaction;

    /// Whether it can ever give this answer. What it never answers need not be prepared for: taking records back, a dead-letter topic.
    fn may(&self, reaction: Reaction) -> bool {
        let _any = reaction;
        true
    }
}

impl FailureHandler for Reaction {
    fn react(&self, _failure: &FailureReport<'_>) -> Reaction {
        *self
    }

    fn may(&self, reaction: Reaction) -> bool {
        *self == reaction
    }
}

impl<F> FailureHandler for F
where
    F: Fn(&FailureReport<'_>) -> Reaction + Send + Sync + 'static,
{
    fn react(&self, failure: &FailureReport<'_>) -> Reaction {
        self(failure)
    }
}

/// The handlers of an application, one for each stage. Each fails unless set otherwise.
#[derive(Clone)]
pub struct Handlers {
    /// Bytes that do not decode (Kafka Streams' `DeserializationExceptionHandler`).
    pub decode: Arc<dyn FailureHandler>,
    /// Closures and processors that return an error (`ProcessingExceptionHandler`, KIP-1033).
    pub process: Arc<dyn FailureHandler>,
    /// Outputs that do not encode or that the broker refuses (`ProductionExceptionHandler`).
    pub produce: Arc<dyn FailureHandler>,
}

impl Handlers {
    /// One handler for all stages.
    pub fn all(handler: impl FailureHandler) -> Self {
        let handler: Arc<dyn FailureHandler> = Arc::new(handler);
        Handlers { decode: Arc::clone(&handler), process: Arc::clone(&handler), produce: handler }
    }

    /// The same for a table that sends nothing: what was to be dead-lettered is skipped. Every instance meets every record of it, and again
    /// whenever it reads the topic from the start.
    pub(crate) fn without_dead_letters(&self) -> Self {
        let skipping = |handler: &Arc<dyn FailureHandler>| -> Arc<dyn FailureHandler> {
            Arc::new(SkippingDeadLetters(Arc::clone(handler)))
        };
        Handlers {
            decode: skipping(&self.decode),
            process: skipping(&self.process),
            produce: skipping(&self.produce),
        }
    }

    pub(crate) fn of(&self, stage: FailureStage) -> &dyn FailureHandler {
        match stage {
            FailureStage::Decode => &*self.decode,
            FailureStage::Process => &*self.process,
            FailureStage::Produce => &*self.produce,
        }
    }

    /// Whether a record may have to be taken back after it changed state.
    pub(crate) fn may_take_back(&self) -> bool {
        let may_continue =
            |handler: &dyn FailureHandler| handler.may(Reaction::Skip) || handler.may(Reaction::DeadLetter);
        may_continue(&*self.process) || may_continue(&*self.produce)
    }

    pub(crate) fn may_dead_letter(&self) -> bool {
        [&self.decode, &self.process, &self.produce].iter().any(|handler| handler.may(Reaction::DeadLetter))
    }
}

struct SkippingDeadLetters(Arc<dyn FailureHandler>);

impl FailureHandler for SkippingDeadLetters {
    fn react(&self, failure: &FailureReport<'_>) -> Reaction {
        match self.0.react(failure) {
            Reaction::DeadLetter => Reaction::Skip,
            reaction => reaction,
        }
    }

    fn may(&self, reaction: Reaction) -> bool {
        match reaction {
            Reaction::DeadLetter => false,
            Reaction::Skip => self.0.may(Reaction::Skip) || self.0.may(Reaction::DeadLetter),
            Reaction::Fail => self.0.may(Reaction::Fail),
        }
    }
}

impl Default for Handlers {
    fn default() -> Self {
        Handlers::all(Reaction::Fail)
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handlers")
    }
}
