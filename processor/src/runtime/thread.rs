//! A stream thread: one consumer, one producer, its share of the tasks, and a synchronous loop.
//!
//! Each round serves the group, fetches a batch, takes over what was restored, processes, delivers and, when due, commits. The
//! thread ends when it is asked to, or by an error, which is reported and never swallowed.

mod rebalance;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_state_stores::TaskId;

use super::commit::CommitClock;
use super::pending::PendingTask;
use super::program::Program;
use super::roster::ThreadPlace;
use super::shared::{GIVE_UP_AFTER, Shared};
use super::snapshot::{TaskSnapshot, ThreadSnapshot};
use super::state::ThreadState;
use super::state_updater::{RestoreDesk, RestoreProgress, Restored};
use crate::clients::{Clients, Consumer, Fetched, PartitionOffset, Producer, out_of_range};
use crate::error::{Error, ErrorKind, Result};
use crate::membership::{GroupMember, Membership};
use crate::patience::MustEnd;
use crate::query::{StoreOwner, StoreStatus};
use crate::task::{BURST, PartitionQueue, Task, TaskSite, TaskState};
#[cfg(test)]
use crate::testing::simulation::mutation::{self, Mutation};

/// Longest wait for records; bounds how late a request to end is noticed.
const POLL: Duration = Duration::from_millis(100);
/// Longest wait for records while stores are restored; bounds how late a complete task begins.
const RESTORE_POLL: Duration = Duration::from_millis(5);
/// As [`BURST`], for the first records of a task: a backlog is read from cold stores.
const FIRST_BURST: usize = BURST / 10;
/// How many batches of records may be taken beyond one a round after a task began.
const EXTRA_BATCHES: usize = 32;
/// How often the thread reports about itself.
const REPORT_INTERVAL: Duration = Duration::from_millis(250);

pub(crate) struct StreamThread<C: Clients> {
    // Declared, and so dropped, before the clients: queues hold messages of the consumer.
    tasks: Vec<Task<C::Message>>,
    /// For each assigned partition, in the order of the assignment: task and input. Made anew after each change.
    routes: Vec<Option<(usize, usize)>>,
    /// Tasks whose stores are not complete yet.
    pending: Vec<PendingTask>,
    /// Where their stores come from.
    desk: RestoreDesk,
    /// As whom it tells queries of its stores.
    store_owner: StoreOwner,
    /// How the tasks that run were made complete.
    restores: BTreeMap<TaskId, Vec<RestoreProgress>>,
    // Dropped before the consumer, which leaves the group: what waits in it must not follow the records of the next owner.
    producer: C::Producer,
    consumer: C::Consumer,
    membership: Membership,
    shared: Arc<Shared>,
    /// What it runs; when the instance runs another one, the thread ends, and another takes its place.
    program: Arc<Program>,
    place: Arc<ThreadPlace>,
    state: ThreadState,
    commit_clock: CommitClock,
    last_report: Duration,
    /// Whether the records that wait take so much that partitions are paused.
    buffers_are_full: bool,
    /// Batches that may still be taken beyond one a round, so that no task waits until the backlog of another is processed: records come
    /// partition by partition.
    extra_batches: usize,
    /// Whether there was anything to do in the round before: then the next one does not wait for records.
    is_busy: bool,
    /// Whether processing failed: of a record, some may be done, and of its outputs, some sent. Nothing is committed unless all of it is taken back.
    has_half_done: bool,
    counters: LoopCounters,
}

#[derive(Clone, Copy, Debug, Default)]
struct LoopCounters {
    polls: u64,
    poll_time: Duration,
    process_time: Duration,
    rebalances: u64,
}

