//! Values as Protocol Buffers messages, for types of `prost`.

mod file;
mod fit;

use std::any::type_name;
use std::marker::PhantomData;
use std::sync::Arc;

use prost::Message;

use self::file::{File, TypeId};
use self::fit::{Fit, Side, compare};
use super::{Encoded, Serde, SerdeError, SerdePlace, SerdeRef};
use crate::format::{message_index, split_message_index};
use crate::schema::{RegisteredSerde, Schema, SchemaFormat, SchemaKind, SchemaMatch};

/// Writes a `prost` message; behind the id of its registered schema, if it has one and the application has a schema registry.
///
/// ```
/// use millstream_state_stores::{ProtobufSerde, Serde};
///
/// #[derive(Clone, PartialEq, prost::Message)]
/// struct Order {
///     #[prost(string, tag = "1")]
///     sku: String,
/// }
///
/// let serde = ProtobufSerde::<Order>::new();
/// let mut bytes = Vec::new();
/// serde.encode(&Order { sku: "apples".into() }, &mut bytes)?;
/// assert_eq!(bytes, b"\x0a\x06apples");
/// # Ok::<(), millstream_state_stores::SerdeError>(())
/// ```
pub struct ProtobufSerde<T> {
    schema: Option<FileAndMessage>,
    types: PhantomData<fn() -> T>,
}

/// A `.proto` file, and the full name of one of its messages.
#[derive(Clone, Copy)]
struct FileAndMessage {
    file: &'static str,
    message: &'static str,
}

impl<T> ProtobufSerde<T> {
    /// The serde of `T`.
    pub const fn new() -> Self {
        Self { schema: None, types: PhantomData }
    }

    /// The serde of `T`, which is the message of this full name in this `.proto` file. The file is registered. It may import what comes with
    /// Protocol Buffers, but no file of its own.
    pub const fn with_schema(file: &'static str, message: &'static str) -> Self {
        Self { schema: Some(FileAndMessage { file, message }), types: PhantomData }
    }
}

impl<T> Default for ProtobufSerde<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Message + Default + 'static> Serde<T> for ProtobufSerde<T> {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        value.encode(out).map_err(SerdeError::custom::<T>)?;
        Ok(Encoded::Bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        T::decode(bytes).map_err(|error| undecodable::<T>(&error))
    }

    /// A message begins with the number and the kind of a field, and 0xff is of a kind that there is not.
    fn never_begins_with_ff(&self) -> bool {
        true
    }

    fn in_place(&self, place: &SerdePlace<'_>) -> Result<Option<SerdeRef<T>>, SerdeError> {
        let (Some(schema), Some(registry)) = (self.schema, place.schema_registry()) else { return Ok(None) };
        let format = ProtobufFormat::<T>::new(schema)?;
        Ok(Some(Arc::new(RegisteredSerde::in_place(&format, registry, place)?)))
    }
}

/// A message of a registered file.
struct ProtobufFormat<T> {
    schema: Schema,
    message: &'static str,
    own: Arc<MessageOfFile>,
    types: PhantomData<fn() -> T>,
}

impl<T> Clone for ProtobufFormat<T> {
    fn clone(&self) -> Self {
        let Self { schema, message, own, types } = self;
        Self { schema: schema.clone(), message, own: Arc::clone(own), types: *types }
    }
}

impl<T> ProtobufFormat<T> {
    fn new(schema: FileAndMessage) -> Result<Self, SerdeError> {
        let FileAndMessage { file, message } = schema;
        let own = MessageOfFile::of(file, message).map_err(|names| SerdeError::Schema {
            type_name: type_name::<T>(),
            problem: "does not have its message",
            source: missing_message(message, &names).into(),
        })?;
        let schema = Schema::new(SchemaKind::Protobuf, file);
        Ok(Self { schema, message, own: Arc::new(own), types: PhantomData })
    }

    fn message_of(&self, written: &Schema) -> Result<MessageOfFile, SerdeError> {
        MessageOfFile::of(&written.text, self.message)
            .map_err(|names| SerdeError::invalid_value::<T>(missing_message(self.message, &names)))
    }
}

fn missing_message(message: &str, names: &str) -> String {
    format!("a message `{message}` should be in its file, which has {names}")
}

