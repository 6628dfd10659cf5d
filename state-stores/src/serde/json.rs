//! Values as JSON text, for types that `serde` can serialise.

mod fit;

use std::any::type_name;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Encoded, Serde, SerdeError, SerdePlace, SerdeRef};
use crate::schema::{RegisteredSerde, Schema, SchemaFormat, SchemaKind, SchemaMatch};

/// Writes a `T` as compact JSON in UTF-8; by a JSON Schema, if it has one and the application has a schema registry.
///
/// ```
/// use millstream_state_stores::{JsonSerde, Serde};
///
/// let serde = JsonSerde::<Vec<u32>>::new();
/// let mut bytes = Vec::new();
/// serde.encode(&vec![1, 2], &mut bytes)?;
/// assert_eq!(bytes, b"[1,2]");
/// assert_eq!(serde.decode(&bytes)?, [1, 2]);
/// # Ok::<(), millstream_state_stores::SerdeError>(())
/// ```
pub struct JsonSerde<T> {
    pub(super) schema: Option<&'static str>,
    types: PhantomData<fn() -> T>,
}

impl<T> JsonSerde<T> {
    /// The serde of `T`.
    pub const fn new() -> Self {
        Self { schema: None, types: PhantomData }
    }

    /// The serde of `T`, whose JSON Schema this is. It is registered, and not checked for each value: the type says what is written and read.
    pub const fn with_schema(schema: &'static str) -> Self {
        Self { schema: Some(schema), types: PhantomData }
    }
}

impl<T> Default for JsonSerde<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Serde<T> for JsonSerde<T> {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        Owned::new().encode(value, out).map(|()| Encoded::Bytes)
    }

    #[inline]
    fn decode(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        Owned::new().decode(bytes)
    }

    fn in_place(&self, place: &SerdePlace<'_>) -> Result<Option<SerdeRef<T>>, SerdeError> {
        in_place(self.schema, &Owned::new(), place)
    }

    fn never_begins_with_ff(&self) -> bool {
        true
    }

    /// The text is JSON; or, for types that are a string in JSON, that string without its quotes.
    fn key_from_text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.encode(&value_from_text(text)?, out).map(|_bytes| ())
    }

    fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        serde_json::from_slice(bytes).map_err(json_error::<T>)
    }
}

/// What is made of JSON, and JSON of it.
pub(super) trait JsonCodec: Clone + Send + Sync + 'static {
    type Value: 'static;

    fn encode(&self, value: &Self::Value, out: &mut Vec<u8>) -> Result<(), SerdeError>;

    fn decode(&self, bytes: &[u8]) -> Result<Self::Value, SerdeError>;

    fn value_from_text(&self, text: &str) -> Result<Self::Value, SerdeError>;
}

/// A value of the type whose JSON it is.
struct Owned<T> {
    types: PhantomData<fn() -> T>,
}

impl<T> Owned<T> {
    fn new() -> Self {
        Self { types: PhantomData }
    }
}

impl<T> Clone for Owned<T> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<T: Serialize + DeserializeOwned + 'static> JsonCodec for Owned<T> {
    type Value = T;

    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        serde_json::to_writer(out, value).map_err(json_error::<T>)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        from_json(bytes)
    }

    fn value_from_text(&self, text: &str) -> Result<T, SerdeError> {
        value_from_text(text)
    }
}

/// The serde by a JSON Schema, if there is one and the application has a schema registry.
pub(super) fn in_place<C: JsonCodec>(
    schema: Option<&'static str>,
    codec: &C,
    place: &SerdePlace<'_>,
) -> Result<Option<SerdeRef<C::Value>>, SerdeError> {
    let (Some(schema), Some(registry)) = (schema, place.schema_registry()) else { return Ok(None) };
    let format = JsonFormat::new(schema, codec.clone())?;
    Ok(Some(Arc::new(RegisteredSerde::in_place(&format, registry, place)?)))
}

/// A type that is written as JSON, and has a JSON Schema.
#[derive(Clone)]
struct JsonFormat<C> {
    schema: Schema,
    /// The schema's JSON.
    own: Arc<serde_json::Value>,
    title: Option<String>,
    codec: C,
}

