//! Brings stores up to their changelogs. What to do is decided purely; a thread carries it out batch by batch.

use std::sync::Arc;
use std::time::Duration;

use millstream_state_stores::{Offset, RestoreRow, StoreIndex, TaskId};
use tracing::{info, warn};

use super::shared::{GIVE_UP_AFTER, Shared};
use crate::clients::{Clients, Consumer, Fetched, PartitionOffset};
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::Result;
use crate::task::{InputMessage, Task};

/// How far a store is on its way to the end of its changelog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreProgress {
    /// The task.
    pub task: TaskId,
    /// The store.
    pub store: Arc<str>,
    /// Where the restore began: the offset stored beside the data, or the start of the changelog.
    pub from: Offset,
    /// The next offset to be restored.
    pub next: Offset,
    /// The end of the changelog when the restore began. A transaction that a former owner left open before it is waited for.
    pub end: Offset,
    /// Records applied so far.
    pub records: u64,
}

impl RestoreProgress {
    /// Offsets that are left. An upper bound of the records: compacted ones leave gaps.
    pub fn remaining(&self) -> u64 {
        u64::try_from(self.end.get() - self.next.get()).unwrap_or(0)
    }

    /// Whether the store has reached the end.
    pub fn is_complete(&self) -> bool {
        self.remaining() == 0
    }
}

/// Told about restores: at the start, after each batch, and at the end (`is_complete`).
pub type RestoreListener = Arc<dyn Fn(&RestoreProgress) + Send + Sync>;

