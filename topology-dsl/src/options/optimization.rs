//! What a topology may do without.

/// What [`StreamsBuilder::build`](crate::StreamsBuilder::build) does beyond what was declared (Kafka Streams' `topology.optimization`). By default,
/// nothing. It changes names and topics, so that an application that runs already has to be reset when this is changed.
///
/// ```
/// use millstream::prelude::*;
///
/// let builder = StreamsBuilder::new().optimized(TopologyOptimization {
///     merge_repartition_topics: true,
///     ..TopologyOptimization::NONE
/// });
/// # builder.stream::<String, i64>("orders").to("order-archive");
/// # builder.build()?;
/// # Ok::<(), millstream::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopologyOptimization {
    /// A table that is read from a topic is restored from that topic, and has no changelog of its own; so is one that is not logged. The topic must
    /// keep the newest record of each key: `cleanup.policy=compact`. Tables that are versioned or have a time to live keep their changelog. After a
    /// restore the table also has the rows of records that were taken back because an operator below failed on them.
    ///
    /// Compaction does not know how far the application is: it may remove a record that was processed because of a newer one that was not yet. Then
    /// a restored table lacks the row until the newer record comes, and what subtracts old values, an aggregation below the table, never
    /// subtracts this one. So give the topic a `min.compaction.lag.ms` that is longer than the application is ever down or behind.
    pub reuse_ktable_source_topics: bool,
    /// Several repartition topics that follow from one change of keys become one, right after it. What else reads the stream below the
    /// change, then reads it from the topic. Time that goes on by heartbeats ([`Source::with_heartbeats`](crate::Source::with_heartbeats))
    /// ends at a repartition topic, so that topics below a source that has them stay where they are if anything else reads there.
    pub merge_repartition_topics: bool,
    /// A stream that is joined with itself (an inner join) is kept in one store instead of two.
    pub single_store_self_join: bool,
}

impl TopologyOptimization {
    /// The program as it was declared.
    pub const NONE: Self = TopologyOptimization {
        reuse_ktable_source_topics: false,
        merge_repartition_topics: false,
        single_store_self_join: false,
    };

    /// All there is.
    pub const ALL: Self = TopologyOptimization {
        reuse_ktable_source_topics: true,
        merge_repartition_topics: true,
        single_store_self_join: true,
    };
}