impl<C: JsonCodec> JsonFormat<C> {
    fn new(text: &str, codec: C) -> Result<Self, SerdeError> {
        let own: serde_json::Value = serde_json::from_str(text).map_err(|source| SerdeError::Schema {
            type_name: type_name::<C::Value>(),
            problem: "is no JSON",
            source: source.into(),
        })?;
        let title = own.get("title").and_then(serde_json::Value::as_str).map(str::to_owned);
        Ok(Self { schema: Schema::new(SchemaKind::Json, text), own: Arc::new(own), title, codec })
    }
}

impl<C: JsonCodec> SchemaFormat for JsonFormat<C> {
    type Value = C::Value;
    type Reader = ();

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn record_name(&self) -> Option<&str> {
        self.title.as_deref()
    }

    fn preamble(&self, _written: &Schema) -> Result<Vec<u8>, SerdeError> {
        Ok(Vec::new())
    }

    fn writing_by(&self, schema: &Schema) -> Result<Self, SerdeError> {
        match parsed(schema).and_then(|newest| fit::refusal(&self.own, &newest)) {
            Some((path, reason)) => Err(SerdeError::unfit_for_newest::<C::Value>(&path, &reason)),
            None => Ok(self.clone()),
        }
    }

    fn compare(&self, written: &Schema) -> SchemaMatch {
        parsed(written).map_or(SchemaMatch::Other, |written| fit::schema_match(&written, &self.own))
    }

    /// Values are read without their schema.
    fn reader(&self, _writer: &Schema) -> Result<(), SerdeError> {
        Ok(())
    }

    fn contradiction(&self, newest: &Schema) -> Option<String> {
        fit::contradiction(&parsed(newest)?, &self.own)
    }

    fn encode(&self, value: &C::Value, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.codec.encode(value, out)
    }

    fn decode(&self, (): &(), bytes: &[u8]) -> Result<C::Value, SerdeError> {
        self.codec.decode(bytes)
    }

    fn to_json(&self, (): &(), bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        serde_json::from_slice(bytes).map_err(json_error::<C::Value>)
    }

    fn value_from_text(&self, text: &str) -> Result<C::Value, SerdeError> {
        self.codec.value_from_text(text)
    }
}

fn parsed(schema: &Schema) -> Option<serde_json::Value> {
    serde_json::from_str(&schema.text).ok()
}

/// The value, which may borrow from its JSON.
#[inline]
pub(super) fn from_json<'json, T: Deserialize<'json>>(bytes: &'json [u8]) -> Result<T, SerdeError> {
    serde_json::from_slice(bytes).map_err(|_| undecodable::<T>(bytes))
}

/// The value of which the text is the JSON; or, for types that are a string in JSON, that string without its quotes.
pub(super) fn value_from_text<T: DeserializeOwned>(text: &str) -> Result<T, SerdeError> {
    let from_string = |_| serde_json::from_value(text.into());
    serde_json::from_str(text)
        .or_else(from_string)
        .map_err(|error| SerdeError::invalid_text::<T>(text, error))
}

/// Why the bytes are no `T`, with the path of the field that does not fit.
#[cold]
fn undecodable<'json, T: Deserialize<'json>>(bytes: &'json [u8]) -> SerdeError {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Err(error) => {
            let path = error.path().to_string();
            json_error_at::<T>(path, error.into_inner())
        }
        Ok(_) => match deserializer.end() {
            Err(after) => json_error::<T>(after),
            Ok(()) => SerdeError::invalid_value::<T>("they are read at one time and not at another"),
        },
    }
}

pub(super) fn json_error<T>(source: serde_json::Error) -> SerdeError {
    json_error_at::<T>(".".to_owned(), source)
}

fn json_error_at<T>(path: String, source: serde_json::Error) -> SerdeError {
    let (line, column) = (source.line(), source.column());
    SerdeError::Json { type_name: type_name::<T>(), path, line, column, source }
}

