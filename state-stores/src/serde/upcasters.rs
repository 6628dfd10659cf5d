//! Values of older versions of a type, brought up to today's while they are read.

use std::any::type_name;
use std::fmt;
use std::sync::Arc;

use serde::de::{self, Deserializer as _, IgnoredAny, MapAccess, Visitor};

use super::{Encoded, Serde, SerdeError, SerdePlace, SerdeRef, Usage};
use crate::format::{put_version, split_version};
use crate::schema::SchemaMatch;

/// What turns bytes of one version into a value of today's type.
trait Generation<T>: Send + Sync {
    fn decode(&self, bytes: &[u8]) -> Result<T, SerdeError>;

    fn schema_match(&self, bytes: &[u8]) -> Result<SchemaMatch, SerdeError>;

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
    /// they were written before there was a second; so that one must not begin with the byte 0xff, which no text and no JSON does.
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

    /// Values name their schema in a registry: they are of the version that has this schema. One that no version has is taken for the newest
    /// version that it evolves from or into, so that each can read what the other writes; failing that, for the newest that can read it. Without a registry there is nothing to tell versions by, and the application does not start.
    pub fn by_schema(self) -> SerdeRef<T> {
        self.told_by(Told::BySchema)
    }

    fn told_by(self, told: Told) -> SerdeRef<T> {
        let Self { older, newest } = self;
        Arc::new(UpcastingSerde { older, newest, told })
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
}

impl<T: 'static> UpcastingSerde<T> {
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

    fn decode_by_schema(&self, bytes: &[u8]) -> Result<T, SerdeError> {
        let (mut nearest, mut version) = (self.newest.schema_match(bytes)?, None);
        for older in self.older.iter().rev() {
            if nearest == SchemaMatch::Same {
                break;
            }
            let of_older = older.schema_match(bytes)?;
            if of_older > nearest {
                (nearest, version) = (of_older, Some(older));
            }
        }
        let decoded = match version {
            Some(older) => older.decode(bytes),
            None => self.newest.decode(bytes),
        };
        match decoded {
            // No version is near: whichever can read it.
            Err(error) if nearest == SchemaMatch::Other && !error.is_outage() => {
                self.older.iter().rev().find_map(|older| older.decode(bytes).ok()).ok_or(error)
            }
            decoded => decoded,
        }
    }
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
            Told::ByNumber => {
                let broken = || SerdeError::invalid_value::<T>("the number of their version is broken");
                let (version, value) = split_version(bytes).ok_or_else(broken)?;
                self.decode_version(version, value)
            }
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
        Ok(Some(Arc::new(Self { older: older?, newest, told: self.told })))
    }

    fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        match self.told {
            Told::ByNumber => {
                // The newest writes what the older became.
                let mut newest = Vec::new();
                self.newest.encode(&self.decode(bytes)?, &mut newest)?;
                self.newest.to_json(&newest)
            }
            Told::InField(_) | Told::BySchema => self.newest.to_json(bytes),
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
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::json_serde;
    use crate::schema::{MockSchemaRegistryClient, SchemaRegistry, SubjectNameStrategy};
    use crate::serde::{ApplicationSerdes, HasSerde, JsonSerde, RecordPart};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct First {
        sku: String,
    }
    json_serde!(First);

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Second {
        sku: String,
        quantity: u32,
    }
    json_serde!(Second);

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Third {
        lines: Vec<Second>,
    }

    fn upcasters() -> Upcasters<Third> {
        Upcasters::oldest(First::serde())
            .then(Second::serde(), |first: First| Second { sku: first.sku, quantity: 1 })
            .then(Arc::new(JsonSerde::new()), |second| Third { lines: vec![second] })
    }

    fn third(sku: &str, quantity: u32) -> Third {
        Third { lines: vec![Second { sku: sku.into(), quantity }] }
    }

    fn encoded<T>(serde: &SerdeRef<T>, value: &T) -> Vec<u8> {
        let mut bytes = b"before".to_vec();
        assert_eq!(serde.encode(value, &mut bytes).unwrap(), Encoded::Bytes);
        bytes.split_off(b"before".len())
    }

    #[test]
    fn each_version_becomes_the_newest() {
        let serde = upcasters().numbered();
        assert_eq!(serde.decode(br#"{"sku":"apples"}"#).unwrap(), third("apples", 1));
        assert_eq!(serde.decode(b"\xff\x01{\"sku\":\"apples\"}").unwrap(), third("apples", 1));
        assert_eq!(serde.decode(b"\xff\x02{\"sku\":\"apples\",\"quantity\":4}").unwrap(), third("apples", 4));
        let newest = encoded(&serde, &third("pears", 2));
        assert!(newest.starts_with(b"\xff\x03{\"lines\":"), "{newest:?}");
        assert_eq!(serde.decode(&newest).unwrap(), third("pears", 2));
        assert_eq!(
            serde.to_json(br#"{"sku":"apples"}"#).unwrap(),
            serde_json::json!({"lines": [{"sku": "apples", "quantity": 1}]})
        );
    }

    #[test]
    fn a_version_of_tomorrow_is_refused() {
        let error = upcasters().numbered().decode(b"\xff\x04{}").unwrap_err().to_string();
        assert!(error.contains("version 4") && error.contains("1 to 3"), "{error}");
        assert!(upcasters().numbered().decode(b"\xff\x00{}").is_err(), "versions begin with 1");
        assert!(upcasters().numbered().decode(b"\xff").is_err());
    }

    #[test]
    fn versions_may_stand_in_a_field_wherever_it_is() {
        let serde = upcasters().numbered_in("v");
        assert_eq!(serde.decode(br#"{"sku":"apples"}"#).unwrap(), third("apples", 1));
        assert_eq!(serde.decode(br#"{"sku":"apples","quantity":4,"v":2}"#).unwrap(), third("apples", 4));
        let newest = encoded(&serde, &third("pears", 2));
        assert!(newest.starts_with(b"{\"v\":3,\"lines\":"), "{newest:?}");
        assert_eq!(serde.decode(&newest).unwrap(), third("pears", 2));
        for wrong in [&b"[]"[..], b"{\"v\":0}", b"{\"v\":9}", b"{\"v\":\"2\"}", b"{"] {
            assert!(serde.decode(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn of_what_is_written_only_the_newest_version_is_registered() {
        let subjects = |newest: &'static str| {
            let client = Arc::new(MockSchemaRegistryClient::default());
            let registry = SchemaRegistry::new(client.clone()).naming(SubjectNameStrategy::RecordName);
            let serdes = ApplicationSerdes::default().with_schema_registry(registry);
            let serde = Upcasters::oldest(Arc::new(JsonSerde::with_schema(r#"{"title": "First"}"#)))
                .then(Arc::new(JsonSerde::with_schema(newest)), |first: First| third(&first.sku, 1))
                .by_schema();
            let settled = SerdePlace::new("orders", RecordPart::Value, &serdes).bind(&serde);
            (settled.is_ok(), client.subjects())
        };
        assert_eq!(subjects(r#"{"title": "Third"}"#), (true, vec!["Third".to_owned()]));
        assert_eq!(subjects("{}"), (false, Vec::new()), "without a name it is refused");
    }

    #[test]
    fn an_upcast_that_fails_says_why() {
        let serde =
            Upcasters::oldest(String::serde()).try_then(i64::serde(), |text| text.parse::<i64>()).numbered();
        let error = serde.decode(b"many").unwrap_err().to_string();
        assert!(error.contains("`i64`") && error.contains("invalid digit"), "{error}");
    }
}
