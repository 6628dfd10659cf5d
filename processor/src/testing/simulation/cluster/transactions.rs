//! The transaction coordinator: who may write under a transactional id, and where its transaction stands.

use std::collections::{BTreeMap, BTreeSet};

use super::TopicPartition;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct ProducerId(pub(super) u64);

/// What a producer calls itself; only the newest epoch of an id may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct ProducerIdentity {
    pub(in super::super) transactional_id: String,
    pub(super) producer: ProducerId,
    pub(super) epoch: u32,
}

/// The offsets a transaction commits, if it does.
pub(super) type PendingOffsets = BTreeMap<TopicPartition, i64>;

pub(super) struct Transactional {
    pub(super) producer: ProducerId,
    pub(super) epoch: u32,
    pub(super) phase: Phase,
}

#[derive(Default)]
pub(super) enum Phase {
    #[default]
    Empty,
    Open(Transaction),
    /// Its fate is sealed; the marks are on their way to the partitions.
    Ending {
        transaction: Transaction,
        is_committed: bool,
        due: i64,
    },
}

#[derive(Default)]
pub(super) struct Transaction {
    pub(super) since: i64,
    pub(super) partitions: BTreeSet<TopicPartition>,
    pub(super) offsets: PendingOffsets,
}

#[derive(Default)]
pub(super) struct Transactions {
    pub(super) by_id: BTreeMap<String, Transactional>,
}

impl Transactions {
    /// A new epoch of the id. What its last transaction was must be decided by now.
    pub(super) fn new_epoch(&mut self, transactional_id: &str) -> ProducerIdentity {
        let next = ProducerId(self.by_id.len() as u64);
        let known = self.by_id.entry(transactional_id.to_string()).or_insert_with(|| Transactional {
            producer: next,
            epoch: 0,
            phase: Phase::Empty,
        });
        known.epoch += 1;
        ProducerIdentity {
            transactional_id: transactional_id.to_string(),
            producer: known.producer,
            epoch: known.epoch,
        }
    }

    /// The transactional id as this producer knows it; none if it was fenced.
    pub(super) fn current(&mut self, identity: &ProducerIdentity) -> Option<&mut Transactional> {
        let known = self.by_id.get_mut(&identity.transactional_id)?;
        (known.epoch == identity.epoch).then_some(known)
    }

    /// Whether a transaction that is not over commits an offset of the partition.
    pub(super) fn may_move(&self, partition: &TopicPartition) -> bool {
        self.by_id.values().any(|known| match &known.phase {
            Phase::Empty => false,
            Phase::Open(transaction) | Phase::Ending { transaction, .. } => {
                transaction.offsets.contains_key(partition)
            }
        })
    }

    pub(super) fn is_any_open(&self) -> bool {
        self.by_id.values().any(|known| !matches!(known.phase, Phase::Empty))
    }
}
