//! When to commit and checkpoint, and in which order: outputs and changelogs are acknowledged, then offsets are committed (under
//! exactly-once in one transaction with them), then the new state is published, then it may be written to RocksDB, which happens
//! behind the loop.

use std::time::Duration;

use millstream_state_stores::{Offset, RowLimits};

use super::checkpoint::{CheckpointStep, Uncheckpointed, next_step};
use super::shared::GIVE_UP_AFTER;
use super::snapshot::TimeSpent;
use crate::clients::{PartitionOffset, Producer};
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::membership::GroupMember;
use crate::step::{Step, StepListener};
use crate::task::{
    ChangelogSlot, FailedOutput, InputMessage, OutgoingRecord, RecordSender, SenderTopic, Task, TaskState,
};
#[cfg(test)]
use crate::testing::simulation::mutation::{self, Mutation};

/// When the last commit and the last checkpoint were, and what they cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitClock {
    limits: RowLimits,
    last_commit: Duration,
    last_checkpoint: Duration,
    /// Of the commits since the last one that succeeded.
    failing: Option<Failing>,
    pub(crate) commits: u64,
    pub(crate) failures: u64,
    pub(crate) time: TimeSpent,
    pub(crate) time_in_stores: TimeSpent,
    pub(crate) time_for_kafka: TimeSpent,
    pub(crate) last_time: Duration,
    pub(crate) transactions: TransactionCounters,
}

/// Failures of commits in a row.
#[derive(Clone, Copy, Debug)]
struct Failing {
    since: Duration,
    last: Duration,
}

/// Failures that lie further apart do not belong together: in between there was nothing to commit.
const ONE_OUTAGE: Duration = Duration::from_secs(150);

/// What became of transactions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TransactionCounters {
    pub(crate) committed: u64,
    pub(crate) aborted: u64,
    /// Time spent on committing them, once everything in them was acknowledged.
    pub(crate) time: Duration,
}

impl CommitClock {
    /// Commits and checkpoints begin to be due `now`; `limits` are the memory of this thread until [`CommitClock::share`].
    pub(crate) fn starting_at(now: Duration, limits: RowLimits) -> Self {
        CommitClock {
            limits,
            last_commit: now,
            last_checkpoint: now,
            failing: None,
            commits: 0,
            failures: 0,
            time: TimeSpent::default(),
            time_in_stores: TimeSpent::default(),
            time_for_kafka: TimeSpent::default(),
            last_time: Duration::ZERO,
            transactions: TransactionCounters::default(),
        }
    }

    /// The memory of this thread from now on: threads come and go.
    pub(crate) fn share(&mut self, limits: RowLimits) {
        self.limits = limits;
    }

    /// How long the loop may wait for records before the next commit.
    pub(crate) fn until_commit(&self, now: Duration, settings: &Settings) -> Duration {
        (self.last_commit + settings.effective_commit_interval()).saturating_sub(now)
    }

    pub(crate) fn is_due(
        &self,
        now: Duration,
        settings: &Settings,
        tasks: &[Task<impl InputMessage>],
    ) -> bool {
        let is_failing = self.failing.is_some();
        let is_wanted = || tasks.iter().any(Task::wants_commit) || self.holds_too_much(settings, tasks);
        now.saturating_sub(self.last_commit) >= settings.effective_commit_interval()
            || !is_failing && is_wanted()
    }

    fn holds_too_much(&self, settings: &Settings, tasks: &[Task<impl InputMessage>]) -> bool {
        let mut bytes = 0;
        tasks.iter().map(|task| task.stores().uncommitted_bytes()).any(|of_task| {
            bytes += of_task;
            of_task > settings.max_uncommitted_bytes || bytes > self.limits.uncommitted
        })
    }

    /// Commits the tasks, and checkpoints those that are due. After a `Retry` error, and at-least-once after a `Migrated` one, the tasks
    /// wait, prepared, for the next try, or are given up with their partitions.
    ///
    /// # Errors
    /// Whatever kept it from being committed.
    pub(crate) fn commit<M: InputMessage, G: GroupMember>(
        &mut self,
        tasks: &mut [Task<M>],
        member: &G,
        producer: &mut impl Producer<Identity = G::Identity>,
        settings: &Settings,
        clock: &dyn Clock,
    ) -> Result<()> {
        let start = clock.monotonic();
        let mut dirty: Vec<&mut Task<M>> = tasks.iter_mut().filter(|task| task.needs_commit()).collect();
        let mut for_kafka = Duration::ZERO;
        if !dirty.is_empty() {
            let on_step = &settings.on_step;
            on_step.tell(Step::CommitBegun);
            for task in &mut dirty {
                task.prepare_commit()?;
            }
            let prepared = clock.monotonic();
            for task in &mut dirty {
                task.deliver(producer, prepared)?;
            }
            on_step.tell(Step::OutputsSent);
            if settings.is_exactly_once() {
                self.commit_in_transaction(&mut dirty, member, producer, on_step, clock)?;
            } else {
                commit_one_after_the_other(&mut dirty, member, producer, on_step, prepared)?;
            }
            on_step.tell(Step::OffsetsCommitted);
            for_kafka = clock.monotonic().saturating_sub(prepared);
            for task in &mut dirty {
                task.committed(producer)?;
                task.look_at_ends(
                    |topic, partition| member.last_seen_end(topic, partition),
                    clock.wall_clock(),
                );
            }
            on_step.tell(Step::StatePublished);
            self.commits += 1;
            self.failing = None;
        }
        self.last_commit = clock.monotonic();
        self.checkpoint(tasks, settings, self.last_commit)?;
        self.last_time = clock.monotonic().saturating_sub(start);
        self.time.add(self.last_time);
        self.time_for_kafka.add(for_kafka);
        self.time_in_stores.add(self.last_time.saturating_sub(for_kafka));
        Ok(())
    }

