//! The records of one input partition that wait for their task.

use std::collections::VecDeque;
use std::sync::Arc;

use millstream_state_stores::{Offset, Timestamp};

use super::InputMessage;
use super::heartbeat::Heartbeats;
use crate::api::{Failure, TaskContext};
use crate::clients::PartitionOffset;
use crate::topology::{SourceEntry, time_of_heartbeat};

/// Records of one partition in offset order, with the source that decodes them.
pub(crate) struct PartitionQueue<M> {
    topic: Arc<str>,
    partition: i32,
    source: Box<dyn SourceEntry>,
    /// If the source takes heartbeats.
    pub(super) heartbeats: Option<Heartbeats>,
    messages: VecDeque<M>,
    /// Event time of the head, once it is known.
    pub(super) head_time: Option<Timestamp>,
    /// The offset after the last record processed, skipped or dead-lettered.
    processed_to: Option<Offset>,
    committed_to: Option<Offset>,
    /// Where its task began.
    start: Option<Offset>,
    /// Where the partition ended at the last fetch, if the broker had nothing more.
    end: Option<Offset>,
    /// Whether anything was fetched, a record or the end, since it began to be read.
    has_heard: bool,
    paused: bool,
}

impl<M: InputMessage> PartitionQueue<M> {
    pub(super) fn new(
        topic: Arc<str>,
        partition: i32,
        source: Box<dyn SourceEntry>,
        heartbeats: Option<Heartbeats>,
    ) -> Self {
        PartitionQueue {
            topic,
            partition,
            source,
            heartbeats,
            messages: VecDeque::new(),
            head_time: None,
            processed_to: None,
            committed_to: None,
            start: None,
            end: None,
            has_heard: false,
            paused: false,
        }
    }

    pub(crate) fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    pub(crate) fn partition(&self) -> i32 {
        self.partition
    }

    pub(crate) fn push(&mut self, message: M) {
        self.end = None;
        self.has_heard = true;
        self.messages.push_back(message);
    }

    pub(crate) fn reached_end(&mut self, end: Offset) {
        self.end = Some(end);
        self.has_heard = true;
        self.pass_to_end();
    }

    /// Moves the position past what only the broker sees after the last record: aborted records, and the marks that end transactions.
    fn pass_to_end(&mut self) {
        if self.messages.is_empty() && self.processed_to < self.end {
            self.processed_to = self.processed_to.and(self.end);
        }
    }

    /// Whether it is known what comes first: a record that waits or was processed, or the end.
    pub(crate) fn has_begun(&self) -> bool {
        !self.messages.is_empty() || self.end.is_some() || self.processed_to.is_some()
    }

    /// Whether what the client knows of the partition's end is from this time that it is read: it keeps what it knew from the time before.
    pub(crate) fn has_heard(&self) -> bool {
        self.has_heard
    }

    pub(crate) fn is_caught_up(&self) -> bool {
        self.end.is_some()
    }

    /// Says where the first record will come from.
    pub(crate) fn starts_at(&mut self, start: Offset) {
        self.start = Some(start);
    }

    /// Drops what was fetched; the partition is read again from [`PartitionQueue::resume_at`], if at all.
    pub(super) fn suspend(&mut self) {
        self.messages.clear();
        self.head_time = None;
        self.processed_to = self.committed_to;
        self.end = None;
        self.has_heard = false;
        self.paused = false;
    }

    /// Where to read from if everything since the last commit never happened.
    pub(crate) fn resume_at(&self) -> Option<Offset> {
        self.committed_to.or(self.start)
    }

    /// The partition, and [`PartitionQueue::resume_at`] if that is known.
    pub(crate) fn place(&self) -> Option<PartitionOffset> {
        let offset = Some(self.resume_at()?);
        Some(PartitionOffset { topic: Arc::clone(&self.topic), partition: self.partition, offset })
    }

