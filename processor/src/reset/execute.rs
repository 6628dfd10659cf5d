//! Finds out what there is to reset, and carries a plan out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_state_stores::{Offset, StateDirectory, StateOwner, Timestamp};

use super::plan::{GroupMember, PartitionFacts, ResetFacts, ResetPlan, check_members, select};
use super::request::{ResetRequest, ResetTarget};
use super::{OffsetMove, Partition};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::kafka::KafkaGroup;
use crate::patience::patiently;

/// What is committed with an offset while a reset goes on. An instance that finds it is refused.
pub(crate) const UNFINISHED: &str = "millstream: a reset was begun and not finished";

/// How often members are removed that come back before the offsets are moved.
const MOST_ATTEMPTS: u32 = 10;

/// How long an instance may take to notice that it was removed, to come back to a group where it is refused, and to let go of its state.
const PATIENCE_WITH_REMOVED: Duration = Duration::from_secs(60);

/// A cluster as a reset sees it, with the application's group.
pub(crate) trait ResetCluster {
    /// All topics, and how many partitions they have.
    fn topics(&self) -> Result<BTreeMap<String, i32>>;

    /// The ids of all groups.
    fn group_ids(&self) -> Result<Vec<String>>;

    /// Who is in the group now.
    fn members(&self) -> Result<Vec<GroupMember>>;

    /// Removes members from the group. They may come back.
    fn remove_members(&self, members: &[GroupMember]) -> Result<()>;

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

/// A part of a reset that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetStep {
    /// This member was removed from the group.
    MemberRemoved(GroupMember),
    /// The new offsets are committed, with a note that the reset is not finished.
    Begun,
    /// This internal topic is gone.
    TopicDeleted(String),
    /// The state of this task, or of the global tables of a process, is gone.
    StateRemoved(StateOwner),
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
    clock: Arc<dyn Clock>,
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
            clock: SystemClock::shared(),
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
    /// `Invalid` if instances are running that the plan does not remove; `Retry` if the cluster does not answer.
    pub fn execute(&self, plan: &ResetPlan, on_step: impl FnMut(&ResetStep)) -> Result<()> {
        execute(&self.cluster, &self.directory, &*self.clock, plan, on_step)
    }
}

fn plan(
    cluster: &impl ResetCluster,
    application_id: &str,
    directory: &StateDirectory,
    request: &ResetRequest,
) -> Result<ResetPlan> {
    let members = cluster.members()?;
    // Nothing else matters before this.
    check_members(&members, request.remove_members, application_id)?;
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
        members,
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
    clock: &dyn Clock,
    plan: &ResetPlan,
    mut on_step: impl FnMut(&ResetStep),
) -> Result<()> {
    let to = |moved: &OffsetMove| (moved.partition.clone(), moved.to);
    let offsets: Vec<(Partition, Offset)> = plan.offsets.iter().map(to).collect();
    begin(cluster, plan, &offsets, &mut on_step)?;
    on_step(&ResetStep::Begun);
    for topic in &plan.deleted_topics {
        cluster.delete_topic(topic)?;
        on_step(&ResetStep::TopicDeleted(topic.clone()));
    }
    let patience = if plan.removed_members.is_empty() { Duration::ZERO } else { PATIENCE_WITH_REMOVED };
    for task in plan.state.iter().flat_map(|state| &state.tasks) {
        patiently(clock, patience, || false, || Ok(directory.remove(*task)?))?;
        on_step(&ResetStep::StateRemoved(*task));
    }
    // Who was removed joins again, finds the note, and ends, which takes a moment.
    let finish = || match cluster.commit(&offsets, "") {
        Err(error) if error.kind() == ErrorKind::Migrated => {
            Err(Error::new(ErrorKind::Retry, "members came back").with_source(error))
        }
        outcome => outcome,
    };
    patiently(clock, patience, || false, finish).map_err(|error| instead_of_members(cluster, plan, error))?;
    on_step(&ResetStep::Finished);
    Ok(())
}

/// Empties the group and moves the offsets, with the note. A member that comes back in between is removed again; one that comes back
/// later finds the note.
fn begin(
    cluster: &impl ResetCluster,
    plan: &ResetPlan,
    offsets: &[(Partition, Offset)],
    on_step: &mut impl FnMut(&ResetStep),
) -> Result<()> {
    let may_remove = !plan.removed_members.is_empty();
    let mut attempts = 0;
    loop {
        attempts += 1;
        let members = cluster.members()?;
        check_members(&members, may_remove, &plan.application_id)?;
        if !members.is_empty() {
            cluster.remove_members(&members)?;
            members.into_iter().for_each(|member| on_step(&ResetStep::MemberRemoved(member)));
        }
        match cluster.commit(offsets, UNFINISHED) {
            Err(error) if error.kind() == ErrorKind::Migrated && may_remove && attempts < MOST_ATTEMPTS => {}
            outcome => return outcome.map_err(|error| instead_of_members(cluster, plan, error)),
        }
    }
}

/// The reason for which Kafka takes no offsets, if it is that the group has members.
fn instead_of_members(cluster: &impl ResetCluster, plan: &ResetPlan, error: Error) -> Error {
    let members = cluster.members().and_then(|members| check_members(&members, false, &plan.application_id));
    members.err().unwrap_or(error)
}

#[cfg(test)]
mod tests;
