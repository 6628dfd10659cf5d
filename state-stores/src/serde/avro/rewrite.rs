//! Bytes that one schema wrote, as another would have written them: Avro's schema resolution, from bytes to bytes.
//!
//! What the two schemas have to do with each other is settled once, in [`Rewrite::plan`]; the bytes then pass through in their order. The library's own
//! resolution goes by values, which do not say by which branch of a union they were written, ends where the bytes end as if a null was there, and does
//! not know aliases.

mod nearness;

use std::collections::BTreeMap;
use std::mem::discriminant;

use super::input::Input;
use super::misfit::Misfit;
use super::output::{put_length, put_long, put_prefixed};
use super::shape::{Field, Names, Shape};

/// What a value is rewritten for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To read it by the rules of Avro: what has no place is left out, what was not written has its default, types become wider.
    Reading,
    /// To write it so that it can be read again as it was: nothing is left out, and nothing becomes something else.
    Writing,
}

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
    /// The logical types differ, so that what is read may be another value. That is certain if each schema has one.
    Reinterpreted {
        step: Box<Step>,
        is_contradicted: bool,
    },
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
    pub(super) fn plan(written: &Shape, read: &Shape, purpose: Purpose) -> Result<Self, Misfit> {
        Step::plan(written, read, purpose).map(Self)
    }

    /// Appends what the other schema would have written.
    pub(super) fn apply(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Misfit> {
        Input::read_all(bytes, |input| self.0.apply(input, out))
    }
}

