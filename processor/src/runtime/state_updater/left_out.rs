//! Records of a topic that is its table's changelog, which were processed and yet make no row now.
//!
//! A record that a handler passed over when it was processed changed nothing, and has no row. Any other had one, which must not be lost: that it
//! makes none now follows from another type, a schema that is gone, or a registry that does not answer.

use std::sync::Arc;

use tracing::warn;

use super::progress::RestoreProgress;
use crate::api::{Failure, FailureParts};
use crate::error::{Error, ErrorKind, RecordLocation, Result, describe, is_schema_outage};
use crate::handlers::{FailureReport, Handlers, Reaction};
use crate::topology::RawRecord;

/// Leaves a record out that cannot be made a row, if the handler of the stage passes over it. It was dead-lettered when it was processed, if it was
/// to be, and is not once more.
///
/// # Errors
/// If the handler fails, or if nobody says by which schema the record was written.
pub(super) fn leave_out(
    record: &RawRecord<'_>,
    failure: Failure,
    topic: &Arc<str>,
    progress: &mut RestoreProgress,
    handlers: &Handlers,
) -> Result<()> {
    let FailureParts { stage, source, .. } = failure.into_parts();
    let (task, store) = (progress.task, &progress.store);
    let location =
        RecordLocation { topic: Arc::clone(topic), partition: task.partition, offset: record.offset };
    if is_schema_outage(&source) {
        let message = format!("nobody says by which schema a record of store {store} can be converted");
        return Err(Error::fatal(message).with_source(source).in_task(task).at(location));
    }
    let report = FailureReport {
        stage,
        task,
        node: None,
        location: Some(&location),
        key: record.key,
        value: record.value,
        error: &*source,
    };
    if handlers.of(stage).react(&report) == Reaction::Fail {
        let message = format!(
            "a record that was processed cannot be made a row of store {store} any more (stage {}) and its handler fails; let the type read what \
             was written before, or, if a handler passed over the record, let it do so again",
            stage.name()
        );
        return Err(Error::new(ErrorKind::Record, message).with_source(source).in_task(task).at(location));
    }
    if progress.left_out == 0 {
        warn!(
            %task, %store, record = %location, stage = stage.name(), error = describe(&*source),
            "a record makes no row, as it was passed over when it was processed; others of this restore are only counted"
        );
    }
    progress.left_out += 1;
    Ok(())
}

#[cfg(test)]
mod tests {
    use millstream_state_stores::{Offset, RegistryError, SerdeError, TaskId, Timestamp};

    use super::*;
    use crate::api::FailureStage;
    use crate::error::BoxError;

    fn left_out(source: impl Into<BoxError>, handlers: &Handlers) -> (Result<()>, u64) {
        let record = RawRecord {
            offset: Offset::new(7),
            timestamp: Timestamp::from_millis(0),
            key: Some(b"apples"),
            value: Some(b"many"),
        };
        let (from, end) = (Offset::new(0), Offset::new(9));
        let task = TaskId { subtopology: 0, partition: 3 };
        let store = "prices".into();
        let mut progress = RestoreProgress { task, store, from, next: from, end, records: 0, left_out: 0 };
        let failure = Failure::at_stage(FailureStage::Decode, source);
        let outcome = leave_out(&record, failure, &"prices".into(), &mut progress, handlers);
        (outcome, progress.left_out)
    }

    #[test]
    fn what_a_handler_passed_over_has_no_row_and_anything_else_is_not_left_out() {
        let no_number = || SerdeError::invalid_text::<i64>("many", "it is no number");
        for reaction in [Reaction::Skip, Reaction::DeadLetter] {
            let handlers = Handlers { decode: Arc::new(reaction), ..Handlers::default() };
            let (outcome, counted) = left_out(no_number(), &handlers);
            assert!(outcome.is_ok() && counted == 1, "{outcome:?}");
        }
        let fails = Handlers { decode: Arc::new(Reaction::Fail), ..Handlers::all(Reaction::Skip) };
        let (outcome, counted) = left_out(no_number(), &fails);
        let error = outcome.expect_err("the handler of that stage fails");
        assert_eq!((error.kind(), counted), (ErrorKind::Record, 0));
        let text = error.to_string();
        assert!(text.contains("prices-3@7") && text.contains("no number"), "{text}");
    }

    #[test]
    fn no_handler_is_asked_while_nobody_says_by_which_schema_a_record_was_written() {
        let asked = Handlers::all(|_: &FailureReport<'_>| -> Reaction { panic!("a handler was asked") });
        let url = || "https://registry".to_string();
        for refusal in [
            RegistryError::Away { url: url(), tries: 1, seconds: 20, source: "it is off".into() },
            RegistryError::Unauthorized { url: url(), status: 401 },
            RegistryError::NoRegistry { url: url(), reason: "it is a page".into() },
        ] {
            let error = left_out(SerdeError::from(refusal), &asked).0.expect_err("nobody says so");
            assert_eq!(error.kind(), ErrorKind::Fatal);
            assert!(error.to_string().contains("prices-3@7"), "{error}");
        }
    }
}
