//! Bytes that one schema wrote, as another would have written them: Avro's schema resolution, from bytes to bytes.
//!
//! What the two schemas have to do with each other is settled once, in [`Rewrite::plan`]; the bytes then pass through in their order. The library's own
//! resolution goes by values, which do not say by which branch of a union they were written, ends where the bytes end as if a null was there, and does
//! not know aliases.

use super::input::Input;
use super::misfit::Misfit;
use super::shape::{Field, Shape};

/// How what one schema wrote becomes what another would have written.
#[derive(Debug)]
pub(super) struct Rewrite(Step);

/// The same for one type within the schemas.
#[derive(Debug)]
enum Step {
    /// It stays as it is, of so many bytes.
    Fixed(usize),
    Boolean,
    Int,
    Long,
    /// Bytes or a string, behind their length.
    Prefixed,
    ToFloat,
    ToDouble,
    FloatToDouble,
    /// By the place of the symbol where it was written: its place where it is read; or its name, if it has none there.
    Enum(Vec<Result<usize, String>>),
    Array(Box<Step>),
    Map(Box<Step>),
    Record(RecordStep),
    /// By the branch that was written; or why it cannot be read.
    OfBranch(Vec<Result<Step, Misfit>>),
    IntoBranch(usize, Box<Step>),
}

#[derive(Debug)]
struct RecordStep {
    /// In the order in which they were written.
    written: Vec<FieldStep>,
    /// By the place of a field where it is read: what stands there if it was not written.
    defaults: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct FieldStep {
    name: String,
    step: Step,
    /// Where it is read; none if it is left out.
    place: Option<usize>,
}

impl Rewrite {
    /// How what `written` wrote becomes what `read` would have written.
    pub(super) fn plan(written: &Shape, read: &Shape) -> Result<Self, Misfit> {
        Step::plan(written, read).map(Self)
    }

    /// Whether all that the one schema can write, the other can read: unions and enums may hold what has no place there.
    pub(super) fn is_total(&self) -> bool {
        self.0.is_total()
    }

    /// A field that was written and is left out, if there is one.
    pub(super) fn left_out(&self) -> Option<String> {
        self.0.left_out().map(|misfit| misfit.path().to_owned())
    }

    /// Appends what the other schema would have written.
    pub(super) fn apply(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Misfit> {
        Input::read_all(bytes, |input| self.0.apply(input, out))
    }
}

impl Step {
    fn plan(written: &Shape, read: &Shape) -> Result<Step, Misfit> {
        Ok(match (written, read) {
            (Shape::Union(branches), _) => {
                let steps: Vec<_> = branches.iter().map(|branch| Step::plan(branch, read)).collect();
                if steps.iter().all(Result::is_err) {
                    return Err(differs(written, read));
                }
                Step::OfBranch(steps)
            }
            (_, Shape::Union(branches)) => {
                Step::into_branch(written, branches).ok_or_else(|| differs(written, read))?
            }
            (Shape::Null, Shape::Null) => Step::Fixed(0),
            (Shape::Boolean, Shape::Boolean) => Step::Boolean,
            (Shape::Int, Shape::Int) => Step::Int,
            (Shape::Int | Shape::Long, Shape::Long) => Step::Long,
            (Shape::Int | Shape::Long, Shape::Float) => Step::ToFloat,
            (Shape::Int | Shape::Long, Shape::Double) => Step::ToDouble,
            (Shape::Float, Shape::Float) => Step::Fixed(size_of::<f32>()),
            (Shape::Float, Shape::Double) => Step::FloatToDouble,
            (Shape::Double, Shape::Double) => Step::Fixed(size_of::<f64>()),
            (Shape::Bytes | Shape::String, Shape::Bytes | Shape::String) => Step::Prefixed,
            (Shape::Fixed { names: from, size }, Shape::Fixed { names: to, size: wanted })
                if size == wanted && to.take(from) =>
            {
                Step::Fixed(*size)
            }
            (
                Shape::Enum { names: from, symbols: written, .. },
                Shape::Enum { names: to, symbols: read, default },
            ) if to.take(from) => {
                let place = |symbol: &String| read.iter().position(|other| other == symbol);
                let or_default = |symbol: &String| place(symbol).or_else(|| place(default.as_ref()?));
                let places = written.iter().map(|symbol| or_default(symbol).ok_or_else(|| symbol.clone()));
                Step::Enum(places.collect())
            }
            (Shape::Array(written), Shape::Array(read)) => {
                Step::Array(Box::new(Step::plan(written, read).map_err(|misfit| misfit.in_item("*"))?))
            }
            (Shape::Map(written), Shape::Map(read)) => {
                Step::Map(Box::new(Step::plan(written, read).map_err(|misfit| misfit.in_item("*"))?))
            }
            (Shape::Record { names: from, fields: written }, Shape::Record { names: to, fields: read })
                if to.take(from) =>
            {
                Step::Record(RecordStep::plan(written, read)?)
            }
            _ => return Err(differs(written, read)),
        })
    }

