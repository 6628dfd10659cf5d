//! The thread of the global tables (Kafka Streams' `GlobalStreamThread`): one task that reads all partitions of their topics, completes
//! before any stream thread starts, and goes on until all of them have ended.
//!
//! ```text
//! open ─> decide where to begin in each partition ─> read to the ends ─> complete ─> read on ... ─> checkpoint, close
//!                                                                          └─> the stream threads start
//! ```
//! It is a task as any other, and a restore is nothing else than processing: so a record that cannot be read meets the same handler at a
//! restart as when it arrived. It sends nothing and belongs to no group; its position in the topics is kept beside its rows, and what
//! it processes is visible at once.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use millstream_state_stores::{DormantStores, LogPosition, Offset, PartitionId, StoreIndex, Timestamp};
use tracing::{info, warn};

use super::commit::CommitClock;
use super::life::panic_message;
use super::shared::{GIVE_UP_AFTER, Shared};
use super::snapshot::TaskSnapshot;
use super::state_updater::{LogFacts, RebuildReason, RestoreDecision, RestoreProgress, decide};
use crate::clients::{Consumer, Fetched, PartitionOffset, out_of_range};
use crate::error::{Error, Result};
use crate::kafka::KafkaConsumer;
use crate::membership::TopicPartition;
use crate::query::{StoreOwner, StoreStatus};
use crate::task::{InputMessage, PartitionQueue, Recency, Task, TaskPlan, TaskSite, TaskState};

/// Longest wait for records; bounds how late a request to end is noticed.
const POLL: Duration = Duration::from_millis(100);
/// How often the thread reports about itself.
const REPORT_INTERVAL: Duration = Duration::from_millis(250);

/// The running thread. It outlives the stream threads, which read what it keeps.
pub(super) struct GlobalThread {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl GlobalThread {
    /// Starts the thread with the plan of its task.
    ///
    /// # Errors
    /// `Fatal` if the operating system has no more threads to give.
    pub(super) fn start(shared: &Arc<Shared>, plan: TaskPlan) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, shared) = (Arc::clone(&stop), Arc::clone(shared));
        let thread = std::thread::Builder::new()
            .name(format!("{}-GlobalStreamThread", shared.application_id))
            .spawn(move || run(&shared, &plan, &told))
            .map_err(|error| {
                Error::fatal("cannot start the thread of the global tables").with_source(error)
            })?;
        Ok(GlobalThread { stop, thread })
    }

    /// Ends it, once no stream thread reads the tables any more.
    pub(super) fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            warn!("the thread of the global tables panicked while it ended");
        }
    }
}

fn run(shared: &Arc<Shared>, plan: &TaskPlan, stop: &AtomicBool) {
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let client_id = format!("{}-global-consumer", shared.application_id);
        let consumer = KafkaConsumer::for_global_tables(&shared.settings, &client_id)?;
        GlobalTask::open(shared, plan, consumer)?.live(stop)
    }));
    let failure = match ended {
        Ok(Ok(())) => return,
        Ok(Err(failure)) => failure,
        Err(panic) => Error::fatal(format!("panicked: {}", panic_message(&*panic))),
    };
    // What it waited for did not come before the end.
    if !shared.is_stopping() {
        shared.part_fails("the thread of the global tables failed", failure);
    }
}

/// The task, and the consumer it reads with.
struct GlobalTask<'a, C: Consumer>
where
    C::Message: InputMessage,
{
    // Declared, and so dropped, before the consumer: queues hold its messages.
    task: Task<C::Message>,
    /// By assigned partition: the queue.
    routes: Vec<Option<usize>>,
    consumer: C,
    shared: &'a Arc<Shared>,
    plan: &'a TaskPlan,
    store_owner: StoreOwner,
    /// By queue: where it began, and where its partition ended then.
    bounds: Vec<(Offset, Offset)>,
    /// By queue: how many records were fetched.
    fetched: Vec<u64>,
    /// Of the tables that had something to read.
    restores: Vec<RestoreProgress>,
    commit_clock: CommitClock,
    last_report: Duration,
    /// When it was asked last where the topics end.
    ends_asked_at: Timestamp,
}

