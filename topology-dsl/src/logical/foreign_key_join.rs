//! The nodes of a foreign-key join (KIP-213): the left table subscribes to rows of the right one through a topic, and gets answers through
//! another.
//!
//! ```text
//! left table -> send -> registration topic -> receive -> join ──────┐
//!                          right table ────> foreign join ──────────┴─> response topic -> resolver -> result
//! ```
//! Each of three planned nodes ends where a topic does: the subscription at the source of the registration topic, which the right table's
//! side reads; the response at that of the response topic, which the left table's side reads; and the result.

use std::collections::BTreeSet;

use millstream_processor::{Error, Result, Topology};

use super::graph::{Graph, Operation, OperationId, OperationKind};
use super::plan::{OperationPlan, Plan, PlannedKind, Planner};
use super::write::{Place, place};

/// A planned node of a foreign-key join, with the names of the nodes it consists of, apart from its last one.
pub(crate) enum ForeignKeyJoinPart {
    Subscription(SubscriptionNames),
    Response(ResponseNames),
    Result { resolver: String },
}

/// From the left table to the source of the registration topic.
pub(crate) struct SubscriptionNames {
    pub(crate) topic: String,
    pub(crate) send: String,
    pub(crate) sink: String,
}

/// From the source of the registration topic, and from the right table, to the source of the response topic.
pub(crate) struct ResponseNames {
    pub(crate) store: String,
    pub(crate) receive: String,
    pub(crate) join: String,
    pub(crate) foreign_join: String,
    pub(crate) topic: String,
    pub(crate) sink: String,
}

/// Writes the nodes, whose types it knows.
pub(crate) trait ForeignKeyJoinNodes {
    /// The nodes up to the source of the registration topic, which is the place's.
    fn write_subscription(&self, place: &mut Place<'_>, names: &SubscriptionNames) -> Result<()>;

    /// The nodes up to the source of the response topic, which is the place's. Its parents are the source of the registration topic and the
    /// right table, its stores those in which rows of the right table are found.
    fn write_response(&self, place: &mut Place<'_>, names: &ResponseNames) -> Result<()>;

    /// The node that makes rows of answers. Its stores are those in which rows of the left table are found.
    fn write_resolver(&self, place: &mut Place<'_>) -> Result<()>;
}

impl Planner<'_> {
    pub(super) fn foreign_key_join(&mut self, id: OperationId, operation: &Operation) -> OperationPlan {
        let given = operation.name.as_deref();
        let mut name = |suffix, prefix| self.names.suffixed_or_node(given, suffix, prefix);
        let registration = "KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-";
        let processor = "KTABLE-FK-JOIN-SUBSCRIPTION-PROCESSOR-";
        let subscription = SubscriptionNames {
            topic: name("-subscription-registration", registration) + "-topic",
            send: name("-subscription-registration-processor", registration),
            sink: name("-subscription-registration-sink", "KTABLE-SINK-"),
        };
        let registration_source = name("-subscription-registration-source", "KTABLE-SOURCE-");
        let response = ResponseNames {
            store: name("-subscription-store", "KTABLE-FK-JOIN-SUBSCRIPTION-STATE-STORE-"),
            receive: name("-subscription-receive", processor),
            join: name("-subscription-join-foreign", processor),
            foreign_join: name("-foreign-join-subscription", processor),
            topic: name("-subscription-response", "KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-") + "-topic",
            sink: name("-subscription-response-sink", "KTABLE-SINK-"),
        };
        let response_source = name("-subscription-response-source", "KTABLE-SOURCE-");
        let resolver = name(
            "-subscription-response-resolver",
            "KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-RESOLVER-PROCESSOR-",
        );
        let result = name("-result", "KTABLE-FK-JOIN-OUTPUT-");
        let (store, is_materialized) = self.store_name(operation, "KTABLE-FK-JOIN-OUTPUT-");

        let [left, right] = [0, 1].map(|side| self.plan.operation(operation.parents[side]).clone());
        let part = |part| PlannedKind::ForeignKeyJoin { operation: id, part };
        let subscription = part(ForeignKeyJoinPart::Subscription(subscription));
        let subscription = self.node(registration_source, vec![left.node], subscription);
        self.copartition(right.sources, subscription);
        let response = part(ForeignKeyJoinPart::Response(response));
        let response = self.node(response_source, vec![subscription, right.node], response);
        let sources = self.copartition(left.sources, response);
        let node = self.node(result, vec![response], part(ForeignKeyJoinPart::Result { resolver }));
        OperationPlan { node, store: Some(store), is_materialized, sources, ..OperationPlan::default() }
    }

    /// Joins a topic to those of a table, which must have equally many partitions.
    fn copartition(&mut self, mut sources: BTreeSet<usize>, source: usize) -> BTreeSet<usize> {
        sources.insert(source);
        self.plan.copartitioned.push(sources.clone());
        sources
    }
}

impl Graph {
    pub(super) fn write_foreign_key_join(
        &self,
        plan: &Plan,
        id: OperationId,
        topology: &mut Topology,
        name: &str,
        parents: Vec<&str>,
        part: &ForeignKeyJoinPart,
    ) -> Result<()> {
        let operation = self.operation(id);
        let (OperationKind::ForeignKeyJoin { nodes }, [left, right]) =
            (&operation.kind, operation.parents.as_slice())
        else {
            return Err(Error::fatal(format!("node {name} was planned as a foreign-key join and is none")));
        };
        let mut place = place(topology, name, parents, plan);
        match part {
            ForeignKeyJoinPart::Subscription(names) => {
                place.reads_versions = plan.operation(*left).is_versioned();
                nodes.write_subscription(&mut place, names)
            }
            ForeignKeyJoinPart::Response(names) => {
                place.reads_versions = plan.operation(*right).is_versioned();
                place.stores = self.stores_for_lookups(plan, *right);
                nodes.write_response(&mut place, names)
            }
            ForeignKeyJoinPart::Result { resolver } => {
                place.name = resolver;
                place.stores = self.stores_for_lookups(plan, *left);
                nodes.write_resolver(&mut place)?;
                self.write_operation(plan, id, topology, name, vec![resolver])
            }
        }
    }
}
