//! Values of older versions of a type, brought up to today's while they are read.

use std::any::type_name;
use std::fmt;
use std::sync::Arc;

use serde::de::{self, Deserializer as _, IgnoredAny, MapAccess, Visitor};

use super::{Encoded, Serde, SerdeError, SerdePlace, SerdeRef, Usage};
use crate::format::{VERSION_MARK, put_version, split_version, split_wire_format};
use crate::schema::SchemaMatch;

/// What turns bytes of one version into a value of today's type.
trait Generation<T>: Send + Sync {
    fn decode(&self, bytes: &[u8]) -> Result<T, SerdeError>;

    fn schema_match(&self, bytes: &[u8]) -> Result<SchemaMatch, SerdeError>;

    fn never_begins_with_ff(&self) -> bool;

    fn in_place(&self, place: &SerdePlace<'_>) -> Result<GenerationRef<T>, SerdeError>;
}

type GenerationRef<T> = Arc<dyn Generation<T>>;

/// The version that is today's, once.
struct Own<T>(SerdeRef<T>);

impl<T: 'static> Generation<T> for Own<T> {
    fn decode(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        self.0.decode(bytes)
    }

    fn schema_match(&self, bytes: &[u8]) -> Result<SchemaMatch, SerdeError> {
        self.0.schema_match(bytes)
    }

    fn never_begins_with_ff(&self) -> bool {
        self.0.never_begins_with_ff()
    }

    fn in_place(&self, place: &SerdePlace<'_>) -> Result<GenerationRef<T>, SerdeError> {
        Ok(Arc::new(Own(place.bind(&self.0)?)))
    }
}

/// A version whose values become those of the next.
struct Upcast<T, U> {
    older: GenerationRef<T>,
    step: Step<T, U>,
}

type Step<T, U> = Arc<dyn Fn(T) -> Result<U, SerdeError> + Send + Sync>;

impl<T: 'static, U: 'static> Generation<U> for Upcast<T, U> {
    fn decode(&self, bytes: &[u8]) -> Result<U, SerdeError> {
        (self.step)(self.older.decode(bytes)?)
    }

    fn schema_match(&self, bytes: &[u8]) -> Result<SchemaMatch, SerdeError> {
        self.older.schema_match(bytes)
    }

    fn never_begins_with_ff(&self) -> bool {
        self.older.never_begins_with_ff()
    }

    fn in_place(&self, place: &SerdePlace<'_>) -> Result<GenerationRef<U>, SerdeError> {
        Ok(Arc::new(Upcast { older: self.older.in_place(place)?, step: Arc::clone(&self.step) }))
    }
}

/// The versions that a type has had, oldest first, and how each becomes the next. What is read is of any of them; what is written is of the
/// newest. So history keeps its meaning when types change, and so does state that yesterday's program wrote.
///
/// How bytes say of which version they are is chosen at the end: by a number before the value ([`numbered`](Self::numbered)), by a field
/// of their JSON ([`numbered_in`](Self::numbered_in)), or by the schema that they name in a registry ([`by_schema`](Self::by_schema)).
///
/// ```
/// use std::sync::Arc;
/// use millstream_state_stores::{HasSerde, JsonSerde, SerdeRef, Upcasters, json_serde};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct OrderV1 { sku: String }
/// json_serde!(OrderV1);
///
/// /// Today's: several of a sku can be ordered.
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Order { sku: String, quantity: u32 }
///
/// impl HasSerde for Order {
///     fn serde() -> SerdeRef<Self> {
///         Upcasters::oldest(OrderV1::serde())
///             .then(Arc::new(JsonSerde::new()), |before: OrderV1| Order { sku: before.sku, quantity: 1 })
///             .numbered()
///     }
/// }
///
/// let mut bytes = Vec::new();
/// Order::serde().encode(&Order { sku: "apples".into(), quantity: 3 }, &mut bytes)?;
/// assert_eq!(bytes, b"\xff\x02{\"sku\":\"apples\",\"quantity\":3}");
/// assert_eq!(Order::serde().decode(br#"{"sku":"pears"}"#)?.quantity, 1);
/// # Ok::<(), millstream_state_stores::SerdeError>(())
/// ```
pub struct Upcasters<T> {
    /// Oldest first.
    older: Vec<GenerationRef<T>>,
    newest: SerdeRef<T>,
}