impl<T: Message + Default + 'static> SchemaFormat for ProtobufFormat<T> {
    type Value = T;
    type Reader = MessageOfFile;

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn record_name(&self) -> Option<&str> {
        Some(self.message)
    }

    /// The place of the message in the file.
    fn preamble(&self, written: &Schema) -> Result<Vec<u8>, SerdeError> {
        Ok(self.message_of(written)?.index)
    }

    fn writing_by(&self, schema: &Schema) -> Result<Self, SerdeError> {
        let newest = self.message_of(schema)?;
        let Fit { misfit, left_out, change, .. } = compare(self.own.side(), newest.side());
        match misfit.or(left_out).or(change) {
            Some(misfit) => Err(SerdeError::unfit_for_newest::<T>(&misfit.path, &misfit.reason)),
            None => Ok(self.clone()),
        }
    }

    fn compare(&self, written: &Schema) -> SchemaMatch {
        self.message_of(written)
            .map_or(SchemaMatch::Other, |written| compare(written.side(), self.own.side()).schema_match())
    }

    fn reader(&self, written: &Schema) -> Result<Self::Reader, SerdeError> {
        let written = self.message_of(written)?;
        match compare(written.side(), self.own.side()).misfit {
            Some(misfit) => Err(SerdeError::field::<T>(&misfit.path, misfit.reason)),
            None => Ok(written),
        }
    }

    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        value.encode(out).map_err(SerdeError::custom::<T>)
    }

    fn decode(&self, file: &MessageOfFile, bytes: &[u8]) -> Result<T, SerdeError> {
        let message = match bytes.strip_prefix(file.index.as_slice()) {
            Some(message) => message,
            None => self.without_index(file, bytes)?,
        };
        T::decode(message).map_err(|error| undecodable::<T>(&error))
    }

    fn to_json(&self, _file: &MessageOfFile, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        Ok(serde_json::json!({ "hex": super::hex::encode(bytes) }))
    }

    fn value_from_text(&self, _text: &str) -> Result<T, SerdeError> {
        Err(SerdeError::NoTextForm { type_name: type_name::<T>() })
    }
}

impl<T> ProtobufFormat<T> {
    /// The message behind bytes that do not say which it is as they usually do.
    #[cold]
    fn without_index<'a>(&self, file: &MessageOfFile, bytes: &'a [u8]) -> Result<&'a [u8], SerdeError> {
        let broken = || SerdeError::invalid_value::<T>("they do not say which message of the file they are");
        let (place, message) = split_message_index(bytes).ok_or_else(broken)?;
        let name = file.file.name_at(&place).ok_or_else(broken)?;
        if name == self.message {
            return Ok(message);
        }
        let reason = format!("they are a message `{name}`, not `{}`", self.message);
        Err(SerdeError::invalid_value::<T>(reason))
    }
}

/// Why the bytes are no `T`, with the path of the field that does not fit. `prost` has both in one text: `Line.quantity: Order.lines: ` and the
/// reason, from the inside out.
#[cold]
fn undecodable<T>(error: &prost::DecodeError) -> SerdeError {
    let text = error.to_string();
    let mut reason = text.strip_prefix("failed to decode Protobuf message: ").unwrap_or(&text);
    let mut path = Vec::new();
    while let Some((message_and_field, rest)) = reason.split_once(": ")
        && let Some((message, field)) = message_and_field.split_once('.')
        && !message.contains(' ')
    {
        path.insert(0, field);
        reason = rest;
    }
    let path = if path.is_empty() { ".".to_owned() } else { path.join(".") };
    SerdeError::field::<T>(&path, reason)
}

/// The type's message in a file by which values are written.
struct MessageOfFile {
    file: File,
    message: TypeId,
    /// How bytes say that they are the type's own message.
    index: Vec<u8>,
}

/// How many names of messages an error lists at most.
const SHOWN: usize = 20;

impl MessageOfFile {
    /// The names of other messages if the file does not have this one.
    fn of(text: &str, message: &str) -> Result<Self, String> {
        let file = File::parse(text);
        match file.message(message) {
            Some(message) => Ok(Self { index: message_index(&file.place(message)), message, file }),
            None => {
                let names: Vec<_> = file.message_names().take(SHOWN).collect();
                Err(if names.is_empty() { "none".to_owned() } else { names.join(", ") })
            }
        }
    }

    fn side(&self) -> Side<'_> {
        Side { file: &self.file, message: self.message }
    }
}

/// Says that the named types, which are messages of `prost`, are written to Kafka as such: implements [`HasSerde`](crate::HasSerde) for each of
/// them. With its file and full name, a message is registered where the application has a schema registry. See
/// [`ProtobufSerde`](crate::ProtobufSerde).
///
/// ```
/// use millstream_state_stores::{HasSerde, protobuf_serde};
///
/// #[derive(Clone, PartialEq, prost::Message)]
/// struct StockMoved {
///     #[prost(sint64, tag = "1")]
///     quantity: i64,
/// }
/// protobuf_serde!(StockMoved);
///
/// #[derive(Clone, PartialEq, prost::Message)]
/// struct Order {
///     #[prost(string, tag = "1")]
///     sku: String,
/// }
/// protobuf_serde!(
///     Order,
///     schema = r#"syntax = "proto3"; package shop; message Order { string sku = 1; }"#,
///     message = "shop.Order",
/// );
///
/// assert_eq!(StockMoved::serde().decode(b"\x08\x05")?.quantity, -3);
/// # Ok::<(), millstream_state_stores::SerdeError>(())
/// ```
#[macro_export]
macro_rules! protobuf_serde {
    ($type:ty, schema = $schema:expr, message = $message:expr $(,)?) => {
        impl $crate::HasSerde for $type {
            fn serde() -> $crate::SerdeRef<Self> {
                ::std::sync::Arc::new($crate::ProtobufSerde::<$type>::with_schema($schema, $message))
            }
        }
    };
    ($($type:ty),+ $(,)?) => {
        $(
            impl $crate::HasSerde for $type {
                fn serde() -> $crate::SerdeRef<Self> {
                    ::std::sync::Arc::new($crate::ProtobufSerde::<$type>::new())
                }
            }
        )+
    };
}

#[cfg(test)]
mod tests;
