//! The loop of the state updater: takes requests, opens, plans, reads, applies and hands back, a little of each in every turn.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use millstream_state_stores::TaskId;
use tracing::{info, warn};

use super::group_watch::{GroupView, GroupWatch, group_view};
use super::progress::UpdaterSnapshot;
use super::reader::{ChangelogReader, Wanted};
use super::requests::{Order, Reply, Request, Restored, Ticket};
use super::standbys::Standbys;
use super::task::{PAUSE, TaskInCare, open_all};
use crate::clients::Clients;
use crate::error::{Error, Result};
use crate::runtime::Shared;
use crate::runtime::life::panic_message;
use crate::runtime::shutdown_request::process_that_asks;

/// Longest wait for the records of a restore; bounds how long its neighbours wait for their turn.
const RESTORE_WAIT: Duration = Duration::from_millis(10);
/// Longest wait for the records of standbys; bounds how late a promotion is noticed.
const STANDBY_WAIT: Duration = Duration::from_millis(20);
/// Longest wait for a request when there is nothing to do.
const IDLE_WAIT: Duration = Duration::from_millis(100);
/// How long new tasks may be opened for before those that are open are read on.
const PREPARE_TIME: Duration = Duration::from_millis(100);
const REPORT_INTERVAL: Duration = Duration::from_millis(250);
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The body of the state updater's thread. A panic is the application's failure.
pub(crate) fn run<C: Clients>(clients: C, shared: &Arc<Shared>) {
    let body = || UpdaterLoop::new(clients, group_view(shared), Arc::clone(shared)).run();
    let outcome = catch_unwind(AssertUnwindSafe(body));
    if let Err(panic) = outcome {
        shared.part_fails(
            "the state updater failed",
            Error::fatal(format!("the state updater panicked: {}", panic_message(&*panic))),
        );
    }
}

/// See the module's description.
pub(crate) struct UpdaterLoop<C: Clients> {
    tasks: BTreeMap<TaskId, TaskInCare>,
    reader: ChangelogReader<C>,
    /// Whether the reader is to be pointed at what is wanted now.
    is_astray: bool,
    /// Whether the reader reads for stream threads that wait; else for standbys.
    is_restoring: bool,
    group: GroupWatch,
    standbys: Standbys,
    /// Whether the group was seen when standbys could not be placed, because somebody waited.
    is_unplaced: bool,
    clients: C,
    shared: Arc<Shared>,
    requests: Receiver<Request>,
    promotions: u64,
    last_report: Duration,
    last_log: Duration,
}

impl<C: Clients> UpdaterLoop<C> {
    /// # Panics
    /// If the instance has one already.
    pub(crate) fn new(clients: C, group: GroupView, shared: Arc<Shared>) -> Self {
        let now = shared.clock.monotonic();
        UpdaterLoop {
            tasks: BTreeMap::new(),
            reader: ChangelogReader::new(
                Arc::clone(&shared.application_id),
                format!("{}-{}-restore-consumer", shared.application_id, shared.process_id()),
            ),
            is_astray: false,
            is_restoring: false,
            group: GroupWatch::new(group, now),
            standbys: Standbys::default(),
            is_unplaced: false,
            clients,
            requests: shared.state_updater.take_inbox().expect("an instance has one state updater"),
            shared,
            promotions: 0,
            last_report: now,
            last_log: now,
        }
    }

    fn run(mut self) {
        while !self.shared.is_stopping() {
            let is_busy = self.turn();
            if !is_busy && self.reader.len() == 0 {
                self.await_request();
            }
        }
        self.close();
    }

    /// Nothing is read, so that only a request, or time, brings more to do.
    fn await_request(&mut self) {
        let wait = if self.tasks.is_empty() { IDLE_WAIT } else { PAUSE };
        // That nobody asked is as good an end as any; that nobody can any more does not happen, because this holds `shared`.
        if let Ok(request) = self.requests.recv_timeout(wait) {
            self.take(request);
        }
    }

    /// A little of everything there is to do; says whether there was anything. Waits only for records, and not for long.
    pub(crate) fn turn(&mut self) -> bool {
        let now = self.shared.clock.monotonic();
        let asked = self.take_requests();
        if !self.follow_group(now) {
            return false;
        }
        let prepared = self.prepare();
        let answered = self.hand_back();
        let read = self.read();
        let answered = self.hand_back() || answered;
        self.checkpoint_standbys(now);
        self.report(now, asked || prepared || answered);
        asked || prepared || answered || read > 0
    }

    fn take_requests(&mut self) -> bool {
        let mut any = false;
        while let Ok(request) = self.requests.try_recv() {
            self.take(request);
            any = true;
        }
        any
    }

    fn take(&mut self, request: Request) {
        let now = self.shared.clock.monotonic();
        match request {
            Request::Restore(order, id) => self.take_order(id, order, now),
            Request::Cancel(ticket) => self.cancel(ticket),
            Request::Rebalanced => self.group.look_now(now),
        }
    }

