//! A dead letter as its headers describe it, and the record that failed as it was.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use millstream_state_stores::{Offset, Timestamp};
use serde_json::{Value, json};

use super::headers;
use super::source::LetterSource;
use crate::api::{FailureStage, Header, Headers};
use crate::error::Error;

/// Where a letter lies in the dead-letter topic. Written as `partition:offset`.
///
/// ```
/// use millstream_processor::Offset;
/// use millstream_processor::dead_letters::LetterId;
///
/// let id: LetterId = "0:17".parse()?;
/// assert_eq!((id.partition, id.offset), (0, Offset::new(17)));
/// assert_eq!(id.to_string(), "0:17");
/// # Ok::<(), millstream_processor::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId {
    /// Partition of the dead-letter topic.
    pub partition: i32,
    /// Offset in it.
    pub offset: Offset,
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

impl FromStr for LetterId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = text.split_once(':').and_then(|(partition, offset)| {
            let partition = partition.parse().ok().filter(|partition| *partition >= 0)?;
            let offset = offset.parse().ok().filter(|offset| *offset >= 0)?;
            Some(LetterId { partition, offset: Offset::new(offset) })
        });
        parsed.ok_or_else(|| {
            Error::invalid(format!("{text:?} is no letter: write its partition and offset, such as 0:17"))
        })
    }
}

/// What is known of a failure. The record is a [`FailedRecord`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where the letter lies.
    pub id: LetterId,
    /// When the record failed. Of letters that do not say it, as those of Kafka Streams: the record's own timestamp.
    pub failed_at: Timestamp,
    /// Where the record comes from; none if it is none, as when a punctuation failed.
    pub source: Option<LetterSource>,
    /// The stage at which it failed.
    pub stage: Option<FailureStage>,
    /// The task that had it, such as `0_3`.
    pub task: Option<String>,
    /// The topology node it failed in.
    pub node: Option<String>,
    /// What kind of error it was, such as `SerdeError::Json`.
    pub error: String,
    /// The error and its causes.
    pub message: String,
    /// How often the record had been put back before it failed this time: what its own header `__millstream.redriven` says, which goes
    /// wherever the record's headers go. It does not say whether this letter was redriven.
    pub times_redriven: u32,
    /// When the record was put back after this failure, if it was: as this letter's marker says, and at most once.
    pub redriven_at: Option<Timestamp>,
}

/// A record as it was when it failed: without the headers that describe the failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRecord {
    /// Its event time.
    pub timestamp: Timestamp,
    /// Its encoded key.
    pub key: Option<Bytes>,
    /// Its encoded value.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Headers,
}

/// Records of a dead-letter topic that are no dead letters: somebody else writes to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherRecords {
    /// How many there are.
    pub count: usize,
    /// The one that was read first.
    pub first: LetterId,
    /// Why that one is no letter.
    pub why: String,
}

impl OtherRecords {
    pub(super) fn to_json(&self) -> Value {
        json!({
            "count": self.count,
            "first": { "partition": self.first.partition, "offset": self.first.offset.get() },
            "why": self.why,
        })
    }
}

/// A record of the dead-letter topic, whatever it is.
#[derive(Clone, Debug)]
pub(crate) struct TopicEntry {
    pub(crate) id: LetterId,
    pub(crate) timestamp: Timestamp,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Headers,
}

impl TopicEntry {
    /// What it says of a failure.
    ///
    /// # Errors
    /// Why it is no dead letter.
    pub(crate) fn letter(&self) -> Result<DeadLetter, String> {
        let (own, said) = self.split_headers();
        let error = headers::text(&said, headers::EXCEPTION)
            .ok_or_else(|| format!("it has no header {}", headers::EXCEPTION))?;
        let stage = headers::text(&said, headers::STAGE);
        let failed_at = headers::number(&said, headers::TIME)?.map(Timestamp::from_millis);
        Ok(DeadLetter {
            id: self.id,
            failed_at: failed_at.unwrap_or(self.timestamp),
            source: LetterSource::described_in(&said)?,
            // Somebody else's letters may know other stages.
            stage: stage.and_then(|stage| stage.parse().ok()),
            task: headers::text(&said, headers::TASK),
            node: headers::text(&said, headers::NODE),
            error,
            message: headers::text(&said, headers::MESSAGE).unwrap_or_default(),
            // Whoever wrote anything else there, it was not us.
            times_redriven: headers::number(&own, headers::REDRIVEN).ok().flatten().unwrap_or(0),
            redriven_at: None,
        })
    }

    /// The record that failed.
    pub(crate) fn record(&self) -> FailedRecord {
        FailedRecord {
            timestamp: self.timestamp,
            key: self.key.clone(),
            value: self.value.clone(),
            headers: self.split_headers().0,
        }
    }

    /// The record's own headers, and those that describe its failure, which come last. The record may have been taken from a dead-letter
    /// topic itself, and have such headers of its own.
    fn split_headers(&self) -> (Headers, Headers) {
        let mut own: Vec<Header> = self.headers.iter().cloned().collect();
        let first = own.iter().rposition(|header| header.name == headers::EXCEPTION);
        let said = own.split_off(first.unwrap_or(own.len()));
        (own.into_iter().collect(), said.into_iter().collect())
    }
}

