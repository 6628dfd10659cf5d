//! What a task does: pick the record with the smallest event time, pass it through, deliver outputs, commit, checkpoint.

use std::sync::Arc;
use std::time::Duration;

use millstream_state_stores::{LogPartition, LogPosition, Offset, StoreIndex, Timestamp};

use super::failure::FailedOutput;
use super::{Changelog, InputMessage, OutgoingRecord, PartitionQueue, RecordSender, Task};
use crate::api::{PunctuationType, TopicIndex};
use crate::error::{Error, ErrorKind, Result};

impl<M: InputMessage> Task<M> {
    /// Processes up to `limit` records, smallest event time first, and says how many. Fewer means that the task waits for input. Between them,
    /// and at the end, processors are punctuated.
    ///
    /// # Errors
    /// A record or punctuation whose handler says `Fail`, or a store that failed. Then the task must not commit.
    pub(crate) fn process(&mut self, limit: usize, wall_clock: Timestamp, now: Duration) -> Result<usize> {
        if self.is_prepared {
            // Its commit is being tried again; what it emitted must not be emitted a second time.
            return Ok(0);
        }
        self.context.set_wall_clock(wall_clock);
        if !self.is_initialized {
            self.init()?;
        }
        let mut done = 0;
        while done < limit
            && let Some((input, event_time)) = self.next_input(now)?
            && !self.must_commit_before(input)
        {
            self.process_head(input, event_time, now)?;
            done += 1;
            if self.context.must_punctuate(PunctuationType::StreamTime) {
                self.punctuate(PunctuationType::StreamTime, now)?;
            }
        }
        if self.context.must_punctuate(PunctuationType::WallClockTime) {
            self.punctuate(PunctuationType::WallClockTime, now)?;
        }
        self.write_heartbeats();
        Ok(done)
    }

    /// The input whose head has the smallest event time, if the task may go on.
    fn next_input(&mut self, now: Duration) -> Result<Option<(usize, Timestamp)>> {
        let mut next: Option<(usize, Timestamp)> = None;
        let mut must_wait = false;
        let mut some_empty = false;
        for input in 0..self.queues.len() {
            match self.head_time(input, now)? {
                Some(time) if next.is_none_or(|(_, smallest)| time < smallest) => next = Some((input, time)),
                Some(_) => {}
                None => {
                    some_empty = true;
                    must_wait |= !self.queues[input].is_caught_up();
                }
            }
        }
        if next.is_none() || !some_empty {
            self.waiting_since = None;
            return Ok(next);
        }
        let Some(max_idle) = self.max_idle else { return Ok(next) };
        let waiting_since = *self.waiting_since.get_or_insert(now);
        if must_wait || now.saturating_sub(waiting_since) < max_idle {
            return Ok(None);
        }
        Ok(next)
    }

    /// Event time of an input's head. Heads that fail or have no valid time are passed over.
    fn head_time(&mut self, input: usize, now: Duration) -> Result<Option<Timestamp>> {
        loop {
            let queue = &mut self.queues[input];
            if queue.head_time.is_some() {
                return Ok(queue.head_time);
            }
            match queue.event_time_of_head() {
                None => return Ok(None),
                Some(Ok(time)) if time.as_millis() >= 0 => queue.head_time = Some(time),
                Some(Ok(_negative)) => {
                    self.counters.dropped += 1;
                    self.pass_over(input);
                }
                Some(Err(failure)) => {
                    let nothing_yet = self.begin_record();
                    self.failed(Some(input), failure, nothing_yet, now)?;
                    self.pass_over(input);
                }
            }
        }
    }

    fn pass_over(&mut self, input: usize) {
        self.queues[input].pop();
        self.needs_commit = true;
    }

    fn process_head(&mut self, input: usize, event_time: Timestamp, now: Duration) -> Result<()> {
        if self.queues[input].heartbeat_at_head().is_some() {
            self.take_heartbeat(input, event_time, now);
            return Ok(());
        }
        let mark = self.begin_record();
        let queue = &mut self.queues[input];
        match queue.process_head(event_time, &mut self.context) {
            Ok(()) => queue.pop(),
            Err(failure) => {
                self.failed(Some(input), failure, mark, now)?;
                self.queues[input].pop();
            }
        }
        if let Some(heartbeats) = &mut self.queues[input].heartbeats {
            heartbeats.saw(event_time);
        }
        self.counters.processed += 1;
        self.needs_commit = true;
        Ok(())
    }

