//! Values behind the id of a schema, and schemas as a registry tells them.

use std::sync::Arc;

use proptest::test_runner::TestRunner;
use serde::{Deserialize, Serialize};

use super::allocation::peak_of;
use super::edits::bytes_like;
use super::{Form, check_serde, config, most_held};
use crate::json_serde;
use crate::schema::{MockSchemaRegistryClient, Schema, SchemaKind, SchemaRegistry, SchemaRegistryClient};
use crate::serde::{ApplicationSerdes, HasSerde, RecordPart, SerdePlace, SerdeRef, Upcasters};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    sku: String,
}
json_serde!(Order, schema = ORDER);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Quantity(i64);
json_serde!(Quantity, schema = r#"{"title":"Quantity","type":"integer"}"#);

const ORDER: &str = r#"{"title":"Order","type":"object","properties":{"sku":{"type":"string"}}}"#;

/// A registry that has a schema of each kind, and of one kind two.
fn registry() -> SchemaRegistry {
    let client = MockSchemaRegistryClient::default();
    for (kind, text) in [
        (SchemaKind::Json, ORDER),
        (SchemaKind::Json, r#"{"title":"Order"}"#),
        (SchemaKind::Avro, r#""string""#),
        (SchemaKind::Protobuf, FILE),
        (SchemaKind::Protobuf, r#"syntax = "proto3"; message Other {} message Order { string sku = 1; }"#),
    ] {
        client.register("others", &Schema::new(kind, text)).unwrap();
    }
    SchemaRegistry::new(Arc::new(client))
}

fn registered<T: HasSerde>() -> SerdeRef<T> {
    registry().serde::<T>("orders", RecordPart::Value).unwrap()
}

#[test]
fn values_by_their_schemas() {
    check_serde(&*registered::<Order>(), Form::Free, &[Order { sku: "apples".into() }]);

    let generations = Upcasters::oldest(Quantity::serde())
        .then(Order::serde(), |Quantity(quantity)| Order { sku: quantity.to_string() })
        .by_schema();
    let serdes = ApplicationSerdes::default().with_schema_registry(registry());
    let serde = SerdePlace::new("orders", RecordPart::Value, &serdes).bind(&generations).unwrap();
    check_serde(&*serde, Form::Free, &[Order { sku: "apples".into() }]);
}

/// Types and properties that contradict those of an order or do not, as deep as they may lie.
const ORDERS: &str = r#"{"title":"Order","type":["object","null"],"required":["sku","at"],"additionalProperties":false,
    "properties":{"sku":{"type":"string","properties":{"sku":{"properties":{"sku":{"type":[]}}}}},"at":true}}"#;

#[test]
fn json_schemas() {
    for_texts_like(&[ORDER, ORDERS], |text| {
        let client = Arc::new(MockSchemaRegistryClient::default());
        client.register("orders-value", &Schema::new(SchemaKind::Json, text)).unwrap();
        let registry = SchemaRegistry::new(client);
        let serdes = ApplicationSerdes::default().with_schema_registry(registry.clone().use_latest());
        let place = SerdePlace::new("orders", RecordPart::Value, &serdes);
        for place in [place, place.only_read()] {
            if let Ok(serde) = place.bind(&Order::serde()) {
                drop(serde.schema_match(b"\0\0\0\0\x01{}"));
            }
        }
    });
}

const FILE: &str = r#"syntax = "proto3";
package shop;
message Order { message Line { string sku = 1; sint64 quantity = 2; } string sku = 1; repeated Line lines = 2; }
"#;

/// The same with one of most things that a file can have, as tools of others write it.
#[cfg(feature = "protobuf")]
const OTHER_FILE: &str = r#"syntax = "proto3"; package shop; import "google/protobuf/timestamp.proto"; option java_package = "shop";
enum State { option allow_alias = true; NEW = 0; PAID = 0x1; LOST = -1; }
message Order { reserved 9, 12 to 15; message Line { .shop.Order whole = 4; string sku = 1; sint64 quantity = 2 [(a) = { b: "c" }]; }
    oneof payment { string card = 5; State state = 6; } map<string, shop.Order.Line> by_sku = 7; google.protobuf.Timestamp at = 8;
    string sku = 1; repeated .shop.Order.Line lines = 2; optional group Extra = 10 { required int32 a = 1; } }
service Orders { rpc Place(Order) returns (Order); }
"#;

/// Settles a type where this is the newest schema, by which values are written or only read, and reads a value that it wrote.
#[cfg(any(feature = "avro", feature = "protobuf"))]
#[track_caller]
fn assert_takes_little<T: HasSerde>(kind: SchemaKind, text: &str, value: &[u8]) {
    let client = Arc::new(MockSchemaRegistryClient::default());
    client.register("orders-value", &Schema::new(kind, text)).unwrap();
    let registry = SchemaRegistry::new(client);
    let bytes = [b"\0\0\0\0\x01", value].concat();
    for registry in [registry.clone().use_latest(), registry] {
        let ((), held) = peak_of(|| {
            if let Ok(serde) = registry.serde::<T>("orders", RecordPart::Value) {
                drop(serde.decode(&bytes));
                drop(serde.to_json(&bytes));
            }
        });
        assert!(held <= most_held(text.len()), "{} bytes took {held}: {text:.1000}", text.len());
    }
}

/// Has `check` look at texts that are nearly what somebody wrote.
#[track_caller]
fn for_texts_like(written: &[&str], check: impl Fn(&str)) {
    let written = written.iter().map(|text| text.as_bytes().to_vec()).collect();
    let outcome = TestRunner::new(config(4)).run(&bytes_like(written), |bytes| {
        check(&String::from_utf8_lossy(&bytes));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[cfg(feature = "avro")]
mod avro {
    use std::collections::BTreeMap;

    use super::*;
    use crate::avro_serde;
    use crate::serde::{AvroSerde, Serde};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Basket {
        sku: String,
        note: Option<String>,
        prices: Vec<f64>,
        counts: BTreeMap<String, i32>,
    }
    avro_serde!(Basket, schema = BASKET);

    const BASKET: &str = r#"{"type": "record", "name": "Basket", "fields": [
        {"name": "sku", "type": "string"},
        {"name": "note", "type": ["null", "string"], "default": null},
        {"name": "prices", "type": {"type": "array", "items": "double"}},
        {"name": "counts", "type": {"type": "map", "values": "int"}}]}"#;

    fn baskets() -> Vec<Basket> {
        let counts = BTreeMap::from([("a".to_owned(), -7)]);
        let full = Basket { sku: "apples".into(), note: Some("ripe".into()), prices: vec![0.5, 2.0], counts };
        let empty = Basket { sku: String::new(), note: None, prices: Vec::new(), counts: BTreeMap::new() };
        vec![full, empty]
    }

    #[test]
    fn records() {
        check_serde(&AvroSerde::<Basket>::with_schema(BASKET), Form::Free, &baskets());
        check_serde(&*registered::<Basket>(), Form::Free, &baskets());
    }

    /// One of most types that Avro has, as tools of others write it.
    const DELIVERY: &str = r#"{"type": "record", "name": "Basket", "namespace": "shop", "doc": "of a day", "aliases": ["Order"], "connect.version": 1,
        "fields": [
            {"name": "sku", "aliases": ["article"], "order": "ascending", "type": {"type": "string", "avro.java.string": "String"}},
            {"name": "note", "default": null, "type": ["null", "string", {"type": "fixed", "name": "Id", "size": 16}]},
            {"name": "prices", "type": {"type": "array", "items": ["double", {"type": "int", "logicalType": "date"}]}},
            {"name": "counts", "type": {"type": "map", "values": "int"}, "default": {"a": 1}},
            {"name": "paid", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, "default": "\u0001"},
            {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["A", "B"], "default": "A"}, "default": "B"},
            {"name": "before", "type": {"type": "record", "name": "Line", "fields": [{"name": "state", "type": "State"}]}, "default": {"state": "A"}},
            {"name": "after", "type": "Line", "default": {"state": "A"}}]}"#;

    #[test]
    fn texts() {
        for_texts_like(&[BASKET, DELIVERY], |text| {
            assert_takes_little(text);
            drop(AvroSerde::<Basket>::with_schema(text).decode(b"\x02a\0\0\0"));
        });
    }

    #[test]
    fn a_schema_takes_no_more_memory_than_its_size_accounts_for() {
        let named = |name: &str, namespace: &str| {
            let field = |number| {
                format!(
                    r#"{{"name": "f{number}", "type": {{"type": "enum", "name": "E{number}", "symbols": []}}}}"#
                )
            };
            let fields: Vec<_> = (0..5_000).map(field).collect();
            format!(
                r#"{{"type": "record", "name": "{name}", "namespace": "{namespace}", "fields": [{}]}}"#,
                fields.join(",")
            )
        };
        let aliases = vec!["\"a\""; 5_000].join(",");
        for text in [
            "[".repeat(100_000),
            r#"{"type":"#.repeat(100_000),
            r#"{"type":"array","items":"#.repeat(100_000),
            named("Basket", &"n".repeat(50_000)),
            named("Basket", "shop"),
            named("Basket", "shop").replacen(
                "\"fields\"",
                &format!(r#""aliases": [{aliases}], "fields""#),
                1,
            ),
            format!("[{}]", vec!["\"null\""; 50_000].join(",")),
        ] {
            assert_takes_little(&text);
        }
    }

    #[track_caller]
    fn assert_takes_little(text: &str) {
        super::assert_takes_little::<Basket>(SchemaKind::Avro, text, b"\x02a\0\0\0");
    }

    #[test]
    fn a_text_that_claims_to_be_long_is_given_no_room() {
        let serde = AvroSerde::<Basket>::with_schema(BASKET);
        let claims = b"\x80\x80\x80\x80\x02apples";
        let (error, held) = peak_of(|| serde.decode(claims).unwrap_err().to_string());
        assert!(error.contains("field sku") && error.contains("the bytes end within it"), "{error}");
        assert!(held <= most_held(claims.len()), "{held}");
    }
}

#[cfg(feature = "protobuf")]
mod protobuf {
    use super::*;
    use crate::protobuf_serde;
    use crate::serde::ProtobufSerde;

    #[derive(Clone, PartialEq, prost::Message)]
    struct Line {
        #[prost(string, tag = "1")]
        sku: String,
        #[prost(sint64, tag = "2")]
        quantity: i64,
    }
    protobuf_serde!(Line, schema = FILE, message = "shop.Order.Line");

    #[derive(Clone, PartialEq, prost::Message)]
    struct Placed {
        #[prost(string, tag = "1")]
        sku: String,
        #[prost(message, repeated, tag = "2")]
        lines: Vec<Line>,
        #[prost(message, optional, boxed, tag = "3")]
        before: Option<Box<Placed>>,
    }
    protobuf_serde!(Placed, schema = FILE, message = "shop.Order");

    fn placed() -> Vec<Placed> {
        let line = Line { sku: "apples".into(), quantity: -3 };
        let one = Placed { sku: "a".into(), lines: vec![line.clone(), line], before: None };
        vec![Placed { before: Some(Box::new(one.clone())), ..one.clone() }, one]
    }

    #[test]
    fn messages() {
        check_serde(&ProtobufSerde::<Placed>::new(), Form::Free, &placed());
        check_serde(&*registered::<Placed>(), Form::Free, &placed());
        check_serde(&*registered::<Line>(), Form::Free, &placed()[1].lines);
    }

    #[test]
    fn a_file_takes_no_more_memory_than_its_size_accounts_for() {
        let deep = "message a{".repeat(10_000);
        let long_name = format!("message {} {{ {} }}", "n".repeat(50_000), "message b {}".repeat(5_000));
        let long_package = format!("package {}; {}", "p".repeat(50_000), "message b {}".repeat(5_000));
        let dots = "p.".repeat(25_000) + "p";
        let resolved = format!(
            "package {dots}; message Order {{ message Line {{ {dots}.p a = 9; p.q b = 10; .{dots}.q c = 11; }} }}"
        );
        let fields = |field: &str| {
            let fields: String = (3..8_000).map(|number| format!("{field}={number};")).collect();
            format!("package shop; message Order {{ message Line {{ {fields} }} }}")
        };
        let entries: String = (3..3_000).map(|number| format!("map<int32,a>a{number}={number};")).collect();
        let maps = format!("package shop; message Order {{ message Line {{ {entries} }} }}");
        let values: String = (0..8_000).map(|number| format!("A={number};")).collect();
        let numbers =
            format!("package shop; message Order {{ message Line {{ enum E {{ {values} }} E a = 9; }} }}");
        for file in [
            deep,
            long_name,
            long_package,
            resolved,
            fields("a a"),
            fields("Line a"),
            format!("oneof a {{ {} }}", fields("a a")),
            maps,
            numbers,
            "{".repeat(100_000),
            "[".repeat(100_000),
            "a ".repeat(50_000),
            "message a{b c=1;}".repeat(5_000),
            "enum a{b=1;}".repeat(5_000),
            "message a{oneof b{c d=1;}}".repeat(5_000),
        ] {
            assert_takes_little(&file);
        }
    }

    #[test]
    fn files() {
        for_texts_like(&[FILE, OTHER_FILE], assert_takes_little);
    }

    #[track_caller]
    fn assert_takes_little(file: &str) {
        super::assert_takes_little::<Line>(SchemaKind::Protobuf, file, b"\x04\0\0\x0a\x01a");
        super::assert_takes_little::<Order>(SchemaKind::Protobuf, file, b"{}");
    }
}
