//! Time that goes on while no records come: a task writes heartbeats into the partitions that it reads, and what it reads there moves stream
//! time on.
//!
//! ```text
//! nothing came for so long -> a heartbeat goes to the end of the partition -> it comes back in its turn -> the task commits there,
//! and before each node emits what it holds back, stream time moves on for it
//! ```
//! So a heartbeat has its place among the records, and whoever reads the partition again finds it there. Parents come before children: what a
//! node emits because of a heartbeat reaches those below before their time moves.

use std::time::Duration;

use millstream_state_stores::{Offset, Timestamp};

use super::{InputMessage, Task};
use crate::api::PunctuationType;
use crate::error::Result;
use crate::topology::{heartbeat, heartbeat_headers};

/// What a queue that takes heartbeats knows of them.
pub(super) struct Heartbeats {
    /// For how long nothing comes before one is written.
    every: Duration,
    /// The numbers of the nodes below the source.
    nodes: Vec<usize>,
    /// The time of those that were read since the last commit.
    read: Option<Timestamp>,
    /// Where the queue stood, and since when by the wall clock.
    quiet: Option<(Option<Offset>, Timestamp)>,
}

impl Heartbeats {
    pub(super) fn new(every: Duration, nodes: Vec<usize>) -> Self {
        Heartbeats { every, nodes, read: None, quiet: None }
    }

    /// When the next one is to be written, by the wall clock.
    fn due_at(&self) -> Option<Timestamp> {
        let (_, since) = self.quiet?;
        let every = i64::try_from(self.every.as_millis()).unwrap_or(i64::MAX);
        Some(Timestamp::from_millis(since.as_millis().saturating_add(every)))
    }

    /// Takes note of where the queue stands, and says whether nothing has come for so long.
    fn is_due(&mut self, stands_at: Option<Offset>, is_empty: bool, wall_clock: Timestamp) -> bool {
        let is_quiet = is_empty && self.quiet.is_some_and(|(stood_at, _)| stood_at == stands_at);
        let is_due = is_quiet && self.due_at().is_some_and(|due| due <= wall_clock);
        if is_due || !is_quiet {
            self.quiet = Some((stands_at, wall_clock));
        }
        is_due
    }
}

impl<M: InputMessage> Task<M> {
    /// Takes note of the heartbeat at the head of an input. Its time takes effect at the commit, for which the task waits.
    #[cold]
    pub(super) fn take_heartbeat(&mut self, input: usize, time: Timestamp, now: Duration) {
        let queue = &mut self.queues[input];
        queue.enter_head(time, &mut self.context);
        if let Some(heartbeats) = &mut queue.heartbeats {
            heartbeats.read = heartbeats.read.max(Some(time));
        }
        queue.pop();
        self.counters.processed += 1;
        self.needs_commit = true;
        self.heartbeat_read_at = Some(now);
        self.context.request_commit();
    }

    /// Whether the task must commit before it takes the head of this input: after a heartbeat it may take another one, but no record.
    #[inline]
    pub(super) fn must_commit_before(&self, input: usize) -> bool {
        self.heartbeat_read_at.is_some()
            && (!self.queues[input].head_is_heartbeat()
                || self.context.next_punctuation_at(PunctuationType::StreamTime).is_some())
    }

    /// Writes a heartbeat for each input to which nothing has come for long. It says that all records have come that are older than that.
    pub(super) fn write_heartbeats(&mut self) {
        let wall_clock = self.context.wall_clock();
        for queue in &mut self.queues {
            let (stands_at, is_empty) = (queue.processed_to(), queue.is_empty());
            let Some(heartbeats) = &mut queue.heartbeats else { continue };
            if !heartbeats.is_due(stands_at, is_empty, wall_clock) {
                continue;
            }
            let every = i64::try_from(heartbeats.every.as_millis()).unwrap_or(i64::MAX);
            let time = Timestamp::from_millis(wall_clock.as_millis().saturating_sub(every));
            if time.as_millis() < 0 || Some(time) <= self.context.stream_time() {
                continue;
            }
            let (headers, topic) = (heartbeat_headers(), self.context.outputs().topic(queue.topic()));
            self.context.outputs().push(&heartbeat(topic, queue.partition(), time, &headers));
            (self.acted_by_itself, self.needs_commit) = (true, true);
        }
    }

    /// When the next heartbeat is to be written, by the wall clock.
    pub(super) fn next_heartbeat(&self) -> Option<Timestamp> {
        self.queues.iter().filter_map(|queue| queue.heartbeats.as_ref()?.due_at()).min()
    }

    /// Lets the nodes emit what they hold back until a commit; before each of them does, time moves on for it if heartbeats were read.
    ///
    /// # Errors
    /// A node that fails on what is emitted, unless it was time that released it and the handler of the stage `process` passes over it.
    pub(super) fn prepare_nodes(&mut self) -> Result<()> {
        let failed =
            |task: &Self, failure| Err(task.failed_between_records("emitting at a commit failed", failure));
        let Some(now) = self.heartbeat_read_at.take() else {
            let prepared = self.nodes.prepare_commit(&mut self.context);
            return prepared.or_else(|failure| failed(self, failure));
        };
        let read = self.queues.iter_mut().filter_map(|queue| queue.heartbeats.as_mut());
        let read: Vec<(Timestamp, Vec<usize>)> =
            read.filter_map(|of| Some((of.read.take()?, of.nodes.clone()))).collect();
        for node in self.nodes.indexes() {
            let below = read.iter().filter(|(_, nodes)| nodes.contains(&node));
            if let Some((time, _)) = below.max_by_key(|(time, _)| *time) {
                let mark = self.begin_record();
                if let Err(failure) = self.nodes.advance_stream_time(node, *time, &mut self.context) {
                    self.failed(None, failure, mark, now)?;
                }
            }
            let prepared = self.nodes.prepare_commit_of(node, &mut self.context);
            prepared.or_else(|failure| failed(self, failure))?;
        }
        Ok(())
    }
}
