//! What happens to a record or punctuation that fails: taken back, then skipped or dead-lettered, or the task stops.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millstream_state_stores::{SerdeError, StoreError, TaskId, Timestamp};
use tracing::warn;

use super::queue::PartitionQueue;
use super::{InputMessage, Task};
use crate::api::{Failure, FailureParts, FailureStage, Headers, OutputMark, PendingOutput, TaskFailure};
use crate::dead_letters::{LetterSource, headers};
use crate::error::{BoxError, Error, ErrorKind, RecordLocation, Result, describe, is_schema_outage};
use crate::handlers::{FailureReport, Reaction};

/// An output that was handed to the producer and cannot be delivered.
#[derive(Clone, Debug)]
pub(crate) struct FailedOutput {
    pub(crate) topic: Arc<str>,
    /// The partition it was sent to, once it was sent.
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) timestamp: Timestamp,
    pub(crate) headers: Headers,
    pub(crate) error: Arc<Error>,
    /// Whether it may have failed for a neighbour in its batch.
    pub(crate) may_pass_alone: bool,
}

/// A failure on its way to the handler.
struct Cause<'a> {
    stage: FailureStage,
    node: Option<&'a str>,
    /// Where the record comes from; none of a punctuation.
    source: Option<LetterSource>,
    error: &'a (dyn StdError + 'static),
}

/// The bytes that are kept of a record that failed.
struct Remains<'a> {
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    timestamp: Timestamp,
    headers: Headers,
}

impl<M: InputMessage> Task<M> {
    /// What a record or punctuation does from here on is taken back if it fails.
    #[inline]
    pub(super) fn begin_record(&mut self) -> OutputMark {
        if self.can_take_back {
            self.stores.begin_record();
        }
        self.context.outputs().mark()
    }

    /// Deals with the failure of the head record of an input, or, without an input, of a punctuation: takes back what it did, where failures
    /// may be taken back; afterwards it can be passed over.
    ///
    /// # Errors
    /// If the handler says so, or if no record is to blame: the state store failed, or Kafka did not answer, or the schema registry did not say by
    /// which schema the record was written. Then the thread stops, so that nobody is asked again for each record.
    #[cold]
    pub(super) fn failed(
        &mut self,
        input: Option<usize>,
        failure: Failure,
        mark: OutputMark,
        now: Duration,
    ) -> Result<()> {
        self.context.outputs().truncate(mark);
        if self.can_take_back {
            self.stores.undo_record();
        }
        let FailureParts { stage, node, source } = failure.into_parts();
        let queue = input.map(|input| &self.queues[input]);
        let message = queue.and_then(PartitionQueue::head);
        let location = queue.zip(message).map(|(queue, message)| RecordLocation {
            topic: Arc::clone(queue.topic()),
            partition: queue.partition(),
            offset: message.offset(),
        });
        let in_place = |error: Error| {
            let error = error.in_task(self.id);
            let error = location.iter().cloned().fold(error, Error::at);
            node.iter().cloned().fold(error, Error::in_node)
        };
        if is_schema_outage(&source) {
            return Err(in_place(
                Error::fatal("nobody says by which schema a record can be converted").with_source(source),
            ));
        }
        let source: BoxError = match source.downcast::<StoreError>() {
            // The record's own key or value does not fit the store; everything else concerns the store.
            Ok(error) if matches!(*error, StoreError::Serde { .. } | StoreError::NullInStore { .. }) => error,
            Ok(error) => return Err(in_place((*error).into())),
            Err(source) => match source.downcast::<TaskFailure>() {
                Ok(failure) => return Err(in_place(failure.0)),
                Err(source) => source,
            },
        };
        let cause = Cause {
            stage,
            node: node.as_deref(),
            source: location.clone().map(LetterSource::Input),
            error: &*source,
        };
        let remains = match message {
            Some(message) => Remains::of(message),
            None => Remains::nothing(self.context.wall_clock()),
        };
        let reaction = self.handlers.of(stage).react(&cause.report(self.id, &remains));
        match reaction {
            Reaction::Fail => {
                let what =
                    if message.is_some() { "the record cannot be passed" } else { "a punctuation failed" };
                let message = format!("{what} (stage {}) and its handler fails", stage.name());
                return Err(in_place(Error::new(ErrorKind::Record, message).with_source(source)));
            }
            Reaction::Skip => self.counters.skipped[stage as usize] += 1,
            Reaction::DeadLetter => {
                self.counters.dead_letters[stage as usize] += 1;
                let output = dead_letter(&cause, self.id, self.context.wall_clock(), remains);
                let topic = self.context.outputs().topic(&self.dead_letter_topic);
                self.context.outputs().push(&output.as_pending(topic));
            }
        }
        self.failure_log.note(&cause, self.id, reaction, now);
        Ok(())
    }

