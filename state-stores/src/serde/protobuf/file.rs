//! A `.proto` file, as far as bytes depend on it: which messages and enums it declares, where, and which fields they have.

mod parse;
mod tokens;

use std::collections::BTreeMap;

/// What a file declares. Full names are made when they are asked for: all of them together may be much longer than the file.
pub(super) struct File {
    /// Empty if there is none.
    package: String,
    types: Vec<Type>,
    declared: Declared,
}

/// A message or an enum by its place among all that a file declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TypeId(usize);

/// What a file or a message declares directly.
#[derive(Default)]
struct Declared {
    by_name: BTreeMap<String, TypeId>,
    /// In the order of the file, which bytes go by.
    messages: Vec<TypeId>,
}

struct Type {
    name: String,
    /// The message around it.
    outer: Option<TypeId>,
    body: Body,
}

enum Body {
    Message {
        /// Its number among the messages that are declared beside it; none of an entry of a map, which the file does not write.
        place: Option<usize>,
        fields: BTreeMap<u32, Field>,
        declared: Declared,
    },
    /// The names of its numbers.
    Enum(BTreeMap<i32, String>),
}

/// A field of a message.
pub(super) struct Field {
    pub(super) name: String,
    pub(super) label: Label,
    /// Of those that share one place, the smallest number.
    pub(super) oneof: Option<u32>,
    type_name: String,
    is_group: bool,
}

/// How often a field is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// The file does not say.
    Implicit,
    Optional,
    Required,
    Repeated,
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'f> {
    Scalar(Scalar),
    Message(TypeId),
    /// A message between two marks in place of behind its length.
    Group(TypeId),
    Enum(TypeId),
    /// A message or an enum of a file that is imported.
    Elsewhere(&'f str),
}

/// A type that is not declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
}

impl Scalar {
    const ALL: [(&'static str, Scalar); 15] = [
        ("double", Scalar::Double),
        ("float", Scalar::Float),
        ("int32", Scalar::Int32),
        ("int64", Scalar::Int64),
        ("uint32", Scalar::Uint32),
        ("uint64", Scalar::Uint64),
        ("sint32", Scalar::Sint32),
        ("sint64", Scalar::Sint64),
        ("fixed32", Scalar::Fixed32),
        ("fixed64", Scalar::Fixed64),
        ("sfixed32", Scalar::Sfixed32),
        ("sfixed64", Scalar::Sfixed64),
        ("bool", Scalar::Bool),
        ("string", Scalar::String),
        ("bytes", Scalar::Bytes),
    ];

    fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find_map(|(known, scalar)| (known == name).then_some(scalar))
    }

    /// Its name in a file.
    pub(super) fn name(self) -> &'static str {
        Self::ALL.into_iter().find_map(|(name, scalar)| (scalar == self).then_some(name)).unwrap_or_default()
    }
}

impl File {
    /// The message with this full name.
    pub(super) fn message(&self, full_name: &str) -> Option<TypeId> {
        self.declared_in(None, self.within_package(full_name)?).filter(|found| self.is_written_out(*found))
    }

    /// The place of a message: its number among those of the file, then among those declared within that one, and so on.
    pub(super) fn place(&self, message: TypeId) -> Vec<u32> {
        let number = |id: TypeId| match &self.types[id.0].body {
            Body::Message { place: Some(place), .. } => u32::try_from(*place).ok(),
            Body::Message { place: None, .. } | Body::Enum(_) => None,
        };
        let mut place: Vec<u32> = self.outwards(message).filter_map(number).collect();
        place.reverse();
        place
    }

    /// The full name of the message in a place.
    pub(super) fn name_at(&self, place: &[u32]) -> Option<String> {
        let mut message = None;
        for number in place {
            let beside = &self.declared(message)?.messages;
            message = Some(*beside.get(usize::try_from(*number).ok()?)?);
        }
        message.map(|message| self.full_name(message))
    }

    /// The full names of all messages, in the order of the file.
    pub(super) fn message_names(&self) -> impl Iterator<Item = String> {
        let ids = (0..self.types.len()).map(TypeId);
        ids.filter(|id| self.is_written_out(*id)).map(|id| self.full_name(id))
    }

