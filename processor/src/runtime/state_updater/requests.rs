//! What passes between stream threads and the state updater.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use arc_swap::ArcSwap;
use millstream_state_stores::{DormantStores, LogPosition, Offset, StoreIndex, TaskId};
use parking_lot::Mutex;

use super::progress::{RestoreProgress, UpdaterSnapshot};
use crate::clients::PartitionOffset;
use crate::error::Result;

/// Names one wish for a task's stores: an answer that comes after it was taken back is told from that to a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

pub(super) enum Request {
    Restore(Order, TaskId),
    Cancel(Ticket),
    /// Tasks have moved between instances, so that standbys may have to.
    Rebalanced,
}

/// Who waits for the stores of a task.
pub(super) struct Order {
    pub(super) ticket: Ticket,
    /// The task's input partitions, and where it will begin in each.
    pub(super) starts: Vec<PartitionOffset>,
    pub(super) reply_to: Sender<Reply>,
}

impl Order {
    /// Where the task will begin in its partition of a topic.
    pub(super) fn start_in(&self, topic: &str) -> Option<Offset> {
        self.starts.iter().find(|start| *start.topic == *topic)?.offset
    }
}

/// The end of a restore: the stores, or why there are none.
pub(crate) struct Reply {
    pub(crate) ticket: Ticket,
    pub(crate) outcome: Result<Restored>,
}

/// The complete stores of a task.
pub(crate) struct Restored {
    pub(crate) stores: DormantStores,
    /// For each logged store where its changelog ended, and how recent that makes it.
    pub(crate) reached: Vec<(StoreIndex, LogPosition)>,
    /// Of the stores that missed something.
    pub(crate) restores: Vec<RestoreProgress>,
}

/// The state updater as the rest of the instance knows it.
pub(crate) struct StateUpdater {
    tickets: Arc<AtomicU64>,
    requests: Sender<Request>,
    /// For the loop, which takes it when it begins.
    inbox: Mutex<Option<Receiver<Request>>>,
    snapshot: ArcSwap<UpdaterSnapshot>,
}

impl StateUpdater {
    pub(crate) fn new() -> Self {
        let (requests, inbox) = channel();
        StateUpdater {
            tickets: Arc::default(),
            requests,
            inbox: Mutex::new(Some(inbox)),
            snapshot: ArcSwap::default(),
        }
    }

    /// The end of a stream thread.
    pub(crate) fn desk(&self) -> RestoreDesk {
        let (reply_to, replies) = channel();
        RestoreDesk { tickets: Arc::clone(&self.tickets), requests: self.requests.clone(), reply_to, replies }
    }

    /// What it told at most a quarter of a second ago.
    pub(crate) fn snapshot(&self) -> Arc<UpdaterSnapshot> {
        self.snapshot.load_full()
    }

    pub(crate) fn publish(&self, snapshot: UpdaterSnapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    /// Everything asked from now on and before. There is one loop, which asks once.
    pub(super) fn take_inbox(&self) -> Option<Receiver<Request>> {
        self.inbox.lock().take()
    }
}

/// Where one stream thread asks for stores and gets them. What it did not fetch when it is dropped is closed.
pub(crate) struct RestoreDesk {
    tickets: Arc<AtomicU64>,
    requests: Sender<Request>,
    reply_to: Sender<Reply>,
    replies: Receiver<Reply>,
}

impl RestoreDesk {
    /// Asks for the complete stores of a task that will begin in its input where `starts` says. Whoever else waits for them gets no answer
    /// any more.
    pub(crate) fn restore(&self, task: TaskId, starts: Vec<PartitionOffset>) -> Ticket {
        let ticket = Ticket(self.tickets.fetch_add(1, Ordering::Relaxed));
        self.send(Request::Restore(Order { ticket, starts, reply_to: self.reply_to.clone() }, task));
        ticket
    }

    /// Takes a wish back. Its answer may be on the way already.
    pub(crate) fn cancel(&self, ticket: Ticket) {
        self.send(Request::Cancel(ticket));
    }

    /// Says that the group has decided about this thread's tasks.
    pub(crate) fn rebalanced(&self) {
        self.send(Request::Rebalanced);
    }

    /// The next answer, if there is one.
    pub(crate) fn next(&self) -> Option<Reply> {
        self.replies.try_recv().ok()
    }

    /// After the loop has ended nobody answers: then the instance is ending, or has failed.
    fn send(&self, request: Request) {
        if self.requests.send(request).is_err() {
            tracing::debug!("the state updater has ended");
        }
    }
}
