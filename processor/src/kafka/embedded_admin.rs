//! The embedded Kafka as the cluster of an application: its settings, and the admin requests it can stand in for.

use std::collections::BTreeMap;
use std::time::Duration;

use super::admin::{ClusterAdmin, NewTopic};
use super::embedded::{EmbeddedKafka, EmbeddedKafkaError};
use crate::config::{GroupProtocol, Settings};
use crate::error::{Error, ErrorKind, Result};

impl EmbeddedKafka {
    /// Default settings for this cluster, with what makes librdkafka's mock answer fast. The application also needs the cluster as
    /// its [`admin`](crate::runtime::AppBuilder::admin), because the mock answers no admin requests.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    /// use millstream_processor::testing::EmbeddedKafka;
    /// use millstream_processor::{Streams, Topology};
    ///
    /// # let topology = Topology::new();
    /// let kafka = Arc::new(EmbeddedKafka::start(1)?);
    /// kafka.create_topic("orders", 4)?;
    /// let app = Streams::builder("shop", topology).settings(kafka.settings()).admin(kafka.clone()).start()?;
    /// # Ok::<(), millstream_processor::Error>(())
    /// ```
    pub fn settings(&self) -> Settings {
        let mut settings = Settings::new(self.bootstrap_servers());
        // An empty fetch waits this long, whatever arrives meanwhile.
        settings.kafka_properties.insert("consumer.fetch.wait.max.ms".into(), "10".into());
        // Classic groups refuse commits while somebody joins, which the brokers do not: what was processed would be processed again.
        settings.group_protocol = GroupProtocol::Consumer;
        // And their second rebalance takes this long less one second.
        settings.session_timeout = Duration::from_secs(6);
        settings
    }
}

/// A topic here has neither configuration nor id, and a partition keeps its newest records only, whoever has read them.
impl ClusterAdmin for EmbeddedKafka {
    fn all_partition_counts(&self) -> Result<BTreeMap<String, i32>> {
        let count = |partitions: usize| i32::try_from(partitions).unwrap_or(i32::MAX);
        Ok(self.topics()?.into_iter().map(|(name, partitions)| (name, count(partitions))).collect())
    }

    fn partition_counts(&self, topics: &[String]) -> Result<BTreeMap<String, i32>> {
        let mut counts = self.all_partition_counts()?;
        counts.retain(|name, _| topics.contains(name));
        Ok(counts)
    }

    fn create_topic(&self, topic: &NewTopic) -> Result<()> {
        let partitions = usize::try_from(topic.partitions).unwrap_or(0);
        match EmbeddedKafka::create_topic(self, &topic.name, partitions) {
            Ok(()) | Err(EmbeddedKafkaError::TopicExists { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl From<EmbeddedKafkaError> for Error {
    fn from(error: EmbeddedKafkaError) -> Self {
        let kind = match &error {
            EmbeddedKafkaError::TopicExists { .. } | EmbeddedKafkaError::CannotCreate { .. } => {
                ErrorKind::Invalid
            }
            EmbeddedKafkaError::CannotStart { .. } | EmbeddedKafkaError::NoAnswer { .. } => ErrorKind::Fatal,
        };
        Error::new(kind, "the embedded Kafka failed").with_source(error)
    }
}
