//! A consumer on the simulated cluster. It fetches ahead, as a real one does, and hands out as much of it as chance will have.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use millstream_state_stores::Offset;

use super::SimulatedClients;
use crate::clients::{Consumer, Fetched, GroupChange, GroupEvent, PartitionOffset, Traffic};
use crate::clock::Clock;
use crate::config::OffsetReset;
use crate::error::{Error, ErrorKind, Result};
use crate::membership::GroupMember;
use crate::testing::simulation::cluster::{
    Group, MemberId, Membership, Move, Placed, Protocol, Refusal, TopicPartition,
};
use crate::testing::simulation::fate::{Fate, Fault};
use crate::testing::simulation::mutation::Mutation;
use crate::testing::simulation::rule::Rule;

/// Records fetched ahead of a partition.
const AHEAD: usize = 8;
/// What the trace says where a thread asks for the places at which its tasks begin.
pub(in super::super) const ASKS_FOR_STARTS: &str = "asks where to begin";

pub(in super::super) struct SimulatedConsumer {
    clients: SimulatedClients,
    client_id: String,
    place: Place,
    assigned: Vec<TopicPartition>,
    partitions: Vec<Reading>,
    /// Where each partition ended at the last fetch of it, however long ago.
    seen_ends: BTreeMap<TopicPartition, Offset>,
}

/// Where a consumer stands towards the group.
enum Place {
    Outside,
    Member(RefCell<Standing>),
}

#[derive(Default)]
struct Standing {
    id: Option<MemberId>,
    /// The generation it knows.
    generation: i32,
    /// What it has been told that it has, if only nothing, and has not given up.
    given: Option<BTreeSet<TopicPartition>>,
    /// What it was told last, until it is carried out.
    told: Option<GroupEvent>,
    /// Partition by partition: each revocation is followed by an assignment, if only of nothing.
    owes_assignment: bool,
}

impl Standing {
    fn tell(
        &mut self,
        change: GroupChange,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Option<GroupEvent> {
        let partitions = partitions.into_iter().collect();
        self.told = Some(GroupEvent { partitions, generation: self.generation, change });
        self.told.clone()
    }

    /// In the protocol in which all give up everything before anybody gets anything.
    fn eager_event(&mut self, group: &mut Group, id: MemberId) -> Option<GroupEvent> {
        if group.must_rejoin(id) {
            if let Some(given) = &self.given {
                let given = given.clone();
                return self.tell(GroupChange::Revoked, given);
            }
            group.rejoin(id);
            return None;
        }
        let (generation, partitions) =
            group.assignment(id).filter(|(generation, _)| *generation > self.generation)?;
        self.generation = generation;
        self.tell(GroupChange::AssignedAll, partitions)
    }

    /// In the protocol in which partitions come and go one by one.
    fn incremental_event(&mut self, group: &mut Group, id: MemberId, fate: &Fate) -> Option<GroupEvent> {
        if std::mem::take(&mut self.owes_assignment) {
            return self.tell(GroupChange::AssignedMore, []);
        }
        let (generation, asked) = group.next_move(id, fate)?;
        match asked {
            Move::Revoke(partitions) => self.tell(GroupChange::Revoked, partitions),
            Move::Assign(partitions) => {
                self.generation = generation;
                self.tell(GroupChange::AssignedMore, partitions)
            }
        }
    }
}

/// How far a partition is read.
struct Reading {
    fetched: VecDeque<Placed>,
    next: Offset,
    end_told: Option<Offset>,
    is_paused: Cell<bool>,
}

impl SimulatedConsumer {
    pub(super) fn in_group(clients: &SimulatedClients, client_id: &str) -> Self {
        Self::new(clients, client_id, Place::Member(RefCell::default()))
    }

    pub(super) fn alone(clients: &SimulatedClients) -> Self {
        Self::new(clients, "", Place::Outside)
    }

    fn new(clients: &SimulatedClients, client_id: &str, place: Place) -> Self {
        let (clients, client_id) = (clients.clone(), client_id.to_string());
        let (assigned, partitions, seen_ends) = (Vec::new(), Vec::new(), BTreeMap::new());
        SimulatedConsumer { clients, client_id, place, assigned, partitions, seen_ends }
    }

