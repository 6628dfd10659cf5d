//! A producer on the simulated cluster. Records wait in it, reach the log later, and are acknowledged later still.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use millstream_state_stores::{Offset, partition_for_key};

use super::SimulatedClients;
use super::consumer::positions_of;
use crate::api::Headers;
use crate::clients::{PartitionOffset, Producer, Traffic};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::task::{ChangelogSlot, FailedOutput, OutgoingRecord, RecordSender, SenderTopic};
use crate::testing::simulation::cluster::{LogRecord, Membership, ProducerIdentity, Refusal, TopicPartition};
use crate::testing::simulation::fate::{Fate, Fault};
use crate::testing::simulation::mutation::Mutation;
use crate::testing::simulation::rule::Rule;

pub(in super::super) struct SimulatedProducer {
    clients: SimulatedClients,
    /// Set if it is transactional.
    identity: Option<ProducerIdentity>,
    state: Cell<State>,
    topics: Vec<(Arc<str>, i32)>,
    records: RefCell<Records>,
    request_timeout: Duration,
}

/// Where a transactional producer stands; others are always `Open`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Between,
    Open,
    Lost,
}

#[derive(Default)]
struct Records {
    waiting: VecDeque<Waiting>,
    /// In the log and not acknowledged: for records of a changelog, its slot and the offset.
    sent: VecDeque<Option<(ChangelogSlot, Offset)>>,
    acknowledged: Vec<Option<Offset>>,
    failed: Vec<FailedOutput>,
}

struct Waiting {
    to: TopicPartition,
    record: LogRecord,
    changelog: Option<ChangelogSlot>,
}

impl Waiting {
    fn again(output: &FailedOutput) -> Self {
        let (key, value) = (output.key.clone(), output.value.clone());
        Waiting {
            to: (Arc::clone(&output.topic), output.partition.unwrap_or(0)),
            record: LogRecord { key, value, timestamp: output.timestamp },
            changelog: None,
        }
    }
}

impl SimulatedProducer {
    pub(super) fn new(
        clients: &SimulatedClients,
        identity: Option<ProducerIdentity>,
        request_timeout: Duration,
    ) -> Self {
        let state = if identity.is_some() { State::Between } else { State::Open };
        SimulatedProducer {
            clients: clients.clone(),
            identity,
            state: Cell::new(state),
            topics: Vec::new(),
            records: RefCell::default(),
            request_timeout,
        }
    }

    fn fate(&self) -> &Fate {
        &self.clients.process.fate
    }

    fn makes(&self, mutation: Mutation) -> bool {
        self.clients.mutation == Some(mutation)
    }

    /// Moves up to `many` waiting records into the log.
    fn send_some(&self, many: usize) {
        let records = &mut *self.records.borrow_mut();
        let cluster = &mut *self.clients.cluster.borrow_mut();
        cluster.tick();
        for Waiting { to, record, changelog } in records.waiting.drain(..many.min(records.waiting.len())) {
            if changelog.is_some() && !self.owns_task_of(&to) {
                let name = &self.clients.process.name;
                let what = format!("{name} writes to {to:?} after it gave up the task");
                cluster.broken.push(Rule::OneWriter.broken(what));
            }
            match cluster.produce(&to, record, self.identity.as_ref()) {
                Ok(offset) => records.sent.push_back(changelog.map(|slot| (slot, offset))),
                Err(_fenced) => self.state.set(State::Lost),
            }
        }
    }

    /// A changelog partition belongs to the task with its number, and that to whoever reads the inputs of that number.
    fn owns_task_of(&self, changelog: &TopicPartition) -> bool {
        self.clients.owned.borrow().iter().any(|(_, partition)| *partition == changelog.1)
    }

    fn acknowledge_some(&self, many: usize) {
        let records = &mut *self.records.borrow_mut();
        for (slot, offset) in records.sent.drain(..many.min(records.sent.len())).flatten() {
            records.acknowledged[slot.0 as usize] = Some(offset.next());
        }
    }

    fn lost(&self, what: &str) -> Error {
        self.state.set(State::Lost);
        Error::new(ErrorKind::Migrated, format!("the producer is lost: {what}"))
    }