    fn take_order(&mut self, id: TaskId, order: Order, now: Duration) {
        // Before it is answered: what made an instance ask all of them to end must not go on here.
        self.group.look_now(now);
        self.is_astray = true;
        self.standbys.became_active(id);
        match self.tasks.get_mut(&id) {
            Some(task) => {
                if task.is_standby() {
                    info!(task = %id, "the standby becomes active");
                    self.promotions += 1;
                }
                task.promote(order, now);
            }
            None => {
                self.tasks.insert(id, TaskInCare::ordered(id, order, now));
            }
        }
    }

    fn cancel(&mut self, ticket: Ticket) {
        let cancelled = self.tasks.values().find(|task| task.answers(ticket)).map(TaskInCare::id);
        if let Some(task) = cancelled.and_then(|id| self.tasks.remove(&id)) {
            self.is_astray = true;
            task.close();
        }
    }

    /// Looks at the group if it is time. False if all instances are asked to end: then nothing is handed out any more.
    ///
    /// Standbys begin and end as the group has it, but not while somebody waits, who is to have all of this thread's time. Afterwards it is
    /// looked at anew: what has been handed out meanwhile is active here.
    fn follow_group(&mut self, now: Duration) -> bool {
        let may_place = self.tasks.values().all(TaskInCare::is_standby);
        if may_place && std::mem::take(&mut self.is_unplaced) {
            self.group.look_now(now);
        }
        if let Some(group) = self.group.look_if_due(now) {
            if let Some(process) = process_that_asks(&self.shared.application_id, &group.members) {
                self.shared.shutdown_requested_by(process);
                return false;
            }
            if !may_place {
                self.is_unplaced = true;
            } else if self.standbys.place(&self.shared, &group) {
                self.give_up_standbys();
            } else {
                self.group.look_again(now);
            }
        }
        if may_place {
            for id in self.standbys.due(now) {
                self.tasks.entry(id).or_insert_with(|| TaskInCare::standby(id, now));
            }
        }
        true
    }

    fn give_up_standbys(&mut self) {
        let given_up: Vec<TaskId> =
            self.tasks.keys().copied().filter(|id| !self.standbys.keeps(*id)).collect();
        for task in given_up.iter().filter_map(|id| self.tasks.remove(id)) {
            info!(task = %task.id(), "the standby moves to another instance");
            self.is_astray = true;
            task.close();
        }
    }

    /// Opens and plans those that are not yet, the ones that somebody waits for first.
    fn prepare(&mut self) -> bool {
        let start = self.shared.clock.monotonic();
        let (standbys, active): (Vec<TaskId>, Vec<TaskId>) =
            self.tasks.keys().copied().partition(|id| self.tasks[id].is_standby());
        let mut any = false;
        for ids in [active, standbys].concat().chunks(self.shared.directory.opens_at_once()) {
            let now = self.shared.clock.monotonic();
            if now.saturating_sub(start) > PREPARE_TIME {
                break;
            }
            self.open(ids, now);
            for id in ids {
                let Some(task) = self.tasks.get_mut(id) else { continue };
                match task.plan(&mut self.reader, &self.clients, &self.shared, now) {
                    Ok(is_followed) => any |= is_followed,
                    Err(error) => self.fail(*id, error),
                }
            }
        }
        self.is_astray |= any;
        any
    }

    /// Opens those of these that are not yet, side by side.
    fn open(&mut self, ids: &[TaskId], now: Duration) {
        let is_to_open = |id: &TaskId| self.tasks.get(id).is_some_and(|task| task.is_to_open(now));
        let ids: Vec<TaskId> = ids.iter().copied().filter(is_to_open).collect();
        for (id, outcome) in ids.iter().zip(open_all(&ids, &self.shared)) {
            let Some(task) = self.tasks.get_mut(id) else { continue };
            if let Err(error) = task.opened(outcome, &self.shared, now) {
                self.fail(*id, error);
            }
        }
    }

    /// Gives complete stores to those who wait for them.
    fn hand_back(&mut self) -> bool {
        let complete: Vec<TaskId> =
            self.tasks.values().filter(|task| task.is_complete()).map(TaskInCare::id).collect();
        for id in &complete {
            let answer = self.tasks.remove(id).and_then(TaskInCare::into_answer);
            if let Some((order, outcome)) = answer {
                answer_to(order, outcome);
            }
        }
        !complete.is_empty()
    }

    fn fail(&mut self, id: TaskId, error: Error) {
        self.is_astray = true;
        match self.tasks.remove(&id).map(|task| task.fail(error)) {
            Some(Some((order, error))) => answer_to(order, Err(error)),
            Some(None) => self.standbys.failed(id, self.shared.clock.monotonic()),
            None => {}
        }
    }

