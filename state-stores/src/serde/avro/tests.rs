//! Avro with and without a registry, and what becomes of values when schemas change.

use std::sync::{Arc, LazyLock};

use apache_avro::AvroSchema;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::AvroFormat;
use super::rewrite::{Purpose, Rewrite};
use super::shape::Shape;
use crate::format::wire_format;
use crate::schema::{
    MockSchemaRegistryClient, RegistryError, Schema, SchemaFormat, SchemaKind, SchemaMatch, SchemaRegistry,
    SchemaRegistryClient, SubjectNameStrategy,
};
use crate::serde::{
    ApplicationSerdes, AvroSerde, HasSerde, RecordPart, Serde, SerdeError, SerdePlace, SerdeRef, Upcasters,
};

/// As producers of the first version wrote it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Order")]
struct OrderV1 {
    sku: String,
}
avro_serde!(OrderV1, schema = ORDER_V1);

const ORDER_V1: &str = r#"{"type": "record", "name": "Order", "namespace": "shop", "fields": [{"name": "sku", "type": "string"}]}"#;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    sku: String,
    quantity: i64,
    note: Option<String>,
}
avro_serde!(Order, schema = ORDER);

const ORDER: &str = r#"{"type": "record", "name": "Order", "namespace": "shop", "fields": [
    {"name": "sku", "type": "string"},
    {"name": "quantity", "type": "long", "default": 1},
    {"name": "note", "type": ["null", "string"], "default": null}]}"#;

fn order(sku: &str, quantity: i64) -> Order {
    Order { sku: sku.into(), quantity, note: None }
}

fn encoded<T>(serde: &SerdeRef<T>, value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    serde.encode(value, &mut bytes).unwrap();
    bytes
}

fn avro(text: &str) -> Schema {
    Schema::new(SchemaKind::Avro, text)
}

struct Registry {
    client: Arc<MockSchemaRegistryClient>,
    registry: SchemaRegistry,
}

fn registry() -> Registry {
    let client = Arc::new(MockSchemaRegistryClient::default());
    Registry { registry: SchemaRegistry::new(client.clone()), client }
}

fn read_only<T: HasSerde>(registry: &SchemaRegistry, topic: &str) -> Result<SerdeRef<T>, SerdeError> {
    let serdes = ApplicationSerdes::default().with_schema_registry(registry.clone());
    SerdePlace::new(topic, RecordPart::Value, &serdes).only_read().bind(&T::serde())
}

#[test]
fn a_record_of_an_older_schema_becomes_the_type() {
    let Registry { registry, client } = registry();
    let before = registry.serde::<OrderV1>("orders", RecordPart::Value).unwrap();
    let old = encoded(&before, &OrderV1 { sku: "apples".into() });
    assert_eq!(old, b"\0\0\0\0\x01\x0capples");
    let now = registry.serde::<Order>("orders", RecordPart::Value).unwrap();
    assert_eq!(client.subjects(), ["orders-value"]);
    let new = encoded(&now, &Order { note: Some("soon".into()), ..order("pears", 3) });
    assert_eq!(new, b"\0\0\0\0\x02\x0apears\x06\x02\x08soon");
    assert_eq!(now.decode(&old).unwrap(), order("apples", 1), "the schema's defaults");
    assert_eq!(now.decode(&new).unwrap(), Order { note: Some("soon".into()), ..order("pears", 3) });
    // The other way: what the old type does not have is left out.
    assert_eq!(before.decode(&new).unwrap(), OrderV1 { sku: "pears".into() });
    assert_eq!(now.to_json(&old).unwrap()["quantity"], 1);
}

