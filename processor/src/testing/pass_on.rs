//! The processor of tests that need one and do not ask what it does.

use crate::api::{Failure, Processor, ProcessorContext, Record};

/// Hands orders on: sku to quantity.
pub(crate) struct PassOn;

impl Processor for PassOn {
    type KeyIn = String;
    type ValueIn = i64;
    type KeyOut = String;
    type ValueOut = i64;

    fn process(
        &mut self,
        order: Record<String, i64>,
        context: &mut ProcessorContext<'_, String, i64>,
    ) -> Result<(), Failure> {
        context.forward(order)
    }
}
