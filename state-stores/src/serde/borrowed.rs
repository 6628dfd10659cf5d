//! Reading without copying: types that borrow from the message they are read from, and what is made of them.

use std::any::type_name;
use std::convert::Infallible;
use std::sync::Arc;

use serde::Deserialize;

use super::json::{JsonCodec, from_json, in_place, json_error};
use super::{Encoded, JsonSerde, Serde, SerdeError, SerdePlace, SerdeRef, Usage};

/// A type with a lifetime, that of the message which a value borrows from. It says what the type is for any message, which is itself:
///
/// ```
/// use millstream_state_stores::Borrowed;
///
/// #[derive(serde::Deserialize)]
/// struct Bid<'message> {
///     channel: &'message str,
///     price: i64,
/// }
///
/// impl Borrowed for Bid<'_> {
///     type As<'message> = Bid<'message>;
/// }
/// ```
///
/// A `&str` borrows JSON text that is written as it is. Text with escapes, such as `\n`, is another in the message: where there may be some, a
/// `Cow<str>` under `#[serde(borrow)]` is that text, and borrows all other. What comes in a `Vec`, an `Option` or a type of one's own needs
/// `#[serde(borrow)]`, too.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say that it borrows from the message it is read from",
    note = "write `impl Borrowed for Bid<'_> {{ type As<'message> = Bid<'message>; }}` for a type `Bid` that serde can deserialize"
)]
pub trait Borrowed {
    /// The type, borrowing from a message that lives so long.
    type As<'message>: Deserialize<'message>;
}

impl<B: Borrowed + 'static> JsonSerde<B> {
    /// A serde of what `read` makes of each value, which borrows its texts from the message: neither they nor the message are copied. It is for
    /// what is only read; where it would write, the application does not start.
    ///
    /// ```
    /// use millstream_state_stores::{Borrowed, JsonSerde};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Bid<'message> {
    ///     channel: &'message str,
    ///     price: i64,
    /// }
    ///
    /// impl Borrowed for Bid<'_> {
    ///     type As<'message> = Bid<'message>;
    /// }
    ///
    /// let prices = JsonSerde::<Bid>::new().reading(|bid| if bid.channel == "test" { 0 } else { bid.price });
    /// assert_eq!(prices.decode(br#"{"channel":"web","price":3}"#)?, 3);
    /// # Ok::<(), millstream_state_stores::SerdeError>(())
    /// ```
    ///
    /// A source has it as [`with_value_serde`](https://docs.rs/millstream/latest/millstream/struct.Source.html#method.with_value_serde); around it,
    /// [`OptionSerde`](crate::OptionSerde) lets nulls through.
    pub fn reading<V: 'static>(
        self,
        read: impl for<'message> Fn(B::As<'message>) -> V + Send + Sync + 'static,
    ) -> SerdeRef<V> {
        self.try_reading(move |value| Ok::<_, Infallible>(read(value)))
    }

    /// [`reading`](Self::reading) with a closure that can fail. A record it fails on cannot be decoded.
    ///
    /// ```
    /// # use millstream_state_stores::{Borrowed, JsonSerde};
    /// # #[derive(serde::Deserialize)]
    /// # struct Bid<'message> { price: &'message str }
    /// # impl Borrowed for Bid<'_> { type As<'message> = Bid<'message>; }
    /// let prices = JsonSerde::<Bid>::new().try_reading(|bid| bid.price.parse::<i64>());
    /// assert_eq!(prices.decode(br#"{"price":"3"}"#)?, 3);
    /// assert!(prices.decode(br#"{"price":"high"}"#).is_err());
    /// # Ok::<(), millstream_state_stores::SerdeError>(())
    /// ```
    pub fn try_reading<V: 'static, E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        self,
        read: impl for<'message> Fn(B::As<'message>) -> Result<V, E> + Send + Sync + 'static,
    ) -> SerdeRef<V> {
        let codec = Reading(Arc::new(move |json: &[u8]| {
            read(from_json::<B::As<'_>>(json)?).map_err(SerdeError::custom::<V>)
        }));
        Arc::new(JsonReadingSerde { schema: self.schema, codec })
    }
}

/// What a closure makes of JSON.
struct Reading<F>(Arc<F>);

impl<F> Clone for Reading<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V: 'static, F> JsonCodec for Reading<F>
where
    F: Fn(&[u8]) -> Result<V, SerdeError> + Send + Sync + 'static,
{
    type Value = V;

    fn encode(&self, _value: &V, _out: &mut Vec<u8>) -> Result<(), SerdeError> {
        Err(only_reads::<V>())
    }

    #[inline]
    fn decode(&self, json: &[u8]) -> Result<V, SerdeError> {
        (self.0)(json)
    }

    fn value_from_text(&self, _text: &str) -> Result<V, SerdeError> {
        Err(SerdeError::NoTextForm { type_name: type_name::<V>() })
    }
}

struct JsonReadingSerde<C> {
    schema: Option<&'static str>,
    codec: C,
}

impl<C: JsonCodec> Serde<C::Value> for JsonReadingSerde<C> {
    fn encode(&self, value: &C::Value, out: &mut Vec<u8>) -> Result<Encoded, SerdeError> {
        self.codec.encode(value, out).map(|()| Encoded::Bytes)
    }

    #[inline]
    fn decode(&self, bytes: &[u8]) -> Result<C::Value, SerdeError> {
        self.codec.decode(bytes)
    }