impl<C: Clients> StreamThread<C> {
    /// Makes the clients, and joins the group.
    ///
    /// # Errors
    /// Those of the clients; `Retry` if the brokers do not answer for too long, or until the application ends.
    pub(crate) fn create(clients: &C, shared: Arc<Shared>, place: Arc<ThreadPlace>) -> Result<Self> {
        let (settings, program) = (&shared.settings, shared.program());
        let client_id = shared.client_id(&place);
        let consumer = clients.group_consumer(
            settings,
            &shared.application_id,
            &format!("{client_id}-consumer"),
            shared.group_instance_id(&place).as_deref(),
        )?;
        let transactional_id = shared.transactional_id(&place);
        let must_end: MustEnd = {
            let (shared, place) = (Arc::clone(&shared), Arc::clone(&place));
            Arc::new(move || shared.must_end(&place))
        };
        let producer = shared.patiently(GIVE_UP_AFTER, || {
            let client_id = format!("{client_id}-producer");
            clients.producer(settings, &client_id, transactional_id.as_deref(), &shared.clock, &must_end)
        })?;
        let membership = Membership::new(Arc::clone(&program.inputs));
        membership.join(&consumer)?;
        let now = shared.clock.monotonic();
        Ok(StreamThread {
            tasks: Vec::new(),
            routes: Vec::new(),
            pending: Vec::new(),
            desk: shared.state_updater.desk(),
            store_owner: shared.stores.new_owner(),
            restores: BTreeMap::new(),
            consumer,
            membership,
            program,
            producer,
            place,
            state: ThreadState::Rebalancing,
            commit_clock: CommitClock::starting_at(now, shared.limits_of_thread()),
            last_report: now,
            buffers_are_full: false,
            extra_batches: 0,
            is_busy: false,
            has_half_done: false,
            counters: LoopCounters::default(),
            shared,
        })
    }

    /// One round of the loop; false, without one, if the thread is to end, or to begin anew with another program.
    ///
    /// # Errors
    /// Whatever the thread cannot go on with: it is to be closed.
    pub(crate) fn step(&mut self) -> Result<bool> {
        if self.shared.must_end(&self.place) || !self.shared.runs(&self.program) {
            return Ok(false);
        }
        match self.round() {
            // What it waited for did not come before the end.
            Err(error) if error.kind() == ErrorKind::Retry && self.shared.must_end(&self.place) => {
                tracing::warn!(%error, "given up because the thread ends");
            }
            outcome => outcome?,
        }
        Ok(true)
    }

    fn round(&mut self) -> Result<()> {
        match self.try_round() {
            Err(error) if error.kind() == ErrorKind::Abortable => {
                self.roll_back(error)?;
                self.is_busy = true;
                self.read_again()
            }
            outcome => outcome,
        }
    }

    fn try_round(&mut self) -> Result<()> {
        self.serve_group()?;
        let fetched = self.fetch()?;
        let restored = self.start_restored()?;
        let processed = self.process();
        self.has_half_done = processed.is_err();
        self.is_busy = fetched + restored + processed? > 0;
        self.commit_if_due()?;
        self.report_if_due();
        Ok(())
    }

    /// The thread runs when its tasks are assigned, and all of them exist.
    fn note_whether_running(&mut self) {
        if self.pending.is_empty() && self.tasks.iter().all(|task| task.state() == TaskState::Running) {
            self.report_state(ThreadState::Running);
        }
    }

    /// Has the stores of a task made complete.
    fn ask_for(&mut self, id: TaskId, starts: Vec<PartitionOffset>) {
        self.show_as_restoring(id);
        let ticket = self.desk.restore(id, starts.clone());
        self.pending.push(PendingTask { id, ticket, starts, restored: None, is_suspended: false });
    }

    fn show_as_restoring(&self, id: TaskId) {
        for store in &self.program.plan_of(id).subtopology.stores {
            self.shared.stores.set(self.store_owner, store, id, StoreStatus::Restoring);
        }
    }

    /// Stops, or resumes, fetching for a task that does not exist yet.
    fn pause(&self, task: &PendingTask, pause: bool) -> Result<()> {
        let mut assigned = self.consumer.assigned().iter().enumerate();
        assigned.try_for_each(|(index, partition)| match task.reads(partition) {
            true => self.consumer.pause(index, pause),
            false => Ok(()),
        })
    }

    /// Takes the wish for a task's stores back.
    fn cancel(&self, task: &PendingTask) {
        self.desk.cancel(task.ticket);
        if !task.is_suspended {
            self.hide_from_queries(task.id);
        }
    }

    /// Takes over what was restored. Returns how many tasks began to run.
    fn start_restored(&mut self) -> Result<usize> {
        while let Some(reply) = self.desk.next() {
            // It may have been given up meanwhile. What was restored is on the disk.
            let Some(task) = self.pending.iter_mut().find(|task| task.ticket == reply.ticket) else {
                continue;
            };
            task.restored = Some(reply.outcome?);
        }
        self.start_complete()
    }