    fn fate(&self) -> &Fate {
        &self.clients.process.fate
    }

    fn with_group<T>(&self, f: impl FnOnce(&mut Group, &mut Standing, i64) -> T) -> Option<T> {
        let Place::Member(standing) = &self.place else { return None };
        let cluster = &mut *self.clients.cluster.borrow_mut();
        cluster.tick();
        let now = self.clients.clock.millis();
        let outcome = f(&mut cluster.group, &mut standing.borrow_mut(), now);
        cluster.tick();
        Some(outcome)
    }

    fn owns_what_it_reads(&self) {
        if let Place::Member(_) = self.place {
            self.clients.owned.replace(self.assigned.clone());
        }
    }

    /// Reading goes on where the group's committed offsets say, and nowhere else.
    fn check_start(&self, partition: &TopicPartition, from: Offset) {
        // With this mistake positions are wrong, too; but it is the checkpoint that must give it away.
        let is_checked = self.clients.mutation != Some(Mutation::CheckpointBeforeCommit);
        if is_checked && let Place::Member(_) = self.place {
            let cluster = &mut *self.clients.cluster.borrow_mut();
            let committed = cluster.sealed_offset(partition);
            if committed != from.get() {
                cluster.broken.push(Rule::ReadsFromCommitted.broken(format!(
                    "{} reads {partition:?} from {from}, but {committed} is committed",
                    self.clients.process.name
                )));
            }
        }
    }

    fn stop_reading(&mut self, partitions: &[TopicPartition]) {
        let kept = std::mem::take(&mut self.assigned).into_iter().zip(std::mem::take(&mut self.partitions));
        (self.assigned, self.partitions) = match self.clients.protocol {
            Protocol::Eager => (Vec::new(), Vec::new()),
            Protocol::Incremental => kept.filter(|(assigned, _)| !partitions.contains(assigned)).unzip(),
        };
        self.owns_what_it_reads();
    }

    /// Hands out some of what was fetched of a partition, and its end if it is reached.
    fn hand_out(
        &mut self,
        index: usize,
        sink: &mut impl FnMut(usize, Fetched<Placed>) -> Result<()>,
    ) -> Result<usize> {
        let many = self.fate().below(AHEAD);
        let reading = &mut self.partitions[index];
        let stable_end = {
            let cluster = self.clients.cluster.borrow();
            let log = cluster.log(&self.assigned[index]);
            if reading.fetched.is_empty() {
                reading.fetched.extend(log.committed_from(reading.next).take(AHEAD));
                reading.next = match reading.fetched.back() {
                    Some(last) if reading.fetched.len() == AHEAD => last.offset.next(),
                    _ => log.stable_end().max(reading.next),
                };
                self.seen_ends.insert(self.assigned[index].clone(), log.stable_end());
            }
            log.stable_end()
        };
        let mut count = 0;
        for message in reading.fetched.drain(..many.min(reading.fetched.len())) {
            reading.end_told = None;
            sink(index, Fetched::Message(message))?;
            count += 1;
        }
        if count == 0
            && reading.fetched.is_empty()
            && reading.next == stable_end
            && reading.end_told != Some(stable_end)
        {
            reading.end_told = Some(stable_end);
            sink(index, Fetched::EndOfPartition(stable_end))?;
            count += 1;
        }
        Ok(count)
    }
}

impl Consumer for SimulatedConsumer {
    type Message = Placed;

    fn poll_group(&mut self) -> Result<Option<GroupEvent>> {
        self.clients.process.calls("poll group")?;
        let protocol = self.clients.protocol;
        let event = self.with_group(|group, standing, now| {
            let id = standing.id?;
            if group.knows(id) {
                return match protocol {
                    Protocol::Eager => standing.eager_event(group, id),
                    Protocol::Incremental => standing.incremental_event(group, id, self.fate()),
                };
            }
            if let Some(given) = standing.given.clone() {
                return standing.tell(GroupChange::Lost, given);
            }
            standing.id = Some(group.join(&self.clients.process, &self.client_id, now));
            None
        });
        let event = event.flatten();
        if let Some(event) = &event {
            self.fate().note(|| format!("{} is told: {event:?}", self.clients.process.name));
            self.clients.staying.borrow_mut().told(event);
        }
        Ok(event)
    }

