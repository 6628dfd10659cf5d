//! An Avro schema as a tree of what is on the wire: names that refer to others stand for what they mean, and logical types lie
//! around the types that carry them. Those of decimals are known: their bytes mean another number where the scale is another.

use std::fmt;
use std::mem::{Discriminant, discriminant};

#[derive(Clone, Debug)]
pub(super) enum Shape {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Decimal {
        digits: Digits,
        carrier: Box<Shape>,
    },
    /// Any other logical type, by its name.
    Logical {
        name: String,
        carrier: Box<Shape>,
    },
    Fixed {
        names: Names,
        size: usize,
    },
    Enum {
        names: Names,
        symbols: Vec<String>,
        default: Option<DefaultOf<String>>,
    },
    Array(Box<Shape>),
    Map(Box<Shape>),
    Union(Vec<Shape>),
    Record {
        names: Names,
        fields: Vec<Field>,
    },
}

/// What a schema says is there where nothing was written; or why that cannot be. It matters only to who reads by the schema: what was written by
/// it can be read whatever its defaults are.
pub(super) type DefaultOf<D> = Result<D, String>;

/// How many digits a decimal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Digits {
    /// So many, `scale` of them behind the point.
    Of { precision: u64, scale: u64 },
    /// Each value says it (`big-decimal`).
    OfEachValue,
}

/// The full name of a type, and those it also goes by.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) full: String,
    /// Those without a namespace are in that of the full name.
    aliases: Vec<String>,
}

/// One field of a record.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) aliases: Vec<String>,
    /// As it is on the wire.
    pub(super) default: Option<DefaultOf<Vec<u8>>>,
    pub(super) shape: Shape,
}

impl Shape {
    /// Whether the two say the same in other words: names, bytes and logical types are the same. Aliases and defaults, which matter to other schemas'
    /// values, may differ.
    pub(super) fn is_exactly(&self, other: &Shape) -> bool {
        self.agrees(other, &|one, other| one.logical_type() == other.logical_type())
    }

    /// The same, whatever the logical types are.
    pub(super) fn says_the_same(&self, other: &Shape) -> bool {
        self.agrees(other, &|_, _| true)
    }

    fn agrees(&self, other: &Shape, logical_types_agree: &dyn Fn(&Shape, &Shape) -> bool) -> bool {
        let agree = |one: &Shape, other: &Shape| one.agrees(other, logical_types_agree);
        logical_types_agree(self, other)
            && self.full_name() == other.full_name()
            && match (self.without_logical_type(), other.without_logical_type()) {
                (Shape::Decimal { digits, carrier }, Shape::Decimal { digits: others, carrier: other }) => {
                    digits == others && agree(carrier, other)
                }
                (Shape::Fixed { size, .. }, Shape::Fixed { size: other, .. }) => size == other,
                (Shape::Enum { symbols, .. }, Shape::Enum { symbols: others, .. }) => symbols == others,
                (Shape::Array(part), Shape::Array(other)) | (Shape::Map(part), Shape::Map(other)) => {
                    agree(part, other)
                }
                (Shape::Union(branches), Shape::Union(others)) => {
                    branches.len() == others.len()
                        && branches.iter().zip(others).all(|(branch, other)| agree(branch, other))
                }
                (Shape::Record { fields, .. }, Shape::Record { fields: others, .. }) => {
                    fields.len() == others.len()
                        && fields.iter().zip(others).all(|(field, other)| {
                            field.name == other.name && agree(&field.shape, &other.shape)
                        })
                }
                (one, other) => discriminant(one) == discriminant(other),
            }
    }

    /// What tells the branches of a union apart: the type on the wire, and its full name if it has one.
    pub(super) fn identity(&self) -> (Discriminant<Shape>, Option<&str>) {
        (discriminant(self.on_wire()), self.full_name())
    }

    /// The full name, of types that have one.
    pub(super) fn full_name(&self) -> Option<&str> {
        match self.on_wire() {
            Shape::Fixed { names, .. } | Shape::Enum { names, .. } | Shape::Record { names, .. } => {
                Some(&names.full)
            }
            _ => None,
        }
    }

    /// The type that carries a logical type; any other is itself.
    pub(super) fn on_wire(&self) -> &Shape {
        match self {
            Shape::Decimal { carrier, .. } | Shape::Logical { carrier, .. } => carrier,
            other => other,
        }
    }

    /// The same for all logical types but decimals.
    pub(super) fn without_logical_type(&self) -> &Shape {
        match self {
            Shape::Logical { carrier, .. } => carrier,
            other => other,
        }
    }

    /// The name of its logical type, if it has one and is no decimal.
    pub(super) fn logical_type(&self) -> Option<&str> {
        match self {
            Shape::Logical { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Whether values may take no bytes at all.
    pub(super) fn may_be_empty(&self) -> bool {
        match self.on_wire() {
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
            Shape::Decimal { digits: Digits::Of { precision, scale }, carrier } => {
                write!(f, "decimal of precision {precision} and scale {scale} in {carrier}")
            }
            Shape::Decimal { digits: Digits::OfEachValue, .. } => f.write_str("big-decimal"),
            Shape::Logical { name, carrier } => write!(f, "{name} in {carrier}"),
            Shape::Fixed { names, size } => write!(f, "fixed {} of {size} bytes", names.full),
            Shape::Enum { names, .. } => write!(f, "enum {}", names.full),
            Shape::Array(items) => write!(f, "array of {items}"),
            Shape::Map(values) => write!(f, "map of {values}"),
            Shape::Union(branches) => {
                f.write_str("[")?;
                for (place, branch) in branches.iter().enumerate() {
                    let separator = if place == 0 { "" } else { ", " };
                    write!(f, "{separator}{branch}")?;
                }
                f.write_str("]")
            }
            Shape::Record { names, .. } => write!(f, "record {}", names.full),
        }
    }
}

impl Digits {
    /// Whether numbers of these digits keep their meaning, and all of their digits, as numbers of `others`.
    pub(super) fn fit(self, others: Digits) -> bool {
        match (self, others) {
            (Digits::Of { precision, scale }, Digits::Of { precision: most, scale: other }) => {
                scale == other && precision <= most
            }
            (Digits::OfEachValue, Digits::OfEachValue) => true,
            _ => false,
        }
    }
}

impl Names {
    /// The aliases as the schema has them.
    pub(super) fn new(full: String, aliases: Vec<String>) -> Self {
        Self { full, aliases }
    }

    /// Whether what was written under the other's name may be read under this one: they are alike, or this one also goes by the other.
    pub(super) fn take(&self, written: &Names) -> bool {
        let namespace = namespace(&self.full);
        self.are_like(written) || self.aliases.iter().any(|alias| full_name(alias, namespace) == written.full)
    }

    /// Whether the last parts of the names are the same.
    pub(super) fn are_like(&self, others: &Names) -> bool {
        last_part(&self.full) == last_part(&others.full)
    }
}

/// The full name of what is called `name` within a namespace, which is empty if there is none.
pub(super) fn full_name(name: &str, namespace: &str) -> String {
    if namespace.is_empty() || name.contains('.') { name.to_owned() } else { format!("{namespace}.{name}") }
}

/// The namespace of a full name; empty if it is in none.
pub(super) fn namespace(full_name: &str) -> &str {
    full_name.rsplit_once('.').map_or("", |(namespace, _)| namespace)
}

/// A full name without its namespace.
pub(super) fn last_part(full_name: &str) -> &str {
    full_name.rsplit_once('.').map_or(full_name, |(_, last)| last)
}
