//! How keys and values become bytes and come back.
//!
//! [`Serde`] is the conversion itself, [`HasSerde`] gives a type its usual one, and [`RecordField`] is what a record may
//! carry: a type that is never null, or an `Option` of it. Nothing here knows about topics, registries or stores.

#[cfg(feature = "avro")]
mod avro;
mod borrowed;
mod hex;
mod json;
mod optional;
mod place;
mod primitives;
#[cfg(feature = "protobuf")]
mod protobuf;
mod tuple;
mod upcasters;
mod windowed;

use std::any::type_name;
use std::sync::Arc;

use place::DefaultSerde;

#[cfg(feature = "avro")]
pub use avro::AvroSerde;
pub use borrowed::Borrowed;
pub use json::JsonSerde;
pub use optional::OptionSerde;
pub(crate) use place::Usage;
pub use place::{ApplicationSerdes, RecordPart, SerdePlace};
#[cfg(feature = "protobuf")]
pub use protobuf::ProtobufSerde;
pub use tuple::{OrderedKey, TupleSerde};
pub use upcasters::Upcasters;
pub(crate) use windowed::windowed_json;
pub use windowed::{SessionWindowedSerde, TimeWindowedSerde};

use crate::schema::{RegistryError, SchemaId, SchemaMatch};

/// What an encoding produced: bytes (perhaps none), or Kafka's null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoded {
    /// The bytes were appended to the buffer; zero bytes are not null.
    Bytes,
    /// The value is Kafka's null; nothing was appended.
    Null,
}

/// Turns values of one type into bytes and back.
///
/// ```
/// use millstream_state_stores::{Encoded, Serde, SerdeError};
///
/// /// A price in cents, as four bytes.
/// struct Cents;
///
/// impl Serde<u32> for Cents {
///     fn encode(&self, cents: &u32, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
///         out.extend_from_slice(&cents.to_be_bytes());
///         Ok(Encoded::Bytes)
///     }
///     fn decode(&self, bytes: &[u8]) -> Result<u32, SerdeError> {
///         let bytes = bytes.try_into().map_err(|_| SerdeError::wrong_length::<u32>(4, bytes.len()))?;
///         Ok(u32::from_be_bytes(bytes))
///     }
/// }
/// assert_eq!(Cents.decode(&[0, 0, 1, 0])?, 256);
/// # Ok::<(), SerdeError>(())
/// ```
pub trait Serde<T>: Send + Sync {
    /// Appends the bytes of `value` to `out`, which may already hold others; or says that the value is null.
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<Encoded, SerdeError>;

    /// The value that was encoded as exactly `bytes`.
    fn decode(&self, bytes: &[u8]) -> Result<T, SerdeError>;

    /// The value that Kafka's null stands for; an error for types that have none.
    fn decode_null(&self) -> Result<T, SerdeError> {
        Err(SerdeError::UnexpectedNull { type_name: type_name::<T>() })
    }

    /// This serde as it is in one place, if it differs from place to place: one that writes by a registered schema does. Asked for each place
    /// before records flow, it may take its time, and may ask others over the network.
    ///
    /// # Errors
    /// If it cannot be used in that place: the application does not start.
    fn in_place(&self, _place: &SerdePlace<'_>) -> Result<Option<SerdeRef<T>>, SerdeError> {
        Ok(None)
    }

    /// How near the schema by which the bytes were written is to this serde's own, if they say by which. Tells versions of a type apart
    /// ([`Upcasters::by_schema`]).
    ///
    /// # Errors
    /// If the bytes do not say it although they should, or nobody knows that schema.
    fn schema_match(&self, _bytes: &[u8]) -> Result<SchemaMatch, SerdeError> {
        Ok(SchemaMatch::Other)
    }

    /// Whether no value's bytes begin with 0xff, which is how [`Upcasters::numbered`] marks the values that have a number. A serde that cannot promise
    /// it keeps the `false`.
    ///
    /// ```
    /// use millstream_state_stores::HasSerde;
    ///
    /// assert!(String::serde().never_begins_with_ff());
    /// assert!(!i64::serde().never_begins_with_ff(), "negative numbers do");
    /// ```
    fn never_begins_with_ff(&self) -> bool {
        false
    }

    /// How many bytes at the end of an encoded key have no say in which partition it goes to: of a windowed key those of its window.
    fn unhashed_key_bytes(&self) -> usize {
        0
    }

    /// Appends the bytes of the key that a person writes as this text, in the address of an HTTP query for instance.
    /// Types that have no such form keep the error.
    fn key_from_text(&self, _text: &str, _out: &mut Vec<u8>) -> Result<(), SerdeError> {
        Err(SerdeError::NoTextForm { type_name: type_name::<T>() })
    }

    /// The encoded value as JSON, for people and HTTP clients. Types that do not say how are shown as `{"hex": "00ff"}`.
    fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        Ok(serde_json::json!({ "hex": hex::encode(bytes) }))
    }
}

