//! The formats of this crate: what lies in topics, in changelogs and on the disk.

use bytes::Bytes;

use super::{Form, check, check_serde};
use crate::format::companion::{split_timed, timed};
use crate::format::metadata::{decode_changelog, decode_position, encode_position};
use crate::format::ordered::{put_bytes, split_bytes};
use crate::format::{
    Buffered, BufferedContext, BufferedSerde, ChangeSerde, JoinSide, LeftOrRightValue, LeftOrRightValueSerde,
    ListSerde, SegmentSerde, SubscriptionInstruction, SubscriptionResponseWrapper,
    SubscriptionResponseWrapperSerde, SubscriptionWrapper, SubscriptionWrapperSerde, TimeFirstKey, TimedKeys,
    ValueHash, begin_waiting_key, put_version, row, split_version, split_waiting_key, split_wire_format,
    wire_format,
};
#[cfg(feature = "protobuf")]
use crate::format::{message_index, split_message_index};
use crate::schema::SchemaId;
use crate::serde::HasSerde;
use crate::store::{Change, Segment, Version};
use crate::types::{LogPosition, Offset, PartitionId, Timestamp};

const fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

#[test]
fn rows_and_what_a_database_says_of_itself() {
    check(vec![b"\0\0\0\0\0\0\0\x07value".to_vec()], Form::Canonical, |bytes| {
        let (timestamp, value) = row::split(bytes)?;
        let mut again = Vec::new();
        row::begin(timestamp, &mut again);
        Some([again.as_slice(), value].concat())
    });
    let position = LogPosition { next: Offset::new(1200), as_of: Some(at(7)) };
    let positions = vec![encode_position(position), encode_position(position.next.into())];
    check(positions, Form::Canonical, |bytes| decode_position(bytes).map(encode_position));
    check(vec![b"0123456789abcdef".to_vec()], Form::Canonical, |bytes| {
        decode_changelog(bytes).map(|topic| topic.to_bytes().to_vec())
    });
}

#[test]
fn keys_that_carry_time() {
    for keys in [TimedKeys::Window, TimedKeys::Session] {
        let first = keys.first_of(at(0x0102));
        let row_of = |key: &[u8]| {
            let mut row = Vec::new();
            keys.row(key, first, &mut row);
            row
        };
        check(vec![row_of(b"apples"), row_of(b"")], Form::Canonical, |bytes| {
            assert!(keys.time_on_disk(bytes).is_some() || keys.split_row(bytes).is_none());
            let (key, id) = keys.split_row(bytes)?;
            let mut again = Vec::new();
            keys.row(key, id, &mut again);
            Some(again)
        });
        let index_of = |row: &[u8]| {
            let mut index = Vec::new();
            keys.index(row, &mut index);
            index
        };
        check(vec![index_of(&row_of(b"apples"))], Form::Canonical, |bytes| {
            let mut row = Vec::new();
            keys.row_of_index(bytes, &mut row).then(|| index_of(&row))
        });
        check(vec![row_of(b"apples")[1..].to_vec()], Form::Canonical, |bytes| {
            let (key, id) = keys.split(bytes)?;
            let is_mark = keys.is_logged_mark(bytes);
            assert!(!is_mark || key.is_empty());
            let mut again = Vec::new();
            keys.row(key, id, &mut again);
            Some(again.split_off(1))
        });
    }
    let mut key = Vec::new();
    timed(at(5), b"apples", &mut key);
    check(vec![key], Form::Canonical, |bytes| {
        let (time, key) = split_timed(bytes)?;
        let mut again = Vec::new();
        timed(time, key, &mut again);
        Some(again)
    });
}

#[test]
fn headers_of_values() {
    let followed = |header: &[u8]| [header, b"value"].concat();
    check(vec![followed(&wire_format(SchemaId::new(7)))], Form::Canonical, |bytes| {
        let (id, value) = split_wire_format(bytes)?;
        Some([&wire_format(id), value].concat())
    });
    let versioned = |version, value: &[u8]| {
        let mut bytes = Vec::new();
        put_version(version, &mut bytes);
        [bytes.as_slice(), value].concat()
    };
    check(vec![versioned(1, b"{}"), versioned(300, b"")], Form::Free, |bytes| {
        let (version, value) = split_version(bytes)?;
        Some(versioned(version, value))
    });
    #[cfg(feature = "protobuf")]
    check(
        [&[0][..], &[1], &[3, 0, 200]].map(|place| followed(&message_index(place))).to_vec(),
        Form::Free,
        |bytes| {
            let (place, value) = split_message_index(bytes)?;
            Some([message_index(&place).as_slice(), value].concat())
        },
    );
    let mut text = Vec::new();
    put_bytes(b"a\0b", &mut text);
    check(vec![text.clone(), followed(&text)], Form::Canonical, |bytes| {
        let (text, rest) = split_bytes(bytes)?;
        let mut again = Vec::new();
        put_bytes(&text, &mut again);
        Some([again.as_slice(), rest].concat())
    });
}

