//! When to commit and checkpoint, and in which order: outputs and changelogs are acknowledged, then offsets are committed,
//! then the new state is published, then it may be written to RocksDB, which happens behind the loop.

use std::time::Duration;

use super::shared::GIVE_UP_AFTER;
use super::step::{Step, StepListener};
use crate::clients::{Consumer, PartitionOffset, Producer};
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::task::{InputMessage, Task, TaskState};

/// How many times `checkpoint_bytes` may wait while a checkpoint is being written; beyond that, the loop waits for it.
const MOST_WAITING: usize = 2;

/// When the last commit and the last checkpoint were, and what they cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CommitClock {
    last_commit: Duration,
    last_checkpoint: Duration,
    /// Since when commits fail, if they do.
    failing_since: Option<Duration>,
    pub(crate) commits: u64,
    pub(crate) failures: u64,
    pub(crate) time: Duration,
    pub(crate) last_time: Duration,
}

impl CommitClock {
    pub(crate) fn starting_at(now: Duration) -> Self {
        CommitClock { last_commit: now, last_checkpoint: now, ..CommitClock::default() }
    }

    /// How long the loop may wait for records before the next commit.
    pub(crate) fn until_commit(&self, now: Duration, settings: &Settings) -> Duration {
        (self.last_commit + settings.commit_interval).saturating_sub(now)
    }

    pub(crate) fn is_due(
        &self,
        now: Duration,
        settings: &Settings,
        tasks: &[Task<impl InputMessage>],
    ) -> bool {
        let is_failing = self.failing_since.is_some();
        now.saturating_sub(self.last_commit) >= settings.commit_interval
            || !is_failing
                && tasks.iter().any(|task| task.stores().uncommitted_bytes() > settings.max_uncommitted_bytes)
    }

    /// Commits the tasks, and checkpoints those that are due. After a `Migrated` or `Retry` error the tasks wait, prepared, for the
    /// next try, or are given up with their partitions.
    ///
    /// # Errors
    /// What cannot be tried again, or was tried for too long.
    pub(crate) fn commit<M: InputMessage>(
        &mut self,
        tasks: &mut [Task<M>],
        consumer: &impl Consumer,
        producer: &mut impl Producer,
        settings: &Settings,
        clock: &dyn Clock,
    ) -> Result<()> {
        let start = clock.monotonic();
        let mut dirty: Vec<&mut Task<M>> = tasks.iter_mut().filter(|task| task.needs_commit()).collect();
        if !dirty.is_empty() {
            commit_tasks(&mut dirty, consumer, producer, &settings.on_step, start)?;
            self.commits += 1;
        }
        self.failing_since = None;
        self.last_commit = clock.monotonic();
        self.last_time = self.last_commit.saturating_sub(start);
        self.time += self.last_time;
        self.checkpoint(tasks, settings, clock)
    }

    fn checkpoint(
        &mut self,
        tasks: &mut [Task<impl InputMessage>],
        settings: &Settings,
        clock: &dyn Clock,
    ) -> Result<()> {
        let now = clock.monotonic();
        let all = now.saturating_sub(self.last_checkpoint) >= settings.checkpoint_interval;
        for task in tasks.iter_mut().filter(|task| task.state() == TaskState::Running) {
            task.poll_checkpoint()?;
            let waiting = task.stores().uncheckpointed_bytes();
            if waiting > settings.checkpoint_bytes || (all && waiting > 0) {
                task.begin_checkpoint(settings.checkpoint_bytes.saturating_mul(MOST_WAITING))?;
            }
        }
        if all {
            self.last_checkpoint = now;
        }
        Ok(())
    }

    /// Decides about a commit that failed: `Ok` to go on and try again.
    ///
    /// # Errors
    /// The failure itself, if it cannot pass or lasts for too long.
    pub(crate) fn failed(&mut self, error: Error, now: Duration) -> Result<()> {
        self.failures += 1;
        let since = *self.failing_since.get_or_insert(now);
        let may_pass = matches!(error.kind(), ErrorKind::Migrated | ErrorKind::Retry);
        if !may_pass || now.saturating_sub(since) > GIVE_UP_AFTER {
            return Err(error);
        }
        tracing::warn!(%error, kind = ?error.kind(), "the commit failed and is tried again");
        self.last_commit = now;
        Ok(())
    }
}

fn commit_tasks(
    tasks: &mut [&mut Task<impl InputMessage>],
    consumer: &impl Consumer,
    producer: &mut impl Producer,
    on_step: &StepListener,
    now: Duration,
) -> Result<()> {
    on_step.tell(Step::CommitBegun);
    for task in tasks.iter_mut() {
        task.prepare_commit(producer, now)?;
    }
    on_step.tell(Step::OutputsSent);
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
    let offsets: Vec<PartitionOffset> = tasks
        .iter()
        .flat_map(|task| task.offsets_to_commit())
        .map(|(topic, partition, next)| PartitionOffset {
            topic: topic.clone(),
            partition,
            offset: Some(next),
        })
        .collect();
    on_step.tell(Step::OutputsAcknowledged);
    consumer.commit(&offsets)?;
    on_step.tell(Step::OffsetsCommitted);
    for task in tasks.iter_mut() {
        task.committed(producer)?;
    }
    on_step.tell(Step::StatePublished);
    Ok(())
}