/// A serde that is shared by all who need it.
pub type SerdeRef<T> = Arc<dyn Serde<T>>;

/// A type that knows how it is written to Kafka. Implement it with one method, or with [`json_serde!`](crate::json_serde)
/// for types that `serde` can serialise; with the features of these names, `avro_serde!` and `protobuf_serde!` are for those formats.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how it is written to Kafka",
    label = "no `HasSerde` for this type",
    note = "for a type with `serde::Serialize` and `serde::Deserialize`, write `json_serde!({Self});`",
    note = "otherwise `impl HasSerde for {Self}` with one method, `serde()`, that returns its `Serde`",
    note = "where a null may be, use an `Option<..>` of a type with `HasSerde`: in the records of a stream. The rows of tables and stores \
            are never null: leave the `Option` out there",
    note = "if it is the `Result` of a closure that can fail, give the closure to the operator of the same name with `try_` before it: \
            `try_map_values`, say"
)]
pub trait HasSerde: Sized + Clone + 'static {
    /// The serde of this type.
    fn serde() -> SerdeRef<Self>;

    /// The serde for where none is named: that which the application has for this type ([`ApplicationSerdes`]), else [`serde`](Self::serde).
    fn default_serde() -> SerdeRef<Self> {
        Arc::new(DefaultSerde::new(Self::serde()))
    }
}

/// What a record carries as its key or its value: `T: HasSerde`, which is never null, or `Option<T>`, where `None` is Kafka's
/// null (a tombstone).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the key or the value of a record",
    label = "no `HasSerde` for this type",
    note = "for a type with `serde::Serialize` and `serde::Deserialize`, write `json_serde!({Self});`",
    note = "otherwise `impl HasSerde for {Self}` with one method, `serde()`, that returns its `Serde`"
)]
pub trait RecordField: Clone + 'static {
    /// The type without null.
    type NonNull: HasSerde;

    /// The serde of the field, null included.
    fn field_serde() -> SerdeRef<Self>;

    /// The value, unless it is null.
    fn as_non_null(&self) -> Option<&Self::NonNull>;

    /// The value, unless it is null.
    fn into_non_null(self) -> Option<Self::NonNull>;

    /// The field that holds `value`.
    fn from_non_null(value: Self::NonNull) -> Self;
}

impl<T: HasSerde> RecordField for T {
    type NonNull = T;

    fn field_serde() -> SerdeRef<Self> {
        T::default_serde()
    }

    fn as_non_null(&self) -> Option<&T> {
        Some(self)
    }

    fn into_non_null(self) -> Option<T> {
        Some(self)
    }

    fn from_non_null(value: T) -> Self {
        value
    }
}

impl<T: HasSerde> RecordField for Option<T> {
    type NonNull = T;

    fn field_serde() -> SerdeRef<Self> {
        Arc::new(OptionSerde::new(T::default_serde()))
    }

    fn as_non_null(&self) -> Option<&T> {
        self.as_ref()
    }

    fn into_non_null(self) -> Option<T> {
        self
    }

    fn from_non_null(value: T) -> Self {
        Some(value)
    }
}

