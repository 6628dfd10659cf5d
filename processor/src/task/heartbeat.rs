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
use crate::error::{Error, Result};
use crate::topology::{heartbeat, heartbeat_headers};

/// What a queue that takes heartbeats knows of them.
pub(super) struct Heartbeats {
    /// For how many milliseconds nothing comes before one is written.
    every: i64,
    /// The numbers of the nodes for which they move time on.
    nodes: Vec<usize>,
    /// The time of those that were read since the last commit.
    read: Option<Timestamp>,
    /// The latest time of the partition, of records and heartbeats.
    newest: Option<Timestamp>,
    /// Where the queue stood, and since when by the wall clock.
    quiet: Option<(Option<Offset>, Timestamp)>,
}

impl Heartbeats {
    pub(super) fn new(every: Duration, nodes: Vec<usize>) -> Self {
        let every = i64::try_from(every.as_millis()).unwrap_or(i64::MAX);
        Heartbeats { every, nodes, read: None, newest: None, quiet: None }
    }

    /// Takes note of the event time of a record that was processed.
    #[inline]
    pub(super) fn saw(&mut self, time: Timestamp) {
        self.newest = self.newest.max(Some(time));
    }

    /// When the next one is to be written, by the wall clock.
    fn due_at(&self) -> Option<Timestamp> {
        let (_, since) = self.quiet?;
        Some(Timestamp::from_millis(since.as_millis().saturating_add(self.every)))
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
            heartbeats.saw(time);
            heartbeats.read = heartbeats.read.max(Some(time));
        }
        queue.pop();
        self.needs_commit = true;
        self.heartbeat_read_at = Some(now);
        self.context.request_commit();
    }

    /// Whether the task must commit before it takes the head of this input: after a heartbeat it may take another one, but no record.
    #[inline]
    pub(super) fn must_commit_before(&self, input: usize) -> bool {
        self.heartbeat_read_at.is_some()
            && (self.queues[input].heartbeat_at_head().is_none()
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
            let time = Timestamp::from_millis(wall_clock.as_millis().saturating_sub(heartbeats.every));
            if time.as_millis() < 0 || Some(time) <= heartbeats.newest {
                continue;
            }
            let (headers, topic) = (heartbeat_headers(time), self.context.outputs().topic(queue.topic()));
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
    /// A node that fails on what is emitted, unless it was time that released it and the handler of the stage `process` passes over it. It is
    /// fatal: what was emitted by then must not be emitted a second time.
    pub(super) fn prepare_nodes(&mut self) -> Result<()> {
        let read = self.heartbeat_read_at.take().map(|now| (now, self.times_read()));
        for node in self.nodes.indexes() {
            if let Some((now, read)) = &read {
                self.move_time_of(node, read, *now)?;
            }
            let prepared = self.nodes.prepare_commit_of(node, &mut self.context);
            prepared
                .map_err(|failure| self.failed_between_records("emitting at a commit failed", failure))?;
        }
        Ok(())
    }

    /// The times of the heartbeats since the last commit, with the nodes for which each of them moves time on.
    fn times_read(&mut self) -> Vec<(Timestamp, Vec<usize>)> {
        let heartbeats = self.queues.iter_mut().filter_map(|queue| queue.heartbeats.as_mut());
        heartbeats.filter_map(|of| Some((of.read.take()?, of.nodes.clone()))).collect()
    }

    fn move_time_of(&mut self, node: usize, read: &[(Timestamp, Vec<usize>)], now: Duration) -> Result<()> {
        let times = read.iter().filter(|(_, nodes)| nodes.contains(&node)).map(|(time, _)| *time);
        let Some(time) = times.max() else { return Ok(()) };
        let mark = self.begin_record();
        let Err(failure) = self.nodes.advance_stream_time(node, time, &mut self.context) else {
            return Ok(());
        };
        self.failed(None, failure, mark, now)
            .map_err(|error| Error::fatal("letting time go on failed").with_source(error).in_task(self.id))
    }
}
