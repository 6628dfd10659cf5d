//! The typed edge between two nodes: one dynamic call, no downcast. Types are erased only while a task is wired.

use std::any::{Any, type_name};
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::str::FromStr;
use std::sync::Arc;

use millstream_state_stores::{SerdeError, Timestamp};

use super::context::TaskContext;
use super::punctuation::Punctuation;
use super::record::Record;
use crate::error::{BoxError, Error};

/// What a node offers to its parents.
pub(crate) trait Input<K, V> {
    fn accept(&mut self, record: Record<K, V>, task: &mut TaskContext) -> Result<(), Failure>;
}

/// What a task asks of every node, whatever its types.
pub(crate) trait Lifecycle {
    /// Called once, before the task's first record.
    fn init(&mut self, task: &mut TaskContext) -> Result<(), Failure>;

    /// Calls the node because something it scheduled is due.
    fn punctuate(&mut self, punctuation: Punctuation, task: &mut TaskContext) -> Result<(), Failure>;

    /// Tells the node that stream time has come so far although no record did.
    fn advance_stream_time(&mut self, time: Timestamp, task: &mut TaskContext) -> Result<(), Failure>;

    /// Whether time that came so far for the node has come so far for those below.
    fn passes_stream_time(&self) -> bool;

    /// Emits what the node holds back until a commit.
    fn prepare_commit(&mut self, task: &mut TaskContext) -> Result<(), Failure>;

    /// Called once, at the end.
    fn close(&mut self);
}

/// A node as its parents hold it: shared, because it may have several.
pub(crate) type SharedInput<K, V> = Rc<RefCell<dyn Input<K, V>>>;

/// One child of a node: by its name, from [`Wiring::child`](super::Wiring::child), or by its position in declaration order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child(usize);

impl From<usize> for Child {
    fn from(position: usize) -> Self {
        Child(position)
    }
}

/// A node's children. Forwarding to one child moves the record; every further child costs a clone.
#[derive(Clone)]
pub struct Output<K, V> {
    children: Vec<SharedInput<K, V>>,
}

impl<K: Clone + 'static, V: Clone + 'static> Output<K, V> {
    pub(crate) fn to(children: Vec<SharedInput<K, V>>) -> Self {
        Output { children }
    }

    /// Hands the record to each child in declaration order, depth first.
    #[inline]
    pub(crate) fn forward(&self, record: Record<K, V>, task: &mut TaskContext) -> Result<(), Failure> {
        let Some((last, others)) = self.children.split_last() else { return Ok(()) };
        for child in others {
            child.borrow_mut().accept(record.clone(), task)?;
        }
        last.borrow_mut().accept(record, task)
    }

    /// Hands the record to one child; to nobody if there is no such child.
    #[inline]
    pub(crate) fn forward_to(
        &self,
        child: Child,
        record: Record<K, V>,
        task: &mut TaskContext,
    ) -> Result<(), Failure> {
        match self.children.get(child.0) {
            Some(child) => child.borrow_mut().accept(record, task),
            None => Ok(()),
        }
    }
}

/// A node's input with its types erased, for the time of wiring.
pub(crate) struct ErasedInput {
    input: Box<dyn Any>,
    accepts: &'static str,
}

impl ErasedInput {
    pub(crate) fn new<K: 'static, V: 'static>(input: SharedInput<K, V>) -> Self {
        ErasedInput { input: Box::new(input), accepts: type_name::<Record<K, V>>() }
    }

    /// The input as a parent that sends `Record<K, V>` needs it; otherwise the type it accepts.
    pub(crate) fn typed<K: 'static, V: 'static>(&self) -> Result<SharedInput<K, V>, &'static str> {
        self.input.downcast_ref::<SharedInput<K, V>>().cloned().ok_or(self.accepts)
    }
}

/// Where in a record's life something failed; each stage has its own handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureStage {
    /// Bytes did not decode.
    Decode,
    /// A closure or processor returned an error.
    Process,
    /// An output did not encode, or the broker refused it.
    Produce,
}

impl FailureStage {
    /// All stages, in the order in which a record goes through them.
    pub const ALL: [FailureStage; 3] = [FailureStage::Decode, FailureStage::Process, FailureStage::Produce];

    /// Lower-case name, as in metrics and dead-letter headers. Parsed, it is the stage again.
    ///
    /// ```
    /// use millstream_processor::api::FailureStage;
    ///
    /// assert_eq!(FailureStage::Decode.name(), "decode");
    /// assert_eq!("decode".parse::<FailureStage>()?, FailureStage::Decode);
    /// # Ok::<(), millstream_processor::Error>(())
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            FailureStage::Decode => "decode",
            FailureStage::Process => "process",
            FailureStage::Produce => "produce",
        }
    }
}

impl FromStr for FailureStage {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let stage = FailureStage::ALL.into_iter().find(|stage| stage.name() == name);
        stage.ok_or_else(|| {
            let names = FailureStage::ALL.map(FailureStage::name).join(", ");
            Error::invalid(format!("{name:?} is no stage: write one of {names}"))
        })
    }
}

/// Why a record could not be processed. Any error converts into it with `?`; the node it happened in is added on the way out.
pub struct Failure(Box<FailureParts>);

pub(crate) struct FailureParts {
    pub(crate) stage: FailureStage,
    pub(crate) node: Option<Arc<str>>,
    pub(crate) source: BoxError,
}

/// The source of a failure that concerns the task.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TaskFailure(pub(crate) Error);

impl Failure {
    pub(crate) fn at_stage(stage: FailureStage, source: impl Into<BoxError>) -> Self {
        Failure(Box::new(FailureParts { stage, node: None, source: source.into() }))
    }

    /// What no record is to blame for, and so no handler is asked about.
    pub(crate) fn of_task(error: Error) -> Self {
        Failure::at_stage(FailureStage::Process, TaskFailure(error))
    }

    /// A failure of the stage `process`, from an error that is boxed already.
    pub fn process(source: BoxError) -> Self {
        Failure::at_stage(FailureStage::Process, source)
    }

    /// An output's key or value that does not encode.
    pub fn produce(source: SerdeError) -> Self {
        Failure::at_stage(FailureStage::Produce, source)
    }

    #[cold]
    pub(crate) fn in_node(mut self, node: &Arc<str>) -> Self {
        self.0.node.get_or_insert_with(|| Arc::clone(node));
        self
    }

    pub(crate) fn into_parts(self) -> FailureParts {
        *self.0
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.0.stage.name(), self.0.source)
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::at_stage(FailureStage::Process, error)
    }
}