/// What a store needs before its task can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestoreDecision {
    UpToDate,
    /// Apply the changelog from here.
    Resume {
        from: Offset,
    },
    /// The data beside the stored offset belongs to another changelog: drop it and apply the changelog from here.
    Rebuild {
        from: Offset,
        reason: RebuildReason,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RebuildReason {
    /// The topic has another id than the one the rows are of: it was deleted and made again.
    TopicWasMadeAgain,
    /// The changelog ends before what the store claims to hold. All that can be told where topics have no ids.
    ChangelogIsShorter,
    /// The changelog no longer has the records after those the store holds.
    ChangelogWasCut,
}

pub(crate) fn decide(stored: Option<Offset>, log_start: Offset, log_end: Offset) -> RestoreDecision {
    match stored {
        None if log_start == log_end => RestoreDecision::UpToDate,
        None => RestoreDecision::Resume { from: log_start },
        Some(stored) if stored > log_end => {
            RestoreDecision::Rebuild { from: log_start, reason: RebuildReason::ChangelogIsShorter }
        }
        Some(stored) if stored < log_start => {
            RestoreDecision::Rebuild { from: log_start, reason: RebuildReason::ChangelogWasCut }
        }
        Some(stored) if stored == log_end => RestoreDecision::UpToDate,
        Some(stored) => RestoreDecision::Resume { from: stored },
    }
}

/// The restores of one thread.
pub(crate) struct Restorer<C: Clients> {
    // Declared, and so dropped, before the consumer: batches hold its messages.
    restores: Vec<Restore<C::Message>>,
    consumer: Option<C::Consumer>,
    client_id: String,
    listener: Option<RestoreListener>,
    last_log: Duration,
}

struct Restore<M> {
    progress: RestoreProgress,
    store: StoreIndex,
    topic: Arc<str>,
    batch: Vec<M>,
}

impl<C: Clients> Restorer<C> {
    const LOG_INTERVAL: Duration = Duration::from_secs(10);

    pub(crate) fn new(client_id: String, listener: Option<RestoreListener>) -> Self {
        Restorer { consumer: None, client_id, restores: Vec::new(), listener, last_log: Duration::ZERO }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.restores.iter().all(|restore| restore.progress.is_complete())
    }

    /// Whether every store of the task is at the end of its changelog.
    pub(crate) fn is_complete(&self, task: TaskId) -> bool {
        self.of(task).all(RestoreProgress::is_complete)
    }

    /// The restores of a task since it was created.
    pub(crate) fn of(&self, task: TaskId) -> impl Iterator<Item = &RestoreProgress> {
        self.restores.iter().map(|restore| &restore.progress).filter(move |progress| progress.task == task)
    }

    /// Finds out what the stores of new tasks need and starts to read it.
    pub(crate) fn begin<'a>(
        &mut self,
        clients: &C,
        tasks: impl Iterator<Item = &'a mut Task<C::Message>>,
        shared: &Shared,
    ) -> Result<()>
    where
        C::Message: 'a,
    {
        let before = self.restores.len();
        for task in tasks {
            self.plan(clients, task, shared)?;
        }
        if self.restores.len() > before {
            self.read_all(clients, &shared.settings)?;
        }
        Ok(())
    }

    fn plan(&mut self, clients: &C, task: &mut Task<C::Message>, shared: &Shared) -> Result<()> {
        let id = task.id();
        let names: Vec<Arc<str>> = task.stores().names().map(Arc::from).collect();
        let changelogs: Vec<(StoreIndex, Arc<str>)> =
            task.changelogs().map(|(store, changelog)| (store, Arc::clone(&changelog.topic))).collect();
        for (store, topic) in changelogs {
            let name = Arc::clone(&names[store.get()]);
            let consumer = self.consumer(clients, &shared.settings)?;
            let (log_start, log_end) =
                shared.patiently(GIVE_UP_AFTER, || consumer.log_bounds(&topic, id.partition))?;
            let say_rebuilt = |reason: RebuildReason| {
                warn!(task = %id, store = %name, %topic, ?reason, "local state is of another history and is rebuilt");
            };
            if let Some(changelog) = shared.changelog_ids.get(&*topic)
                && task.stores_mut().set_changelog(store, *changelog)?
            {
                say_rebuilt(RebuildReason::TopicWasMadeAgain);
            }
            let from = match decide(task.stores().stored_offset(store), log_start, log_end) {
                RestoreDecision::UpToDate => {
                    task.restored_to(store, log_end);
                    continue;
                }
                RestoreDecision::Resume { from } => from,
                RestoreDecision::Rebuild { from, reason } => {
                    say_rebuilt(reason);
                    task.stores_mut().wipe(store)?;
                    from
                }
            };
            info!(task = %id, store = %name, %topic, %from, end = %log_end, "restoring");
            let progress =
                RestoreProgress { task: id, store: name, from, next: from, end: log_end, records: 0 };
            self.tell(&progress);
            self.restores.push(Restore { progress, store, topic, batch: Vec::new() });
        }
        Ok(())
    }

    fn consumer(&mut self, clients: &C, settings: &Settings) -> Result<&mut C::Consumer> {
        let consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => clients.restore_consumer(settings, &self.client_id)?,
        };
        Ok(self.consumer.insert(consumer))
    }

    /// Points the consumer at everything that is not complete.
    fn read_all(&mut self, clients: &C, settings: &Settings) -> Result<()> {
        let open: Vec<PartitionOffset> = self
            .restores
            .iter()
            .filter(|restore| !restore.progress.is_complete())
            .map(|restore| PartitionOffset {
                topic: Arc::clone(&restore.topic),
                partition: restore.progress.task.partition,
                offset: Some(restore.progress.next),
            })
            .collect();
        self.consumer(clients, settings)?.assign(&open)
    }

    /// Fetches and applies one batch. Returns how many records there were.
    pub(crate) fn step(
        &mut self,
        tasks: &mut [Task<C::Message>],
        wait: Duration,
        clock: &dyn Clock,
    ) -> Result<usize> {
        let Some(consumer) = &mut self.consumer else { return Ok(0) };
        if consumer.poll_group()?.is_some() {
            warn!("the restore consumer belongs to no group but was told of a rebalance");
        }
        let restores = &mut self.restores;
        let mut reached_end = Vec::new();
        let positions: Vec<Option<usize>> = consumer
            .assigned()
            .iter()
            .map(|(topic, partition)| {
                let mut restores = restores.iter();
                restores.position(|restore| {
                    restore.topic == *topic && restore.progress.task.partition == *partition
                })
            })
            .collect();
        let count = consumer.fetch(wait, |assigned, fetched| {
            if let Some(Some(position)) = positions.get(assigned) {
                match fetched {
                    Fetched::Message(message) => restores[*position].batch.push(message),
                    Fetched::EndOfPartition(end) => reached_end.push((*position, end)),
                }
            }
            Ok(())
        })?;
        for index in 0..self.restores.len() {
            let end = reached_end.iter().rev().find(|(position, _)| *position == index).map(|(_, end)| *end);
            let restore = &mut self.restores[index];
            if restore.progress.is_complete() || (restore.batch.is_empty() && end.is_none()) {
                restore.batch.clear();
                continue;
            }
            let Some(task) = tasks.iter_mut().find(|task| task.id() == restore.progress.task) else {
                continue;
            };
            restore.apply(task, end)?;
            let progress = &self.restores[index].progress;
            self.tell(progress);
            if progress.is_complete() {
                info!(task = %progress.task, store = %progress.store, records = progress.records, "restored");
            }
        }
        self.log_progress(clock.monotonic());
        Ok(count)
    }

    fn tell(&self, progress: &RestoreProgress) {
        if let Some(listener) = &self.listener {
            listener(progress);
        }
    }

    fn log_progress(&mut self, now: Duration) {
        if now.saturating_sub(self.last_log) < Self::LOG_INTERVAL {
            return;
        }
        self.last_log = now;
        for progress in
            self.restores.iter().map(|restore| &restore.progress).filter(|progress| !progress.is_complete())
        {
            let (done, all) =
                (progress.next.get() - progress.from.get(), progress.end.get() - progress.from.get());
            info!(task = %progress.task, store = %progress.store, done, all, "restoring: {} %", done * 100 / all.max(1));
        }
    }

    /// Forgets the restores of a task that is given up, and stops reading when nothing is left to do.
    pub(crate) fn forget(&mut self, task: TaskId) {
        self.restores.retain(|restore| restore.progress.task != task);
    }

    /// Closes the consumer once every restore is complete.
    pub(crate) fn rest(&mut self) {
        if self.is_idle() {
            for restore in &mut self.restores {
                restore.batch.clear();
            }
            self.consumer = None;
        }
    }
}

