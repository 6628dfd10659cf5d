//! The transactions of a producer: begun at the first record, ended by a commit or an abort, and what each error means for them.

use std::time::Duration;

use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{Producer as _, PurgeConfig};

use super::client::{kafka_error, kind_of};
use super::consumer::partition_list;
use super::producer::KafkaProducer;
use crate::clients::PartitionOffset;
use crate::error::{Error, ErrorKind, Result};

/// How long one call may take before it is resumed. Between the calls delivery reports are served, which an abort waits for.
const SLICE: Duration = Duration::from_millis(200);

/// Where a producer stands between its records and their fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TransactionState {
    /// It has no transactional id.
    Never,
    /// The next record begins a transaction.
    Between,
    Open,
    /// Fenced, or nobody knows what became of its last transaction.
    Lost,
}

/// What to do about an error of a transactional call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The same call again: it is resumed.
    TryAgain,
    Abort,
    /// Throw the producer away and make a new one.
    Replace,
    /// No producer would fare better.
    GiveUp,
}

/// What librdkafka says about an error besides its text.
#[derive(Clone, Copy, Debug)]
struct Facts {
    code: RDKafkaErrorCode,
    is_fatal: bool,
    is_retriable: bool,
    requires_abort: bool,
}

impl Facts {
    fn verdict(self) -> Verdict {
        use RDKafkaErrorCode as Code;
        match self.code {
            Code::TransactionalIdAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::InvalidTransactionTimeout
            | Code::UnsupportedVersion
            | Code::UnsupportedFeature => Verdict::GiveUp,
            Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => Verdict::Replace,
            _ if self.is_fatal => Verdict::Replace,
            _ if self.requires_abort => Verdict::Abort,
            _ if self.is_retriable => Verdict::TryAgain,
            _ => Verdict::Replace,
        }
    }
}

impl KafkaProducer {
    /// Ends what an earlier producer of the same transactional id left open, and fences it.
    pub(super) fn init_transactions(&mut self) -> Result<()> {
        let ready = self.client.init_transactions(self.timeout);
        self.transaction = TransactionState::Between;
        ready.map_err(|error| self.failed("cannot prepare transactions", error, ErrorKind::Retry))
    }

    pub(super) fn begin_transaction(&mut self) -> Result<()> {
        let begun = self.client.begin_transaction();
        begun.map_err(|error| self.failed("cannot begin a transaction", error, ErrorKind::Abortable))?;
        self.transaction = TransactionState::Open;
        Ok(())
    }

    /// # Errors
    /// Why the open transaction can only be aborted, if so. The client tells it to whoever asks for something that goes on; to begin a
    /// transaction within another is refused in any case.
    pub(super) fn check_transaction(&mut self) -> Result<()> {
        if self.transaction != TransactionState::Open {
            return Ok(());
        }
        match self.client.begin_transaction() {
            Err(KafkaError::Transaction(error)) if error.code() == RDKafkaErrorCode::State => Ok(()),
            answer => {
                answer.map_err(|error| self.failed("the transaction has failed", error, ErrorKind::Abortable))
            }
        }
    }

    pub(super) fn send_offsets(
        &mut self,
        offsets: &[PartitionOffset],
        group: &ConsumerGroupMetadata,
    ) -> Result<()> {
        let offsets = partition_list(offsets)?;
        self.insist("cannot add input offsets to the transaction", ErrorKind::Abortable, |producer| {
            producer.client.send_offsets_to_transaction(&offsets, group, producer.timeout)
        })
    }

    /// Ends the open transaction. A call that times out goes on in the client and is resumed by the next; if there is no answer in time,
    /// only Kafka knows the outcome.
    pub(super) fn end_with_commit(&mut self) -> Result<()> {
        self.insist("cannot tell whether the transaction was committed", ErrorKind::Migrated, |producer| {
            producer.client.commit_transaction(SLICE)
        })?;
        self.transaction = TransactionState::Between;
        Ok(())
    }

    pub(super) fn end_with_abort(&mut self) -> Result<()> {
        self.client.purge(PurgeConfig::default().queue());
        self.insist("cannot abort the transaction", ErrorKind::Migrated, |producer| {
            producer.client.poll(Duration::ZERO);
            producer.client.abort_transaction(SLICE)
        })?;
        self.client.poll(Duration::ZERO);
        self.client.context().forget();
        self.transaction = TransactionState::Between;
        Ok(())
    }

