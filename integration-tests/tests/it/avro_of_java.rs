//! Records that Apache Avro for Java wrote behind Confluent's header (`integration-tests/avro/AvroRecords.java` says how): ours reads them, and
//! writes the same bytes, so that theirs reads ours.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use millstream::prelude::*;
use millstream::{
    MockSchemaRegistryClient, RecordPart, Schema, SchemaKind, SchemaRegistry, SchemaRegistryClient,
};
use serde::{Deserialize, Serialize};
use uuid::{Uuid, uuid};

use crate::schema_registry::{ORDER, ORDER_V1, ORDER_V2, Order, OrderV1, OrderV2, order};

/// A record of each of the first three schemas, and three of the last.
const RECORDS: &str = include_str!("../../avro/records.hex");

/// Their schemas, in the order of their ids.
const SCHEMAS: [&str; 4] = [ORDER_V1, ORDER_V2, ORDER, DELIVERY];

const DELIVERY: &str = include_str!("../../avro/delivery.avsc");

/// One field of most types that Avro has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Delivery {
    id: Uuid,
    at: i64,
    boxes: i32,
    weight: f64,
    share: f32,
    complete: bool,
    state: State,
    note: Option<String>,
    pieces: BTreeMap<String, i64>,
    paid: Paid,
}
avro_serde!(Delivery, schema = DELIVERY);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum State {
    Sent,
    Arrived,
}

/// A union of records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Paid {
    Later,
    Card { number: String },
    Cash { cents: i64 },
}

fn records() -> Result<Vec<Vec<u8>>> {
    RECORDS.lines().map(bytes_of).collect()
}

fn bytes_of(hex: &str) -> Result<Vec<u8>> {
    ensure!(hex.len().is_multiple_of(2) && hex.is_ascii(), "no hexadecimal line: {hex}");
    let byte = |place| u8::from_str_radix(&hex[place..place + 2], 16).context("no hexadecimal digits");
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn registry() -> Result<SchemaRegistry> {
    let client = MockSchemaRegistryClient::default();
    for (subject, schema) in ["orders", "orders", "orders", "deliveries"].into_iter().zip(SCHEMAS) {
        client.register(&format!("{subject}-value"), &Schema::new(SchemaKind::Avro, schema))?;
    }
    Ok(SchemaRegistry::new(Arc::new(client)))
}

/// Values of one type, each as Java wrote it.
fn are_alike<T: HasSerde + PartialEq + std::fmt::Debug>(topic: &str, values: &[(Vec<u8>, T)]) -> Result<()> {
    let serde = registry()?.serde::<T>(topic, RecordPart::Value)?;
    for (theirs, value) in values {
        assert_eq!(serde.decode(theirs)?, *value);
        let mut ours = Vec::new();
        serde.encode(value, &mut ours)?;
        assert_eq!(ours, *theirs, "{value:?}");
    }
    Ok(())
}

#[test]
fn records_of_java_are_read_and_written_alike() -> Result<()> {
    let [first, second, third, later, card, cash]: [Vec<u8>; 6] =
        records()?.try_into().map_err(|_| anyhow::anyhow!("there are six"))?;
    are_alike("orders", &[(first.clone(), OrderV1 { sku: "apples".into() })])?;
    are_alike("orders", &[(second.clone(), OrderV2 { sku: "pears".into(), quantity: 2 })])?;
    are_alike("orders", &[(third, order(&[("figs", 3), ("nuts", 4)]))])?;
    // And the older ones as today's.
    let orders = registry()?.serde::<Order>("orders", RecordPart::Value)?;
    assert_eq!(orders.decode(&first)?, order(&[("apples", 1)]));
    assert_eq!(orders.decode(&second)?, order(&[("pears", 2)]));

    let delivery = |state, paid| Delivery {
        id: uuid!("67e55044-10b1-426f-9247-bb680e5fe0c8"),
        at: 1_700_000_000_000,
        boxes: -2,
        weight: 12.5,
        share: 0.25,
        complete: state == State::Arrived,
        state,
        note: None,
        pieces: BTreeMap::from([("apples".to_owned(), 300)]),
        paid,
    };
    let with_note = |delivery| Delivery { note: Some("at the back".into()), ..delivery };
    are_alike(
        "deliveries",
        &[
            (later, delivery(State::Sent, Paid::Later)),
            (card, delivery(State::Arrived, Paid::Card { number: "4242".into() })),
            (cash, with_note(delivery(State::Arrived, Paid::Cash { cents: 1995 }))),
        ],
    )
}
