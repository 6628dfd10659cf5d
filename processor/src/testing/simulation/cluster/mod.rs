//! A Kafka in memory: partitions with transactions, one group, and the coordinators of both.
//!
//! It does what the brokers do as far as a client can tell: fencing by epoch and by generation, marks that arrive after a commit was
//! answered, offsets that are unstable until then, timeouts of sessions and transactions. It knows nothing of millstream, except
//! that it asks the program whether a committed offset has its results.

mod group;
mod log;
#[cfg(test)]
mod tests;
mod transactions;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use millstream_state_stores::{Offset, partition_for_key};

use super::clock::SimulatedClock;
use super::fate::Fate;
use super::mutation::Mutation;
use super::program::{Program, text};
use super::rule::{Broken, Rule};
use transactions::{Phase, Transaction, Transactions};

pub(super) use group::{Group, MemberId, Membership, Move, Protocol};
pub(super) use log::{LogRecord, PartitionLog, Placed};
pub(super) use transactions::ProducerIdentity;

/// A topic and a partition of it.
pub(super) type TopicPartition = (Arc<str>, i32);

/// Why the cluster refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A newer producer has the transactional id, or the transaction took too long.
    Fenced,
    /// The group has gone on without this member.
    StaleMember,
    /// A transaction that is not over decides about it: ask again.
    NotYet,
}

/// How long sessions and transactions last, in milliseconds.
#[derive(Clone, Copy)]
pub(super) struct Timeouts {
    pub(super) session: i64,
    pub(super) transaction: i64,
}

pub(super) struct Cluster {
    pub(super) topics: BTreeMap<Arc<str>, Vec<PartitionLog>>,
    pub(super) group: Group,
    transactions: Transactions,
    /// Ends of transactions that are on their way to the coordinator.
    late_ends: Vec<(i64, ProducerIdentity)>,
    timeouts: Timeouts,
    clock: Arc<SimulatedClock>,
    fate: Arc<Fate>,
    mutation: Option<Mutation>,
    program: Rc<Program>,
    /// What must never happen, and did.
    pub(super) broken: Vec<Broken>,
}

impl Cluster {
    pub(super) fn new(
        program: &Rc<Program>,
        protocol: Protocol,
        timeouts: Timeouts,
        clock: &Arc<SimulatedClock>,
        fate: &Arc<Fate>,
        mutation: Option<Mutation>,
    ) -> Self {
        let logs = |count: i32| (0..count).map(|_| PartitionLog::default()).collect();
        Cluster {
            topics: program.topics().into_iter().map(|(topic, count)| (topic, logs(count))).collect(),
            group: Group::new(protocol, program.source_topics()),
            transactions: Transactions::default(),
            late_ends: Vec::new(),
            timeouts,
            clock: Arc::clone(clock),
            fate: Arc::clone(fate),
            mutation,
            program: Rc::clone(program),
            broken: Vec::new(),
        }
    }

    pub(super) fn log(&self, (topic, partition): &TopicPartition) -> &PartitionLog {
        &self.topics[topic][usize::try_from(*partition).unwrap_or(0)]
    }

    fn log_mut(&mut self, (topic, partition): &TopicPartition) -> &mut PartitionLog {
        let logs = self.topics.get_mut(topic).unwrap_or_else(|| panic!("there is no topic {topic}"));
        &mut logs[usize::try_from(*partition).unwrap_or(0)]
    }

    pub(super) fn partitions_of(&self, topic: &str) -> i32 {
        i32::try_from(self.topics[topic].len()).unwrap_or(i32::MAX)
    }

    /// Does what is due by now. Every call begins with it.
    pub(super) fn tick(&mut self) {
        let now = self.clock.millis();
        self.group.expire(now, self.timeouts.session);
        self.group.complete();
        for (_, identity) in self.late_ends.extract_if(.., |(due, _)| *due <= now).collect::<Vec<_>>() {
            // Too late is not an error: nobody waits for an answer.
            let _fenced_or_done = self.end_transaction(&identity, true);
        }
        let ids: Vec<String> = self.transactions.by_id.keys().cloned().collect();
        for id in ids {
            let Some(known) = self.transactions.by_id.get_mut(&id) else { continue };
            match &known.phase {
                Phase::Open(transaction) if now - transaction.since > self.timeouts.transaction => {
                    self.fate.note(|| format!("transaction of {id} took too long"));
                    known.epoch += 1;
                    self.seal(&id, false);
                    self.write_marks(&id);
                }
                Phase::Ending { due, .. } if *due <= now => self.write_marks(&id),
                _ => {}
            }
        }
    }

