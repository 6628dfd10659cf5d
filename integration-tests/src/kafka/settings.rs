//! How the brokers of the tests are set up: no waiting, little memory. Written once, for a container, a JVM and a cluster.

use anyhow::Result;

use crate::ports::free_port;

/// The settings every broker of the tests has, but for its number, addresses, folders and replicas.
const COMMON: &[(&str, &str)] = &[
    ("process.roles", "broker,controller"),
    ("controller.listener.names", "CONTROLLER"),
    // A topic that nobody created is a mistake of the test, or of millstream.
    ("auto.create.topics.enable", "false"),
    ("offsets.topic.num.partitions", "4"),
    ("transaction.state.log.num.partitions", "4"),
    ("broker.heartbeat.interval.ms", "500"),
    ("share.coordinator.state.topic.num.partitions", "4"),
    ("group.initial.rebalance.delay.ms", "0"),
    // Lets a test see a member lost within a second.
    ("group.min.session.timeout.ms", "500"),
    // The same for streams groups (KIP-1071), whose members take these times from the group's settings.
    ("group.streams.min.session.timeout.ms", "500"),
    ("group.streams.min.heartbeat.interval.ms", "100"),
    ("group.streams.initial.rebalance.delay.ms", "0"),
    // The same for groups whose sessions and heartbeats are the brokers' to say (KIP-848).
    ("group.consumer.min.session.timeout.ms", "500"),
    ("group.consumer.session.timeout.ms", "10000"),
    ("group.consumer.min.heartbeat.interval.ms", "100"),
    ("group.consumer.heartbeat.interval.ms", "300"),
    // Of topics that the tests do not make themselves; the others have it of their own.
    ("log.retention.ms", "-1"),
    // The default takes a quarter of the small heap.
    ("log.cleaner.dedupe.buffer.size", "4194304"),
];

/// Name and value of each setting.
pub(super) type Properties = Vec<(String, String)>;

/// The addresses and the heap of a broker that is alone; the rest is the same for all.
#[derive(Debug, Clone)]
pub(super) struct BrokerSettings {
    pub(super) port: u16,
    controller_port: u16,
    pub(super) heap: Heap,
    life: Life,
}

/// What is to become of a broker that is alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It is used to the end.
    Shared,
    /// It may be killed, and started again.
    Hard,
}

impl Life {
    /// How long its controller waits for a sign of it.
    fn session_timeout_ms(self) -> &'static str {
        match self {
            // A machine with other things to do, too, may let it stand still for seconds, and nobody else has its partitions.
            Life::Shared => "60000",
            // A broker that was killed and starts again is let in when its earlier life has timed out. That has to be before it looks for
            // transactions that took too long (10 s after its start): it takes partitions whose leader it does not know for deleted ones,
            // skips the marks of their transactions, and these stay open for good.
            Life::Hard => "3000",
        }
    }
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
    /// The JVM's options for it. A small broker does not live for long enough to repay what an optimising compiler costs.
    pub(super) fn jvm_options(self) -> &'static [&'static str] {
        match self {
            Heap::Small => &["-Xmx512m", "-XX:TieredStopAtLevel=1"],
            Heap::Large => &["-Xmx2g"],
        }
    }
}

impl BrokerSettings {
    /// Two ports that nothing listens on at the moment.
    pub(super) fn with_free_ports(heap: Heap, life: Life) -> Result<Self> {
        let port = free_port(&[])?;
        Ok(Self { port, controller_port: free_port(&[port])?, heap, life })
    }

    pub(super) fn bootstrap_servers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Every setting, for a broker that listens on `host`.
    pub(super) fn properties(&self, host: &str) -> Properties {
        let Self { port, controller_port, .. } = self;
        let own = [
            ("node.id", "1".to_owned()),
            ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned()),
            ("listeners", format!("PLAINTEXT://{host}:{port},CONTROLLER://127.0.0.1:{controller_port}")),
            ("advertised.listeners", format!("PLAINTEXT://127.0.0.1:{port}")),
            ("controller.quorum.voters", format!("1@127.0.0.1:{controller_port}")),
            ("broker.session.timeout.ms", self.life.session_timeout_ms().to_owned()),
        ];
        complete(own, 1)
    }
}

/// The settings of a broker in a cluster of `nodes`: its own, those of replication, and those that all have.
pub(super) fn complete<const N: usize>(own: [(&str, String); N], nodes: usize) -> Properties {
    let replicas = nodes.min(3);
    let replication = [
        ("default.replication.factor", replicas),
        ("min.insync.replicas", replicas.div_ceil(2)),
        ("offsets.topic.replication.factor", replicas),
        ("transaction.state.log.replication.factor", replicas),
        ("transaction.state.log.min.isr", replicas.div_ceil(2)),
        ("share.coordinator.state.topic.replication.factor", replicas),
        ("share.coordinator.state.topic.min.isr", replicas.div_ceil(2)),
    ];
    let common = COMMON.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let replication = replication.into_iter().map(|(name, value)| (name, value.to_string()));
    common.chain(replication).chain(own).map(|(name, value)| (name.to_owned(), value)).collect()
}
