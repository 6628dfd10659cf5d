//! The operators, one file each: the method, what it does to a record, and its tests on the test driver.

mod aggregate;
mod count;
mod filter;
mod flat_map;
mod flat_map_values;
mod for_each;
mod group_by;
mod map;
mod map_values;
mod merge;
mod peek;
mod record_buffer;
mod reduce;
mod repartition;
mod rows;
mod select_key;
mod split;
mod stream_aggregation;
mod stream_global_join;
mod stream_table_join;
mod stream_table_join_grace;
mod suppress;
mod table_aggregate;
mod table_aggregation;
mod table_count;
mod table_filter;
mod table_group_by;
mod table_keeper;
mod table_map_values;
mod table_reduce;
mod table_store;
mod table_view;
#[cfg(test)]
mod test_support;
mod to;
mod to_stream;
mod to_table;

pub use aggregate::AggregateResult;
pub(crate) use rows::{RowLookup, stored_rows};
pub use split::Split;
pub use stream_global_join::StreamOn;
pub(crate) use stream_table_join::StreamTableJoinKind;
pub(crate) use stream_table_join::join_stream_with_table;
pub use stream_table_join_grace::TableWithGrace;
pub(crate) use table_keeper::TableKeeper;