impl Step {
    fn plan(written: &Shape, read: &Shape, purpose: Purpose) -> Result<Step, Misfit> {
        Ok(match (written, read) {
            (Shape::Union(branches), _) => Step::of_branch(written, branches, read, purpose)?,
            (_, Shape::Union(branches)) => Step::into_branch(written, read, branches, purpose)?,
            (Shape::Logical { .. }, _) | (_, Shape::Logical { .. }) => {
                Step::of_logical_types(written, read, purpose)?
            }
            (Shape::Decimal { digits, .. }, Shape::Decimal { digits: others, .. })
                if !digits.fit(*others) || purpose == Purpose::Writing && digits != others =>
            {
                return Err(purpose.misfit(written, read));
            }
            (Shape::Decimal { .. }, _) | (_, Shape::Decimal { .. }) => {
                Step::plan(written.on_wire(), read.on_wire(), purpose)?
            }
            _ if purpose == Purpose::Writing && discriminant(written) != discriminant(read) => {
                return Err(purpose.misfit(written, read));
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
                if size == wanted && purpose.joins(from, to) =>
            {
                Step::Fixed(*size)
            }
            (
                Shape::Enum { names: from, symbols: written, .. },
                Shape::Enum { names: to, symbols: read, default },
            ) if purpose.joins(from, to) => {
                let default = default.as_ref().and_then(|default| default.as_deref().ok());
                Step::Enum(Step::symbols(written, read, default, purpose)?)
            }
            (Shape::Array(written), Shape::Array(read)) => {
                Step::Array(Step::of_items(written, read, purpose)?)
            }
            (Shape::Map(written), Shape::Map(read)) => Step::Map(Step::of_items(written, read, purpose)?),
            (Shape::Record { names: from, fields: written }, Shape::Record { names: to, fields: read })
                if purpose.joins(from, to) =>
            {
                Step::Record(RecordStep::plan(written, read, purpose)?)
            }
            _ => return Err(purpose.misfit(written, read)),
        })
    }

    /// Readers go by the types below, whatever a value is called; who writes must not have it taken for another.
    fn of_logical_types(written: &Shape, read: &Shape, purpose: Purpose) -> Result<Step, Misfit> {
        let step = Step::plan(written.without_logical_type(), read.without_logical_type(), purpose)?;
        let (from, to) = (written.logical_type(), read.logical_type());
        if from == to {
            return Ok(step);
        }
        let is_contradicted = from.is_some() && to.is_some();
        if is_contradicted && purpose == Purpose::Writing {
            return Err(purpose.misfit(written, read));
        }
        Ok(Step::Reinterpreted { step: Box::new(step), is_contradicted })
    }

    fn of_branch(
        written: &Shape,
        branches: &[Shape],
        read: &Shape,
        purpose: Purpose,
    ) -> Result<Step, Misfit> {
        let steps: Vec<_> = branches.iter().map(|branch| Step::plan(branch, read, purpose)).collect();
        if steps.iter().all(Result::is_err) {
            return Err(purpose.misfit(written, read));
        }
        match steps.iter().find_map(|step| step.as_ref().err()) {
            Some(misfit) if purpose == Purpose::Writing => Err(misfit.clone()),
            _ => Ok(Step::OfBranch(steps)),
        }
    }

    /// Into the branch of a union that is the same type, failing that, to read it, the first that can. Each is tried once: unions within unions
    /// would double the time.
    fn into_branch(
        written: &Shape,
        read: &Shape,
        branches: &[Shape],
        purpose: Purpose,
    ) -> Result<Step, Misfit> {
        let into = |place: usize| {
            let step = Step::plan(written, &branches[place], purpose)?;
            Ok(Step::IntoBranch(place, Box::new(step)))
        };
        let namesake = branches.iter().position(|branch| branch.identity() == written.identity());
        match (namesake.map(into), purpose) {
            (Some(Ok(step)), _) => Ok(step),
            (Some(Err(misfit)), Purpose::Writing) => Err(misfit),
            (None, Purpose::Writing) => Err(purpose.misfit(written, read)),
            (_, Purpose::Reading) => (0..branches.len())
                .filter(|place| Some(*place) != namesake)
                .find_map(|place| into(place).ok())
                .ok_or_else(|| purpose.misfit(written, read)),
        }
    }

    /// The place of each symbol that was written among those that are read; or its name, if it has none.
    fn symbols(
        written: &[String],
        read: &[String],
        default: Option<&str>,
        purpose: Purpose,
    ) -> Result<Vec<Result<usize, String>>, Misfit> {
        let places: BTreeMap<&str, usize> =
            read.iter().enumerate().map(|(place, symbol)| (symbol.as_str(), place)).collect();
        let default = default.and_then(|default| places.get(default));
        let place = |symbol: &String| match (places.get(symbol.as_str()), purpose) {
            (Some(place), _) => Ok(Ok(*place)),
            (None, Purpose::Reading) => Ok(default.copied().ok_or_else(|| symbol.clone())),
            (None, Purpose::Writing) => {
                Err(Misfit::new(format!("that has no symbol {symbol}, which would be lost")))
            }
        };
        written.iter().map(place).collect()
    }

    fn of_items(written: &Shape, read: &Shape, purpose: Purpose) -> Result<Box<Step>, Misfit> {
        let step = Step::plan(written, read, purpose).map_err(|misfit| misfit.in_item("*"))?;
        Ok(Box::new(step))
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
            Step::Reinterpreted { step, .. } => step.apply(input, out)?,
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
    fn plan(written: &[Field], read: &[Field], purpose: Purpose) -> Result<Self, Misfit> {
        let places = places(written, read, purpose)?;
        let mut is_written = vec![false; read.len()];
        places.iter().flatten().for_each(|place| is_written[*place] = true);
        let default = |(field, is_written): (&Field, bool)| match &field.default {
            _ if is_written => Ok(Vec::new()),
            Some(Ok(default)) => Ok(default.clone()),
            Some(Err(reason)) => {
                Err(Misfit::new(format!("it was not written, and {reason}")).in_field(&field.name))
            }
            None => {
                let reason = "it was not written, and the schema has no default for it";
                Err(Misfit::new(reason).in_field(&field.name))
            }
        };
        let defaults = read.iter().zip(is_written).map(default).collect::<Result<_, _>>()?;
        let steps = written.iter().zip(places).map(|(field, place)| {
            let step = match place {
                Some(place) => Step::plan(&field.shape, &read[place].shape, purpose),
                None if purpose == Purpose::Reading => Step::plan(&field.shape, &field.shape, purpose),
                None => {
                    let reason = format!("that has no field {}, which would be lost", field.name);
                    return Err(Misfit::new(reason));
                }
            };
            let step = step.map_err(|misfit| misfit.in_field(&field.name))?;
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

/// Where each field that was written is read; none where it is left out. Names come first; who reads then goes by aliases, if it is to read.
fn places(written: &[Field], read: &[Field], purpose: Purpose) -> Result<Vec<Option<usize>>, Misfit> {
    let (written_places, read_places) = (by_name(written), by_name(read));
    let mut places: Vec<Option<usize>> =
        written.iter().map(|field| read_places.get(field.name.as_str()).copied()).collect();
    if purpose == Purpose::Writing {
        return Ok(places);
    }
    for (place, field) in read.iter().enumerate() {
        if written_places.contains_key(field.name.as_str()) {
            continue;
        }
        let mut sources =
            field.aliases.iter().filter_map(|alias| written_places.get(alias.as_str()).copied());
        let Some(source) = sources.find(|source| !read_places.contains_key(written[*source].name.as_str()))
        else {
            continue;
        };
        if let Some(other) = places[source].replace(place) {
            let reason = format!(
                "both {} and {} have it as an alias; let only one of them have it",
                read[other].name, field.name
            );
            return Err(Misfit::new(reason).in_field(&written[source].name));
        }
    }
    Ok(places)
}

fn by_name(fields: &[Field]) -> BTreeMap<&str, usize> {
    fields.iter().enumerate().map(|(place, field)| (field.name.as_str(), place)).collect()
}

impl Purpose {
    /// Whether values of a type of one name may become those of a type of the other.
    fn joins(self, written: &Names, read: &Names) -> bool {
        match self {
            Purpose::Reading => read.take(written),
            Purpose::Writing => read.are_like(written),
        }
    }

    fn misfit(self, written: &Shape, read: &Shape) -> Misfit {
        Misfit::new(match self {
            Purpose::Reading => format!("it was written as {written}, which {read} cannot read"),
            Purpose::Writing => format!("{written} would be written as {read}, and not come back as it was"),
        })
    }
}

#[cfg(test)]
mod tests;