    /// Appends a record, to a transaction if the producer is known.
    pub(super) fn produce(
        &mut self,
        partition: &TopicPartition,
        record: LogRecord,
        identity: Option<&ProducerIdentity>,
    ) -> Result<Offset, Refusal> {
        let Some(identity) = identity else { return Ok(self.log_mut(partition).append(record, None)) };
        let transaction = self.open(identity)?;
        transaction.partitions.insert(partition.clone());
        Ok(self.log_mut(partition).append(record, Some(identity.producer)))
    }

    /// The open transaction of a producer, which begins here if there is none.
    fn open(&mut self, identity: &ProducerIdentity) -> Result<&mut Transaction, Refusal> {
        let now = self.clock.millis();
        if self.mutation == Some(Mutation::ZombieWrites) {
            self.let_zombie_in(identity);
        }
        let known = self.transactions.current(identity).ok_or(Refusal::Fenced)?;
        if matches!(known.phase, Phase::Ending { .. }) {
            // The client waits until the marks are written.
            self.write_marks(&identity.transactional_id);
        }
        let known = self.transactions.current(identity).ok_or(Refusal::Fenced)?;
        if matches!(known.phase, Phase::Empty) {
            known.phase = Phase::Open(Transaction { since: now, ..Transaction::default() });
        }
        match &mut known.phase {
            Phase::Open(transaction) => Ok(transaction),
            Phase::Empty | Phase::Ending { .. } => Err(Refusal::NotYet),
        }
    }

    /// As a client would that takes a new epoch by itself when it is fenced.
    fn let_zombie_in(&mut self, identity: &ProducerIdentity) {
        if let Some(known) = self.transactions.by_id.get_mut(&identity.transactional_id) {
            known.epoch = identity.epoch;
        }
    }

    /// Fences all producers of a transactional id and ends their transaction. `NotYet` while one is being ended.
    pub(super) fn init_transactions(&mut self, transactional_id: &str) -> Result<ProducerIdentity, Refusal> {
        let phase = self.transactions.by_id.get(transactional_id).map(|known| &known.phase);
        match phase {
            Some(Phase::Ending { .. }) => return Err(Refusal::NotYet),
            Some(Phase::Open(_)) => {
                self.seal(transactional_id, false);
                self.write_marks(transactional_id);
            }
            Some(Phase::Empty) | None => {}
        }
        Ok(self.transactions.new_epoch(transactional_id))
    }

    pub(super) fn add_offsets(
        &mut self,
        identity: &ProducerIdentity,
        membership: Membership,
        offsets: &[(TopicPartition, i64)],
    ) -> Result<(), Refusal> {
        let is_known = self.group.is_current(membership) || self.mutation == Some(Mutation::ZombieWrites);
        let transaction = self.open(identity)?;
        if !is_known {
            return Err(Refusal::StaleMember);
        }
        transaction.offsets.extend(offsets.iter().cloned());
        Ok(())
    }

    /// Decides about the open transaction. Its marks are written now or a little later.
    pub(super) fn end_transaction(
        &mut self,
        identity: &ProducerIdentity,
        is_committed: bool,
    ) -> Result<(), Refusal> {
        if self.mutation == Some(Mutation::ZombieWrites) {
            self.let_zombie_in(identity);
        }
        let known = self.transactions.current(identity).ok_or(Refusal::Fenced)?;
        if matches!(known.phase, Phase::Open(_)) {
            self.seal(&identity.transactional_id, is_committed);
            if self.fate.below(3) > 0 {
                self.write_marks(&identity.transactional_id);
            }
        }
        Ok(())
    }

    /// A transaction's end that arrives later, if it is not fenced until then.
    pub(super) fn end_transaction_late(&mut self, identity: &ProducerIdentity) {
        let due = self.clock.millis() + 1 + i64::try_from(self.fate.below(3000)).unwrap_or(0);
        self.late_ends.push((due, identity.clone()));
    }

    fn seal(&mut self, transactional_id: &str, is_committed: bool) {
        let due = self.clock.millis() + i64::try_from(self.fate.below(200)).unwrap_or(0);
        if let Some(known) = self.transactions.by_id.get_mut(transactional_id)
            && let Phase::Open(transaction) = std::mem::take(&mut known.phase)
        {
            self.fate.note(|| {
                let end = if is_committed { "committed" } else { "aborted" };
                format!("transaction of {transactional_id} {end}, offsets {:?}", transaction.offsets)
            });
            known.phase = Phase::Ending { transaction, is_committed, due };
        }
    }