    /// Lets tasks run whose stores are complete, unless they may not be this thread's any more.
    fn start_complete(&mut self) -> Result<usize> {
        let mut started = 0;
        for mut task in std::mem::take(&mut self.pending) {
            match task.restored.take_if(|_| !task.is_suspended) {
                Some(restored) => {
                    self.pause(&task, false)?;
                    self.start(task, restored)?;
                    started += 1;
                }
                None => self.pending.push(task),
            }
        }
        if started > 0 {
            self.route();
            self.note_whether_running();
        }
        Ok(started)
    }

    fn start(&mut self, pending: PendingTask, restored: Restored) -> Result<()> {
        let PendingTask { id, starts, .. } = pending;
        let plan = self.program.plan_of(id);
        let mut task = plan.build(TaskSite {
            id,
            stores: plan.wake(restored.stores, self.shared.background.as_ref()),
            owns: &|topic| starts.iter().any(|start| *start.topic == *topic),
        })?;
        task.become_state(TaskState::Restoring)?;
        for (store, next) in restored.reached {
            task.restored_to(store, next);
        }
        for PartitionOffset { topic, partition, offset } in &starts {
            let queues = task.queues_mut().iter_mut();
            for queue in queues.filter(|queue| (queue.topic(), queue.partition()) == (topic, *partition)) {
                offset.iter().for_each(|offset| queue.starts_at(*offset));
            }
        }
        self.restores.insert(id, restored.restores);
        tracing::debug!(thread = %self.place.name(), task = %id, "its stores are here: the task begins");
        self.tasks.push(task);
        self.extra_batches = EXTRA_BATCHES;
        self.run_task(self.tasks.len() - 1)
    }

    /// Lets a complete task run, and queries see it.
    fn run_task(&mut self, index: usize) -> Result<()> {
        let task = &mut self.tasks[index];
        task.become_state(TaskState::Running)?;
        for store in task.stores().names() {
            if let Some(reader) = task.stores().reader(store) {
                self.shared.stores.set(self.store_owner, store, task.id(), StoreStatus::Open(reader));
            }
        }
        Ok(())
    }

    fn fetch(&mut self) -> Result<usize> {
        let clock = Arc::clone(&self.shared.clock);
        let start = clock.monotonic();
        let has_records =
            || self.tasks.iter().any(|task| task.queues().iter().any(|queue| !queue.is_empty()));
        let wait = if self.is_busy {
            Duration::ZERO
        } else if has_records() {
            // A task waits for its other input; look again soon.
            Duration::from_millis(1)
        } else if !self.pending.is_empty() {
            RESTORE_POLL
        } else {
            POLL.min(self.commit_clock.until_commit(start, &self.shared.settings))
                .min(self.until_due_by_wall_clock())
                .max(Duration::from_millis(1))
        };
        let mut fetched = self.fetch_batch(wait)?;
        let begins = |task: &Task<C::Message>| !task.queues().iter().all(PartitionQueue::has_begun);
        while self.extra_batches > 0 && self.tasks.iter().any(begins) {
            let more = self.fetch_batch(Duration::ZERO)?;
            if more == 0 {
                break;
            }
            self.extra_batches -= 1;
            fetched += more;
        }
        self.note_known_ends();
        self.counters.polls += 1;
        self.counters.poll_time += clock.monotonic().saturating_sub(start);
        self.apply_back_pressure()?;
        Ok(fetched)
    }

    /// A task with several inputs waits until the broker says that one of them has nothing more, which it does by an empty answer to another
    /// fetch. It has told with the last records where the partition ends: who has processed them need not wait for that answer.
    fn note_known_ends(&mut self) {
        let may_be_at_end =
            |queue: &&mut PartitionQueue<_>| queue.is_empty() && queue.has_heard() && !queue.is_caught_up();
        for task in self.tasks.iter_mut().filter(|task| task.queues().len() > 1) {
            for queue in task.queues_mut().iter_mut().filter(may_be_at_end) {
                let end = self.consumer.last_seen_end(queue.topic(), queue.partition());
                if let Some(end) = end.filter(|end| queue.next_offset() >= Some(*end)) {
                    queue.reached_end(end);
                }
            }
        }
    }

