//! How a broker of the tests is set up: one node, no waiting, little memory. Written once, for container and JVM.

use anyhow::Result;

use crate::ports::free_port;

/// The settings every broker of the tests has, but for its addresses and folders.
const COMMON: &[(&str, &str)] = &[
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("controller.listener.names", "CONTROLLER"),
    ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"),
    // A topic that nobody created is a mistake of the test, or of millstream.
    ("auto.create.topics.enable", "false"),
    ("offsets.topic.replication.factor", "1"),
    ("offsets.topic.num.partitions", "4"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("transaction.state.log.num.partitions", "4"),
    // How often the broker looks for transactions that took too long; ten seconds by default.
    ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "500"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
    ("share.coordinator.state.topic.num.partitions", "4"),
    ("group.initial.rebalance.delay.ms", "0"),
    // Lets a test see a member lost within a second.
    ("group.min.session.timeout.ms", "500"),
    // The default takes a quarter of the small heap.
    ("log.cleaner.dedupe.buffer.size", "4194304"),
];

/// The addresses and the heap of one broker of the tests; the rest is the same for all.
#[derive(Debug, Clone)]
pub(super) struct BrokerSettings {
    pub(super) port: u16,
    controller_port: u16,
    pub(super) heap: Heap,
}

/// The memory of a broker's JVM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heap {
    /// Enough for tests.
    Small,
    /// So that the broker is not what a benchmark measures.
    Large,
}

impl Heap {
    /// The JVM's option for it.
    pub(super) fn jvm_option(self) -> &'static str {
        match self {
            Heap::Small => "-Xmx512m",
            Heap::Large => "-Xmx2g",
        }
    }
}

impl BrokerSettings {
    /// Two ports that nothing listens on at the moment.
    pub(super) fn with_free_ports(heap: Heap) -> Result<Self> {
        let port = free_port(&[])?;
        Ok(Self { port, controller_port: free_port(&[port])?, heap })
    }

    pub(super) fn bootstrap_servers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Name and value of every setting, for a broker that listens on `host`.
    pub(super) fn properties(&self, host: &str) -> Vec<(String, String)> {
        let Self { port, controller_port, .. } = self;
        let own = [
            ("listeners", format!("PLAINTEXT://{host}:{port},CONTROLLER://127.0.0.1:{controller_port}")),
            ("advertised.listeners", format!("PLAINTEXT://127.0.0.1:{port}")),
            ("controller.quorum.voters", format!("1@127.0.0.1:{controller_port}")),
        ];
        let common = COMMON.iter().map(|(name, value)| (*name, (*value).to_owned()));
        common.chain(own).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
