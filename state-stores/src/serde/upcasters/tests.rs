//! Versions told by numbers, by fields and by schemas.

use serde::{Deserialize, Serialize};

use super::*;
use crate::format::wire_format;
use crate::json_serde;
use crate::schema::{
    MockSchemaRegistryClient, Schema, SchemaKind, SchemaRegistry, SchemaRegistryClient, SubjectNameStrategy,
};
use crate::serde::{ApplicationSerdes, HasSerde, JsonSerde, RecordField, RecordPart};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct First {
    sku: String,
}
json_serde!(First);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Second {
    sku: String,
    quantity: u32,
}
json_serde!(Second);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Third {
    lines: Vec<Second>,
}

fn upcasters() -> Upcasters<Third> {
    Upcasters::oldest(First::serde())
        .then(Second::serde(), |first: First| Second { sku: first.sku, quantity: 1 })
        .then(Arc::new(JsonSerde::new()), |second| Third { lines: vec![second] })
}

fn third(sku: &str, quantity: u32) -> Third {
    Third { lines: vec![Second { sku: sku.into(), quantity }] }
}

/// The bytes are of one order of one apple, in whichever version.
#[track_caller]
fn assert_shown_as_newest(serde: &dyn Serde<Third>, bytes: &[u8]) {
    let apples = serde_json::json!({"lines": [{"sku": "apples", "quantity": 1}]});
    assert_eq!(serde.to_json(bytes).unwrap(), apples);
}

fn encoded<T>(serde: &SerdeRef<T>, value: &T) -> Vec<u8> {
    let mut bytes = b"before".to_vec();
    assert_eq!(serde.encode(value, &mut bytes).unwrap(), Encoded::Bytes);
    bytes.split_off(b"before".len())
}

