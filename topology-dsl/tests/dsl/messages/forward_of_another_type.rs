//! A processor that says it sends numbers, and sends text.

use millstream::api::{Failure, Processor, ProcessorContext, Record};

struct Quantities;

impl Processor for Quantities {
    type KeyIn = String;
    type ValueIn = String;
    type KeyOut = String;
    type ValueOut = i64;

    fn process(
        &mut self,
        order: Record<String, String>,
        context: &mut ProcessorContext<'_, String, i64>,
    ) -> Result<(), Failure> {
        context.forward(order)
    }
}

fn main() {}