    fn fetch_batch(&mut self, wait: Duration) -> Result<usize> {
        let (tasks, routes) = (&mut self.tasks, &self.routes);
        self.consumer.fetch(wait, |assigned, fetched| {
            if let Some(Some((task, input))) = routes.get(assigned) {
                let queue = tasks[*task].queue_mut(*input);
                match fetched {
                    Fetched::Message(message) => queue.push(message),
                    Fetched::EndOfPartition(end) => queue.reached_end(end),
                    Fetched::OutOfRange => return Err(out_of_range(queue.topic(), queue.partition())),
                }
            }
            Ok(())
        })
    }

    /// How long the loop may wait for records before a punctuation or a heartbeat is due. Reads the clock only if there is any.
    fn until_due_by_wall_clock(&self) -> Duration {
        let running = self.tasks.iter().filter(|task| task.state() == TaskState::Running);
        let Some(next) = running.filter_map(Task::next_by_wall_clock).min() else {
            return Duration::MAX;
        };
        let left = next.as_millis().saturating_sub(self.shared.clock.wall_clock().as_millis());
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }

    fn apply_back_pressure(&mut self) -> Result<()> {
        let settings = &self.shared.settings;
        let share = settings.input_buffer_max_bytes / self.shared.threads.len().max(1);
        let buffered: usize = self.tasks.iter().flat_map(Task::queues).map(PartitionQueue::bytes).sum();
        // Room for half again, so that partitions are not paused and resumed all the time.
        self.buffers_are_full = buffered > if self.buffers_are_full { share / 2 } else { share };
        let limit = if self.buffers_are_full { settings.buffered_records_per_partition } else { usize::MAX };
        for route in
            self.routes.iter().enumerate().filter_map(|(index, route)| route.map(|route| (index, route)))
        {
            let (assigned, (task, input)) = route;
            if let Some(pause) = self.tasks[task].queue_mut(input).pause_change(limit) {
                self.consumer.pause(assigned, pause)?;
            }
        }
        Ok(())
    }

    fn process(&mut self) -> Result<usize> {
        let clock = &*self.shared.clock;
        let (start, wall_clock) = (clock.monotonic(), clock.wall_clock());
        let is_running = |task: &Task<C::Message>| task.state() == TaskState::Running;
        let begins = |task: &Task<C::Message>| {
            task.counters().processed == 0 && task.queues().iter().any(|queue| !queue.is_empty())
        };
        let begins = self.tasks.iter().any(|task| is_running(task) && begins(task));
        let burst = if begins { FIRST_BURST } else { BURST };
        let mut processed = 0;
        for task in self.tasks.iter_mut().filter(|task| is_running(task)) {
            processed += task.process(burst, wall_clock, start)?;
            task.deliver(&mut self.producer, start)?;
        }
        self.producer.poll();
        self.counters.process_time += clock.monotonic().saturating_sub(start);
        Ok(processed)
    }

    fn commit_if_due(&mut self) -> Result<()> {
        let shared = &*self.shared;
        self.commit_clock.share(shared.limits_of_thread());
        let now = shared.clock.monotonic();
        if !self.commit_clock.is_due(now, &shared.settings, &self.tasks) {
            return Ok(());
        }
        let committed = self.commit_clock.commit(
            &mut self.tasks,
            &self.consumer,
            &mut self.producer,
            &shared.settings,
            &*shared.clock,
        );
        committed.or_else(|error| self.commit_clock.failed(error, &shared.settings, shared.clock.monotonic()))
    }

