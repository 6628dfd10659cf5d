//! What an instance runs now: the topology, bound to the topics that its sources read, and what follows from them. If a source reads topics
//! by a pattern, and others match it than did, another program takes its place, and the stream threads begin anew with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_state_stores::{TaskId, TopicId};

use super::internal_topics::{ensure_internal_topics, tombstones_kept, warn_if_rows_may_be_lost};
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::Result;
use crate::kafka::{ClusterAdmin, NewTopic, ids_of_existing};
use crate::membership::Inputs;
use crate::patience::{PROPAGATION, has_all, once_propagated, patiently};
use crate::task::TaskPlan;
use crate::topology::{TopicName, Topology, changelog_topic, letter_topics};

/// See the module's description.
pub(crate) struct Program {
    pub(crate) topology: Arc<Topology>,
    /// By sub-topology id.
    plans: Vec<TaskPlan>,
    pub(crate) inputs: Arc<Inputs>,
    pub(crate) topics: ApplicationTopics,
}

impl Program {
    pub(crate) fn new(topology: Arc<Topology>, plans: Vec<TaskPlan>, topics: ApplicationTopics) -> Self {
        let inputs = inputs(&plans, &topics.partition_counts);
        let inputs = Arc::new(if topology.has_patterns() { inputs.of_patterns() } else { inputs });
        Program { topology, plans, inputs, topics }
    }

    /// The same program, bound to other topics.
    pub(crate) fn bound_to(&self, topology: &Arc<Topology>, topics: ApplicationTopics) -> Self {
        let parts = topology.subtopologies().into_iter();
        let plans = self.plans.iter().zip(parts).map(|(plan, part)| plan.bound_to(topology, part)).collect();
        Program::new(Arc::clone(topology), plans, topics)
    }

    /// What the tasks of this one's sub-topology have in common.
    pub(crate) fn plan_of(&self, task: TaskId) -> &TaskPlan {
        &self.plans[task.subtopology as usize]
    }
}

fn inputs(plans: &[TaskPlan], counts: &BTreeMap<TopicName, i32>) -> Inputs {
    let of_plan = |plan: &TaskPlan| {
        let (id, application_id) = (plan.subtopology.id, Arc::clone(&plan.application_id));
        let topics = plan.subtopology.source_topics.clone();
        let count = |topic: &TopicName| counts.get(topic).copied().unwrap_or(0);
        let input = move |topic: TopicName| (topic.in_application(&application_id).into(), id, count(&topic));
        topics.into_iter().map(input)
    };
    Inputs::new(plans.iter().filter(|plan| !plan.subtopology.is_global).flat_map(of_plan))
}

/// The topics that exist, with their partition counts, for patterns to match: without the application's own dead letters, whatever their name,
/// and without those that are about to go.
pub(super) fn existing_topics(
    admin: &dyn ClusterAdmin,
    settings: &Settings,
) -> Result<BTreeMap<String, i32>> {
    let mut existing = admin.all_partition_counts()?;
    let named = settings.dead_letter_topic.iter();
    let letters: Vec<String> = named.flat_map(|topic| letter_topics(topic)).collect();
    existing.retain(|topic, count| *count > 0 && !letters.contains(topic));
    Ok(existing)
}

/// What was found out about the topics of a program.
#[derive(Default)]
pub(crate) struct ApplicationTopics {
    pub(crate) partition_counts: BTreeMap<TopicName, i32>,
    /// Those that are the changelogs, and those of global tables, by name in Kafka; none where the brokers give no ids.
    pub(crate) changelog_ids: BTreeMap<String, TopicId>,
    /// Of those of them that are compacted: for how long they keep tombstones at least.
    pub(crate) keep_tombstones: BTreeMap<String, Duration>,
}

