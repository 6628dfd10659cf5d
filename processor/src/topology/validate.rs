//! Checks of a whole topology, before anything is started.

use std::collections::BTreeMap;

use super::graph::{NodeKind, TopicName, Topology};
use super::subtopology::Subtopology;
use crate::error::{Error, Result};

/// A partition count that follows from others. Those of which more is known come first: topics that feed each other, as those of a
/// foreign-key join do, wait for one another, and there the largest that is known decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct DerivedCount {
    is_of_all: bool,
    largest: i32,
}

impl Topology {
    /// Checks what can be known without Kafka.
    ///
    /// # Errors
    /// `Invalid` for a topology without sources, a store nobody uses, a store that cannot be restored from the topic it is to be restored from, a
    /// repartition topic that is not both written and read or is fed from nothing but itself, a global store that is more than a copy of its
    /// topic, or repartition topics that are joined and were given different partition counts.
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
        // Whether counts can be derived does not depend on how many partitions there are.
        let sources = self.source_topics().into_iter().filter(|topic| topic.external().is_some());
        self.derive_counts(&mut sources.map(|topic| (topic.clone(), 1)).collect())?;
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
    /// counts, or if a count cannot be derived, as [`validate`](Self::validate) says.
    pub fn partition_counts(&self, external: &BTreeMap<String, i32>) -> Result<BTreeMap<TopicName, i32>> {
        let mut counts: BTreeMap<TopicName, i32> = BTreeMap::new();
        for topic in self.source_topics() {
            if let Some(name) = topic.external() {
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
        self.derive_counts(&mut counts)?;
        self.check_counts(&counts)?;
        Ok(counts)
    }

    /// Adds the counts of the repartition topics that have none.
    fn derive_counts(&self, counts: &mut BTreeMap<TopicName, i32>) -> Result<()> {
        let (subtopologies, groups) = (self.subtopologies(), self.copartitioned_topics());
        loop {
            let topics = self.repartition_topics.iter().map(|topic| TopicName::Internal(topic.name.clone()));
            let open: Vec<TopicName> = topics.filter(|topic| !counts.contains_key(topic)).collect();
            let derived =
                open.iter().map(|topic| (self.derived_count(topic, &subtopologies, &groups, counts), topic));
            match derived.max_by_key(|(count, _)| *count) {
                Some((Some(count), topic)) => drop(counts.insert(topic.clone(), count.largest)),
                Some((None, topic)) => {
                    return Err(Error::invalid(format!(
                        "repartition topic {} is fed from nothing but itself: feed it from a source, or leave it out",
                        topic.undecorated()
                    )));
                }
                None => return Ok(()),
            }
        }
    }

    /// What is known of the topics that this one is fed from or co-partitioned with.
    fn derived_count(
        &self,
        topic: &TopicName,
        subtopologies: &[Subtopology],
        groups: &[Vec<TopicName>],
        counts: &BTreeMap<TopicName, i32>,
    ) -> Option<DerivedCount> {
        let group = groups.iter().find(|group| group.contains(topic));
        let known_in_group = group.into_iter().flatten().filter_map(|other| counts.get(other));
        if let Some(largest) = known_in_group.max() {
            return Some(DerivedCount { is_of_all: true, largest: *largest });
        }
        let members: Vec<&TopicName> = group.map_or_else(|| vec![topic], |group| group.iter().collect());
        let feeds = |part: &&Subtopology| members.iter().any(|member| self.writes(part, member));
        let fed_from = subtopologies.iter().filter(feeds).flat_map(|part| &part.source_topics);
        let fed_from: Vec<Option<&i32>> = fed_from.map(|source| counts.get(source)).collect();
        let largest = **fed_from.iter().flatten().max()?;
        Some(DerivedCount { is_of_all: fed_from.iter().all(Option::is_some), largest })
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

    fn check_counts(&self, counts: &BTreeMap<TopicName, i32>) -> Result<()> {
        self.copartitioned_topics().iter().try_for_each(|group| self.check_joined(group, counts))?;
        for part in self.subtopologies().iter().filter(|part| !part.stores.is_empty()) {
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