impl<'a, C: Consumer> GlobalTask<'a, C>
where
    C::Message: InputMessage,
{
    /// Opens the stores, and points the consumer at what they lack.
    ///
    /// # Errors
    /// If the directory cannot be opened, or the cluster does not answer for too long.
    fn open(shared: &'a Arc<Shared>, plan: &'a TaskPlan, mut consumer: C) -> Result<Self> {
        let id = plan.global_task();
        let mut stores = plan
            .open_stores(id, Some(&shared.directory), &shared.memory)
            .map_err(|error| Error::from(error).in_task(id))?;
        let begins = begin(shared, plan, &mut stores, &consumer)?;
        let stores = plan.wake(stores, shared.background.as_ref());
        let mut task: Task<C::Message> = plan.build(TaskSite { id, stores, owns: &|_| true })?;
        task.become_state(TaskState::Restoring)?;
        let store_owner = shared.stores.new_owner();
        for store in &plan.subtopology.stores {
            shared.stores.set(store_owner, store, id, StoreStatus::Restoring);
        }
        let of_queue = |queue: &PartitionQueue<C::Message>| {
            begins.get(&(Arc::clone(queue.topic()), queue.partition())).copied()
        };
        let begins: Vec<Begin> = task.queues().iter().filter_map(of_queue).collect();
        begins.iter().enumerate().for_each(|(input, begin)| task.begins_as(input, begin.recency));
        let bounds: Vec<(Offset, Offset)> = begins.iter().map(|begin| (begin.from, begin.end)).collect();
        let starts: Vec<PartitionOffset> = task
            .queues_mut()
            .iter_mut()
            .zip(&bounds)
            .map(|(queue, (start, _))| {
                queue.starts_at(*start);
                PartitionOffset {
                    topic: Arc::clone(queue.topic()),
                    partition: queue.partition(),
                    offset: Some(*start),
                }
            })
            .collect();
        consumer.assign(&starts)?;
        let queue_of = |(topic, partition): &(Arc<str>, i32)| {
            task.queues().iter().position(|queue| queue.topic() == topic && queue.partition() == *partition)
        };
        let routes = consumer.assigned().iter().map(queue_of).collect();
        let now = shared.clock.monotonic();
        let limits = shared.limits_of_thread();
        let fetched = vec![0; bounds.len()];
        Ok(GlobalTask {
            restores: restores_of(plan, &task, &bounds, &fetched),
            task,
            routes,
            consumer,
            shared,
            plan,
            store_owner,
            bounds,
            fetched,
            commit_clock: CommitClock::starting_at(now, limits),
            last_report: now,
            ends_asked_at: shared.clock.wall_clock(),
        })
    }

    /// Completes the tables and keeps them up, until it is told to stop. After a failure their rows stay readable until then: the
    /// stream threads end by themselves, and not by what they miss.
    fn live(mut self, stop: &AtomicBool) -> Result<()> {
        self.restores.iter().for_each(|progress| self.tell(progress));
        let ran = self.read_until(stop);
        if let Err(failure) = ran {
            self.shared.part_fails("the thread of the global tables failed", failure);
            while !stop.load(Ordering::Relaxed) {
                self.shared.clock.sleep(POLL);
            }
            return Ok(());
        }
        self.shared.stores.remove_task(self.store_owner, self.task.id());
        self.commit_clock.commit_locally(&mut self.task, &self.shared.settings, &*self.shared.clock)?;
        self.task.checkpoint()?;
        self.task.become_state(TaskState::Closed)?;
        self.task.into_stores().close().map_err(Error::from)
    }

    fn read_until(&mut self, stop: &AtomicBool) -> Result<()> {
        self.complete_if_read()?;
        self.report();
        while !stop.load(Ordering::Relaxed) && !self.is_given_up() {
            self.round()?;
        }
        Ok(())
    }

    /// Whether the application ends before the tables were complete, so that nobody reads them.
    fn is_given_up(&self) -> bool {
        self.task.state() == TaskState::Restoring && self.shared.is_stopping()
    }

    fn round(&mut self) -> Result<()> {
        let shared = self.shared;
        let clock = &*shared.clock;
        // Nobody assigns partitions to a consumer without a group; this only serves the client.
        self.consumer.poll_group()?;
        let (task, routes, counts) = (&mut self.task, &self.routes, &mut self.fetched);
        self.consumer.fetch(POLL, |assigned, fetched| {
            if let Some(Some(queue)) = routes.get(assigned) {
                match fetched {
                    Fetched::Message(message) => {
                        counts[*queue] += 1;
                        task.queue_mut(*queue).push(message);
                    }
                    Fetched::EndOfPartition(end) => task.queue_mut(*queue).reached_end(end),
                    Fetched::OutOfRange => {
                        let queue = task.queue_mut(*queue);
                        return Err(out_of_range(queue.topic(), queue.partition()));
                    }
                }
            }
            Ok(())
        })?;
        let now = clock.monotonic();
        self.task.process(usize::MAX, clock.wall_clock(), now)?;
        // Until the tables are complete nobody reads them, and few large commits are cheaper.
        let is_due = self.task.state() == TaskState::Running
            || self.commit_clock.is_due(now, &shared.settings, slice::from_ref(&self.task));
        if is_due {
            self.commit_clock.commit_locally(&mut self.task, &shared.settings, clock)?;
        }
        if self.task.state() == TaskState::Restoring {
            self.complete_if_read()?;
        }
        if now.saturating_sub(self.last_report) >= REPORT_INTERVAL {
            self.last_report = now;
            self.look_at_ends();
            self.report();
        }
        Ok(())
    }

    /// Takes note of how recent the tables are. Where their topics end is asked now and then: a client that is cut off goes on to say what it
    /// knew last.
    fn look_at_ends(&mut self) {
        // Before the ends are asked for: what comes behind them is younger.
        let now = self.shared.clock.wall_clock();
        let is_time = LogPosition::is_worth_renewing(Some(self.ends_asked_at), Some(now));
        if is_time {
            self.ends_asked_at = now;
        }
        let consumer = &self.consumer;
        let end_of = |topic: &str, partition| {
            let bounds = is_time.then(|| consumer.log_bounds(topic, partition));
            bounds.and_then(|bounds| bounds.ok()).map(|(_, end)| end)
        };
        self.task.look_at_ends(end_of, now);
    }

    /// Takes note of the progress; at its end lets queries and tasks see the tables.
    fn complete_if_read(&mut self) -> Result<()> {
        let restores = restores_of(self.plan, &self.task, &self.bounds, &self.fetched);
        let before = std::mem::replace(&mut self.restores, restores);
        let changed = self.restores.iter().zip(&before).filter(|(now, before)| now.next != before.next);
        changed.for_each(|(progress, _)| self.tell(progress));
        if !self.restores.iter().all(RestoreProgress::is_complete) {
            return Ok(());
        }
        let shared = self.shared;
        self.commit_clock.commit_locally(&mut self.task, &shared.settings, &*shared.clock)?;
        self.task.become_state(TaskState::Running)?;
        for store in &self.plan.subtopology.stores {
            if let Some(rows) = self.task.stores().reader(store) {
                self.plan.globals.complete(store, Arc::clone(&rows));
                shared.stores.set(self.store_owner, store, self.task.id(), StoreStatus::Open(rows));
            }
        }
        info!(application = %shared.application_id, stores = ?self.plan.subtopology.stores, "the global tables are complete");
        shared.global_tables_are_complete();
        Ok(())
    }

    fn tell(&self, progress: &RestoreProgress) {
        if let Some(listener) = &self.shared.restore_listener {
            listener(progress);
        }
    }

    fn report(&self) {
        let snapshot = TaskSnapshot::of(&self.task, &self.consumer, self.restores.clone());
        self.shared.global_snapshot.store(Some(Arc::new(snapshot)));
    }
}

