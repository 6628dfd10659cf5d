//! The text of a `.proto` file, read as a [`File`]. Whatever the text is, what can be found in it is found.

use std::collections::BTreeMap;

use super::tokens::tokens;
use super::{Body, Declared, Field, File, Label, Type, TypeId};

/// Messages within so many others are none, as for `protoc`.
pub(super) const MOST_NESTED: usize = 32;

/// The largest number of a field.
const MOST_FIELD_NUMBER: u32 = (1 << 29) - 1;

impl File {
    /// What a text declares.
    pub(in super::super) fn parse(text: &str) -> Self {
        let file = File { package: String::new(), types: Vec::new(), declared: Declared::default() };
        let mut growing = Growing { file, open: Vec::new(), statement: Vec::new() };
        // What is in brackets says more of a field, but nothing that bytes depend on.
        let mut brackets = 0_usize;
        for token in tokens(text) {
            match token {
                "[" => brackets += 1,
                "]" => brackets = brackets.saturating_sub(1),
                _ if brackets > 0 => {}
                "{" => growing.open_block(),
                // What closes more than it opened is no file.
                "}" => growing.close_block(),
                ";" => growing.end_statement(),
                word => growing.statement.push(word),
            }
        }
        growing.file
    }
}

/// What is known while a text is read.
struct Growing<'t> {
    file: File,
    /// The blocks around the place that is looked at, without the file itself.
    open: Vec<Block>,
    statement: Vec<&'t str>,
}

/// A block in braces.
enum Block {
    Message(TypeId),
    /// Some fields of a message, of which one is there; their numbers.
    Oneof(TypeId, Vec<u32>),
    Enum(TypeId),
    /// Something that declares nothing.
    Other,
}

impl<'t> Growing<'t> {
    fn open_block(&mut self) {
        let statement = std::mem::take(&mut self.statement);
        let block = self.block(&statement).unwrap_or(Block::Other);
        self.open.push(block);
    }