    /// A failure that no handler is asked about, because there is no record that could be left out.
    pub(super) fn failed_between_records(&self, what: &str, failure: Failure) -> Error {
        let FailureParts { node, source, .. } = failure.into_parts();
        let error = Error::fatal(what).with_source(source).in_task(self.id);
        node.into_iter().fold(error, Error::in_node)
    }

    /// Refuses to go on if a record of one of this task's changelogs is among the failed: those may never be left out.
    ///
    /// # Errors
    /// The failure of that record.
    pub(crate) fn check_changelog_failures(&self, failed: &[FailedOutput]) -> Result<()> {
        let is_changelog =
            |topic: &Arc<str>| self.changelogs().any(|(_, changelog)| changelog.topic == *topic);
        match failed.iter().find(|output| is_changelog(&output.topic)) {
            Some(output) => {
                Err(Error::fatal(format!("a record of changelog topic {} cannot be produced", output.topic))
                    .with_source(output.error.to_string())
                    .in_task(self.id))
            }
            None => Ok(()),
        }
    }

    /// Deals with outputs that could not be delivered.
    ///
    /// # Errors
    /// If the handler says so, or if it was a dead letter that failed: that may not be left out.
    pub(crate) fn outputs_failed(&mut self, failed: Vec<FailedOutput>, now: Duration) -> Result<()> {
        for output in failed {
            let stop = |what: &str| {
                Error::new(ErrorKind::Record, format!("{what} to topic {} cannot be produced", output.topic))
                    .with_source(output.error.to_string())
                    .in_task(self.id)
            };
            if output.topic == self.dead_letter_topic || output.error.kind() != ErrorKind::Record {
                return Err(stop("a record that must not be lost"));
            }
            let cause = Cause {
                stage: FailureStage::Produce,
                node: None,
                source: Some(LetterSource::Output {
                    topic: output.topic.to_string(),
                    partition: output.partition,
                }),
                error: &*output.error,
            };
            let remains = Remains {
                key: output.key.as_deref(),
                value: output.value.as_deref(),
                timestamp: output.timestamp,
                headers: output.headers.clone(),
            };
            let reaction = self.handlers.produce.react(&cause.report(self.id, &remains));
            match reaction {
                Reaction::Fail => return Err(stop("an output")),
                Reaction::Skip => self.counters.skipped[FailureStage::Produce as usize] += 1,
                Reaction::DeadLetter => {
                    self.counters.dead_letters[FailureStage::Produce as usize] += 1;
                    let letter = dead_letter(&cause, self.id, self.context.wall_clock(), remains);
                    let topic = self.context.outputs().topic(&self.dead_letter_topic);
                    self.context.outputs().push(&letter.as_pending(topic));
                }
            }
            self.failure_log.note(&cause, self.id, reaction, now);
        }
        Ok(())
    }
}

impl Cause<'_> {
    fn report<'a>(&'a self, task: TaskId, remains: &Remains<'a>) -> FailureReport<'a> {
        FailureReport {
            stage: self.stage,
            task,
            node: self.node,
            location: self.source.as_ref().and_then(LetterSource::location),
            key: remains.key,
            value: remains.value,
            error: self.error,
        }
    }
}

impl<'a> Remains<'a> {
    fn of(message: &'a impl InputMessage) -> Self {
        let raw = message.raw();
        Remains { key: raw.key, value: raw.value, timestamp: raw.timestamp, headers: message.headers() }
    }

