//! How a stream is sent through a topic of its own so that equal keys meet.

use std::time::Duration;

use super::source::check_heartbeats;

/// Options of [`KStream::repartition`](crate::KStream::repartition) (Kafka Streams' `Repartitioned`). `()` takes the defaults, a
/// string is the name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repartitioned {
    pub(crate) name: Option<String>,
    pub(crate) partitions: Option<i32>,
    pub(crate) heartbeats: Option<Duration>,
}

impl Repartitioned {
    /// Names the topic: in Kafka it is `<application id>-<name>-repartition`.
    pub fn named(name: impl Into<String>) -> Self {
        Repartitioned { name: Some(name.into()), ..Repartitioned::default() }
    }

    /// Fixes the number of partitions. Without it the topic gets as many as the largest topic it is fed from.
    #[must_use]
    pub fn with_partitions(self, partitions: i32) -> Self {
        Repartitioned { partitions: Some(partitions), ..self }
    }

    /// Lets windows below close although no more records come, as [`Source::with_heartbeats`](crate::Source::with_heartbeats) does: in a topic
    /// of the application's own, that nobody else reads. A reset deletes it, heartbeats and all.
    ///
    /// ```
    /// use millstream::prelude::*;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, String>("orders").select_key(|_order, customer| customer.clone());
    /// let by_customer = orders.repartition(Repartitioned::named("by-customer").with_heartbeats(seconds(30)));
    /// let visits = by_customer.group_by_key().windowed_by(SessionWindows::of_inactivity_gap_with_no_grace(minutes(30)));
    /// visits.emit_strategy(EmitStrategy::on_window_close()).count(()).to_stream().to("visits");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    ///
    /// # Panics
    /// If `every` is shorter than a millisecond.
    #[track_caller]
    #[must_use]
    pub fn with_heartbeats(self, every: Duration) -> Self {
        check_heartbeats(every);
        Repartitioned { heartbeats: Some(every), ..self }
    }
}

impl From<()> for Repartitioned {
    fn from((): ()) -> Self {
        Repartitioned::default()
    }
}

impl From<&str> for Repartitioned {
    fn from(name: &str) -> Self {
        Repartitioned::named(name)
    }
}
