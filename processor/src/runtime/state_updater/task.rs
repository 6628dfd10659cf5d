//! One task in the care of the state updater: its stores, and how far they are.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;
use std::{iter, thread};

use millstream_state_stores::{DormantStores, LogPosition, Offset, StoreIndex, TaskId, Timestamp};
use tracing::{debug, info, warn};

use super::decide::{LogFacts, RebuildReason, RestoreDecision, decide};
use super::left_out::leave_out;
use super::progress::RestoreProgress;
use super::reader::{ChangelogReader, Reading, Wanted};
use super::requests::{Order, Restored, Ticket};
use crate::clients::Clients;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::Shared;
use crate::runtime::shared::GIVE_UP_AFTER;
use crate::task::{InputMessage, Recency, RestoredFrom};
#[cfg(test)]
use crate::testing::simulation::mutation::{self, Mutation};
use crate::topology::{EncodedRow, RawRecord};

/// How long after something that can pass it is tried again, at first.
pub(super) const PAUSE: Duration = Duration::from_millis(20);
/// How long at most; a standby always.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// See the module's description.
///
/// ```text
///  ─> Opening ─> Planning ─> Following ─> handed back, when an active task has reached the ends
///                   ^            │
///                   └────────────┘        promoted, or out of the log's range; a standby goes on
/// ```
/// It may be cancelled, or fail, at any point.
pub(super) struct TaskInCare {
    id: TaskId,
    role: Role,
    stage: Stage,
    /// Since when it is in this stage.
    since: Duration,
    retry_at: Duration,
    /// Whether something has to pass first, which was said.
    is_held_up: bool,
    /// Whether it was said what it follows.
    is_told: bool,
    /// When a standby was last brought to the disk.
    flushed_at: Duration,
    recencies: Recencies,
}

/// By store: how recent it is.
type Recencies = BTreeMap<StoreIndex, Recency>;

/// For whom the stores are.
enum Role {
    /// A stream thread of this instance waits for them.
    Active(Order),
    /// Nobody yet: the task runs elsewhere.
    Standby,
}

/// How far they are.
#[derive(Default)]
enum Stage {
    /// Not open; somebody may still have the directory.
    #[default]
    Opening,
    /// Open; what they miss is to be asked for.
    Planning(DormantStores),
    /// Their changelogs are being read.
    Following(DormantStores, Vec<Followed>),
}

/// A changelog, and how far its store is.
struct Followed {
    store: StoreIndex,
    from: RestoredFrom,
    progress: RestoreProgress,
}

impl Followed {
    /// Whether it is read up to what the application has committed of it, and no further.
    fn is_input(&self) -> bool {
        self.from.rows.is_some()
    }

    /// Whether there is more to be read of it: for a standby, a changelog has no end.
    fn is_wanted(&self, by_standby: bool) -> bool {
        by_standby && !self.is_input() || !self.progress.is_complete()
    }
}

impl TaskInCare {
    pub(super) fn ordered(id: TaskId, order: Order, now: Duration) -> Self {
        TaskInCare::new(id, Role::Active(order), now)
    }

    pub(super) fn standby(id: TaskId, now: Duration) -> Self {
        TaskInCare::new(id, Role::Standby, now)
    }

    fn new(id: TaskId, role: Role, now: Duration) -> Self {
        TaskInCare {
            id,
            role,
            stage: Stage::Opening,
            since: now,
            retry_at: now,
            is_held_up: false,
            is_told: false,
            flushed_at: now,
            recencies: Recencies::new(),
        }
    }

    pub(super) fn id(&self) -> TaskId {
        self.id
    }

    pub(super) fn is_standby(&self) -> bool {
        matches!(self.role, Role::Standby)
    }

    /// Whether this is what a stream thread asked for under the ticket.
    pub(super) fn answers(&self, ticket: Ticket) -> bool {
        matches!(&self.role, Role::Active(order) if order.ticket == ticket)
    }

    /// From now on somebody waits for it. The end to be reached is the one that its changelogs have from here on, because only now nobody
    /// else writes to them.
    pub(super) fn promote(&mut self, order: Order, now: Duration) {
        self.role = Role::Active(order);
        self.retry_at = now;
        #[cfg(test)]
        if mutation::is_set_in_runtime(Mutation::PromotedWithoutTail) {
            return self.take_for_complete();
        }
        self.plan_again(now);
    }