    /// Takes the place that another queue of the same partition had at its last commit.
    pub(super) fn resume(&mut self, before: &Self) {
        self.start = before.start;
        self.committed_to = before.committed_to;
        self.processed_to = before.committed_to;
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn head(&self) -> Option<&M> {
        self.messages.front()
    }

    /// Event time of the head.
    #[inline]
    pub(super) fn event_time_of_head(&mut self) -> Option<Result<Timestamp, Failure>> {
        let heartbeat = self.heartbeat_at_head();
        let raw = self.messages.front()?.raw();
        Some(heartbeat.map_or_else(|| self.source.event_time(&raw), Ok))
    }

    /// The time of the heartbeat that the head is, if it is none of the records for the topology.
    #[inline]
    pub(super) fn heartbeat_at_head(&self) -> Option<Timestamp> {
        self.heartbeats.as_ref()?;
        let message = self.messages.front()?;
        time_of_heartbeat(&message.raw(), || message.headers())
    }

    /// Makes the head the task's current record.
    pub(super) fn enter_head(&self, event_time: Timestamp, context: &mut TaskContext) {
        if let Some(message) = self.messages.front() {
            context.enter_record(&self.topic, self.partition, message.offset(), event_time);
        }
    }

    /// Passes the head through the topology; it stays at the head.
    #[inline]
    pub(super) fn process_head(
        &mut self,
        event_time: Timestamp,
        context: &mut TaskContext,
    ) -> Result<(), Failure> {
        let Some(message) = self.messages.front() else { return Ok(()) };
        let raw = message.raw();
        context.enter_record(&self.topic, self.partition, raw.offset, event_time);
        self.source.process(&raw, message.headers(), event_time, context)
    }

    /// Takes the head and moves the position past it.
    #[inline]
    pub(super) fn pop(&mut self) {
        if let Some(message) = self.messages.pop_front() {
            self.processed_to = Some(message.offset().next());
            self.head_time = None;
            self.pass_to_end();
        }
    }

    pub(crate) fn processed_to(&self) -> Option<Offset> {
        self.processed_to
    }

    /// The offset that is processed next: once nothing is left, past what only the broker sees.
    pub(crate) fn next_offset(&self) -> Option<Offset> {
        let end = self.end.filter(|_| self.messages.is_empty());
        self.processed_to.or(self.start).max(end)
    }

    pub(crate) fn committed_to(&self) -> Option<Offset> {
        self.committed_to
    }

    /// The offset to commit, if it moved since the last commit.
    pub(crate) fn to_commit(&self) -> Option<Offset> {
        self.processed_to.filter(|_| self.processed_to != self.committed_to)
    }

    pub(crate) fn committed(&mut self) {
        self.committed_to = self.processed_to;
    }

    /// Bytes of the records that wait, estimated by the first and the last of them.
    pub(crate) fn bytes(&self) -> usize {
        let (first, last) = (self.messages.front(), self.messages.back());
        self.messages.len() * first.map_or(0, bytes_of).midpoint(last.map_or(0, bytes_of))
    }

    /// Whether fetching should stop or go on: `Some(true)` to pause, `Some(false)` to resume, once for each change.
    pub(crate) fn pause_change(&mut self, limit: usize) -> Option<bool> {
        let should_pause =
            if self.paused { self.messages.len() > limit / 2 } else { self.messages.len() > limit };
        (should_pause != self.paused).then(|| {
            self.paused = should_pause;
            should_pause
        })
    }
}

/// The client's message, without key and value.
const MESSAGE_BYTES: usize = 256;

/// What a record takes while it waits.
fn bytes_of(message: &impl InputMessage) -> usize {
    let raw = message.raw();
    MESSAGE_BYTES + raw.key.map_or(0, <[u8]>::len) + raw.value.map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{FailureStage, Headers};
    use crate::topology::RawRecord;

    struct At(i64);

    impl InputMessage for At {
        fn offset(&self) -> Offset {
            Offset::new(self.0)
        }

        fn raw(&self) -> RawRecord<'_> {
            RawRecord { offset: self.offset(), timestamp: Timestamp::from_millis(0), key: None, value: None }
        }

        fn headers(&self) -> Headers {
            Headers::default()
        }
    }

    struct NoSource;

    impl SourceEntry for NoSource {
        fn event_time(&mut self, _raw: &RawRecord<'_>) -> Result<Timestamp, Failure> {
            Err(Failure::at_stage(FailureStage::Decode, "not asked"))
        }

        fn process(
            &mut self,
            _raw: &RawRecord<'_>,
            _headers: Headers,
            _event_time: Timestamp,
            _context: &mut TaskContext,
        ) -> Result<(), Failure> {
            Ok(())
        }
    }

    fn queue() -> PartitionQueue<At> {
        PartitionQueue::new("orders".into(), 0, Box::new(NoSource), None)
    }

    #[test]
    fn the_position_passes_the_marks_of_transactions_only_with_the_records_before_them() {
        let mut queue = queue();
        queue.reached_end(Offset::new(0));
        assert_eq!(queue.to_commit(), None, "nothing was processed");
        queue.push(At(0));
        queue.push(At(1));
        queue.reached_end(Offset::new(3));
        queue.pop();
        assert_eq!(queue.processed_to(), Some(Offset::new(1)));
        queue.pop();
        assert_eq!(queue.processed_to(), Some(Offset::new(3)));
        queue.committed();
        queue.reached_end(Offset::new(5));
        assert_eq!(queue.processed_to(), Some(Offset::new(5)), "one more, of an aborted transaction");
    }

    #[test]
    fn a_suspended_queue_keeps_its_place_and_nothing_else() {
        let mut queue = queue();
        queue.starts_at(Offset::new(7));
        (7..12).for_each(|offset| queue.push(At(offset)));
        queue.pop();
        queue.committed();
        assert_eq!(queue.bytes(), 4 * MESSAGE_BYTES);
        assert_eq!(queue.pause_change(2), Some(true));
        queue.suspend();
        assert_eq!((queue.len(), queue.resume_at(), queue.to_commit()), (0, Some(Offset::new(8)), None));
        assert_eq!(queue.bytes(), 0);
        assert!(!queue.is_caught_up());
        assert!(!queue.has_heard(), "the end may have moved while nobody read");
        assert_eq!(queue.pause_change(2), None, "nobody pauses what nobody reads");
    }

    #[test]
    fn the_next_offset_is_the_start_then_past_the_last_record_then_the_end() {
        let mut queue = queue();
        assert_eq!(queue.next_offset(), None);
        queue.starts_at(Offset::new(7));
        queue.push(At(7));
        queue.reached_end(Offset::new(9));
        assert_eq!(queue.next_offset(), Some(Offset::new(7)));
        queue.pop();
        assert_eq!(queue.next_offset(), Some(Offset::new(9)));
        queue.push(At(9));
        queue.push(At(10));
        queue.pop();
        assert_eq!(queue.next_offset(), Some(Offset::new(10)));
    }

    #[test]
    fn an_abort_goes_back_to_the_last_commit_or_to_the_start() {
        let mut before = queue();
        before.starts_at(Offset::new(7));
        before.push(At(7));
        before.push(At(8));
        before.pop();
        let mut again = queue();
        again.resume(&before);
        assert_eq!((again.resume_at(), again.processed_to(), again.len()), (Some(Offset::new(7)), None, 0));

        before.committed();
        before.pop();
        again.resume(&before);
        assert_eq!((again.resume_at(), again.to_commit()), (Some(Offset::new(8)), None));
    }
}
