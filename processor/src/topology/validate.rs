//! Checks of a whole topology, before anything is started.

use std::collections::BTreeMap;

use super::graph::{NodeKind, TopicName, Topology};
use super::subtopology::Subtopology;
use crate::error::{Error, Result};

impl Topology {
    /// Checks what can be known without Kafka.
    ///
    /// # Errors
    /// `Invalid` for a topology without sources, a store nobody uses, a store that cannot be restored from the topic it is to be restored from, a
    /// repartition topic that is not both written and read, a global store that is more than a copy of its topic, or repartition topics that are
    /// joined and were given different partition counts.
    pub fn validate(&self) -> Result<()> {
        let subtopologies = self.subtopologies();
        if !subtopologies.iter().any(|part| !part.is_global && !part.source_topics.is_empty()) {
            return Err(Error::invalid(
                "the topology has no source that makes tasks: add one with `stream` or `table`",
            ));
        }
        for part in subtopologies.iter().filter(|part| part.is_global) {
            let is_copy = part.nodes.len() == 2 && part.stores.len() == 1 && part.source_topics.len() == 1;
            if !is_copy {
                return Err(Error::invalid(format!(
                    "global store {} must have one source of one topic and one processor to itself: others read it by `Wiring::global_store`, \
                     without naming it among their stores",
                    part.stores.join(", ")
                )));
            }
        }
        for store in self.stores() {
            if !subtopologies.iter().any(|part| part.stores.iter().any(|name| name == store.name())) {
                return Err(Error::invalid(format!(
                    "store {} is connected to no processor: connect it or leave it out",
                    store.name()
                )));
            }
        }
        self.check_source_changelogs(&subtopologies)?;
        for topic in &self.repartition_topics {
            let name = TopicName::Internal(topic.name.clone());
            let written = self.sink_topics().contains(&&name);
            let read = self.source_topics().contains(&&name);
            if !(written && read) {
                return Err(Error::invalid(format!(
                    "repartition topic {} needs both a sink and a source (written: {written}, read: {read})",
                    topic.name
                )));
            }
        }
        self.check_fixed_counts()
    }

    /// Groups of topics that must have equal partition counts, each group once; a topic read by two groups joins them.
    pub fn copartitioned_topics(&self) -> Vec<Vec<TopicName>> {
        let mut groups: Vec<Vec<TopicName>> = Vec::new();
        for sources in &self.copartitioned {
            let mut group: Vec<TopicName> = Vec::new();
            for source in sources {
                let topics = self.node_index(source).map(|index| &self.nodes[index].kind);
                if let Some(NodeKind::Source { topics, .. }) = topics {
                    group.extend(topics.iter().cloned());
                }
            }
            groups.retain(|other| {
                let overlaps = other.iter().any(|topic| group.contains(topic));
                if overlaps {
                    group.extend(
                        other.iter().filter(|topic| !group.contains(topic)).cloned().collect::<Vec<_>>(),
                    );
                }
                !overlaps
            });
            group.dedup();
            groups.push(group);
        }
        groups
    }

    /// Partition counts of all topics read, from those of the user's topics: repartition topics take the count the user fixed,
    /// else that of the largest topic they are fed from or co-partitioned with.
    ///
    /// # Errors
    /// `Invalid` with topics and counts, if co-partitioned topics differ, if a stateful part reads topics of different
    /// counts, or if a count cannot be derived.
    pub fn partition_counts(&self, external: &BTreeMap<String, i32>) -> Result<BTreeMap<TopicName, i32>> {
        let mut counts: BTreeMap<TopicName, i32> = BTreeMap::new();
        for topic in self.source_topics() {
            if let TopicName::External(name) = topic {
                let count = external.get(name).ok_or_else(|| {
                    Error::invalid(format!(
                        "source topic {name} does not exist: create it before the application starts"
                    ))
                })?;
                counts.insert(topic.clone(), *count);
            }
        }
        for topic in &self.repartition_topics {
            if let Some(partitions) = topic.partitions {
                counts.insert(TopicName::Internal(topic.name.clone()), partitions);
            }
        }
        let subtopologies = self.subtopologies();
        let groups = self.copartitioned_topics();
        // A repartition topic may be fed from another one, so its count can depend on a count found in an earlier round.
        for _round in 0..=self.repartition_topics.len() {
            for topic in &self.repartition_topics {
                let name = TopicName::Internal(topic.name.clone());
                if !counts.contains_key(&name)
                    && let Some(count) = self.derived_count(&name, &subtopologies, &groups, &counts)
                {
                    counts.insert(name, count);
                }
            }
        }
        for topic in &self.repartition_topics {
            if !counts.contains_key(&TopicName::Internal(topic.name.clone())) {
                return Err(Error::invalid(format!(
                    "the partition count of repartition topic {} follows from itself: fix it with `Repartitioned`",
                    topic.name
                )));
            }
        }
        self.check_counts(&subtopologies, &groups, &counts)?;
        Ok(counts)
    }

