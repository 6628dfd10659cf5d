//! The serdes of a topology, settled for an application: each as it is in the topic or store where it is used.

use millstream_state_stores::{
    ApplicationSerdes, RecordPart, RegistryError, SchemaRegistry, SerdeError, SerdePlace, SerdeRef,
    changelog_topic,
};

use super::graph::{NodeKind, StoreSpec, Topology};
use super::source_changelog::SourceChangelog;
use crate::error::{Error, ErrorKind, Result};

impl Topology {
    /// Registers the schemas of what is written, and reads by those that others registered: of types of Avro, and of Protobuf and JSON
    /// that have a schema. They are settled when the application starts; a registry that is away, or a schema that does not fit, is an error there.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use millstream_processor::topology::{Consumed, Topology};
    /// use millstream_processor::testing::TopologyTestDriver;
    /// use millstream_processor::{HasSerde, MockSchemaRegistryClient, SchemaRegistry, json_serde};
    ///
    /// #[derive(Clone, serde::Serialize, serde::Deserialize)]
    /// struct Order { sku: String }
    /// json_serde!(Order, schema = r#"{"title": "Order", "type": "object"}"#);
    ///
    /// let mut topology = Topology::new();
    /// topology.add_source("orders", ["orders"], Consumed::with(String::serde(), Order::serde()))?;
    /// topology.add_sink("archive", &["orders"], "order-archive", String::serde(), Order::serde())?;
    /// let client = Arc::new(MockSchemaRegistryClient::default());
    /// TopologyTestDriver::new(topology.with_schema_registry(SchemaRegistry::new(client.clone())))?;
    /// assert_eq!(client.subjects(), ["order-archive-value"]);
    /// # Ok::<(), millstream_processor::Error>(())
    /// ```
    #[must_use]
    pub fn with_schema_registry(mut self, registry: SchemaRegistry) -> Self {
        self.serdes = self.serdes.with_schema_registry(registry);
        self
    }

    /// Uses this serde for a type wherever none is named: at sources, sinks, repartition topics and stores (Kafka Streams'
    /// `default.key.serde` and `default.value.serde`, for each type).
    ///
    /// ```
    /// use std::sync::Arc;
    /// use millstream_processor::topology::{Consumed, Topology};
    /// use millstream_processor::testing::TopologyTestDriver;
    /// use millstream_processor::{HasSerde, JsonSerde};
    ///
    /// let mut topology = Topology::new();
    /// topology.add_source("orders", ["orders"], Consumed::with(String::serde(), i64::default_serde()))?;
    /// topology.add_sink("archive", &["orders"], "order-archive", String::serde(), i64::default_serde())?;
    /// let driver = TopologyTestDriver::new(topology.with_default_serde::<i64>(Arc::new(JsonSerde::new())))?;
    /// driver.input_topic::<String, i64>("orders").pipe_raw(Some(b"apples"), Some(b"42"))?;
    /// let archive = driver.output_topic_with_serdes("order-archive", String::serde(), String::serde());
    /// assert_eq!(archive.read_key_value()?, Some(("apples".into(), "42".into())));
    /// # Ok::<(), millstream_processor::Error>(())
    /// ```
    #[must_use]
    pub fn with_default_serde<T: 'static>(mut self, serde: SerdeRef<T>) -> Self {
        self.serdes = self.serdes.with_serde(serde);
        self
    }

    /// The topology with all of its serdes settled. Patterns are to be bound before; topics that match one later are read by the same serdes.
    ///
    /// # Errors
    /// `Retry` if the schema registry does not answer; `Invalid` if a serde cannot be used where it is.
    pub(crate) fn with_serdes_in_place(mut self, application_id: &str) -> Result<Self> {
        let serdes = self.serdes.clone();
        for node in &mut self.nodes {
            let settled = match &mut node.kind {
                NodeKind::Source { topics, factory, .. } => {
                    let topics: Vec<_> =
                        topics.iter().map(|topic| topic.in_application(application_id)).collect();
                    factory.in_places(&topics, &serdes).map(|settled| *factory = settled)
                }
                NodeKind::Sink { topic, factory } => {
                    let topic = topic.as_ref().map(|topic| topic.in_application(application_id));
                    let settled = factory.in_place(topic.as_deref(), &serdes);
                    settled.map(|settled| settled.into_iter().for_each(|settled| *factory = settled))
                }
                NodeKind::Processor { .. } => Ok(()),
            };
            settled.map_err(|error| unusable(error, "node", &node.name))?;
        }
        for StoreSpec { builder } in &mut self.stores {
            // Also where there is no such topic: what is on the disk is nobody else's to read.
            let changelog = changelog_topic(application_id, builder.name());
            let unusable = |error| unusable(error, "store", builder.name());
            let settled = builder.in_place(&changelog, &serdes).map_err(unusable)?;
            if let Some(SourceChangelog { topic, rows }) = self.source_changelogs.get_mut(builder.name()) {
                let topic = topic.in_application(application_id);
                *rows = rows.in_places(&topic, &changelog, &serdes).map_err(unusable)?;
            }
            *builder = settled;
        }
        Ok(self)
    }
}

