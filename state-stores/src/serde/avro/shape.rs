//! An Avro schema as a tree of what is on the wire: names that refer to others stand for what they mean, and logical types, which change no byte,
//! for the types below them.

use std::collections::BTreeMap;
use std::fmt;

use apache_avro::Schema as Definition;
use apache_avro::schema::{Aliases, InnerDecimalSchema, Name, UuidSchema};

/// How many parts a schema may have, each name counted with all it stands for: names can stand for names, so a short text for any number.
const MOST_PARTS: usize = 10_000;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed { names: Names, size: usize },
    Enum { names: Names, symbols: Vec<String>, default: Option<String> },
    Array(Box<Shape>),
    Map(Box<Shape>),
    Union(Vec<Shape>),
    Record { names: Names, fields: Vec<Field> },
}

/// The full name of a type, and those it also goes by.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Names {
    pub(super) full: String,
    aliases: Vec<String>,
}

/// One field of a record.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) aliases: Vec<String>,
    pub(super) default: Option<serde_json::Value>,
    pub(super) shape: Shape,
}

impl Shape {
    /// The tree of a schema; or why there is none.
    pub(super) fn of(definition: &Definition) -> Result<Self, String> {
        Growing::default().shape(definition, None)
    }

    /// Whether the two are the same type, of the same full name if they have one.
    pub(super) fn is_namesake(&self, other: &Shape) -> bool {
        let is_same_type = std::mem::discriminant(self) == std::mem::discriminant(other);
        let full = |shape: &Shape| shape.names().map(|names| names.full.clone());
        is_same_type && full(self) == full(other)
    }

    fn names(&self) -> Option<&Names> {
        match self {
            Shape::Fixed { names, .. } | Shape::Enum { names, .. } | Shape::Record { names, .. } => {
                Some(names)
            }
            _ => None,
        }
    }

    /// Whether values may take no bytes at all.
    fn may_be_empty(&self) -> bool {
        match self {
            Shape::Null => true,
            Shape::Fixed { size, .. } => *size == 0,
            Shape::Record { fields, .. } => fields.iter().all(|field| field.shape.may_be_empty()),
            _ => false,
        }
    }
}

/// As people write it.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Null => f.write_str("null"),
            Shape::Boolean => f.write_str("boolean"),
            Shape::Int => f.write_str("int"),
            Shape::Long => f.write_str("long"),
            Shape::Float => f.write_str("float"),
            Shape::Double => f.write_str("double"),
            Shape::Bytes => f.write_str("bytes"),
            Shape::String => f.write_str("string"),
            Shape::Fixed { names, size } => write!(f, "fixed {} of {size} bytes", names.full),
            Shape::Enum { names, .. } => write!(f, "enum {}", names.full),
            Shape::Array(items) => write!(f, "array of {items}"),
            Shape::Map(values) => write!(f, "map of {values}"),
            Shape::Union(branches) => {
                let branches: Vec<String> = branches.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", branches.join(", "))
            }
            Shape::Record { names, .. } => write!(f, "record {}", names.full),
        }
    }
}

impl Names {
    fn new(name: &Name, aliases: &Aliases, namespace: Option<&str>) -> Self {
        let own_namespace = name.namespace().or(namespace);
        let aliases = aliases.iter().flatten().map(|alias| alias.fullname(own_namespace)).collect();
        Self { full: name.fullname(namespace), aliases }
    }

    /// Whether what was written under the other's name may be read under this one: the last parts of the names are the same, or this one also
    /// goes by the other.
    pub(super) fn take(&self, written: &Names) -> bool {
        let last = |name: &str| name.rsplit('.').next().map(str::to_owned);
        last(&self.full) == last(&written.full) || self.aliases.contains(&written.full)
    }
}

/// What is known while a tree grows.
#[derive(Default)]
struct Growing<'s> {
    /// The types with names that were met, and the namespace around them.
    named: BTreeMap<String, (&'s Definition, Option<&'s str>)>,
    /// The records around the one that is looked at.
    open: Vec<String>,
    parts: usize,
}

