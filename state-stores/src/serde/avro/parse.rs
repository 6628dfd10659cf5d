//! The text of a schema, read as a [`Shape`].
//!
//! The library reads a type's own schema, which the program has itself. Others' schemas come from a registry, and it is not made for any text: some of
//! its errors panic over attributes that it does not know, and to check a default takes it time that doubles with each union within another.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::{Map, Value};

use super::default;
use super::shape::{Digits, Field, Names, Shape, full_name, namespace};

/// How many parts a schema may have, each name counted with all it stands for: names can stand for names, so a short text for any number.
const MOST_PARTS: usize = 10_000;

/// How deep its parts may lie within each other: whatever is done with a schema is done part within part.
const MOST_DEPTH: usize = 100;

/// How many bytes a full name may have: all names within a record may begin with its namespace.
const MOST_NAME_BYTES: usize = 1_000;

impl Shape {
    /// The tree of a schema, which is JSON; or why there is none.
    pub(super) fn parse(schema: &str) -> Result<Self, String> {
        // No deeper than 128 brackets: the library of JSON sees to that.
        let json = serde_json::from_str(schema).map_err(malformed)?;
        Growing::default().shape(&json, "")
    }

    /// The tree of a schema that values are read by, so that its defaults matter, too.
    pub(super) fn parse_to_read_by(schema: &str) -> Result<Self, String> {
        let shape = Self::parse(schema)?;
        shape.check_defaults().map_err(malformed)?;
        Ok(shape)
    }
}

fn malformed(reason: impl std::fmt::Display) -> String {
    format!("it is no Avro schema: {reason}")
}

type Object = Map<String, Value>;

/// What is known while a tree grows.
#[derive(Default)]
struct Growing<'s> {
    /// The types with names that were met, and the namespace around each.
    named: BTreeMap<String, (&'s Object, String)>,
    /// The records around the one that is looked at.
    open: Vec<String>,
    depth: usize,
    parts: usize,
}

impl<'s> Growing<'s> {
    fn shape(&mut self, json: &'s Value, namespace: &str) -> Result<Shape, String> {
        self.parts += 1;
        if self.parts > MOST_PARTS {
            return Err(format!("it has more than {MOST_PARTS} parts"));
        }
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err(format!("its parts lie more than {MOST_DEPTH} deep within each other"));
        }
        let shape = match json {
            Value::String(name) => self.called(name, namespace)?,
            Value::Array(branches) => self.union(branches, namespace)?,
            Value::Object(object) => self.object(object, namespace)?,
            other => return Err(malformed(format!("{other} is no type"))),
        };
        self.depth -= 1;
        Ok(shape)
    }

    fn called(&mut self, name: &str, namespace: &str) -> Result<Shape, String> {
        Ok(match name {
            "null" => Shape::Null,
            "boolean" => Shape::Boolean,
            "int" => Shape::Int,
            "long" => Shape::Long,
            "float" => Shape::Float,
            "double" => Shape::Double,
            "bytes" => Shape::Bytes,
            "string" => Shape::String,
            _ => self.meant_by(&full_name(name, namespace))?,
        })
    }

    fn meant_by(&mut self, name: &str) -> Result<Shape, String> {
        if self.open.iter().any(|open| open == name) {
            return Err(format!(
                "the record {name} contains itself, which is not supported: nothing would limit how deep a value is"
            ));
        }
        let known = self.named.get(name).cloned();
        let (object, namespace) =
            known.ok_or_else(|| malformed(format!("it does not say what {name} is")))?;
        self.object(object, &namespace)
    }

    fn union(&mut self, branches: &'s [Value], namespace: &str) -> Result<Shape, String> {
        let branches: Vec<_> =
            branches.iter().map(|branch| self.shape(branch, namespace)).collect::<Result<_, _>>()?;
        let mut met = HashSet::new();
        for branch in &branches {
            if let Shape::Union(_) = branch {
                return Err(malformed(format!("{branch} is a branch of another union")));
            }
            if !met.insert(branch.identity()) {
                return Err(malformed(format!("a union has {branch} twice")));
            }
        }
        Ok(Shape::Union(branches))
    }

    fn object(&mut self, object: &'s Object, namespace: &str) -> Result<Shape, String> {
        let shape = match attribute(object, "type")? {
            Value::String(kind) if kind == "record" => self.record(object, namespace)?,
            Value::String(kind) if kind == "enum" => self.symbols(object, namespace)?,
            Value::String(kind) if kind == "fixed" => self.fixed(object, namespace)?,
            Value::String(kind) if kind == "array" => self.array(object, namespace)?,
            Value::String(kind) if kind == "map" => {
                Shape::Map(Box::new(self.shape(attribute(object, "values")?, namespace)?))
            }
            kind => self.shape(kind, namespace)?,
        };
        if let Some(digits) = digits(object, &shape) {
            return Ok(Shape::Decimal { digits, carrier: Box::new(shape) });
        }
        Ok(match logical_type(object, &shape) {
            Some(name) => Shape::Logical { name: short(name)?.to_owned(), carrier: Box::new(shape) },
            None => shape,
        })
    }

    fn record(&mut self, object: &'s Object, namespace_around: &str) -> Result<Shape, String> {
        let names = self.names(object, namespace_around)?;
        self.open.push(names.full.clone());
        let mut met = BTreeSet::new();
        let mut fields = Vec::new();
        for field in list(object, "fields")? {
            let field = field
                .as_object()
                .ok_or_else(|| malformed(format!("{field} is no field of {}", names.full)))?;
            let name = text(field, "name")?;
            if !met.insert(name) {
                return Err(malformed(format!("two fields of {} are called {name}", names.full)));
            }
            let shape = self.shape(attribute(field, "type")?, namespace(&names.full))?;
            let default = field.get("default").map(|default| default::encoded(default, &shape));
            fields.push(Field { name: name.to_owned(), aliases: aliases(field), default, shape });
        }
        self.open.pop();
        Ok(Shape::Record { names, fields })
    }

    fn symbols(&mut self, object: &'s Object, namespace: &str) -> Result<Shape, String> {
        let names = self.names(object, namespace)?;
        let in_enum = |reason| malformed(format!("{reason} in the enum {}", names.full));
        let mut symbols = Vec::new();
        let mut met = BTreeSet::new();
        for symbol in list(object, "symbols")? {
            let symbol = symbol.as_str().ok_or_else(|| in_enum(format!("{symbol} is no symbol")))?;
            if !met.insert(symbol) {
                return Err(in_enum(format!("the symbol {symbol} is twice")));
            }
            symbols.push(symbol.to_owned());
        }
        let default = object.get("default").map(|default| match default {
            Value::String(default) if met.contains(default.as_str()) => Ok(default.clone()),
            other => Err(format!("its default {other} is no symbol")),
        });
        Ok(Shape::Enum { names, symbols, default })
    }

    fn fixed(&mut self, object: &'s Object, namespace: &str) -> Result<Shape, String> {
        let names = self.names(object, namespace)?;
        let size = attribute(object, "size")?;
        let bytes = size.as_u64().and_then(|size| usize::try_from(size).ok());
        let size = bytes.ok_or_else(|| malformed(format!("{size} is no size of {}", names.full)))?;
        Ok(Shape::Fixed { names, size })
    }

    /// Of items without bytes, a few bytes could claim any number.
    fn array(&mut self, object: &'s Object, namespace: &str) -> Result<Shape, String> {
        let items = self.shape(attribute(object, "items")?, namespace)?;
        if items.may_be_empty() {
            return Err(format!(
                "it has an array of {items}, whose items take no bytes, which is not supported"
            ));
        }
        Ok(Shape::Array(Box::new(items)))
    }

    /// The names of a type, by which others may mean it from here on.
    fn names(&mut self, object: &'s Object, namespace: &str) -> Result<Names, String> {
        let own_namespace = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
        let full = full_name(text(object, "name")?, own_namespace);
        short(&full)?;
        self.named.insert(full.clone(), (object, namespace.to_owned()));
        Ok(Names::new(full, aliases(object)))
    }
}

