//! Who runs which task: what the group decides about one stream thread, told in tasks, and under which identity the thread
//! commits offsets.
//!
//! Knows which partitions make a task, and in which manner a group gives and takes them; that manner stays in here. Knows nothing of
//! stores, records or threads: [`Membership::poll`] says what is to be done, the thread does it, and says that it is done.

mod holdings;
mod inputs;
mod member;
mod range;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use millstream_state_stores::TaskId;

use crate::clients::{GroupChange, PartitionOffset};
use crate::config::{GroupProtocol, OffsetReset, Settings};
use crate::error::Result;

use holdings::Holdings;
pub(crate) use holdings::Owned;
pub(crate) use inputs::Inputs;
pub(crate) use member::GroupMember;
pub(crate) use range::Range;

/// A topic in Kafka and a partition of it.
pub(crate) type TopicPartition = (Arc<str>, i32);

/// What a thread has to do about its tasks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Commit; then say [`Membership::given_up`], and from there on write nothing of theirs: they may be somebody else's. The next
    /// decision says which of them are not, so what they have open stays open until then.
    Suspend(BTreeSet<TaskId>),
    /// Somebody else may have these already: commit and write nothing of theirs, close them, and say [`Membership::given_up`].
    Lose(BTreeSet<TaskId>),
    /// Say [`Membership::taken`], go on with what was suspended, close what is gone, and open what is new.
    Own(Owned),
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |tasks: &mut dyn Iterator<Item = &TaskId>| {
            let listed: Vec<String> = tasks.map(TaskId::to_string).collect();
            if listed.is_empty() { "nothing".to_string() } else { listed.join(" ") }
        };
        match self {
            Decision::Suspend(tasks) => write!(f, "revoked: {}", list(&mut tasks.iter())),
            Decision::Lose(tasks) => write!(f, "lost: {}", list(&mut tasks.iter())),
            Decision::Own(Owned { gone, tasks }) => {
                write!(f, "assigned: {}, gone: {}", list(&mut tasks.keys()), list(&mut gone.iter()))
            }
        }
    }
}

/// A stream thread's place in the group.
pub(crate) struct Membership {
    inputs: Arc<Inputs>,
    holdings: Holdings,
    /// The partitions that the decision at hand is about.
    at_hand: Vec<TopicPartition>,
}

impl Membership {
    pub(crate) fn new(inputs: Arc<Inputs>) -> Self {
        Membership { inputs, holdings: Holdings::default(), at_hand: Vec::new() }
    }

    pub(crate) fn join(&self, member: &impl GroupMember) -> Result<()> {
        member.subscribe(&self.inputs.topics())
    }

    /// The group's next decision, if there is one. Each is carried out, and said to be, before the next is asked for.
    pub(crate) fn poll(&mut self, member: &mut impl GroupMember) -> Result<Option<Decision>> {
        let Some(event) = member.poll_group()? else { return Ok(None) };
        let (inputs, partitions, generation) = (&*self.inputs, event.partitions, event.generation);
        let own = |owned: Owned| {
            let at_hand = owned.partitions();
            (Decision::Own(owned), at_hand)
        };
        let (decision, at_hand) = match event.change {
            GroupChange::AssignedAll => own(self.holdings.assigned_all(inputs, partitions, generation)?),
            GroupChange::AssignedMore => own(self.holdings.assigned_more(inputs, partitions, generation)?),
            GroupChange::Revoked => {
                let (tasks, at_hand) = self.holdings.revoked(inputs, &partitions, generation)?;
                (Decision::Suspend(tasks), at_hand)
            }
            GroupChange::Lost => {
                let (tasks, at_hand) = self.holdings.lost(inputs, &partitions)?;
                (Decision::Lose(tasks), at_hand)
            }
        };
        self.at_hand = at_hand;
        Ok(Some(decision))
    }

    /// Whether partitions were given of tasks that wait for the rest: other members may read other topics.
    pub(crate) fn is_waiting(&self) -> bool {
        self.holdings.is_waiting()
    }

    /// Tells the group that it can give away what was asked for.
    pub(crate) fn given_up(&mut self, member: &mut impl GroupMember) -> Result<()> {
        member.unassign(&std::mem::take(&mut self.at_hand))
    }

    /// Where to start in the partitions of the tasks that are taken; of some it is `known`.
    ///
    /// # Errors
    /// As [`GroupMember::starts`].
    pub(crate) fn starts(
        &self,
        member: &impl GroupMember,
        mut known: Vec<PartitionOffset>,
        reset: impl Fn(&str) -> OffsetReset,
    ) -> Result<Vec<PartitionOffset>> {
        let named: BTreeSet<(&str, i32)> =
            known.iter().map(|known| (&*known.topic, known.partition)).collect();
        let is_known = |(topic, partition): &&TopicPartition| named.contains(&(&**topic, *partition));
        let unknown: Vec<TopicPartition> =
            self.at_hand.iter().filter(|partition| !is_known(partition)).cloned().collect();
        if !unknown.is_empty() {
            known.extend(member.starts(&unknown, reset)?);
        }
        Ok(known)
    }

    /// Tells the group that its tasks were taken, and begins to read them.
    pub(crate) fn taken(&mut self, member: &mut impl GroupMember, starts: &[PartitionOffset]) -> Result<()> {
        self.at_hand.clear();
        member.assign(starts)
    }
}

/// Whether the settings fit the topics.
///
/// # Errors
/// `Invalid` if tasks would wait for partitions that the group gives to others.
pub(crate) fn check(settings: &Settings, inputs: &Inputs) -> Result<()> {
    match settings.group_protocol {
        GroupProtocol::Classic => Ok(()),
        GroupProtocol::Consumer => inputs.check_lined_up(),
    }
}