impl<T: 'static> Upcasters<T> {
    /// The first version, as it was written.
    pub fn oldest(serde: SerdeRef<T>) -> Self {
        Self { older: Vec::new(), newest: serde }
    }

    /// The next version, and how a value of the one before becomes one of it.
    #[must_use]
    pub fn then<U: 'static>(
        self,
        serde: SerdeRef<U>,
        upcast: impl Fn(T) -> U + Send + Sync + 'static,
    ) -> Upcasters<U> {
        self.step(serde, Arc::new(move |before| Ok(upcast(before))))
    }

    /// As [`then`](Self::then), for an upcast that not every value has.
    ///
    /// ```
    /// use std::num::ParseIntError;
    /// use millstream_state_stores::{HasSerde, Upcasters};
    ///
    /// let numbers = Upcasters::oldest(String::serde())
    ///     .try_then(i64::serde(), |text| text.parse::<i64>())
    ///     .numbered();
    /// assert_eq!(numbers.decode(b"42")?, 42);
    /// assert!(numbers.decode(b"many").is_err());
    /// # Ok::<(), millstream_state_stores::SerdeError>(())
    /// ```
    #[must_use]
    pub fn try_then<U: 'static, E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        self,
        serde: SerdeRef<U>,
        upcast: impl Fn(T) -> Result<U, E> + Send + Sync + 'static,
    ) -> Upcasters<U> {
        self.step(serde, Arc::new(move |before| upcast(before).map_err(SerdeError::custom::<U>)))
    }

    fn step<U: 'static>(self, serde: SerdeRef<U>, step: Step<T, U>) -> Upcasters<U> {
        let before: GenerationRef<T> = Arc::new(Own(self.newest));
        let upcast = |older| -> GenerationRef<U> { Arc::new(Upcast { older, step: Arc::clone(&step) }) };
        let older = self.older.into_iter().chain([before]).map(upcast).collect();
        Upcasters { older, newest: serde }
    }

    /// Values have the number of their version before them, counted from 1; see `docs/formats.md`. Bytes without one are of the first version, as
    /// they were written before there was a second. A number begins with the byte 0xff, so no value of the first version may:
    /// [`never_begins_with_ff`](Serde::never_begins_with_ff) says which serdes promise that. Texts, JSON, Protobuf and what has a registered schema do;
    /// integers, floats, bytes, tuples and bare Avro do not. With one that does not, the application does not start, and no bytes that begin so are read.
    ///
    /// Where a program's own integers are never negative, a serde around theirs can promise it.
    pub fn numbered(self) -> SerdeRef<T> {
        self.told_by(Told::ByNumber)
    }

    /// Values are JSON objects that have the number of their version in this field, counted from 1; without it they are of the first. The field
    /// need not be one of the types: it is written first.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use millstream_state_stores::{HasSerde, JsonSerde, Upcasters, json_serde};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Clone, Serialize, Deserialize)]
    /// # struct OrderV1 { sku: String }
    /// # json_serde!(OrderV1);
    /// # #[derive(Clone, Serialize, Deserialize)]
    /// # struct Order { sku: String, quantity: u32 }
    /// let orders = Upcasters::oldest(OrderV1::serde())
    ///     .then(Arc::new(JsonSerde::new()), |before: OrderV1| Order { sku: before.sku, quantity: 1 })
    ///     .numbered_in("version");
    /// let mut bytes = Vec::new();
    /// orders.encode(&Order { sku: "apples".into(), quantity: 3 }, &mut bytes)?;
    /// assert_eq!(bytes, br#"{"version":2,"sku":"apples","quantity":3}"#);
    /// # Ok::<(), millstream_state_stores::SerdeError>(())
    /// ```
    pub fn numbered_in(self, field: &'static str) -> SerdeRef<T> {
        self.told_by(Told::InField(field))
    }

    /// Values name their schema in a registry: they are of the version that has this schema, in whichever words. One that no version has is taken for
    /// the version most of whose fields it writes ([`SchemaMatch`]); of equals, for the one that lacks the fewest, then for the newest. It is an error if no version
    /// can read it and has one of its fields, and if its bytes are those of several versions that differ in names or logical types. Without a registry there is nothing to
    /// tell versions by, and the application does not start.
    pub fn by_schema(self) -> SerdeRef<T> {
        self.told_by(Told::BySchema)
    }

    fn told_by(self, told: Told) -> SerdeRef<T> {
        let Self { older, newest } = self;
        Arc::new(UpcastingSerde::new(older, newest, told))
    }
}