/// The name of the logical type that the object says its type carries, if that may carry one.
fn logical_type<'s>(object: &'s Object, carrier: &Shape) -> Option<&'s str> {
    let may_carry =
        matches!(carrier, Shape::Int | Shape::Long | Shape::Bytes | Shape::String | Shape::Fixed { .. });
    object.get("logicalType")?.as_str().filter(|_| may_carry)
}

/// The name, if it is not too long.
fn short(name: &str) -> Result<&str, String> {
    if name.len() > MOST_NAME_BYTES {
        return Err(format!("one of its names has more than {MOST_NAME_BYTES} bytes"));
    }
    Ok(name)
}

/// The digits, if the object says that its type carries a decimal. One that says it wrongly has none.
fn digits(object: &Object, carrier: &Shape) -> Option<Digits> {
    match (object.get("logicalType")?.as_str()?, carrier) {
        ("big-decimal", Shape::Bytes) => Some(Digits::OfEachValue),
        ("decimal", Shape::Bytes | Shape::Fixed { .. }) => {
            let precision = object.get("precision")?.as_u64()?;
            let scale = object.get("scale").map_or(Some(0), Value::as_u64)?;
            (precision > 0 && scale <= precision).then_some(Digits::Of { precision, scale })
        }
        _ => None,
    }
}

fn attribute<'s>(object: &'s Object, name: &str) -> Result<&'s Value, String> {
    object.get(name).ok_or_else(|| malformed(format!("a {name:?} is missing")))
}

fn text<'s>(object: &'s Object, name: &str) -> Result<&'s str, String> {
    attribute(object, name)?
        .as_str()
        .filter(|text| !text.is_empty())
        .ok_or_else(|| malformed(format!("a {name:?} is no text")))
}

fn list<'s>(object: &'s Object, name: &str) -> Result<&'s [Value], String> {
    attribute(object, name)?
        .as_array()
        .map(Vec::as_slice)
        .ok_or_else(|| malformed(format!("{name:?} are no list")))
}

fn aliases(object: &Object) -> Vec<String> {
    let aliases = object.get("aliases").and_then(Value::as_array);
    aliases.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
