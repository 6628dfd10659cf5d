//! The group coordinator: members, generations, who reads what, and the committed offsets. It assigns by range, in one of two protocols:
//! all give up all partitions before any gets one; or a partition goes to its next owner once the last one has given it up, and the others
//! do not move.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::TopicPartition;
use crate::kafka::{GroupAssignment, MemberAssignment};
use crate::testing::simulation::fate::Fate;
use crate::testing::simulation::process::Process;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) enum Protocol {
    #[default]
    Eager,
    Incremental,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct MemberId(u64);

/// What a member says it is when it commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Membership {
    pub(in super::super) member: MemberId,
    pub(in super::super) generation: i32,
}

struct Member {
    process: Arc<Process>,
    client_id: String,
    last_heartbeat: i64,
    has_joined: bool,
    /// What it was given, and has not given up as far as the coordinator knows.
    partitions: BTreeSet<TopicPartition>,
}

/// What the coordinator asks of a member that moves partition by partition.
pub(in super::super) enum Move {
    Revoke(Vec<TopicPartition>),
    Assign(Vec<TopicPartition>),
}

#[derive(Default)]
pub(in super::super) struct Group {
    protocol: Protocol,
    /// The partitions of each topic that is read.
    pub(super) counts: BTreeMap<Arc<str>, i32>,
    /// By how many members the shares are shifted, so that partitions move between members that stay.
    shift: usize,
    members: BTreeMap<MemberId, Member>,
    generation: i32,
    is_rebalancing: bool,
    joined_ever: u64,
    pub(super) committed: BTreeMap<TopicPartition, i64>,
}

impl Group {
    pub(super) fn new(protocol: Protocol, counts: BTreeMap<Arc<str>, i32>) -> Self {
        Group { protocol, counts, ..Group::default() }
    }

    pub(in super::super) fn join(&mut self, process: &Arc<Process>, client_id: &str, now: i64) -> MemberId {
        self.change();
        self.joined_ever += 1;
        let id = MemberId(self.joined_ever);
        let member = Member {
            process: Arc::clone(process),
            client_id: client_id.to_string(),
            last_heartbeat: now,
            has_joined: true,
            partitions: BTreeSet::new(),
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
            self.change();
        }
    }

    /// The group forms anew with the same members, of which some may get others' shares.
    pub(in super::super) fn rebalance(&mut self, fate: &Fate) {
        self.shift += fate.below(2);
        self.change();
    }

    fn change(&mut self) {
        match self.protocol {
            Protocol::Eager if self.is_rebalancing => {}
            // All members have to give up their partitions and to join again.
            Protocol::Eager => {
                self.is_rebalancing = true;
                self.members.values_mut().for_each(|member| member.has_joined = false);
            }
            Protocol::Incremental => self.generation += 1,
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

    /// Begins a generation if all members wait for it.
    pub(super) fn complete(&mut self) {
        if !self.is_rebalancing || self.members.values().any(|member| !member.has_joined) {
            return;
        }
        self.is_rebalancing = false;
        self.generation += 1;
        let shares: Vec<_> = (0..self.members.len()).map(|index| self.share(index)).collect();
        self.members.values_mut().zip(shares).for_each(|(member, share)| member.partitions = share);
    }

    /// The partitions meant for the member of this rank.
    fn share(&self, rank: usize) -> BTreeSet<TopicPartition> {
        let many = self.members.len();
        let index = (rank + self.shift) % many;
        let of_topic = |(topic, count): (&Arc<str>, &i32)| {
            let count = usize::try_from(*count).unwrap_or(0);
            let (share, more) = (count / many, count % many);
            let first = index * share + index.min(more);
            let partitions = first..first + share + usize::from(index < more);
            let topic = Arc::clone(topic);
            partitions
                .map(move |partition| (Arc::clone(&topic), i32::try_from(partition).unwrap_or(i32::MAX)))
        };
        self.counts.iter().flat_map(of_topic).collect()
    }

    fn target(&self, id: MemberId) -> BTreeSet<TopicPartition> {
        let rank = self.members.keys().position(|member| *member == id);
        rank.map_or_else(BTreeSet::new, |rank| self.share(rank))
    }

    /// Partition by partition: what a member is asked to do next. It gives up what it should not have before it gets more; and of what is
    /// meant for it, it gets what nobody else has any more, and maybe not all of that at once.
    pub(in super::super) fn next_move(&mut self, id: MemberId, fate: &Fate) -> Option<(i32, Move)> {
        let target = self.target(id);
        let taken: BTreeSet<&TopicPartition> =
            self.members.values().flat_map(|member| &member.partitions).collect();
        let member = self.members.get(&id)?;
        let too_many: Vec<TopicPartition> = member.partitions.difference(&target).cloned().collect();
        if !too_many.is_empty() {
            return Some((self.generation, Move::Revoke(too_many)));
        }
        let free = target.into_iter().filter(|partition| !taken.contains(partition));
        let given: Vec<TopicPartition> = free.filter(|_| !fate.one_in(4)).collect();
        if given.is_empty() {
            return None;
        }
        self.members.get_mut(&id)?.partitions.extend(given.iter().cloned());
        Some((self.generation, Move::Assign(given)))
    }

    /// A member tells that it has given these partitions up.
    pub(in super::super) fn given_up(&mut self, id: MemberId, partitions: &[TopicPartition]) {
        if let Some(member) = self.members.get_mut(&id) {
            member.partitions.retain(|partition| !partitions.contains(partition));
        }
    }

    /// Who is in it and reads what.
    pub(in super::super) fn describe(&self) -> GroupAssignment {
        let describe = |(id, member): (&MemberId, &Member)| MemberAssignment {
            client_id: member.client_id.clone(),
            member_id: format!("{:08}", id.0),
            group_instance_id: None,
            partitions: member.partitions.iter().map(|(topic, index)| (topic.to_string(), *index)).collect(),
        };
        GroupAssignment { members: self.members.iter().map(describe).collect(), is_settled: self.is_stable() }
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
    pub(in super::super) fn assignment(&self, id: MemberId) -> Option<(i32, Vec<TopicPartition>)> {
        let member = self.members.get(&id).filter(|_| !self.is_rebalancing)?;
        Some((self.generation, member.partitions.iter().cloned().collect()))
    }

    /// Whether the coordinator takes offsets from this member. Partition by partition, each member has an epoch of its own, which it knows.
    pub(super) fn is_current(&self, membership: Membership) -> bool {
        let is_of_generation = match self.protocol {
            Protocol::Eager => self.generation == membership.generation,
            Protocol::Incremental => true,
        };
        is_of_generation && self.members.contains_key(&membership.member)
    }

    pub(in super::super) fn is_stable(&self) -> bool {
        let has_its_share = |id: &MemberId| self.members[id].partitions == self.target(*id);
        match self.protocol {
            Protocol::Eager => !self.is_rebalancing,
            Protocol::Incremental => self.members.keys().all(has_its_share),
        }
    }
}
