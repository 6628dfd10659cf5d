//! The options of operators, each given where the operator takes its argument.

mod materialized;
mod produced;
mod repartitioned;
mod source;
mod stores;

pub use materialized::{Materialized, StoreOptions};
pub(crate) use materialized::{StorePlan, WindowsToStore};
pub use produced::Produced;
pub use repartitioned::Repartitioned;
pub use source::Source;
pub use stores::{AddedStore, ConnectedStores};
