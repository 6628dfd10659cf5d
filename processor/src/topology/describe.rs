//! The topology as text, in the format of Kafka Streams' `Topology.describe()`.

use std::cmp::Reverse;
use std::fmt::Write as _;

use super::graph::{NodeKind, Topology};

impl Topology {
    /// The text that Kafka Streams prints for the same program.
    pub fn describe(&self) -> String {
        let sizes = self.subtree_sizes();
        let in_order = |indexes: &[usize]| {
            let mut sorted = indexes.to_vec();
            sorted.sort_by_key(|index| (Reverse(sizes[*index]), self.nodes[*index].name.clone()));
            sorted
        };
        let names = |indexes: &[usize]| match indexes {
            [] => "none".to_string(),
            _ => {
                let sorted = in_order(indexes);
                sorted.iter().map(|index| &*self.nodes[*index].name).collect::<Vec<_>>().join(", ")
            }
        };
        let mut text = String::from("Topologies:\n ");
        for subtopology in self.subtopologies() {
            let kind = if subtopology.is_global { " for global store (will not generate tasks)" } else { "" };
            push(&mut text, format_args!("  Sub-topology: {}{kind}\n", subtopology.id));
            for index in in_order(&subtopology.nodes) {
                let node = &self.nodes[index];
                match &node.kind {
                    NodeKind::Source { pattern: Some(pattern), .. } => {
                        push(&mut text, format_args!("    Source: {} (topics: {pattern})\n", node.name));
                    }
                    NodeKind::Source { topics, .. } => {
                        let topics: Vec<&str> = topics.iter().map(|topic| topic.undecorated()).collect();
                        push(
                            &mut text,
                            format_args!("    Source: {} (topics: [{}])\n", node.name, topics.join(", ")),
                        );
                    }
                    NodeKind::Processor { stores, .. } => {
                        let stores = stores.join(", ");
                        push(&mut text, format_args!("    Processor: {} (stores: [{stores}])\n", node.name));
                    }
                    NodeKind::Sink { topic, .. } => {
                        let target = match topic {
                            Some(topic) => format!("topic: {}", topic.undecorated()),
                            None => "extractor class: function".to_string(),
                        };
                        push(&mut text, format_args!("    Sink: {} ({target})\n", node.name));
                    }
                }
                if node.sends.is_some() {
                    push(&mut text, format_args!("      --> {}\n", names(&node.children)));
                }
                if node.accepts.is_some() {
                    push(&mut text, format_args!("      <-- {}\n", names(&node.parents)));
                }
            }
            // Kafka Streams leaves no line free after a global store.
            if !subtopology.is_global {
                text.push('\n');
            }
        }
        text
    }

    /// A node's own one plus the sizes of its children, a shared child counted once for each path to it.
    fn subtree_sizes(&self) -> Vec<u64> {
        let mut sizes = vec![1_u64; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate().rev() {
            sizes[index] =
                node.children.iter().fold(1, |size: u64, child| size.saturating_add(sizes[*child]));
        }
        sizes
    }
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("writing to a String cannot fail");
}
