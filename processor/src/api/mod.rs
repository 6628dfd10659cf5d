//! The Processor API: records, processors, and what a processor may ask of its task. Knows no Kafka client and no DSL.

mod context;
mod edge;
mod global;
mod processor;
mod record;

pub(crate) use context::OutputMark;
pub use context::{OutputBuffer, PendingOutput, ProcessorContext, TaskContext, TopicIndex};
pub(crate) use edge::{ErasedInput, FailureParts, Input, Lifecycle};
pub use edge::{Failure, FailureStage, Output};
pub(crate) use global::GlobalTables;
pub use processor::{Processor, Wiring};
pub(crate) use processor::{ProcessorNode, typed_output};
pub use record::{Header, Headers, Record};
