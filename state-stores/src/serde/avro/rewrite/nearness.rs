//! How near a schema that wrote is to the one that reads, by how much of what is read was written.

use std::cmp::Reverse;

use super::{Rewrite, Step};
use crate::schema::SchemaMatch;

impl Rewrite {
    /// How near the one schema is to the other, if they do not say the same.
    pub(in crate::serde::avro) fn schema_match(&self) -> SchemaMatch {
        let mut tally = Tally::default();
        tally.add(&self.0);
        match tally {
            Tally { means_another: true, .. } | Tally { has_records: true, written: 0, .. } => {
                SchemaMatch::Other
            }
            Tally { written, missing, is_partial, .. } => {
                SchemaMatch::Readable { written, missing: Reverse(missing), always: !is_partial }
            }
        }
    }
}

#[derive(Default)]
struct Tally {
    has_records: bool,
    /// The fields of records that are read and were written.
    written: usize,
    /// Those that were not written.
    missing: usize,
    /// Whether some values cannot be read, or may mean something else.
    is_partial: bool,
    /// Whether the bytes of some values surely mean something else.
    means_another: bool,
}

impl Tally {
    fn add(&mut self, step: &Step) {
        match step {
            Step::Record(record) => {
                self.has_records = true;
                let kept: Vec<_> = record.written.iter().filter(|field| field.place.is_some()).collect();
                self.written += kept.len();
                self.missing += record.defaults.len() - kept.len();
                kept.into_iter().for_each(|field| self.add(&field.step));
            }
            Step::Array(step) | Step::Map(step) | Step::IntoBranch(_, step) => self.add(step),
            Step::OfBranch(steps) => {
                self.is_partial |= steps.iter().any(Result::is_err);
                steps.iter().flatten().for_each(|step| self.add(step));
            }
            Step::Enum(places) => self.is_partial |= places.iter().any(Result::is_err),
            Step::Reinterpreted { step, is_contradicted } => {
                self.is_partial = true;
                self.means_another |= is_contradicted;
                self.add(step);
            }
            Step::Fixed(_)
            | Step::Boolean
            | Step::Int
            | Step::Long
            | Step::Prefixed
            | Step::ToFloat
            | Step::ToDouble
            | Step::FloatToDouble => {}
        }
    }
}
