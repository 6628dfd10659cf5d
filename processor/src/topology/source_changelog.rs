//! Stores whose changelog is the topic they are made of, record by record (Kafka Streams' `reuse.ktable.source.topics`).

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_state_stores::{
    ApplicationSerdes, Encoded, KeyValueStoreBuilder, RecordField, RecordPart, RestoreRow, RowPart,
    SerdeError, SerdePlace, SerdeRef, StoreError, Timestamp,
};

use super::graph::{TopicName, Topology};
use super::source::{Consumed, RawRecord, decode_field};
use super::subtopology::Subtopology;
use crate::api::{Failure, FailureStage};
use crate::error::{Error, Result};

/// The topic a store is restored from in place of a changelog of its own.
#[derive(Clone)]
pub(crate) struct SourceChangelog {
    pub(crate) topic: TopicName,
    pub(crate) rows: Arc<dyn RowsOfTopic>,
}

/// Makes of the records of a topic the rows that they made when they were processed.
pub(crate) trait RowsOfTopic: Send + Sync {
    /// The same with its serdes as they are in the topic, and in the store, which has this one for its changelog.
    fn in_places(
        &self,
        topic: &str,
        changelog: &str,
        serdes: &ApplicationSerdes,
    ) -> Result<Arc<dyn RowsOfTopic>, SerdeError>;

    /// The row of a record; none if it was dropped.
    ///
    /// # Errors
    /// If it cannot be read, or the store does not keep it: what fails now, at the stage at which it fails when the record is processed.
    fn row(&self, record: &RawRecord<'_>) -> Result<Option<EncodedRow>, Failure>;
}

/// A row as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EncodedRow {
    pub(crate) key: Vec<u8>,
    /// None deletes the row.
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) timestamp: Timestamp,
}

impl EncodedRow {
    pub(crate) fn as_restored(&self) -> RestoreRow<'_> {
        RestoreRow { key: &self.key, value: self.value.as_deref(), timestamp: self.timestamp }
    }
}

struct TypedRows<K: RecordField, V: RecordField> {
    store: String,
    consumed: Consumed<K, V>,
    key_serde: SerdeRef<K::NonNull>,
    value_serde: SerdeRef<V::NonNull>,
}

impl<K: RecordField, V: RecordField> RowsOfTopic for TypedRows<K, V> {
    fn in_places(
        &self,
        topic: &str,
        changelog: &str,
        serdes: &ApplicationSerdes,
    ) -> Result<Arc<dyn RowsOfTopic>, SerdeError> {
        let stored = |part| SerdePlace::new(changelog, part, serdes);
        Ok(Arc::new(TypedRows {
            store: self.store.clone(),
            consumed: self.consumed.in_place(topic, serdes)?,
            key_serde: stored(RecordPart::Key).bind(&self.key_serde)?,
            value_serde: stored(RecordPart::Value).bind(&self.value_serde)?,
        }))
    }

    fn row(&self, record: &RawRecord<'_>) -> Result<Option<EncodedRow>, Failure> {
        let undecodable = |error| Failure::at_stage(FailureStage::Decode, error);
        let key = decode_field(&self.consumed.key_serde, record.key).map_err(undecodable)?;
        // Heartbeats have no key, and are not meant for the extractor.
        let Some(non_null_key) = key.as_non_null() else { return Ok(None) };
        let value = decode_field(&self.consumed.value_serde, record.value).map_err(undecodable)?;
        let timestamp = match &self.consumed.timestamp_extractor {
            Some(extract) => extract(&key, &value, record.timestamp),
            None => record.timestamp,
        };
        if timestamp.as_millis() < 0 {
            return Ok(None);
        }
        let key = self.kept(RowPart::Key, &self.key_serde, non_null_key)?;
        let value = value.as_non_null().map(|value| self.kept(RowPart::Value, &self.value_serde, value));
        Ok(Some(EncodedRow { key, value: value.transpose()?, timestamp }))
    }
}

