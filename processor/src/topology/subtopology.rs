//! Cuts a topology into sub-topologies: the parts that hang together by edges and shared stores.

use std::collections::BTreeMap;

use super::graph::{NodeKind, TopicName, Topology};

/// A part of the topology that runs as one task per partition. Parts meet only through topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subtopology {
    /// Number, in the order of the first node of each part.
    pub id: u32,
    /// Node indexes in declaration order; so parents come before children.
    pub(crate) nodes: Vec<usize>,
    /// Names of its stores, in the order they were added.
    pub stores: Vec<String>,
    /// Topics it reads, in declaration order.
    pub source_topics: Vec<TopicName>,
    /// Whether it keeps a global table: then it has no tasks, and runs once in every instance.
    pub is_global: bool,
}

impl Topology {
    /// The sub-topologies, by id.
    pub fn subtopologies(&self) -> Vec<Subtopology> {
        let mut groups = DisjointSets::new(self.nodes.len());
        let mut first_user_of_store = BTreeMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            for parent in &node.parents {
                groups.union(index, *parent);
            }
            if let NodeKind::Processor { stores, .. } = &node.kind {
                for store in stores {
                    groups.union(index, *first_user_of_store.entry(store).or_insert(index));
                }
            }
        }
        let mut subtopologies: Vec<(usize, Subtopology)> = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let root = groups.find(index);
            let position = subtopologies.iter().position(|(other, _)| *other == root).unwrap_or_else(|| {
                let id = u32::try_from(subtopologies.len()).unwrap_or(u32::MAX);
                let empty = Subtopology {
                    id,
                    nodes: vec![],
                    stores: vec![],
                    source_topics: vec![],
                    is_global: false,
                };
                subtopologies.push((root, empty));
                subtopologies.len() - 1
            });
            let subtopology = &mut subtopologies[position].1;
            subtopology.nodes.push(index);
            if let NodeKind::Source { topics, .. } = &node.kind {
                subtopology.source_topics.extend(topics.iter().cloned());
            }
        }
        let mut subtopologies: Vec<Subtopology> = subtopologies.into_iter().map(|(_, part)| part).collect();
        for store in self.stores() {
            let user = subtopologies.iter_mut().find(|part| self.uses_store(&part.nodes, store.name()));
            if let Some(part) = user {
                part.stores.push(store.name().to_string());
                part.is_global |= self.global_stores.iter().any(|global| global == store.name());
            }
        }
        subtopologies
    }

    fn uses_store(&self, nodes: &[usize], store: &str) -> bool {
        nodes.iter().any(|node| match &self.nodes[*node].kind {
            NodeKind::Processor { stores, .. } => stores.iter().any(|used| used == store),
            _ => false,
        })
    }
}

/// Union-find over node indexes.
struct DisjointSets {
    parent: Vec<usize>,
}

impl DisjointSets {
    fn new(size: usize) -> Self {
        DisjointSets { parent: (0..size).collect() }
    }

    fn find(&mut self, mut index: usize) -> usize {
        while self.parent[index] != index {
            self.parent[index] = self.parent[self.parent[index]];
            index = self.parent[index];
        }
        index
    }

    fn union(&mut self, left: usize, right: usize) {
        let (left, right) = (self.find(left), self.find(right));
        self.parent[left.max(right)] = left.min(right);
    }
}
