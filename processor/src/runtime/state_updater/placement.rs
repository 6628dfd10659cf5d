//! Where standbys belong, as a function of who runs which task. Every instance comes to the same answer, so that nobody has to be asked.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use millstream_state_stores::{TaskId, murmur2};

use crate::config::GroupProtocol;
use crate::kafka::MemberAssignment;
use crate::membership::{Inputs, Range};

/// Who runs which task, and who would if an instance were gone.
pub(crate) struct Placement<'a> {
    /// The tasks that each live instance runs, by its process id; under none, those of members that do not say of which process they are,
    /// and so have no standbys.
    active: BTreeMap<Option<&'a str>, BTreeSet<TaskId>>,
    /// How likely each task comes to another instance, by its process id: for each instance whose end would bring it there, one; for the one
    /// that runs it now, more than for all others together.
    prospects: BTreeMap<TaskId, BTreeMap<&'a str, usize>>,
}

/// What a stream thread's clients are called in Kafka, up to what each of them does: `<application>-StreamThread-<n>-<process>`. Others
/// read off it which process a member of the group is of. The process comes last, other than in Kafka Streams, because `range` deals
/// partitions to members sorted by their ids, which begin like this: so the first threads of all processes come before the second ones,
/// and no process has two threads at work while another has none.
pub(crate) fn client_id(application_id: &str, process_id: &str, thread: usize) -> String {
    format!("{application_id}-StreamThread-{thread}-{process_id}")
}

/// The process that a client of the application is of; none if it is called otherwise.
pub(crate) fn process_of<'a>(application_id: &str, client_id: &'a str) -> Option<&'a str> {
    let rest = client_id.strip_prefix(application_id)?.strip_prefix("-StreamThread-")?;
    let (_thread, rest) = rest.split_once('-')?;
    rest.rsplit_once('-').map(|(process, _purpose)| process)
}

impl<'a> Placement<'a> {
    /// As the members of the application's group read its inputs.
    pub(crate) fn of(
        application_id: &str,
        protocol: GroupProtocol,
        inputs: &'a Inputs,
        members: &'a [MemberAssignment],
    ) -> Self {
        let mut active: BTreeMap<Option<&str>, BTreeSet<TaskId>> = BTreeMap::new();
        for member in members {
            let partitions = member.partitions.iter();
            let tasks = partitions.filter_map(|(topic, partition)| inputs.task(topic, *partition));
            active.entry(process_of(application_id, &member.client_id)).or_default().extend(tasks);
        }
        let range = Range::over(protocol, inputs, members);
        let mut prospects: BTreeMap<TaskId, BTreeMap<&str, usize>> = BTreeMap::new();
        for gone in active.keys().copied().flatten() {
            let left = range.without(|member| process_of(application_id, &member.client_id) == Some(gone));
            let next = |task| process_of(application_id, &left.owner(task)?.client_id);
            for (process, tasks) in &active {
                let weight = if *process == Some(gone) { active.len() } else { 1 };
                for task in tasks {
                    if let Some(next) = next(*task).filter(|next| Some(*next) != *process) {
                        *prospects.entry(*task).or_default().entry(next).or_default() += weight;
                    }
                }
            }
        }
        Placement { active, prospects }
    }

    /// The tasks that an instance runs; none if it is not in the group.
    pub(crate) fn active<'p>(&'p self, process: &'p str) -> Option<&'p BTreeSet<TaskId>> {
        self.active.get(&Some(process))
    }

    /// The tasks that the instance `me` keeps standbys of, if each of those that `is_stateful` is to have `replicas` of them. They are
    /// where the task goes on if the instance that runs it ends; then where it may move to if another one does; then where rendezvous
    /// hashing has it. Never where it runs.
    pub(crate) fn standbys(
        &self,
        me: &str,
        replicas: usize,
        is_stateful: impl Fn(TaskId) -> bool,
    ) -> BTreeSet<TaskId> {
        let tasks: BTreeSet<TaskId> =
            self.active.values().flatten().copied().filter(|task| is_stateful(*task)).collect();
        let is_mine =
            |task: &TaskId| self.standbys_of(*task).into_iter().take(replicas).any(|process| process == me);
        tasks.into_iter().filter(is_mine).collect()
    }

    /// The instances that do not run the task, best first.
    fn standbys_of(&self, task: TaskId) -> Vec<&'a str> {
        let others = self.active.iter().filter(|(_, tasks)| !tasks.contains(&task));
        let mut others: Vec<&'a str> = others.filter_map(|(process, _)| *process).collect();
        let prospects = self.prospects.get(&task);
        others.sort_by_cached_key(|process| {
            let prospect = prospects.and_then(|prospects| prospects.get(process));
            Reverse((prospect, weight(process, task), *process))
        });
        others
    }
}

fn weight(process: &str, task: TaskId) -> u32 {
    // Once more, because its last step mixes the last bytes too little for names that differ in their last letter alone.
    let first = murmur2(format!("{process} {task}").as_bytes());
    murmur2(&first.to_be_bytes()) as u32
}

#[cfg(test)]
mod tests;
