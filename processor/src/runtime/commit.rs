//! When to commit and checkpoint, and in which order: outputs and changelogs are acknowledged, then offsets are committed,
//! then the new state is published, then it may be written to RocksDB, which happens behind the loop.

use std::time::Duration;

use millstream_state_stores::RowLimits;

use super::checkpoint::{CheckpointStep, Uncheckpointed, next_step};
use super::shared::GIVE_UP_AFTER;
use super::snapshot::TimeSpent;
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::kafka::{Consumer, KafkaMessage, PartitionOffset, Producer};
use crate::task::{RecordSender, Task, TaskState};

/// When the last commit and the last checkpoint were, and what they cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitClock {
    limits: RowLimits,
    last_commit: Duration,
    last_checkpoint: Duration,
    /// Since when commits fail, if they do.
    failing_since: Option<Duration>,
    pub(crate) commits: u64,
    pub(crate) failures: u64,
    pub(crate) time: TimeSpent,
    pub(crate) time_in_stores: TimeSpent,
    pub(crate) time_for_kafka: TimeSpent,
    pub(crate) last_time: Duration,
}

impl CommitClock {
    /// Commits and checkpoints begin to be due `now`; `limits` are the memory of this thread.
    pub(crate) fn starting_at(now: Duration, limits: RowLimits) -> Self {
        CommitClock {
            limits,
            last_commit: now,
            last_checkpoint: now,
            failing_since: None,
            commits: 0,
            failures: 0,
            time: TimeSpent::default(),
            time_in_stores: TimeSpent::default(),
            time_for_kafka: TimeSpent::default(),
            last_time: Duration::ZERO,
        }
    }

    /// How long the loop may wait for records before the next commit.
    pub(crate) fn until_commit(&self, now: Duration, settings: &Settings) -> Duration {
        (self.last_commit + settings.commit_interval).saturating_sub(now)
    }

    pub(crate) fn is_due(&self, now: Duration, settings: &Settings, tasks: &[Task<KafkaMessage>]) -> bool {
        let is_failing = self.failing_since.is_some();
        now.saturating_sub(self.last_commit) >= settings.commit_interval
            || !is_failing && self.holds_too_much(settings, tasks)
    }

    fn holds_too_much(&self, settings: &Settings, tasks: &[Task<KafkaMessage>]) -> bool {
        let mut bytes = 0;
        tasks.iter().map(|task| task.stores().uncommitted_bytes()).any(|of_task| {
            bytes += of_task;
            of_task > settings.max_uncommitted_bytes || bytes > self.limits.uncommitted
        })
    }

    /// Commits the tasks, and checkpoints those that are due. After a `Migrated` or `Retry` error the tasks wait, prepared, for the
    /// next try, or are given up with their partitions.
    ///
    /// # Errors
    /// What cannot be tried again, or was tried for too long.
    pub(crate) fn commit(
        &mut self,
        tasks: &mut [Task<KafkaMessage>],
        consumer: &Consumer,
        producer: &mut Producer,
        settings: &Settings,
        clock: &dyn Clock,
    ) -> Result<()> {
        let start = clock.monotonic();
        let mut dirty: Vec<&mut Task<KafkaMessage>> =
            tasks.iter_mut().filter(|task| task.needs_commit()).collect();
        let mut for_kafka = Duration::ZERO;
        if !dirty.is_empty() {
            for_kafka = commit_tasks(&mut dirty, consumer, producer, clock)?;
            self.commits += 1;
        }
        self.failing_since = None;
        self.last_commit = clock.monotonic();
        self.checkpoint(tasks, settings, self.last_commit)?;
        self.last_time = clock.monotonic().saturating_sub(start);
        self.time.add(self.last_time);
        self.time_for_kafka.add(for_kafka);
        self.time_in_stores.add(self.last_time.saturating_sub(for_kafka));
        Ok(())
    }

    fn checkpoint(
        &mut self,
        tasks: &mut [Task<KafkaMessage>],
        settings: &Settings,
        now: Duration,
    ) -> Result<()> {
        let mut running: Vec<&mut Task<KafkaMessage>> =
            tasks.iter_mut().filter(|task| task.state() == TaskState::Running).collect();
        let all = now.saturating_sub(self.last_checkpoint) >= settings.checkpoint_interval;
        for task in &mut running {
            task.poll_checkpoint()?;
            let Uncheckpointed { waiting, is_in_flight, .. } = uncheckpointed(task);
            if !is_in_flight && (waiting > settings.checkpoint_bytes || all && waiting > 0) {
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

fn uncheckpointed(task: &Task<KafkaMessage>) -> Uncheckpointed {
    let stores = task.stores();
    Uncheckpointed {
        waiting: stores.uncheckpointed_bytes(),
        being_written: stores.checkpointing_bytes(),
        is_in_flight: stores.checkpoint_stats().is_in_flight,
    }
}

/// Returns how much of the time went to Kafka.
fn commit_tasks(
    tasks: &mut [&mut Task<KafkaMessage>],
    consumer: &Consumer,
    producer: &mut Producer,
    clock: &dyn Clock,
) -> Result<Duration> {
    for task in tasks.iter_mut() {
        task.prepare_commit()?;
    }
    let now = clock.monotonic();
    for task in tasks.iter_mut() {
        task.deliver(producer, now)?;
    }
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
    consumer.commit(&offsets)?;
    let for_kafka = clock.monotonic().saturating_sub(now);
    for task in tasks.iter_mut() {
        task.committed(producer as &dyn RecordSender)?;
    }
    Ok(for_kafka)
}