impl<M: InputMessage> Restore<M> {
    /// Applies the batch. `end`: where the consumer found nothing more, which is past what only the brokers see: aborted records, and the
    /// marks that end transactions.
    fn apply(&mut self, task: &mut Task<M>, end: Option<Offset>) -> Result<()> {
        let progress = &mut self.progress;
        if let Some(last) = self.batch.last() {
            progress.next = last.raw().offset.next();
        }
        if let Some(end) = end {
            progress.next = progress.next.max(end);
        }
        let rows = self.batch.iter().filter_map(|message| {
            let raw = message.raw();
            Some(RestoreRow { key: raw.key?, value: raw.value, timestamp: raw.timestamp })
        });
        progress.records += task.stores_mut().restore(self.store, rows, progress.next)?;
        if progress.is_complete() {
            task.stores_mut().finish_restore(self.store)?;
        }
        self.batch.clear();
        task.restored_to(self.store, progress.next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_offset_decides() {
        let at = Offset::new;
        let cases = [
            (None, 0, 0, RestoreDecision::UpToDate),
            (None, 0, 10, RestoreDecision::Resume { from: at(0) }),
            (None, 4, 10, RestoreDecision::Resume { from: at(4) }),
            (Some(10), 0, 10, RestoreDecision::UpToDate),
            (Some(7), 0, 10, RestoreDecision::Resume { from: at(7) }),
            (
                Some(11),
                0,
                10,
                RestoreDecision::Rebuild { from: at(0), reason: RebuildReason::ChangelogIsShorter },
            ),
            (
                Some(3),
                4,
                10,
                RestoreDecision::Rebuild { from: at(4), reason: RebuildReason::ChangelogWasCut },
            ),
        ];
        for (stored, start, end, expected) in cases {
            assert_eq!(decide(stored.map(at), at(start), at(end)), expected, "{stored:?} in {start}..{end}");
        }
    }
}
