//! What a planned program can do without (Kafka Streams' `topology.optimization`): repartition topics that follow from one change of keys,
//! and the second store of a stream that is joined with itself.
//!
//! Repartition topics are merged into one, right after the change of keys; it has the name of the first of them. Where streams are merged on
//! the way, it comes after that. What else reads on the way then reads from the topic, which heartbeats do not pass: where they come from above,
//! topics stay where they are.
//!
//! ```text
//! select key -> filter -> topic -> count         select key -> topic -> filter -> count
//!            -> topic -> join              ->                        -> join
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::graph::{Effect, OperationKind};
use super::plan::{PlannedKind, Planner};
use super::stream_stream_join::StreamStreamJoinKind;

impl Planner<'_> {
    /// Does what was asked for. Returns repartition topics that are read by others, too, than by those who asked for one: records without a
    /// key must pass them.
    pub(super) fn optimize(&mut self) -> Vec<usize> {
        let mut read_by_others = Vec::new();
        if self.graph.optimization.merge_repartition_topics {
            for (change, topics) in self.mergeable() {
                let has_other_readers = self.has_other_readers(change, &topics);
                if has_other_readers && self.has_heartbeats(change) {
                    continue;
                }
                read_by_others.extend(self.merge_topics(change, &topics).filter(|_| has_other_readers));
            }
        }
        if self.graph.optimization.single_store_self_join {
            self.keep_self_joined_streams_once();
        }
        read_by_others
    }

    /// The repartition topics that may be right after a change of keys, or after a merge below it; by that node, as they were declared.
    fn mergeable(&self) -> BTreeMap<usize, Vec<usize>> {
        let mut by_change: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for topic in 0..self.plan.nodes.len() {
            if let Some(change) = self.may_be_right_after(topic) {
                by_change.entry(change).or_default().push(topic);
            }
        }
        by_change
    }

    fn may_be_right_after(&self, topic: usize) -> Option<usize> {
        let PlannedKind::Repartition { operation, filter: Some(_), .. } = self.plan.nodes[topic].kind else {
            return None;
        };
        if let OperationKind::Repartition { .. } = self.graph.operation(operation).kind {
            return None;
        }
        let mut node = self.parents(topic).first().copied()?;
        loop {
            match self.effect_of(node) {
                // To Kafka Streams, `process` changes no keys here: its topics stay what they are.
                Some(Effect::ChangesKeys) => return (!self.is_process(node)).then_some(node),
                Some(Effect::Passes) => node = self.parents(node).first().copied()?,
                _ if self.is_merge(node) => return self.keys_change_last_above(node).then_some(node),
                _ => return None,
            }
        }
    }

    /// Whether the change that Kafka Streams finds above a merge is one of keys. It searches the parents in turn, and what is found above a
    /// later one counts.
    fn keys_change_last_above(&self, merge: usize) -> bool {
        self.change_above(merge).is_some_and(|change| self.effect_of(change) == Some(Effect::ChangesKeys))
    }

    /// To Kafka Streams, `process` and `process_values` change nothing: it looks above them.
    fn change_above(&self, node: usize) -> Option<usize> {
        let is_change = |node: usize| {
            !self.is_process(node)
                && matches!(self.effect_of(node), Some(Effect::ChangesKeys | Effect::ChangesValues))
        };
        let mut found = None;
        for parent in self.parents(node) {
            if is_change(*parent) {
                return Some(*parent);
            }
            found = self.change_above(*parent);
        }
        found
    }

    /// None of a node that is no step of a stream.
    fn effect_of(&self, node: usize) -> Option<Effect> {
        let PlannedKind::Node(id) = self.plan.nodes[node].kind else { return None };
        match self.graph.operation(id).kind {
            OperationKind::Step { effect, .. } | OperationKind::Process { effect, .. } => Some(effect),
            OperationKind::Branch { .. } => Some(Effect::Passes),
            _ => None,
        }
    }

    fn is_process(&self, node: usize) -> bool {
        match self.plan.nodes[node].kind {
            PlannedKind::Node(id) => {
                matches!(self.graph.operation(id).kind, OperationKind::Process { .. })
            }
            _ => false,
        }
    }

    fn is_merge(&self, node: usize) -> bool {
        match self.plan.nodes[node].kind {
            PlannedKind::Node(id) => matches!(self.graph.operation(id).kind, OperationKind::Merge),
            _ => false,
        }
    }

    fn parents(&self, node: usize) -> &[usize] {
        &self.plan.nodes[node].parents
    }

    /// From a topic up to the node below the change of its keys.
    fn way_up(&self, topic: usize, change: usize) -> impl Iterator<Item = usize> {
        let above = move |node: &usize| self.parents(*node).first().copied();
        std::iter::successors(Some(topic), above).take_while(move |node| *node != change)
    }

    /// Whether somebody reads, between the change of keys and the topics, who is on the way to none of them.
    fn has_other_readers(&self, change: usize, topics: &[usize]) -> bool {
        let on_the_way: BTreeSet<usize> =
            topics.iter().flat_map(|topic| self.way_up(*topic, change)).collect();
        let is_passed = |node: &usize| on_the_way.contains(node) && !topics.contains(node);
        let mut others = (0..self.plan.nodes.len()).filter(|node| !on_the_way.contains(node));
        others.any(|node| self.parents(node).iter().any(is_passed))
    }

    /// Whether heartbeats come to a node from a source above it. They end at topics of the application's own.
    fn has_heartbeats(&self, node: usize) -> bool {
        let mut above = vec![node];
        let mut looked_at = 0;
        while let Some(node) = above.get(looked_at).copied() {
            looked_at += 1;
            match self.plan.nodes[node].kind {
                PlannedKind::Repartition { .. } | PlannedKind::ForeignKeyJoin { .. } => continue,
                PlannedKind::Node(id) => {
                    if let OperationKind::StreamSource { heartbeats: Some(_), .. } =
                        self.graph.operation(id).kind
                    {
                        return true;
                    }
                }
                _ => {}
            }
            for parent in self.parents(node) {
                if !above.contains(parent) {
                    above.push(*parent);
                }
            }
        }
        false
    }

    /// Puts one topic right below the change of keys, in place of all of these. Returns it.
    fn merge_topics(&mut self, change: usize, topics: &[usize]) -> Option<usize> {
        let first = &self.plan.nodes[*topics.first()?];
        let PlannedKind::Repartition { operation, ref topic, .. } = first.kind else { return None };
        let (input, name) = (first.input, topic.clone());
        let below_change: BTreeSet<usize> =
            topics.iter().filter_map(|topic| self.way_up(*topic, change).last()).collect();
        let names = self.names.repartition(&name);
        let merged = self.repartition_node(operation, change, names, None);
        self.plan.nodes[merged].input = input;
        self.plan.nodes[merged].priority = self.plan.nodes[change].priority;
        for node in below_change {
            self.replace_parent(node, change, merged);
        }
        for topic in topics {
            let parent = self.parents(*topic).first().copied().unwrap_or(merged);
            for reader in 0..self.plan.nodes.len() {
                self.replace_parent(reader, *topic, parent);
            }
            self.leave_out(*topic);
            for group in &mut self.plan.copartitioned {
                if group.remove(topic) {
                    group.insert(merged);
                }
            }
        }
        Some(merged)
    }

    fn replace_parent(&mut self, node: usize, parent: usize, by: usize) {
        let parents = &mut self.plan.nodes[node].parents;
        if let Some(place) = parents.iter().position(|other| *other == parent) {
            parents.remove(place);
            if !parents.contains(&by) {
                parents.insert(place, by);
            }
        }
    }

    fn leave_out(&mut self, node: usize) {
        self.plan.nodes[node].parents.clear();
        self.plan.nodes[node].kind = PlannedKind::LeftOut;
    }

    /// Where both sides of an inner join are one stream, keeps its records in one store.
    fn keep_self_joined_streams_once(&mut self) {
        for join in 0..self.plan.nodes.len() {
            let PlannedKind::StreamStreamJoin { operation, .. } = self.plan.nodes[join].kind else {
                continue;
            };
            let OperationKind::StreamStreamJoin { kind: StreamStreamJoinKind::Inner, .. } =
                self.graph.operation(operation).kind
            else {
                continue;
            };
            let [left, right] = self.parents(join) else { continue };
            let (left, right) = (*left, *right);
            if self.parents(left) == self.parents(right)
                && let PlannedKind::StreamWindow { is_for_both, .. } = &mut self.plan.nodes[left].kind
            {
                *is_for_both = true;
                self.leave_out(right);
                self.plan.nodes[join].parents = vec![left];
            }
        }
    }
}
