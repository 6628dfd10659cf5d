//! A member of a group that is no application of ours.

use std::ops::Deref;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

/// How long its group may take to let a member go.
const DEADLINE_OF_A_FAREWELL: Duration = Duration::from_secs(10);
const SLICE: Duration = Duration::from_millis(20);

/// A bare consumer that takes what its group gives it, whenever it is polled, until it is dropped.
pub struct GroupMember(BaseConsumer);

impl GroupMember {
    /// Joins the group that the configuration names, to read this topic.
    ///
    /// # Errors
    /// If the configuration is none of a consumer in a group.
    pub fn join(config: &ClientConfig, topic: &str) -> Result<Self> {
        let consumer: BaseConsumer = config.create().context("cannot create a consumer")?;
        consumer.subscribe(&[topic])?;
        Ok(GroupMember(consumer))
    }

    /// Hears its group out for a moment, and says how many partitions it has. A record that it reads meanwhile is passed over.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.0.poll(SLICE);
        self.0.assignment().map_or(0, |assignment| assignment.count())
    }
}

impl Deref for GroupMember {
    type Target = BaseConsumer;

    fn deref(&self) -> &BaseConsumer {
        &self.0
    }
}

impl Drop for GroupMember {
    /// Gives up its partitions before it closes. If librdkafka (2.12) is to close while the group waits for an answer, it asks a second
    /// question, and may wait for ever for the answer to be taken: <https://github.com/confluentinc/librdkafka/issues/4884>.
    fn drop(&mut self) {
        self.0.unsubscribe();
        let started = Instant::now();
        loop {
            self.0.poll(SLICE);
            let holds_on = self.0.assignment().is_ok_and(|assignment| assignment.count() > 0);
            if !holds_on || started.elapsed() > DEADLINE_OF_A_FAREWELL {
                return;
            }
        }
    }
}