    /// Hands outputs and changelog entries to the sender. Called again after an error, it goes on with what was not handed over.
    ///
    /// # Errors
    /// Whatever the sender fails with, unless it concerns one record whose handler lets it pass.
    pub(crate) fn deliver(&mut self, sender: &mut dyn RecordSender, now: Duration) -> Result<()> {
        while !self.context.outputs().is_empty() || !self.refused.is_empty() {
            self.send_outputs(sender)?;
            let refused = std::mem::take(&mut self.refused);
            self.outputs_failed(refused, now)?;
        }
        if self.stores.has_changelog() {
            self.send_changelog(sender)?;
        }
        Ok(())
    }

    fn send_outputs(&mut self, sender: &mut dyn RecordSender) -> Result<()> {
        let Task { id, context, sender_topics, refused, .. } = self;
        let outputs = context.outputs();
        while let Some(topic) = outputs.topics().get(sender_topics.len()) {
            sender_topics.push(sender.resolve(topic).map_err(|error| error.in_task(*id))?);
        }
        outputs.drain(|topics, output| {
            let record = OutgoingRecord {
                topic: sender_topics[output.topic.as_usize()],
                partition: output.partition,
                key: output.key,
                unhashed_key_bytes: output.unhashed_key_bytes,
                value: output.value,
                timestamp: output.timestamp,
                headers: output.headers,
                changelog: None,
            };
            match sender.send(&record) {
                Err(error) if error.kind() == ErrorKind::Record => refused.push(FailedOutput {
                    topic: topic_name(topics, output.topic),
                    partition: output.partition,
                    key: output.key.map(<[u8]>::to_vec),
                    value: output.value.map(<[u8]>::to_vec),
                    timestamp: output.timestamp,
                    headers: output.headers.clone(),
                    error: Arc::new(error),
                    may_pass_alone: false,
                }),
                sent => return sent.map_err(|error| error.in_task(*id)),
            }
            Ok(())
        })
    }

    fn send_changelog(&mut self, sender: &mut dyn RecordSender) -> Result<()> {
        let partition = self.id.partition;
        let changelogs = &mut self.changelogs;
        let sent = self.stores.drain_changelog(|entry| {
            let Some(Some(changelog)) = changelogs.get_mut(entry.store.get()) else { return Ok(()) };
            let (topic, slot) = changelog.sending(sender)?;
            let headers = &changelog.headers;
            sender.send(&OutgoingRecord {
                topic,
                partition: Some(partition),
                key: Some(entry.key),
                unhashed_key_bytes: 0,
                value: entry.value,
                timestamp: entry.timestamp,
                headers,
                changelog: Some(slot),
            })
        });
        sent.map_err(|error: Error| error.in_task(self.id))
    }

    /// First half of a commit: rows that have expired are deleted, nodes emit what they hold back, stores hand out their changes; all is
    /// then to be delivered. From here until [`Task::committed`] the task processes nothing. Called again, it does nothing.
    ///
    /// # Errors
    /// A node that fails on what is emitted, for which no single record could be left out; a store that failed.
    pub(crate) fn prepare_commit(&mut self) -> Result<()> {
        if self.is_prepared {
            return Ok(());
        }
        self.context.leave_record();
        self.stores.drop_expired()?;
        self.prepare_nodes()?;
        self.stores.prepare_commit()?;
        self.is_prepared = true;
        Ok(())
    }

    /// The input offsets that changed since the last commit: topic, partition, next offset. After a punctuation, all of them: only with an
    /// offset does the group look who commits, and refuse what is of a task's former owner.
    pub(crate) fn offsets_to_commit(&self) -> impl Iterator<Item = (&Arc<str>, i32, Offset)> {
        let next = |queue: &PartitionQueue<M>| match self.acted_by_itself {
            true => queue.processed_to().or(queue.resume_at()),
            false => queue.to_commit(),
        };
        self.queues
            .iter()
            .filter_map(move |queue| next(queue).map(|next| (queue.topic(), queue.partition(), next)))
    }