impl<'s> Growing<'s> {
    fn shape(&mut self, definition: &'s Definition, namespace: Option<&'s str>) -> Result<Shape, String> {
        self.parts += 1;
        if self.parts > MOST_PARTS {
            return Err(format!("it has more than {MOST_PARTS} parts"));
        }
        if let (Some(name), false) = (definition.name(), matches!(definition, Definition::Ref { .. })) {
            self.named.insert(name.fullname(namespace), (definition, namespace));
        }
        Ok(match definition {
            Definition::Null => Shape::Null,
            Definition::Boolean => Shape::Boolean,
            Definition::Int | Definition::Date | Definition::TimeMillis => Shape::Int,
            Definition::Long
            | Definition::TimeMicros
            | Definition::TimestampMillis
            | Definition::TimestampMicros
            | Definition::TimestampNanos
            | Definition::LocalTimestampMillis
            | Definition::LocalTimestampMicros
            | Definition::LocalTimestampNanos => Shape::Long,
            Definition::Float => Shape::Float,
            Definition::Double => Shape::Double,
            Definition::Bytes | Definition::BigDecimal | Definition::Uuid(UuidSchema::Bytes) => Shape::Bytes,
            Definition::String | Definition::Uuid(UuidSchema::String) => Shape::String,
            Definition::Decimal(decimal) => match &decimal.inner {
                InnerDecimalSchema::Bytes => Shape::Bytes,
                InnerDecimalSchema::Fixed(fixed) => Shape::Fixed {
                    names: Names::new(&fixed.name, &fixed.aliases, namespace),
                    size: fixed.size,
                },
            },
            Definition::Fixed(fixed)
            | Definition::Duration(fixed)
            | Definition::Uuid(UuidSchema::Fixed(fixed)) => {
                Shape::Fixed { names: Names::new(&fixed.name, &fixed.aliases, namespace), size: fixed.size }
            }
            Definition::Enum(symbols) => Shape::Enum {
                names: Names::new(&symbols.name, &symbols.aliases, namespace),
                symbols: symbols.symbols.clone(),
                default: symbols.default.clone(),
            },
            Definition::Array(array) => Shape::Array(self.items(&array.items, namespace)?),
            Definition::Map(map) => Shape::Map(Box::new(self.shape(&map.types, namespace)?)),
            Definition::Union(union) => {
                let branches = union.variants().iter().map(|branch| self.shape(branch, namespace));
                Shape::Union(branches.collect::<Result<_, _>>()?)
            }
            Definition::Record(record) => {
                let names = Names::new(&record.name, &record.aliases, namespace);
                let namespace = record.name.namespace().or(namespace);
                self.open.push(names.full.clone());
                let fields = record.fields.iter().map(|field| {
                    Ok(Field {
                        name: field.name.clone(),
                        aliases: field.aliases.clone(),
                        default: field.default.clone(),
                        shape: self.shape(&field.schema, namespace)?,
                    })
                });
                let fields = fields.collect::<Result<_, String>>()?;
                self.open.pop();
                Shape::Record { names, fields }
            }
            Definition::Ref { name } => self.meant_by(&name.fullname(namespace))?,
        })
    }

    /// Of items without bytes, a few bytes could claim any number.
    fn items(&mut self, items: &'s Definition, namespace: Option<&'s str>) -> Result<Box<Shape>, String> {
        let items = self.shape(items, namespace)?;
        if items.may_be_empty() {
            return Err(format!(
                "it has an array of {items}, whose items take no bytes, which is not supported"
            ));
        }
        Ok(Box::new(items))
    }

    fn meant_by(&mut self, name: &str) -> Result<Shape, String> {
        if self.open.iter().any(|open| open == name) {
            return Err(format!(
                "the record {name} contains itself, which is not supported: nothing would limit how deep a value is"
            ));
        }
        let (definition, namespace) =
            *self.named.get(name).ok_or_else(|| format!("it does not say what {name} is"))?;
        self.shape(definition, namespace)
    }
}