/// How bytes say of which version they are.
#[derive(Clone, Copy, Debug)]
enum Told {
    ByNumber,
    InField(&'static str),
    BySchema,
}

struct UpcastingSerde<T> {
    older: Vec<GenerationRef<T>>,
    newest: SerdeRef<T>,
    told: Told,
    /// Whether bytes with a number cannot be a value of the first version, if that is what tells versions.
    is_numbered_safely: bool,
}

impl<T: 'static> UpcastingSerde<T> {
    fn new(older: Vec<GenerationRef<T>>, newest: SerdeRef<T>, told: Told) -> Self {
        let is_numbered_safely =
            older.first().map_or_else(|| newest.never_begins_with_ff(), |first| first.never_begins_with_ff());
        Self { older, newest, told, is_numbered_safely }
    }

    /// The number of the newest version.
    fn version(&self) -> u32 {
        u32::try_from(self.older.len() + 1).unwrap_or(u32::MAX)
    }

    fn decode_version(&self, version: u32, bytes: &[u8]) -> Result<T, SerdeError> {
        if version == self.version() {
            return self.newest.decode(bytes);
        }
        let place = usize::try_from(version).ok().and_then(|version| version.checked_sub(1));
        match place.and_then(|place| self.older.get(place)) {
            Some(older) => older.decode(bytes),
            None => Err(SerdeError::InvalidValue {
                type_name: type_name::<T>(),
                reason: format!(
                    "they are of version {version}, and this program knows 1 to {}; was it written by a newer program?",
                    self.version()
                ),
            }),
        }
    }

    fn decode_numbered(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        if !self.is_numbered_safely && bytes.starts_with(&[VERSION_MARK]) {
            return Err(unsafely_numbered::<T>());
        }
        let broken = || SerdeError::invalid_value::<T>("the number of their version is broken");
        let (version, value) = split_version(bytes).ok_or_else(broken)?;
        self.decode_version(version, value)
    }

    fn decode_by_schema(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        match self.nearest(bytes)? {
            Nearest { is_ambiguous: true, .. } => Err(by_schema::<T>(
                bytes,
                "several versions have such bytes, and differ in the names or logical types that it has otherwise",
            )),
            Nearest { nearness: SchemaMatch::Other, .. } => {
                // Why the newest cannot read it says more, if that is so.
                self.newest.decode(bytes)?;
                Err(by_schema::<T>(bytes, "it has no field of a version that can read it"))
            }
            Nearest { older: Some(older), .. } => older.decode(bytes),
            Nearest { older: None, .. } => self.newest.decode(bytes),
        }
    }

    /// The version whose schema is nearest to the one that wrote the bytes; of equals the newest.
    fn nearest(&self, bytes: &[u8]) -> Result<Nearest<'_, T>, SerdeError> {
        let nearness = self.newest.schema_match(bytes)?;
        let mut nearest = Nearest { nearness, older: None, is_ambiguous: false };
        for older in self.older.iter().rev() {
            if nearest.nearness == SchemaMatch::Exact {
                break;
            }
            let nearness = older.schema_match(bytes)?;
            if nearness > nearest.nearness {
                nearest = Nearest { nearness, older: Some(older), is_ambiguous: false };
            } else if nearness == SchemaMatch::Same {
                nearest.is_ambiguous = true;
            }
        }
        Ok(nearest)
    }
}

/// The version that bytes are taken for.
struct Nearest<'s, T> {
    nearness: SchemaMatch,
    /// None: the newest.
    older: Option<&'s GenerationRef<T>>,
    /// Whether another one is as near, and would read other values.
    is_ambiguous: bool,
}

#[cold]
fn by_schema<T>(bytes: &[u8], reason: &str) -> SerdeError {
    let error = SerdeError::invalid_value::<T>(format!("their schema is that of no version: {reason}"));
    match split_wire_format(bytes) {
        Some((schema_id, _)) => {
            SerdeError::BySchema { type_name: type_name::<T>(), schema_id, source: Box::new(error) }
        }
        None => error,
    }
}

#[cold]
fn unsafely_numbered<T>() -> SerdeError {
    SerdeError::custom::<T>(
        "its versions are told by a number behind the byte 0xff, with which values of its first version may begin as well: let the first version have a serde \
         that promises otherwise (`Serde::never_begins_with_ff`), such as that of a text or JSON, and keep what has another one in a store or topic of another name",
    )
}

