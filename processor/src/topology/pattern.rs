//! Topics that are read by a pattern of their names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use regex::Regex;

use super::graph::{NodeKind, TopicName, Topology};
use super::naming::{changelog_topic, dead_letter_topic, letter_topics};
use crate::error::{Error, Result};

/// A regular expression for the names of topics, whichever there are. It must match a whole name; its syntax is that of the crate
/// [`regex`](https://docs.rs/regex/latest/regex/#syntax), which is that of Java's patterns without references and looking around.
///
/// ```
/// use millstream_processor::topology::TopicPattern;
///
/// let orders = TopicPattern::new("orders-[a-z]{2}")?;
/// assert!(orders.matches("orders-eu"));
/// assert!(!orders.matches("orders-eu-returned"));
/// # Ok::<(), millstream_processor::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TopicPattern {
    text: String,
    whole: Regex,
}

impl TopicPattern {
    /// A pattern of whole names.
    ///
    /// # Errors
    /// `Invalid` with the place of the mistake, if it is no regular expression.
    pub fn new(pattern: &str) -> Result<Self> {
        let whole = Regex::new(pattern).and_then(|_| Regex::new(&format!("^(?:{pattern})$")));
        let whole = whole.map_err(|error| {
            Error::invalid(format!("pattern {pattern} of topics is no regular expression")).with_source(error)
        })?;
        Ok(TopicPattern { text: pattern.to_string(), whole })
    }

    /// Whether it is the name of one of its topics.
    pub fn matches(&self, topic: &str) -> bool {
        self.whole.is_match(topic)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Topology {
    /// Whether any source reads topics by a pattern.
    pub fn has_patterns(&self) -> bool {
        self.patterns().next().is_some()
    }

    fn patterns(&self) -> impl Iterator<Item = (usize, &TopicPattern)> {
        self.nodes.iter().enumerate().filter_map(|(index, node)| match &node.kind {
            NodeKind::Source { pattern: Some(pattern), .. } => Some((index, pattern)),
            _ => None,
        })
    }

    /// The topology with those topics, of all that exist, that its patterns match: in place of those it may have been bound to before.
    /// Topics of Kafka's own, which begin with two underscores, are left out, as are those of the application.
    ///
    /// # Errors
    /// `Invalid` if no topic matches a pattern, or one matches two.
    pub fn bound_to<'t>(
        &self,
        existing: impl IntoIterator<Item = &'t str>,
        application_id: &str,
    ) -> Result<Topology> {
        let own_changelogs = self.stores().map(|store| changelog_topic(application_id, store.name()));
        let own_repartition = self.repartition_topics.iter();
        let own_repartition = own_repartition
            .map(|topic| TopicName::Internal(topic.name.clone()).in_application(application_id));
        let own_letters = letter_topics(&dead_letter_topic(application_id));
        let own = own_changelogs.chain(own_repartition).chain(own_letters);
        let own: Vec<String> = own.collect();
        let others = existing.into_iter().filter(|topic| !topic.starts_with("__"));
        let others = others.filter(|topic| !own.iter().any(|own| own == topic));
        let mut found: BTreeMap<usize, Vec<TopicName>> = BTreeMap::new();
        for topic in BTreeSet::from_iter(others) {
            let mut readers = self.patterns().filter(|(_, pattern)| pattern.matches(topic));
            let Some((reader, pattern)) = readers.next() else { continue };
            if let Some((_, other)) = readers.next() {
                return Err(Error::invalid(format!(
                    "topic {topic} matches two patterns, {pattern} and {other}: a topic has one source"
                )));
            }
            found.entry(reader).or_default().push(topic.into());
        }
        let mut bound = self.clone();
        for (index, pattern) in self.patterns() {
            let Some(matching) = found.remove(&index) else {
                return Err(Error::invalid(format!(
                    "no topic matches pattern {pattern} of source {}: create one before the application starts, or name it to \
                     the driver by `existing_topics`",
                    self.nodes[index].name
                )));
            };
            if let NodeKind::Source { topics, .. } = &mut bound.nodes[index].kind {
                *topics = matching;
            }
        }
        Ok(bound)
    }
}

#[cfg(test)]
mod tests {
    use millstream_state_stores::HasSerde;

