//! The five nodes of a join of two streams: one for each that keeps its records, one for each that joins them with those of the other, and
//! one in which the results meet.
//!
//! ```text
//! left  -> windowed -> join this  ─┐
//! right -> windowed -> join other ─┴─> merge
//! ```
//! Of a stream that is joined with itself and kept once (`optimize`), two are left: windowed -> merge.

use std::collections::BTreeSet;

use millstream_processor::{Error, JoinSide, Result, Topology};

use super::graph::{Graph, Operation, OperationId, OperationKind};
use super::plan::{OperationPlan, Plan, PlannedKind, Planner};
use super::write::{Place, place};

/// Which records of two streams give an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamStreamJoinKind {
    /// Those for which the other stream has one.
    Inner,
    /// All of the left stream.
    Left,
    /// All of both.
    Outer,
}

impl StreamStreamJoinKind {
    /// Whether a record of this side gives an output also if the other side has none.
    pub(crate) fn stands_alone(self, side: JoinSide) -> bool {
        match (self, side) {
            (StreamStreamJoinKind::Inner, _) | (StreamStreamJoinKind::Left, JoinSide::Right) => false,
            (StreamStreamJoinKind::Left, JoinSide::Left) | (StreamStreamJoinKind::Outer, _) => true,
        }
    }
}

/// What was given names in a join of two streams, besides its last node. Pairs are of the left stream first.
pub(crate) struct StreamStreamJoinNames {
    pub(crate) joins: [String; 2],
    pub(crate) window_stores: [String; 2],
    /// The store of records that wait for one of the other side; none of an inner join.
    pub(crate) waiting_store: Option<String>,
}

/// Writes the nodes, whose types it knows.
pub(crate) trait StreamStreamJoinNodes {
    /// The node that keeps the records of one side, with its store.
    fn write_window(&self, place: &mut Place<'_>, side: JoinSide, store: &str) -> Result<()>;

    /// The nodes that join the records of both sides, below the place's parents, with the store of records that wait.
    fn write_joins(&self, place: &mut Place<'_>, names: &StreamStreamJoinNames) -> Result<()>;

    /// As [`write_window`](Self::write_window), for both sides, which are one stream. Nothing is kept here: the node below finds others first.
    fn write_only_window(&self, place: &mut Place<'_>, store: &str) -> Result<()>;

    /// The node that joins the records of a stream with each other, and keeps them. It takes the place of the last one, too.
    fn write_self_join(&self, place: &mut Place<'_>, store: &str) -> Result<()>;
}

impl Planner<'_> {
    pub(super) fn stream_stream_join(
        &mut self,
        id: OperationId,
        operation: &Operation,
        kind: StreamStreamJoinKind,
        given_store: Option<&str>,
    ) -> OperationPlan {
        let name = operation.name.as_deref();
        let repartitioned = [(0, "-left"), (1, "-right")].map(|(input, suffix)| {
            let base = name.map(|name| format!("{name}{suffix}"));
            self.joined_stream(id, operation.parents[input], input, base.as_deref())
        });
        let sides = [
            side_names("this", kind.stands_alone(JoinSide::Right), "KSTREAM-OUTERTHIS-", "KSTREAM-JOINTHIS-"),
            side_names(
                "other",
                kind.stands_alone(JoinSide::Left),
                "KSTREAM-OUTEROTHER-",
                "KSTREAM-JOINOTHER-",
            ),
        ];
        let windows = [("-this-windowed", 0), ("-other-windowed", 1)]
            .map(|(suffix, side)| (self.names.suffixed_or_node(name, suffix, "KSTREAM-WINDOWED-"), side));
        // The stores have the generated names of the nodes, also where these were given others.
        let generated = sides.each_ref().map(|(_, prefix)| self.names.node(prefix));
        let merge = self.names.suffixed_or_node(name, "-merge", "KSTREAM-MERGE-");
        let named = |given: Option<&str>, side: usize| {
            given.map_or_else(|| generated[side].clone(), |given| format!("{given}{}", sides[side].0))
        };
        let shared = match kind {
            StreamStreamJoinKind::Inner => None,
            StreamStreamJoinKind::Left => Some("-left-shared-join"),
            StreamStreamJoinKind::Outer => Some("-outer-shared-join"),
        };
        let names = StreamStreamJoinNames {
            joins: [0, 1].map(|side| named(name, side)),
            window_stores: [0, 1].map(|side| named(given_store, side) + "-store"),
            waiting_store: shared.map(|suffix| {
                let number = generated[0].strip_prefix(sides[0].1).unwrap_or_default();
                let name = given_store.map_or_else(
                    || format!("KSTREAM-OUTERSHARED-{number}"),
                    |given| format!("{given}{suffix}"),
                );
                name + "-store"
            }),
        };
        let windows = windows.map(|(window, side)| {
            let store = names.window_stores[side].clone();
            let kind = PlannedKind::StreamWindow { operation: id, store, is_for_both: false };
            let node = self.node(window, vec![repartitioned[side].0], kind);
            self.plan.nodes[node].input = side;
            node
        });
        let sources: BTreeSet<usize> =
            repartitioned.iter().flat_map(|(_, sources)| sources.iter().copied()).collect();
        self.plan.copartitioned.push(sources.clone());
        let node = self.node(merge, windows.to_vec(), PlannedKind::StreamStreamJoin { operation: id, names });
        OperationPlan { node, sources, ..OperationPlan::default() }
    }
}

/// What is put behind the given name of one side's node and store, and what begins a generated one.
fn side_names(
    side: &str,
    is_outer: bool,
    outer_prefix: &'static str,
    prefix: &'static str,
) -> (String, &'static str) {
    if is_outer { (format!("-outer-{side}-join"), outer_prefix) } else { (format!("-{side}-join"), prefix) }
}

impl Graph {
    /// The node that keeps the records of a side, or of both if none is named.
    pub(super) fn write_stream_window(
        &self,
        plan: &Plan,
        id: OperationId,
        topology: &mut Topology,
        name: &str,
        parents: Vec<&str>,
        (side, store): (Option<JoinSide>, &str),
    ) -> Result<()> {
        let mut place = place(topology, name, parents, plan);
        place.stores = vec![store];
        let nodes = self.stream_stream_join_nodes(id, name)?;
        match side {
            Some(side) => nodes.write_window(&mut place, side, store),
            None => nodes.write_only_window(&mut place, store),
        }
    }

    pub(super) fn write_stream_stream_join(
        &self,
        plan: &Plan,
        id: OperationId,
        topology: &mut Topology,
        name: &str,
        parents: Vec<&str>,
        names: &StreamStreamJoinNames,
    ) -> Result<()> {
        let nodes = self.stream_stream_join_nodes(id, name)?;
        let is_self_join = parents.len() == 1;
        let mut place = place(topology, name, parents, plan);
        if is_self_join {
            let [store, _] = &names.window_stores;
            place.stores = vec![store];
            return nodes.write_self_join(&mut place, store);
        }
        nodes.write_joins(&mut place, names)?;
        self.write_operation(plan, id, topology, name, names.joins.iter().map(String::as_str).collect())
    }

    fn stream_stream_join_nodes(&self, id: OperationId, name: &str) -> Result<&dyn StreamStreamJoinNodes> {
        match &self.operation(id).kind {
            OperationKind::StreamStreamJoin { nodes, .. } => Ok(&**nodes),
            _ => Err(Error::fatal(format!("node {name} was planned as a join of streams and is none"))),
        }
    }
}