#[test]
fn changes_and_lists() {
    let changes =
        [(Some(3), Some(5)), (Some(3), None), (None, Some(5))].map(|(old, new)| Change { old, new });
    // The length may be longer than it need be, and some flags are only read.
    check_serde(&ChangeSerde::new(i64::serde()), Form::Free, &changes);
    let texts = [(Some("3 apples"), Some("")), (None, Some("5 apples"))];
    let texts = texts.map(|(old, new)| Change { old: old.map(str::to_owned), new: new.map(str::to_owned) });
    check_serde(&ChangeSerde::new(String::serde()), Form::Free, &texts);

    let lists = [vec![], vec![String::new()], vec!["a".to_owned(), "bc".to_owned()]];
    check_serde(&ListSerde::new(String::serde()), Form::Canonical, &lists);
}

#[test]
fn replaced_versions() {
    let mut segment = Segment::default();
    segment.push(Version { from: at(3), value: Some(b"apples".to_vec()) });
    segment.push(Version { from: at(7), value: None });
    segment.push(Version { from: at(9), value: Some(Vec::new()) });
    check_serde(&SegmentSerde::new(Vec::<u8>::serde()), Form::Canonical, &[Segment::default(), segment]);
}

#[test]
fn what_foreign_key_joins_say() {
    let subscriptions = [
        (Some(&b"ann:5"[..]), SubscriptionInstruction::PropagateOnlyIfForeignValueAvailable, Some(258)),
        (None, SubscriptionInstruction::DeleteKeyNoPropagate, None),
    ];
    let subscriptions = subscriptions.map(|(value, instruction, partition)| SubscriptionWrapper {
        hash: value.map(ValueHash::of),
        instruction,
        primary_key: "order-1".to_owned(),
        primary_partition: partition.map(PartitionId::new),
    });
    check_serde(&SubscriptionWrapperSerde::new(String::serde()), Form::Canonical, &subscriptions);
    let responses = [(Some(&b"ann:5"[..]), Some(5)), (None, Some(6)), (None, None)];
    let responses = responses.map(|(value, foreign_value)| SubscriptionResponseWrapper {
        original_value_hash: value.map(ValueHash::of),
        foreign_value,
        primary_partition: None,
    });
    check_serde(&SubscriptionResponseWrapperSerde::new(i64::serde()), Form::Canonical, &responses);
}

#[test]
fn records_that_wait_for_the_other_side() {
    let mut key = Vec::new();
    begin_waiting_key(at(7), JoinSide::Left, &mut key);
    key.extend_from_slice(b"order-1");
    check(vec![key], Form::Canonical, |bytes| {
        let (time, side, key) = split_waiting_key(bytes)?;
        let mut again = Vec::new();
        begin_waiting_key(time, side, &mut again);
        again.extend_from_slice(key);
        Some(again)
    });
    let values = [LeftOrRightValue::Left("paid".to_owned()), LeftOrRightValue::Right(7)];
    check_serde(&LeftOrRightValueSerde::new(String::serde(), i64::serde()), Form::Canonical, &values);
    let of_a_row =
        ListSerde::new(std::sync::Arc::new(LeftOrRightValueSerde::new(String::serde(), i64::serde())));
    check_serde(&of_a_row, Form::Canonical, &[values.to_vec()]);
}

#[test]
fn records_that_wait_for_their_time() {
    let context = BufferedContext {
        timestamp: at(7),
        topic: "orders".to_owned(),
        partition: 2,
        offset: Offset::new(9),
        headers: vec![("h".to_owned(), Some(Bytes::from_static(b"x"))), ("n".to_owned(), None)],
    };
    let buffered =
        [(Some("p"), Some("o"), Some("new")), (Some("p"), Some("p"), None), (None, None, Some(""))];
    let buffered = buffered.map(|(prior, old, new)| {
        let [prior, old, new] = [prior, old, new].map(|value| value.map(str::to_owned));
        Buffered { prior, old, new, time: at(5), context: context.clone() }
    });
    // An old value that is the prior one may be written out, and topics and headers that are no text are taken for text.
    check_serde(&BufferedSerde::new(String::serde()), Form::Free, &buffered);
    let key = TimeFirstKey { time: at(0x0102), key: "apples".to_owned(), number: 3 };
    check_serde(&*TimeFirstKey::<String>::serde(), Form::Canonical, &[key]);
}
