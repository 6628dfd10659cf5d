//! What a stream thread does when its group gives and takes tasks: those that stay keep everything open and pause for one commit at
//! most; those that go are closed; new ones come from the state updater, which has what is not complete in its care meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[cfg(test)]
use millstream_state_stores::StoreReader;
use millstream_state_stores::TaskId;
use tracing::{debug, info};

use super::StreamThread;
use crate::clients::{Clients, Consumer, PartitionOffset, Producer};
use crate::error::{Error, ErrorKind, Result};
use crate::membership::{Decision, Owned, TopicPartition};
use crate::runtime::shared::GIVE_UP_AFTER;
use crate::runtime::state::ThreadState;
use crate::task::{PartitionQueue, Task, TaskState};
#[cfg(test)]
use crate::testing::simulation::mutation::{self, Mutation};

impl<C: Clients> StreamThread<C> {
    pub(super) fn serve_group(&mut self) -> Result<()> {
        while let Some(decision) = self.membership.poll(&mut self.consumer)? {
            self.counters.rebalances += 1;
            info!(thread = %self.place.name(), %decision, "the group decided");
            match decision {
                Decision::Suspend(tasks) => self.suspend(&tasks)?,
                Decision::Lose(tasks) => self.lose(&tasks)?,
                Decision::Own(owned) => {
                    self.own(owned)?;
                    self.desk.rebalanced();
                    if self.membership.is_waiting() {
                        self.shared.look_for_topics();
                    }
                }
            }
        }
        Ok(())
    }

    /// Commits, and stops the tasks where they are.
    fn suspend(&mut self, ids: &BTreeSet<TaskId>) -> Result<()> {
        self.report_state(ThreadState::Rebalancing);
        let committed = self.commit_before_giving_up()?;
        self.check_nothing_follows(committed)?;
        // At-least-once, the changelog may have what is not committed: only a restore brings both together again.
        if committed || self.shared.settings.is_exactly_once() {
            for index in 0..self.tasks.len() {
                if ids.contains(&self.tasks[index].id()) {
                    self.hide_from_queries(self.tasks[index].id());
                    self.tasks[index].suspend()?;
                }
            }
        } else {
            let suspended = self.take_tasks(ids);
            self.close_tasks(suspended, false)?;
        }
        for task in self.pending.iter_mut().filter(|task| ids.contains(&task.id)) {
            self.shared.stores.remove_task(self.store_owner, task.id);
            task.is_suspended = true;
        }
        debug!(thread = %self.place.name(), committed, "suspended");
        self.membership.given_up(&mut self.consumer)?;
        debug!(thread = %self.place.name(), "partitions are given up");
        self.route();
        if committed { Ok(()) } else { self.read_again() }
    }

    /// Closes tasks that somebody else may have already.
    fn lose(&mut self, ids: &BTreeSet<TaskId>) -> Result<()> {
        self.report_state(ThreadState::Rebalancing);
        self.roll_back(Error::new(ErrorKind::Abortable, "the group gave the partitions away"))?;
        self.check_nothing_follows(false)?;
        let lost = self.take_tasks(ids);
        self.close_tasks(lost, false)?;
        self.cancel_pending(ids);
        self.membership.given_up(&mut self.consumer)?;
        self.route();
        self.read_again()
    }