    /// Asks anew where its changelogs begin and end. Also if what comes next of one was deleted, which retention does to those of windows.
    pub(super) fn plan_again(&mut self, now: Duration) {
        let stage = match std::mem::take(&mut self.stage) {
            Stage::Following(stores, _) => Stage::Planning(stores),
            earlier => earlier,
        };
        self.enter(stage, now);
    }

    /// A mistake to be found: the copy is taken for complete as it is.
    #[cfg(test)]
    fn take_for_complete(&mut self) {
        if let Stage::Following(_, changelogs) = &mut self.stage {
            changelogs.iter_mut().for_each(|followed| followed.progress.end = followed.progress.next);
        }
    }

    fn enter(&mut self, stage: Stage, now: Duration) {
        self.stage = stage;
        self.since = now;
        self.is_held_up = false;
    }

    /// Whether its stores are to be opened now.
    pub(super) fn is_to_open(&self, now: Duration) -> bool {
        matches!(self.stage, Stage::Opening) && self.retry_at <= now
    }

    /// Takes its stores, which were [opened](open_all).
    ///
    /// # Errors
    /// As [`TaskInCare::plan`].
    pub(super) fn opened(
        &mut self,
        outcome: Result<DormantStores>,
        shared: &Shared,
        now: Duration,
    ) -> Result<()> {
        match outcome {
            Ok(stores) => {
                self.enter(Stage::Planning(stores), now);
                Ok(())
            }
            Err(error) => self.try_again_after(error, shared, now),
        }
    }

    /// Finds out what its open stores miss, as far as that is possible now. Returns whether they came to be followed.
    ///
    /// # Errors
    /// Whatever cannot pass, or did not within the time. Then the task is of no use any more.
    pub(super) fn plan<C: Clients>(
        &mut self,
        reader: &mut ChangelogReader<C>,
        clients: &C,
        shared: &Shared,
        now: Duration,
    ) -> Result<bool> {
        if self.retry_at > now {
            return Ok(false);
        }
        let mut stores = match std::mem::take(&mut self.stage) {
            Stage::Planning(stores) => stores,
            other => {
                self.stage = other;
                return Ok(false);
            }
        };
        match plan(&mut stores, &mut self.recencies, &self.role, reader, clients, shared) {
            Ok(changelogs) => {
                self.tell_begun(&changelogs, shared);
                self.is_told = true;
                self.enter(Stage::Following(stores, changelogs), now);
                Ok(true)
            }
            Err(error) => {
                self.stage = Stage::Planning(stores);
                self.try_again_after(error, shared, now)?;
                Ok(false)
            }
        }
    }

    /// A standby waits for as long as it takes; somebody who waits for his task is told in the end.
    fn try_again_after(&mut self, error: Error, shared: &Shared, now: Duration) -> Result<()> {
        let patience = match self.stage {
            Stage::Opening => shared.settings.session_timeout,
            _ => GIVE_UP_AFTER,
        };
        if error.kind() != ErrorKind::Retry || !self.is_standby() && now >= self.since + patience {
            return Err(error);
        }
        if !self.is_held_up {
            info!(task = %self.id, %error, is_standby = self.is_standby(), "has to wait");
            self.is_held_up = true;
        }
        self.retry_at = now + self.pause_at(now);
        Ok(())
    }

    /// Who asks brokers waits as long as he has waited so far: those in trouble are not to be asked by all tasks all the time.
    fn pause_at(&self, now: Duration) -> Duration {
        match self.stage {
            _ if self.is_standby() => LONGEST_PAUSE,
            Stage::Opening => PAUSE,
            _ => now.saturating_sub(self.since).clamp(PAUSE, LONGEST_PAUSE),
        }
    }

    fn tell_begun(&self, changelogs: &[Followed], shared: &Shared) {
        for Followed { from: RestoredFrom { topic, .. }, progress, .. } in changelogs {
            let RestoreProgress { store, from, end, .. } = progress;
            debug!(task = %self.id, %store, %topic, %from, %end, "planned");
            if self.is_standby() && self.is_told {
                continue;
            }
            if self.is_standby() {
                info!(task = %self.id, %store, %topic, %from, %end, "following, as a standby");
            } else if !progress.was_complete() {
                info!(task = %self.id, %store, %topic, %from, %end, "restoring");
                tell(progress, shared);
            }
        }
    }

