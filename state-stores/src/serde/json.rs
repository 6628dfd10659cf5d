//! Values as JSON text, for types that `serde` can serialise.

use std::any::type_name;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Encoded, Serde, SerdeError};

/// Writes a `T` as compact JSON in UTF-8.
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
    types: PhantomData<fn() -> T>,
}

impl<T> JsonSerde<T> {
    /// The serde of `T`; it has no options.
    pub const fn new() -> Self {
        Self { types: PhantomData }
    }
}

impl<T> Default for JsonSerde<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Serialize + DeserializeOwned> Serde<T> for JsonSerde<T> {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        serde_json::to_writer(out, value).map_err(json_error::<T>)?;
        Ok(Encoded::Bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        serde_json::from_slice(bytes).map_err(json_error::<T>)
    }

    /// The text is JSON; or, for types that are a string in JSON, that string without its quotes.
    fn key_from_text(&self, text: &str, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let from_string = |_| serde_json::from_value(text.into());
        let key: T = serde_json::from_str(text)
            .or_else(from_string)
            .map_err(|error| SerdeError::invalid_text::<T>(text, error))?;
        self.encode(&key, out).map(|_bytes| ())
    }

    fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        serde_json::from_slice(bytes).map_err(json_error::<T>)
    }
}

fn json_error<T>(source: serde_json::Error) -> SerdeError {
    SerdeError::Json { type_name: type_name::<T>(), line: source.line(), column: source.column(), source }
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
#[macro_export]
macro_rules! json_serde {
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
    fn an_error_names_type_line_and_column() {
        let error = Order::serde().decode(b"{\n  \"sku\": 7}").unwrap_err();
        let SerdeError::Json { type_name, line: 2, column, .. } = &error else { panic!("{error:?}") };
        assert!(type_name.ends_with("Order"), "{type_name}");
        assert_eq!(*column, 10);
        assert!(error.to_string().starts_with("line 2, column 10 is no JSON of a "), "{error}");
    }
}
