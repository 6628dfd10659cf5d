//! Where a serde is used: of which topic's keys or values, in which application. Serdes that differ from place to place are
//! settled before records flow, so that nothing has to be looked up for a record.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Encoded, Serde, SerdeError, SerdeRef};
use crate::schema::{SchemaMatch, SchemaRegistry};

/// What an application settles for all of its serdes: the registry of its schemas, and serdes for types in place of their usual ones.
///
/// ```
/// use std::sync::Arc;
/// use millstream_state_stores::{ApplicationSerdes, Encoded, HasSerde, JsonSerde, RecordPart, SerdePlace};
///
/// // Numbers are text in the topics of this application.
/// let serdes = ApplicationSerdes::default().with_serde::<i64>(Arc::new(JsonSerde::new()));
/// let numbers = SerdePlace::new("orders", RecordPart::Value, &serdes).bind(&i64::default_serde())?;
/// let mut bytes = Vec::new();
/// assert_eq!(numbers.encode(&42, &mut bytes)?, Encoded::Bytes);
/// assert_eq!(bytes, b"42");
/// # Ok::<(), millstream_state_stores::SerdeError>(())
/// ```
#[derive(Clone, Default)]
pub struct ApplicationSerdes {
    schema_registry: Option<SchemaRegistry>,
    /// By the type, a `SerdeRef` of it.
    of_types: BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl ApplicationSerdes {
    /// Registers the schemas of the types that have one, and reads by the schemas that others registered.
    #[must_use]
    pub fn with_schema_registry(mut self, registry: SchemaRegistry) -> Self {
        self.schema_registry = Some(registry);
        self
    }

    /// Uses this serde for the type wherever none is named (Kafka Streams' `default.key.serde` and `default.value.serde`, for each type). It is
    /// not the type's [`default_serde`](crate::HasSerde::default_serde), which asks for this one.
    #[must_use]
    pub fn with_serde<T: 'static>(mut self, serde: SerdeRef<T>) -> Self {
        self.of_types.insert(TypeId::of::<T>(), Arc::new(serde));
        self
    }

    fn serde_of<T: 'static>(&self) -> Option<SerdeRef<T>> {
        self.of_types.get(&TypeId::of::<T>())?.downcast_ref::<SerdeRef<T>>().cloned()
    }
}

impl fmt::Debug for ApplicationSerdes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ApplicationSerdes")
            .field("schema_registry", &self.schema_registry)
            .field("types", &self.of_types.len())
            .finish()
    }
}

/// One of the two parts of a record that have serdes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordPart {
    /// The key.
    Key,
    /// The value.
    Value,
}

/// What is done with the bytes in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    /// They are written, and may be read.
    Written,
    /// They are read.
    Read,
    /// They are read if they are of an older version of the type: what others write today need not fit.
    ReadIfOlder,
}

/// One place where a serde is used. [`Serde::in_place`] is asked for each, before records flow.
#[derive(Clone, Copy, Debug)]
pub struct SerdePlace<'a> {
    /// None: whichever a record names.
    topic: Option<&'a str>,
    part: RecordPart,
    usage: Usage,
    serdes: &'a ApplicationSerdes,
}

impl<'a> SerdePlace<'a> {
    /// A topic, by its name in Kafka, whose keys or values are written. Of a store the topic is its changelog.
    pub fn new(topic: &'a str, part: RecordPart, serdes: &'a ApplicationSerdes) -> Self {
        Self { topic: Some(topic), part, usage: Usage::Written, serdes }
    }

    /// The topics that records name which are written: whichever these are, the serde is the same.
    pub fn of_any_topic(part: RecordPart, serdes: &'a ApplicationSerdes) -> Self {
        Self { topic: None, part, usage: Usage::Written, serdes }
    }

    /// The same place, if nothing is written there.
    #[must_use]
    pub fn only_read(self) -> Self {
        Self { usage: Usage::Read, ..self }
    }