    /// The block that a statement opens.
    fn block(&mut self, statement: &[&'t str]) -> Option<Block> {
        let around = match self.open.last() {
            None => None,
            Some(Block::Message(message) | Block::Oneof(message, _)) => Some(*message),
            Some(Block::Enum(_) | Block::Other) => return None,
        };
        let can_nest = around.is_none_or(|message| self.file.outwards(message).count() < MOST_NESTED);
        match (statement, around) {
            (["message", name], _) if can_nest => Some(Block::Message(self.declare_message(name, around))),
            (["enum", name], _) => Some(Block::Enum(self.declare(name, around, Body::Enum(BTreeMap::new())))),
            (["oneof", _], Some(message)) => Some(Block::Oneof(message, Vec::new())),
            (_, Some(message)) if can_nest => {
                let (label, rest) = split_label(statement);
                let ["group", name, "=", number] = rest else { return None };
                let group = self.declare_message(name, around);
                let field = Field { is_group: true, ..Field::new(&name.to_lowercase(), label, name) };
                self.put_field(message, number, field);
                Some(Block::Message(group))
            }
            _ => None,
        }
    }

    fn close_block(&mut self) {
        self.statement.clear();
        if let Some(Block::Oneof(message, numbers)) = self.open.pop()
            && let Body::Message { fields, .. } = &mut self.file.types[message.0].body
        {
            let smallest = numbers.iter().min().copied();
            for number in &numbers {
                if let Some(field) = fields.get_mut(number) {
                    field.oneof = smallest;
                }
            }
        }
    }

    fn end_statement(&mut self) {
        let statement = std::mem::take(&mut self.statement);
        match (self.open.last(), statement.as_slice()) {
            (None, ["package", name]) => self.file.package = (*name).to_owned(),
            (Some(Block::Message(message) | Block::Oneof(message, _)), words) => {
                let message = *message;
                self.field(message, words);
            }
            (Some(Block::Enum(id)), [name, "=", number @ ..]) => {
                if let (Body::Enum(values), Some(number)) =
                    (&mut self.file.types[id.0].body, enum_number(number))
                {
                    values.entry(number).or_insert_with(|| (*name).to_owned());
                }
            }
            _ => {}
        }
    }

    fn field(&mut self, message: TypeId, words: &[&str]) {
        match split_label(words) {
            // An option of the message.
            (_, ["option", ..]) => {}
            (_, ["map", "<", key, ",", value, ">", name, "=", number]) => {
                let entry = self.declare_entry(message, name, key, value);
                self.put_field(message, number, Field::new(name, Label::Repeated, &entry));
            }
            (label, [type_name, name, "=", number]) => {
                self.put_field(message, number, Field::new(name, label, type_name));
            }
            _ => {}
        }
    }

    /// The first of a number is its field.
    fn put_field(&mut self, message: TypeId, number: &str, field: Field) {
        let Some(number) = field_number(number) else { return };
        if let Some(Block::Oneof(_, numbers)) = self.open.last_mut() {
            numbers.push(number);
        }
        if let Body::Message { fields, .. } = &mut self.file.types[message.0].body {
            fields.entry(number).or_insert(field);
        }
    }

    fn declare_message(&mut self, name: &str, outer: Option<TypeId>) -> TypeId {
        let place = self.file.declared(outer).map(|declared| declared.messages.len());
        let body = Body::Message { place, fields: BTreeMap::new(), declared: Declared::default() };
        let message = self.declare(name, outer, body);
        if let Some(declared) = self.declared_mut(outer) {
            declared.messages.push(message);
        }
        message
    }

    /// A map is a list of messages that the file does not write; its name. Those are none of the messages that bytes number.
    fn declare_entry(&mut self, message: TypeId, field: &str, key: &str, value: &str) -> String {
        let words = field.split('_').map(|word| {
            let mut letters = word.chars();
            letters
                .next()
                .map(|first| first.to_uppercase().chain(letters).collect::<String>())
                .unwrap_or_default()
        });
        let name = words.collect::<String>() + "Entry";
        let fields = BTreeMap::from([
            (1, Field::new("key", Label::Implicit, key)),
            (2, Field::new("value", Label::Implicit, value)),
        ]);
        self.declare(
            &name,
            Some(message),
            Body::Message { place: None, fields, declared: Declared::default() },
        );
        name
    }

    /// The first of a name is what it means.
    fn declare(&mut self, name: &str, outer: Option<TypeId>, body: Body) -> TypeId {
        let id = TypeId(self.file.types.len());
        self.file.types.push(Type { name: name.to_owned(), outer, body });
        if let Some(declared) = self.declared_mut(outer) {
            declared.by_name.entry(name.to_owned()).or_insert(id);
        }
        id
    }

    fn declared_mut(&mut self, message: Option<TypeId>) -> Option<&mut Declared> {
        match message.map(|message| &mut self.file.types[message.0].body) {
            None => Some(&mut self.file.declared),
            Some(Body::Message { declared, .. }) => Some(declared),
            Some(Body::Enum(_)) => None,
        }
    }
}

impl Field {
    fn new(name: &str, label: Label, type_name: &str) -> Self {
        let (name, type_name) = (name.to_owned(), type_name.to_owned());
        Self { name, label, oneof: None, type_name, is_group: false }
    }
}

/// How often a field is there, and what else its statement says.
fn split_label<'s, 't>(statement: &'s [&'t str]) -> (Label, &'s [&'t str]) {
    match statement {
        ["optional", rest @ ..] => (Label::Optional, rest),
        ["required", rest @ ..] => (Label::Required, rest),
        ["repeated", rest @ ..] => (Label::Repeated, rest),
        rest => (Label::Implicit, rest),
    }
}

fn field_number(text: &str) -> Option<u32> {
    let number = u32::try_from(number(text)?).ok()?;
    (1..=MOST_FIELD_NUMBER).contains(&number).then_some(number)
}

fn enum_number(words: &[&str]) -> Option<i32> {
    let number = match words {
        ["-", digits] => -number(digits)?,
        [digits] => number(digits)?,
        _ => return None,
    };
    i32::try_from(number).ok()
}

/// A number as the language writes it: decimal, hexadecimal or octal.
fn number(text: &str) -> Option<i64> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (text.get(2..)?, 16),
        [b'0', _, ..] => (text.get(1..)?, 8),
        _ => (text, 10),
    };
    digits
        .starts_with(|digit: char| digit.is_ascii_hexdigit())
        .then(|| i64::from_str_radix(digits, radix).ok())?
}
