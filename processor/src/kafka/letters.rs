//! Dead letters on a cluster: topics that are read to their ends, and a transactional producer that puts records back.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millstream_state_stores::Offset;

use super::admin::{ClusterAdmin, KafkaAdmin};
use super::producer::KafkaProducer;
use super::topic_reader::{TopicReader, TopicRecord};
use crate::clients::Producer;
use crate::clock::Clock;
use crate::config::Settings;
use crate::dead_letters::{FailedRecord, LetterCluster, LetterId, LetterTransactions, TopicEntry};
use crate::error::{Error, ErrorKind, Result};
use crate::patience::patiently;
use crate::task::{OutgoingRecord, RecordSender};

/// How long one look for records waits.
const WAIT: Duration = Duration::from_millis(100);

/// [`LetterCluster`] on a Kafka cluster.
pub(crate) struct KafkaLetters {
    settings: Settings,
    client_id: String,
    admin: KafkaAdmin,
    clock: Arc<dyn Clock>,
}

impl KafkaLetters {
    pub(crate) fn new(settings: &Settings, client_id: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        Ok(KafkaLetters {
            settings: settings.clone(),
            client_id: client_id.to_owned(),
            admin: KafkaAdmin::new(settings, client_id)?,
            clock,
        })
    }
}

impl LetterCluster for KafkaLetters {
    type Transactions = KafkaProducer;

    fn admin(&self) -> &dyn ClusterAdmin {
        &self.admin
    }

    fn read(
        &self,
        topic: &str,
        from: &BTreeMap<i32, Offset>,
        each: &mut dyn FnMut(TopicEntry) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        if from.is_empty() {
            return Ok(());
        }
        let starts = from.iter().map(|(partition, offset)| (topic, *partition, *offset));
        let mut reader = TopicReader::from_offsets(&self.settings, &self.client_id, starts)?;
        let mut seen_enough = false;
        let mut last_heard = self.clock.monotonic();
        while !seen_enough && !reader.is_at_end() {
            let records = reader.read(WAIT, |record| {
                if !seen_enough {
                    seen_enough = each(entry(record))?.is_break();
                }
                Ok(())
            })?;
            let now = self.clock.monotonic();
            if records > 0 {
                last_heard = now;
            } else if now > last_heard + self.settings.request_timeout {
                let servers = &self.settings.bootstrap_servers;
                return Err(Error::new(
                    ErrorKind::Retry,
                    format!(
                        "the brokers at {servers} hand out no more of topic {topic}, whose end is not reached"
                    ),
                ));
            }
        }
        Ok(())
    }

    fn transactions(&self, transactional_id: &str) -> Result<KafkaProducer> {
        let make = || {
            KafkaProducer::transactional(
                &self.settings,
                &self.client_id,
                transactional_id,
                Arc::clone(&self.clock),
            )
        };
        patiently(&*self.clock, self.settings.request_timeout, || false, make)
    }
}

fn entry(record: &TopicRecord<'_>) -> TopicEntry {
    TopicEntry {
        id: LetterId { partition: record.partition, offset: record.offset },
        timestamp: record.timestamp,
        key: record.key_bytes().map(Bytes::copy_from_slice),
        value: record.value_bytes().map(Bytes::copy_from_slice),
        headers: record.headers(),
    }
}

impl LetterTransactions for KafkaProducer {
    fn send(&mut self, topic: &str, partition: Option<i32>, record: &FailedRecord) -> Result<()> {
        let topic = self.resolve(topic)?;
        RecordSender::send(
            self,
            &OutgoingRecord {
                topic,
                partition,
                key: record.key.as_deref(),
                unhashed_key_bytes: 0,
                value: record.value.as_deref(),
                timestamp: record.timestamp,
                headers: &record.headers,
                changelog: None,
            },
        )?;
        self.poll();
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Producer::flush(self)?;
        self.take_refusal()?;
        self.check_transaction()
    }

    fn commit(&mut self) -> Result<()> {
        self.end_with_commit()
    }

    fn abort(&mut self) -> Result<()> {
        self.abort_transaction()
    }
}
