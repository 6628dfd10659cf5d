//! The topology as a picture (Graphviz DOT and Mermaid) and as data for programs that draw their own (JSON).

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::graph::{NodeKind, NodeSpec, TopicName, Topology};
use super::subtopology::Subtopology;

impl Topology {
    /// The topology in Graphviz DOT: boxes for processors, cylinders for stores, parallelograms for topics, one cluster a sub-topology.
    pub fn to_dot(&self) -> String {
        let mut dot = String::from("digraph topology {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n");
        for part in self.subtopologies() {
            line(
                &mut dot,
                format_args!("  subgraph cluster_{} {{\n    label=\"{}\";", part.id, label_of(&part)),
            );
            for index in &part.nodes {
                line(&mut dot, format_args!("    \"{}\" [shape=box];", self.nodes[*index].name));
            }
            for store in &part.stores {
                line(&mut dot, format_args!("    \"store {store}\" [label=\"{store}\", shape=cylinder];"));
            }
            dot.push_str("  }\n");
        }
        for (from, to, _) in self.edges() {
            line(&mut dot, format_args!("  {} -> {};", dot_name(&from), dot_name(&to)));
        }
        for topic in self.all_topics() {
            let name = topic.undecorated();
            line(&mut dot, format_args!("  \"topic {name}\" [label=\"{name}\", shape=parallelogram];"));
        }
        dot.push_str("}\n");
        dot
    }

    /// The topology as a Mermaid flowchart, for Markdown pages.
    pub fn to_mermaid(&self) -> String {
        let mut chart = String::from("flowchart LR\n");
        for part in self.subtopologies() {
            line(&mut chart, format_args!("  subgraph s{}[{}]", part.id, label_of(&part)));
            for index in &part.nodes {
                line(&mut chart, format_args!("    n{index}[{}]", self.nodes[*index].name));
            }
            for store in &part.stores {
                line(
                    &mut chart,
                    format_args!("    {}[({store})]", self.mermaid_id(&End::Store(store.clone()))),
                );
            }
            chart.push_str("  end\n");
        }
        for topic in self.all_topics() {
            let id = self.mermaid_id(&End::Topic(topic.undecorated().to_string()));
            line(&mut chart, format_args!("  {id}[/{}/]", topic.undecorated()));
        }
        for (from, to, both_ways) in self.edges() {
            let arrow = if both_ways { "<-->" } else { "-->" };
            line(&mut chart, format_args!("  {} {arrow} {}", self.mermaid_id(&from), self.mermaid_id(&to)));
        }
        chart
    }

    /// The topology as JSON: `{"subtopologies": [{"id", "nodes", "stores", "is_global"}]}`. Each node has `name`, `kind` and `children` (names);
    /// a source has `topics`, and a `pattern` if it reads whatever matches it, a processor `stores`, a sink `topic`, which is null where each record chooses its own.
    pub fn to_json(&self) -> Value {
        let parts = self.subtopologies().into_iter().map(|part| {
            let nodes = part.nodes.iter().map(|index| self.node_to_json(&self.nodes[*index]));
            json!({
                "id": part.id,
                "nodes": nodes.collect::<Vec<_>>(),
                "stores": part.stores,
                "is_global": part.is_global,
            })
        });
        json!({ "subtopologies": parts.collect::<Vec<_>>() })
    }

    fn node_to_json(&self, node: &NodeSpec) -> Value {
        let children: Vec<&str> = node.children.iter().map(|child| &*self.nodes[*child].name).collect();
        let mut json = json!({ "name": &*node.name, "children": children });
        match &node.kind {
            NodeKind::Source { topics, pattern, .. } => {
                json["kind"] = "source".into();
                json["topics"] = topics.iter().map(TopicName::undecorated).collect();
                if let Some(pattern) = pattern {
                    json["pattern"] = pattern.as_str().into();
                }
            }
            NodeKind::Processor { stores, .. } => {
                json["kind"] = "processor".into();
                json["stores"] = stores.iter().map(String::as_str).collect();
            }
            NodeKind::Sink { topic, .. } => {
                json["kind"] = "sink".into();
                json["topic"] = topic.as_ref().map(TopicName::undecorated).into();
            }
        }
        json
    }

    fn all_topics(&self) -> Vec<&TopicName> {
        let mut topics = self.source_topics();
        for topic in self.sink_topics() {
            if !topics.contains(&topic) {
                topics.push(topic);
            }
        }
        topics
    }

    /// Arrows between nodes, topics and stores; the flag says that data goes both ways.
    fn edges(&self) -> Vec<(End, End, bool)> {
        let mut edges = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let here = || End::Node(index, node.name.to_string());
            match &node.kind {
                NodeKind::Source { topics, .. } => {
                    for topic in topics {
                        edges.push((End::Topic(topic.undecorated().to_string()), here(), false));
                    }
                }
                NodeKind::Processor { stores, .. } => {
                    for store in stores {
                        edges.push((here(), End::Store(store.clone()), true));
                    }
                }
                NodeKind::Sink { topic: Some(topic), .. } => {
                    edges.push((here(), End::Topic(topic.undecorated().to_string()), false));
                }
                NodeKind::Sink { topic: None, .. } => {}
            }
            for child in &node.children {
                edges.push((here(), End::Node(*child, self.nodes[*child].name.to_string()), false));
            }
        }
        edges
    }

    fn mermaid_id(&self, end: &End) -> String {
        match end {
            End::Node(index, _) => format!("n{index}"),
            End::Store(name) => {
                let position = self.stores().position(|store| store.name() == name).unwrap_or_default();
                format!("st{position}")
            }
            End::Topic(name) => {
                let topics = self.all_topics();
                let position =
                    topics.iter().position(|topic| topic.undecorated() == name).unwrap_or_default();
                format!("t{position}")
            }
        }
    }
}

fn label_of(part: &Subtopology) -> String {
    let kind = if part.is_global { ", a global table" } else { "" };
    format!("Sub-topology {}{kind}", part.id)
}

/// One end of an arrow.
enum End {
    Node(usize, String),
    Store(String),
    Topic(String),
}

fn dot_name(end: &End) -> String {
    match end {
        End::Node(_, name) => format!("\"{name}\""),
        End::Store(name) => format!("\"store {name}\""),
        End::Topic(name) => format!("\"topic {name}\""),
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a String cannot fail");
}