#[test]
fn an_error_names_the_schema_and_the_type() {
    let registry = registry().registry;
    let orders = registry.serde::<Order>("orders", RecordPart::Value).unwrap();
    let error = |bytes: &[u8]| orders.decode(bytes).unwrap_err().to_string();
    let unknown = error(b"\0\0\0\0\x09\x02a");
    assert!(unknown.contains("schema 9") && unknown.contains("Order"), "{unknown}");
    let cut_off = error(b"\0\0\0\0\x01\x0capp");
    assert!(cut_off.contains("written by schema 1") && cut_off.contains("field sku of a"), "{cut_off}");
    assert!(cut_off.contains("Order`") && cut_off.contains("the bytes end within it"), "{cut_off}");
    let left_over = error(b"\0\0\0\0\x01\x02a\x02\0!!");
    assert!(left_over.contains("2 of 6 bytes are left over"), "{left_over}");
    for (bytes, why) in [(&b"{}"[..], "0x7b"), (b"", "there are none"), (b"\0\0\0", "too few")] {
        let error = error(bytes);
        assert!(error.contains(why) && error.contains("schema registry?"), "{error}");
    }
}

#[test]
fn the_newest_schema_of_a_topic_that_is_read_must_fit_the_type() {
    let Registry { registry, client } = registry();
    read_only::<Order>(&registry, "orders").expect("nobody has registered anything yet");
    assert!(client.subjects().is_empty(), "who only reads registers nothing");
    client.register("orders-value", &avro(ORDER_V1)).unwrap();
    read_only::<Order>(&registry, "orders").expect("the schema has defaults");
    let other = r#"{"type": "record", "name": "Order", "namespace": "shop", "fields": [{"name": "id", "type": "long"}]}"#;
    client.register("orders-value", &avro(other)).unwrap();
    let error = read_only::<Order>(&registry, "orders").err().expect("it has no sku");
    let SerdeError::Registry(RegistryError::Unreadable { subject, .. }) = &error else { panic!("{error:?}") };
    assert_eq!(subject, "orders-value");
    client.register("texts-value", &Schema::new(SchemaKind::Json, "{}")).unwrap();
    let error = read_only::<Order>(&registry, "texts").err().expect("it is no Avro").to_string();
    assert!(error.contains("JSON") && error.contains("AVRO"), "{error}");
}

/// Java's registry client reads by such schemas as well: the defaults of who wrote play no part.
#[test]
fn what_was_written_by_a_schema_with_defaults_that_are_none_is_read() {
    let Registry { registry, client } = registry();
    let written = r#"{"type": "record", "name": "Order", "namespace": "shop", "fields": [
        {"name": "sku", "type": "string"}, {"name": "quantity", "type": "long", "default": null},
        {"name": "more", "type": "int", "default": "none"}]}"#;
    client.register("orders-value", &avro(written)).unwrap();
    let orders = read_only::<Order>(&registry, "orders").expect("the defaults are not asked for");
    assert_eq!(orders.decode(b"\0\0\0\0\x01\x02a\x06\x08").unwrap(), order("a", 3));
    // To write by it, what the type does not have would be needed.
    let error = registry.use_latest().serde::<Order>("orders", RecordPart::Value).err().expect("it is none");
    let SerdeError::Schema { source, .. } = &error else { panic!("{error}") };
    let reason = source.to_string();
    assert!(
        reason.contains("field more: it was not written, and its default \"none\" is no int"),
        "{reason}"
    );
    // Of a type's own it is an error at once.
    let own: SerdeRef<Order> =
        Arc::new(AvroSerde::with_schema(&ORDER.replace("\"default\": 1", "\"default\": null")));
    let refused = own.decode(b"").unwrap_err().to_string();
    assert!(refused.contains("field quantity of shop.Order: its default null is no long"), "{refused}");
}

#[test]
fn schemas_may_be_looked_up_in_place_of_registered() {
    let Registry { registry, client } = registry();
    let registry = registry.auto_register(false);
    let error =
        registry.serde::<Order>("orders", RecordPart::Value).err().expect("it is not there").to_string();
    assert!(error.contains("orders-value") && error.contains("registers none"), "{error}");
    client.register("orders-value", &avro(ORDER)).unwrap();
    let orders = registry.serde::<Order>("orders", RecordPart::Value).unwrap();
    assert!(encoded(&orders, &order("a", 1)).starts_with(b"\0\0\0\0\x01"));
}

