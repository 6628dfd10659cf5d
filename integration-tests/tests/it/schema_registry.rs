//! Serdes and a schema registry that nobody here wrote: what is registered, how it is read, who is let in. What such a registry never does,
//! to refuse a schema or to be away, a stub does.

mod asking;
mod stub;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millstream::handlers::{Handlers, Reaction};
use millstream::prelude::*;
use millstream::schema_registry::CachedSchemaRegistryClient;
use millstream::testing::TopologyTestDriver;
use millstream::{
    AvroSerde, ErrorKind, RecordPart, RegistryError, Schema, SchemaKind, SchemaRegistry,
    SchemaRegistryClient, SerdeRef, SubjectNameStrategy, Upcasters,
};
use millstream_integration_tests::kafka::unique_name;
use millstream_integration_tests::process::workspace_binary;
use millstream_integration_tests::registry::RealSchemaRegistry;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::stub::{Stub, no_subject, stub, stub_behind_tls, stub_of_text};
use crate::command_line::millstream;

/// The first version of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Order")]
pub(crate) struct OrderV1 {
    pub(crate) sku: String,
}
avro_serde!(OrderV1, schema = ORDER_V1);

pub(crate) const ORDER_V1: &str = include_str!("../../avro/order-1.avsc");

/// The second: a schema can say what the first one's quantity was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Order")]
pub(crate) struct OrderV2 {
    pub(crate) sku: String,
    pub(crate) quantity: i64,
}
avro_serde!(OrderV2, schema = ORDER_V2);

pub(crate) const ORDER_V2: &str = include_str!("../../avro/order-2.avsc");

/// Today's: no schema can say how the ones before become it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) sku: String,
    pub(crate) quantity: i64,
}

pub(crate) const ORDER: &str = include_str!("../../avro/order-3.avsc");

impl HasSerde for Order {
    fn serde() -> SerdeRef<Self> {
        Upcasters::oldest(OrderV1::serde())
            .then(OrderV2::serde(), |before: OrderV1| OrderV2 { sku: before.sku, quantity: 1 })
            .then(Arc::new(AvroSerde::with_schema(ORDER)), |before: OrderV2| {
                order(&[(&before.sku, before.quantity)])
            })
            .by_schema()
    }
}

pub(crate) fn order(lines: &[(&str, i64)]) -> Order {
    let line = |(sku, quantity): &(&str, i64)| Line { sku: (*sku).to_owned(), quantity: *quantity };
    Order { lines: lines.iter().map(line).collect() }
}

/// The same event as a message, and as JSON.
#[derive(Clone, PartialEq, prost::Message)]
struct Payment {
    #[prost(int64, tag = "1")]
    cents: i64,
}
protobuf_serde!(Payment, schema = PAYMENT, message = "shop.Payment");

const PAYMENT: &str = "syntax = \"proto3\";\npackage shop;\n\nmessage Refund {\n  int64 cents = 1;\n}\nmessage Payment {\n  int64 cents = 1;\n}\n";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Visit {
    page: String,
}
json_serde!(Visit, schema = VISIT);

const VISIT: &str = r#"{"title":"Visit","type":"object","properties":{"page":{"type":"string"}}}"#;

fn client_at(url: &str) -> Result<Arc<CachedSchemaRegistryClient>> {
    Ok(Arc::new(CachedSchemaRegistryClient::builder(url).deadline(Duration::from_secs(5)).build()?))
}

fn real_client() -> Result<Arc<CachedSchemaRegistryClient>> {
    client_at(RealSchemaRegistry::shared()?.url())
}

fn encoded<T>(serde: &SerdeRef<T>, value: &T) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    serde.encode(value, &mut bytes)?;
    Ok(bytes)
}