    /// Repeats a call for as long as the client says that it can be resumed and the deadline has not passed; afterwards the error is of
    /// the kind `too_late`.
    fn insist(
        &mut self,
        doing: &str,
        too_late: ErrorKind,
        mut call: impl FnMut(&Self) -> Result<(), KafkaError>,
    ) -> Result<()> {
        let deadline = self.clock.monotonic() + self.timeout;
        loop {
            let Err(error) = call(self) else { return Ok(()) };
            if self.clock.monotonic() >= deadline || self.verdict(&error) != Verdict::TryAgain {
                return Err(self.failed(doing, error, too_late));
            }
            tracing::debug!(%error, doing, "trying again");
            self.client.poll(Duration::from_millis(1));
        }
    }

    /// The error for the runtime. `too_late` is its kind if the call could have been repeated.
    fn failed(&mut self, doing: &str, error: KafkaError, too_late: ErrorKind) -> Error {
        let kind = match self.verdict(&error) {
            Verdict::TryAgain => too_late,
            Verdict::Abort => ErrorKind::Abortable,
            Verdict::Replace => ErrorKind::Migrated,
            Verdict::GiveUp => return kafka_error(doing, error),
        };
        if kind == ErrorKind::Migrated {
            self.transaction = TransactionState::Lost;
        }
        Error::new(kind, doing).with_source(error)
    }

    fn verdict(&self, error: &KafkaError) -> Verdict {
        match error {
            KafkaError::Transaction(error) => self.cause(Facts {
                code: error.code(),
                is_fatal: error.is_fatal(),
                is_retriable: error.is_retriable(),
                requires_abort: error.txn_requires_abort(),
            }),
            other => self.cause(Facts {
                code: other.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown),
                is_fatal: false,
                is_retriable: false,
                requires_abort: true,
            }),
        }
        .verdict()
    }

    /// The first fatal error of a client is told once; later calls only say that there was one.
    fn cause(&self, facts: Facts) -> Facts {
        match self.client.client().fatal_error() {
            Some((code, _)) => Facts { code, is_fatal: true, ..facts },
            None => facts,
        }
    }

    /// A record that the client did not take while the producer is transactional.
    pub(super) fn not_taken(&mut self, doing: String, code: RDKafkaErrorCode) -> Error {
        let error = KafkaError::MessageProduction(code);
        match code {
            // The transaction has failed already; why, its end will tell.
            RDKafkaErrorCode::State => Error::new(ErrorKind::Abortable, doing).with_source(error),
            RDKafkaErrorCode::Fatal => self.failed(&doing, error, ErrorKind::Migrated),
            _ => Error::new(kind_of(Some(code)), doing).with_source(error),
        }
    }

    /// The answer of a producer that is of no more use.
    pub(super) fn lost() -> Error {
        Error::new(
            ErrorKind::Migrated,
            "the producer was fenced, or the fate of its last transaction is unknown",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_verdict() {
        use RDKafkaErrorCode as Code;
        let facts = |code| Facts { code, is_fatal: false, is_retriable: false, requires_abort: false };
        let fatal = |code| Facts { is_fatal: true, ..facts(code) };
        let retriable = |code| Facts { is_retriable: true, ..facts(code) };
        let abortable = |code| Facts { requires_abort: true, ..facts(code) };
        let cases = [
            // Another producer has the id, or the broker has aborted a transaction that took too long.
            (fatal(Code::Fenced), Verdict::Replace),
            (abortable(Code::ProducerFenced), Verdict::Replace),
            (facts(Code::InvalidProducerEpoch), Verdict::Replace),
            // A commit that went through although the client had given it up: Kafka knows.
            (fatal(Code::OperationTimedOut), Verdict::Replace),
            (fatal(Code::InvalidTransactionalState), Verdict::Replace),
            (facts(Code::State), Verdict::Replace),
            (retriable(Code::OperationTimedOut), Verdict::TryAgain),
            (retriable(Code::CoordinatorNotAvailable), Verdict::TryAgain),
            (retriable(Code::ConcurrentTransactions), Verdict::TryAgain),
            (abortable(Code::Inconsistent), Verdict::Abort),
            (abortable(Code::MessageTimedOut), Verdict::Abort),
            // The group has gone on without this member; the group will say so.
            (abortable(Code::IllegalGeneration), Verdict::Abort),
            (abortable(Code::UnknownMemberId), Verdict::Abort),
            (abortable(Code::UnknownProducerId), Verdict::Abort),
            (fatal(Code::TransactionalIdAuthorizationFailed), Verdict::GiveUp),
            (abortable(Code::GroupAuthorizationFailed), Verdict::GiveUp),
            (fatal(Code::InvalidTransactionTimeout), Verdict::GiveUp),
        ];
        for (facts, verdict) in cases {
            assert_eq!(facts.verdict(), verdict, "{facts:?}");
        }
    }
}
