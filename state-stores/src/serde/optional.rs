//! The serde of values that may be Kafka's null.

use std::sync::Arc;

use super::{Encoded, Serde, SerdeError, SerdePlace, SerdeRef};
use crate::schema::SchemaMatch;

/// Adds null to the serde of a type: `None` is Kafka's null, `Some` is written as the type itself.
///
/// ```
/// use millstream_state_stores::{Encoded, HasSerde, OptionSerde, Serde};
///
/// let serde = OptionSerde::new(i64::serde());
/// assert_eq!(serde.encode(&None, &mut Vec::new())?, Encoded::Null);
/// assert_eq!(serde.decode_null()?, None);
/// # Ok::<(), millstream_state_stores::SerdeError>(())
/// ```
pub struct OptionSerde<T> {
    inner: SerdeRef<T>,
}

impl<T> OptionSerde<T> {
    /// Null added to `inner`.
    pub fn new(inner: SerdeRef<T>) -> Self {
        Self { inner }
    }
}

impl<T: 'static> Serde<Option<T>> for OptionSerde<T> {
    fn encode(&self, value: &Option<T>, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        match value {
            Some(value) => self.inner.encode(value, out),
            None => Ok(Encoded::Null),
        }
    }

    fn decode(&self, bytes: &[u8]) -> Result<Option<T>, SerdeError> {
        self.inner.decode(bytes).map(Some)
    }

    fn decode_null(&self) -> Result<Option<T>, SerdeError> {
        Ok(None)
    }

    fn in_place(&self, place: &SerdePlace<'_>) -> Result<Option<SerdeRef<Option<T>>>, SerdeError> {
        Ok(Some(Arc::new(OptionSerde::new(place.bind(&self.inner)?))))
    }

    fn schema_match(&self, bytes: &[u8]) -> Result<SchemaMatch, SerdeError> {
        self.inner.schema_match(bytes)
    }

    fn never_begins_with_ff(&self) -> bool {
        self.inner.never_begins_with_ff()
    }

    fn unhashed_key_bytes(&self) -> usize {
        self.inner.unhashed_key_bytes()
    }

    fn key_from_text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.inner.key_from_text(text, out)
    }

    fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        self.inner.to_json(bytes)
    }
}

#[cfg(test)]
mod tests {
    use crate::serde::{Encoded, HasSerde, OptionSerde, RecordField, Serde};

    #[test]
    fn an_empty_text_is_not_null() {
        let serde = OptionSerde::new(String::serde());
        let mut bytes = Vec::new();
        assert_eq!(serde.encode(&Some(String::new()), &mut bytes).unwrap(), Encoded::Bytes);
        assert_eq!(serde.decode(&bytes).unwrap(), Some(String::new()));
    }

    #[test]
    fn text_and_json_are_those_of_the_type() {
        let (serde, mut bytes) = (OptionSerde::new(i64::serde()), Vec::new());
        serde.key_from_text("-2", &mut bytes).unwrap();
        assert_eq!(serde.to_json(&bytes).unwrap(), -2);
    }

    #[test]
    fn record_fields_know_which_type_is_never_null() {
        assert_eq!(<Option<i64> as RecordField>::from_non_null(3).into_non_null(), Some(3));
        assert_eq!(None::<i64>.as_non_null(), None);
        assert_eq!(7_i64.as_non_null(), Some(&7));
        assert_eq!(<Option<i64>>::field_serde().decode_null().unwrap(), None);
        assert!(<i64 as RecordField>::field_serde().decode_null().is_err());
    }
}
