//! The group coordinator: members, generations, who reads what, and the committed offsets. The protocol is the classic one
//! with eager range assignment: all give up all partitions before any gets one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::TopicPartition;
use crate::kafka::MemberAssignment;
use crate::testing::simulation::process::Process;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct MemberId(u64);

/// What a member says it is when it commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Membership {
    pub(in super::super) member: MemberId,
    pub(in super::super) generation: u64,
}

struct Member {
    process: Arc<Process>,
    client_id: String,
    last_heartbeat: i64,
    has_joined: bool,
    partitions: Vec<TopicPartition>,
}

#[derive(Default)]
pub(in super::super) struct Group {
    members: BTreeMap<MemberId, Member>,
    generation: u64,
    is_rebalancing: bool,
    joined_ever: u64,
    pub(super) committed: BTreeMap<TopicPartition, i64>,
}

impl Group {
    pub(in super::super) fn join(&mut self, process: &Arc<Process>, client_id: &str, now: i64) -> MemberId {
        self.rebalance();
        self.joined_ever += 1;
        let id = MemberId(self.joined_ever);
        let member = Member {
            process: Arc::clone(process),
            client_id: client_id.to_string(),
            last_heartbeat: now,
            has_joined: true,
            partitions: vec![],
        };
        self.members.insert(id, member);
        id
    }

    /// Says that a member has given up its partitions and waits for the next generation.
    pub(in super::super) fn rejoin(&mut self, id: MemberId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.has_joined = true;
        }
    }

    /// A member goes, or is taken for dead.
    pub(in super::super) fn remove(&mut self, id: MemberId) {
        if self.members.remove(&id).is_some() {
            self.rebalance();
        }
    }

    /// All members have to give up their partitions and to join again.
    pub(in super::super) fn rebalance(&mut self) {
        if !self.is_rebalancing {
            self.is_rebalancing = true;
            self.members.values_mut().for_each(|member| member.has_joined = false);
        }
    }

    /// Members of processes that run are heard of; the others are taken for dead after the session timeout.
    pub(super) fn expire(&mut self, now: i64, session_timeout: i64) {
        let mut silent = Vec::new();
        for (id, member) in &mut self.members {
            if member.process.is_running() {
                member.last_heartbeat = now;
            } else if now - member.last_heartbeat > session_timeout {
                silent.push(*id);
            }
        }
        silent.into_iter().for_each(|id| self.remove(id));
    }

    /// Begins a generation if all members wait for it. `counts`: the partitions of each topic.
    pub(super) fn complete(&mut self, counts: &BTreeMap<Arc<str>, i32>) {
        if !self.is_rebalancing || self.members.values().any(|member| !member.has_joined) {
            return;
        }
        self.is_rebalancing = false;
        self.generation += 1;
        let many = self.members.len();
        for (index, member) in self.members.values_mut().enumerate() {
            member.partitions.clear();
            for (topic, count) in counts {
                let count = usize::try_from(*count).unwrap_or(0);
                let (share, more) = (count / many, count % many);
                let first = index * share + index.min(more);
                let last = first + share + usize::from(index < more);
                member.partitions.extend(
                    (first..last)
                        .map(|partition| (Arc::clone(topic), i32::try_from(partition).unwrap_or(i32::MAX))),
                );
            }
        }
    }

    /// Who reads what, once that is settled.
    pub(in super::super) fn describe(&self) -> Option<Vec<MemberAssignment>> {
        let describe = |member: &Member| MemberAssignment {
            client_id: member.client_id.clone(),
            partitions: member.partitions.iter().map(|(topic, index)| (topic.to_string(), *index)).collect(),
        };
        self.is_stable().then(|| self.members.values().map(describe).collect())
    }

    pub(in super::super) fn knows(&self, id: MemberId) -> bool {
        self.members.contains_key(&id)
    }

    pub(in super::super) fn members(&self) -> Vec<MemberId> {
        self.members.keys().copied().collect()
    }

    /// Whether a member that is known has to give up its partitions.
    pub(in super::super) fn must_rejoin(&self, id: MemberId) -> bool {
        self.is_rebalancing && self.members.get(&id).is_some_and(|member| !member.has_joined)
    }

    /// The partitions of a member in the current generation, once it has begun.
    pub(in super::super) fn assignment(&self, id: MemberId) -> Option<(u64, &[TopicPartition])> {
        let member = self.members.get(&id).filter(|_| !self.is_rebalancing)?;
        Some((self.generation, &member.partitions))
    }

    /// Whether the coordinator takes offsets from this member.
    pub(super) fn is_current(&self, membership: Membership) -> bool {
        self.generation == membership.generation && self.members.contains_key(&membership.member)
    }

    pub(in super::super) fn is_stable(&self) -> bool {
        !self.is_rebalancing
    }
}
