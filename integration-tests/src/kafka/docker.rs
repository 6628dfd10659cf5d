//! Apache Kafka as a container, where a Docker engine answers.

use std::time::Duration;

use anyhow::{Context, Result};
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, GenericImage, ImageExt};

use super::end_of;
use super::settings::BrokerSettings;
use crate::process::Watchdog;

const IMAGE: &str = "apache/kafka";
const TAG: &str = "4.3.1";

/// Fields are dropped in this order: the container is removed, then nothing is left for the watchdog to do.
#[derive(Debug)]
pub(super) struct DockerBroker {
    container: Container<GenericImage>,
    _watchdog: Watchdog,
}

impl DockerBroker {
    /// Creates and starts the container; whether Kafka answers is for the caller to see.
    pub(super) fn create(settings: &BrokerSettings) -> Result<Self> {
        // The same port inside and outside, because the broker also connects to the address it advertises.
        let image = GenericImage::new(IMAGE, TAG).with_mapped_port(settings.port, settings.port.tcp());
        let image = image.with_env_var("KAFKA_HEAP_OPTS", settings.heap.jvm_options().join(" "));
        let image = settings.properties("0.0.0.0").into_iter().fold(image, |image, (name, value)| {
            image.with_env_var(format!("KAFKA_{}", name.to_uppercase().replace('.', "_")), value)
        });
        let container = image.start().context("no Docker engine runs a container of Kafka")?;
        let watchdog = Watchdog::start(r#"docker rm --force --volumes "$1""#, [container.id().as_ref()])?;
        Ok(Self { container, _watchdog: watchdog })
    }

    pub(super) fn is_running(&self) -> Result<bool> {
        self.container.is_running().context("cannot ask Docker for the container of Kafka")
    }

    /// With a deadline of zero, Docker kills it at once.
    pub(super) fn stop(&self, deadline: Duration) -> Result<()> {
        let seconds = i32::try_from(deadline.as_secs())?;
        self.container.stop_with_timeout(Some(seconds)).context("cannot stop the container of Kafka")
    }

    pub(super) fn start_again(&self) -> Result<()> {
        self.container.start().context("cannot start the container of Kafka again")
    }

    pub(super) fn end_of_log(&self) -> String {
        match self.container.stdout_to_vec() {
            Ok(log) => end_of(&String::from_utf8_lossy(&log)),
            Err(error) => format!("the log of Kafka's container cannot be read: {error}"),
        }
    }
}
