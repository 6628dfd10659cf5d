//! A consumer on the simulated cluster. It fetches ahead, as a real one does, and hands out as much of it as chance will have.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use millstream_state_stores::Offset;

use super::SimulatedClients;
use crate::clients::{Consumer, Fetched, GroupEvent, PartitionOffset, Traffic};
use crate::clock::Clock;
use crate::config::OffsetReset;
use crate::error::{Error, ErrorKind, Result};
use crate::testing::simulation::cluster::{Group, MemberId, Membership, Placed, Refusal, TopicPartition};
use crate::testing::simulation::fate::{Fate, Fault};
use crate::testing::simulation::mutation::Mutation;

/// Records fetched ahead of a partition.
const AHEAD: usize = 8;

pub(in super::super) struct SimulatedConsumer {
    clients: SimulatedClients,
    client_id: String,
    place: Place,
    assigned: Vec<TopicPartition>,
    partitions: Vec<Reading>,
}

/// Where a consumer stands towards the group.
enum Place {
    Outside,
    Member(RefCell<Standing>),
}

#[derive(Clone, Copy, Default)]
struct Standing {
    id: Option<MemberId>,
    /// The generation it knows.
    generation: u64,
    /// Whether it has been told of partitions, if only of none, that it has not given up.
    holds: bool,
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
        SimulatedConsumer { clients, client_id, place, assigned: Vec::new(), partitions: Vec::new() }
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
                cluster.violations.push(format!(
                    "{} reads {partition:?} from {from}, but {committed} is committed",
                    self.clients.process.name
                ));
            }
        }
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
            }
            log.stable_end()
        };
        let mut count = 0;
        for message in reading.fetched.drain(..many.min(reading.fetched.len())) {
            reading.end_told = None;
            sink(index, Fetched::Message(message))?;
            count += 1;
        }
        if reading.fetched.is_empty() && reading.next == stable_end && reading.end_told != Some(stable_end) {
            reading.end_told = Some(stable_end);
            sink(index, Fetched::EndOfPartition(stable_end))?;
            count += 1;
        }
        Ok(count)
    }
}

impl Consumer for SimulatedConsumer {
    type Message = Placed;
    type GroupMetadata = Option<Membership>;

    fn subscribe(&self, _topics: &[&str]) -> Result<()> {
        self.clients.process.calls("subscribe")?;
        self.with_group(|group, standing, now| {
            standing.id = Some(group.join(&self.clients.process, &self.client_id, now));
        });
        Ok(())
    }

    fn poll_group(&mut self) -> Result<Option<GroupEvent>> {
        self.clients.process.calls("poll group")?;
        let assigned = &self.assigned;
        let event = self.with_group(|group, standing, now| {
            let id = standing.id?;
            let is_lost = !group.knows(id);
            if standing.holds && (is_lost || group.must_rejoin(id)) {
                return Some(GroupEvent::Revoked { partitions: assigned.clone(), lost: is_lost });
            }
            if is_lost {
                standing.id = Some(group.join(&self.clients.process, &self.client_id, now));
            } else if group.must_rejoin(id) {
                group.rejoin(id);
            } else if let Some((generation, partitions)) =
                group.assignment(id).filter(|(generation, _)| *generation > standing.generation)
            {
                standing.generation = generation;
                standing.holds = true;
                return Some(GroupEvent::Assigned(partitions.to_vec()));
            }
            None
        });
        let event = event.flatten();
        if let Some(event) = &event {
            self.fate().note(|| format!("{} is told: {event:?}", self.clients.process.name));
        }
        Ok(event)
    }

    fn assign(&mut self, partitions: &[PartitionOffset]) -> Result<()> {
        self.clients.process.calls("assign")?;
        self.assigned.clear();
        self.partitions.clear();
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

    fn unassign(&mut self, _partitions: &[TopicPartition]) -> Result<()> {
        self.clients.process.calls("unassign")?;
        self.assigned.clear();
        self.partitions.clear();
        self.owns_what_it_reads();
        self.with_group(|group, standing, _| {
            standing.holds = false;
            standing.id.into_iter().for_each(|id| group.rejoin(id));
        });
        Ok(())
    }

    fn assigned(&self) -> &[TopicPartition] {
        &self.assigned
    }

    fn starts(
        &self,
        partitions: &[TopicPartition],
        _reset: impl Fn(&str) -> OffsetReset,
    ) -> Result<Vec<PartitionOffset>> {
        self.clients.process.asks("committed offsets")?;
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

    fn commit(&self, offsets: &[PartitionOffset]) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        self.clients.process.calls("commit offsets")?;
        if self.fate().strikes(Fault::CommitRefused) {
            return Err(Error::new(ErrorKind::Retry, "the offsets were not committed"));
        }
        let membership = self.group_metadata()?;
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

    fn group_metadata(&self) -> Result<Option<Membership>> {
        let Place::Member(standing) = &self.place else { return Ok(None) };
        let Standing { id, generation, .. } = *standing.borrow();
        Ok(id.map(|member| Membership { member, generation }))
    }

    fn last_seen_end(&self, topic: &str, partition: i32) -> Option<Offset> {
        Some(self.clients.cluster.borrow().log(&(topic.into(), partition)).stable_end())
    }

    fn log_bounds(&self, topic: &str, partition: i32) -> Result<(Offset, Offset)> {
        self.clients.process.asks("bounds of a log")?;
        Ok((Offset::new(0), self.clients.cluster.borrow().log(&(topic.into(), partition)).end()))
    }

    fn traffic(&self) -> Traffic {
        Traffic::default()
    }
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