    /// A record that is taken out of those that wait, because it cannot be delivered.
    fn fail_one(&self) {
        let records = &mut *self.records.borrow_mut();
        let Some(Waiting { to, record, changelog }) = records.waiting.pop_front() else { return };
        let may_pass_alone = self.identity.is_none() && changelog.is_none() && self.fate().one_in(2);
        records.failed.push(FailedOutput {
            topic: to.0,
            partition: Some(to.1),
            key: record.key,
            value: record.value,
            timestamp: record.timestamp,
            headers: Headers::default(),
            error: Arc::new(Error::new(ErrorKind::Retry, "the record was not taken in time")),
            may_pass_alone,
        });
    }
}

impl RecordSender for SimulatedProducer {
    fn resolve(&mut self, topic: &str) -> Result<SenderTopic> {
        self.clients.process.calls("partitions of a topic")?;
        let known = self.topics.iter().position(|(name, _)| **name == *topic);
        let index = known.unwrap_or_else(|| {
            let partitions = self.clients.cluster.borrow().partitions_of(topic);
            self.topics.push((topic.into(), partitions));
            self.topics.len() - 1
        });
        Ok(SenderTopic(u32::try_from(index).unwrap_or(u32::MAX)))
    }

    fn send(&mut self, record: &OutgoingRecord<'_>) -> Result<()> {
        self.clients.process.calls("send")?;
        if self.clients.process.suffers(Fault::Panic) {
            // Without the message that a panic prints.
            resume_unwind(Box::new("a processor panicked"));
        }
        match self.state.get() {
            State::Lost => return Err(self.lost("it can send nothing")),
            State::Between => self.state.set(State::Open),
            State::Open => {}
        }
        if self.fate().strikes(Fault::SendRefused) {
            return Err(Error::new(ErrorKind::Abortable, "the transaction has failed already"));
        }
        if self.clients.process.suffers(Fault::QueueFull) {
            return Err(Error::new(ErrorKind::Retry, "the queue is full"));
        }
        let (topic, partitions) = &self.topics[record.topic.0 as usize];
        let by_key = || partition_for_key(record.hashed_key().unwrap_or_default(), *partitions);
        let to = (Arc::clone(topic), record.partition.unwrap_or_else(by_key));
        let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
        let changelog = record.changelog;
        let record = LogRecord { key, value, timestamp: record.timestamp };
        self.records.borrow_mut().waiting.push_back(Waiting { to, record, changelog });
        Ok(())
    }

    fn open_changelog(&mut self) -> ChangelogSlot {
        let acknowledged = &mut self.records.borrow_mut().acknowledged;
        acknowledged.push(None);
        ChangelogSlot(u32::try_from(acknowledged.len() - 1).unwrap_or(u32::MAX))
    }

    fn acknowledged(&self, slot: ChangelogSlot) -> Option<Offset> {
        self.records.borrow().acknowledged[slot.0 as usize]
    }
}

impl Producer for SimulatedProducer {
    type Identity = Option<Membership>;

    fn poll(&self) {
        if self.clients.process.calls("poll producer").is_ok() {
            self.send_some(self.fate().below(6));
            self.acknowledge_some(self.fate().below(6));
        }
    }

    fn flush(&self) -> Result<()> {
        self.clients.process.calls("flush")?;
        self.clients.staying.borrow_mut().commit_may_fail();
        if self.makes(Mutation::OffsetBeforeFlush) {
            return Ok(());
        }
        if !self.records.borrow().waiting.is_empty() && self.fate().strikes(Fault::FlushTimesOut) {
            self.send_some(self.fate().below(6));
            self.acknowledge_some(self.fate().below(6));
            self.clients.clock.sleep(self.request_timeout);
            let kind = if self.identity.is_some() { ErrorKind::Abortable } else { ErrorKind::Retry };
            return Err(Error::new(kind, "records were not acknowledged in time"));
        }
        if !self.records.borrow().waiting.is_empty() && self.clients.process.suffers(Fault::RecordFails) {
            self.fail_one();
            if self.identity.is_some() {
                return Ok(());
            }
        }
        self.send_some(usize::MAX);
        self.acknowledge_some(usize::MAX);
        match self.state.get() {
            State::Lost => Err(self.lost("fenced")),
            State::Between | State::Open => Ok(()),
        }
    }

    fn has_unacknowledged(&self) -> bool {
        if self.makes(Mutation::RecordsLeftBehind) {
            return false;
        }
        let records = self.records.borrow();
        !records.waiting.is_empty() || !records.sent.is_empty()
    }