    /// Whether there is something to be read for it.
    pub(super) fn is_reading(&self) -> bool {
        matches!(self.stage, Stage::Following(..)) && !self.is_complete()
    }

    /// Whether somebody waits for it who need not wait any more.
    pub(super) fn is_complete(&self) -> bool {
        match &self.stage {
            Stage::Following(_, changelogs) => {
                !self.is_standby() && changelogs.iter().all(|followed| followed.progress.is_complete())
            }
            _ => false,
        }
    }

    /// What is to be read for it.
    pub(super) fn wanted(&self) -> impl Iterator<Item = Wanted> {
        let is_standby = self.is_standby();
        let of_changelog = move |(changelog, followed): (usize, &Followed)| {
            followed.is_wanted(is_standby).then(|| Wanted {
                task: self.id,
                changelog,
                topic: Arc::clone(&followed.from.topic),
                from: followed.progress.next,
            })
        };
        self.changelogs().iter().enumerate().filter_map(of_changelog)
    }

    fn changelogs(&self) -> &[Followed] {
        match &self.stage {
            Stage::Following(_, changelogs) => changelogs,
            _ => &[],
        }
    }

    /// Applies what was fetched of one of its changelogs. Returns whether this completed what a standby wants of it.
    ///
    /// # Errors
    /// What the store says. Then the task is of no use any more.
    pub(super) fn apply<M: InputMessage>(&mut self, reading: &Reading<M>, shared: &Shared) -> Result<bool> {
        let is_standby = self.is_standby();
        let Stage::Following(stores, changelogs) = &mut self.stage else { return Ok(false) };
        let (Some(followed), Some(next)) = (changelogs.get_mut(reading.changelog), reading.next()) else {
            return Ok(false);
        };
        if !followed.is_wanted(is_standby) {
            return Ok(false);
        }
        let progress = &mut followed.progress;
        let (restored, next) = match &followed.from.rows {
            None => (stores.restore(followed.store, reading.rows(), next), next),
            Some(rows) => {
                let (program, end) = (shared.program(), progress.end);
                let handlers = &program.plan_of(self.id).handlers;
                let leave_out = |record: &RawRecord<'_>, failure| {
                    leave_out(record, failure, &followed.from.topic, progress, handlers)
                };
                let rows = reading.rows_made(&**rows, end, leave_out)?;
                let next = next.min(progress.end);
                (stores.restore(followed.store, rows.iter().map(EncodedRow::as_restored), next), next)
            }
        };
        progress.records += restored.map_err(|error| Error::from(error).in_task(self.id))?;
        progress.next = next;
        if let Some(recency) = self.recencies.get_mut(&followed.store) {
            recency.reached(next);
            recency.as_of().iter().for_each(|as_of| stores.set_as_of(followed.store, *as_of));
        }
        if !is_standby {
            tell(progress, shared);
            if progress.is_complete() {
                let RestoreProgress { task, store, records, left_out, .. } = &*progress;
                info!(%task, %store, records, left_out, "restored");
            }
        }
        Ok(is_standby && !followed.is_wanted(is_standby))
    }

    /// Brings a standby to the disk if that was not done for a while: rows, then the offsets they reflect.
    ///
    /// # Errors
    /// As [`TaskInCare::apply`].
    pub(super) fn checkpoint_if_due(&mut self, shared: &Shared, now: Duration) -> Result<()> {
        let interval = shared.settings.checkpoint_interval;
        if !self.is_standby() || now.saturating_sub(self.flushed_at) < interval {
            return Ok(());
        }
        self.flushed_at = now;
        if let Stage::Following(stores, changelogs) = &mut self.stage {
            flush(stores, changelogs).map_err(|error| error.in_task(self.id))?;
        }
        self.look_at_ends(now, shared.clock.wall_clock());
        Ok(())
    }

    /// Has it asked anew what the application has committed of what is input as well, because nothing else says that it has gone on; and now
    /// and then where changelogs end: a standby that is opened again must be known to have had all there was, not longer ago than they keep
    /// tombstones.
    fn look_at_ends(&mut self, now: Duration, wall_clock: Timestamp) {
        let is_outdated = |recency: &Recency| {
            !recency.is_behind() && LogPosition::is_worth_renewing(recency.as_of(), Some(wall_clock))
        };
        let some_are_outdated = self.recencies.values().any(is_outdated);
        self.stage = match std::mem::take(&mut self.stage) {
            Stage::Following(stores, changelogs)
                if some_are_outdated || changelogs.iter().any(Followed::is_input) =>
            {
                self.retry_at = now;
                Stage::Planning(stores)
            }
            stage => stage,
        };
    }

    /// Hands a complete task to whoever waits for it.
    pub(super) fn into_answer(self) -> Option<(Order, Result<Restored>)> {
        let Role::Active(order) = self.role else { return None };
        let Stage::Following(mut stores, changelogs) = self.stage else {
            return Some((order, Err(Error::fatal("the restore ended before it began").in_task(self.id))));
        };
        let ready = changelogs.iter().try_for_each(|followed| stores.make_ready(followed.store));
        let ready = ready.map_err(|error| Error::from(error).in_task(self.id));
        let position = |followed: &Followed| LogPosition {
            next: followed.progress.next,
            as_of: self.recencies.get(&followed.store).and_then(|recency| recency.as_of()),
        };
        let reached = changelogs.iter().map(|followed| (followed.store, position(followed))).collect();
        let restores = changelogs.into_iter().map(|followed| followed.progress);
        let restores = restores.filter(|progress| !progress.was_complete()).collect();
        Some((order, ready.map(|()| Restored { stores, reached, restores })))
    }

    /// Ends it for good. A standby has nobody to be told.
    pub(super) fn fail(self, error: Error) -> Option<(Order, Error)> {
        match self.role {
            Role::Active(order) => Some((order, error.in_task(self.id))),
            Role::Standby => {
                warn!(task = %self.id, %error, "a standby failed, and is begun anew later");
                None
            }
        }
    }

    /// Closes the stores; what was restored so far is kept.
    pub(super) fn close(self) {
        if let Stage::Planning(stores) | Stage::Following(stores, _) = self.stage
            && let Err(error) = stores.close()
        {
            warn!(task = %self.id, %error, "what was restored last is restored again next time");
        }
    }

    /// How far each of its stores is. `end_of`: where a changelog ended at the last fetch.
    pub(super) fn progress(&self, end_of: impl Fn(&str, i32) -> Option<Offset>) -> Vec<RestoreProgress> {
        let seen = |followed: &Followed| {
            let mut progress = followed.progress.clone();
            if self.is_standby() {
                let seen = end_of(&followed.from.topic, self.id.partition).filter(|_| !followed.is_input());
                progress.end = progress.end.max(progress.next).max(seen.unwrap_or(progress.end));
            }
            progress
        };
        let changelogs = self.changelogs().iter();
        let is_told = |progress: &RestoreProgress| self.is_standby() || !progress.was_complete();
        changelogs.map(seen).filter(is_told).collect()
    }
}