    fn assign(&mut self, partitions: &[PartitionOffset]) -> Result<()> {
        self.clients.process.calls("assign")?;
        self.with_group(|_, standing, _| {
            if let Some(GroupEvent { partitions, .. }) = standing.told.take() {
                standing.given.get_or_insert_default().extend(partitions);
            }
        });
        if matches!(self.place, Place::Outside) || self.clients.protocol == Protocol::Eager {
            self.assigned.clear();
            self.partitions.clear();
        }
        for PartitionOffset { topic, partition, offset } in partitions {
            let (partition, next) = ((Arc::clone(topic), *partition), offset.unwrap_or(Offset::new(0)));
            self.check_start(&partition, next);
            self.assigned.push(partition);
            self.partitions.push(Reading {
                fetched: VecDeque::new(),
                next,
                end_told: None,
                is_paused: Cell::new(false),
            });
        }
        self.owns_what_it_reads();
        Ok(())
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.clients.process.calls("unassign")?;
        self.stop_reading(partitions);
        let protocol = self.clients.protocol;
        self.with_group(|group, standing, _| {
            let Some(GroupEvent { partitions, change, .. }) = standing.told.take() else { return };
            let is_over = protocol == Protocol::Eager || change == GroupChange::Lost;
            if let Some(given) = standing.given.as_mut().filter(|_| !is_over) {
                given.retain(|partition| !partitions.contains(partition));
                standing.owes_assignment = true;
            } else {
                standing.given = None;
                standing.owes_assignment = false;
            }
            if let Some(id) = standing.id {
                match protocol {
                    Protocol::Eager => group.rejoin(id),
                    Protocol::Incremental => group.given_up(id, &partitions),
                }
            }
        });
        Ok(())
    }

    fn assigned(&self) -> &[TopicPartition] {
        &self.assigned
    }

    fn fetch(
        &mut self,
        wait: Duration,
        mut sink: impl FnMut(usize, Fetched<Placed>) -> Result<()>,
    ) -> Result<usize> {
        self.clients.process.calls("fetch")?;
        self.clients.cluster.borrow_mut().tick();
        let mut count = 0;
        for index in 0..self.assigned.len() {
            if !self.partitions[index].is_paused.get() && !self.fate().one_in(4) {
                count += self.hand_out(index, &mut sink)?;
            }
        }
        if count == 0 {
            self.clients.clock.sleep(wait.min(Duration::from_millis(20)));
        }
        Ok(count)
    }

    fn pause(&self, assigned: usize, pause: bool) -> Result<()> {
        self.clients.process.calls("pause")?;
        self.partitions[assigned].is_paused.set(pause);
        Ok(())
    }

    fn seek(&mut self, positions: &[PartitionOffset]) -> Result<()> {
        self.clients.process.calls("seek")?;
        if self.fate().strikes(Fault::SeekFails) {
            return Err(Error::new(ErrorKind::Retry, "the position was not changed"));
        }
        for PartitionOffset { topic, partition, offset } in positions {
            let partition = (Arc::clone(topic), *partition);
            let (Some(index), Some(offset)) =
                (self.assigned.iter().position(|assigned| *assigned == partition), *offset)
            else {
                return Err(Error::fatal(format!("{partition:?} is not assigned and cannot be read again")));
            };
            self.check_start(&partition, offset);
            let reading = &mut self.partitions[index];
            reading.next = offset;
            reading.end_told = None;
            if self.clients.mutation != Some(Mutation::QueueNotEmptied) {
                reading.fetched.clear();
            }
        }
        Ok(())
    }

    fn last_seen_end(&self, topic: &str, partition: i32) -> Option<Offset> {
        self.seen_ends.get(&(topic.into(), partition)).copied()
    }

