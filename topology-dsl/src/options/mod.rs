//! The options of operators, each given where the operator takes its argument.

mod materialized;
mod produced;
mod repartitioned;
mod source;
mod suppressed;

pub(crate) use materialized::StorePlan;
pub use materialized::{Materialized, StoreOptions};
pub use produced::Produced;
pub use repartitioned::Repartitioned;
pub use source::Source;
pub(crate) use suppressed::BufferLimits;
pub use suppressed::{BufferConfig, EmitEarly, Strict, Suppressed, WhenFull};