#[test]
fn values_may_be_written_by_the_newest_schema_of_the_subject() {
    let Registry { registry, client } = registry();
    let newest = r#"{"type": "record", "name": "Order", "namespace": "shop", "fields": [
        {"name": "quantity", "type": "long"}, {"name": "sku", "type": "string"}, {"name": "note", "type": ["null", "string"]}]}"#;
    client.register("orders-value", &avro(newest)).unwrap();
    let orders = registry.clone().use_latest().serde::<Order>("orders", RecordPart::Value).unwrap();
    let bytes = encoded(&orders, &order("a", 3));
    assert_eq!(bytes, b"\0\0\0\0\x01\x06\x02a\0", "in the order of that schema");
    assert_eq!(orders.decode(&bytes).unwrap(), order("a", 3));
    // One that lacks a field of the type.
    client.register("orders-value", &avro(ORDER_V1)).unwrap();
    let error =
        registry.use_latest().serde::<Order>("orders", RecordPart::Value).err().expect("it would be lost");
    assert!(error.to_string().contains("no field quantity, which would be lost"), "{error}");
}

#[test]
fn what_the_newest_schema_would_lose_is_refused_at_the_start() {
    for (newest, reason) in [
        (
            ORDER.replace("[\"null\", \"string\"], \"default\": null", "\"string\""),
            "field note: null would be written as string",
        ),
        (
            ORDER.replace("\"sku\", \"type\": \"string\"", "\"sku\", \"type\": \"bytes\""),
            "field sku: string would be written as bytes",
        ),
        (
            ORDER.replace("[\"null\", \"string\"]", "[\"null\", \"bytes\"]"),
            "field note: string would be written as [null, bytes]",
        ),
    ] {
        let Registry { registry, client } = registry();
        client.register("orders-value", &avro(&newest)).unwrap();
        let refused = registry.use_latest().serde::<Order>("orders", RecordPart::Value).err().expect(reason);
        let SerdeError::Schema { source, .. } = refused else { panic!("{refused}") };
        assert!(source.to_string().contains(reason), "{source}");
    }
}

/// As registries hold them. The library panics over an attribute that has the name of one of Avro's.
#[test]
fn attributes_of_others_change_nothing() {
    let Registry { registry, client } = registry();
    let with_more =
        ORDER.replace("\"sku\",", "\"sku\", \"order\": 1, \"size\": true, \"precision\": \"many\",");
    client.register("orders-value", &avro(&with_more)).unwrap();
    read_only::<Order>(&registry, "orders").expect("it says the same");
    let orders = registry.use_latest().serde::<Order>("orders", RecordPart::Value).unwrap();
    let bytes = encoded(&orders, &order("a", 3));
    assert_eq!(bytes, b"\0\0\0\0\x01\x02a\x06\0");
    assert_eq!(orders.decode(&bytes).unwrap(), order("a", 3));
    assert_eq!(orders.schema_match(&bytes).unwrap(), SchemaMatch::Exact);
}

#[test]
fn subjects_are_named_after_topics_or_types() {
    for (naming, value, key) in [
        (SubjectNameStrategy::TopicName, "orders-value", "orders-key"),
        (SubjectNameStrategy::RecordName, "shop.Order", "shop.Order"),
        (SubjectNameStrategy::TopicRecordName, "orders-shop.Order", "orders-shop.Order"),
    ] {
        for (part, subject) in [(RecordPart::Value, value), (RecordPart::Key, key)] {
            let Registry { registry, client } = registry();
            registry.naming(naming).serde::<Order>("orders", part).unwrap();
            assert_eq!(client.subjects(), [subject]);
        }
    }
}

#[test]
fn a_schema_that_is_none_is_refused_before_records_flow() {
    let serde: SerdeRef<Order> = Arc::new(AvroSerde::with_schema("{}"));
    let serdes = ApplicationSerdes::default();
    let error = SerdePlace::new("orders", RecordPart::Value, &serdes).bind(&serde).err().expect("it is none");
    assert!(error.to_string().contains("it is no Avro schema"), "{error}");
    assert!(serde.encode(&order("a", 1), &mut Vec::new()).is_err());
}