fn tell(progress: &RestoreProgress, shared: &Shared) {
    if let Some(listener) = &shared.restore_listener {
        listener(progress);
    }
}

fn flush(stores: &mut DormantStores, changelogs: &[Followed]) -> Result<()> {
    changelogs.iter().try_for_each(|followed| Ok(stores.flush(followed.store)?))
}

/// Opens the stores of tasks, all at once.
pub(super) fn open_all(ids: &[TaskId], shared: &Shared) -> Vec<Result<DormantStores>> {
    let [first, others @ ..] = ids else { return Vec::new() };
    thread::scope(|scope| {
        let open_beside = |id: TaskId| {
            let thread = thread::Builder::new().name("millstream-open".to_owned());
            (id, thread.spawn_scoped(scope, move || open(id, shared)))
        };
        let others: Vec<_> = others.iter().copied().map(open_beside).collect();
        let first = open(*first, shared);
        let others = others.into_iter().map(|(id, opening)| match opening {
            Ok(opening) => opening.join().unwrap_or_else(|panic| resume_unwind(panic)),
            // The system has no thread left.
            Err(_) => open(id, shared),
        });
        iter::once(first).chain(others).collect()
    })
}

fn open(id: TaskId, shared: &Shared) -> Result<DormantStores> {
    let opened = shared.program().plan_of(id).open_stores(id, Some(&shared.directory), &shared.memory);
    opened.map_err(|error| Error::from(error).in_task(id))
}