/// Says that the named types are written to Kafka as JSON: implements [`HasSerde`](crate::HasSerde) for each of them.
///
/// ```
/// use millstream_state_stores::{HasSerde, json_serde};
///
/// #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// struct StockMoved {
///     sku: String,
///     quantity: i64,
/// }
/// json_serde!(StockMoved);
///
/// let moved = StockMoved::serde().decode(br#"{"sku":"apples","quantity":-3}"#)?;
/// assert_eq!(moved.quantity, -3);
/// # Ok::<(), millstream_state_stores::SerdeError>(())
/// ```
///
/// With a JSON Schema, the type is written by that where the application has a schema registry
/// ([`SchemaRegistry`](crate::SchemaRegistry)): `json_serde!(Order, schema = include_str!("order.json"));`
#[macro_export]
macro_rules! json_serde {
    ($type:ty, schema = $schema:expr $(,)?) => {
        impl $crate::HasSerde for $type {
            fn serde() -> $crate::SerdeRef<Self> {
                ::std::sync::Arc::new($crate::JsonSerde::<$type>::with_schema($schema))
            }
        }
    };
    ($($type:ty),+ $(,)?) => {
        $(
            impl $crate::HasSerde for $type {
                fn serde() -> $crate::SerdeRef<Self> {
                    ::std::sync::Arc::new($crate::JsonSerde::<$type>::new())
                }
            }
        )+
    };
}

#[cfg(test)]
mod tests {
    use crate::serde::{HasSerde, JsonSerde, Serde, SerdeError};

    #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Order {
        sku: String,
        quantity: u32,
    }
    json_serde!(Order);

    #[test]
    fn round_trips_and_appends() {
        let order = Order { sku: "apples".into(), quantity: 3 };
        let mut bytes = b"already here ".to_vec();
        Order::serde().encode(&order, &mut bytes).unwrap();
        let json = bytes.strip_prefix(b"already here ").unwrap();
        assert_eq!(json, br#"{"sku":"apples","quantity":3}"#);
        assert_eq!(Order::serde().decode(json).unwrap(), order);
    }

    #[test]
    fn a_key_in_text_is_its_json_in_any_spelling() {
        let mut bytes = Vec::new();
        Order::serde().key_from_text(r#"{ "quantity": 3, "sku": "apples" }"#, &mut bytes).unwrap();
        assert_eq!(
            bytes, br#"{"sku":"apples","quantity":3}"#,
            "the bytes are those of the type, not of the text"
        );
        assert_eq!(
            Order::serde().to_json(&bytes).unwrap(),
            serde_json::json!({"sku": "apples", "quantity": 3})
        );
        let error = Order::serde().key_from_text("apples", &mut bytes).unwrap_err();
        assert!(error.to_string().starts_with("\"apples\" is no `"), "{error}");
    }

    #[test]
    fn a_key_that_is_a_json_string_needs_no_quotes() {
        for text in ["apples", "\"apples\""] {
            let mut bytes = Vec::new();
            JsonSerde::<String>::new().key_from_text(text, &mut bytes).unwrap();
            assert_eq!(bytes, br#""apples""#);
        }
    }

    #[test]
    fn a_float_is_read_as_it_was_written() {
        // The library's quick way is a bit off for these.
        for float in [9.024432746515417e-138, 31.245270191439438_f64] {
            let mut bytes = Vec::new();
            JsonSerde::new().encode(&float, &mut bytes).unwrap();
            assert_eq!(JsonSerde::<f64>::new().decode(&bytes).unwrap().to_bits(), float.to_bits());
        }
    }

    #[test]
    fn an_error_names_type_line_and_column() {
        let error = Order::serde().decode(b"{\n  \"sku\": 7}").unwrap_err();
        let SerdeError::Json { type_name, line: 2, column, .. } = &error else { panic!("{error:?}") };
        assert!(type_name.ends_with("Order"), "{type_name}");
        assert_eq!(*column, 10);
        let text = error.to_string();
        assert!(text.starts_with("line 2, column 10 (field sku) is no JSON of a "), "{text}");
    }

    #[test]
    fn an_error_names_the_path_of_the_field() {
        let error =
            JsonSerde::<Vec<Order>>::new().decode(br#"[{"sku":"a","quantity":1},{"sku":"b","quantity":-1}]"#);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("(field [1].quantity)"), "{error}");
        assert!(Order::serde().decode(br#"{"sku":"a","quantity":1} more"#).is_err());
    }
}
