//! Stores whose changelog is the topic they are made of, record by record (Kafka Streams' `reuse.ktable.source.topics`).

use std::sync::Arc;

use millstream_state_stores::{
    Encoded, KeyValueStoreBuilder, RecordField, RestoreRow, SerdeError, SerdeRef, Timestamp,
};

use super::graph::{TopicName, Topology};
use super::source::{Consumed, RawRecord, decode_field};
use crate::error::{Error, Result};

/// The topic a store is restored from in place of a changelog of its own.
#[derive(Clone)]
pub(crate) struct SourceChangelog {
    pub(crate) topic: TopicName,
    pub(crate) rows: Arc<dyn RowsOfTopic>,
}

/// Makes of the records of a topic the rows that they made when they were processed.
pub(crate) trait RowsOfTopic: Send + Sync {
    /// The row of a record; none if it was dropped, or passed over because it could not be read.
    fn row(&self, record: &RawRecord<'_>) -> Option<EncodedRow>;
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
    consumed: Consumed<K, V>,
    key_serde: SerdeRef<K::NonNull>,
    value_serde: SerdeRef<V::NonNull>,
}

impl<K: RecordField, V: RecordField> RowsOfTopic for TypedRows<K, V> {
    fn row(&self, record: &RawRecord<'_>) -> Option<EncodedRow> {
        let key = decode_field(&self.consumed.key_serde, record.key).ok()?;
        let value = decode_field(&self.consumed.value_serde, record.value).ok()?;
        let timestamp = match &self.consumed.timestamp_extractor {
            Some(extract) => extract(&key, &value, record.timestamp),
            None => record.timestamp,
        };
        if timestamp.as_millis() < 0 {
            return None;
        }
        let key = encoded(&self.key_serde, key.as_non_null()?).ok()??;
        let value = value.as_non_null().map(|value| encoded(&self.value_serde, value));
        Some(EncodedRow { key, value: value.transpose().ok()?.flatten(), timestamp })
    }
}

/// The bytes of a key or value; none if they are null.
fn encoded<T>(serde: &SerdeRef<T>, value: &T) -> Result<Option<Vec<u8>>, SerdeError> {
    let mut bytes = Vec::new();
    Ok(match serde.encode(value, &mut bytes)? {
        Encoded::Bytes => Some(bytes),
        Encoded::Null => None,
    })
}

impl Topology {
    /// Makes a topic that is read the changelog of a store: for each record the store has the row of its key with its value, or none if that
    /// is null (Kafka Streams' `connectSourceStoreAndTopic`). The store is not logged, and is restored from the topic up to what was
    /// processed of it. `consumed` is how the source reads the topic.
    ///
    /// # Errors
    /// `Invalid` for a store that the topology does not have, is logged, or is none of plain rows of these types.
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
        let typed = builder.as_any().downcast_ref::<KeyValueStoreBuilder<K::NonNull, V::NonNull>>();
        let Some(typed) = typed.filter(|_| builder.companion().is_none()) else {
            return refused(&format!(
                "it is {}, and not one of plain rows of what the topic is read as",
                builder.types()
            ));
        };
        let rows = TypedRows {
            consumed,
            key_serde: Arc::clone(typed.key_serde()),
            value_serde: Arc::clone(typed.value_serde()),
        };
        let changelog = SourceChangelog { topic: topic.clone(), rows: Arc::new(rows) };
        self.source_changelogs.insert(store.to_string(), changelog);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use millstream_state_stores::{HasSerde, Offset};

    use super::*;

    fn prices() -> Topology {
        let mut topology = Topology::new();
        let store = KeyValueStoreBuilder::new("prices", String::serde(), i64::serde()).with_logging(false);
        topology.add_state_store(Arc::new(store)).expect("there is no other");
        topology
    }

    fn record<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> RawRecord<'a> {
        RawRecord { offset: Offset::new(3), timestamp: Timestamp::from_millis(7), key, value }
    }

    #[test]
    fn a_row_is_what_the_record_made_when_it_was_processed() -> Result<()> {
        let consumed = Consumed::with(Option::<String>::field_serde(), Option::<i64>::field_serde());
        let by_value = consumed.clone().with_timestamp_extractor(|_, value: &Option<i64>, kafka| {
            value.map_or(kafka, Timestamp::from_millis)
        });
        let row_of = |consumed: &Consumed<Option<String>, Option<i64>>, key, value| {
            let mut topology = prices();
            topology.connect_source_store_and_topic("prices", "prices", consumed.clone())?;
            Ok::<_, Error>(topology.source_changelogs["prices"].rows.row(&record(key, value)))
        };
        let (apples, thirty) = (Some(b"apples".as_slice()), 30_i64.to_be_bytes());
        let row = |value: Option<&[u8]>, time| {
            let (key, value) = (b"apples".to_vec(), value.map(<[u8]>::to_vec));
            Some(EncodedRow { key, value, timestamp: Timestamp::from_millis(time) })
        };
        assert_eq!(row_of(&consumed, apples, Some(&thirty))?, row(Some(&thirty), 7));
        assert_eq!(row_of(&by_value, apples, Some(&thirty))?, row(Some(&thirty), 30));
        assert_eq!(row_of(&consumed, apples, None)?, row(None, 7));
        assert_eq!(row_of(&consumed, None, Some(&thirty))?, None, "a record without a key is dropped");
        assert_eq!(row_of(&consumed, apples, Some(b"thirty"))?, None, "no number: it was passed over");
        let minus = (-30_i64).to_be_bytes();
        assert_eq!(row_of(&by_value, apples, Some(&minus))?, None, "there is no time before 0");
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
