//! How the shop's facts are written: as JSON, or in Avro by the schemas of a registry. What the program tells itself stays JSON.

use std::sync::Arc;

use clap::ValueEnum;
use millstream::kafka::{TopicRecord, TopicWriter};
use millstream::schema_registry::CachedSchemaRegistryClient;
use millstream::{
    ApplicationSerdes, AvroSerde, Error, ErrorKind, HasSerde, RecordLocation, RecordPart, Result,
    SchemaRegistry, SerdePlace, SerdeRef, Topology,
};

use super::arguments::Arguments;
use super::events::{Availability, OrderEvent, StockMoved};
use super::shop::InputEvent;
use super::topics::Topics;

/// A format of the topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON.
    Json,
    /// Avro, by the schemas of a registry.
    Avro,
}

/// What a record of the topics says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Something that happened in the shop.
    Input(InputEvent),
    /// The answer to an order.
    Answer(Availability),
    /// An input that is no event.
    Unreadable,
    /// An input that the program could not read.
    DeadLetter,
}

/// Reads and writes the topics in their format.
pub struct Facts {
    topics: Topics,
    registry: Option<SchemaRegistry>,
    orders: SerdeRef<OrderEvent>,
    stock_movements: SerdeRef<StockMoved>,
    order_availability: SerdeRef<Availability>,
}

impl Facts {
    /// As the arguments say.
    ///
    /// # Errors
    /// `Invalid` if a registry is needed and none is named; `Retry` if it is away; whatever it says about the schemas.
    pub fn new(arguments: &Arguments, topics: &Topics) -> Result<Self> {
        let registry = match arguments.format {
            Format::Json => None,
            Format::Avro => Some(registry(arguments.schema_registry.as_deref())?),
        };
        let serdes = match &registry {
            None => ApplicationSerdes::default(),
            Some(registry) => ApplicationSerdes::default()
                .with_schema_registry(registry.clone())
                .with_serde(order_events())
                .with_serde(stock_moved())
                .with_serde(availability()),
        };
        let place = |topic, is_written| {
            let place = SerdePlace::new(topic, RecordPart::Value, &serdes);
            if is_written { place } else { place.only_read() }
        };
        Ok(Facts {
            topics: topics.clone(),
            orders: place(&topics.orders, arguments.generate).bind(&OrderEvent::default_serde())?,
            stock_movements: place(&topics.stock_movements, arguments.generate)
                .bind(&StockMoved::default_serde())?,
            order_availability: place(&topics.order_availability, false)
                .bind(&Availability::default_serde())?,
            registry,
        })
    }

    /// The program, so that it reads and writes them, too.
    #[must_use]
    pub fn settle(&self, topology: Topology) -> Topology {
        let Some(registry) = &self.registry else { return topology };
        topology
            .with_schema_registry(registry.clone())
            .with_default_serde(order_events())
            .with_default_serde(stock_moved())
            .with_default_serde(availability())
    }

    /// What a record says.
    ///
    /// # Errors
    /// If the program itself wrote something that cannot be read; `Retry` if the registry is away, so that nobody can say what the record is.
    pub fn read(&self, record: &TopicRecord<'_>) -> Result<Fact> {
        if record.topic == self.topics.orders {
            input(record.key::<String>(), value(record, &self.orders), InputEvent::Order)
        } else if record.topic == self.topics.stock_movements {
            input(record.key::<String>(), value(record, &self.stock_movements), InputEvent::Stock)
        } else if record.topic == self.topics.order_availability {
            value(record, &self.order_availability).map(Fact::Answer)
        } else {
            Ok(Fact::DeadLetter)
        }
    }

    /// Writes an event to its topic.
    ///
    /// # Errors
    /// If the brokers do not take it.
    pub fn write(&self, writer: &mut TopicWriter, event: &InputEvent) -> Result<()> {
        let mut bytes = Vec::new();
        let (topic, key) = match event {
            InputEvent::Order(event) => {
                self.orders.encode(event, &mut bytes)?;
                (&self.topics.orders, &event.order().order_id)
            }
            InputEvent::Stock(moved) => {
                self.stock_movements.encode(moved, &mut bytes)?;
                (&self.topics.stock_movements, &moved.sku)
            }
        };
        writer.write_bytes(topic, Some(key.as_bytes()), Some(&bytes))
    }
}