    fn log_bounds(&self, topic: &str, partition: i32) -> Result<(Offset, Offset)> {
        self.clients.process.asks("bounds of a log")?;
        Ok((Offset::new(0), self.clients.cluster.borrow().log(&(topic.into(), partition)).end()))
    }

    fn committed(&self, topic: &str, partition: i32) -> Result<Option<Offset>> {
        self.clients.process.asks("a committed offset")?;
        let cluster = &mut *self.clients.cluster.borrow_mut();
        cluster.tick();
        let committed = cluster.committed(&(topic.into(), partition)).map_err(|_not_yet| {
            Error::new(ErrorKind::Retry, "a transaction decides about the committed offset")
        })?;
        Ok(committed.map(Offset::new))
    }

    fn traffic(&self) -> Traffic {
        Traffic::default()
    }
}

impl GroupMember for SimulatedConsumer {
    type Identity = Option<Membership>;

    fn subscribe(&self, _topics: &[&str]) -> Result<()> {
        self.clients.process.calls("subscribe")?;
        self.with_group(|group, standing, now| {
            standing.id = Some(group.join(&self.clients.process, &self.client_id, now));
        });
        Ok(())
    }

    fn starts(
        &self,
        partitions: &[TopicPartition],
        _reset: impl Fn(&str) -> OffsetReset,
    ) -> Result<Vec<PartitionOffset>> {
        self.clients.process.asks("committed offsets")?;
        self.fate().note(|| format!("{} {ASKS_FOR_STARTS}: {partitions:?}", self.clients.process.name));
        let cluster = &mut *self.clients.cluster.borrow_mut();
        cluster.tick();
        let starts = partitions.iter().map(|partition| {
            let committed = cluster.committed(partition).map_err(|_not_yet| {
                Error::new(ErrorKind::Retry, "a transaction decides about the committed offset")
            })?;
            let offset = Some(Offset::new(committed.unwrap_or(0)));
            Ok(PartitionOffset { topic: Arc::clone(&partition.0), partition: partition.1, offset })
        });
        starts.collect()
    }

    fn commit(&self, offsets: &[PartitionOffset]) -> Result<()> {
        if offsets.is_empty() {
            self.clients.staying.borrow_mut().commit_succeeded();
            return Ok(());
        }
        self.clients.process.calls("commit offsets")?;
        self.clients.staying.borrow_mut().commit_may_fail();
        if self.fate().strikes(Fault::CommitRefused) {
            return Err(Error::new(ErrorKind::Retry, "the offsets were not committed"));
        }
        let membership = self.identity()?;
        let mut cluster = self.clients.cluster.borrow_mut();
        cluster.tick();
        let committed = membership.map_or(Err(Refusal::StaleMember), |membership| {
            cluster.commit(membership, &positions_of(offsets))
        });
        committed
            .map_err(|_stale| Error::new(ErrorKind::Migrated, "the group went on without this member"))?;
        if self.fate().strikes(Fault::CommitAnswerLost) {
            return Err(Error::new(ErrorKind::Retry, "nobody said whether the offsets were committed"));
        }
        self.clients.staying.borrow_mut().commit_succeeded();
        Ok(())
    }

    fn identity(&self) -> Result<Option<Membership>> {
        let Place::Member(standing) = &self.place else { return Ok(None) };
        let standing = standing.borrow();
        Ok(standing.id.map(|member| Membership { member, generation: standing.generation }))
    }

    fn leave_for_good(&mut self) {}
}

impl Drop for SimulatedConsumer {
    fn drop(&mut self) {
        if !self.clients.process.is_dead() {
            self.with_group(|group, standing, _| standing.id.into_iter().for_each(|id| group.remove(id)));
        }
        if let Place::Member(_) = self.place {
            self.clients.owned.borrow_mut().clear();
        }
    }
}

pub(super) fn positions_of(offsets: &[PartitionOffset]) -> Vec<(TopicPartition, i64)> {
    let named = offsets.iter().filter_map(|at| Some((at, at.offset?)));
    named.map(|(at, offset)| ((Arc::clone(&at.topic), at.partition), offset.get())).collect()
}
