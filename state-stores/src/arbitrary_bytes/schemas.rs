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

const FILE: &str = r#"syntax = "proto3";
package shop;
message Order { message Line { string sku = 1; sint64 quantity = 2; } string sku = 1; repeated Line lines = 2; }
"#;

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
        for file in [deep, long_name, long_package, "{".repeat(100_000), "a ".repeat(50_000)] {
            assert_reads(SchemaKind::Protobuf, &file);
        }
    }

    #[test]
    fn files() {
        let outcome = TestRunner::new(config(1)).run(&bytes_like(vec![FILE.as_bytes().to_vec()]), |bytes| {
            assert_reads(SchemaKind::Protobuf, &String::from_utf8_lossy(&bytes));
            Ok(())
        });
        outcome.unwrap_or_else(|failure| panic!("{failure}"));
    }

    /// Settles a type, and reads a value of it, where this is the newest schema.
    #[track_caller]
    pub(super) fn assert_reads(kind: SchemaKind, text: &str) {
        let client = Arc::new(MockSchemaRegistryClient::default());
        client.register("orders-value", &Schema::new(kind, text)).unwrap();
        let latest = SchemaRegistry::new(client).use_latest();
        let ((), held) = peak_of(|| {
            drop(latest.serde::<Order>("orders", RecordPart::Value));
            if let Ok(lines) = latest.serde::<Line>("orders", RecordPart::Value) {
                drop(lines.decode(b"\0\0\0\0\x01\x04\0\0\x0a\x01a"));
                drop(lines.to_json(b"\0\0\0\0\x01\x04\0\0\x0a\x01a"));
            }
        });
        assert!(held <= most_held(text.len()), "{} bytes took {held}", text.len());
    }
}