/// Finds out from where each changelog is to be read, and drops the rows of other histories. All is asked before anything is dropped.
fn plan<C: Clients>(
    stores: &mut DormantStores,
    recencies: &mut Recencies,
    role: &Role,
    reader: &mut ChangelogReader<C>,
    clients: &C,
    shared: &Shared,
) -> Result<Vec<Followed>> {
    let id = stores.task();
    let program = shared.program();
    let changelogs = program.plan_of(id).changelogs().enumerate();
    let mut found = Vec::new();
    for (place, from) in changelogs.filter_map(|(place, from)| Some((place, from?))) {
        // Before the end is asked for: what comes behind it is younger.
        let now = shared.clock.wall_clock();
        let (start, newest_end) = reader.bounds(clients, &shared.settings, &from.topic, id.partition)?;
        let end = if from.rows.is_some() {
            // What comes behind is processed by the task itself.
            let processed = match role {
                Role::Active(order) => order.start_in(&from.topic),
                Role::Standby => {
                    // It may be told an older commit than it was told before, by a coordinator that has just taken over.
                    let stored = stores.restored_to(StoreIndex::new(place));
                    reader.committed(clients, &shared.settings, &from.topic, id.partition)?.max(stored)
                }
            };
            processed.map_or(start, |processed| processed.clamp(start, newest_end.max(start)))
        } else {
            newest_end
        };
        let is_transactional = from.rows.is_none() && shared.settings.is_exactly_once();
        let keeps_tombstones = program.topics.keep_tombstones.get(&*from.topic).copied();
        let log = LogFacts { start, end, newest_end, is_transactional, keeps_tombstones, now };
        found.push((StoreIndex::new(place), from, log));
    }
    let mut followed = Vec::new();
    for (store, from, log) in found {
        let before = recencies.remove(&store);
        let (next, recency) = begin(stores, store, before, &from.topic, &log, shared)?;
        recencies.insert(store, recency);
        let name = stores.name_of(store).into();
        let progress = RestoreProgress {
            task: id,
            store: name,
            from: next,
            next,
            end: log.end,
            records: 0,
            left_out: 0,
        };
        followed.push(Followed { store, from, progress });
    }
    Ok(followed)
}

/// From where a store's changelog is to be read, and how recent the store is until then; `before`: how recent it was, if it was followed.
fn begin(
    stores: &mut DormantStores,
    store: StoreIndex,
    before: Option<Recency>,
    topic: &str,
    log: &LogFacts,
    shared: &Shared,
) -> Result<(Offset, Recency)> {
    let task = stores.task();
    let say_rebuilt = |stores: &DormantStores, reason: RebuildReason| {
        let store = stores.name_of(store);
        warn!(%task, store, topic, "{reason}; it is rebuilt");
    };
    if let Some(changelog) = shared.program().topics.changelog_ids.get(topic)
        && stores.set_changelog(store, *changelog)?
    {
        say_rebuilt(stores, RebuildReason::OfAnotherTopic);
    }
    let as_of = stores.as_of(store);
    let stored = stores.restored_to(store).map(|next| LogPosition { next, as_of });
    let decision = decide(stored, log);
    if let RestoreDecision::Rebuild { reason, .. } = decision {
        say_rebuilt(stores, reason);
    }
    let begins_anew = stored.is_none() || matches!(decision, RestoreDecision::Rebuild { .. });
    let before = if begins_anew {
        // Rows without a position are of a restore that did not come far, whenever that was.
        stores.wipe(store)?;
        None
    } else {
        Some(before.unwrap_or_else(|| Recency::new(as_of)))
    };
    let next = decision.begins_at(log);
    let recency = log.recency_at(next, before);
    recency.as_of().iter().for_each(|as_of| stores.set_as_of(store, *as_of));
    Ok((next, recency))
}