impl<T: 'static> Serde<T> for UpcastingSerde<T> {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        let start = out.len();
        if let Told::ByNumber = self.told {
            put_version(self.version(), out);
        }
        let encoded = self.newest.encode(value, out)?;
        match (encoded, self.told) {
            (Encoded::Null, _) => out.truncate(start),
            (Encoded::Bytes, Told::InField(field)) => put_field::<T>(field, self.version(), start, out)?,
            (Encoded::Bytes, Told::ByNumber | Told::BySchema) => {}
        }
        Ok(encoded)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        match self.told {
            Told::ByNumber => self.decode_numbered(bytes),
            Told::InField(field) => self.decode_version(version_in::<T>(field, bytes)?, bytes),
            Told::BySchema => self.decode_by_schema(bytes),
        }
    }

    fn decode_null(&self) -> Result<T, SerdeError> {
        self.newest.decode_null()
    }

    fn in_place(&self, place: &SerdePlace<'_>) -> Result<Option<SerdeRef<T>>, SerdeError> {
        if let (Told::BySchema, None) = (self.told, place.schema_registry()) {
            let source = "its versions are told by their schemas, and the application has no schema registry";
            return Err(SerdeError::custom::<T>(source));
        }
        let older: Result<Vec<_>, _> =
            self.older.iter().map(|older| older.in_place(&place.only_read_if_older())).collect();
        let is_older = || self.older.iter().any(|older| older.in_place(place).is_ok());
        let newest = match place.bind(&self.newest) {
            // What is read may still be of an older version, as its newest schema.
            Err(error) if place.usage() == Usage::Read && !error.is_outage() && is_older() => {
                place.only_read_if_older().bind(&self.newest)?
            }
            bound => bound?,
        };
        match Self::new(older?, newest, self.told) {
            Self { told: Told::ByNumber, is_numbered_safely: false, .. } => Err(unsafely_numbered::<T>()),
            in_place => Ok(Some(Arc::new(in_place))),
        }
    }

    fn schema_match(&self, bytes: &[u8]) -> Result<SchemaMatch, SerdeError> {
        match self.told {
            Told::BySchema => Ok(self.nearest(bytes)?.nearness),
            Told::ByNumber | Told::InField(_) => Ok(SchemaMatch::Other),
        }
    }

    fn never_begins_with_ff(&self) -> bool {
        match self.told {
            Told::ByNumber => false,
            Told::InField(_) => true,
            Told::BySchema => {
                self.newest.never_begins_with_ff()
                    && self.older.iter().all(|older| older.never_begins_with_ff())
            }
        }
    }

    /// As the newest version shows what the older became.
    fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        let mut newest = Vec::new();
        match self.newest.encode(&self.decode(bytes)?, &mut newest)? {
            Encoded::Bytes => self.newest.to_json(&newest),
            Encoded::Null => Ok(serde_json::Value::Null),
        }
    }
}

/// Writes the version as the first field of the JSON object that begins at `start`.
fn put_field<T>(field: &str, version: u32, start: usize, out: &mut Vec<u8>) -> Result<(), SerdeError> {
    let is_empty = match &out[start..] {
        [b'{', b'}'] => true,
        [b'{', ..] => false,
        _ => {
            return Err(SerdeError::invalid_value::<T>(
                "they are no JSON object, which a version could be put in",
            ));
        }
    };
    let separator = if is_empty { "" } else { "," };
    let name = serde_json::Value::from(field);
    out.splice(start + 1..start + 1, format!("{name}:{version}{separator}").into_bytes());
    Ok(())
}

/// The version of a JSON object; 1 if it does not say.
fn version_in<T>(field: &'static str, bytes: &[u8]) -> Result<u32, SerdeError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    deserializer.deserialize_map(VersionIn(field)).map_err(super::json::json_error::<T>)
}

struct VersionIn(&'static str);

impl<'de> Visitor<'de> for VersionIn {
    type Value = u32;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a JSON object with its version in the field `{}`", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<u32, A::Error> {
        let mut version = 1;
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if name == self.0 {
                version = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if version == 0 { Err(de::Error::custom("versions are counted from 1")) } else { Ok(version) }
    }
}

#[cfg(test)]
mod tests;