#[test]
fn a_schema_of_another_type_is_refused_before_records_flow() {
    #[derive(Serialize, Deserialize)]
    struct Sku(String);
    let refused = |reason: &str, error: Option<SerdeError>| {
        let error = error.expect(reason).to_string();
        assert!(error.contains(reason), "{error}");
    };
    let serdes = ApplicationSerdes::default();
    let place = SerdePlace::new("orders", RecordPart::Value, &serdes);
    let other = ORDER.replace("\"Order\"", "\"Bought\"");
    let serde: SerdeRef<Order> = Arc::new(AvroSerde::with_schema(&other));
    refused("add #[serde(rename = \"Bought\")] to the struct", place.bind(&serde).err());
    let serde: SerdeRef<Sku> = Arc::new(AvroSerde::with_schema("\"string\""));
    refused("add #[serde(transparent)]", place.bind(&serde).err());
}

#[test]
fn an_error_names_the_path_of_the_field() {
    let serde = AvroSerde::<Basket>::with_schema(BASKET);
    let error = |bytes: &[u8]| match serde.decode(bytes).unwrap_err() {
        SerdeError::Field { path, reason, .. } => (path, reason),
        other => panic!("{other:?}"),
    };
    let (path, reason) = error(b"\x04\x02a\x02\0\x02b\x02\x08");
    assert_eq!((path.as_str(), reason.as_str()), ("lines[1].note", "4 is none of 2 branches"));
    let (path, reason) = error(b"\x02\x02a");
    assert_eq!((path.as_str(), reason.as_str()), ("lines[0].quantity", "the bytes end within it"));
    // A type that does not take what its schema does.
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(rename = "Order")]
    struct Short {
        sku: char,
    }
    let error = AvroSerde::<Short>::with_schema(ORDER_V1).decode(b"\x04ab").unwrap_err().to_string();
    assert!(error.contains("field sku of a `") && error.contains("more than one character"), "{error}");
    assert!(!error.contains("RecordSchema"), "the schema is not printed: {error}");
    #[derive(Serialize, Deserialize)]
    #[serde(rename = "Order")]
    struct Long {
        sku: String,
        more: i64,
    }
    let long = Long { sku: "a".into(), more: 1 };
    let error = AvroSerde::with_schema(ORDER_V1).encode(&long, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("the schema has no field more"), "{error}");
}

#[test]
fn what_cannot_be_written_is_no_error_of_reading() {
    let format = AvroFormat::<Order>::new(avro(ORDER)).unwrap();
    let without_nulls =
        Shape::parse(&ORDER.replace("[\"null\", \"string\"], \"default\": null", "\"string\"")).unwrap();
    let rewrite = Rewrite::plan(&format.own.shape, &without_nulls, Purpose::Reading).unwrap();
    let format = AvroFormat { written_as: Some(Arc::new(rewrite)), ..format };
    let error = format.encode(&order("a", 1), &mut Vec::new()).unwrap_err().to_string();
    assert!(
        error.contains("field note cannot be written: ") && !error.contains("field note of a"),
        "{error}"
    );
}

#[test]
fn derived_schemas_are_those_of_the_types() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Moved {
        sku: String,
        quantity: i64,
        shelf: Option<i32>,
    }
    /// As `#[derive(AvroSchema)]` writes it.
    impl AvroSchema for Moved {
        fn get_schema() -> apache_avro::Schema {
            let text = r#"{"type": "record", "name": "Moved", "fields": [{"name": "sku", "type": "string"},
                {"name": "quantity", "type": "long"}, {"name": "shelf", "type": ["null", "int"]}]}"#;
            apache_avro::Schema::parse_str(text).expect("it is a schema")
        }
    }
    avro_serde!(Moved);
    let moved = Moved { sku: "apples".into(), quantity: -3, shelf: Some(2) };
    assert_eq!(encoded(&Moved::serde(), &moved), b"\x0capples\x05\x02\x04");
    let registry = registry().registry;
    let serde = registry.serde::<Moved>("moves", RecordPart::Value).unwrap();
    assert_eq!(serde.decode(&encoded(&serde, &moved)).unwrap(), moved);
    let mut key = Vec::new();
    serde.key_from_text(r#"{"sku":"apples","quantity":-3,"shelf":2}"#, &mut key).unwrap();
    assert_eq!(key, encoded(&serde, &moved));
}

