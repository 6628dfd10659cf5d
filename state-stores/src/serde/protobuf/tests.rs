//! Messages with and without a registry.

use std::sync::Arc;

use crate::format::wire_format;
use crate::schema::{
    MockSchemaRegistryClient, RegisteredSchema, RegistryError, Schema, SchemaId, SchemaKind, SchemaRegistry,
    SchemaRegistryClient, SubjectNameStrategy,
};
use crate::serde::{
    ApplicationSerdes, HasSerde, ProtobufSerde, RecordPart, Serde, SerdeError, SerdePlace, SerdeRef,
    Upcasters,
};

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

/// Payments, whose type is `int64 cents = 1;`.
#[derive(Clone, PartialEq, prost::Message)]
struct Payment {
    #[prost(int64, tag = "1")]
    cents: i64,
    #[prost(string, optional, tag = "2")]
    note: Option<String>,
}
protobuf_serde!(Payment, schema = PAYMENT, message = "shop.Payment");

const PAYMENT: &str =
    r#"syntax = "proto3"; package shop; message Payment { int64 cents = 1; optional string note = 2; }"#;

fn payment(fields: &str) -> String {
    format!(r#"syntax = "proto3"; package shop; message Payment {{ {fields} }}"#)
}

/// The payments of a topic that has this newest schema, where they are only read, or written by it.
fn payments(
    newest: &str,
    usage: fn(SerdePlace<'_>) -> SerdePlace<'_>,
) -> Result<SerdeRef<Payment>, SerdeError> {
    let client = Arc::new(MockSchemaRegistryClient::default());
    client.register("payments-value", &Schema::new(SchemaKind::Protobuf, newest)).unwrap();
    let registry = SchemaRegistry::new(client).use_latest();
    let serdes = ApplicationSerdes::default().with_schema_registry(registry);
    usage(SerdePlace::new("payments", RecordPart::Value, &serdes)).bind(&Payment::serde())
}

#[track_caller]
fn assert_refused(payments: Result<SerdeRef<Payment>, SerdeError>, reason: &str) {
    let text = payments.err().expect(reason).to_string();
    assert!(text.contains(reason), "{text}");
}

#[test]
fn the_newest_schema_of_what_is_read_fits_the_type() {
    let read = |newest: &str| payments(newest, |place| place.only_read());
    for fitting in
        ["int64 cents = 1;", "uint64 cents = 1; string note = 2; bool more = 3;", "int32 euros = 1;"]
    {
        read(&payment(fitting)).expect(fitting);
    }
    for (other, reason) in [
        ("string cents = 1;", "field shop.Payment.cents of a"),
        ("sint64 cents = 1;", "it is written as sint64, and read as int64"),
        ("repeated int64 cents = 1;", "it is written as repeated int64, and read as int64"),
        ("int64 cents = 1; bool note = 2;", "field shop.Payment.note of a"),
    ] {
        assert_refused(read(&payment(other)), reason);
    }
    let missing = payment("").replace("Payment", "Refund");
    assert_refused(read(&missing), "a message `shop.Payment` should be in its file, which has shop.Refund");
    assert_refused(read("7"), "which has none");
}

#[test]
fn what_is_written_by_the_newest_schema_is_read_by_it_as_it_was() {
    let written = |newest: &str| payments(newest, |place| place);
    let more = payment("string note = 2; bool more = 3; int64 euros = 1;");
    let bytes = encoded(&written(&more).expect("it only has more"), &Payment { cents: 5, note: None });
    assert_eq!(bytes, b"\0\0\0\0\x01\0\x08\x05");
    for (newest, reason) in [
        ("int64 cents = 1;", "field shop.Payment.note: it is written, and not read"),
        ("int32 cents = 1; string note = 2;", "it is written as int64, and read as int32"),
        ("int64 cents = 1; bytes note = 2; required string at = 3;", "it is required, and was not written"),
        ("oneof one { int64 cents = 1; string note = 2; }", "shares its place with others"),
        ("string cents = 1; string note = 2;", "and read as"),
    ] {
        assert_refused(written(&payment(newest)), reason);
    }
}

/// A registry that tells schemas as Confluent's does, which has its own way to write a file.
#[derive(Default)]
struct Rendering(MockSchemaRegistryClient);

impl Rendering {
    fn rendered(schema: Schema) -> Schema {
        let text = match &*schema.text {
            ORDER_V1 => RENDERED_V1,
            ORDER_V2 => RENDERED_V2,
            ORDER_V3 => RENDERED_V3,
            other => other,
        };
        Schema::new(schema.kind, text)
    }
}

impl SchemaRegistryClient for Rendering {
    fn register(&self, subject: &str, schema: &Schema) -> Result<SchemaId, RegistryError> {
        self.0.register(subject, schema)
    }

    fn id_of(&self, subject: &str, schema: &Schema) -> Result<Option<SchemaId>, RegistryError> {
        self.0.id_of(subject, schema)
    }

    fn latest(&self, subject: &str) -> Result<Option<RegisteredSchema>, RegistryError> {
        let latest = self.0.latest(subject)?;
        Ok(latest.map(|latest| RegisteredSchema { schema: Self::rendered(latest.schema), ..latest }))
    }

    fn schema(&self, id: SchemaId) -> Result<Schema, RegistryError> {
        self.0.schema(id).map(Self::rendered)
    }

    fn incompatibilities(&self, subject: &str, schema: &Schema) -> Result<Vec<String>, RegistryError> {
        self.0.incompatibilities(subject, schema)
    }
}

/// One of a sku.
#[derive(Clone, PartialEq, prost::Message)]
struct OrderV1 {
    #[prost(string, tag = "1")]
    sku: String,
}
protobuf_serde!(OrderV1, schema = ORDER_V1, message = "shop.Order");

const ORDER_V1: &str = r#"
// As it began.
syntax = "proto3";
package shop;

message Order { string sku = 1; }
"#;

const RENDERED_V1: &str = "syntax = \"proto3\";\npackage shop;\n\nmessage Order {\n  string sku = 1;\n}\n";

/// Several of a sku.
#[derive(Clone, PartialEq, prost::Message)]
struct OrderV2 {
    #[prost(string, tag = "1")]
    sku: String,
    #[prost(int64, tag = "2")]
    quantity: i64,
    #[prost(int32, tag = "3")]
    state: i32,
    #[prost(message, optional, tag = "4")]
    note: Option<NoteOfOrder>,
}
protobuf_serde!(OrderV2, schema = ORDER_V2, message = "shop.Order");

#[derive(Clone, PartialEq, prost::Message)]
struct NoteOfOrder {
    #[prost(string, tag = "1")]
    text: String,
}

const ORDER_V2: &str = r#"
syntax = "proto3";
package shop;
option java_package = "com.shop";

message Order {
  enum State { NEW = 0; PAID = 1; }
  message Note { string text = 1; }
  string sku = 1;
  int64 quantity = 2; /* since the second year */
  State state = 3;
  Note note = 4;
}
"#;

const RENDERED_V2: &str = r#"syntax = "proto3";
package shop;

option java_package = "com.shop";

message Order {
  string sku = 1;
  int64 quantity = 2;
  .shop.Order.State state = 3;
  .shop.Order.Note note = 4;

  message Note {
    string text = 1;
  }
  enum State {
    NEW = 0;
    PAID = 1;
  }
}
"#;

/// Several skus.
#[derive(Clone, PartialEq, prost::Message)]
struct OrderV3 {
    #[prost(message, repeated, tag = "5")]
    lines: Vec<OrderLine>,
    #[prost(btree_map = "string, int64", tag = "8")]
    counts: std::collections::BTreeMap<String, i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OrderLine {
    #[prost(string, tag = "1")]
    sku: String,
    #[prost(int64, tag = "2")]
    quantity: i64,
}

const ORDER_V3: &str = r#"
syntax = "proto3";
package shop;

message Order {
  message Line { string sku = 1; int64 quantity = 2; }
  repeated Line lines = 5;
  oneof payment { string card = 6; string invoice = 7; }
  map<string, int64> counts = 8;
  reserved 1 to 4;
}
"#;

const RENDERED_V3: &str = r#"syntax = "proto3";
package shop;

message Order {
  reserved 1 to 4;

  repeated .shop.Order.Line lines = 5;
  repeated .shop.Order.CountsEntry counts = 8;
  oneof payment {
    string card = 6;
    string invoice = 7;
  }

  message Line {
    string sku = 1;
    int64 quantity = 2;
  }
  message CountsEntry {
    option map_entry = true;

    string key = 1;
    int64 value = 2;
  }
}
"#;

fn lines(sku: &str, quantity: i64) -> OrderV3 {
    OrderV3 { lines: vec![OrderLine { sku: sku.into(), quantity }], ..OrderV3::default() }
}

fn generations() -> SerdeRef<OrderV3> {
    Upcasters::oldest(OrderV1::serde())
        .then(OrderV2::serde(), |v1: OrderV1| OrderV2 { sku: v1.sku, quantity: 1, ..OrderV2::default() })
        .then(Arc::new(ProtobufSerde::with_schema(ORDER_V3, "shop.Order")), |v2: OrderV2| {
            lines(&v2.sku, v2.quantity)
        })
        .by_schema()
}

struct Orders {
    client: Arc<Rendering>,
    registry: SchemaRegistry,
}

impl Orders {
    fn new() -> Self {
        let client = Arc::new(Rendering::default());
        Self { registry: SchemaRegistry::new(client.clone()), client }
    }

    fn settled(&self, usage: fn(SerdePlace<'_>) -> SerdePlace<'_>) -> SerdeRef<OrderV3> {
        let serdes = ApplicationSerdes::default().with_schema_registry(self.registry.clone());
        usage(SerdePlace::new("orders", RecordPart::Value, &serdes)).bind(&generations()).unwrap()
    }

    /// The message as somebody else wrote it by a schema of their own.
    fn written_by(&self, schema: &str, message: &[u8]) -> Vec<u8> {
        let id = self.client.register("others", &Schema::new(SchemaKind::Protobuf, schema)).unwrap();
        [&wire_format(id)[..], &[0], message].concat()
    }
}

#[test]
fn versions_are_told_by_schemas_however_the_registry_writes_them() {
    let orders = Orders::new();
    let first = encoded(
        &orders.registry.serde::<OrderV1>("orders", RecordPart::Value).unwrap(),
        &OrderV1 { sku: "a".into() },
    );
    let second = encoded(
        &orders.registry.serde::<OrderV2>("orders", RecordPart::Value).unwrap(),
        &OrderV2 { sku: "b".into(), quantity: 2, ..OrderV2::default() },
    );
    // The newest of the subject is of an older version.
    let reading = orders.settled(|place| place.only_read());
    let writing = orders.settled(|place| place);
    let third = encoded(&writing, &lines("c", 3));
    for serde in [reading, writing] {
        for (bytes, expected) in [(&first, lines("a", 1)), (&second, lines("b", 2)), (&third, lines("c", 3))]
        {
            assert_eq!(serde.decode(bytes).unwrap(), expected);
        }
    }
}

#[test]
fn a_schema_of_no_version_is_taken_for_that_most_of_whose_fields_it_has() {
    let orders = Orders::new();
    let serde = orders.settled(|place| place.only_read());
    let read = |schema: &str, message: &[u8]| serde.decode(&orders.written_by(schema, message));
    let with_colour = |file: &str| file.replace("string sku = 1;", "string sku = 1; string colour = 9;");
    assert_eq!(read(&with_colour(ORDER_V1), b"\x0a\x01a\x4a\x01r").unwrap(), lines("a", 1));
    assert_eq!(read(&with_colour(ORDER_V2), b"\x0a\x01a\x10\x04").unwrap(), lines("a", 4));
    // Whichever version it is, nothing but defaults would be read.
    for nothing_near in ["string article = 9;", "", "string article = 1; string colour = 2;"] {
        let file = format!("syntax = \"proto3\"; package shop; message Order {{ {nothing_near} }}");
        let error = read(&file, b"").unwrap_err().to_string();
        assert!(error.contains("written by schema") && error.contains("no version"), "{error}");
    }
    let other = read("syntax = \"proto3\"; package shop; message Return {}", b"").unwrap_err().to_string();
    assert!(other.contains("a message `shop.Order` should be"), "{other}");
}

const RENAMED: &str = r#"syntax = "proto3"; package shop; message Order { string article = 1; }"#;

#[test]
fn names_tell_versions_apart_whose_bytes_are_the_same() {
    let orders = Orders::new();
    let serdes = ApplicationSerdes::default().with_schema_registry(orders.registry.clone());
    let generations = Upcasters::oldest(OrderV1::serde())
        .then(Arc::new(ProtobufSerde::with_schema(RENAMED, "shop.Order")), |v1: OrderV1| OrderV1 {
            sku: format!("old {}", v1.sku),
        })
        .by_schema();
    let serde = SerdePlace::new("orders", RecordPart::Value, &serdes).only_read().bind(&generations).unwrap();
    let read = |schema: &str| serde.decode(&orders.written_by(schema, b"\x0a\x01a"));
    assert_eq!(read(ORDER_V1).unwrap().sku, "old a");
    assert_eq!(read(RENAMED).unwrap().sku, "a");
    let error = read(&RENAMED.replace("article", "product")).unwrap_err().to_string();
    assert!(error.contains("several versions have such bytes"), "{error}");
}