    /// Where there is no record, as of a punctuation.
    fn nothing(timestamp: Timestamp) -> Self {
        Remains { key: None, value: None, timestamp, headers: Headers::default() }
    }

    fn as_pending(&'a self, topic: crate::api::TopicIndex) -> PendingOutput<'a> {
        PendingOutput {
            topic,
            partition: None,
            key: self.key,
            unhashed_key_bytes: 0,
            value: self.value,
            timestamp: self.timestamp,
            headers: &self.headers,
        }
    }
}

/// Adds the cause to the record's headers, under the names that Kafka Streams uses (KIP-1034) and some of our own.
fn dead_letter<'a>(cause: &Cause<'_>, task: TaskId, now: Timestamp, mut remains: Remains<'a>) -> Remains<'a> {
    let said = &mut remains.headers;
    let add = |said: &mut Headers, name: &str, value: String| said.push(name, Some(Bytes::from(value)));
    add(said, headers::EXCEPTION, kind_of(cause.error));
    add(said, headers::MESSAGE, describe(cause.error));
    if let Some(source) = &cause.source {
        source.describe_in(said);
    }
    add(said, headers::STAGE, cause.stage.name().to_owned());
    add(said, headers::TASK, task.to_string());
    if let Some(node) = cause.node {
        add(said, headers::NODE, node.to_owned());
    }
    add(said, headers::TIME, now.to_string());
    remains
}

/// What kind of error it is, by which letters can be told apart: the type and its variant, as far as the error tells by its `Debug`.
fn kind_of(error: &(dyn StdError + 'static)) -> String {
    let shown = format!("{error:?}");
    let end = shown.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(shown.len());
    match &shown[..end] {
        "" => "Error".to_owned(),
        name if error.is::<SerdeError>() => format!("SerdeError::{name}"),
        name if error.is::<StoreError>() => format!("StoreError::{name}"),
        name if error.is::<Error>() => format!("Error::{name}"),
        name => name.to_owned(),
    }
}

/// Logs failures that were passed over, at most once in ten seconds, with the number left unsaid.
#[derive(Debug, Default)]
pub(super) struct FailureLog {
    last: Option<Duration>,
    unsaid: u64,
}

impl FailureLog {
    const INTERVAL: Duration = Duration::from_secs(10);

    fn note(&mut self, cause: &Cause<'_>, task: TaskId, reaction: Reaction, now: Duration) {
        if self.last.is_some_and(|last| now.saturating_sub(last) < Self::INTERVAL) {
            self.unsaid += 1;
            return;
        }
        let unsaid = std::mem::take(&mut self.unsaid);
        self.last = Some(now);
        warn!(
            %task,
            stage = cause.stage.name(),
            node = cause.node,
            record = cause.source.as_ref().map(tracing::field::display),
            error = describe(cause.error),
            others_since_last_message = unsaid,
            "a record failed and was passed over: {reaction:?}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_an_error_is_its_type_and_variant() {
        #[derive(Debug, thiserror::Error)]
        enum StockError {
            #[error("there are no {0} pieces")]
            OutOfStock(u32),
        }
        let kind = |error: &(dyn StdError + 'static)| kind_of(error);
        assert_eq!(kind(&SerdeError::UnexpectedNull { type_name: "Order" }), "SerdeError::UnexpectedNull");
        assert_eq!(kind(&Error::new(ErrorKind::Record, "refused")), "Error::Record");
        assert_eq!(kind(&"three".parse::<i64>().unwrap_err()), "ParseIntError");
        assert_eq!(kind(&StockError::OutOfStock(3)), "OutOfStock");
        let text: BoxError = "there are no 3 pieces".into();
        assert_eq!(kind(&*text), "Error");
    }

    #[test]
    fn what_led_to_an_error_is_said_once() {
        let path = SerdeError::InvalidValue { type_name: "Order", reason: "no quantity".into() };
        let inner = path.to_string();
        let error = SerdeError::Custom { type_name: "Order", source: path.into() };
        assert_eq!(describe(&error), format!("`Order` cannot be converted: {inner}"));
        let error = Error::invalid("it stops").with_source(error);
        assert_eq!(describe(&error), error.to_string());
    }
}