/// The serdes of a record as they are where it is written: in a topic, or in whichever each record names.
pub(super) fn serdes_of_sink<K, V>(
    topic: Option<&str>,
    serdes: &ApplicationSerdes,
    key_serde: &SerdeRef<K>,
    value_serde: &SerdeRef<V>,
) -> Result<(SerdeRef<K>, SerdeRef<V>), SerdeError> {
    let place = |part| match topic {
        Some(topic) => SerdePlace::new(topic, part, serdes),
        None => SerdePlace::of_any_topic(part, serdes),
    };
    Ok((place(RecordPart::Key).bind(key_serde)?, place(RecordPart::Value).bind(value_serde)?))
}

/// The error of a node or store whose serde cannot be used.
pub(crate) fn unusable(error: SerdeError, what: &str, name: &str) -> Error {
    let may_pass = error.registry_error().is_some_and(RegistryError::may_pass);
    let kind = if may_pass { ErrorKind::Retry } else { ErrorKind::Invalid };
    Error::new(kind, format!("a serde of {what} {name} cannot be used")).with_source(error)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use millstream_state_stores::{
        Encoded, HasSerde, KeyValueStoreBuilder, MockSchemaRegistryClient, RegisteredSchema, RowPart, Schema,
        SchemaId, SchemaKind, SchemaRegistryClient, Serde, StoreError, StoreName, SubjectNameStrategy,
        json_serde,
    };
    use parking_lot::Mutex;

    use super::*;
    use crate::api::{Failure, Processor, ProcessorContext, Record};
    use crate::handlers::{Handlers, Reaction};
    use crate::testing::TopologyTestDriver;
    use crate::topology::{Consumed, Sink, SinkTopic};
    use crate::{Settings, ValueAndTimestamp};

    #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Order {
        sku: String,
    }
    json_serde!(Order, schema = r#"{"title": "Order", "type": "object"}"#);

    const ORDERS: StoreName<String, Order> = StoreName::new("orders-by-id");

    /// Keeps the newest order of each key.
    struct Keep(millstream_state_stores::KeyValueStore<String, Order>);

    impl Processor for Keep {
        type KeyIn = String;
        type ValueIn = Order;
        type KeyOut = String;
        type ValueOut = Order;

        fn process(
            &mut self,
            order: Record<String, Order>,
            context: &mut ProcessorContext<'_, String, Order>,
        ) -> Result<(), Failure> {
            self.0.put(&order.key, Some(ValueAndTimestamp::new(order.value.clone(), order.timestamp)))?;
            context.forward(order)
        }
    }

    fn topology(sink: impl Into<Sink<String, Order>>) -> Result<Topology> {
        let mut topology = Topology::new();
        topology.add_source("orders", ["orders"], Consumed::with(String::serde(), Order::serde()))?;
        topology.add_state_store(Arc::new(KeyValueStoreBuilder::new(
            ORDERS.name(),
            String::serde(),
            Order::serde(),
        )))?;
        topology
            .add_processor("keep", &["orders"], &[ORDERS.name()], |wiring| Ok(Keep(wiring.store(ORDERS)?)))?;
        topology.add_sink("archive", &["keep"], sink, String::serde(), Order::serde())?;
        Ok(topology)
    }

    #[test]
    fn schemas_are_registered_for_what_is_written_and_stored() -> Result<()> {
        let client = Arc::new(MockSchemaRegistryClient::default());
        let topology = topology("archive")?.with_schema_registry(SchemaRegistry::new(client.clone()));
        let driver = TopologyTestDriver::builder(topology).application_id("shop").build()?;
        assert_eq!(client.subjects(), ["archive-value", "shop-orders-by-id-changelog-value"]);
        driver.input_topic::<String, Order>("orders").pipe_input("1", Order { sku: "apples".into() })?;
        assert_eq!(client.subjects().len(), 3, "the test has written orders");
        let changelog = driver.output_topic_with_serdes(
            "shop-orders-by-id-changelog",
            String::serde(),
            Vec::<u8>::serde(),
        );
        let framed = b"\0\0\0\0\x01{\"sku\":\"apples\"}".to_vec();
        assert_eq!(changelog.read_key_value()?, Some(("1".into(), framed)));
        let archive = driver.output_topic::<String, Order>("archive");
        assert_eq!(archive.read_key_value()?, Some(("1".into(), Order { sku: "apples".into() })));
        Ok(())
    }

    #[test]
    fn topics_that_records_name_need_subjects_of_types() -> Result<()> {
        let by_sku =
            || SinkTopic::PerRecord(Arc::new(|order: &Record<String, Order>| order.value.sku.clone()));
        let registry = SchemaRegistry::new(Arc::new(MockSchemaRegistryClient::default()));
        let refused = TopologyTestDriver::new(topology(by_sku())?.with_schema_registry(registry.clone()));
        let error = refused.err().expect("there is no topic to name a subject after").to_string();
        assert!(error.contains("node archive") && error.contains("RecordName"), "{error}");
        let registry = registry.naming(SubjectNameStrategy::RecordName);
        TopologyTestDriver::new(topology(by_sku())?.with_schema_registry(registry)).map(drop)
    }

    /// A registry that can be told not to answer.
    #[derive(Default)]
    struct Unreliable {
        registry: MockSchemaRegistryClient,
        /// What it says in place of answers.
        refusal: Mutex<Option<fn() -> RegistryError>>,
        /// How often it did.
        refused: AtomicUsize,
    }

    impl Unreliable {
        fn ask(&self) -> Result<&MockSchemaRegistryClient, RegistryError> {
            let Some(refusal) = *self.refusal.lock() else { return Ok(&self.registry) };
            self.refused.fetch_add(1, Ordering::Relaxed);
            Err(refusal())
        }
    }

    fn away() -> RegistryError {
        RegistryError::Away { url: "test".into(), tries: 1, seconds: 0, source: "is off".into() }
    }

    fn unauthorized() -> RegistryError {
        RegistryError::Unauthorized { url: "test".into(), status: 401 }
    }

    fn refused() -> RegistryError {
        let (url, what) = ("test".into(), "to tell schema 2".into());
        RegistryError::Refused { url, what, status: 404, message: "no such route".into() }
    }

    fn no_registry() -> RegistryError {
        RegistryError::NoRegistry { url: "test".into(), reason: "it is a page".into() }
    }

    impl SchemaRegistryClient for Unreliable {
        fn register(&self, subject: &str, schema: &Schema) -> Result<SchemaId, RegistryError> {
            self.ask()?.register(subject, schema)
        }

        fn id_of(&self, subject: &str, schema: &Schema) -> Result<Option<SchemaId>, RegistryError> {
            self.ask()?.id_of(subject, schema)
        }

        fn latest(&self, subject: &str) -> Result<Option<RegisteredSchema>, RegistryError> {
            self.ask()?.latest(subject)
        }

        fn schema(&self, id: SchemaId) -> Result<Schema, RegistryError> {
            self.ask()?.schema(id)
        }

        fn incompatibilities(&self, subject: &str, schema: &Schema) -> Result<Vec<String>, RegistryError> {
            self.ask()?.incompatibilities(subject, schema)
        }
    }

    #[test]
    fn a_registry_that_does_not_say_what_it_is_asked_stops_at_the_start() -> Result<()> {
        for (refusal, kind) in [(away as fn() -> _, ErrorKind::Retry), (unauthorized, ErrorKind::Invalid)] {
            let client = Arc::new(Unreliable::default());
            *client.refusal.lock() = Some(refusal);
            let topology = topology("archive")?.with_schema_registry(SchemaRegistry::new(client));
            let error = TopologyTestDriver::new(topology).err().expect("it does not answer");
            assert_eq!(error.kind(), kind);
            let error = error.to_string();
            assert!(error.contains("node ") && error.contains(&refusal().to_string()), "{error}");
        }
        Ok(())
    }

    #[test]
    fn later_an_outage_matters_only_to_schemas_that_are_new_and_never_costs_a_record() -> Result<()> {
        for refusal in [away as fn() -> _, unauthorized, refused, no_registry] {
            let client = Arc::new(Unreliable::default());
            // Of a topic that is read the newest schema is met at the start.
            let own = Schema::new(SchemaKind::Json, r#"{"title": "Order", "type": "object"}"#);
            client.register("orders-value", &own).map_err(SerdeError::from)?;
            let topology = topology("archive")?.with_schema_registry(SchemaRegistry::new(client.clone()));
            let settings = Settings { handlers: Handlers::all(Reaction::Skip), ..Settings::new("none") };
            let driver = TopologyTestDriver::builder(topology).settings(settings).build()?;
            let other = Schema::new(SchemaKind::Json, r#"{"title": "Other"}"#);
            let other = client.register("orders-value", &other).map_err(SerdeError::from)?;
            *client.refusal.lock() = Some(refusal);
            let orders = driver.input_topic::<String, Order>("orders");
            orders.pipe_raw(Some(b"1"), Some(b"\0\0\0\0\x01{\"sku\":\"apples\"}"))?;
            let unknown = [&[0][..], &other.get().to_be_bytes(), b"{\"sku\":\"pears\"}"].concat();
            let error = orders.pipe_raw(Some(b"2"), Some(&unknown)).expect_err("no handler is asked");
            assert_eq!(error.kind(), ErrorKind::Fatal);
            let text = error.to_string();
            let said = refusal().to_string();
            assert!(
                text.contains("orders-0@1") && text.contains("schema 2") && text.contains(&said),
                "{text}"
            );
            assert_eq!(driver.skipped_records(), 0);
            assert_eq!(
                client.refused.load(Ordering::Relaxed),
                1,
                "a record that waits is not asked for again"
            );
            *client.refusal.lock() = None;
            assert_eq!(driver.output_topic::<String, Order>("archive").len(), 1);
        }
        Ok(())
    }

    /// Reads a row that is written by a schema nobody has met.
    struct ReadsUnknown;

    impl Processor for ReadsUnknown {
        type KeyIn = String;
        type ValueIn = Order;
        type KeyOut = String;
        type ValueOut = Order;

        fn process(
            &mut self,
            _order: Record<String, Order>,
            _context: &mut ProcessorContext<'_, String, Order>,
        ) -> Result<(), Failure> {
            let (store, part) = (ORDERS.name().to_string(), RowPart::Value);
            Err(StoreError::Serde { store, part, source: unauthorized().into() }.into())
        }
    }

    #[test]
    fn an_outage_while_a_row_is_read_costs_no_record_either() -> Result<()> {
        let mut topology = Topology::new();
        topology.add_source("orders", ["orders"], Consumed::with(String::serde(), Order::serde()))?;
        topology.add_processor("reads", &["orders"], &[], |_| Ok(ReadsUnknown))?;
        let settings = Settings { handlers: Handlers::all(Reaction::Skip), ..Settings::new("none") };
        let driver = TopologyTestDriver::builder(topology).settings(settings).build()?;
        let orders = driver.input_topic::<String, Order>("orders");
        let error = orders.pipe_input("1", Order { sku: "apples".into() }).expect_err("no handler is asked");
        assert_eq!(error.kind(), ErrorKind::Fatal);
        assert!(error.to_string().contains("refuses access"), "{error}");
        Ok(())
    }

    #[test]
    fn a_type_may_have_another_serde_in_an_application() -> Result<()> {
        /// Text in capitals.
        struct Capitals;
        impl Serde<String> for Capitals {
            fn encode(&self, text: &String, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
                String::serde().encode(&text.to_uppercase(), out)
            }
            fn decode(&self, bytes: &[u8]) -> Result<String, SerdeError> {
                String::serde().decode(bytes)
            }
        }
        let mut topology = Topology::new();
        topology.add_source("names", ["names"], Consumed::with(String::serde(), String::serde()))?;
        topology.add_sink("copies", &["names"], "copies", String::serde(), String::default_serde())?;
        let driver = TopologyTestDriver::new(topology.with_default_serde::<String>(Arc::new(Capitals)))?;
        driver.input_topic::<String, String>("names").pipe_raw(Some(b"1"), Some(b"ann"))?;
        let copies = driver.output_topic_with_serdes("copies", String::serde(), String::serde());
        assert_eq!(copies.read_key_value()?, Some(("1".into(), "ANN".into())), "the key's serde is named");
        Ok(())
    }
}
