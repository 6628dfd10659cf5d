//! The state of a stream processing task: typed stores over a write-back cache, RocksDB on disk, committed rows for
//! queries.
//!
//! This crate knows nothing of Kafka, of async runtimes or of metrics systems: a commit hands out the entries for the
//! changelog topics and takes back their offsets. A task's stores are restored by any one thread ([`DormantStores`]), then
//! written by the task's ([`TaskStores`], [`KeyValueStore`], [`WindowStore`], [`SessionStore`]); any thread reads what is committed ([`StoreReader`]). The byte layouts are in `docs/formats.md`.

#[cfg(test)]
mod arbitrary_bytes;
mod background;
mod checkpoint;
mod directory;
mod dormant;
mod engine;
mod error;
mod expiry;
mod format;
mod key_range;
mod layer;
mod memory;
mod merge;
mod overlay;
mod position;
mod reader;
mod restoring;
mod schema;
mod serde;
mod snapshot_map;
mod store;
mod task_stores;
mod types;
mod window;

pub use background::BackgroundThread;
pub use checkpoint::{CheckpointListener, CheckpointStats, CheckpointStep};
pub use directory::{ParseStateOwnerError, ProcessId, StateDirectory, StateOwner, StateUsage, TaskDirectory};
pub use dormant::{DormantStores, RestoreRow};
pub use engine::{DiskAnswer, DiskRequest, EngineSizes, SimulatedDisk, SurvivingStore};
pub use error::{EngineFailure, RowPart, StoreError};
pub use format::{
    BUFFERED_HEADER, Buffered, BufferedContext, BufferedSerde, ChangeSerde, JoinSide, LeftOrRightValue,
    LeftOrRightValueSerde, ListSerde, SubscriptionInstruction, SubscriptionResponseWrapper,
    SubscriptionResponseWrapperSerde, SubscriptionWrapper, SubscriptionWrapperSerde, TimeFirstKey,
    TimedLayout, ValueHash, append_subscription_prefix, begin_waiting_key, changelog_topic, murmur2,
    partition_for_key, repartition_topic, split_waiting_key,
};
pub use key_range::{Direction, KeyRange};
pub use layer::{ChangelogEntry, StoreStats};
pub use memory::{RowLimits, StateMemory};
pub use position::Position;
pub use reader::{ScannedRow, StoreReader, StoreScan};
pub use schema::{
    MockSchemaRegistryClient, RegisteredSchema, RegistryError, Schema, SchemaId, SchemaKind, SchemaMatch,
    SchemaRegistry, SchemaRegistryClient, SubjectNameStrategy,
};
#[cfg(feature = "avro")]
pub use serde::AvroSerde;
#[cfg(feature = "protobuf")]
pub use serde::ProtobufSerde;
pub use serde::{
    ApplicationSerdes, Borrowed, Encoded, HasSerde, JsonSerde, OptionSerde, OrderedKey, RecordField,
    RecordPart, Serde, SerdeError, SerdePlace, SerdeRef, SessionWindowedSerde, TimeWindowedSerde, TupleSerde,
    Upcasters,
};
pub use store::{
    BuiltStore, Change, CommittedStore, Companion, Custom, CustomStore, Emission, KeyValueIterator,
    KeyValueStore, KeyValueStoreBuilder, SessionStore, SessionStoreBuilder, StoreBuilder, StoreParts,
    StoreTypes, TimedKind, TimedStoreBuilder, ValueAndTimestamp, VersionedPut, VersionedRecord,
    VersionedStore, WindowStore, WindowStoreBuilder, WindowedEntry,
};
pub use task_stores::{TaskStores, TaskStoresOptions};
pub use types::{
    KeyValueKind, LogPartition, LogPosition, Offset, ParseTaskIdError, PartitionId, SessionKind,
    SessionStoreName, StoreIndex, StoreName, TaskId, Timestamp, TopicId, WindowKind, WindowStoreName,
};
pub use window::{Window, Windowed};
