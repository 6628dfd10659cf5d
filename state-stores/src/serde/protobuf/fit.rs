//! What a message of one file has to do with a message of another: whether what is written by the one can be read by the other, by
//! [the rules](https://protobuf.dev/programming-guides/proto3/#updating) of Protocol Buffers, and how near they are to each other. The order of
//! declarations, options and comments make no difference.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::file::{Field, File, Kind, Label, Scalar, TypeId};
use crate::schema::SchemaMatch;

/// How many pairs of messages are compared at most.
const MOST_PAIRS: usize = 10_000;

/// A message of a file.
#[derive(Clone, Copy)]
pub(super) struct Side<'f> {
    pub(super) file: &'f File,
    pub(super) message: TypeId,
}

/// What is written by one message, as another reads it.
pub(super) struct Fit {
    /// Why it cannot be read.
    pub(super) misfit: Option<Misfit>,
    /// What is not read as it was written, though it can be read.
    pub(super) change: Option<Misfit>,
    /// What is written, and not read.
    pub(super) left_out: Option<Misfit>,
    /// Whether bytes mean the same, under whatever names.
    is_same: bool,
    /// Whether all names are the same as well.
    is_exact: bool,
    /// How many of the fields of the messages themselves are read and were written, under the same name.
    own_written: usize,
    /// The same, with those of the messages within.
    written: usize,
    missing: usize,
}

/// A field that does not fit, and why.
pub(super) struct Misfit {
    /// Such as `shop.Order.Line.sku`.
    pub(super) path: String,
    pub(super) reason: String,
}

impl Fit {
    /// How near what is written is to what is read.
    pub(super) fn schema_match(&self) -> SchemaMatch {
        match self {
            Fit { misfit: Some(_), .. } => SchemaMatch::Other,
            Fit { is_same: true, is_exact: true, .. } => SchemaMatch::Exact,
            Fit { is_same: true, .. } => SchemaMatch::Same,
            Fit { own_written: 0, .. } => SchemaMatch::Other,
            Fit { written, missing, change, .. } => SchemaMatch::Readable {
                written: *written,
                missing: Reverse(*missing),
                always: change.is_none(),
            },
        }
    }
}

/// Compares what is written with what is read.
pub(super) fn compare(written: Side<'_>, read: Side<'_>) -> Fit {
    let fit = Fit {
        misfit: None,
        change: None,
        left_out: None,
        is_same: true,
        is_exact: true,
        own_written: 0,
        written: 0,
        missing: 0,
    };
    let mut comparing =
        Comparing { written: written.file, read: read.file, fit, met: BTreeSet::new(), ahead: Vec::new() };
    comparing.meet(written.message, read.message);
    // Messages may contain themselves, and others so deep that no stack would hold them.
    while comparing.fit.misfit.is_none()
        && let Some((of_written, of_read)) = comparing.ahead.pop()
    {
        comparing.compare_messages(of_written, of_read);
        if (of_written, of_read) == (written.message, read.message) {
            comparing.fit.own_written = comparing.fit.written;
        }
    }
    comparing.fit
}

struct Comparing<'f> {
    written: &'f File,
    read: &'f File,
    fit: Fit,
    met: BTreeSet<(TypeId, TypeId)>,
    ahead: Vec<(TypeId, TypeId)>,
}

impl<'f> Comparing<'f> {
    /// Compares two messages, if they are not compared yet.
    fn meet(&mut self, written: TypeId, read: TypeId) {
        if !self.met.insert((written, read)) {
            return;
        }
        if self.met.len() > MOST_PAIRS {
            let reason = format!("more than {MOST_PAIRS} messages would have to be compared");
            self.fit.misfit.get_or_insert(Misfit { path: self.read.full_name(read), reason });
        } else {
            self.ahead.push((written, read));
        }
    }

