//! Names of what outlives the program: stores and internal topics whose names were generated lose their data when an operator is added above
//! them, because the numbers in the names move on (KIP-1111).

use std::fmt;

use super::graph::{NodeKind, TopicName, Topology};
use crate::error::{Error, Result};

/// A store or repartition topic with a generated name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedName {
    /// What has the name.
    pub kind: NamedResource,
    /// The name, without the application id.
    pub name: String,
    /// The nodes that use it.
    pub nodes: Vec<String>,
}

/// What keeps data under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedResource {
    /// A state store, with its changelog topic if it has one.
    Store,
    /// A repartition topic.
    RepartitionTopic,
}

impl fmt::Display for GeneratedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            NamedResource::Store => "store",
            NamedResource::RepartitionTopic => "repartition topic",
        };
        write!(f, "{kind} {} of {}", self.name, self.nodes.join(", "))
    }
}

const REMEDY: &str = "an operator that is added before them gives them other names, under which their data is not found: name stores with a \
                      `StoreName`, repartition topics with `named(..)` of the grouping or join";

impl Topology {
    /// Stores and repartition topics whose names were generated, in the order they were added. Stores of global tables are left out: they
    /// are read anew from their topics.
    ///
    /// ```
    /// # use millstream_processor::topology::{Consumed, Topology};
    /// # use millstream_processor::HasSerde;
    /// let mut topology = Topology::new();
    /// topology.add_source("orders", ["orders"], Consumed::with(String::serde(), i64::serde()))?;
    /// assert!(topology.generated_names().is_empty());
    /// # Ok::<(), millstream_processor::Error>(())
    /// ```
    pub fn generated_names(&self) -> Vec<GeneratedName> {
        let stores = self
            .stores()
            .map(|store| store.name())
            .filter(|name| is_generated(name) && !self.global_stores.iter().any(|global| global == name));
        let stores = stores.map(|name| GeneratedName {
            kind: NamedResource::Store,
            name: name.to_string(),
            nodes: self.users_of_store(name),
        });
        let topics = self.repartition_topics.iter().filter(|topic| is_generated(&topic.name));
        let topics = topics.map(|topic| GeneratedName {
            kind: NamedResource::RepartitionTopic,
            name: topic.name.clone(),
            nodes: self.readers_of(&TopicName::Internal(topic.name.clone())),
        });
        stores.chain(topics).collect()
    }

    /// Logs a warning if there are generated names.
    pub fn warn_of_generated_names(&self) {
        let generated = self.generated_names();
        if !generated.is_empty() {
            tracing::warn!(
                names = list(&generated),
                "data is kept under generated names; {REMEDY} (or have it demanded by the setting \
                 `ensure_explicit_internal_resource_naming`)"
            );
        }
    }

    /// # Errors
    /// `Invalid`, with what has a generated name and the remedy.
    pub(crate) fn check_names_are_given(&self) -> Result<()> {
        let generated = self.generated_names();
        if generated.is_empty() {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "ensure_explicit_internal_resource_naming is set, but there are generated names ({}): {REMEDY}",
            list(&generated)
        )))
    }

    fn users_of_store(&self, store: &str) -> Vec<String> {
        let uses = |kind: &NodeKind| match kind {
            NodeKind::Processor { stores, .. } => stores.iter().any(|used| used == store),
            _ => false,
        };
        self.nodes.iter().filter(|node| uses(&node.kind)).map(|node| node.name.to_string()).collect()
    }

    /// The nodes below the sources of a topic.
    fn readers_of(&self, topic: &TopicName) -> Vec<String> {
        let reads = |kind: &NodeKind| match kind {
            NodeKind::Source { topics, .. } => topics.contains(topic),
            _ => false,
        };
        let children = self.nodes.iter().filter(|node| reads(&node.kind)).flat_map(|node| &node.children);
        children.map(|child| self.nodes[*child].name.to_string()).collect()
    }
}

fn list(generated: &[GeneratedName]) -> String {
    generated.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Whether a name has the form of those that the DSL generates: what it is of, a minus, ten digits, and perhaps what it is for.
fn is_generated(name: &str) -> bool {
    const BEGINNINGS: [&str; 3] = ["KSTREAM-", "KTABLE-", "COGROUPKSTREAM-"];
    let has_number = || {
        let mut parts = name.split('-').skip(1);
        parts.any(|part| part.len() == 10 && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let is_generated = BEGINNINGS.iter().any(|beginning| name.starts_with(beginning));
    (is_generated || name.contains("-STATE-STORE-")) && has_number()
}

#[cfg(test)]
mod tests {
    use super::is_generated;

    #[test]
    fn a_generated_name_is_told_from_one_that_was_given() {
        for name in [
            "KSTREAM-AGGREGATE-STATE-STORE-0000000003",
            "KSTREAM-AGGREGATE-STATE-STORE-0000000003-repartition",
            "products-STATE-STORE-0000000000",
            "KSTREAM-JOINTHIS-0000000004-store",
            "KSTREAM-OUTERSHARED-0000000004-store",
            "KSTREAM-JOIN-0000000005-Buffer",
            "KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-0000000004-topic",
            "COGROUPKSTREAM-AGGREGATE-STATE-STORE-0000000002",
        ] {
            assert!(is_generated(name), "{name}");
        }
        for name in ["orders-2026112823", "counts", "counts-repartition", "KSTREAM-counts", "by-0000000001"] {
            assert!(!is_generated(name), "{name}");
        }
    }
}