    /// Into the branch of a union that is the same type, failing that one that can read it; the first of these.
    fn into_branch(written: &Shape, branches: &[Shape]) -> Option<Step> {
        let first = |is_meant: &dyn Fn(&Shape) -> bool| {
            let mut meant = branches.iter().enumerate().filter(|(_, branch)| is_meant(branch));
            meant.find_map(|(place, branch)| Some((place, Step::plan(written, branch).ok()?)))
        };
        let (place, step) = first(&|branch| branch.is_namesake(written)).or_else(|| first(&|_| true))?;
        Some(Step::IntoBranch(place, Box::new(step)))
    }

    fn is_total(&self) -> bool {
        match self {
            Step::Enum(places) => places.iter().all(Result::is_ok),
            Step::Array(step) | Step::Map(step) | Step::IntoBranch(_, step) => step.is_total(),
            Step::Record(record) => record.written.iter().all(|field| field.step.is_total()),
            Step::OfBranch(steps) => steps.iter().all(|step| step.as_ref().is_ok_and(Step::is_total)),
            _ => true,
        }
    }

    /// Where the field is, as if it did not fit.
    fn left_out(&self) -> Option<Misfit> {
        match self {
            Step::Array(step) | Step::Map(step) => Some(step.left_out()?.in_item("*")),
            Step::IntoBranch(_, step) => step.left_out(),
            Step::OfBranch(steps) => steps.iter().flatten().find_map(Step::left_out),
            Step::Record(record) => record.written.iter().find_map(|field| {
                let within = match field.place {
                    Some(_) => field.step.left_out()?,
                    None => Misfit::new("it is left out"),
                };
                Some(within.in_field(&field.name))
            }),
            _ => None,
        }
    }

    fn apply(&self, input: &mut Input<'_>, out: &mut Vec<u8>) -> Result<(), Misfit> {
        match self {
            Step::Fixed(size) => out.extend_from_slice(input.take(*size)?),
            Step::Boolean => out.push(input.boolean()?),
            Step::Int => put_long(input.int()?.into(), out),
            Step::Long => put_long(input.long()?, out),
            Step::Prefixed => put_prefixed(input.prefixed()?, out),
            #[expect(clippy::cast_precision_loss, reason = "as Avro has it")]
            Step::ToFloat => out.extend_from_slice(&(input.long()? as f32).to_le_bytes()),
            #[expect(clippy::cast_precision_loss, reason = "as Avro has it")]
            Step::ToDouble => out.extend_from_slice(&(input.long()? as f64).to_le_bytes()),
            Step::FloatToDouble => {
                let float = f32::from_le_bytes(input.array()?);
                out.extend_from_slice(&f64::from(float).to_le_bytes());
            }
            Step::Enum(places) => match input.choice(places, "symbols")?.1 {
                Ok(place) => put_length(*place, out),
                Err(symbol) => {
                    return Err(Misfit::new(format!(
                        "the symbol {symbol} is none of those that can be read"
                    )));
                }
            },
            Step::OfBranch(steps) => match input.choice(steps, "branches")? {
                (_, Ok(step)) => step.apply(input, out)?,
                (branch, Err(misfit)) => {
                    let reason = format!("branch {branch} of the union cannot be read: {}", misfit.reason);
                    return Err(Misfit::new(reason));
                }
            },
            Step::IntoBranch(place, step) => {
                put_length(*place, out);
                step.apply(input, out)?;
            }
            Step::Array(step) => {
                let mut place = 0;
                input.blocks(out, put_length, |input, out| {
                    step.apply(input, out).map_err(|misfit| misfit.in_item(place))?;
                    place += 1;
                    Ok(())
                })?;
            }
            Step::Map(step) => input.blocks(out, put_length, |input, out| {
                let key = input.prefixed()?;
                put_prefixed(key, out);
                step.apply(input, out).map_err(|misfit| misfit.in_item(String::from_utf8_lossy(key)))
            })?,
            Step::Record(record) => record.apply(input, out)?,
        }
        Ok(())
    }
}

impl RecordStep {
    fn plan(written: &[Field], read: &[Field]) -> Result<Self, Misfit> {
        let mut places = vec![None; written.len()];
        let mut defaults = Vec::with_capacity(read.len());
        for (place, field) in read.iter().enumerate() {
            let mut names = std::iter::once(&field.name).chain(&field.aliases);
            let source = names.find_map(|name| written.iter().position(|other| other.name == *name));
            let mut default = Vec::new();
            match source {
                Some(source) => places[source] = Some(place),
                None => put_default_of(field, &mut default).map_err(|misfit| misfit.in_field(&field.name))?,
            }
            defaults.push(default);
        }
        let steps = written.iter().zip(places).map(|(field, place)| {
            let read = place.map_or(&field.shape, |place: usize| &read[place].shape);
            let step = Step::plan(&field.shape, read).map_err(|misfit| misfit.in_field(&field.name))?;
            Ok(FieldStep { name: field.name.clone(), step, place })
        });
        Ok(Self { written: steps.collect::<Result<_, _>>()?, defaults })
    }

