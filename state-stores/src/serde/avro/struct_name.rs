//! The name of a struct, as `serde` knows it.

use std::cell::Cell;

use serde::de::value::Error;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

/// The name of `T`, if it is a struct.
pub(super) fn struct_name<T: for<'de> Deserialize<'de>>() -> Option<&'static str> {
    let name = Cell::new(None);
    // Nothing is there to read; what matters is what was asked for.
    T::deserialize(Asked { name: &name }).err()?;
    name.get()
}

/// Has nothing, and keeps the name of the struct it is asked for.
struct Asked<'a> {
    name: &'a Cell<Option<&'static str>>,
}

impl Asked<'_> {
    fn answer<T>(self, name: &'static str) -> Result<T, Error> {
        self.name.set(Some(name));
        Err(Error::custom("there is nothing to read"))
    }
}

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::custom("there is nothing to read"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Error> {
        self.answer(name)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _visitor: V,
    ) -> Result<V::Value, Error> {
        self.answer(name)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple tuple_struct
        map enum identifier ignored_any
    }
}
