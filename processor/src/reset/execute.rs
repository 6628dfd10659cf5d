//! Finds out what there is to reset, and carries a plan out.

use std::collections::BTreeMap;

use millstream_state_stores::{Offset, StateDirectory, Timestamp};

use super::plan::{PartitionFacts, ResetFacts, ResetPlan, select};
use super::request::{ResetRequest, ResetTarget};
use super::{OffsetMove, Partition};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::kafka::KafkaGroup;

/// What is committed with an offset while a reset goes on. An instance that finds it is refused.
pub(crate) const UNFINISHED: &str = "millstream: a reset was begun and not finished";

/// A cluster as a reset sees it, with the application's group.
pub(crate) trait ResetCluster {
    /// All topics, and how many partitions they have.
    fn topics(&self) -> Result<BTreeMap<String, i32>>;

    /// The ids of all groups.
    fn group_ids(&self) -> Result<Vec<String>>;

    /// Who is in the group now.
    fn members(&self) -> Result<Vec<GroupMember>>;

    /// Everything the group has committed, of topics that exist.
    fn committed(&self) -> Result<BTreeMap<Partition, Offset>>;

    /// The offset of the oldest record, and the one after the newest.
    fn bounds(&self, partition: &Partition) -> Result<(Offset, Offset)>;

    /// The first record of each partition that is not older; none where all are.
    fn at_time(&self, partitions: &[Partition], time: Timestamp) -> Result<BTreeMap<Partition, Offset>>;

    /// Commits offsets for the group, with a note.
    ///
    /// # Errors
    /// `Migrated` if the group has members.
    fn commit(&self, offsets: &[(Partition, Offset)], note: &str) -> Result<()>;

    /// Deletes a topic, and returns once it is gone. One that is not there is no error.
    fn delete_topic(&self, topic: &str) -> Result<()>;
}

/// A live member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupMember {
    pub(crate) client_id: String,
    pub(crate) host: String,
}

/// A part of a reset that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetStep {
    /// The new offsets are committed, with a note that the reset is not finished.
    Begun,
    /// This internal topic is gone.
    TopicDeleted(String),
    /// The state of this task is gone.
    StateRemoved(millstream_state_stores::TaskId),
    /// The note is taken away: instances may start.
    Finished,
}

/// Resets one application (Kafka Streams' `kafka-streams-application-reset` and `KafkaStreams::cleanUp`).
///
/// ```no_run
/// use millstream_processor::Settings;
/// use millstream_processor::reset::{ApplicationReset, ResetRequest};
///
/// let reset = ApplicationReset::new("shop", &Settings::new("localhost:9092"))?;
/// let plan = reset.plan(&ResetRequest::default())?;
/// println!("{:#}", plan.to_json());
/// reset.execute(&plan, |step| println!("{step:?}"))?;
/// # Ok::<(), millstream_processor::Error>(())
/// ```
pub struct ApplicationReset {
    application_id: String,
    directory: StateDirectory,
    cluster: KafkaGroup,
}

impl ApplicationReset {
    /// Of the application with this id, on the cluster and with the state directory of these settings. Nothing is connected yet.
    ///
    /// # Errors
    /// `Invalid` if a property of the settings is not accepted.
    pub fn new(application_id: impl Into<String>, settings: &Settings) -> Result<Self> {
        let application_id = application_id.into();
        Ok(ApplicationReset {
            directory: StateDirectory::new(settings.state_dir.clone(), &application_id),
            cluster: KafkaGroup::new(settings, &application_id)?,
            application_id,
        })
    }

    /// What resetting as requested would do. Changes nothing.
    ///
    /// # Errors
    /// `Invalid` if instances are running, or the request names what is not there; `Retry` if the cluster does not answer.
    pub fn plan(&self, request: &ResetRequest) -> Result<ResetPlan> {
        plan(&self.cluster, &self.application_id, &self.directory, request)
    }

    /// Does what a plan says, and tells of each part that is done. If it ends with an error, run it again, or make another plan
    /// and run that: until one is finished, instances that start are refused.
    ///
    /// # Errors
    /// `Invalid` if instances are running; `Retry` if the cluster does not answer.
    pub fn execute(&self, plan: &ResetPlan, on_step: impl FnMut(&ResetStep)) -> Result<()> {
        execute(&self.cluster, &self.directory, plan, on_step)
    }
}

fn plan(
    cluster: &impl ResetCluster,
    application_id: &str,
    directory: &StateDirectory,
    request: &ResetRequest,
) -> Result<ResetPlan> {
    refuse_members(cluster, application_id)?;
    let (topics, groups) = (cluster.topics()?, cluster.group_ids()?);
    let committed = cluster.committed()?;
    let selected: Vec<Partition> =
        select(request, application_id, &topics, &groups, &committed)?.into_iter().collect();
    let at_time = match request.to {
        ResetTarget::Timestamp(time) => cluster.at_time(&selected, time)?,
        _ => BTreeMap::new(),
    };
    let facts_of = |partition: Partition| {
        let (earliest, end) = cluster.bounds(&partition)?;
        let committed = committed.get(&partition).copied();
        let at_time = at_time.get(&partition).copied();
        Ok((partition, PartitionFacts { earliest, end, committed, at_time }))
    };
    let facts = ResetFacts {
        application_id: application_id.to_owned(),
        partitions: selected.into_iter().map(facts_of).collect::<Result<_>>()?,
        topics,
        groups,
        state_directory: directory.path().to_owned(),
        tasks: directory.list()?,
    };
    ResetPlan::new(request, &facts)
}

/// The note goes first, because Kafka refuses it if the group has members, and because it keeps instances away from what is half
/// done. It is taken away last.
fn execute(
    cluster: &impl ResetCluster,
    directory: &StateDirectory,
    plan: &ResetPlan,
    mut on_step: impl FnMut(&ResetStep),
) -> Result<()> {
    refuse_members(cluster, &plan.application_id)?;
    let to = |moved: &OffsetMove| (moved.partition.clone(), moved.to);
    let offsets: Vec<(Partition, Offset)> = plan.offsets.iter().map(to).collect();
    let commit = |note| {
        cluster.commit(&offsets, note).map_err(|error| match refuse_members(cluster, &plan.application_id) {
            Err(members) => members,
            Ok(()) => error,
        })
    };
    commit(UNFINISHED)?;
    on_step(&ResetStep::Begun);
    for topic in &plan.deleted_topics {
        cluster.delete_topic(topic)?;
        on_step(&ResetStep::TopicDeleted(topic.clone()));
    }
    for task in plan.state.iter().flat_map(|state| &state.tasks) {
        directory.remove_task(*task)?;
        on_step(&ResetStep::StateRemoved(*task));
    }
    commit("")?;
    on_step(&ResetStep::Finished);
    Ok(())
}

fn refuse_members(cluster: &impl ResetCluster, application_id: &str) -> Result<()> {
    let members = cluster.members()?;
    if members.is_empty() {
        return Ok(());
    }
    let names: Vec<String> =
        members.iter().map(|member| format!("{} on {}", member.client_id, member.host)).collect();
    Err(Error::invalid(format!(
        "{application_id} is running: stop its instances first (one that was killed is gone after its session timeout). Members: {}",
        names.join(", ")
    )))
}

#[cfg(test)]
mod tests;