    /// The same place under another topic's name: of one of several types that a topic's records carry.
    pub(crate) fn within<'b>(self, topic: &'b str) -> SerdePlace<'b>
    where
        'a: 'b,
    {
        SerdePlace { topic: Some(topic), ..self }
    }

    pub(crate) fn only_read_if_older(self) -> Self {
        Self { usage: Usage::ReadIfOlder, ..self }
    }

    pub(crate) fn usage(self) -> Usage {
        self.usage
    }

    /// The topic, by its name in Kafka; none if each record names one.
    pub fn topic(&self) -> Option<&'a str> {
        self.topic
    }

    /// Whether keys or values have the serde.
    pub fn part(&self) -> RecordPart {
        self.part
    }

    /// The registry of the application's schemas, if it has one.
    pub fn schema_registry(&self) -> Option<&'a SchemaRegistry> {
        self.serdes.schema_registry.as_ref()
    }

    /// The serde as it is in this place.
    ///
    /// # Errors
    /// What [`Serde::in_place`] says.
    pub fn bind<T>(&self, serde: &SerdeRef<T>) -> Result<SerdeRef<T>, SerdeError> {
        Ok(serde.in_place(self)?.unwrap_or_else(|| Arc::clone(serde)))
    }
}

/// The serde that a type has where none is named: the application's for that type, or the type's own.
pub(super) struct DefaultSerde<T> {
    own: SerdeRef<T>,
}

impl<T> DefaultSerde<T> {
    pub(super) fn new(own: SerdeRef<T>) -> Self {
        Self { own }
    }
}

impl<T: 'static> Serde<T> for DefaultSerde<T> {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        self.own.encode(value, out)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        self.own.decode(bytes)
    }

    fn decode_null(&self) -> Result<T, SerdeError> {
        self.own.decode_null()
    }

    fn in_place(&self, place: &SerdePlace<'_>) -> Result<Option<SerdeRef<T>>, SerdeError> {
        let serde = place.serdes.serde_of::<T>();
        place.bind(serde.as_ref().unwrap_or(&self.own)).map(Some)
    }

    fn schema_match(&self, bytes: &[u8]) -> Result<SchemaMatch, SerdeError> {
        self.own.schema_match(bytes)
    }

    fn never_begins_with_ff(&self) -> bool {
        self.own.never_begins_with_ff()
    }

    fn unhashed_key_bytes(&self) -> usize {
        self.own.unhashed_key_bytes()
    }

    fn key_from_text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.own.key_from_text(text, out)
    }

    fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        self.own.to_json(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serde::{HasSerde, JsonSerde, RecordField};
    use crate::window::Windowed;

    fn text_of<T>(serde: &SerdeRef<T>, value: &T) -> String {
        let mut bytes = Vec::new();
        serde.encode(value, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_serde_of_a_type_is_found_within_others() {
        let serdes = ApplicationSerdes::default().with_serde::<String>(Arc::new(JsonSerde::new()));
        let place = SerdePlace::new("orders", RecordPart::Key, &serdes);
        let optional = place.bind(&<Option<String>>::field_serde()).unwrap();
        assert_eq!(text_of(&optional, &Some("apples".to_string())), "\"apples\"");
        let windowed = place.bind(&<Windowed<String>>::default_serde()).unwrap();
        let mut key = Vec::new();
        windowed.key_from_text("apples@1/2", &mut key).unwrap();
        assert!(key.starts_with(b"\"apples\""), "{key:?}");
    }

    #[test]
    fn a_serde_that_is_named_is_not_replaced() {
        let serdes = ApplicationSerdes::default().with_serde::<String>(Arc::new(JsonSerde::new()));
        let place = SerdePlace::new("orders", RecordPart::Key, &serdes);
        assert_eq!(text_of(&place.bind(&String::serde()).unwrap(), &"apples".into()), "apples");
        let nothing = ApplicationSerdes::default();
        let place = SerdePlace::new("orders", RecordPart::Key, &nothing);
        assert_eq!(text_of(&place.bind(&String::default_serde()).unwrap(), &"apples".into()), "apples");
    }
}