    /// Reads and applies one batch. Returns how many records there were.
    fn read(&mut self) -> usize {
        let fetched = match self.point_and_fetch() {
            Ok(fetched) => fetched,
            Err(error) => {
                self.cannot_read(error);
                return 0;
            }
        };
        let mut failed = Vec::new();
        for reading in self.reader.fetched() {
            if let Some(task) = self.tasks.get_mut(&reading.task) {
                match task.apply(reading, &self.shared) {
                    // What the reader fetched of it next would be thrown away.
                    Ok(wants_no_more) => self.is_astray |= wants_no_more,
                    Err(error) => failed.push((reading.task, error)),
                }
            }
            reading.clear();
        }
        failed.into_iter().for_each(|(id, error)| self.fail(id, error));
        let now = self.shared.clock.monotonic();
        for id in self.reader.out_of_range() {
            self.is_astray = true;
            self.tasks.entry(id).and_modify(|task| task.plan_again(now));
        }
        fetched
    }

    fn point_and_fetch(&mut self) -> Result<usize> {
        // Standbys wait while somebody waits: so they take nothing from him, and an error in reading is not of their making.
        let is_restoring = self.tasks.values().any(|task| !task.is_standby() && task.is_reading());
        let is_mostly_done = || is_restoring && 2 * self.wanted(true).count() <= self.reader.len();
        if self.is_astray || self.is_restoring != is_restoring || is_mostly_done() {
            let wanted: Vec<Wanted> = self.wanted(is_restoring).collect();
            if self.tasks.is_empty() {
                self.reader.rest();
            } else if self.reader.len() + wanted.len() > 0 {
                self.reader.read(&self.clients, &self.shared.settings, wanted)?;
            }
            self.is_astray = false;
            self.is_restoring = is_restoring;
        }
        self.reader.fetch(if is_restoring { RESTORE_WAIT } else { STANDBY_WAIT })
    }

    /// What is to be read for stream threads that wait, or for standbys.
    fn wanted(&self, is_restoring: bool) -> impl Iterator<Item = Wanted> {
        let tasks = self.tasks.values().filter(move |task| task.is_standby() != is_restoring);
        tasks.flat_map(TaskInCare::wanted)
    }

    /// All that were being read fail: the consumer does not say for whose sake it does.
    fn cannot_read(&mut self, error: Error) {
        let is_standby = !self.is_restoring;
        warn!(%error, is_standby, "changelogs cannot be read");
        self.reader.rest();
        self.is_astray = true;
        let kind = error.kind();
        let cause = Arc::new(error);
        let were_read =
            self.tasks.values().filter(|task| task.is_standby() == is_standby && task.is_reading());
        let were_read: Vec<TaskId> = were_read.map(TaskInCare::id).collect();
        for id in were_read {
            let error = Error::new(kind, "a changelog cannot be read").with_source(Arc::clone(&cause));
            self.fail(id, error);
        }
    }

    fn checkpoint_standbys(&mut self, now: Duration) {
        let mut failed = Vec::new();
        for task in self.tasks.values_mut() {
            if let Err(error) = task.checkpoint_if_due(&self.shared, now) {
                failed.push((task.id(), error));
            }
        }
        failed.into_iter().for_each(|(id, error)| self.fail(id, error));
    }

    fn report(&mut self, now: Duration, has_changed: bool) {
        if !has_changed && now.saturating_sub(self.last_report) < REPORT_INTERVAL {
            return;
        }
        self.last_report = now;
        let mut snapshot = UpdaterSnapshot { promotions: self.promotions, ..UpdaterSnapshot::default() };
        for (id, task) in &self.tasks {
            let progress = task.progress(|topic, partition| self.reader.last_seen_end(topic, partition));
            let kind = if task.is_standby() { &mut snapshot.standbys } else { &mut snapshot.restoring };
            kind.insert(*id, progress);
        }
        if now.saturating_sub(self.last_log) >= LOG_INTERVAL {
            self.last_log = now;
            log_progress(&snapshot);
        }
        self.shared.state_updater.publish(snapshot);
    }

    /// Closes all stores that are here.
    pub(crate) fn close(mut self) {
        self.take_requests();
        std::mem::take(&mut self.tasks).into_values().for_each(TaskInCare::close);
        self.shared.state_updater.publish(UpdaterSnapshot::default());
    }
}

fn answer_to(order: Order, outcome: Result<Restored>) {
    let reply = Reply { ticket: order.ticket, outcome };
    if let Err(refused) = order.reply_to.send(reply) {
        // The thread has ended meanwhile. Everything is on the disk.
        drop(refused.0);
    }
}

fn log_progress(snapshot: &UpdaterSnapshot) {
    for progress in snapshot.restoring.values().flatten().filter(|progress| !progress.is_complete()) {
        let (done, all) =
            (progress.next.get() - progress.from.get(), progress.end.get() - progress.from.get());
        info!(task = %progress.task, store = %progress.store, done, all, "restoring: {} %", done * 100 / all.max(1));
    }
}
