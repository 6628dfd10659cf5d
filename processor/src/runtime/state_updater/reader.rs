//! The consumer of the state updater, and the changelogs it reads.

use std::sync::Arc;
use std::time::Duration;

use millstream_state_stores::{Offset, RestoreRow, TaskId};
use tracing::warn;

use crate::api::Failure;
use crate::clients::{Clients, Consumer, Fetched, PartitionOffset};
use crate::config::Settings;
use crate::error::Result;
use crate::task::InputMessage;
use crate::topology::{EncodedRow, RawRecord, RowsOfTopic};

/// A changelog partition to be read from an offset on.
pub(super) struct Wanted {
    pub(super) task: TaskId,
    /// Which of the task's changelogs it is.
    pub(super) changelog: usize,
    pub(super) topic: Arc<str>,
    pub(super) from: Offset,
}

/// What a fetch brought of one changelog.
pub(super) struct Reading<M> {
    pub(super) task: TaskId,
    pub(super) changelog: usize,
    batch: Vec<M>,
    /// Where the consumer found nothing more, which is past what only the brokers see: aborted records, and the marks that end
    /// transactions.
    end: Option<Offset>,
    /// Whether what comes next was deleted from the log meanwhile.
    is_out_of_range: bool,
}

/// See the module's description. One consumer for all of them, made when something is to be asked or read.
pub(super) struct ChangelogReader<C: Clients> {
    // Declared, and so dropped, before the consumer: batches hold its messages.
    readings: Vec<Reading<C::Message>>,
    consumer: Option<C::Consumer>,
    /// The application's, whose committed offsets can be asked for.
    group: Arc<str>,
    client_id: String,
}

impl<C: Clients> ChangelogReader<C> {
    pub(super) fn new(group: Arc<str>, client_id: String) -> Self {
        ChangelogReader { readings: Vec::new(), consumer: None, group, client_id }
    }

    fn consumer(&mut self, clients: &C, settings: &Settings) -> Result<&mut C::Consumer> {
        let consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => clients.restore_consumer(settings, &self.group, &self.client_id)?,
        };
        Ok(self.consumer.insert(consumer))
    }

    /// The offsets that exist in a changelog partition; see [`Consumer::log_bounds`].
    pub(super) fn bounds(
        &mut self,
        clients: &C,
        settings: &Settings,
        topic: &str,
        partition: i32,
    ) -> Result<(Offset, Offset)> {
        self.consumer(clients, settings)?.log_bounds(topic, partition)
    }

    /// Up to where the application has processed a partition, as far as it has said so.
    pub(super) fn committed(
        &mut self,
        clients: &C,
        settings: &Settings,
        topic: &str,
        partition: i32,
    ) -> Result<Option<Offset>> {
        self.consumer(clients, settings)?.committed(topic, partition)
    }

    /// The end of a partition as of the last fetch; asks nobody.
    pub(super) fn last_seen_end(&self, topic: &str, partition: i32) -> Option<Offset> {
        self.consumer.as_ref().and_then(|consumer| consumer.last_seen_end(topic, partition))
    }

    /// How many changelogs are read.
    pub(super) fn len(&self) -> usize {
        self.readings.len()
    }

    /// Reads these instead of those before.
    pub(super) fn read(&mut self, clients: &C, settings: &Settings, wanted: Vec<Wanted>) -> Result<()> {
        self.readings.clear();
        let position = |wanted: &Wanted| PartitionOffset {
            topic: Arc::clone(&wanted.topic),
            partition: wanted.task.partition,
            offset: Some(wanted.from),
        };
        let positions: Vec<PartitionOffset> = wanted.iter().map(position).collect();
        self.consumer(clients, settings)?.assign(&positions)?;
        let reading = |Wanted { task, changelog, .. }| Reading {
            task,
            changelog,
            batch: Vec::new(),
            end: None,
            is_out_of_range: false,
        };
        self.readings = wanted.into_iter().map(reading).collect();
        Ok(())
    }

    /// Fetches one batch of everything that is read; waits up to `wait` for its first record. Returns how many records there were.
    pub(super) fn fetch(&mut self, wait: Duration) -> Result<usize> {
        let (Some(consumer), false) = (&mut self.consumer, self.readings.is_empty()) else { return Ok(0) };
        if consumer.poll_group()?.is_some() {
            warn!("the restore consumer belongs to no group but was told of a rebalance");
        }
        let readings = &mut self.readings;
        consumer.fetch(wait, |assigned, fetched| {
            if let Some(reading) = readings.get_mut(assigned) {
                match fetched {
                    Fetched::Message(message) => reading.batch.push(message),
                    Fetched::EndOfPartition(end) => reading.end = Some(end),
                    Fetched::OutOfRange => reading.is_out_of_range = true,
                }
            }
            Ok(())
        })
    }

    /// The tasks that wait for what is no longer in a log.
    pub(super) fn out_of_range(&self) -> impl Iterator<Item = TaskId> {
        self.readings.iter().filter(|reading| reading.is_out_of_range).map(|reading| reading.task)
    }

    /// What the last fetch brought.
    pub(super) fn fetched(&mut self) -> impl Iterator<Item = &mut Reading<C::Message>> {
        self.readings.iter_mut().filter(|reading| reading.end.is_some() || !reading.batch.is_empty())
    }

    /// Lets go of the consumer. The next thing to be read, or asked, makes a new one.
    pub(super) fn rest(&mut self) {
        self.readings.clear();
        self.consumer = None;
    }
}

impl<M: InputMessage> Reading<M> {
    /// The rows of the batch, borrowed from the client's buffers.
    pub(super) fn rows(&self) -> impl Iterator<Item = RestoreRow<'_>> {
        self.batch.iter().filter_map(|message| {
            let raw = message.raw();
            Some(RestoreRow { key: raw.key?, value: raw.value, timestamp: raw.timestamp })
        })
    }

    /// The rows that the records before an offset made when they were processed. Each that fails now is shown to `leave_out`.
    ///
    /// # Errors
    /// What `leave_out` says: then the record may not be left out.
    pub(super) fn rows_made(
        &self,
        rows: &dyn RowsOfTopic,
        end: Offset,
        mut leave_out: impl FnMut(&RawRecord<'_>, Failure) -> Result<()>,
    ) -> Result<Vec<EncodedRow>> {
        let mut made = Vec::with_capacity(self.batch.len());
        for raw in self.batch.iter().map(InputMessage::raw).take_while(|raw| raw.offset < end) {
            match rows.row(&raw) {
                Ok(row) => made.extend(row),
                Err(failure) => leave_out(&raw, failure)?,
            }
        }
        Ok(made)
    }

    /// The offset after everything it brought.
    pub(super) fn next(&self) -> Option<Offset> {
        self.batch.last().map(|last| last.raw().offset.next()).max(self.end)
    }

    pub(super) fn clear(&mut self) {
        self.batch.clear();
        self.end = None;
    }
}
