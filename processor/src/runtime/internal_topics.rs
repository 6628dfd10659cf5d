//! The topics an application makes for itself: which there must be is decided purely, then they are made or checked.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::error::{Error, ErrorKind, Result};
use crate::kafka::{ClusterAdmin, NewTopic};
use crate::topology::{TopicName, Topology, changelog_topic};

/// What is set for a topic, by name.
type TopicConfig = BTreeMap<String, String>;

/// An internal topic as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InternalTopic {
    pub(crate) topic: NewTopic,
    pub(crate) purpose: &'static str,
}

impl Topology {
    /// By store: the topic in Kafka that it is restored from, where that is not a topic of its own.
    pub(crate) fn reused_topics(&self, application_id: &str) -> BTreeMap<&str, String> {
        let reused = self.source_changelogs.iter();
        reused.map(|(store, source)| (store.as_str(), source.topic.in_application(application_id))).collect()
    }

    /// The changelog and repartition topics of an application, given the partition counts of what it reads, and how much longer than
    /// their stores the changelogs of window and session stores keep rows.
    pub(crate) fn internal_topics(
        &self,
        application_id: &str,
        counts: &BTreeMap<TopicName, i32>,
        additional_retention: Duration,
    ) -> Vec<InternalTopic> {
        let mut topics = Vec::new();
        for topic in self.repartition_topics() {
            let name = TopicName::Internal(topic.name.clone());
            let config =
                [("cleanup.policy", "delete"), ("retention.ms", "-1"), ("segment.bytes", "52428800")];
            topics.push(internal(name.in_application(application_id), counts[&name], &config, "repartition"));
        }
        for part in self.subtopologies() {
            let partitions = part.source_topics.iter().map(|topic| counts[topic]).max().unwrap_or(1);
            for store in
                part.stores.iter().filter_map(|name| self.store(name)).filter(|store| store.is_logged())
            {
                let name = changelog_topic(application_id, store.name());
                let retention =
                    store.timed().map(|timed| timed.retention().saturating_add(additional_retention));
                let retention = retention.map(|retention| saturating_millis(retention).to_string());
                let config = match &retention {
                    Some(retention) => &[("cleanup.policy", "compact,delete"), ("retention.ms", retention)],
                    None => [("cleanup.policy", "compact")].as_slice(),
                };
                let mut changelog = internal(name, partitions, config, "changelog");
                changelog.topic.config.extend(store.changelog_config().clone());
                topics.push(changelog);
            }
        }
        topics
    }
}

/// Kafka's longest retention is the largest 64-bit number.
fn saturating_millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn internal(name: String, partitions: i32, config: &[(&str, &str)], purpose: &'static str) -> InternalTopic {
    let mut config: BTreeMap<String, String> =
        config.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    config.insert("message.timestamp.type".into(), "CreateTime".into());
    InternalTopic { topic: NewTopic { name, partitions, config }, purpose }
}

/// Checks its partition count in Kafka, which nobody knows before brokers have heard of the topic.
fn check_count(required: &InternalTopic, existing: Option<i32>) -> Result<()> {
    let NewTopic { name, partitions, .. } = &required.topic;
    match existing {
        None => Err(Error::new(
            ErrorKind::Retry,
            format!("the brokers do not tell of topic {name} yet: try again in a moment"),
        )),
        Some(count) if count == *partitions => Ok(()),
        Some(count) => Err(Error::invalid(format!(
            "{} topic {name} has {count} partitions but the topology needs {partitions}: \
             give the input topics their former partition counts, or stop all instances and reset the application",
            required.purpose
        ))),
    }
}

/// Compares the configuration that decides whether data survives: the cleanup policy.
fn check_config(required: &InternalTopic, existing: &TopicConfig) -> Result<()> {
    const POLICY: &str = "cleanup.policy";
    let (Some(required_policy), Some(policy)) = (required.topic.config.get(POLICY), existing.get(POLICY))
    else {
        return Ok(());
    };
    let parts = |policy: &str| {
        let mut parts: Vec<String> = policy.split(',').map(|part| part.trim().to_string()).collect();
        parts.sort();
        parts
    };
    if parts(required_policy) == parts(policy) {
        return Ok(());
    }
    let name = &required.topic.name;
    Err(Error::invalid(format!(
        "{} topic {name} has {POLICY}={policy} but needs {required_policy}: change it with \
         kafka-configs --alter --topic {name} --add-config {POLICY}={required_policy}",
        required.purpose
    )))
}

/// A topic of others is taken as it is. But where it forgets the newest record of a key, so does a store that is restored from it. Who may not
/// see how the topic is configured is told only that; of a cluster that did not answer, and will be asked again, nothing is said.
pub(crate) fn warn_if_rows_may_be_lost(store: &str, topic: &str, config: &Result<TopicConfig>) {
    match config {
        Ok(config) if may_lose_rows(config) => warn!(
            store,
            topic,
            "the store is restored from a topic that deletes what is old: make it compacted with kafka-configs --alter --topic {topic} \
             --add-config cleanup.policy=compact, or build the program without `reuse_ktable_source_topics`"
        ),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::Retry => {}
        Err(error) => warn!(
            store,
            topic,
            %error,
            "the store is restored from a topic of which it is not known whether it deletes what is old: allow this application \
             DescribeConfigs on {topic}, or see to it that the topic is compacted"
        ),
    }
}