/// An order of several lines: what no default of a schema can make of the versions before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Basket {
    lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line {
    sku: String,
    quantity: i64,
    note: Option<String>,
}

impl Line {
    fn of(Order { sku, quantity, note }: Order) -> Self {
        Line { sku, quantity, note }
    }
}

fn basket(lines: impl IntoIterator<Item = Order>) -> Basket {
    Basket { lines: lines.into_iter().map(Line::of).collect() }
}

const BASKET: &str = r#"{"type": "record", "name": "Basket", "namespace": "shop", "fields": [{"name": "lines", "type":
    {"type": "array", "items": {"type": "record", "name": "Line", "fields": [
        {"name": "sku", "type": "string"},
        {"name": "quantity", "type": "long"},
        {"name": "note", "type": ["null", "string"]}]}}}]}"#;

fn baskets() -> SerdeRef<Basket> {
    Upcasters::oldest(OrderV1::serde())
        .then(Order::serde(), |first: OrderV1| order(&first.sku, 7))
        .then(Arc::new(AvroSerde::with_schema(BASKET)), |order: Order| basket([order]))
        .by_schema()
}

#[test]
fn versions_are_told_by_the_schema_that_a_record_names() {
    let Registry { registry, client } = registry();
    let first = encoded(
        &registry.serde::<OrderV1>("orders", RecordPart::Value).unwrap(),
        &OrderV1 { sku: "a".into() },
    );
    let second = encoded(&registry.serde::<Order>("orders", RecordPart::Value).unwrap(), &order("b", 2));
    let serdes = ApplicationSerdes::default().with_schema_registry(registry.clone());
    let place = SerdePlace::new("orders", RecordPart::Value, &serdes);
    let reading = place.only_read().bind(&baskets()).expect("the newest schema is that of an older version");
    let writing = place.bind(&baskets()).unwrap();
    let third = encoded(&writing, &basket([order("c", 3), order("d", 4)]));
    for serde in [reading, writing] {
        assert_eq!(serde.decode(&first).unwrap(), basket([order("a", 7)]), "not the schema's default");
        assert_eq!(serde.decode(&second).unwrap(), basket([order("b", 2)]));
        assert_eq!(serde.decode(&third).unwrap().lines.len(), 2);
    }
    // One that no version has, which evolved from the second.
    let with_gift = r#"{"type": "record", "name": "Order", "namespace": "shop", "fields": [
        {"name": "sku", "type": "string"}, {"name": "quantity", "type": "long", "default": 1},
        {"name": "note", "type": ["null", "string"], "default": null}, {"name": "gift", "type": "boolean", "default": false}]}"#;
    assert_eq!(client.register("orders-value", &avro(with_gift)).unwrap().get(), 4);
    let serde = place.bind(&baskets()).unwrap();
    assert_eq!(serde.decode(b"\0\0\0\0\x04\x02g\x12\0\x01").unwrap(), basket([order("g", 9)]));
    // One that no version has, but that the second can read.
    let other = r#"{"type": "record", "name": "Order", "namespace": "shop", "fields": [
        {"name": "sku", "type": "string"}, {"name": "quantity", "type": "int"}]}"#;
    client.register("orders-value", &avro(other)).unwrap();
    let fourth = b"\0\0\0\0\x05\x02e\x0a";
    assert_eq!(place.bind(&baskets()).unwrap().decode(fourth).unwrap(), basket([order("e", 5)]));
}

/// When something was, in a unit that its schema says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Seen {
    at: i64,
}

