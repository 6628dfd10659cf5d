//! The clients of a stream thread on a Kafka cluster.

use std::sync::Arc;

use super::consumer::KafkaConsumer;
use super::message::KafkaMessage;
use super::producer::KafkaProducer;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::Result;
use crate::patience::MustEnd;

#[derive(Clone, Copy)]
pub(crate) struct KafkaClients;

impl Clients for KafkaClients {
    type Message = KafkaMessage;
    type Consumer = KafkaConsumer;
    type Producer = KafkaProducer;

    fn group_consumer(
        &self,
        settings: &Settings,
        group: &str,
        client_id: &str,
        instance_id: Option<&str>,
    ) -> Result<KafkaConsumer> {
        KafkaConsumer::in_group(settings, group, client_id, instance_id)
    }

    fn restore_consumer(&self, settings: &Settings, group: &str, client_id: &str) -> Result<KafkaConsumer> {
        KafkaConsumer::for_restore(settings, group, client_id)
    }

    fn producer(
        &self,
        settings: &Settings,
        client_id: &str,
        transactional_id: Option<&str>,
        clock: &Arc<dyn Clock>,
        must_end: &MustEnd,
    ) -> Result<KafkaProducer> {
        let producer = match transactional_id {
            Some(id) => KafkaProducer::transactional(settings, client_id, id, Arc::clone(clock)),
            None => KafkaProducer::idempotent(settings, client_id, Arc::clone(clock)),
        };
        Ok(producer?.heeding(must_end))
    }
}