    fn compare_messages(&mut self, written: TypeId, read: TypeId) {
        self.fit.is_exact &= self.written.names_as(written, self.read, read);
        let (written_file, read_file) = (self.written, self.read);
        let (written_fields, read_fields) = (written_file.fields(written), read_file.fields(read));
        let mut oneofs = BTreeMap::new();
        for (number, field) in read_fields {
            let Some(of_writer) = written_fields.get(number) else {
                self.fit.is_same = false;
                self.fit.missing += 1;
                if field.label == Label::Required {
                    let reason = "it is required, and was not written".to_owned();
                    self.fit
                        .misfit
                        .get_or_insert_with(|| Misfit { path: path(read_file, read, field), reason });
                }
                continue;
            };
            if of_writer.name == field.name {
                self.fit.written += 1;
            } else {
                self.fit.missing += 1;
                self.fit.is_exact = false;
            }
            self.compare_fields((written, of_writer), (read, field));
            self.fit.is_same &= of_writer.oneof == field.oneof;
            let stays_apart = field.oneof.is_none_or(|oneof| {
                let before = oneofs.insert(oneof, of_writer.oneof);
                before.is_none_or(|before| before.is_some() && before == of_writer.oneof)
            });
            if !stays_apart {
                let reason =
                    "it shares its place with others as it is read, and not as it was written".to_owned();
                self.fit.change.get_or_insert_with(|| Misfit { path: path(read_file, read, field), reason });
            }
        }
        for (_, field) in written_fields.iter().filter(|(number, _)| !read_fields.contains_key(number)) {
            self.fit.is_same = false;
            let reason = "it is written, and not read".to_owned();
            self.fit
                .left_out
                .get_or_insert_with(|| Misfit { path: path(written_file, written, field), reason });
        }
    }

    fn compare_fields(&mut self, written: (TypeId, &'f Field), read: (TypeId, &'f Field)) {
        let (of_writer, of_reader) =
            (self.written.kind(written.0, written.1), self.read.kind(read.0, read.1));
        self.fit.is_same &= match (of_writer, of_reader) {
            (Kind::Message(_), Kind::Message(_))
            | (Kind::Group(_), Kind::Group(_))
            | (Kind::Enum(_), Kind::Enum(_)) => true,
            (of_writer, of_reader) => of_writer == of_reader,
        };
        let (label, read_label) = (written.1.label, read.1.label);
        self.fit.is_same &= (label == Label::Repeated) == (read_label == Label::Repeated);
        self.fit.is_exact &= label == read_label;
        let outcome = of_kinds(of_writer, of_reader)
            .max(self.compare_enums(of_writer, of_reader))
            .max(of_labels(label, read_label, of_writer));
        let misfit = || {
            let of_writer = described(self.written, of_writer, written.1.label);
            let of_reader = described(self.read, of_reader, read.1.label);
            let reason = format!("it is written as {of_writer}, and read as {of_reader}");
            Misfit { path: path(self.read, read.0, read.1), reason }
        };
        match outcome {
            Outcome::Kept => {}
            Outcome::Changed if self.fit.change.is_some() => {}
            Outcome::Changed => self.fit.change = Some(misfit()),
            Outcome::Unreadable if self.fit.misfit.is_some() => {}
            Outcome::Unreadable => self.fit.misfit = Some(misfit()),
        }
        if let (Kind::Message(of_writer), Kind::Message(of_reader))
        | (Kind::Group(of_writer), Kind::Group(of_reader)) = (of_writer, of_reader)
        {
            self.meet(of_writer, of_reader);
        }
    }

    fn compare_enums(&mut self, written: Kind<'f>, read: Kind<'f>) -> Outcome {
        let (Kind::Enum(written), Kind::Enum(read)) = (written, read) else { return Outcome::Kept };
        let (of_writer, of_reader) = (self.written.values(written), self.read.values(read));
        self.fit.is_same &= of_writer.keys().eq(of_reader.keys());
        self.fit.is_exact &= of_writer == of_reader && self.written.names_as(written, self.read, read);
        let is_known = of_writer.keys().all(|number| of_reader.contains_key(number));
        if is_known { Outcome::Kept } else { Outcome::Changed }
    }
}

/// What becomes of a value that is written as one type, and read as another; the worse, the greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Kept,
    /// It can be read, and some values are others then.
    Changed,
    Unreadable,
}