    fn in_place(&self, place: &SerdePlace<'_>) -> Result<Option<SerdeRef<C::Value>>, SerdeError> {
        match place.usage() {
            Usage::Written => Err(only_reads::<C::Value>()),
            Usage::Read | Usage::ReadIfOlder => in_place(self.schema, &self.codec, place),
        }
    }

    fn never_begins_with_ff(&self) -> bool {
        true
    }

    fn to_json(&self, bytes: &[u8]) -> Result<serde_json::Value, SerdeError> {
        serde_json::from_slice(bytes).map_err(json_error::<C::Value>)
    }
}

fn only_reads<V>() -> SerdeError {
    SerdeError::custom::<V>(
        "its serde reads what borrows from a message, and cannot write; name another where it is written",
    )
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::schema::{MockSchemaRegistryClient, Schema, SchemaKind, SchemaRegistry, SchemaRegistryClient};
    use crate::serde::{ApplicationSerdes, OptionSerde, RecordPart};

    #[derive(Deserialize)]
    struct Bid<'a> {
        channel: &'a str,
        #[serde(borrow)]
        note: Cow<'a, str>,
        #[serde(borrow, default)]
        tags: Vec<&'a str>,
    }

    impl Borrowed for Bid<'_> {
        type As<'message> = Bid<'message>;
    }

    #[test]
    fn texts_lie_in_the_message() {
        let json = br#"{"channel":"web","note":"as it is","tags":["a","b"]}"#;
        let lies_in = json.as_ptr_range();
        let (start, end) = (lies_in.start as usize, lies_in.end as usize);
        let is_borrowed = JsonSerde::<Bid>::new().reading(move |bid| {
            let texts = [bid.channel, &*bid.note].into_iter().chain(bid.tags);
            let all_within = texts.map(|text| text.as_ptr() as usize).all(|at| (start..end).contains(&at));
            all_within && matches!(bid.note, Cow::Borrowed(_))
        });
        assert!(is_borrowed.decode(json).unwrap());
    }

    #[test]
    fn text_with_escapes_is_for_a_cow() {
        let notes = JsonSerde::<Bid>::new().reading(|bid| bid.note.into_owned());
        assert_eq!(notes.decode(br#"{"channel":"web","note":"two\nlines"}"#).unwrap(), "two\nlines");
        let error = notes.decode(br#"{"channel":"w\u0065b","note":""}"#).unwrap_err().to_string();
        assert!(error.contains("(field channel)") && error.contains("borrowed string"), "{error}");
    }

    #[test]
    fn an_error_names_the_type_and_the_path_of_the_field() {
        let tags = JsonSerde::<Bid>::new().reading(|bid| bid.tags.len());
        let error = tags.decode(br#"{"channel":"web","note":"","tags":["a",7]}"#).unwrap_err().to_string();
        assert!(error.contains("(field tags[1])") && error.contains("::Bid"), "{error}");
        let numbers = JsonSerde::<Bid>::new().try_reading(|bid| bid.channel.parse::<i64>());
        let error = numbers.decode(br#"{"channel":"web","note":""}"#).unwrap_err().to_string();
        assert!(error.contains("`i64`") && error.contains("invalid digit"), "{error}");
    }

    #[test]
    fn nulls_are_let_through_by_an_option() {
        let lengths = JsonSerde::<Bid>::new().reading(|bid| bid.channel.len());
        assert!(matches!(lengths.decode_null(), Err(SerdeError::UnexpectedNull { .. })));
        let lengths = OptionSerde::new(lengths);
        assert_eq!(lengths.decode_null().unwrap(), None);
        assert_eq!(lengths.decode(br#"{"channel":"web","note":""}"#).unwrap(), Some(3));
    }

    #[test]
    fn it_is_refused_where_it_would_write() {
        let lengths = JsonSerde::<Bid>::new().reading(|bid| bid.channel.len());
        let serdes = ApplicationSerdes::default();
        let place = SerdePlace::new("lengths", RecordPart::Value, &serdes);
        let refused = place.bind(&lengths).err().expect("it cannot write").to_string();
        assert!(refused.contains("cannot write"), "{refused}");
        assert!(lengths.encode(&3, &mut Vec::new()).is_err());
        assert!(place.only_read().bind(&lengths).is_ok());
    }

    #[test]
    fn by_a_schema_the_text_behind_its_id_is_read() {
        const SCHEMA: &str = r#"{"title": "Bid", "type": "object"}"#;
        let client = Arc::new(MockSchemaRegistryClient::default());
        client.register("bids-value", &Schema::new(SchemaKind::Json, SCHEMA)).unwrap();
        let serdes = ApplicationSerdes::default().with_schema_registry(SchemaRegistry::new(client));
        let lengths = JsonSerde::<Bid>::with_schema(SCHEMA).reading(|bid| bid.channel.len());
        let place = SerdePlace::new("bids", RecordPart::Value, &serdes).only_read();
        let lengths = place.bind(&lengths).unwrap();
        assert_eq!(lengths.decode(b"\0\0\0\0\x01{\"channel\":\"web\",\"note\":\"\"}").unwrap(), 3);
        let error = lengths.decode(b"\0\0\0\0\x01{\"channel\":7}").unwrap_err().to_string();
        assert!(error.contains("schema 1") && error.contains("(field channel)"), "{error}");
    }
}
