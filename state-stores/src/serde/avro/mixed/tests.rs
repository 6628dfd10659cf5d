//! A topic that carries several types.

use serde::Deserialize;

use super::*;
use crate::avro_serde;
use crate::schema::{MockSchemaRegistryClient, SchemaKind, SchemaRegistryClient, SubjectNameStrategy};
use crate::serde::{ApplicationSerdes, AvroSerde, HasSerde, RecordPart, SerdeRef, Upcasters};

/// What happens to an order. The amount is a type that the first branch says, and the second takes from there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Event {
    Placed(Placed),
    Paid(Paid),
}
avro_serde!(Event, schema = EVENT);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Placed {
    sku: String,
    price: Amount,
}
avro_serde!(Placed, schema = PLACED);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Paid {
    paid: Amount,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Amount {
    cents: i64,
}

const EVENT: &str = r#"[
    {"type": "record", "name": "Placed", "namespace": "shop", "fields": [
        {"name": "sku", "type": "string"},
        {"name": "price", "type": {"type": "record", "name": "Amount", "fields": [{"name": "cents", "type": "long"}]}}]},
    {"type": "record", "name": "Paid", "namespace": "shop", "fields": [{"name": "paid", "type": "Amount"}]}]"#;

const PLACED: &str = r#"{"type": "record", "name": "Placed", "namespace": "shop", "fields": [
    {"name": "sku", "type": "string"},
    {"name": "price", "type": {"type": "record", "name": "Amount", "fields": [{"name": "cents", "type": "long"}]}}]}"#;

fn placed(sku: &str, cents: i64) -> Placed {
    Placed { sku: sku.into(), price: Amount { cents } }
}

fn paid(cents: i64) -> Event {
    Event::Paid(Paid { paid: Amount { cents } })
}

fn registry(naming: SubjectNameStrategy) -> (Arc<MockSchemaRegistryClient>, SchemaRegistry) {
    let client = Arc::new(MockSchemaRegistryClient::default());
    (client.clone(), SchemaRegistry::new(client).naming(naming))
}

fn encoded<T>(serde: &SerdeRef<T>, value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    serde.encode(value, &mut bytes).unwrap();
    bytes
}

fn read_only<T>(registry: &SchemaRegistry, serde: &SerdeRef<T>) -> Result<SerdeRef<T>, SerdeError> {
    let serdes = ApplicationSerdes::default().with_schema_registry(registry.clone());
    SerdePlace::new("events", RecordPart::Value, &serdes).only_read().bind(serde)
}

fn register(client: &MockSchemaRegistryClient, subject: &str, text: &str) -> u8 {
    let id = client.register(subject, &Schema::new(SchemaKind::Avro, text)).unwrap();
    u8::try_from(id.get()).expect("there are few")
}