    fn write_marks(&mut self, transactional_id: &str) {
        let Some(known) = self.transactions.by_id.get_mut(transactional_id) else { return };
        let producer = known.producer;
        let Phase::Ending { transaction, is_committed, .. } = std::mem::take(&mut known.phase) else {
            return;
        };
        for partition in &transaction.partitions {
            self.log_mut(partition).end_transaction(producer, is_committed);
        }
        if is_committed {
            self.move_offsets(&transaction.offsets.into_iter().collect::<Vec<_>>());
        }
    }

    /// Commits offsets outside of a transaction.
    pub(super) fn commit(
        &mut self,
        membership: Membership,
        offsets: &[(TopicPartition, i64)],
    ) -> Result<(), Refusal> {
        if !self.group.is_current(membership) {
            return Err(Refusal::StaleMember);
        }
        self.fate.note(|| format!("offsets committed: {offsets:?}"));
        self.move_offsets(offsets);
        Ok(())
    }

    /// Where the group goes on in a partition; none if it never committed there.
    pub(super) fn committed(&self, partition: &TopicPartition) -> Result<Option<i64>, Refusal> {
        if self.transactions.may_move(partition) {
            return Err(Refusal::NotYet);
        }
        Ok(self.group.committed.get(partition).copied())
    }

    /// Where the group goes on, also if the mark of the transaction that says so is not written yet.
    pub(super) fn sealed_offset(&self, partition: &TopicPartition) -> i64 {
        let sealed = self.transactions.by_id.values().filter_map(|known| match &known.phase {
            Phase::Ending { transaction, is_committed: true, .. } => transaction.offsets.get(partition),
            _ => None,
        });
        let committed = self.group.committed.get(partition);
        committed.into_iter().chain(sealed).max().copied().unwrap_or(0)
    }

    /// The records of a log that are committed, if only because the coordinator has decided so and the mark is on its way.
    pub(super) fn decided(&self, partition: &TopicPartition) -> impl Iterator<Item = Placed> {
        let is_committed = move |producer| {
            self.transactions.by_id.values().any(|known| {
                known.producer == producer && matches!(known.phase, Phase::Ending { is_committed: true, .. })
            })
        };
        let records = self.log(partition).not_aborted();
        records.filter_map(move |(placed, open)| open.is_none_or(is_committed).then_some(placed))
    }

    fn move_offsets(&mut self, offsets: &[(TopicPartition, i64)]) {
        for (partition, offset) in offsets {
            let before = self.group.committed.insert(partition.clone(), *offset).unwrap_or(0);
            if before > *offset {
                let what = format!("offset of {partition:?} moved back from {before} to {offset}");
                self.broken.push(Rule::OffsetsGoForward.broken(what));
            }
            let passed: Vec<Placed> = self
                .log(partition)
                .committed_from(Offset::new(before))
                .filter(|placed| placed.offset.get() < *offset)
                .collect();
            for placed in passed {
                if !self.program.has_results(self, partition, &placed.record) {
                    let (key, value) = (text(&placed.record.key), text(&placed.record.value));
                    self.broken.push(Rule::OffsetsFollowResults.broken(format!(
                        "offset {offset} of {partition:?} is committed without the results of record {}, {key}={value}",
                        placed.offset
                    )));
                }
            }
        }
    }

    /// Writes a record of somebody who has nothing to do with the application.
    pub(super) fn write_input(&mut self, topic: Arc<str>, record: LogRecord) {
        let partition =
            partition_for_key(record.key.as_deref().unwrap_or_default(), self.partitions_of(&topic));
        self.log_mut(&(topic, partition)).append(record, None);
    }

    /// Drops the records of a topic that newer ones of the same key hide, and tombstones if they are not kept any longer.
    pub(super) fn compact(&mut self, topic: &str, keeps_tombstones: bool) {
        self.topics.get_mut(topic).into_iter().flatten().for_each(|log| log.compact(keeps_tombstones));
    }

    /// The partitions that the group reads.
    pub(super) fn source_partitions(&self) -> impl Iterator<Item = TopicPartition> {
        self.group
            .counts
            .iter()
            .flat_map(|(topic, count)| (0..*count).map(move |partition| (Arc::clone(topic), partition)))
    }

    /// Whether everything that was written is decided, read and committed.
    pub(super) fn is_at_rest(&self) -> bool {
        let is_read = |partition: &TopicPartition| {
            let committed = self.group.committed.get(partition).copied().unwrap_or(0);
            self.log(partition).committed_from(Offset::new(committed)).next().is_none()
        };
        self.group.is_stable()
            && !self.transactions.is_any_open()
            && self.source_partitions().all(|source| is_read(&source))
    }
}
