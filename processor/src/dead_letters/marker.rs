//! How it is remembered that a letter was redriven: by a record in a compacted topic beside the dead letters, written in the
//! transaction that puts the letter's record back. So there is one if, and only if, the record was put back.
//!
//! ```text
//! key    id of the dead-letter topic ':' partition ':' offset; without the id, and its colon, where the brokers give topics none
//! value  {"topic":"orders","partition":0}: where the record went; the partition is null where the key decided
//! ```
//!
//! The id (KIP-516) is what tells a letter from one at the same place in an earlier topic of the same name. A marker without it is of a letter
//! in any of them: rather a record is left than put back twice. The timestamp is when the record was put back.

use millstream_state_stores::TopicId;
use serde_json::json;
use uuid::Uuid;

use super::letter::LetterId;
use super::plan::Redrive;

/// The key of a letter's marker.
pub(super) fn key(topic: Option<TopicId>, letter: LetterId) -> String {
    match topic {
        Some(topic) => format!("{}:{letter}", Uuid::from_bytes(topic.to_bytes())),
        None => letter.to_string(),
    }
}

/// The letter that a marker is of; none if it is of another topic, or no marker.
pub(super) fn letter_of(topic: Option<TopicId>, key: &[u8]) -> Option<LetterId> {
    let text = std::str::from_utf8(key).ok()?;
    text.parse().ok().or_else(|| {
        let (id, letter) = text.split_once(':')?;
        (id.parse() == Ok(Uuid::from_bytes(topic?.to_bytes()))).then_some(letter)?.parse().ok()
    })
}

/// The value of a marker.
pub(super) fn value(redrive: &Redrive) -> String {
    json!({ "topic": redrive.topic, "partition": redrive.partition }).to_string()
}

#[cfg(test)]
mod tests {
    use millstream_state_stores::Offset;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_marker_is_of_one_letter_of_one_topic() {
        let topic = |last| {
            let mut bytes = [0; 16];
            bytes[15] = last;
            Some(TopicId::from_bytes(bytes))
        };
        let letter = LetterId { partition: 2, offset: Offset::new(17) };
        assert_eq!(key(topic(7), letter), "00000000-0000-0000-0000-000000000007:2:17");
        assert_eq!(key(None, letter), "2:17");
        for (id, own) in [(topic(7), topic(7)), (None, None), (topic(7), None)] {
            assert_eq!(letter_of(id, key(own, letter).as_bytes()), Some(letter), "{own:?}");
        }
        for (id, other) in [(topic(7), key(topic(8), letter)), (None, key(topic(7), letter))] {
            assert_eq!(letter_of(id, other.as_bytes()), None, "{other}");
        }
        assert_eq!(letter_of(None, b"\xff"), None);
    }

    #[test]
    fn its_value_says_where_the_record_went() {
        let redrive = |partition| Redrive {
            letter: LetterId { partition: 0, offset: Offset::new(1) },
            topic: "orders".into(),
            partition,
        };
        assert_eq!(value(&redrive(Some(3))), r#"{"partition":3,"topic":"orders"}"#);
        assert_eq!(value(&redrive(None)), r#"{"partition":null,"topic":"orders"}"#);
    }

    proptest! {
        #[test]
        fn arbitrary_keys_are_markers_or_not(
            id in prop_oneof![Just("00000000-0000-0000-0000-000000000000:"), Just(""), Just("7:")],
            letter in "[0-9]{1,3}:[0-9]{1,3}|[0-9:-]{0,12}",
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let topic = Some(TopicId::from_bytes([0; 16]));
            let text = format!("{id}{letter}");
            let is_letter = |text: &str| text.parse::<LetterId>().is_ok();
            let is_marker = is_letter(&text) || id.len() > 2 && is_letter(&letter);
            prop_assert_eq!(letter_of(topic, text.as_bytes()).is_some(), is_marker);
            prop_assert!(letter_of(topic, &bytes).is_none() || bytes.contains(&b':'));
        }
    }
}