    /// A name with the package and the messages around it.
    pub(super) fn full_name(&self, id: TypeId) -> String {
        let mut names: Vec<&str> = self.outwards(id).map(|id| self.types[id.0].name.as_str()).collect();
        names.extend(Some(self.package.as_str()).filter(|package| !package.is_empty()));
        names.reverse();
        names.join(".")
    }

    /// Whether a type here and one of another file have the same full name.
    pub(super) fn names_as(&self, id: TypeId, other: &File, other_id: TypeId) -> bool {
        let own = self.outwards(id).map(|id| &self.types[id.0].name);
        let others = other.outwards(other_id).map(|id| &other.types[id.0].name);
        self.package == other.package && own.eq(others)
    }

    /// The fields of a message, by their numbers.
    pub(super) fn fields(&self, message: TypeId) -> &BTreeMap<u32, Field> {
        static NONE: BTreeMap<u32, Field> = BTreeMap::new();
        match &self.types[message.0].body {
            Body::Message { fields, .. } => fields,
            Body::Enum(_) => &NONE,
        }
    }

    /// The names of an enum's numbers.
    pub(super) fn values(&self, of_enum: TypeId) -> &BTreeMap<i32, String> {
        static NONE: BTreeMap<i32, String> = BTreeMap::new();
        match &self.types[of_enum.0].body {
            Body::Enum(values) => values,
            Body::Message { .. } => &NONE,
        }
    }

    /// The type of a field of this message.
    pub(super) fn kind<'f>(&'f self, message: TypeId, field: &'f Field) -> Kind<'f> {
        let name = field.type_name.as_str();
        if let Some(scalar) = Scalar::of_name(name) {
            return Kind::Scalar(scalar);
        }
        match self.meant_by(name, message) {
            Some(id) if field.is_group => Kind::Group(id),
            Some(id) if self.is_message(id) => Kind::Message(id),
            Some(id) => Kind::Enum(id),
            None => Kind::Elsewhere(name.strip_prefix('.').unwrap_or(name)),
        }
    }

    /// The type that a name means within a message: that of the innermost scope that has it.
    fn meant_by(&self, name: &str, within: TypeId) -> Option<TypeId> {
        if let Some(full_name) = name.strip_prefix('.') {
            return self.declared_in(None, self.within_package(full_name)?);
        }
        let scopes = self.outwards(within).map(Some).chain([None]);
        // The package, or only its last parts, may be written before it.
        let rest_of = |package: &str| name.strip_prefix(package)?.strip_prefix('.');
        let packages = std::iter::successors(Some(self.package.as_str()), |package| {
            package.split_once('.').map(|(_, inner)| inner)
        });
        scopes
            .map(|scope| self.declared_in(scope, name))
            .chain(packages.filter_map(rest_of).map(|name| self.declared_in(None, name)))
            .find_map(|found| found)
    }

    fn within_package<'n>(&self, full_name: &'n str) -> Option<&'n str> {
        if self.package.is_empty() {
            return Some(full_name);
        }
        full_name.strip_prefix(self.package.as_str())?.strip_prefix('.')
    }

    /// What a message, or the file, declares under a name, which may have several parts.
    fn declared_in(&self, message: Option<TypeId>, name: &str) -> Option<TypeId> {
        let mut found = message;
        for part in name.split('.') {
            found = Some(*self.declared(found)?.by_name.get(part)?);
        }
        found
    }

    /// What a message, or the file, declares.
    fn declared(&self, message: Option<TypeId>) -> Option<&Declared> {
        match message.map(|message| &self.types[message.0].body) {
            None => Some(&self.declared),
            Some(Body::Message { declared, .. }) => Some(declared),
            Some(Body::Enum(_)) => None,
        }
    }

    fn is_message(&self, id: TypeId) -> bool {
        matches!(self.types[id.0].body, Body::Message { .. })
    }

    /// Whether it is a message that the file writes.
    fn is_written_out(&self, id: TypeId) -> bool {
        matches!(self.types[id.0].body, Body::Message { place: Some(_), .. })
    }

    /// The type, and the messages around it, from the inside out.
    fn outwards(&self, id: TypeId) -> impl Iterator<Item = TypeId> {
        std::iter::successors(Some(id), |id| self.types[id.0].outer)
    }
}

#[cfg(test)]
mod tests;