fn registry(url: Option<&str>) -> Result<SchemaRegistry> {
    let url = url.ok_or_else(|| {
        Error::invalid(
            "--format avro needs a schema registry: name it with --schema-registry or in MILLSTREAM_SCHEMA_REGISTRY_URL; that of \
             `docker compose up` is http://localhost:8081",
        )
    })?;
    let client = CachedSchemaRegistryClient::builder(url).access_from_env().build()?;
    Ok(SchemaRegistry::new(Arc::new(client)))
}

fn order_events() -> SerdeRef<OrderEvent> {
    Arc::new(AvroSerde::with_schema(include_str!("../../schemas/order-event.avsc")))
}

fn stock_moved() -> SerdeRef<StockMoved> {
    Arc::new(AvroSerde::with_schema(include_str!("../../schemas/stock-moved.avsc")))
}

fn availability() -> SerdeRef<Availability> {
    Arc::new(AvroSerde::with_schema(include_str!("../../schemas/availability.avsc")))
}

fn input<T>(key: Result<String>, event: Result<T>, of: impl FnOnce(T) -> InputEvent) -> Result<Fact> {
    match (key, event) {
        (Ok(_key), Ok(event)) => Ok(Fact::Input(of(event))),
        (_, Err(error)) if error.kind() == ErrorKind::Retry => Err(error),
        _ => Ok(Fact::Unreadable),
    }
}

fn value<T>(record: &TopicRecord<'_>, serde: &SerdeRef<T>) -> Result<T> {
    let value = match record.value_bytes() {
        Some(bytes) => serde.decode(bytes),
        None => serde.decode_null(),
    };
    value.map_err(|error| {
        Error::from(error).at(RecordLocation {
            topic: record.topic.into(),
            partition: record.partition,
            offset: record.offset,
        })
    })
}

#[cfg(test)]
mod tests {
    use millstream::MockSchemaRegistryClient;

    use super::*;
    use crate::order_inventory::events::Order;

    /// The schemas are of the types: what is written comes back.
    #[test]
    fn facts_come_back_from_avro() -> Result<()> {
        let order = Order { order_id: "a".into(), sku: "apples".into(), quantity: 3, customer: "ada".into() };
        let registry = SchemaRegistry::new(Arc::new(MockSchemaRegistryClient::default()));
        let serdes = ApplicationSerdes::default().with_schema_registry(registry);
        let place = SerdePlace::new("facts", RecordPart::Value, &serdes);
        let orders = place.bind(&order_events())?;
        comes_back(&orders, OrderEvent::Placed(order.clone()))?;
        comes_back(&orders, OrderEvent::Cancelled(order.clone()))?;
        for order_id in [None, Some("a".to_owned())] {
            comes_back(
                &place.bind(&stock_moved())?,
                StockMoved { sku: "apples".into(), quantity: -3, order_id },
            )?;
        }
        comes_back(&place.bind(&availability())?, Availability::decide(order, 5, 1))
    }

    #[test]
    fn a_registry_that_is_away_makes_no_input_unreadable() {
        let of =
            |kind| input(Ok("apples".into()), Err(Error::new(kind, "it was not read")), InputEvent::Stock);
        assert_eq!(of(ErrorKind::Record).ok(), Some(Fact::Unreadable));
        assert_eq!(of(ErrorKind::Retry).map_err(|error| error.kind()), Err(ErrorKind::Retry));
    }

    fn comes_back<T: PartialEq + std::fmt::Debug>(serde: &SerdeRef<T>, fact: T) -> Result<()> {
        let mut bytes = Vec::new();
        serde.encode(&fact, &mut bytes)?;
        assert_eq!(bytes[0], 0, "by a schema");
        assert_eq!(serde.decode(&bytes)?, fact);
        Ok(())
    }
}