    use super::*;
    use crate::testing::TopologyTestDriver;
    use crate::topology::{Consumed, RepartitionTopic, Sink};

    fn consumed() -> Consumed<String, i64> {
        Consumed::with(String::serde(), i64::serde())
    }

    fn orders_of_all_regions() -> Result<Topology> {
        let mut topology = Topology::new();
        topology.add_source_of_pattern("orders", TopicPattern::new("orders-.*")?, consumed())?;
        let all = Sink::topic("all-orders");
        topology.add_sink("all", &["orders"], all, String::serde(), i64::serde())?;
        Ok(topology)
    }

    fn topics(topology: &Topology) -> Vec<&str> {
        topology.source_topics().into_iter().map(TopicName::undecorated).collect()
    }

    #[test]
    fn it_is_bound_to_what_matches_and_bound_anew_to_what_matches_later() -> Result<()> {
        let topology = orders_of_all_regions()?;
        topology.validate()?;
        let bound =
            topology.bound_to(["orders-us", "returns", "orders-eu", "orders", "all-orders"], "shop")?;
        assert_eq!(topics(&bound), ["orders-eu", "orders-us"]);
        assert_eq!(
            topics(&bound.bound_to(["orders-eu", "orders-asia"], "shop")?),
            ["orders-asia", "orders-eu"]
        );
        assert_eq!(bound.describe(), topology.describe());
        assert!(bound.describe().contains("Source: orders (topics: orders-.*)"), "{}", bound.describe());
        Ok(())
    }

    #[test]
    fn topics_of_kafka_and_of_the_application_are_not_read() -> Result<()> {
        let mut topology = Topology::new();
        topology.add_source_of_pattern("all", TopicPattern::new(".*")?, consumed())?;
        let by_sku = RepartitionTopic { name: "by-sku-repartition".to_string(), partitions: None };
        topology.add_repartition_topic(by_sku)?;
        let others = ["other-by-sku-repartition", "other-dead-letters"];
        let own = ["shop-by-sku-repartition", "shop-dead-letters", "shop-dead-letters-redriven"];
        let existing = others.into_iter().chain(own).chain(["__consumer_offsets"]);
        assert_eq!(topics(&topology.bound_to(existing, "shop")?), others);
        Ok(())
    }

    #[test]
    fn what_is_read_twice_or_not_at_all_is_refused() -> Result<()> {
        let refusal = |outcome: Result<Topology>| outcome.expect_err("it is wrong").to_string();
        let none = refusal(orders_of_all_regions()?.bound_to(["returns"], "shop"));
        assert!(none.contains("no topic matches pattern orders-.* of source orders"), "{none}");

        let mut two = orders_of_all_regions()?;
        two.add_source_of_pattern("european", TopicPattern::new(".*-eu")?, consumed())?;
        let twice = refusal(two.bound_to(["orders-eu"], "shop"));
        assert!(twice.contains("topic orders-eu matches two patterns, orders-.* and .*-eu"), "{twice}");

        let mut after = orders_of_all_regions()?;
        let named = after.add_source("european", ["orders-eu"], consumed()).expect_err("it matches");
        assert!(named.to_string().contains("topic orders-eu is read by source orders already"), "{named}");
        let mut before = Topology::new();
        before.add_source("european", ["orders-eu"], consumed())?;
        let pattern = before.add_source_of_pattern("orders", TopicPattern::new("orders-.*")?, consumed());
        let pattern = pattern.expect_err("it matches").to_string();
        assert!(pattern.contains("topic orders-eu is read by source european already"), "{pattern}");

        for broken in ["orders-(", "orders)(-eu"] {
            let error = TopicPattern::new(broken).expect_err("it is open").to_string();
            assert!(
                error.contains(&format!("pattern {broken} of topics is no regular expression")),
                "{error}"
            );
        }
        Ok(())
    }

    #[test]
    fn a_driver_is_told_which_topics_there_are() -> Result<()> {
        let builder = TopologyTestDriver::builder(orders_of_all_regions()?);
        let driver = builder.existing_topics(["orders-eu", "orders-us"]).build()?;
        for region in ["orders-eu", "orders-us"] {
            driver.input_topic::<String, i64>(region).pipe_input("apples", 3)?;
        }
        assert_eq!(driver.output_topic::<String, i64>("all-orders").len(), 2);
        Ok(())
    }
}