/// A value written by one client comes back by another one, which has to ask for its schema; the bytes begin with the id.
fn passes<T: HasSerde + PartialEq + std::fmt::Debug>(
    kind: SchemaKind,
    text: &str,
    value: &T,
) -> Result<Vec<u8>> {
    let (topic, writer) = (unique_name("schemas"), real_client()?);
    let serde = SchemaRegistry::new(writer.clone()).serde::<T>(&topic, RecordPart::Value)?;
    let bytes = encoded(&serde, value)?;
    let latest = writer.latest(&format!("{topic}-value"))?.context("it was registered")?;
    ensure!(latest.version == 1 && latest.schema.kind == kind, "{latest:?}");
    ensure!(bytes[0] == 0 && bytes[1..5] == latest.id.get().to_be_bytes(), "{bytes:?}");
    let id = writer.id_of(&format!("{topic}-value"), &Schema::new(kind, text))?;
    ensure!(id == Some(latest.id), "{id:?}");
    let reader = SchemaRegistry::new(real_client()?).auto_register(false);
    let other_topic =
        SchemaRegistry::new(real_client()?).serde::<T>(&unique_name("others"), RecordPart::Value)?;
    for serde in [reader.serde::<T>(&topic, RecordPart::Value)?, other_topic] {
        assert_eq!(serde.decode(&bytes)?, *value);
    }
    Ok(bytes)
}

#[test]
fn avro_protobuf_and_json_are_registered_and_read_by_their_ids() -> Result<()> {
    let avro = passes(SchemaKind::Avro, ORDER_V2, &OrderV2 { sku: "apples".into(), quantity: -3 })?;
    assert_eq!(avro[5..], *b"\x0capples\x05");
    let protobuf = passes(SchemaKind::Protobuf, PAYMENT, &Payment { cents: 5 })?;
    assert_eq!(protobuf[5..], *b"\x02\x02\x08\x05", "the second message of the file");
    let json = passes(SchemaKind::Json, VISIT, &Visit { page: "/".into() })?;
    assert_eq!(json[5..], *br#"{"page":"/"}"#);
    Ok(())
}

#[test]
fn what_is_not_registered_is_an_error_where_nothing_registers() -> Result<()> {
    let (topic, client) = (unique_name("looked-up"), real_client()?);
    let registry = SchemaRegistry::new(client.clone()).auto_register(false);
    let refused = registry
        .serde::<OrderV2>(&topic, RecordPart::Value)
        .err()
        .context("nobody registered it")?
        .to_string();
    ensure!(refused.contains(&format!("subject {topic}-value does not have the schema")), "{refused}");
    assert_eq!(client.latest(&format!("{topic}-value"))?, None);
    assert_eq!(
        client.incompatibilities(&format!("{topic}-value"), &Schema::new(SchemaKind::Avro, ORDER_V1))?,
        [""; 0]
    );
    client.register(&format!("{topic}-value"), &Schema::new(SchemaKind::Avro, ORDER_V2))?;
    registry.serde::<OrderV2>(&topic, RecordPart::Value)?;
    Ok(())
}

#[test]
fn ids_and_subjects_that_are_not_there_are_told_apart_from_outages() -> Result<()> {
    let client = real_client()?;
    let unknown = client.schema(millstream::SchemaId::new(987_654_321));
    ensure!(matches!(unknown, Err(RegistryError::UnknownId { .. })), "{unknown:?}");
    // Whatever a subject is called, it is one part of the address.
    assert_eq!(client.latest(&unique_name("a/b c?d"))?, None);
    Ok(())
}

const ORDERS_BY_ID: StoreName<String, Order> = StoreName::new("orders-by-id");

/// Keeps orders of all versions, and tells how many lines each has.
fn lines_of_orders(input: &str, output: &str) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let orders = builder.table::<String, Order>(input).materialized(ORDERS_BY_ID);
    orders.to_stream().filter(|_, order| order.is_some()).to(output);
    Ok(builder.build()?)
}