/// Where to begin in a partition.
#[derive(Clone, Copy)]
struct Begin {
    from: Offset,
    /// Where the partition ends now.
    end: Offset,
    recency: Recency,
}

fn say_rebuilt(topic: &str, reason: RebuildReason) {
    warn!(topic, "a global table is read again from the start of its topic: {reason}");
}

/// Where to begin in each partition of the tables' topics. A table whose rows are not of the topic as
/// it is now is emptied, and begins at the start of all partitions.
fn begin<C: Consumer>(
    shared: &Shared,
    plan: &TaskPlan,
    stores: &mut DormantStores,
    consumer: &C,
) -> Result<BTreeMap<TopicPartition, Begin>> {
    let program = shared.program();
    let mut all = BTreeMap::new();
    for (table, topic, partitions) in plan.global_sources() {
        if let Some(id) = program.topics.changelog_ids.get(&*topic)
            && stores.set_changelog(table, *id)?
        {
            say_rebuilt(&topic, RebuildReason::OfAnotherTopic);
        }
        let mut found = Vec::new();
        for partition in 0..partitions {
            // Before the end is asked for: what comes behind it is younger.
            let now = shared.clock.wall_clock();
            let (start, end) = shared.patiently(GIVE_UP_AFTER, || consumer.log_bounds(&topic, partition))?;
            let keeps_tombstones = program.topics.keep_tombstones.get(&*topic).copied();
            let log =
                LogFacts { start, end, newest_end: end, is_transactional: false, keeps_tombstones, now };
            let stored = stores.source_position(table, PartitionId::new(partition))?;
            found.push((partition, stored, decide(stored, &log), log));
        }
        let rebuild = found.iter().find_map(|(_, _, decision, _)| match decision {
            RestoreDecision::Rebuild { reason, .. } => Some(*reason),
            _ => None,
        });
        rebuild.iter().for_each(|reason| say_rebuilt(&topic, *reason));
        let begins_anew = rebuild.is_some() || found.iter().all(|(_, stored, ..)| stored.is_none());
        if begins_anew {
            // Rows without a position are of a start that did not come far, whenever that was.
            stores.wipe(table)?;
        }
        all.extend(found.into_iter().map(|(partition, stored, decision, log)| {
            let from = if begins_anew { log.start } else { decision.begins_at(&log) };
            let before = stored.filter(|_| !begins_anew).map(|stored| Recency::new(stored.as_of));
            let recency = log.recency_at(from, before);
            ((Arc::clone(&topic), partition), Begin { from, end: log.end, recency })
        }));
    }
    Ok(all)
}