#[test]
fn each_value_is_written_as_its_type_alone_and_read_as_the_union() {
    for (naming, prefix) in
        [(SubjectNameStrategy::TopicRecordName, "events-"), (SubjectNameStrategy::RecordName, "")]
    {
        let (client, registry) = registry(naming);
        let events = registry.serde::<Event>("events", RecordPart::Value).unwrap();
        assert_eq!(client.subjects(), [format!("{prefix}shop.Paid"), format!("{prefix}shop.Placed")]);
        let (first, second) = (Event::Placed(placed("a", 3)), paid(4));
        let of_first = encoded(&events, &first);
        assert_eq!(of_first, b"\0\0\0\0\x01\x02a\x06", "no place in a union");
        assert_eq!(encoded(&events, &second), b"\0\0\0\0\x02\x08");
        let reading = read_only(&registry, &Event::serde()).unwrap();
        for (serde, event) in [(&events, &first), (&events, &second), (&reading, &first), (&reading, &second)]
        {
            assert_eq!(serde.decode(&encoded(&events, event)).unwrap(), *event);
        }
        let json = reading.to_json(&of_first).unwrap();
        assert_eq!(json, serde_json::json!({"Placed": {"sku": "a", "price": {"cents": 3}}}));
        let mut key = Vec::new();
        events.key_from_text(r#"{"Paid": {"paid": {"cents": 4}}}"#, &mut key).unwrap();
        assert_eq!(key, encoded(&events, &second));
        let refused = reading.encode(&first, &mut Vec::new()).unwrap_err().to_string();
        assert!(refused.contains("only read"), "{refused}");
        // Who has only one of the types, on either side.
        let one = registry.serde::<Placed>("events", RecordPart::Value).unwrap();
        assert_eq!(one.decode(&of_first).unwrap(), placed("a", 3));
        assert_eq!(reading.decode(&encoded(&one, &placed("b", 5))).unwrap(), Event::Placed(placed("b", 5)));
    }
}

#[test]
fn versions_after_it_may_be_numbered() {
    for naming in [SubjectNameStrategy::TopicRecordName, SubjectNameStrategy::RecordName] {
        let (_, registry) = registry(naming);
        let serdes = ApplicationSerdes::default().with_schema_registry(registry);
        let numbered =
            Upcasters::oldest(Event::serde()).then(String::serde(), |event| format!("{event:?}")).numbered();
        SerdePlace::new("events", RecordPart::Value, &serdes)
            .bind(&numbered)
            .expect("the union begins with 0");
    }
}

#[test]
fn other_types_of_the_topic_are_the_fault_of_their_records() {
    let (client, registry) = registry(SubjectNameStrategy::TopicRecordName);
    let reading = read_only(&registry, &Event::serde()).expect("nobody has registered anything yet");
    let other = r#"{"type": "record", "name": "Lost", "namespace": "shop", "fields": []}"#;
    let id = register(&client, "events-shop.Lost", other);
    let error = reading.decode(&[0, 0, 0, 0, id]).unwrap_err();
    assert!(error.to_string().contains("record shop.Lost"), "{error}");
    assert!(!error.is_outage());
}

#[test]
fn each_type_evolves_by_itself() {
    let (client, registry) = registry(SubjectNameStrategy::TopicRecordName);
    let newer = PLACED.replace(
        "\"fields\": [\n",
        "\"fields\": [{\"name\": \"gift\", \"type\": \"boolean\", \"default\": true},\n",
    );
    let newer = register(&client, "events-shop.Placed", &newer);
    let reading = read_only(&registry, &Event::serde()).unwrap();
    assert_eq!(reading.decode(&[0, 0, 0, 0, newer, 1, 2, b'a', 6]).unwrap(), Event::Placed(placed("a", 3)));
    // By the newest of each subject, if that is asked for.
    let latest = registry.clone().use_latest();
    let refused = latest.serde::<Event>("events", RecordPart::Value).err().expect("one has no subject");
    assert!(refused.to_string().contains("events-shop.Paid does not have the schema"), "{refused}");
    let paid_schema = r#"{"type": "record", "name": "Paid", "namespace": "shop", "fields": [{"name": "paid", "type":
        {"type": "record", "name": "Amount", "fields": [{"name": "cents", "type": "long"}]}}]}"#;
    register(&client, "events-shop.Paid", paid_schema);
    let events = latest.serde::<Event>("events", RecordPart::Value).unwrap();
    assert_eq!(encoded(&events, &Event::Placed(placed("a", 3))), [0, 0, 0, 0, newer, 1, 2, b'a', 6]);
    // One that the union cannot read any more.
    register(&client, "events-shop.Paid", &paid_schema.replace("long", "string"));
    let refused = read_only(&registry, &Event::serde()).err().expect("cents are a text").to_string();
    assert!(refused.contains("events-shop.Paid"), "{refused}");
}

#[test]
fn branches_without_a_name_can_be_read_and_not_written() {
    let optional: SerdeRef<Option<Placed>> =
        Arc::new(AvroSerde::with_schema(&format!("[\"null\", {PLACED}]")));
    let (_, registry) = registry(SubjectNameStrategy::TopicRecordName);
    let one = registry.serde::<Placed>("events", RecordPart::Value).unwrap();
    let reading = read_only(&registry, &optional).expect("nothing is written");
    assert_eq!(reading.decode(&encoded(&one, &placed("a", 3))).unwrap(), Some(placed("a", 3)));
    let serdes = ApplicationSerdes::default().with_schema_registry(registry);
    let refused = SerdePlace::new("events", RecordPart::Value, &serdes).bind(&optional);
    let refused = refused.err().expect("null has no name").to_string();
    assert!(refused.contains("let each branch of a union in Avro be a type with a name"), "{refused}");
}

#[test]
fn after_topics_the_union_is_one_schema() {
    let (client, registry) = registry(SubjectNameStrategy::TopicName);
    let events = registry.serde::<Event>("events", RecordPart::Value).unwrap();
    assert_eq!(client.subjects(), ["events-value"]);
    let bytes = encoded(&events, &paid(4));
    assert_eq!(bytes, b"\0\0\0\0\x01\x02\x08", "with its place in the union");
    assert_eq!(events.decode(&bytes).unwrap(), paid(4));
}