#[test]
fn a_topic_of_three_generations_is_replayed_as_the_newest() -> Result<()> {
    let (input, output) = (unique_name("orders"), unique_name("orders-today"));
    let registry = SchemaRegistry::new(real_client()?);
    let generations = [
        encoded(&registry.serde::<OrderV1>(&input, RecordPart::Value)?, &OrderV1 { sku: "apples".into() })?,
        encoded(
            &registry.serde::<OrderV2>(&input, RecordPart::Value)?,
            &OrderV2 { sku: "pears".into(), quantity: 2 },
        )?,
        encoded(&registry.serde::<Order>(&input, RecordPart::Value)?, &order(&[("figs", 3), ("nuts", 4)]))?,
    ];
    let reader = SchemaRegistry::new(real_client()?);
    let driver = TopologyTestDriver::new(lines_of_orders(&input, &output)?.with_schema_registry(reader))?;
    let topic = driver.input_topic::<String, Order>(&input);
    for (id, bytes) in generations.iter().enumerate() {
        topic.pipe_raw(Some(format!("{id}").as_bytes()), Some(bytes))?;
    }
    let expected = [order(&[("apples", 1)]), order(&[("pears", 2)]), order(&[("figs", 3), ("nuts", 4)])];
    let read = driver.output_topic::<String, Option<Order>>(&output).read_key_values_to_list()?;
    assert_eq!(read.into_iter().filter_map(|(_, order)| order).collect::<Vec<_>>(), expected);
    let store = driver.key_value_store(ORDERS_BY_ID)?;
    assert_eq!(store.get(&"0".into())?.map(|row| row.value).as_ref(), Some(&expected[0]));
    Ok(())
}

#[test]
fn a_dead_letter_says_which_field_of_which_record_was_wrong() -> Result<()> {
    let input = unique_name("orders");
    let registry = SchemaRegistry::new(real_client()?);
    let avro = encoded(
        &registry.serde::<OrderV2>(&input, RecordPart::Value)?,
        &OrderV2 { sku: "a".into(), quantity: 1 },
    )?;
    let payments = unique_name("payments");
    let payment = encoded(&registry.serde::<Payment>(&payments, RecordPart::Value)?, &Payment { cents: 5 })?;
    // A quantity of which only the beginning is there; cents that are a text.
    let cut_off = [&avro[..avro.len() - 1], &[0x80]].concat();
    let text = [&payment[..payment.len() - 2], b"\x0a\x01x"].concat();

    let builder = StreamsBuilder::new();
    builder.stream::<String, OrderV2>(input.as_str()).map_values(|_, _| 1_i64).to("counted");
    builder.stream::<String, Payment>(payments.as_str()).map_values(|_, _| 1_i64).to("counted");
    let mut settings = millstream::Settings::new("none");
    settings.handlers = Handlers { decode: Arc::new(Reaction::DeadLetter), ..Handlers::default() };
    let topology = builder.build()?.with_schema_registry(SchemaRegistry::new(real_client()?));
    let driver = TopologyTestDriver::builder(topology).settings(settings).build()?;
    let orders = driver.input_topic::<String, OrderV2>(&input);
    orders.pipe_raw(Some(b"1"), Some(&avro))?;
    orders.pipe_raw(Some(b"2"), Some(&cut_off))?;
    driver.input_topic::<String, Payment>(&payments).pipe_raw(Some(b"3"), Some(&text))?;

    let dead_letters =
        driver.output_topic_with_serdes("test-dead-letters", String::serde(), Vec::<u8>::serde());
    for (bytes, topic, offset, type_name, path) in
        [(&cut_off, &input, 1, "OrderV2", "quantity"), (&text, &payments, 0, "Payment", "cents")]
    {
        let letter = dead_letters.read_record()?.context("there is one")?;
        assert_eq!(letter.value, *bytes, "the original bytes");
        let header = |name: &str| {
            let value = letter.headers.last(&format!("__streams.errors.{name}")).flatten();
            value.map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
        };
        assert_eq!(header("topic"), *topic);
        assert_eq!(header("partition"), "0");
        assert_eq!(header("offset"), offset.to_string());
        let (id, said) = (u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]), header("message"));
        for expected in
            [format!("written by schema {id}"), format!("field {path} of a `"), format!("{type_name}`")]
        {
            ensure!(said.contains(&expected), "{expected:?} is not said: {said}");
        }
    }
    Ok(())
}

