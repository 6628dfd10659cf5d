//! Typed access to the topics of a test driver.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use millstream_state_stores::{Encoded, Offset, RecordField, RecordPart, SerdeError, SerdeRef, Timestamp};

use super::driver::{Core, OwnedMessage};
use crate::api::{Headers, Record};
use crate::error::Result;

/// Writes records into a topic of a [`TopologyTestDriver`](super::TopologyTestDriver).
pub struct TestInputTopic<K, V> {
    core: Rc<RefCell<Core>>,
    topic: String,
    settled: OnceCell<(SerdeRef<K>, SerdeRef<V>)>,
}

impl<K: RecordField, V: RecordField> TestInputTopic<K, V> {
    pub(super) fn new(core: Rc<RefCell<Core>>, topic: &str) -> Self {
        TestInputTopic { core, topic: topic.to_string(), settled: OnceCell::new() }
    }

    /// Writes a record with the driver's wall-clock time, and processes it.
    ///
    /// # Errors
    /// Whatever processing fails with; then the driver should not be used further.
    pub fn pipe_input(&self, key: impl Into<K>, value: impl Into<V>) -> Result<()> {
        let now = self.core.borrow().now();
        self.pipe_input_at(key, value, now)
    }

    /// Writes a record with this event time, and processes it.
    ///
    /// # Errors
    /// As [`TestInputTopic::pipe_input`].
    pub fn pipe_input_at(&self, key: impl Into<K>, value: impl Into<V>, timestamp: Timestamp) -> Result<()> {
        self.pipe_record(Record::new(key.into(), value.into(), timestamp))
    }

    /// Writes a whole record, headers included, and processes it.
    ///
    /// # Errors
    /// As [`TestInputTopic::pipe_input`].
    pub fn pipe_record(&self, record: Record<K, V>) -> Result<()> {
        let (key_serde, value_serde) = self.serdes()?;
        let (key, value) = (encode(key_serde, &record.key)?, encode(value_serde, &record.value)?);
        self.pipe(key, value, record.timestamp, record.headers)
    }

    /// The serdes as they are in the topic.
    fn serdes(&self) -> Result<&(SerdeRef<K>, SerdeRef<V>)> {
        if let Some(settled) = self.settled.get() {
            return Ok(settled);
        }
        let core = self.core.borrow();
        let settled = (
            core.tasks.to_write(&self.topic, RecordPart::Key, &K::field_serde())?,
            core.tasks.to_write(&self.topic, RecordPart::Value, &V::field_serde())?,
        );
        Ok(self.settled.get_or_init(|| settled))
    }

    /// Writes records as bytes, such as ones that do not decode.
    ///
    /// # Errors
    /// As [`TestInputTopic::pipe_input`].
    pub fn pipe_raw(&self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<()> {
        let now = self.core.borrow().now();
        self.pipe(key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec), now, Headers::default())
    }

    fn pipe(
        &self,
        key: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        timestamp: Timestamp,
        headers: Headers,
    ) -> Result<()> {
        let message = OwnedMessage { offset: Offset::new(0), timestamp, key, value, headers };
        self.core.borrow_mut().pipe(&self.topic, message)
    }
}

pub(super) fn encode<T>(serde: &SerdeRef<T>, field: &T) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    Ok(match serde.encode(field, &mut bytes)? {
        Encoded::Bytes => Some(bytes),
        Encoded::Null => None,
    })
}

/// Reads records from a topic of a [`TopologyTestDriver`](super::TopologyTestDriver), each once, in the order they were written.
pub struct TestOutputTopic<K, V> {
    core: Rc<RefCell<Core>>,
    topic: String,
    key_serde: SerdeRef<K>,
    value_serde: SerdeRef<V>,
    settled: OnceCell<(SerdeRef<K>, SerdeRef<V>)>,
}

impl<K, V> TestOutputTopic<K, V> {
    pub(super) fn new(
        core: Rc<RefCell<Core>>,
        topic: &str,
        key_serde: SerdeRef<K>,
        value_serde: SerdeRef<V>,
    ) -> Self {
        TestOutputTopic { core, topic: topic.to_string(), key_serde, value_serde, settled: OnceCell::new() }
    }

    /// The serdes as they are in the topic.
    fn serdes(&self) -> Result<&(SerdeRef<K>, SerdeRef<V>)> {
        if let Some(settled) = self.settled.get() {
            return Ok(settled);
        }
        let core = self.core.borrow();
        let settled = (
            core.tasks.to_read(&self.topic, RecordPart::Key, &self.key_serde)?,
            core.tasks.to_read(&self.topic, RecordPart::Value, &self.value_serde)?,
        );
        Ok(self.settled.get_or_init(|| settled))
    }

    /// The next record, if there is one.
    ///
    /// # Errors
    /// `Record` if it does not decode.
    pub fn read_record(&self) -> Result<Option<Record<K, V>>> {
        let Some(message) = self.core.borrow_mut().take_output(&self.topic) else { return Ok(None) };
        let (key_serde, value_serde) = self.serdes()?;
        Ok(Some(Record {
            key: decode(key_serde, message.key.as_deref())?,
            value: decode(value_serde, message.value.as_deref())?,
            timestamp: message.timestamp,
            headers: message.headers,
        }))
    }

    /// Key and value of the next record, if there is one.
    ///
    /// # Errors
    /// As [`TestOutputTopic::read_record`].
    pub fn read_key_value(&self) -> Result<Option<(K, V)>> {
        Ok(self.read_record()?.map(|record| (record.key, record.value)))
    }

    /// Keys and values of all records that are left.
    ///
    /// # Errors
    /// As [`TestOutputTopic::read_record`].
    pub fn read_key_values_to_list(&self) -> Result<Vec<(K, V)>> {
        Ok(self.read_records_to_list()?.into_iter().map(|record| (record.key, record.value)).collect())
    }

    /// All records that are left.
    ///
    /// # Errors
    /// As [`TestOutputTopic::read_record`].
    pub fn read_records_to_list(&self) -> Result<Vec<Record<K, V>>> {
        let mut records = Vec::new();
        while let Some(record) = self.read_record()? {
            records.push(record);
        }
        Ok(records)
    }

    /// How many records are left.
    pub fn len(&self) -> usize {
        self.core.borrow().output_len(&self.topic)
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn decode<T>(serde: &SerdeRef<T>, bytes: Option<&[u8]>) -> Result<T, SerdeError> {
    match bytes {
        Some(bytes) => serde.decode(bytes),
        None => serde.decode_null(),
    }
}