    fn derived_count(
        &self,
        topic: &TopicName,
        subtopologies: &[Subtopology],
        groups: &[Vec<TopicName>],
        counts: &BTreeMap<TopicName, i32>,
    ) -> Option<i32> {
        let group = groups.iter().find(|group| group.contains(topic));
        let mut known_in_group = group.into_iter().flatten().filter_map(|other| counts.get(other));
        if let Some(first) = known_in_group.next() {
            return Some(known_in_group.fold(*first, |largest, count| largest.max(*count)));
        }
        let members: Vec<&TopicName> = group.map_or_else(|| vec![topic], |group| group.iter().collect());
        let mut largest = None;
        for member in members {
            for part in subtopologies.iter().filter(|part| self.writes(part, member)) {
                for source in &part.source_topics {
                    largest = largest.max(Some(*counts.get(source)?));
                }
            }
        }
        largest
    }

    /// The node that reads a topic.
    fn source_of(&self, topic: &TopicName) -> Option<&str> {
        let reads =
            |kind: &NodeKind| matches!(kind, NodeKind::Source { topics, .. } if topics.contains(topic));
        self.nodes.iter().find(|node| reads(&node.kind)).map(|node| &*node.name)
    }

    fn writes(&self, part: &Subtopology, topic: &TopicName) -> bool {
        part.nodes.iter().any(
            |node| matches!(&self.nodes[*node].kind, NodeKind::Sink { topic: Some(written), .. } if written == topic),
        )
    }

    fn check_counts(
        &self,
        subtopologies: &[Subtopology],
        groups: &[Vec<TopicName>],
        counts: &BTreeMap<TopicName, i32>,
    ) -> Result<()> {
        groups.iter().try_for_each(|group| self.check_joined(group, counts))?;
        for part in subtopologies.iter().filter(|part| !part.stores.is_empty()) {
            let topics = &part.source_topics;
            if topics.iter().any(|topic| counts[topic] != counts[&topics[0]]) {
                return Err(Error::invalid(format!(
                    "sub-topology {} keeps state and reads topics of different partition counts, which the group's \
                     assignor cannot give to one member together: {}; repartition them to one count",
                    part.id,
                    self.list(topics, counts)
                )));
            }
        }
        Ok(())
    }

    /// Repartition topics that are joined and were given counts must have been given the same.
    fn check_fixed_counts(&self) -> Result<()> {
        let fixed = self
            .repartition_topics
            .iter()
            .filter_map(|topic| Some((TopicName::Internal(topic.name.clone()), topic.partitions?)));
        let fixed: BTreeMap<TopicName, i32> = fixed.collect();
        self.copartitioned_topics().into_iter().try_for_each(|mut group| {
            group.retain(|topic| fixed.contains_key(topic));
            self.check_joined(&group, &fixed)
        })
    }

    fn check_joined(&self, topics: &[TopicName], counts: &BTreeMap<TopicName, i32>) -> Result<()> {
        if topics.iter().all(|topic| counts[topic] == counts[&topics[0]]) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "topics that are joined need equal partition counts, but {}: repartition one of them to the count of the other",
            self.list(topics, counts)
        )))
    }

    /// Topics with their counts, and who reads them.
    fn list(&self, topics: &[TopicName], counts: &BTreeMap<TopicName, i32>) -> String {
        let described = topics.iter().map(|topic| {
            let source = self.source_of(topic).unwrap_or_default();
            format!("{} has {} (source {source})", topic.undecorated(), counts[topic])
        });
        described.collect::<Vec<_>>().join(", ")
    }
}