#[test]
fn the_main_example_writes_avro_by_a_registry() -> Result<()> {
    let prefix = format!("{}-", unique_name("shop"));
    let mut command = workspace_binary("order_inventory")?;
    command.args(["--format", "avro", "--schema-registry", RealSchemaRegistry::shared()?.url()]);
    command.args(["--topic-prefix", &prefix, "--application-id", &format!("{prefix}app")]);
    command.args(["--events", "500", "--rate", "0", "--http", "none", "--poison", "100"]);
    let run = command.output()?;
    let (stdout, stderr) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    ensure!(run.status.success(), "{stdout}\n{stderr}");
    ensure!(stdout.contains("view agrees with a recount of 500 events"), "{stdout}");
    ensure!(stdout.contains("5 poison records in "), "{stdout}");
    for topic in ["orders", "stock-movements", "order-availability"] {
        let latest = real_client()?.latest(&format!("{prefix}{topic}-value"))?.context("it is registered")?;
        assert_eq!(latest.schema.kind, SchemaKind::Avro);
    }
    Ok(())
}

#[test]
fn passwords_and_tokens_open_the_registry() -> Result<()> {
    // The user shop with the password se:cret, as RFC 7617 writes them.
    let basic = RealSchemaRegistry::program(Some("Basic c2hvcDpzZTpjcmV0"))?;
    let builder = || CachedSchemaRegistryClient::builder(basic.url());
    assert_eq!(builder().basic_auth("shop", "se:cret").build()?.latest("orders-value")?, None);
    for wrong in [builder(), builder().basic_auth("shop", "guess"), builder().bearer_token("se:cret")] {
        let refused = wrong.build()?.latest("orders-value");
        ensure!(matches!(refused, Err(RegistryError::Unauthorized { .. })), "{refused:?}");
    }
    let token = RealSchemaRegistry::program(Some("Bearer abc.def"))?;
    let client = CachedSchemaRegistryClient::builder(token.url()).bearer_token("abc.def").build()?;
    assert_eq!(client.latest("orders-value")?, None);
    // One that is fetched anew for each request: an old one, none for the moment, and the right one, as files have it.
    let fetched = AtomicUsize::new(0);
    let client = CachedSchemaRegistryClient::builder(token.url()).bearer_token_from(move || {
        match fetched.fetch_add(1, Ordering::SeqCst) {
            0 => Ok("abc".to_owned()),
            1 => Err("it is being written".into()),
            _ => Ok("abc.def\n".to_owned()),
        }
    });
    let client = client.build()?;
    let refused = client.latest("orders-value");
    ensure!(matches!(refused, Err(RegistryError::Unauthorized { .. })), "{refused:?}");
    assert_eq!(client.latest("orders-value")?, None);
    let none = CachedSchemaRegistryClient::builder(token.url())
        .bearer_token_from(|| Err("there is no file".into()))
        .deadline(Duration::from_millis(100))
        .build()?;
    let refused = none.latest("orders-value").err().context("there is no token")?;
    let said = format!("{:#}", anyhow::Error::from(refused));
    ensure!(said.contains("there is no token to ask with: there is no file"), "{said}");
    Ok(())
}

#[test]
fn a_registry_behind_tls_is_asked_where_its_authority_is_trusted() -> Result<()> {
    let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let registry = stub_behind_tls(&identity, |_asked| no_subject())?;
    let builder = || CachedSchemaRegistryClient::builder(&registry.url).deadline(Duration::from_secs(2));
    let trusting = |pem: &str| builder().certificate_authority(pem.as_bytes()).build();
    assert_eq!(trusting(&identity.cert.pem())?.latest("orders-value")?, None);
    assert_eq!(registry.asked.lock().len(), 1);

    let another = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let both = format!("{}{}", another.cert.pem(), identity.cert.pem());
    assert_eq!(trusting(&both)?.latest("orders-value")?, None, "any of several authorities");
    registry.asked.lock().pop();
    for other in [builder().build()?, trusting(&another.cert.pem())?] {
        let refused = other.latest("orders-value").unwrap_err();
        ensure!(matches!(refused, RegistryError::Away { .. }), "{refused:?}");
        let said = format!("{:#}", anyhow::Error::from(refused));
        ensure!(said.contains("certificate"), "{said}");
    }
    assert_eq!(registry.asked.lock().len(), 1);

    let refused = trusting("no certificate").err().context("that is no PEM")?;
    ensure!(refused.kind() == ErrorKind::Invalid && refused.to_string().contains("is no PEM"), "{refused}");
    let refused = builder().certificate_authority_file("/nowhere/ca.pem").build();
    let refused = refused.err().context("there is no such file")?;
    ensure!(
        refused.kind() == ErrorKind::Invalid && refused.to_string().contains("/nowhere/ca.pem"),
        "{refused}"
    );
    Ok(())
}

