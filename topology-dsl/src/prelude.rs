//! What a program usually needs, in one `use millstream::prelude::*`.

#[cfg(feature = "avro")]
pub use crate::avro_serde;
#[cfg(feature = "protobuf")]
pub use crate::protobuf_serde;
pub use crate::{
    BufferConfig, CogroupedKStream, ConnectedStores, EmitStrategy, Error, GlobalKTable, HasSerde,
    JoinWindows, KGroupedStream, KGroupedTable, KStream, KTable, Materialized, Produced, RecordField,
    Repartitioned, Result, SessionStoreName, SessionWindows, Settings, SlidingWindows, Source, StoreName,
    StoreOptions, StreamJoined, Streams, StreamsBuilder, Suppressed, TimeWindows, Timestamp, Topology,
    TopologyOptimization, UnlimitedWindows, Window, WindowStoreName, Windowed, days, hours, json_serde,
    millis, minutes, seconds,
};
