//! Messages with and without a registry.

use std::sync::Arc;

use crate::schema::{
    MockSchemaRegistryClient, Schema, SchemaKind, SchemaRegistry, SchemaRegistryClient, SubjectNameStrategy,
};
use crate::serde::{ProtobufSerde, RecordPart, Serde, SerdeError, SerdeRef};

#[derive(Clone, PartialEq, prost::Message)]
struct Line {
    #[prost(string, tag = "1")]
    sku: String,
}
protobuf_serde!(Line, schema = FILE, message = "shop.Order.Line");

#[derive(Clone, PartialEq, prost::Message)]
struct Returned {
    #[prost(string, tag = "1")]
    order: String,
}
protobuf_serde!(Returned, schema = FILE, message = "shop.Returned");

const FILE: &str = r#"syntax = "proto3";
package shop;
message Order { message Line { string sku = 1; } repeated Line lines = 1; }
message Returned { string order = 1; }
"#;

fn encoded<T>(serde: &SerdeRef<T>, value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    serde.encode(value, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_message_says_which_of_the_file_it_is() {
    let client = Arc::new(MockSchemaRegistryClient::default());
    let registry = SchemaRegistry::new(client.clone()).naming(SubjectNameStrategy::TopicRecordName);
    let lines = registry.serde::<Line>("orders", RecordPart::Value).unwrap();
    let line = Line { sku: "a".into() };
    // Magic, id, two numbers: 0 and 0, then the message.
    assert_eq!(encoded(&lines, &line), b"\0\0\0\0\x01\x04\0\0\x0a\x01a");
    assert_eq!(lines.decode(&encoded(&lines, &line)).unwrap(), line);
    let returned = registry.serde::<Returned>("orders", RecordPart::Value).unwrap();
    let bytes = encoded(&returned, &Returned { order: "b".into() });
    assert_eq!(bytes, b"\0\0\0\0\x01\x02\x02\x0a\x01b");
    assert_eq!(client.subjects(), ["orders-shop.Order.Line", "orders-shop.Returned"]);
    let error = lines.decode(&bytes).unwrap_err().to_string();
    assert!(
        error.contains("written by schema 1") && error.contains("`shop.Returned`, not `shop.Order.Line`"),
        "{error}"
    );
    for broken in [&b"\0\0\0\0\x01"[..], b"\0\0\0\0\x01\x02\x09", b"\0\0\0\0\x01\x02\x02\x0a\x09b"] {
        assert!(returned.decode(broken).is_err(), "{broken:?}");
    }
}

#[test]
fn messages_are_told_by_name_where_another_file_orders_them_otherwise() {
    let client = Arc::new(MockSchemaRegistryClient::default());
    let file = "syntax = \"proto3\"; package shop; message Returned { string order = 1; string reason = 2; }";
    client.register("orders-value", &Schema::new(SchemaKind::Protobuf, file)).unwrap();
    let registry = SchemaRegistry::new(client);
    let returned = registry.serde::<Returned>("orders", RecordPart::Value).unwrap();
    // The first of the file, which is one zero, with a field that the type does not have.
    let order = returned.decode(b"\0\0\0\0\x01\0\x0a\x01b\x12\x01c").unwrap();
    assert_eq!(order, Returned { order: "b".into() });
    assert_eq!(returned.decode(b"\0\0\0\0\x01\x02\0\x0a\x01b").unwrap(), order, "the same in more words");
}

#[test]
fn a_message_that_the_file_does_not_have_is_refused_before_anything_is_written() {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Missing {}
    protobuf_serde!(Missing, schema = FILE, message = "shop.Missing");
    let registry = SchemaRegistry::new(Arc::new(MockSchemaRegistryClient::default()));
    let error =
        registry.serde::<Missing>("orders", RecordPart::Value).err().expect("it is not there").to_string();
    assert!(error.contains("`shop.Missing`") && error.contains("shop.Order.Line"), "{error}");
}

#[test]
fn an_error_names_the_path_of_the_field() {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Order {
        #[prost(message, repeated, tag = "1")]
        lines: Vec<Line>,
    }
    let error = |bytes: &[u8]| match ProtobufSerde::<Order>::new().decode(bytes).unwrap_err() {
        SerdeError::Field { path, reason, type_name } => (path, reason, type_name),
        other => panic!("{other:?}"),
    };
    // A line whose sku is a number.
    let (path, reason, type_name) = error(b"\x0a\x02\x08\x05");
    assert_eq!(path, "lines.sku");
    assert!(reason.starts_with("invalid wire type: Varint"), "{reason}");
    assert!(type_name.ends_with("Order"), "{type_name}");
    assert_eq!(error(b"\xff").0, ".");
}