impl<K: RecordField, V: RecordField> TypedRows<K, V> {
    /// A key or value as the store keeps it.
    fn kept<T>(&self, part: RowPart, serde: &SerdeRef<T>, value: &T) -> Result<Vec<u8>, StoreError> {
        let (store, mut bytes) = (|| self.store.clone(), Vec::new());
        match serde.encode(value, &mut bytes) {
            Ok(Encoded::Bytes) => Ok(bytes),
            Ok(Encoded::Null) => Err(StoreError::NullInStore { store: store(), part }),
            Err(source) => Err(StoreError::Serde { store: store(), part, source }),
        }
    }
}

impl Topology {
    /// Makes a topic that is read the changelog of a store: for each record the store has the row of its key with its value, or none if that
    /// is null (Kafka Streams' `connectSourceStoreAndTopic`). The store is not logged, and is restored from the topic up to what was
    /// processed of it. `consumed` is how the source reads the topic. A source of the store's own sub-topology must read it, and no other store
    /// be restored from it ([`validate`](Topology::validate)).
    ///
    /// # Errors
    /// `Invalid` for a store that the topology does not have, is logged, is none of plain rows of these types, or has a topic already.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use millstream_processor::topology::{Consumed, Topology};
    /// # use millstream_processor::{HasSerde, KeyValueStoreBuilder};
    /// let mut topology = Topology::new();
    /// let consumed = Consumed::with(String::serde(), i64::serde());
    /// topology.add_source("prices", ["prices"], consumed.clone())?;
    /// let prices = KeyValueStoreBuilder::new("prices", String::serde(), i64::serde()).with_logging(false);
    /// topology.add_state_store(Arc::new(prices))?;
    /// topology.connect_source_store_and_topic("prices", "prices", consumed)?;
    /// # Ok::<(), millstream_processor::Error>(())
    /// ```
    #[doc(alias = "connectSourceStoreAndTopic")]
    #[doc(alias = "addReadOnlyStateStore")]
    pub fn connect_source_store_and_topic<K: RecordField, V: RecordField>(
        &mut self,
        store: &str,
        topic: impl Into<TopicName>,
        consumed: Consumed<K, V>,
    ) -> Result<()> {
        let topic = topic.into();
        let refused = |why: &str| {
            let topic = topic.undecorated();
            Err(Error::invalid(format!("store {store} cannot be restored from topic {topic}: {why}")))
        };
        let Some(builder) = self.store(store) else {
            return refused("the topology does not have it: add the store first");
        };
        if builder.is_logged() {
            return refused("it has a changelog of its own: build it without logging");
        }
        if let Some(connected) = self.source_changelogs.get(store) {
            let connected = connected.topic.undecorated();
            return refused(&format!("it is restored from topic {connected} already: connect it once"));
        }
        let typed = builder.as_any().downcast_ref::<KeyValueStoreBuilder<K::NonNull, V::NonNull>>();
        let Some(typed) = typed.filter(|_| builder.companion().is_none()) else {
            return refused(&format!(
                "it is {}, and not one of plain rows of what the topic is read as",
                builder.types()
            ));
        };
        let rows = TypedRows {
            store: store.to_string(),
            consumed,
            key_serde: Arc::clone(typed.key_serde()),
            value_serde: Arc::clone(typed.value_serde()),
        };
        let changelog = SourceChangelog { topic: topic.clone(), rows: Arc::new(rows) };
        self.source_changelogs.insert(store.to_string(), changelog);
        Ok(())
    }