    fn apply(&self, input: &mut Input<'_>, out: &mut Vec<u8>) -> Result<(), Misfit> {
        let mut fields = Vec::new();
        let mut ends = Vec::with_capacity(self.written.len());
        for field in &self.written {
            field.step.apply(input, &mut fields).map_err(|misfit| misfit.in_field(&field.name))?;
            ends.push(fields.len());
        }
        let mut found = vec![None; self.defaults.len()];
        let starts = std::iter::once(0).chain(ends.iter().copied());
        for ((field, start), end) in self.written.iter().zip(starts).zip(&ends) {
            if let Some(place) = field.place {
                found[place] = Some(&fields[start..*end]);
            }
        }
        for (found, default) in found.into_iter().zip(&self.defaults) {
            out.extend_from_slice(found.unwrap_or(default));
        }
        Ok(())
    }
}

fn differs(written: &Shape, read: &Shape) -> Misfit {
    Misfit::new(format!("it was written as {written}, which {read} cannot read"))
}

fn put_long(number: i64, out: &mut Vec<u8>) {
    let mut rest = (number << 1 ^ number >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest as u8 & 0x7f) | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// A length, or the number of a symbol or a branch.
fn put_length(length: usize, out: &mut Vec<u8>) {
    put_long(i64::try_from(length).unwrap_or(i64::MAX), out);
}

fn put_prefixed(bytes: &[u8], out: &mut Vec<u8>) {
    put_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn put_default_of(field: &Field, out: &mut Vec<u8>) -> Result<(), Misfit> {
    match &field.default {
        Some(default) => put_json(default, &field.shape, out)
            .ok_or_else(|| Misfit::new(format!("its default {default} is no {}", field.shape))),
        None => Err(Misfit::new("it was not written, and the schema has no default for it")),
    }
}

/// A default, which a schema has as JSON; none if it is not of that type.
fn put_json(json: &serde_json::Value, shape: &Shape, out: &mut Vec<u8>) -> Option<()> {
    use serde_json::Value;
    match (shape, json) {
        (Shape::Null, Value::Null) => {}
        (Shape::Boolean, Value::Bool(boolean)) => out.push(u8::from(*boolean)),
        (Shape::Int, Value::Number(number)) => put_long(i32::try_from(number.as_i64()?).ok()?.into(), out),
        (Shape::Long, Value::Number(number)) => put_long(number.as_i64()?, out),
        #[expect(clippy::cast_possible_truncation, reason = "as Avro has it")]
        (Shape::Float, Value::Number(number)) => {
            out.extend_from_slice(&(number.as_f64()? as f32).to_le_bytes())
        }
        (Shape::Double, Value::Number(number)) => out.extend_from_slice(&number.as_f64()?.to_le_bytes()),
        (Shape::String, Value::String(text)) => put_prefixed(text.as_bytes(), out),
        (Shape::Bytes, Value::String(text)) => put_prefixed(&bytes_of(text)?, out),
        (Shape::Fixed { size, .. }, Value::String(text)) => {
            out.extend_from_slice(Some(bytes_of(text)?).filter(|bytes| bytes.len() == *size)?.as_slice());
        }
        (Shape::Enum { symbols, .. }, Value::String(text)) => {
            put_length(symbols.iter().position(|symbol| symbol == text)?, out);
        }
        (Shape::Array(shape), Value::Array(items)) => {
            for item in items {
                put_long(1, out);
                put_json(item, shape, out)?;
            }
            put_long(0, out);
        }
        (Shape::Map(shape), Value::Object(values)) => {
            for (key, value) in values {
                put_long(1, out);
                put_prefixed(key.as_bytes(), out);
                put_json(value, shape, out)?;
            }
            put_long(0, out);
        }
        (Shape::Union(branches), _) => {
            let taken = branches.iter().enumerate().find_map(|(place, branch)| {
                let mut bytes = Vec::new();
                put_json(json, branch, &mut bytes).map(|()| (place, bytes))
            });
            let (place, bytes) = taken?;
            put_length(place, out);
            out.extend_from_slice(&bytes);
        }
        (Shape::Record { fields, .. }, Value::Object(values)) => {
            for field in fields {
                match values.get(&field.name) {
                    Some(value) => put_json(value, &field.shape, out)?,
                    None => put_default_of(field, out).ok()?,
                }
            }
        }
        _ => return None,
    }
    Some(())
}

/// Bytes in a default are a text, each character one of them.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| u8::try_from(character).ok()).collect()
}

#[cfg(test)]
mod tests;