    fn commit_in_transaction<G: GroupMember>(
        &mut self,
        tasks: &mut [&mut Task<impl InputMessage>],
        member: &G,
        producer: &mut impl Producer<Identity = G::Identity>,
        on_step: &StepListener,
        clock: &dyn Clock,
    ) -> Result<()> {
        producer.flush()?;
        check_all_delivered(&producer.take_failed())?;
        on_step.tell(Step::OutputsAcknowledged);
        let acknowledged = clock.monotonic();
        let offsets = offsets_of(tasks);
        #[cfg(test)]
        hurry(tasks, producer)?;
        producer.commit_transaction(&offsets, &member.identity()?)?;
        self.transactions.committed += 1;
        self.transactions.time += clock.monotonic().saturating_sub(acknowledged);
        Ok(())
    }

    /// Publishes what a task has processed that sends nothing and whose position is kept beside its rows, and checkpoints it if that is
    /// due. Kafka is not asked.
    ///
    /// # Errors
    /// A store that failed.
    pub(crate) fn commit_locally(
        &mut self,
        task: &mut Task<impl InputMessage>,
        settings: &Settings,
        clock: &dyn Clock,
    ) -> Result<()> {
        if task.needs_commit() {
            task.prepare_commit()?;
            task.deliver(&mut SendsNothing, clock.monotonic())?;
            task.committed(&SendsNothing)?;
            self.commits += 1;
        }
        self.last_commit = clock.monotonic();
        self.checkpoint_these(&mut [task], settings, self.last_commit)
    }

    fn checkpoint(
        &mut self,
        tasks: &mut [Task<impl InputMessage>],
        settings: &Settings,
        now: Duration,
    ) -> Result<()> {
        let mut running: Vec<_> =
            tasks.iter_mut().filter(|task| task.state() == TaskState::Running).collect();
        self.checkpoint_these(&mut running, settings, now)
    }

    fn checkpoint_these(
        &mut self,
        running: &mut [&mut Task<impl InputMessage>],
        settings: &Settings,
        now: Duration,
    ) -> Result<()> {
        let all = now.saturating_sub(self.last_checkpoint) >= settings.checkpoint_interval;
        for task in &mut *running {
            task.poll_checkpoint()?;
            let Uncheckpointed { waiting, is_in_flight, .. } = uncheckpointed(task);
            let is_due =
                waiting > settings.checkpoint_bytes || all && (waiting > 0 || task.is_worth_dating());
            if !is_in_flight && is_due {
                task.begin_checkpoint()?;
            }
        }
        if all {
            self.last_checkpoint = now;
        }
        loop {
            let held: Vec<Uncheckpointed> = running.iter().map(|task| uncheckpointed(task)).collect();
            match next_step(&held, self.limits.uncheckpointed) {
                Some(CheckpointStep::Begin(place)) => running[place].begin_checkpoint()?,
                Some(CheckpointStep::Await(place)) => running[place].await_checkpoint()?,
                None => return Ok(()),
            }
        }
    }

    /// Decides about a commit that failed: `Ok` to go on and try again.
    ///
    /// # Errors
    /// The failure itself, if it cannot pass or lasts for too long.
    pub(crate) fn failed(&mut self, error: Error, settings: &Settings, now: Duration) -> Result<()> {
        let may_pass = match error.kind() {
            ErrorKind::Retry => true,
            // The group will say who has the tasks now; until then nothing is lost. A producer that was fenced never gets better.
            ErrorKind::Migrated => !settings.is_exactly_once(),
            _ => false,
        };
        if !may_pass {
            return Err(error);
        }
        tracing::warn!(%error, kind = ?error.kind(), "the commit failed and is tried again");
        self.not_committed(error, now)
    }