fn of_kinds(written: Kind<'_>, read: Kind<'_>) -> Outcome {
    match (written, read) {
        (Kind::Scalar(written), Kind::Scalar(read)) => of_scalars(written, read),
        (Kind::Message(_), Kind::Message(_))
        | (Kind::Group(_), Kind::Group(_))
        | (Kind::Enum(_), Kind::Enum(_)) => Outcome::Kept,
        (Kind::Enum(_), Kind::Scalar(Scalar::Int32 | Scalar::Int64)) => Outcome::Kept,
        (Kind::Enum(_), Kind::Scalar(scalar)) | (Kind::Scalar(scalar), Kind::Enum(_))
            if is_plain_varint(scalar) =>
        {
            Outcome::Changed
        }
        (Kind::Message(_), Kind::Scalar(Scalar::Bytes)) | (Kind::Scalar(Scalar::Bytes), Kind::Message(_)) => {
            Outcome::Changed
        }
        (Kind::Elsewhere(written), Kind::Elsewhere(read)) if written == read => Outcome::Kept,
        // It may be a message, or an enum.
        (Kind::Elsewhere(_), Kind::Elsewhere(_) | Kind::Message(_) | Kind::Enum(_))
        | (Kind::Message(_) | Kind::Enum(_), Kind::Elsewhere(_)) => Outcome::Changed,
        (Kind::Elsewhere(_), Kind::Scalar(scalar)) | (Kind::Scalar(scalar), Kind::Elsewhere(_))
            if scalar == Scalar::Bytes || is_plain_varint(scalar) =>
        {
            Outcome::Changed
        }
        _ => Outcome::Unreadable,
    }
}

fn of_scalars(written: Scalar, read: Scalar) -> Outcome {
    use Scalar::{
        Bool, Bytes, Fixed32, Fixed64, Int32, Int64, Sfixed32, Sfixed64, Sint32, Sint64, String, Uint32,
        Uint64,
    };
    match (written, read) {
        (written, read) if written == read => Outcome::Kept,
        (Int32, Int64) | (Uint32, Int64 | Uint64) | (Bool, Int32 | Int64 | Uint32 | Uint64) => Outcome::Kept,
        (Sint32, Sint64) | (String, Bytes) => Outcome::Kept,
        (written, read) if is_plain_varint(written) && is_plain_varint(read) => Outcome::Changed,
        (Sint64, Sint32) | (Bytes, String) => Outcome::Changed,
        (Fixed32, Sfixed32) | (Sfixed32, Fixed32) | (Fixed64, Sfixed64) | (Sfixed64, Fixed64) => {
            Outcome::Changed
        }
        _ => Outcome::Unreadable,
    }
}

/// Whether numbers are written as they are, in as few bytes as they take.
fn is_plain_varint(scalar: Scalar) -> bool {
    matches!(scalar, Scalar::Int32 | Scalar::Int64 | Scalar::Uint32 | Scalar::Uint64 | Scalar::Bool)
}

fn of_labels(written: Label, read: Label, kind: Kind<'_>) -> Outcome {
    match (written, read, kind) {
        (Label::Repeated, Label::Repeated, _) => Outcome::Kept,
        (
            Label::Repeated,
            _,
            Kind::Message(_)
            | Kind::Group(_)
            | Kind::Elsewhere(_)
            | Kind::Scalar(Scalar::String | Scalar::Bytes),
        ) => Outcome::Changed,
        // A list of numbers may be written in one piece, which is no number.
        (Label::Repeated, _, _) => Outcome::Unreadable,
        // It may not be there.
        (Label::Implicit | Label::Optional, Label::Required, _) => Outcome::Changed,
        _ => Outcome::Kept,
    }
}

fn path(file: &File, message: TypeId, field: &Field) -> String {
    format!("{}.{}", file.full_name(message), field.name)
}

/// As people write it.
fn described(file: &File, kind: Kind<'_>, label: Label) -> String {
    let kind = match kind {
        Kind::Scalar(scalar) => scalar.name().to_owned(),
        Kind::Message(id) => format!("message {}", file.full_name(id)),
        Kind::Group(id) => format!("group {}", file.full_name(id)),
        Kind::Enum(id) => format!("enum {}", file.full_name(id)),
        Kind::Elsewhere(name) => name.to_owned(),
    };
    match label {
        Label::Implicit => kind,
        Label::Optional => format!("optional {kind}"),
        Label::Required => format!("required {kind}"),
        Label::Repeated => format!("repeated {kind}"),
    }
}

#[cfg(test)]
mod tests;