fn may_lose_rows(config: &TopicConfig) -> bool {
    let is_set = |name: &str, value: &str| config.get(name).is_some_and(|set| set == value);
    let deletes = config.get("cleanup.policy").is_some_and(|policy| policy.contains("delete"));
    deletes && !(is_set("retention.ms", "-1") && is_set("retention.bytes", "-1"))
}

/// What Kafka does unless a topic or a cluster says otherwise.
const TOMBSTONES_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// For how long a topic keeps tombstones, at least, once it has removed what they delete; `None` if it is not compacted. Where that may not be
/// seen, it is taken for a compacted one as Kafka makes them.
///
/// # Errors
/// `Retry` if the cluster did not answer.
pub(crate) fn tombstones_kept(topic: &str, config: Result<TopicConfig>) -> Result<Option<Duration>> {
    let config = match config {
        Ok(config) => config,
        Err(error) if error.kind() == ErrorKind::Retry => return Err(error),
        Err(error) => {
            debug!(topic, %error, "it is not known for how long the topic keeps tombstones, and taken to be a day");
            return Ok(Some(TOMBSTONES_KEPT));
        }
    };
    if config.get("cleanup.policy").is_some_and(|policy| !policy.contains("compact")) {
        return Ok(None);
    }
    let kept = config.get("delete.retention.ms").and_then(|millis| millis.parse().ok());
    Ok(Some(kept.map_or(TOMBSTONES_KEPT, Duration::from_millis)))
}

/// Makes the topics that are missing and checks those that exist. Returns how each is configured.
///
/// # Errors
/// `Invalid` if an existing topic is not as it must be; `Retry` if brokers have yet to hear of a new one; or the cluster's refusal.
pub(crate) fn ensure_internal_topics(
    admin: &dyn ClusterAdmin,
    required: &[InternalTopic],
) -> Result<BTreeMap<String, TopicConfig>> {
    let names: Vec<String> = required.iter().map(|required| required.topic.name.clone()).collect();
    let mut configs = BTreeMap::new();
    let mut check_all = |topics: &[&InternalTopic], counts: &BTreeMap<String, i32>| -> Result<()> {
        for required in topics {
            let name = &required.topic.name;
            check_count(required, counts.get(name).copied())?;
            let config = admin.topic_config(name)?;
            check_config(required, &config)?;
            configs.insert(name.clone(), config);
        }
        Ok(())
    };
    let existing = admin.partition_counts(&names)?;
    let (there, missing): (Vec<_>, Vec<_>) =
        required.iter().partition(|required| existing.contains_key(&required.topic.name));
    check_all(&there, &existing)?;
    missing.iter().try_for_each(|required| create(admin, required))?;
    // Whoever made them: between the look and the creation, it may have been somebody else.
    if !missing.is_empty() {
        check_all(&missing, &admin.partition_counts(&names)?)?;
    }
    Ok(configs)
}

fn create(admin: &dyn ClusterAdmin, InternalTopic { topic, purpose }: &InternalTopic) -> Result<()> {
    info!(topic = topic.name, partitions = topic.partitions, "creating {purpose} topic");
    admin.create_topic(topic)
}