#[test]
fn the_command_line_trusts_the_authority_it_is_told() -> Result<()> {
    let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let registry = stub_behind_tls(&identity, |_asked| no_subject())?;
    let folder = tempfile::tempdir()?;
    let (schema, authority) = (folder.path().join("order.avsc"), folder.path().join("ca.pem"));
    std::fs::write(&schema, ORDER_V2)?;
    std::fs::write(&authority, identity.cert.pem())?;
    let orders = format!("orders-value={}", schema.display());
    let authority = authority.display().to_string();
    let check = ["schema", "check", "--schema-registry", registry.url.as_str(), orders.as_str()];
    let by_argument = millstream(check.iter().chain(&["--certificate-authority", authority.as_str()]))?;
    let taken = by_argument.success()?;
    ensure!(taken.contains("orders-value") && taken.contains("yes"), "{taken}");
    let mut by_variable = workspace_binary("millstream")?;
    by_variable.args(check).env("MILLSTREAM_SCHEMA_REGISTRY_CA", &authority);
    let by_variable = by_variable.output()?;
    ensure!(by_variable.status.success(), "{by_variable:?}");
    assert_eq!(registry.asked.lock().len(), 2);
    Ok(())
}

fn copying(input: &str, output: &str) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    builder.stream::<String, OrderV2>(input).to(output);
    Ok(builder.build()?)
}

#[test]
fn a_subject_that_refuses_the_schema_stops_the_application_at_its_start() -> Result<()> {
    let reason = "READER_FIELD_MISSING_DEFAULT_VALUE: quantity";
    let stub = stub(move |asked| match asked {
        "POST /subjects/copies%2Dvalue/versions" => (409, json!({ "error_code": 409, "message": reason })),
        _ => no_subject(),
    })?;
    let topology =
        copying("orders", "copies")?.with_schema_registry(SchemaRegistry::new(client_at(&stub.url)?));
    let error = TopologyTestDriver::new(topology).err().context("the registry refuses")?;
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.to_string();
    ensure!(
        text.contains("KSTREAM-SINK") && text.contains("copies-value") && text.contains(reason),
        "{text}"
    );
    Ok(())
}

#[test]
fn an_input_whose_newest_schema_does_not_fit_stops_the_application_at_its_start() -> Result<()> {
    let schema =
        r#"{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"id","type":"long"}]}"#;
    let stub = stub(move |asked| match asked {
        "GET /subjects/orders%2Dvalue/versions/latest" => {
            (200, json!({ "subject": "orders-value", "version": 4, "id": 9, "schema": schema }))
        }
        "POST /subjects/copies%2Dvalue/versions" => (200, json!({ "id": 1 })),
        _ => no_subject(),
    })?;
    let topology =
        copying("orders", "copies")?.with_schema_registry(SchemaRegistry::new(client_at(&stub.url)?));
    let text = TopologyTestDriver::new(topology).err().context("it has no sku")?.to_string();
    ensure!(
        text.contains("KSTREAM-SOURCE") && text.contains("orders-value") && text.contains("(9)"),
        "{text}"
    );
    Ok(())
}

/// What a topic of several types carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Event {
    Ordered(OrderV2),
    Returned(Returned),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Returned {
    sku: String,
}

const RETURNED: &str = r#"{"type": "record", "name": "Returned", "namespace": "shop", "fields": [{"name": "sku", "type": "string"}]}"#;
avro_serde!(Returned, schema = RETURNED);