    fn take_failed(&self) -> Vec<FailedOutput> {
        std::mem::take(&mut self.records.borrow_mut().failed)
    }

    fn send_alone(&mut self, failed: Vec<FailedOutput>) -> Result<Vec<FailedOutput>> {
        let mut refused = Vec::new();
        let mut left = failed.into_iter();
        while let Some(output) = left.next() {
            if !output.may_pass_alone {
                refused.push(output);
                continue;
            }
            self.records.borrow_mut().waiting.push_back(Waiting::again(&output));
            if let Err(error) = self.flush() {
                let unsettled = refused.into_iter().chain([output]).chain(left);
                self.records.borrow_mut().failed.extend(unsettled);
                return Err(error);
            }
            refused.extend(self.take_failed());
        }
        Ok(refused)
    }

    fn commit_transaction(
        &mut self,
        offsets: &[PartitionOffset],
        identity: &Option<Membership>,
    ) -> Result<()> {
        match self.state.get() {
            State::Lost => return Err(self.lost("it can commit nothing")),
            State::Between if offsets.is_empty() => return Ok(()),
            State::Between | State::Open => self.state.set(State::Open),
        }
        let Some(producer) = self.identity.clone() else {
            return Err(Error::fatal("a producer without a transactional id has no transactions"));
        };
        self.clients.process.calls("send offsets to the transaction")?;
        let must_abort = || Err(Error::new(ErrorKind::Abortable, "the transaction must be aborted"));
        let fails = self.fate().strikes(Fault::TransactionFails);
        if fails && self.fate().one_in(2) {
            return must_abort();
        }
        self.clients.cluster.borrow_mut().tick();
        let membership = (*identity).ok_or_else(|| Error::fatal("offsets without a group"))?;
        let added =
            self.clients.cluster.borrow_mut().add_offsets(&producer, membership, &positions_of(offsets));
        match added {
            Ok(()) if fails => return must_abort(),
            Ok(()) => {}
            Err(Refusal::Fenced) => return Err(self.lost("fenced")),
            Err(Refusal::StaleMember | Refusal::NotYet) => {
                return Err(Error::new(ErrorKind::Abortable, "the group went on without this member"));
            }
        }
        self.clients.process.calls("end transaction")?;
        if self.makes(Mutation::CheckpointBeforeCommit) || self.fate().strikes(Fault::EndUnknownPending) {
            self.clients.cluster.borrow_mut().end_transaction_late(&producer);
            if self.makes(Mutation::CheckpointBeforeCommit) {
                self.state.set(State::Between);
                return Ok(());
            }
            return Err(self.lost("nobody knows whether the transaction was committed"));
        }
        let ended = self.clients.cluster.borrow_mut().end_transaction(&producer, true);
        ended.map_err(|_fenced| self.lost("fenced"))?;
        if self.fate().strikes(Fault::EndUnknownApplied) {
            return Err(self.lost("nobody knows whether the transaction was committed"));
        }
        self.state.set(State::Between);
        Ok(())
    }

    fn abort_transaction(&mut self) -> Result<()> {
        match self.state.get() {
            State::Lost => return Err(self.lost("it can abort nothing")),
            State::Between => return Ok(()),
            State::Open => {}
        }
        let Some(identity) = self.identity.clone() else { return Ok(()) };
        self.clients.process.calls("abort transaction")?;
        if self.fate().strikes(Fault::AbortUnanswered) {
            return Err(self.lost("nobody says whether the transaction was aborted"));
        }
        let records = &mut *self.records.borrow_mut();
        records.waiting.clear();
        records.sent.clear();
        records.failed.clear();
        records.acknowledged.fill(None);
        let mut cluster = self.clients.cluster.borrow_mut();
        cluster.tick();
        cluster.end_transaction(&identity, false).map_err(|_fenced| {
            self.state.set(State::Lost);
            Error::new(ErrorKind::Migrated, "the producer was fenced")
        })?;
        self.state.set(State::Between);
        Ok(())
    }

    fn traffic(&self) -> Traffic {
        Traffic::default()
    }
}

impl Drop for SimulatedProducer {
    /// What waits is discarded, except for what was on the wire.
    fn drop(&mut self) {
        if !self.clients.process.is_dead() {
            let waiting = self.records.borrow().waiting.len();
            self.send_some(self.fate().below(waiting + 1));
        }
    }
}