    /// A store is restored up to where its own task goes on in the topic, and as its only copy.
    pub(super) fn check_source_changelogs(&self, subtopologies: &[Subtopology]) -> Result<()> {
        let mut store_of_topic: BTreeMap<&TopicName, &str> = BTreeMap::new();
        for (store, SourceChangelog { topic, .. }) in &self.source_changelogs {
            let name = topic.undecorated();
            let reads =
                |part: &Subtopology| part.stores.contains(store) && part.source_topics.contains(topic);
            if !subtopologies.iter().any(reads) {
                return Err(Error::invalid(format!(
                    "store {store} cannot be restored from topic {name}: no source of the store's sub-topology reads it; connect the store to a \
                     processor below the topic's source, or give it a changelog of its own (build it with logging, and connect no topic)"
                )));
            }
            if let Some(other) = store_of_topic.insert(topic, store) {
                return Err(Error::invalid(format!(
                    "stores {other} and {store} cannot both be restored from topic {name}: give one of them a changelog of its own (build it \
                     with logging, and connect no topic)"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use millstream_state_stores::{HasSerde, Offset, Serde};

    use super::*;
    use crate::testing::pass_on::PassOn;

    fn unlogged(name: &str) -> Arc<KeyValueStoreBuilder<String, i64>> {
        Arc::new(KeyValueStoreBuilder::new(name, String::serde(), i64::serde()).with_logging(false))
    }

    fn prices() -> Topology {
        let mut topology = Topology::new();
        topology.add_state_store(unlogged("prices")).expect("there is no other");
        topology
    }

    fn record<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> RawRecord<'a> {
        RawRecord { offset: Offset::new(3), timestamp: Timestamp::from_millis(7), key, value }
    }

    /// The row of a record by a topology's store of prices; or the stage at which it fails.
    fn row_of(
        topology: &Topology,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<Option<EncodedRow>, FailureStage> {
        let row = topology.source_changelogs["prices"].rows.row(&record(key, value));
        row.map_err(|failure| failure.into_parts().stage)
    }

    #[test]
    fn a_row_is_what_the_record_made_when_it_was_processed() -> Result<()> {
        let consumed = Consumed::with(Option::<String>::field_serde(), Option::<i64>::field_serde());
        let by_value = consumed.clone().with_timestamp_extractor(|_, value: &Option<i64>, kafka| {
            value.map_or(kafka, Timestamp::from_millis)
        });
        let by_key = consumed.clone().with_timestamp_extractor(|key: &Option<String>, _, kafka| {
            assert!(key.is_some(), "the source does not ask for the time of a heartbeat");
            kafka
        });
        let read_as = |consumed: Consumed<Option<String>, Option<i64>>| {
            let mut topology = prices();
            topology.connect_source_store_and_topic("prices", "prices", consumed).map(|()| topology)
        };
        let (plain, by_value, by_key) = (read_as(consumed)?, read_as(by_value)?, read_as(by_key)?);
        let (apples, thirty) = (Some(b"apples".as_slice()), 30_i64.to_be_bytes());
        let row = |value: Option<&[u8]>, time| {
            let (key, value) = (b"apples".to_vec(), value.map(<[u8]>::to_vec));
            Ok(Some(EncodedRow { key, value, timestamp: Timestamp::from_millis(time) }))
        };
        assert_eq!(row_of(&plain, apples, Some(&thirty)), row(Some(&thirty), 7));
        assert_eq!(row_of(&by_value, apples, Some(&thirty)), row(Some(&thirty), 30));
        assert_eq!(row_of(&plain, apples, None), row(None, 7));
        assert_eq!(row_of(&plain, None, Some(&thirty)), Ok(None), "a record without a key is dropped");
        assert_eq!(row_of(&plain, apples, Some(b"thirty")), Err(FailureStage::Decode), "it is no number");
        assert_eq!(row_of(&by_key, None, None), Ok(None), "a heartbeat");
        let minus = (-30_i64).to_be_bytes();
        assert_eq!(row_of(&by_value, apples, Some(&minus)), Ok(None), "there is no time before 0");
        Ok(())
    }

    /// Writes 0 as null.
    struct ZeroIsNull;

    impl Serde<i64> for ZeroIsNull {
        fn encode(&self, value: &i64, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
            if *value == 0 { Ok(Encoded::Null) } else { i64::serde().encode(value, out) }
        }

        fn decode(&self, bytes: &[u8]) -> Result<i64, SerdeError> {
            i64::serde().decode(bytes)
        }
    }

    #[test]
    fn a_value_that_its_store_refuses_is_no_row_and_no_deletion() -> Result<()> {
        let mut topology = Topology::new();
        let store = KeyValueStoreBuilder::<String, i64>::new("prices", String::serde(), Arc::new(ZeroIsNull));
        topology.add_state_store(Arc::new(store.with_logging(false)))?;
        let consumed = Consumed::with(Option::<String>::field_serde(), Option::<i64>::field_serde());
        topology.connect_source_store_and_topic("prices", "prices", consumed)?;
        let row = |value: i64| row_of(&topology, Some(b"apples"), Some(&value.to_be_bytes()));
        assert!(row(30).is_ok_and(|row| row.is_some_and(|row| row.value.is_some())));
        assert_eq!(row(0), Err(FailureStage::Process), "as when it is put into the store");
        Ok(())
    }

    #[test]
    fn a_store_is_the_only_copy_of_a_topic_that_its_own_tasks_read() -> Result<()> {
        let consumed = || Consumed::with(String::serde(), i64::serde());
        let topology = || -> Result<Topology> {
            let mut topology = prices();
            topology.add_source("prices", ["prices"], consumed())?;
            topology.add_source("orders", ["orders"], consumed())?;
            topology.add_processor("keep", &["prices"], &["prices"], |_| Ok(PassOn))?;
            topology.add_processor("check", &["orders"], &[], |_| Ok(PassOn))?;
            Ok(topology)
        };
        let refusal = |topology: Topology| topology.validate().expect_err("it is refused").to_string();

        let mut right = topology()?;
        right.connect_source_store_and_topic("prices", "prices", consumed())?;
        right.validate()?;
        let twice = right.connect_source_store_and_topic("prices", "orders", consumed());
        let message = twice.expect_err("it is refused").to_string();
        assert!(message.contains("it is restored from topic prices already: connect it once"), "{message}");

        for unread in ["orders", "archive"] {
            let mut wrong = topology()?;
            wrong.connect_source_store_and_topic("prices", unread, consumed())?;
            let message = refusal(wrong);
            let expected = format!("prices cannot be restored from topic {unread}: no source of the store's");
            assert!(message.contains(&expected), "{message}");
        }

        let mut wrong = topology()?;
        wrong.add_state_store(unlogged("copies"))?;
        wrong.connect("keep", &["copies"])?;
        wrong.connect_source_store_and_topic("prices", "prices", consumed())?;
        wrong.connect_source_store_and_topic("copies", "prices", consumed())?;
        let message = refusal(wrong);
        let expected = "stores copies and prices cannot both be restored from topic prices";
        assert!(message.contains(expected), "{message}");
        Ok(())
    }

    #[test]
    fn a_store_that_is_no_copy_of_the_topic_is_refused() {
        let refusal = |topology: &mut Topology, consumed: Consumed<String, i64>, store: &str| {
            let refused = topology.connect_source_store_and_topic(store, "prices", consumed);
            refused.expect_err("it is refused").to_string()
        };
        let consumed = || Consumed::with(String::serde(), i64::serde());
        let mut topology = prices();
        let message = refusal(&mut topology, consumed(), "stock");
        assert!(message.contains("add the store first"), "{message}");
        let logged = KeyValueStoreBuilder::new("logged", String::serde(), i64::serde());
        topology.add_state_store(Arc::new(logged)).expect("there is no other");
        let message = refusal(&mut topology, consumed(), "logged");
        assert!(message.contains("build it without logging"), "{message}");
        let text = KeyValueStoreBuilder::new("text", String::serde(), String::serde()).with_logging(false);
        topology.add_state_store(Arc::new(text)).expect("there is no other");
        let message = refusal(&mut topology, consumed(), "text");
        assert!(message.contains("plain rows of what the topic is read as"), "{message}");
    }
}