/// Sees to it that there is a topic of this name, of however many partitions, that keeps the newest record of each key.
///
/// # Errors
/// `Invalid` if it is one that forgets; `Retry` if the cluster does not answer, or has yet to hear of the topic; or its refusal.
pub(crate) fn ensure_compacted_topic(
    admin: &dyn ClusterAdmin,
    name: &str,
    purpose: &'static str,
) -> Result<()> {
    let required = internal(name.to_owned(), 1, &[("cleanup.policy", "compact")], purpose);
    if admin.partition_counts(&[name.to_owned()])?.is_empty() {
        create(admin, &required)?;
    }
    // Whoever made it: between the look and the creation, it may have been somebody else.
    check_config(&required, &admin.topic_config(name)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use millstream_state_stores::{HasSerde, WindowStoreBuilder};
    use parking_lot::Mutex;

    use super::*;
    use crate::testing::pass_on::PassOn;
    use crate::topology::Consumed;

    fn changelog() -> InternalTopic {
        internal("shop-stock-changelog".into(), 4, &[("cleanup.policy", "compact")], "changelog")
    }

    #[test]
    fn a_topic_with_another_partition_count_is_an_error() -> Result<()> {
        check_count(&changelog(), Some(4))?;
        let unheard = check_count(&changelog(), None).expect_err("no broker tells of it");
        assert_eq!(unheard.kind(), ErrorKind::Retry);
        let message = check_count(&changelog(), Some(3)).expect_err("three is not four").to_string();
        for part in ["shop-stock-changelog", "3 partitions", "needs 4", "reset"] {
            assert!(message.contains(part), "{message}");
        }
        Ok(())
    }

    /// A cluster in which somebody else has made each topic first, with so many partitions.
    struct OvertakenBy {
        partitions: i32,
        made: Mutex<Vec<String>>,
    }

    impl ClusterAdmin for OvertakenBy {
        fn partition_counts(&self, _topics: &[String]) -> Result<BTreeMap<String, i32>> {
            Ok(self.made.lock().iter().map(|topic| (topic.clone(), self.partitions)).collect())
        }

        fn create_topic(&self, topic: &NewTopic) -> Result<()> {
            self.made.lock().push(topic.name.clone());
            Ok(())
        }
    }

    #[test]
    fn a_topic_that_somebody_else_made_meanwhile_is_checked() {
        let ensure = |partitions| {
            let admin = OvertakenBy { partitions, made: Mutex::default() };
            ensure_internal_topics(&admin, &[changelog()])
        };
        assert!(ensure(4).is_ok());
        let refused = ensure(3).expect_err("three is not four");
        assert_eq!(refused.kind(), ErrorKind::Invalid);
    }

    #[test]
    fn a_changelog_that_is_not_compacted_is_an_error() {
        let with = |policy: &str| BTreeMap::from([("cleanup.policy".to_string(), policy.to_string())]);
        assert!(check_config(&changelog(), &with("compact")).is_ok());
        let message =
            check_config(&changelog(), &with("delete")).expect_err("data would be lost").to_string();
        assert!(message.contains("--add-config cleanup.policy=compact"), "{message}");
    }

    #[test]
    fn a_topic_that_deletes_what_is_old_is_told_from_one_that_keeps_it() {
        let with = |config: &[(&str, &str)]| {
            config.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
        };
        let forever = ("retention.ms", "-1");
        assert!(!may_lose_rows(&with(&[("cleanup.policy", "compact")])));
        assert!(may_lose_rows(&with(&[("cleanup.policy", "compact,delete"), ("retention.ms", "604800000")])));
        assert!(may_lose_rows(&with(&[("cleanup.policy", "delete"), forever, ("retention.bytes", "1000")])));
        assert!(!may_lose_rows(&with(&[("cleanup.policy", "delete"), forever, ("retention.bytes", "-1")])));
    }

    #[test]
    fn a_topic_whose_configuration_may_not_be_seen_does_not_end_the_start() -> Result<()> {
        let refused = |kind| tombstones_kept("stock-levels", Err(Error::new(kind, "no answer")));
        assert_eq!(refused(ErrorKind::Invalid)?, Some(TOMBSTONES_KEPT));
        assert_eq!(refused(ErrorKind::Fatal)?, Some(TOMBSTONES_KEPT));
        assert_eq!(refused(ErrorKind::Retry).expect_err("another try may tell").kind(), ErrorKind::Retry);
        Ok(())
    }

    #[test]
    fn tombstones_are_kept_for_as_long_as_the_topic_says() -> Result<()> {
        let kept = |config: &[(&str, &str)]| {
            let config = config.iter().map(|(name, value)| (name.to_string(), value.to_string()));
            tombstones_kept("stock-levels", Ok(config.collect()))
        };
        let day = Some(Duration::from_secs(86_400));
        assert_eq!(
            kept(&[("cleanup.policy", "compact"), ("delete.retention.ms", "5000")])?,
            Some(Duration::from_secs(5))
        );
        assert_eq!(kept(&[("cleanup.policy", "compact,delete")])?, day);
        assert_eq!(kept(&[])?, day);
        assert_eq!(kept(&[("cleanup.policy", "delete"), ("delete.retention.ms", "5000")])?, None);
        Ok(())
    }

    #[test]
    fn a_changelog_of_windows_is_cut_off_after_their_retention_and_some_more() -> Result<()> {
        let mut topology = Topology::new();
        topology.add_source("orders", ["orders"], Consumed::with(String::serde(), i64::serde()))?;
        let (hour, minute) = (Duration::from_secs(3_600), Duration::from_secs(60));
        let windows = |name: &str| WindowStoreBuilder::new(name, hour, minute, String::serde(), i64::serde());
        topology.add_state_store(Arc::new(windows("windows")))?;
        topology.add_state_store(Arc::new(windows("kept").with_changelog_config("retention.ms", "-1")))?;
        let endless =
            WindowStoreBuilder::new("endless", Duration::MAX, minute, String::serde(), i64::serde());
        topology.add_state_store(Arc::new(endless))?;
        topology.add_processor("keep", &["orders"], &["windows", "kept", "endless"], |_| Ok(PassOn))?;
        let counts = BTreeMap::from([("orders".into(), 3)]);
        let topics = topology.internal_topics("shop", &counts, 2 * hour);
        let config = |store: &str, name: &str| {
            let name_of = changelog_topic("shop", store);
            let topic = topics.iter().find(|topic| topic.topic.name == name_of).expect("it is logged");
            topic.topic.config[name].clone()
        };
        assert_eq!(config("windows", "cleanup.policy"), "compact,delete");
        assert_eq!(config("windows", "retention.ms"), "10800000");
        assert_eq!(config("kept", "retention.ms"), "-1", "what was asked for counts");
        assert_eq!(config("endless", "retention.ms"), i64::MAX.to_string());
        Ok(())
    }
}
