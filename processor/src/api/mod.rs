//! The Processor API: records, processors, and what a processor may ask of its task. Knows no Kafka client and no DSL.

mod context;
mod edge;
mod fixed_key;
mod global;
mod processor;
mod punctuation;
mod record;

pub(crate) use context::OutputMark;
pub use context::{OutputBuffer, PendingOutput, ProcessorContext, TaskContext, TopicIndex};
pub use edge::{Child, Failure, FailureStage, Output};
pub(crate) use edge::{ErasedInput, FailureParts, Input, Lifecycle, TaskFailure};
pub use fixed_key::{FixedKey, FixedKeyProcessor, FixedKeyProcessorContext, FixedKeyRecord};
pub(crate) use global::GlobalTables;
pub(crate) use processor::{NodePlace, ProcessorNode, typed_output};
pub use processor::{Processor, Wiring};
pub use punctuation::{Interval, Punctuation, PunctuationType, Schedule};
pub use record::{Header, Headers, Record};