    /// Under exactly-once records on their way were aborted. Otherwise only the end of their producer stops them.
    fn check_nothing_follows(&self, committed: bool) -> Result<()> {
        if committed || self.shared.settings.is_exactly_once() || !self.producer.has_unacknowledged() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Migrated,
            "records of tasks that are given up are on their way and could follow those of the next owner",
        ))
    }

    /// What was suspended and stays goes on at once; then the rest is closed, and what is new opened.
    fn own(&mut self, owned: Owned) -> Result<()> {
        let Owned { gone, tasks } = owned;
        #[cfg(test)]
        let gone =
            if mutation::is_set_in_runtime(Mutation::ReopensWhatStays) { self.suspended() } else { gone };
        let stays = |id: TaskId| tasks.contains_key(&id) && !gone.contains(&id);
        let is_resumed = |task: &Task<C::Message>| task.state() == TaskState::Suspended && stays(task.id());
        let stay: Vec<usize> =
            (0..self.tasks.len()).filter(|index| is_resumed(&self.tasks[*index])).collect();
        let places = stay.iter().flat_map(|index| self.tasks[*index].queues());
        let places = places.filter_map(PartitionQueue::place);
        // The state updater was told where these begin, and restores their stores up to there: a second answer could be another one.
        let waiting = self.pending.iter().filter(|task| task.is_suspended && stays(task.id));
        let starts_of_waiting = waiting.flat_map(|task| task.starts.iter().cloned());
        let known: Vec<PartitionOffset> = places.chain(starts_of_waiting).collect();
        let shared = Arc::clone(&self.shared);
        let starts = shared.patiently(GIVE_UP_AFTER, || {
            self.membership.starts(&self.consumer, known.clone(), |topic| shared.reset_of(topic))
        })?;
        debug!(thread = %self.place.name(), "knows where to go on");
        // Before anything is opened: both refuse while a reset goes on, which removes state, and after one, if this instance does not
        // know of it.
        shared.check_changelogs()?;
        debug!(thread = %self.place.name(), "changelogs are checked");
        self.membership.taken(&mut self.consumer, &starts)?;
        debug!(thread = %self.place.name(), "partitions are taken");
        for index in stay {
            self.tasks[index].become_state(TaskState::Restoring)?;
            self.run_task(index)?;
        }

        let taken_away = self.take_tasks(&gone);
        self.close_tasks(taken_away, true)?;
        self.cancel_pending(&gone);
        for (id, topics) in tasks {
            let is_read =
                |start: &&PartitionOffset| start.partition == id.partition && topics.contains(&start.topic);
            let starts = starts.iter().filter(is_read).cloned().collect();
            if let Some(pending) = self.pending.iter_mut().find(|task| task.id == id) {
                (pending.starts, pending.is_suspended) = (starts, false);
                self.show_as_restoring(id);
            } else if !self.tasks.iter().any(|task| task.id() == id) {
                self.ask_for(id, starts);
            }
        }
        self.pending.iter().try_for_each(|task| self.pause(task, true))?;
        self.route();
        self.start_complete()?;
        self.note_whether_running();
        Ok(())
    }

    fn cancel_pending(&mut self, ids: &BTreeSet<TaskId>) {
        let (cancelled, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(|task| ids.contains(&task.id));
        self.pending = kept;
        cancelled.iter().for_each(|task| self.cancel(task));
    }

    /// What a task of this partition has open, if it runs.
    #[cfg(test)]
    pub(crate) fn reader(&self, store: &str, partition: i32) -> Option<Arc<StoreReader>> {
        let is_running = |task: &&Task<C::Message>| task.state() == TaskState::Running;
        let mut running =
            self.tasks.iter().filter(is_running).filter(|task| task.id().partition == partition);
        running.find_map(|task| task.stores().reader(store))
    }

    #[cfg(test)]
    fn suspended(&self) -> BTreeSet<TaskId> {
        let suspended = self.tasks.iter().filter(|task| task.state() == TaskState::Suspended);
        suspended.map(Task::id).collect()
    }

    /// Commits all tasks for the last time before some are given up; false if it failed in a way that can pass. What was not
    /// committed is processed again by the next owner.
    pub(super) fn commit_before_giving_up(&mut self) -> Result<bool> {
        let shared = Arc::clone(&self.shared);
        let settings = &shared.settings;
        let committed = self.commit_clock.commit(
            &mut self.tasks,
            &self.consumer,
            &mut self.producer,
            settings,
            &*shared.clock,
        );
        match committed {
            Ok(()) => Ok(true),
            // A task that is given up leaves nothing of its own in an open transaction.
            Err(error)
                if settings.is_exactly_once()
                    && matches!(error.kind(), ErrorKind::Abortable | ErrorKind::Retry) =>
            {
                self.roll_back(error)?;
                Ok(false)
            }
            Err(error)
                if !settings.is_exactly_once()
                    && matches!(error.kind(), ErrorKind::Migrated | ErrorKind::Retry) =>
            {
                tracing::warn!(%error, "the last commit failed; its records will be processed again");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn take_tasks(&mut self, ids: &BTreeSet<TaskId>) -> Vec<Task<C::Message>> {
        let (taken, kept) =
            std::mem::take(&mut self.tasks).into_iter().partition(|task| ids.contains(&task.id()));
        self.tasks = kept;
        taken
    }

    /// Closes all of them, also if one fails.
    pub(super) fn close_tasks(&mut self, tasks: Vec<Task<C::Message>>, checkpoint: bool) -> Result<()> {
        let mut outcome = Ok(());
        for task in tasks {
            let closed = self.close_task(task, checkpoint);
            outcome = outcome.and(closed);
        }
        outcome
    }

    fn close_task(&mut self, mut task: Task<C::Message>, checkpoint: bool) -> Result<()> {
        let id = task.id();
        // First, because readers hold the directory of a task, and what follows can fail.
        self.hide_from_queries(id);
        self.restores.remove(&id);
        if checkpoint && matches!(task.state(), TaskState::Running | TaskState::Suspended) {
            task.checkpoint()?;
        }
        task.become_state(TaskState::Closed)?;
        let stores = task.into_stores();
        if checkpoint {
            stores.close().map_err(|error| Error::from(error).in_task(id))
        } else {
            drop(stores);
            Ok(())
        }
    }

    /// From here on queries do not find what this thread has of the task.
    pub(super) fn hide_from_queries(&self, task: TaskId) {
        self.shared.stores.remove_task(self.store_owner, task);
    }

    /// Finds task and input of each assigned partition.
    pub(super) fn route(&mut self) {
        let mut inputs: BTreeMap<(&str, i32), (usize, usize)> = BTreeMap::new();
        for (index, task) in self.tasks.iter().enumerate() {
            let queues = task.queues().iter().enumerate();
            inputs
                .extend(queues.map(|(input, queue)| ((&**queue.topic(), queue.partition()), (index, input))));
        }
        let of = |(topic, partition): &TopicPartition| inputs.get(&(&**topic, *partition)).copied();
        self.routes = self.consumer.assigned().iter().map(of).collect();
    }
}
