//! Where a record that failed comes from, and the headers that say so.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use millstream_state_stores::Offset;
use serde_json::{Value, json};

use super::headers;
use crate::api::Headers;
use crate::error::RecordLocation;

/// Where a record that failed comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LetterSource {
    /// It was read here.
    Input(RecordLocation),
    /// It is an output that this topic did not take.
    Output {
        /// The topic.
        topic: String,
        /// The partition it was sent to.
        partition: Option<i32>,
    },
}

impl LetterSource {
    /// The topic the record was read from, or was to be written to.
    pub fn topic(&self) -> &str {
        match self {
            LetterSource::Input(location) => &location.topic,
            LetterSource::Output { topic, .. } => topic,
        }
    }

    /// The partition, if it is known.
    pub fn partition(&self) -> Option<i32> {
        match self {
            LetterSource::Input(location) => Some(location.partition),
            LetterSource::Output { partition, .. } => *partition,
        }
    }

    /// Where the record was read, if it was.
    pub fn location(&self) -> Option<&RecordLocation> {
        match self {
            LetterSource::Input(location) => Some(location),
            LetterSource::Output { .. } => None,
        }
    }

    /// Adds the headers that say it.
    pub(crate) fn describe_in(&self, headers: &mut Headers) {
        let mut add = |name: &str, value: String| headers.push(name, Some(Bytes::from(value)));
        match self {
            LetterSource::Input(RecordLocation { topic, partition, offset }) => {
                add(headers::TOPIC, topic.to_string());
                add(headers::PARTITION, partition.to_string());
                add(headers::OFFSET, offset.to_string());
            }
            LetterSource::Output { topic, partition } => {
                add(headers::OUTPUT_TOPIC, topic.clone());
                if let Some(partition) = partition {
                    add(headers::OUTPUT_PARTITION, partition.to_string());
                }
            }
        }
    }

    /// What headers say; none if they name no topic.
    ///
    /// # Errors
    /// What is missing, or is no number.
    pub(super) fn described_in(said: &Headers) -> Result<Option<Self>, String> {
        if let Some(topic) = headers::text(said, headers::OUTPUT_TOPIC) {
            let partition = headers::number(said, headers::OUTPUT_PARTITION)?;
            return Ok(Some(LetterSource::Output { topic, partition }));
        }
        let Some(topic) = headers::text(said, headers::TOPIC) else { return Ok(None) };
        Ok(Some(LetterSource::Input(RecordLocation {
            topic: topic.into(),
            partition: required(said, headers::PARTITION)?,
            offset: Offset::new(required(said, headers::OFFSET)?),
        })))
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "topic": self.topic(),
            "partition": self.partition(),
            "offset": self.location().map(|location| location.offset.get()),
            "is_output": matches!(self, LetterSource::Output { .. }),
        })
    }
}

impl fmt::Display for LetterSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LetterSource::Input(location) => location.fmt(f),
            LetterSource::Output { topic, .. } => write!(f, "output to {topic}"),
        }
    }
}

fn required<N: FromStr>(said: &Headers, name: &str) -> Result<N, String> {
    headers::number(said, name)?.ok_or_else(|| format!("it has no header {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_headers_are_told_they_tell() {
        let input = RecordLocation { topic: "orders".into(), partition: 3, offset: Offset::new(12) };
        let output = |partition| LetterSource::Output { topic: "totals".into(), partition };
        for source in [LetterSource::Input(input), output(Some(0)), output(None)] {
            let mut headers = Headers::default();
            source.describe_in(&mut headers);
            assert_eq!(LetterSource::described_in(&headers), Ok(Some(source)));
        }
        assert_eq!(LetterSource::described_in(&Headers::default()), Ok(None));
    }
}