impl ApplicationTopics {
    /// Checks the topics that are read and makes those that are the application's own.
    ///
    /// # Errors
    /// `Invalid` if topics are missing or not as they must be; `Retry` if the cluster does not answer.
    pub(super) fn prepare(
        topology: &Topology,
        application_id: &str,
        settings: &Settings,
        admin: &dyn ClusterAdmin,
        clock: &dyn Clock,
        is_given_up: &dyn Fn() -> bool,
    ) -> Result<Self> {
        let external = topology.source_topics().into_iter().filter_map(TopicName::external);
        let external: Vec<String> = external.map(str::to_string).collect();
        let ask = || admin.partition_counts(&external);
        let counts = once_propagated(clock, is_given_up, has_all(&external), ask)?;
        let partition_counts = topology.partition_counts(&counts)?;
        let additional_retention = settings.window_changelog_additional_retention;
        let internal = topology.internal_topics(application_id, &partition_counts, additional_retention);
        let own_configs = ensure_internal_topics(admin, &internal)?;
        let changelogs = topology.stores().filter(|store| store.is_logged());
        let changelogs = changelogs.map(|store| changelog_topic(application_id, store.name()));
        let reused = topology.reused_topics(application_id);
        let changelogs = changelogs.chain(reused.values().cloned());
        let parts = topology.subtopologies();
        let global = parts.iter().filter(|part| part.is_global).flat_map(|part| &part.source_topics);
        let global = global.map(|topic| topic.in_application(application_id));
        let changelogs: Vec<String> = changelogs.chain(global).collect();
        let mut keep_tombstones = BTreeMap::new();
        for topic in &changelogs {
            let config =
                own_configs.get(topic).map_or_else(|| admin.topic_config(topic), |own| Ok(own.clone()));
            let of_stores = reused.iter().filter(|(_, reused)| *reused == topic);
            of_stores.for_each(|(store, topic)| warn_if_rows_may_be_lost(store, topic, &config));
            if let Some(kept) = tombstones_kept(topic, config)? {
                keep_tombstones.insert(topic.clone(), kept);
            }
        }
        let ask = || ids_of_existing(admin, &changelogs);
        let changelog_ids = patiently(clock, PROPAGATION, is_given_up, ask)?;
        let changelog_ids = changelog_ids.into_iter().filter_map(|(topic, id)| Some((topic, id?))).collect();
        if settings.handlers.may_dead_letter() {
            let name = settings.dead_letter_topic_of(application_id);
            if admin.partition_counts(std::slice::from_ref(&name))?.is_empty() {
                admin.create_topic(&NewTopic { name, partitions: 1, config: BTreeMap::new() })?;
            }
        }
        Ok(ApplicationTopics { partition_counts, changelog_ids, keep_tombstones })
    }
}

#[cfg(test)]
mod tests {
    use millstream_state_stores::{HasSerde, KeyValueStoreBuilder, Timestamp};
    use parking_lot::Mutex;

    use super::*;
    use crate::clock::ManualClock;
    use crate::error::ErrorKind;
    use crate::testing::pass_on::PassOn;
    use crate::topology::Consumed;

    /// A broker that hears of each topic only after it was asked about its id a few times.
    struct SlowToHear {
        questions_left: Mutex<u32>,
    }

    impl ClusterAdmin for SlowToHear {
        fn partition_counts(&self, topics: &[String]) -> Result<BTreeMap<String, i32>> {
            Ok(topics.iter().map(|topic| (topic.clone(), 3)).collect())
        }

        fn create_topic(&self, _topic: &NewTopic) -> Result<()> {
            Ok(())
        }

        fn topic_ids(&self, topics: &[String]) -> Result<BTreeMap<String, Option<TopicId>>> {
            let mut left = self.questions_left.lock();
            if *left > 0 {
                *left -= 1;
                return Ok(BTreeMap::new());
            }
            Ok(topics.iter().map(|topic| (topic.clone(), Some(TopicId::from_bytes([7; 16])))).collect())
        }
    }

    fn prepared(questions_left: u32) -> Result<ApplicationTopics> {
        let mut topology = Topology::new();
        topology.add_source("orders", ["orders"], Consumed::with(String::serde(), i64::serde()))?;
        let stock = KeyValueStoreBuilder::new("stock", String::serde(), i64::serde());
        topology.add_state_store(Arc::new(stock))?;
        topology.add_processor("keep", &["orders"], &["stock"], |_| Ok(PassOn))?;
        let admin = SlowToHear { questions_left: Mutex::new(questions_left) };
        let clock = ManualClock::at(Timestamp::from_millis(0));
        ApplicationTopics::prepare(
            &topology,
            "shop",
            &Settings::new("localhost:9092"),
            &admin,
            &*clock,
            &|| false,
        )
    }

    /// Else its rows would be noted as of no topic, and dropped at the next start as those of another.
    #[test]
    fn a_changelog_that_a_broker_has_yet_to_hear_of_gets_its_id() -> Result<()> {
        let changelog = changelog_topic("shop", "stock");
        let ids = prepared(3)?.changelog_ids;
        assert_eq!(ids, BTreeMap::from([(changelog.clone(), TopicId::from_bytes([7; 16]))]));
        let refused = prepared(u32::MAX).err().expect("nobody tells its id");
        assert_eq!(refused.kind(), ErrorKind::Retry);
        assert!(refused.to_string().contains(&changelog), "{refused}");
        Ok(())
    }
}
