//! The only place that lays out bytes and builds the names under which others find them.
//!
//! `docs/formats.md` states every layout; the tests here hold it to literal bytes. Nothing here does I/O.

pub(crate) mod companion;
pub(crate) mod metadata;
pub(crate) mod row;

mod buffered;
mod change;
mod join_side;
mod list;
mod murmur3;
pub(crate) mod ordered;
mod partition;
mod segment;
mod subscription;
mod subscription_response;
mod timed;
mod topics;
mod value_hash;
mod version;
mod wire;

pub use buffered::{BUFFERED_HEADER, Buffered, BufferedContext, BufferedSerde, TimeFirstKey};
pub use change::ChangeSerde;
pub use join_side::{
    JoinSide, LeftOrRightValue, LeftOrRightValueSerde, begin_waiting_key, split_waiting_key,
};
pub use list::ListSerde;
pub use partition::{murmur2, partition_for_key};
pub(crate) use segment::SegmentSerde;
pub use subscription::{
    SubscriptionInstruction, SubscriptionWrapper, SubscriptionWrapperSerde, append_subscription_prefix,
};
pub use subscription_response::{SubscriptionResponseWrapper, SubscriptionResponseWrapperSerde};
pub use timed::TimedLayout;
pub(crate) use timed::{MARK_KEY, RowId, TimedKeys};
pub use topics::{changelog_topic, repartition_topic};
pub use value_hash::ValueHash;
pub(crate) use version::{VERSION_MARK, put_version, split_version};
#[cfg(feature = "protobuf")]
pub(crate) use wire::{message_index, split_message_index};
pub(crate) use wire::{split_wire_format, wire_format};
