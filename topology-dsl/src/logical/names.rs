//! Generated names, numbered as Kafka Streams numbers them.

/// Gives out names. Each takes the next number, also where a name given by the user is used instead: so naming an operator
/// changes no other name.
#[derive(Default)]
pub(crate) struct Names {
    next: u64,
}

impl Names {
    pub(crate) fn node(&mut self, prefix: &str) -> String {
        let name = format!("{prefix}{:010}", self.next);
        self.next += 1;
        name
    }

    pub(crate) fn store(&mut self, prefix: &str) -> String {
        self.node(&format!("{prefix}STATE-STORE-"))
    }

    /// Uses up a number without giving a name.
    pub(crate) fn skip(&mut self) {
        self.next += 1;
    }

    pub(crate) fn given_or_node(&mut self, given: Option<&str>, prefix: &str) -> String {
        let generated = self.node(prefix);
        given.map_or(generated, str::to_string)
    }

    pub(crate) fn suffixed_or_node(&mut self, given: Option<&str>, suffix: &str, prefix: &str) -> String {
        let generated = self.node(prefix);
        given.map_or(generated, |given| format!("{given}{suffix}"))
    }

    /// The names of the topic that repartitions on behalf of `base`, an operator or store.
    pub(crate) fn repartition(&mut self, base: &str) -> RepartitionNames {
        let (sink, filter, source) =
            (self.node("KSTREAM-SINK-"), self.node("KSTREAM-FILTER-"), self.node("KSTREAM-SOURCE-"));
        let topic =
            if base.ends_with("-repartition") { base.to_string() } else { format!("{base}-repartition") };
        if is_generated(base) {
            return RepartitionNames { topic, filter, sink, source };
        }
        RepartitionNames {
            filter: format!("{topic}-filter"),
            sink: format!("{topic}-sink"),
            source: format!("{topic}-source"),
            topic,
        }
    }
}

/// A repartition topic, without the application id, and the nodes around it.
pub(crate) struct RepartitionNames {
    pub(crate) topic: String,
    pub(crate) filter: String,
    pub(crate) sink: String,
    pub(crate) source: String,
}

/// Whether Kafka Streams takes a name for one it made: `KSTREAM.*-[0-9]{10}`.
fn is_generated(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.len() >= "KSTREAM".len() + 11
        && bytes.starts_with(b"KSTREAM")
        && bytes[bytes.len() - 11] == b'-'
        && bytes[bytes.len() - 10..].iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_name_uses_up_a_number() {
        let mut names = Names::default();
        assert_eq!(names.given_or_node(Some("keep-large"), "KSTREAM-FILTER-"), "keep-large");
        assert_eq!(names.given_or_node(None, "KSTREAM-MAP-"), "KSTREAM-MAP-0000000001");
        assert_eq!(names.store("orders-"), "orders-STATE-STORE-0000000002");
    }

    #[test]
    fn generated_names_are_recognised_as_kafka_streams_does() {
        for (name, expected) in [
            ("KSTREAM-AGGREGATE-STATE-STORE-0000000003", true),
            ("KSTREAM-KEY-SELECT-0000000004", true),
            ("KSTREAM-BRANCH-00000000012", false),
            ("KSTREAM-0000", false),
            ("by-customer", false),
            ("my-KSTREAM-MAP-0000000001", false),
        ] {
            assert_eq!(is_generated(name), expected, "{name}");
        }
    }

    #[test]
    fn nodes_around_a_topic_the_user_named_are_named_after_it() {
        let mut names = Names::default();
        let named = names.repartition("by-sku");
        assert_eq!((&*named.topic, &*named.sink), ("by-sku-repartition", "by-sku-repartition-sink"));
        let generated = names.repartition("KSTREAM-MAP-0000000009");
        assert_eq!(generated.topic, "KSTREAM-MAP-0000000009-repartition");
        assert_eq!(
            (&*generated.sink, &*generated.filter),
            ("KSTREAM-SINK-0000000003", "KSTREAM-FILTER-0000000004")
        );
    }
}