impl DeadLetter {
    /// The letter for programs. Times are in milliseconds since 1970.
    pub fn to_json(&self) -> Value {
        json!({
            "partition": self.id.partition,
            "offset": self.id.offset.get(),
            "failed_at": self.failed_at.as_millis(),
            "source": self.source.as_ref().map(LetterSource::to_json),
            "stage": self.stage.map(FailureStage::name),
            "task": self.task,
            "node": self.node,
            "error": self.error,
            "message": self.message,
            "times_redriven": self.times_redriven,
            "redriven_at": self.redriven_at.map(Timestamp::as_millis),
        })
    }
}

impl FailedRecord {
    /// The record for programs. Bytes are `{"text": ..}` where they are, else `{"hex": ..}`; null is null.
    pub fn to_json(&self) -> Value {
        let bytes = |bytes: &Option<Bytes>| bytes.as_ref().map(|bytes| shown_bytes(bytes));
        let header = |header: &Header| json!({ "name": header.name, "value": bytes(&header.value) });
        json!({
            "timestamp": self.timestamp.as_millis(),
            "key": bytes(&self.key),
            "value": bytes(&self.value),
            "headers": self.headers.iter().map(header).collect::<Vec<_>>(),
        })
    }
}

fn shown_bytes(bytes: &[u8]) -> Value {
    let is_text = |text: &&str| !text.chars().any(|char| char.is_control() && !"\n\r\t".contains(char));
    match std::str::from_utf8(bytes).ok().filter(is_text) {
        Some(text) => json!({ "text": text }),
        None => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "hex": hex })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(headers: &[(&str, &str)]) -> TopicEntry {
        let header = |(name, value): &(&str, &str)| Header {
            name: (*name).to_owned(),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
        };
        TopicEntry {
            id: LetterId { partition: 0, offset: Offset::new(17) },
            timestamp: Timestamp::from_millis(2_000),
            key: Some(Bytes::from_static(b"apples")),
            value: None,
            headers: headers.iter().map(header).collect(),
        }
    }

    const READ_FROM_ORDERS: [(&str, &str); 4] = [
        (headers::EXCEPTION, "SerdeError::Json"),
        (headers::TOPIC, "orders"),
        (headers::PARTITION, "3"),
        (headers::OFFSET, "12"),
    ];

    #[test]
    fn a_letter_is_what_its_headers_say() {
        let mut said = vec![("trace", "abc"), (headers::REDRIVEN, "2")];
        said.extend(READ_FROM_ORDERS);
        said.extend([(headers::STAGE, "decode"), (headers::TIME, "9000"), (headers::MESSAGE, "no JSON")]);
        let entry = entry(&said);
        let letter = entry.letter().unwrap();
        assert_eq!(letter.to_json()["source"]["offset"], 12);
        assert_eq!(letter.source.as_ref().map(ToString::to_string).as_deref(), Some("orders-3@12"));
        assert_eq!((letter.stage, letter.failed_at.as_millis()), (Some(FailureStage::Decode), 9_000));
        assert_eq!((letter.error.as_str(), letter.message.as_str()), ("SerdeError::Json", "no JSON"));
        assert_eq!((letter.times_redriven, &letter.node), (2, &None));

        let record = entry.record();
        let names: Vec<&str> = record.headers.iter().map(|header| header.name.as_str()).collect();
        assert_eq!(names, ["trace", headers::REDRIVEN]);
        assert_eq!(record.timestamp, Timestamp::from_millis(2_000));
    }

    /// As its `ExceptionHandlerUtils` writes them: behind the record's own headers, with a stack trace, and null for what is not known.
    #[test]
    fn letters_of_kafka_streams_are_letters() {
        let exception = "org.apache.kafka.common.errors.SerializationException";
        let mut said = vec![("trace", "abc"), (headers::EXCEPTION, exception), (headers::MESSAGE, "no JSON")];
        said.push(("__streams.errors.stacktrace", "at org.acme.Orders.main(Orders.java:7)"));
        said.extend(&READ_FROM_ORDERS[1..]);
        let of_a_record = entry(&said);
        let letter = of_a_record.letter().unwrap();
        assert_eq!(letter.source.as_ref().map(ToString::to_string).as_deref(), Some("orders-3@12"));
        assert_eq!((letter.error.as_str(), letter.message.as_str()), (exception, "no JSON"));
        assert_eq!((letter.stage, letter.failed_at), (None, of_a_record.timestamp));
        let kept: Vec<_> =
            of_a_record.record().headers.iter().map(|header| header.name.to_string()).collect();
        assert_eq!(kept, ["trace"]);

        let mut of_a_punctuation = entry(&[(headers::EXCEPTION, exception)]);
        of_a_punctuation.headers.push(headers::MESSAGE, None);
        of_a_punctuation.headers.push(headers::TOPIC, None);
        for place in [headers::PARTITION, headers::OFFSET] {
            of_a_punctuation.headers.push(place, Some(Bytes::from_static(b"-1")));
        }
        let letter = of_a_punctuation.letter().unwrap();
        assert_eq!((letter.source, letter.message.as_str()), (None, ""));
    }

    /// An application may read the dead letters of another, and dead-letter one of them.
    #[test]
    fn a_letter_about_a_letter_is_about_the_last_failure() {
        let mut said = vec![(headers::EXCEPTION, "SerdeError::InvalidUtf8"), (headers::TOPIC, "movements")];
        said.extend([(headers::NODE, "older")]);
        said.extend(READ_FROM_ORDERS);
        let entry = entry(&said);
        let letter = entry.letter().unwrap();
        assert_eq!(letter.source.as_ref().map(LetterSource::topic), Some("orders"));
        assert_eq!((letter.error.as_str(), &letter.node), ("SerdeError::Json", &None));
        let kept = entry.record().headers;
        assert_eq!(kept.last(headers::TOPIC).flatten().map(|topic| &topic[..]), Some(&b"movements"[..]));
    }

    #[test]
    fn an_output_and_a_punctuation_have_no_input() {
        let output = [(headers::EXCEPTION, "Error::Record"), (headers::OUTPUT_TOPIC, "totals")];
        let letter = entry(&output).letter().unwrap();
        let expected = LetterSource::Output { topic: "totals".into(), partition: None };
        assert_eq!(letter.source, Some(expected));
        let punctuation = entry(&[(headers::EXCEPTION, "Error")]).letter().unwrap();
        assert_eq!((punctuation.source, punctuation.failed_at.as_millis()), (None, 2_000));
    }

    #[test]
    fn what_is_no_letter_says_why() {
        let cases: [(&[_], _); 3] = [
            (&[("trace", "abc")], "it has no header __streams.errors.exception"),
            (&READ_FROM_ORDERS[..3], "it has no header __streams.errors.offset"),
            (
                &[READ_FROM_ORDERS[0], READ_FROM_ORDERS[1], (headers::PARTITION, "first")],
                "its header __streams.errors.partition is no number: \"first\"",
            ),
        ];
        for (headers, expected) in cases {
            assert_eq!(entry(headers).letter().unwrap_err(), expected);
        }
    }

    #[test]
    fn bytes_are_shown_as_text_only_where_they_are() {
        let json = |bytes: &[u8]| shown_bytes(bytes).to_string();
        assert_eq!(json("{\"sku\": \"Äpfel\"}\n".as_bytes()), r#"{"text":"{\"sku\": \"Äpfel\"}\n"}"#);
        assert_eq!(json(&[0, 0, 7]), r#"{"hex":"000007"}"#);
        assert_eq!(json(&[0xff, 0x41]), r#"{"hex":"ff41"}"#);
    }

    #[test]
    fn a_place_that_is_none_is_refused() {
        for text in ["17", "0:", "0:-1", "-1:0", "orders:17", "0:1:2"] {
            let error = text.parse::<LetterId>().unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("such as 0:17"), "{error}");
        }
    }

    /// A header that somebody wrote: of a letter or not, with what it may hold or not.
    fn any_header() -> impl Strategy<Value = Header> {
        let names = [headers::EXCEPTION, headers::TOPIC, headers::PARTITION, headers::OFFSET, headers::STAGE]
            .into_iter()
            .chain([
                headers::TIME,
                headers::OUTPUT_TOPIC,
                headers::OUTPUT_PARTITION,
                headers::REDRIVEN,
                "trace",
            ]);
        let value = prop_oneof![
            "[-0-9]{1,20}|decode|orders".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..8)
        ];
        (prop::sample::select(names.collect::<Vec<_>>()), prop::option::weighted(0.9, value))
            .prop_map(|(name, value)| Header { name: name.to_owned(), value: value.map(Bytes::from) })
    }

    proptest! {
        #[test]
        fn arbitrary_headers_are_of_a_letter_or_not(said in prop::collection::vec(any_header(), 0..12)) {
            let entry = TopicEntry { headers: said.iter().cloned().collect(), ..entry(&[]) };
            let names_an_error = |header: &Header| header.name == headers::EXCEPTION;
            match entry.letter() {
                Ok(letter) => {
                    prop_assert!(said.iter().any(names_an_error));
                    prop_assert_eq!(&letter.to_json()["offset"], &json!(letter.id.offset.get()));
                }
                Err(why) => prop_assert!(why.contains("header"), "{}", why),
            }
            let end_of_own = said.iter().rposition(names_an_error).unwrap_or(said.len());
            prop_assert_eq!(entry.record().headers.iter().count(), end_of_own);
        }

        #[test]
        fn arbitrary_texts_are_places_or_refused(text in "[0-9:+ -]{0,24}|\\PC*") {
            if let Ok(id) = text.parse::<LetterId>() {
                prop_assert_eq!(id.to_string().parse::<LetterId>().unwrap(), id);
            }
        }
    }
}
