//! How a stream is sent through a topic of its own so that equal keys meet.

/// Options of [`KStream::repartition`](crate::KStream::repartition) (Kafka Streams' `Repartitioned`). `()` takes the defaults, a
/// string is the name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repartitioned {
    pub(crate) name: Option<String>,
    pub(crate) partitions: Option<i32>,
}

impl Repartitioned {
    /// Names the topic: in Kafka it is `<application id>-<name>-repartition`.
    pub fn named(name: impl Into<String>) -> Self {
        Repartitioned { name: Some(name.into()), partitions: None }
    }

    /// Fixes the number of partitions. Without it the topic gets as many as the largest topic it is fed from.
    #[must_use]
    pub fn with_partitions(self, partitions: i32) -> Self {
        Repartitioned { partitions: Some(partitions), ..self }
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