    /// Takes note of a transaction that was aborted, whose records are processed again.
    ///
    /// # Errors
    /// Its cause, if no commit has succeeded for too long.
    pub(crate) fn aborted(&mut self, cause: Error, now: Duration) -> Result<()> {
        self.transactions.aborted += 1;
        tracing::warn!(error = %cause, "the transaction was aborted; its records are processed again");
        self.not_committed(cause, now)
    }

    fn not_committed(&mut self, cause: Error, now: Duration) -> Result<()> {
        self.failures += 1;
        self.last_commit = now;
        let same_outage = self.failing.filter(|failing| now.saturating_sub(failing.last) <= ONE_OUTAGE);
        let since = same_outage.map_or(now, |failing| failing.since);
        self.failing = Some(Failing { since, last: now });
        if now.saturating_sub(since) > GIVE_UP_AFTER { Err(cause) } else { Ok(()) }
    }
}

/// What a task has in place of a producer if nothing can leave it.
struct SendsNothing;

impl RecordSender for SendsNothing {
    fn resolve(&mut self, topic: &str) -> Result<SenderTopic> {
        Err(Error::fatal(format!("a global table has an output to topic {topic}")))
    }

    fn send(&mut self, _record: &OutgoingRecord<'_>) -> Result<()> {
        Err(Error::fatal("a global table has an output"))
    }

    fn open_changelog(&mut self) -> ChangelogSlot {
        ChangelogSlot(0)
    }

    fn acknowledged(&self, _slot: ChangelogSlot) -> Option<Offset> {
        None
    }
}

fn uncheckpointed(task: &Task<impl InputMessage>) -> Uncheckpointed {
    let stores = task.stores();
    Uncheckpointed {
        waiting: stores.uncheckpointed_bytes(),
        being_written: stores.checkpointing_bytes(),
        is_in_flight: stores.checkpoint_stats().is_in_flight,
    }
}

/// At-least-once: input offsets follow what they led to.
fn commit_one_after_the_other(
    tasks: &mut [&mut Task<impl InputMessage>],
    member: &impl GroupMember,
    producer: &mut impl Producer,
    on_step: &StepListener,
    now: Duration,
) -> Result<()> {
    loop {
        producer.flush()?;
        let failed = producer.take_failed();
        if failed.is_empty() {
            break;
        }
        // A refused changelog record belongs to one of the tasks; each looks for its own.
        for task in tasks.iter_mut() {
            task.check_changelog_failures(&failed)?;
        }
        let refused = producer.send_alone(failed)?;
        if let Some(task) = tasks.first_mut() {
            task.outputs_failed(refused, now)?;
            task.deliver(producer, now)?;
        }
    }
    on_step.tell(Step::OutputsAcknowledged);
    member.commit(&offsets_of(tasks))
}

/// Does what must wait for the end of the transaction, if that is the mistake to be made.
#[cfg(test)]
fn hurry(tasks: &mut [&mut Task<impl InputMessage>], producer: &impl RecordSender) -> Result<()> {
    let checkpoints = mutation::is_set_in_runtime(Mutation::CheckpointedBeforeEnd);
    if checkpoints || mutation::is_set_in_runtime(Mutation::PublishedBeforeEnd) {
        tasks.iter_mut().try_for_each(|task| task.committed(producer))?;
    }
    if checkpoints { tasks.iter_mut().try_for_each(|task| task.checkpoint()) } else { Ok(()) }
}

/// The input offsets that changed since the last commit.
fn offsets_of(tasks: &[&mut Task<impl InputMessage>]) -> Vec<PartitionOffset> {
    let offsets = tasks.iter().flat_map(|task| task.offsets_to_commit());
    offsets
        .map(|(topic, partition, next)| PartitionOffset {
            topic: topic.clone(),
            partition,
            offset: Some(next),
        })
        .collect()
}

/// Exactly-once: a record that was not delivered takes its transaction with it.
///
/// # Errors
/// `Abortable` if it may be delivered the next time; else what it failed with.
fn check_all_delivered(failed: &[FailedOutput]) -> Result<()> {
    let is_final =
        |output: &&FailedOutput| matches!(output.error.kind(), ErrorKind::Record | ErrorKind::Invalid);
    let (kind, output, remedy) = match (failed.iter().find(is_final), failed.first()) {
        (Some(output), _) => (
            output.error.kind(),
            output,
            "; under exactly-once its transaction is lost with it, so no handler can leave it out: raise the topic's max.message.bytes, or \
             lower the client's producer.message.max.bytes, so that it is refused before it is sent",
        ),
        (None, Some(output)) => (ErrorKind::Abortable, output, ""),
        (None, None) => return Ok(()),
    };
    let message = format!("a record to topic {} was not delivered{remedy}", output.topic);
    Err(Error::new(kind, message).with_source(output.error.to_string()))
}

#[cfg(test)]
mod tests;