/// Bytes that do not fit the type they should become, or a value that has no bytes. Each text names the type.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SerdeError {
    /// Kafka's null where the type has none. Declare the field as `Option<..>` if nulls mean something.
    #[error(
        "null found where `{type_name}` is never null; use `Option<{type_name}>` if a null means something"
    )]
    UnexpectedNull {
        /// The type expected.
        type_name: &'static str,
    },

    /// A type of fixed length with another number of bytes. Often a producer that writes another type.
    #[error("{found} bytes found where `{type_name}` has {expected}; does the producer write that type?")]
    WrongLength {
        /// The type expected.
        type_name: &'static str,
        /// Its length in bytes.
        expected: usize,
        /// The bytes found.
        found: usize,
    },

    /// Text that is no UTF-8.
    #[error(
        "`{type_name}` must be UTF-8, but byte {valid_up_to} of {length} is not; does the producer write text?"
    )]
    InvalidUtf8 {
        /// The type expected.
        type_name: &'static str,
        /// How many bytes were fine.
        valid_up_to: usize,
        /// How many bytes there were.
        length: usize,
    },

    /// Bytes of the right length that stand for no value of the type.
    #[error("these bytes are no `{type_name}`: {reason}")]
    InvalidValue {
        /// The type expected.
        type_name: &'static str,
        /// What is wrong with them.
        reason: String,
    },

    /// JSON that is malformed, or of another shape than the type.
    #[error("line {line}, column {column} (field {path}) is no JSON of a `{type_name}`: {source}")]
    Json {
        /// The type expected.
        type_name: &'static str,
        /// The path of the field that does not fit, such as `lines[2].sku`; `.` is the whole.
        path: String,
        /// Line of the problem, counted from 1; 0 when a value could not be written.
        line: usize,
        /// Column of the problem, counted from 1; 0 when a value could not be written.
        column: usize,
        /// What the JSON library said.
        source: serde_json::Error,
    },

    /// A field that is broken, or of another type. Of formats that have fields and no lines: Avro, Protobuf.
    #[error("field {path} of a `{type_name}` cannot be read: {reason}")]
    Field {
        /// The type expected.
        type_name: &'static str,
        /// The path of the field, such as `lines[2].sku`; `.` is the whole.
        path: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A key of a type that cannot be written as text. Query it from the program, or let its serde implement
    /// [`Serde::key_from_text`].
    #[error(
        "a `{type_name}` cannot be written as text; implement `key_from_text` in its serde to ask for one by text"
    )]
    NoTextForm {
        /// The type of the key.
        type_name: &'static str,
    },

    /// A text that stands for no value of the type.
    #[error("{text:?} is no `{type_name}`: {reason}")]
    InvalidText {
        /// The type expected.
        type_name: &'static str,
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: String,
    },

    /// Bytes that do not begin as those of a registered schema do. Often a producer that does not use the registry.
    #[error(
        "these bytes are no `{type_name}` of a registered schema ({reason}); does the producer use the schema registry?"
    )]
    NotByRegistry {
        /// The type expected.
        type_name: &'static str,
        /// What is wrong with them.
        reason: String,
    },

    /// Bytes that do not fit the schema by which they say they were written, or not the type.
    #[error("these bytes, written by schema {schema_id}, are no `{type_name}`: {source}")]
    BySchema {
        /// The type expected.
        type_name: &'static str,
        /// The schema by which they were written.
        schema_id: SchemaId,
        /// What is wrong.
        source: Box<SerdeError>,
    },

    /// A schema that does not fit the type, or is none.
    #[error("the schema of `{type_name}` {problem}: {source}")]
    Schema {
        /// The type.
        type_name: &'static str,
        /// What is wrong with its schema.
        problem: &'static str,
        /// What the library of the format said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// What the registry of the schemas answered, or that it did not.
    #[error(transparent)]
    Registry(#[from] RegistryError),

    /// What a serde outside this crate reports.
    #[error("`{type_name}` cannot be converted: {source}")]
    Custom {
        /// The type converted.
        type_name: &'static str,
        /// What the serde said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl SerdeError {
    /// The error for a `T` of `expected` bytes that came as `found` bytes.
    pub fn wrong_length<T>(expected: usize, found: usize) -> Self {
        Self::WrongLength { type_name: type_name::<T>(), expected, found }
    }

    /// The error for a `text` that stands for no `T`.
    pub fn invalid_text<T>(text: &str, reason: impl std::fmt::Display) -> Self {
        Self::InvalidText { type_name: type_name::<T>(), text: text.to_owned(), reason: reason.to_string() }
    }

    /// What the schema registry said, or that it did not, if that is what is wrong.
    ///
    /// ```
    /// use millstream_state_stores::{RegistryError, SchemaId, SerdeError};
    ///
    /// let unknown = SerdeError::from(RegistryError::UnknownId { id: SchemaId::new(8) });
    /// assert!(unknown.registry_error().is_some_and(|error| !error.is_outage()));
    /// assert!(SerdeError::UnexpectedNull { type_name: "Order" }.registry_error().is_none());
    /// ```
    pub fn registry_error(&self) -> Option<&RegistryError> {
        match self {
            Self::Registry(error) => Some(error),
            Self::BySchema { source, .. } => source.registry_error(),
            _ => None,
        }
    }

    /// Whether nothing need be wrong with the bytes, but the registry did not say by which schema they were written
    /// ([`RegistryError::is_outage`]).
    pub fn is_outage(&self) -> bool {
        self.registry_error().is_some_and(RegistryError::is_outage)
    }

    /// The error for bytes that are no `T`.
    pub(crate) fn invalid_value<T>(reason: impl std::fmt::Display) -> Self {
        Self::InvalidValue { type_name: type_name::<T>(), reason: reason.to_string() }
    }

    /// The error for the field at this path of a `T`.
    #[cfg(any(feature = "avro", feature = "protobuf"))]
    pub(crate) fn field<T>(path: &str, reason: impl std::fmt::Display) -> Self {
        Self::Field { type_name: type_name::<T>(), path: path.to_owned(), reason: reason.to_string() }
    }

    /// The error for a `T` that would not be read as it is by the newest schema of its subject, because of the field at this path.
    pub(crate) fn unfit_for_newest<T>(path: &str, reason: &str) -> Self {
        Self::Schema {
            type_name: type_name::<T>(),
            problem: "does not fit the newest of its subject, by which it is to be written",
            source: format!("field {path}: {reason}").into(),
        }
    }

    /// The error of a serde outside this crate for a `T`; `source` may also be a text.
    pub fn custom<T>(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Custom { type_name: type_name::<T>(), source: source.into() }
    }
}
