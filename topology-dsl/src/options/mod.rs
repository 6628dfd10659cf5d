//! The options of operators, each given where the operator takes its argument.

mod materialized;
mod optimization;
mod produced;
mod repartitioned;
mod source;
mod stores;
mod stream_joined;
mod suppressed;

pub(crate) use materialized::{LoggedTo, StorePlan, WindowsToStore};
pub use materialized::{Materialized, StoreFor, StoreOptions, UntimedKind};
pub use optimization::TopologyOptimization;
pub use produced::Produced;
pub(crate) use repartitioned::Partitioner;
pub use repartitioned::Repartitioned;
pub use source::Source;
pub(crate) use source::SourceTopics;
pub use stores::{AddedStore, ConnectedStores};
pub use stream_joined::StreamJoined;
pub use suppressed::{BufferConfig, EmitEarly, NeverEarly, Strict, Suppressed, WhenFull};
pub(crate) use suppressed::{BufferLimits, Until, Wait};