/// How far each table is that had something to read: the sums over the partitions of its topic.
fn restores_of<M: InputMessage>(
    plan: &TaskPlan,
    task: &Task<M>,
    bounds: &[(Offset, Offset)],
    fetched: &[u64],
) -> Vec<RestoreProgress> {
    let sum = |offsets: &mut dyn Iterator<Item = Offset>| Offset::new(offsets.map(Offset::get).sum());
    let progress = |(place, store): (usize, &String)| {
        let table = StoreIndex::new(place);
        let of_table: Vec<usize> =
            (0..task.queues().len()).filter(|input| task.table_of(*input) == Some(table)).collect();
        let next = |input: usize| {
            let (start, end) = bounds[input];
            task.queues()[input].next_offset().map_or(start, |next| next.min(end))
        };
        RestoreProgress {
            task: plan.global_task(),
            store: store.as_str().into(),
            from: sum(&mut of_table.iter().map(|input| bounds[*input].0)),
            next: sum(&mut of_table.iter().map(|input| next(*input))),
            end: sum(&mut of_table.iter().map(|input| bounds[*input].1)),
            records: of_table.iter().map(|input| fetched[*input]).sum(),
            left_out: 0,
        }
    };
    let tables = plan.subtopology.stores.iter().enumerate().map(progress);
    tables.filter(|progress| progress.from < progress.end).collect()
}
