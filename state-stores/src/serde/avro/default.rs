//! Defaults, which a schema has as JSON.

use serde_json::Value;

use super::output::{put_length, put_long, put_prefixed};
use super::shape::{DefaultOf, Shape};

/// How many bytes a default may have. It may hold others, those of the records within it, so a short text could claim any number.
const MOST_BYTES: usize = 64 << 10;

/// A default as it is on the wire; or why it is none.
pub(super) fn encoded(default: &Value, shape: &Shape) -> DefaultOf<Vec<u8>> {
    let mut out = Vec::new();
    match put(default, shape, &mut out) {
        Some(()) => Ok(out),
        None if out.len() > MOST_BYTES => Err(format!("its default has more than {MOST_BYTES} bytes")),
        None => Err(format!("its default {default} is no {shape}")),
    }
}

impl Shape {
    /// Whether all defaults within it are such; or which is none, and why.
    pub(super) fn check_defaults(&self) -> Result<(), String> {
        match self {
            Shape::Array(part) | Shape::Map(part) => part.check_defaults(),
            Shape::Union(branches) => branches.iter().try_for_each(Shape::check_defaults),
            Shape::Enum { names, default: Some(Err(reason)), .. } => {
                Err(format!("enum {}: {reason}", names.full))
            }
            Shape::Record { names, fields } => fields.iter().try_for_each(|field| {
                // What is wrong within a type is why defaults of that type are wrong.
                field.shape.check_defaults()?;
                match &field.default {
                    Some(Err(reason)) => Err(format!("field {} of {}: {reason}", field.name, names.full)),
                    _ => Ok(()),
                }
            }),
            _ => Ok(()),
        }
    }
}

/// None if it is not of that type, or has too many bytes.
fn put(json: &Value, shape: &Shape, out: &mut Vec<u8>) -> Option<()> {
    match (shape, json) {
        (Shape::Null, Value::Null) => {}
        (Shape::Boolean, Value::Bool(boolean)) => out.push(u8::from(*boolean)),
        (Shape::Int, Value::Number(number)) => put_long(i32::try_from(number.as_i64()?).ok()?.into(), out),
        (Shape::Long, Value::Number(number)) => put_long(number.as_i64()?, out),
        #[expect(clippy::cast_possible_truncation, reason = "as Avro has it")]
        (Shape::Float, Value::Number(number)) => {
            out.extend_from_slice(&(number.as_f64()? as f32).to_le_bytes());
        }
        (Shape::Double, Value::Number(number)) => out.extend_from_slice(&number.as_f64()?.to_le_bytes()),
        (Shape::String, Value::String(text)) => put_prefixed(text.as_bytes(), out),
        (Shape::Bytes, Value::String(text)) => put_prefixed(&bytes_of(text)?, out),
        (Shape::Decimal { carrier, .. } | Shape::Logical { carrier, .. }, _) => put(json, carrier, out)?,
        (Shape::Fixed { size, .. }, Value::String(text)) => {
            out.extend_from_slice(Some(bytes_of(text)?).filter(|bytes| bytes.len() == *size)?.as_slice());
        }
        (Shape::Enum { symbols, .. }, Value::String(text)) => {
            put_length(symbols.iter().position(|symbol| symbol == text)?, out);
        }
        (Shape::Array(shape), Value::Array(items)) => {
            for item in items {
                put_long(1, out);
                put(item, shape, out)?;
            }
            put_long(0, out);
        }
        (Shape::Map(shape), Value::Object(values)) => {
            for (key, value) in values {
                put_long(1, out);
                put_prefixed(key.as_bytes(), out);
                put(value, shape, out)?;
            }
            put_long(0, out);
        }
        (Shape::Union(branches), _) => {
            let start = out.len();
            branches.iter().enumerate().find_map(|(place, branch)| {
                out.truncate(start);
                put_length(place, out);
                put(json, branch, out)
            })?;
        }
        (Shape::Record { fields, .. }, Value::Object(values)) => {
            for field in fields {
                match values.get(&field.name) {
                    Some(value) => put(value, &field.shape, out)?,
                    None => out.extend_from_slice(field.default.as_ref()?.as_ref().ok()?),
                }
            }
        }
        _ => return None,
    }
    (out.len() <= MOST_BYTES).then_some(())
}

/// Bytes in a default are a text, each character one of them.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| u8::try_from(character).ok()).collect()
}