    /// Exactly-once: aborts the transaction and brings the running tasks back to their last commit. Others have done nothing yet.
    fn roll_back(&mut self, cause: Error) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        if !shared.settings.is_exactly_once() {
            return Ok(());
        }
        self.producer.abort_transaction()?;
        for (assigned, route) in self.routes.iter().enumerate() {
            let queue = route.map(|(task, input)| self.tasks[task].queue_mut(input));
            if let Some(Some(pause)) = queue.map(|queue| queue.pause_change(usize::MAX)) {
                self.consumer.pause(assigned, pause)?;
            }
        }
        for task in std::mem::take(&mut self.tasks) {
            self.tasks.push(match task.state() {
                TaskState::Running => self.program.plan_of(task.id()).rebuild(task)?,
                _ => task,
            });
        }
        self.has_half_done = false;
        self.commit_clock.aborted(cause, shared.clock.monotonic())
    }

    /// Reads again what the running tasks have not committed.
    fn read_again(&mut self) -> Result<()> {
        let running = self.tasks.iter().filter(|task| task.state() == TaskState::Running);
        let positions: Vec<PartitionOffset> =
            running.flat_map(Task::queues).filter_map(PartitionQueue::place).collect();
        if !self.shared.settings.is_exactly_once() || positions.is_empty() {
            return Ok(());
        }
        #[cfg(test)]
        if mutation::is_set_in_runtime(Mutation::NotReadAgain) {
            return Ok(());
        }
        self.consumer.seek(&positions).map_err(|error| {
            Error::new(ErrorKind::Migrated, "what was not committed cannot be read again").with_source(error)
        })
    }

    /// Ends the thread: commits and checkpoints if all is well and nothing half done, closes stores, leaves the group. What is not
    /// committed is processed again by whoever has the tasks next.
    pub(crate) fn close(mut self, is_well: bool) -> Result<()> {
        let may_commit = is_well && !self.has_half_done;
        #[cfg(test)]
        let may_commit = may_commit || is_well && mutation::is_set_in_runtime(Mutation::HalfDoneCommitted);
        let committed = if may_commit { self.commit_before_giving_up() } else { Ok(false) };
        let (committed, mut outcome) = match committed {
            Ok(committed) => (committed, Ok(())),
            Err(error) => (false, Err(error)),
        };
        if !committed && let Err(error) = self.producer.abort_transaction() {
            // The next producer with its id does it, or the brokers after the transaction timeout.
            tracing::warn!(%error, thread = %self.place.name(), "left its transaction open");
        }
        let tasks = std::mem::take(&mut self.tasks);
        outcome = outcome.and(self.close_tasks(tasks, committed));
        std::mem::take(&mut self.pending).iter().for_each(|task| self.cancel(task));
        self.report();
        // A static member that comes back is given what it had, whatever it subscribes to then.
        if self.place.is_removed() || !self.shared.runs(&self.program) {
            self.consumer.leave_for_good();
        }
        outcome
    }

    fn report_state(&mut self, state: ThreadState) {
        if self.state != state {
            self.state = state;
            self.report();
        }
        self.shared.thread_is(&self.place, state);
    }

    fn report_if_due(&mut self) {
        let now = self.shared.clock.monotonic();
        if now.saturating_sub(self.last_report) >= REPORT_INTERVAL {
            self.last_report = now;
            self.report();
        }
    }

    fn report(&self) {
        let (consumed, produced) = (self.consumer.traffic(), self.producer.traffic());
        let commits = &self.commit_clock;
        let updater = self.shared.state_updater.snapshot();
        let running = self.tasks.iter().map(|task| {
            let restores = self.restores.get(&task.id()).cloned().unwrap_or_default();
            TaskSnapshot::of(task, &self.consumer, restores)
        });
        let pending = self.pending.iter().map(|task| {
            let restores = updater.restoring.get(&task.id).cloned().unwrap_or_default();
            TaskSnapshot::pending(task, restores)
        });
        self.place.tell(ThreadSnapshot {
            name: Arc::clone(self.place.name()),
            state: self.state,
            records_consumed: consumed.records,
            bytes_consumed: consumed.bytes,
            records_produced: produced.records,
            bytes_produced: produced.bytes,
            polls: self.counters.polls,
            poll_time: self.counters.poll_time,
            process_time: self.counters.process_time,
            commits: commits.commits,
            commit_time: commits.time,
            commit_time_in_stores: commits.time_in_stores,
            commit_time_for_kafka: commits.time_for_kafka,
            last_commit_time: commits.last_time,
            transactions_committed: commits.transactions.committed,
            transactions_aborted: commits.transactions.aborted,
            transaction_time: commits.transactions.time,
            rebalances: self.counters.rebalances,
            failures: commits.failures,
            restarts: self.place.restarts(),
            tasks: running.chain(pending).collect(),
        });
    }
}

impl<C: Clients> Drop for StreamThread<C> {
    /// After a panic nobody has closed the tasks. Readers would hold their directories, and show what is no longer kept up.
    fn drop(&mut self) {
        self.tasks.iter().for_each(|task| self.hide_from_queries(task.id()));
        self.pending.iter().for_each(|task| self.cancel(task));
    }
}
