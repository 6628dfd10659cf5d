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
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
    ("share.coordinator.state.topic.num.partitions", "4"),
    ("group.initial.rebalance.delay.ms", "0"),
    // Lets a test see a member lost within a second.
    ("group.min.session.timeout.ms", "500"),
    // The default takes a quarter of the small heap.
    ("log.cleaner.dedupe.buffer.size", "4194304"),
];

/// The addresses of one broker of the tests; the rest is the same for all.
#[derive(Debug, Clone)]
pub(super) struct BrokerSettings {
    pub(super) port: u16,
    controller_port: u16,
}

impl BrokerSettings {
    /// Two ports that nothing listens on at the moment.
    pub(super) fn with_free_ports() -> Result<Self> {
        let port = free_port(&[])?;
        Ok(Self { port, controller_port: free_port(&[port])? })
    }

    pub(super) fn bootstrap_servers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Name and value of every setting, for a broker that listens on `host`.
    pub(super) fn properties(&self, host: &str) -> Vec<(String, String)> {
        let Self { port, controller_port } = self;
        let own = [
            ("listeners", format!("PLAINTEXT://{host}:{port},CONTROLLER://127.0.0.1:{controller_port}")),
            ("advertised.listeners", format!("PLAINTEXT://127.0.0.1:{port}")),
            ("controller.quorum.voters", format!("1@127.0.0.1:{controller_port}")),
        ];
        let common = COMMON.iter().map(|(name, value)| (*name, (*value).to_owned()));
        common.chain(own).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