impl HasSerde for Event {
    fn serde() -> SerdeRef<Self> {
        Arc::new(AvroSerde::with_schema(&format!("[{ORDER_V2}, {RETURNED}]")))
    }
}

#[test]
fn types_may_share_a_topic_under_their_own_names() -> Result<()> {
    let (events, kept) = (unique_name("events"), unique_name("events-kept"));
    let client = real_client()?;
    let registry = SchemaRegistry::new(client.clone()).naming(SubjectNameStrategy::TopicRecordName);
    // Of producers that each know one of the types.
    let ordered = OrderV2 { sku: "apples".into(), quantity: 3 };
    let returned = Returned { sku: "pears".into() };
    let of_orders = encoded(&registry.serde::<OrderV2>(&events, RecordPart::Value)?, &ordered)?;
    let of_returns = encoded(&registry.serde::<Returned>(&events, RecordPart::Value)?, &returned)?;
    let of_payments =
        encoded(&registry.serde::<Payment>(&events, RecordPart::Value)?, &Payment { cents: 5 })?;

    let builder = StreamsBuilder::new();
    builder.stream::<String, Event>(events.as_str()).to(kept.as_str());
    let reader = SchemaRegistry::new(real_client()?).naming(SubjectNameStrategy::TopicRecordName);
    let settings = Settings { handlers: Handlers::all(Reaction::Skip), ..Settings::new("none") };
    let topology = builder.build()?.with_schema_registry(reader);
    let driver = TopologyTestDriver::builder(topology).settings(settings).build()?;
    let topic = driver.input_topic::<String, Event>(&events);
    for bytes in [&of_orders, &of_returns, &of_payments] {
        topic.pipe_raw(Some(b"1"), Some(bytes))?;
    }
    assert_eq!(driver.skipped_records(), 1, "the payment, which the union does not have");
    let written = driver.output_topic_with_serdes(&kept, String::serde(), Vec::<u8>::serde());
    let written = written.read_key_values_to_list()?;
    // For consumers that know one of the types.
    assert_eq!(registry.serde::<OrderV2>(&kept, RecordPart::Value)?.decode(&written[0].1)?, ordered);
    assert_eq!(registry.serde::<Returned>(&kept, RecordPart::Value)?.decode(&written[1].1)?, returned);
    for topic in [&events, &kept] {
        for name in ["shop.Order", "shop.Returned"] {
            ensure!(client.latest(&format!("{topic}-{name}"))?.is_some(), "{topic} {name}");
        }
    }
    Ok(())
}

#[test]
fn the_command_line_checks_and_registers_schemas() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("order.avsc");
    std::fs::write(&file, ORDER_V2)?;
    let refusing = stub(|asked| match asked {
        "POST /compatibility/subjects/orders%2Dvalue/versions?verbose=true" => {
            (200, json!({ "is_compatible": false, "messages": ["quantity has no default"] }))
        }
        _ => no_subject(),
    })?;
    let argument = |subject: &str| format!("{subject}={}", file.display());
    let (orders, returns) = (argument("orders-value"), argument("returns-value"));
    let check = ["schema", "check", "--schema-registry", refusing.url.as_str()];
    let taken = millstream(check.iter().chain(&[returns.as_str()]))?.success()?;
    ensure!(taken.contains("returns-value") && taken.contains("yes"), "{taken}");
    let refused = millstream(check.iter().chain(&[orders.as_str(), returns.as_str()]))?;
    assert_eq!(refused.code, Some(1));
    ensure!(refused.stdout.contains("no: quantity has no default"), "{refused:?}");
    ensure!(refused.stderr.contains("do not take their schemas: orders-value"), "{refused:?}");

    let subject = unique_name("registered-by-hand");
    let url = RealSchemaRegistry::shared()?.url();
    let given = argument(&subject);
    let register = ["schema", "register", "--json", "--schema-registry", url, given.as_str()];
    let printed: Value = serde_json::from_str(&millstream(register.iter())?.success()?)?;
    let latest = real_client()?.latest(&subject)?.context("it was registered")?;
    assert_eq!(printed, json!([{ "subject": subject, "id": latest.id.get() }]));
    Ok(())
}
