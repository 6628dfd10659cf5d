//! The headers that make a record a dead letter: those of Kafka Streams (KIP-1034), and some of our own. Their values are text.

use std::str::FromStr;

use crate::api::Headers;

/// What kind of error it was. The first of a letter's headers: those before it are the record's own.
pub(crate) const EXCEPTION: &str = "__streams.errors.exception";
/// The error and its causes, as text.
pub(crate) const MESSAGE: &str = "__streams.errors.message";
/// The topic the record was read from.
pub(crate) const TOPIC: &str = "__streams.errors.topic";
/// Its partition there.
pub(crate) const PARTITION: &str = "__streams.errors.partition";
/// Its offset there.
pub(crate) const OFFSET: &str = "__streams.errors.offset";
/// The stage at which it failed: `decode`, `process` or `produce`.
pub(crate) const STAGE: &str = "__streams.errors.stage";
/// The task that had it.
pub(crate) const TASK: &str = "__streams.errors.task";
/// The node it failed in.
pub(crate) const NODE: &str = "__streams.errors.node";
/// When it failed, in milliseconds since 1970. The record's own timestamp is when what it tells of happened.
pub(crate) const TIME: &str = "__streams.errors.time";
/// The topic that did not take the record, which is an output then, and was read from nowhere.
pub(crate) const OUTPUT_TOPIC: &str = "__streams.errors.output.topic";
/// The partition it was sent to there.
pub(crate) const OUTPUT_PARTITION: &str = "__streams.errors.output.partition";

/// How often the record was put back from the dead letters. A header of the record, not of a letter, so that it comes back with it.
pub(crate) const REDRIVEN: &str = "__millstream.redriven";

/// What the last header of this name says; none if there is none, or it is null.
pub(super) fn text(headers: &Headers, name: &str) -> Option<String> {
    let value = headers.last(name).flatten()?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// The same, as a number.
///
/// # Errors
/// That it is none.
pub(super) fn number<N: FromStr>(headers: &Headers, name: &str) -> Result<Option<N>, String> {
    let Some(text) = text(headers, name) else { return Ok(None) };
    let number = text.parse().map_err(|_| format!("its header {name} is no number: {text:?}"))?;
    Ok(Some(number))
}