    /// Second half of a commit, once outputs and changelog are acknowledged and the offsets committed: the new state becomes
    /// the committed one, which queries see.
    ///
    /// # Errors
    /// A store that failed.
    pub(crate) fn committed(&mut self, sender: &dyn RecordSender) -> Result<()> {
        // When it processed last, which is before it committed.
        let as_of = Some(self.context.wall_clock());
        let position = Arc::new(self.position());
        self.stores.commit(position).map_err(|error| Error::from(error).in_task(self.id))?;
        self.queues.iter_mut().for_each(PartitionQueue::committed);
        for changelog in self.changelogs.iter_mut().flatten() {
            if let Some((_, slot)) = changelog.sending {
                let next = sender.acknowledged(slot);
                changelog.reflected = next.map(LogPosition::from).or(changelog.reflected);
            }
            // Nobody else writes to it, or this commit would have been refused: what comes behind, deletions too, is younger.
            changelog.reflected.iter_mut().for_each(|reflected| reflected.as_of = as_of);
        }
        self.context.committed();
        self.acted_by_itself = false;
        self.needs_commit = false;
        self.is_prepared = false;
        Ok(())
    }

    /// Begins to write the committed state to RocksDB and to the disk, together with the changelog offsets it reflects. Only right
    /// after a commit, and while no other checkpoint is in flight.
    ///
    /// # Errors
    /// A store that failed.
    pub(crate) fn begin_checkpoint(&mut self) -> Result<()> {
        let positions = self.reflected_positions();
        self.checkpointed_as_of = newest(&positions);
        self.stores.begin_checkpoint(&positions).map_err(|error| Error::from(error).in_task(self.id))
    }

    /// Whether rows have stayed as they are for so long, while commits went on, that it is worth a checkpoint without any, which says how
    /// recent they are. Else a crash soon after their next change would find them older than the tombstones of their changelog.
    pub(crate) fn is_worth_dating(&self) -> bool {
        LogPosition::is_worth_renewing(self.checkpointed_as_of, newest(&self.reflected_positions()))
    }

    /// Waits for the checkpoint that is in flight, if there is one.
    ///
    /// # Errors
    /// Why it could not be written.
    pub(crate) fn await_checkpoint(&mut self) -> Result<()> {
        self.stores.await_checkpoint().map_err(|error| Error::from(error).in_task(self.id))
    }

    /// Takes note of a checkpoint that has ended.
    ///
    /// # Errors
    /// Why it could not be written.
    pub(crate) fn poll_checkpoint(&mut self) -> Result<()> {
        self.stores.poll_checkpoint().map_err(|error| Error::from(error).in_task(self.id))
    }

    /// Writes all committed state before it returns: nothing is left to restore. Only right after a commit.
    ///
    /// # Errors
    /// A store that failed.
    pub(crate) fn checkpoint(&mut self) -> Result<()> {
        let positions = self.reflected_positions();
        self.checkpointed_as_of = newest(&positions);
        self.stores.checkpoint(&positions).map_err(|error| Error::from(error).in_task(self.id))
    }

    fn reflected_positions(&self) -> Vec<(LogPartition, LogPosition)> {
        let changelogs = self.changelogs();
        let of_changelogs =
            changelogs.filter_map(|(store, changelog)| Some((store.into(), changelog.reflected?)));
        let sources = self.queues.iter().zip(&self.sources);
        let of_sources = sources.filter_map(|(queue, source)| {
            let (source, next) = source.as_ref().zip(queue.resume_at())?;
            Some((source.log, LogPosition { next, as_of: source.recency.as_of() }))
        });
        of_changelogs.chain(of_sources).collect()
    }

    /// The store that is a copy of what a queue reads, if there is one.
    pub(crate) fn table_of(&self, input: usize) -> Option<StoreIndex> {
        self.sources[input].as_ref().map(|source| source.log.store())
    }
}

impl Changelog {
    fn sending(
        &mut self,
        sender: &mut dyn RecordSender,
    ) -> Result<(super::SenderTopic, super::ChangelogSlot)> {
        if let Some(sending) = self.sending {
            return Ok(sending);
        }
        let sending = (sender.resolve(&self.topic)?, sender.open_changelog());
        self.sending = Some(sending);
        Ok(sending)
    }
}

fn newest(positions: &[(LogPartition, LogPosition)]) -> Option<Timestamp> {
    positions.iter().filter_map(|(_, position)| position.as_of).max()
}

fn topic_name(topics: &[Arc<str>], index: TopicIndex) -> Arc<str> {
    Arc::clone(&topics[index.as_usize()])
}

#[cfg(test)]
mod tests;
