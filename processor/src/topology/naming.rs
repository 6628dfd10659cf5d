//! The one place that makes topic names and checks node and store names.

use crate::error::{Error, Result};

/// The name in Kafka of an internal topic: `<application id>-<name>`.
pub fn internal_topic(application_id: &str, name: &str) -> String {
    format!("{application_id}-{name}")
}

/// The changelog topic of a store: `<application id>-<store>-changelog`, as in Kafka Streams.
pub fn changelog_topic(application_id: &str, store: &str) -> String {
    format!("{application_id}-{store}-changelog")
}

/// The topic that takes records no handler could save, unless the settings name another: `<application id>-dead-letters`.
pub fn dead_letter_topic(application_id: &str) -> String {
    format!("{application_id}-dead-letters")
}

/// The topic that tells which letters of a dead-letter topic were put back: `<dead-letter topic>-redriven`.
pub fn redriven_topic(dead_letter_topic: &str) -> String {
    format!("{dead_letter_topic}-redriven")
}

/// A dead-letter topic and the one beside it: those of an application that are no input, whatever pattern they match.
pub(crate) fn letter_topics(dead_letter_topic: &str) -> [String; 2] {
    [dead_letter_topic.to_owned(), redriven_topic(dead_letter_topic)]
}

/// The transactional id under which the letters of a topic are put back, by one redrive at a time: `<dead-letter topic>-redrive`.
pub(crate) fn redrive_transactional_id(dead_letter_topic: &str) -> String {
    format!("{dead_letter_topic}-redrive")
}

/// Checks a name of a node, store or internal topic: 1 to 249 of `a-z A-Z 0-9 . _ -`, and neither `.` nor `..`, as Kafka asks of topics.
///
/// # Errors
/// `Invalid`, with the name and what is wrong with it.
pub fn validate_name(what: &str, name: &str) -> Result<()> {
    let problem = if name.is_empty() {
        "is empty"
    } else if name == "." || name == ".." {
        "must not be '.' or '..'"
    } else if name.len() > 249 {
        "is longer than 249 characters"
    } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        "has characters other than a-z, A-Z, 0-9, '.', '_' and '-'"
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!("the {what} name {name:?} {problem}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_kafka_streams() {
        assert_eq!(changelog_topic("shop", "stock"), "shop-stock-changelog");
        assert_eq!(internal_topic("shop", "by-sku-repartition"), "shop-by-sku-repartition");
    }

    #[test]
    fn the_names_around_dead_letters_follow_from_their_topic() {
        let topic = dead_letter_topic("shop");
        assert_eq!(letter_topics(&topic), ["shop-dead-letters", "shop-dead-letters-redriven"]);
        assert_eq!(redrive_transactional_id(&topic), "shop-dead-letters-redrive");
    }

    #[test]
    fn a_name_is_what_kafka_accepts_as_a_topic() {
        for good in ["stock", "KSTREAM-FILTER-0000000001", "a.b_c-d"] {
            assert!(validate_name("store", good).is_ok(), "{good}");
        }
        for (bad, why) in [("", "empty"), ("..", "'.'"), ("a b", "characters"), (&"x".repeat(250), "249")] {
            let message = validate_name("store", bad).expect_err("must be refused").to_string();
            assert!(message.contains(why), "{message}");
        }
    }
}