#[test]
fn each_version_becomes_the_newest() {
    let serde = upcasters().numbered();
    assert_eq!(serde.decode(br#"{"sku":"apples"}"#).unwrap(), third("apples", 1));
    assert_eq!(serde.decode(b"\xff\x01{\"sku\":\"apples\"}").unwrap(), third("apples", 1));
    assert_eq!(serde.decode(b"\xff\x02{\"sku\":\"apples\",\"quantity\":4}").unwrap(), third("apples", 4));
    let newest = encoded(&serde, &third("pears", 2));
    assert!(newest.starts_with(b"\xff\x03{\"lines\":"), "{newest:?}");
    assert_eq!(serde.decode(&newest).unwrap(), third("pears", 2));
    assert_shown_as_newest(&*serde, br#"{"sku":"apples"}"#);
}

#[test]
fn a_version_of_tomorrow_is_refused() {
    let error = upcasters().numbered().decode(b"\xff\x04{}").unwrap_err().to_string();
    assert!(error.contains("version 4") && error.contains("1 to 3"), "{error}");
    assert!(upcasters().numbered().decode(b"\xff\x00{}").is_err(), "versions begin with 1");
    assert!(upcasters().numbered().decode(b"\xff").is_err());
}

#[test]
fn versions_may_stand_in_a_field_wherever_it_is() {
    let serde = upcasters().numbered_in("v");
    assert_eq!(serde.decode(br#"{"sku":"apples"}"#).unwrap(), third("apples", 1));
    assert_eq!(serde.decode(br#"{"sku":"apples","quantity":4,"v":2}"#).unwrap(), third("apples", 4));
    let newest = encoded(&serde, &third("pears", 2));
    assert!(newest.starts_with(b"{\"v\":3,\"lines\":"), "{newest:?}");
    assert_eq!(serde.decode(&newest).unwrap(), third("pears", 2));
    assert_shown_as_newest(&*serde, br#"{"sku":"apples"}"#);
    assert_shown_as_newest(&*serde, br#"{"v":2,"sku":"apples","quantity":1}"#);
    assert_shown_as_newest(&*serde, &encoded(&serde, &third("apples", 1)));
    for wrong in [&b"[]"[..], b"{\"v\":0}", b"{\"v\":9}", b"{\"v\":\"2\"}", b"{"] {
        assert!(serde.decode(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn of_what_is_written_only_the_newest_version_is_registered() {
    let subjects = |newest: &'static str| {
        let client = Arc::new(MockSchemaRegistryClient::default());
        let registry = SchemaRegistry::new(client.clone()).naming(SubjectNameStrategy::RecordName);
        let serdes = ApplicationSerdes::default().with_schema_registry(registry);
        let serde = Upcasters::oldest(Arc::new(JsonSerde::with_schema(r#"{"title": "First"}"#)))
            .then(Arc::new(JsonSerde::with_schema(newest)), |first: First| third(&first.sku, 1))
            .by_schema();
        let settled = SerdePlace::new("orders", RecordPart::Value, &serdes).bind(&serde);
        (settled.is_ok(), client.subjects())
    };
    assert_eq!(subjects(r#"{"title": "Third"}"#), (true, vec!["Third".to_owned()]));
    assert_eq!(subjects("{}"), (false, Vec::new()), "without a name it is refused");
}

#[test]
fn an_upcast_that_fails_says_why() {
    let serde =
        Upcasters::oldest(String::serde()).try_then(i64::serde(), |text| text.parse::<i64>()).numbered();
    let error = serde.decode(b"many").unwrap_err().to_string();
    assert!(error.contains("`i64`") && error.contains("invalid digit"), "{error}");
}

const FIRST: &str = r#"{"title": "Order", "properties": {"sku": {"type": "string"}}}"#;
const SECOND: &str =
    r#"{"title": "Order", "properties": {"sku": {"type": "string"}, "quantity": {"type": "integer"}}}"#;
const THIRD: &str = r#"{"title": "Order", "properties": {"lines": {"type": "array"}}}"#;

/// The three versions by their schemas, where values are written; and values by whichever schema.
fn by_schema() -> (SerdeRef<Third>, impl Fn(&str, &str) -> Vec<u8>) {
    let client = Arc::new(MockSchemaRegistryClient::default());
    let serdes = ApplicationSerdes::default().with_schema_registry(SchemaRegistry::new(client.clone()));
    let serde = Upcasters::oldest(Arc::new(JsonSerde::with_schema(FIRST)))
        .then(Arc::new(JsonSerde::with_schema(SECOND)), |first: First| Second { sku: first.sku, quantity: 1 })
        .then(Arc::new(JsonSerde::with_schema(THIRD)), |second| Third { lines: vec![second] })
        .by_schema();
    let written = move |schema: &str, json: &str| {
        let id = client.register("others", &Schema::new(SchemaKind::Json, schema)).unwrap();
        [&wire_format(id)[..], json.as_bytes()].concat()
    };
    (SerdePlace::new("orders", RecordPart::Value, &serdes).bind(&serde).unwrap(), written)
}

#[test]
fn rows_of_all_versions_are_shown_as_the_newest() {
    let (serde, written) = by_schema();
    assert_shown_as_newest(&*serde, &written(FIRST, r#"{"sku":"apples"}"#));
    assert_shown_as_newest(&*serde, &written(SECOND, r#"{"sku":"apples","quantity":1}"#));
    assert_shown_as_newest(&*serde, &encoded(&serde, &third("apples", 1)));
}

#[test]
fn a_schema_of_no_version_is_taken_for_that_most_of_whose_fields_it_has() {
    let (serde, written) = by_schema();
    let with_note = |schema: &str| schema.replace("\"sku\"", "\"note\": {}, \"sku\"");
    let read = |schema: &str, json: &str| serde.decode(&written(schema, json));
    assert_eq!(read(&with_note(FIRST), r#"{"sku":"a"}"#).unwrap(), third("a", 1));
    assert_eq!(read(&with_note(SECOND), r#"{"sku":"a","quantity":4}"#).unwrap(), third("a", 4));
    // The newest would read it, and has none of its fields.
    let other = r#"{"title": "Order", "properties": {"article": {"type": "string"}}}"#;
    for nothing_near in [other, r#"{"title": "Order"}"#] {
        let error = read(nothing_near, r#"{"lines":[]}"#).unwrap_err().to_string();
        assert!(error.contains("written by schema") && error.contains("that of no version"), "{error}");
    }
}

#[test]
fn a_first_version_that_may_begin_as_a_number_does_is_refused() {
    let serdes = ApplicationSerdes::default();
    let place = SerdePlace::new("stock", RecordPart::Value, &serdes);
    let in_place = |serde: SerdeRef<String>| place.bind(&serde).map(drop).map_err(|error| error.to_string());
    let texts =
        |oldest: SerdeRef<i64>| Upcasters::oldest(oldest).then(String::serde(), |number| number.to_string());
    let error = in_place(texts(i64::serde()).numbered()).expect_err("-3 begins with 0xff");
    assert!(error.contains("0xff") && error.contains("never_begins_with_ff"), "{error}");
    in_place(texts(Arc::new(JsonSerde::new())).numbered()).expect("no JSON begins with it");
    in_place(Upcasters::oldest(i64::serde()).then(Arc::new(JsonSerde::new()), |_| String::new()).numbered())
        .expect_err("the first version counts");
    let nested = Upcasters::oldest(texts(Arc::new(JsonSerde::new())).numbered()).numbered();
    in_place(nested).expect_err("numbers begin with it");
    assert!(place.bind(&Upcasters::oldest(<Option<u32>>::field_serde()).numbered()).is_err());
    assert!(place.bind(&Upcasters::oldest(<Option<String>>::field_serde()).numbered()).is_ok());

    // Nor is it read where nobody settles it: as an `i16`, the second is -254.
    let shorts =
        Upcasters::oldest(i16::serde()).then(String::serde(), |number| number.to_string()).numbered();
    assert_eq!(shorts.decode(&[0, 7]).unwrap(), "7");
    for ambiguous in [&[0xff, 0xfd][..], &[0xff, 2]] {
        let error = shorts.decode(ambiguous).unwrap_err().to_string();
        assert!(error.contains("never_begins_with_ff"), "{error}");
    }
}
