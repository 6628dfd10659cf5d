//! What a program usually needs, in one `use millstream::prelude::*`.

pub use crate::{
    BufferConfig, Error, GlobalKTable, HasSerde, KGroupedStream, KGroupedTable, KStream, KTable,
    Materialized, Produced, RecordField, Repartitioned, Result, Settings, Source, StoreName, StoreOptions,
    Streams, StreamsBuilder, Suppressed, Timestamp, Topology, json_serde,
};