fn seen(unit: &str) -> String {
    let at = match unit {
        "none" => "\"long\"".to_owned(),
        unit => format!(r#"{{"type": "long", "logicalType": "timestamp-{unit}"}}"#),
    };
    format!(r#"{{"type": "record", "name": "Seen", "fields": [{{"name": "at", "type": {at}}}]}}"#)
}

#[test]
fn versions_may_differ_in_a_logical_type_only() {
    let Registry { registry, client } = registry();
    let serdes = ApplicationSerdes::default().with_schema_registry(registry);
    let generations = Upcasters::oldest(Arc::new(AvroSerde::<Seen>::with_schema(&seen("millis"))))
        .then(Arc::new(AvroSerde::with_schema(&seen("micros"))), |Seen { at }| Seen { at: 1_000 * at })
        .by_schema();
    let serde = SerdePlace::new("seen", RecordPart::Value, &serdes).bind(&generations).unwrap();
    let read = |schema: &str, value: &[u8]| {
        let id = client.register("others", &avro(schema)).unwrap();
        serde.decode(&[&wire_format(id)[..], value].concat())
    };
    assert_eq!(read(&seen("millis"), &[14]).unwrap(), Seen { at: 7_000 });
    assert_eq!(read(&seen("micros"), &[14]).unwrap(), Seen { at: 7 });
    for unknown in ["none", "nanos"] {
        let error = read(&seen(unknown), &[14]).unwrap_err().to_string();
        assert!(error.contains("several versions have such bytes"), "{error}");
    }
    // Somebody added a field to the first.
    let more = seen("millis").replace("}]}", r#"}, {"name": "by", "type": "string"}]}"#);
    assert_eq!(read(&more, b"\x0e\x02a").unwrap(), Seen { at: 7_000 });
}

#[test]
fn a_version_is_not_read_from_nothing_but_defaults() {
    let Registry { registry, client } = registry();
    let serdes = ApplicationSerdes::default().with_schema_registry(registry);
    let today =
        BASKET.replace("\"Basket\"", "\"Order\"").replace("\"lines\",", "\"lines\", \"default\": [],");
    /// Today's, under the name that orders have always had.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(rename = "Order")]
    struct Today {
        lines: Vec<Line>,
    }
    let generations = Upcasters::oldest(OrderV1::serde())
        .then(Order::serde(), |first: OrderV1| order(&first.sku, 7))
        .then(Arc::new(AvroSerde::with_schema(&today)), |order: Order| Today { lines: vec![Line::of(order)] })
        .by_schema();
    let serde = SerdePlace::new("orders", RecordPart::Value, &serdes).only_read().bind(&generations).unwrap();
    let read = |fields: &str, value: &[u8]| {
        let schema =
            format!(r#"{{"type": "record", "name": "Order", "namespace": "shop", "fields": [{fields}]}}"#);
        let id = client.register("others", &avro(&schema)).unwrap();
        serde.decode(&[&wire_format(id)[..], value].concat())
    };
    let with_colour = r#"{"name": "sku", "type": "string"}, {"name": "colour", "type": "string"}"#;
    assert_eq!(read(with_colour, b"\x02a\x02r").unwrap().lines, basket([order("a", 7)]).lines);
    let error = read(r#"{"name": "colour", "type": "string"}"#, b"\x02r").unwrap_err().to_string();
    assert!(error.contains("that of no version"), "{error}");
}

#[test]
fn versions_by_schema_need_a_registry() {
    let serdes = ApplicationSerdes::default();
    let error =
        SerdePlace::new("orders", RecordPart::Value, &serdes).bind(&baskets()).err().expect("there is none");
    assert!(error.to_string().contains("no schema registry"), "{error}");
}

proptest! {
    #[test]
    fn any_bytes_are_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..48), is_framed in any::<bool>()) {
        static ORDERS: LazyLock<[SerdeRef<Basket>; 2]> = LazyLock::new(|| {
            let Registry { registry, .. } = registry();
            registry.serde::<OrderV1>("orders", RecordPart::Value).unwrap();
            registry.serde::<Order>("orders", RecordPart::Value).unwrap();
            let serdes = ApplicationSerdes::default().with_schema_registry(registry);
            let bound = SerdePlace::new("orders", RecordPart::Value, &serdes).bind(&baskets()).unwrap();
            [bound, Arc::new(AvroSerde::with_schema(BASKET))]
        });
        let bytes = if is_framed {
            let id = 1 + bytes.len() % 3;
            [&[0, 0, 0, 0, id as u8], &bytes[..]].concat()
        } else {
            bytes
        };
        for serde in &*ORDERS {
            drop((serde.decode(&bytes), serde.to_json(&bytes)));
        }
    }
}
