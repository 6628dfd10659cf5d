//! Apache Kafka as a cluster of nodes on the JDK, each of them broker and controller, each behind a [`Proxy`].
//!
//! The nodes talk to each other, and the test to them, past the proxies; whoever starts from [`KafkaCluster::proxied_servers`] is
//! told the proxies' addresses and meets every fault of the network.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::client::ClusterClient;
use super::jvm::JvmBroker;
use super::proxy::Proxy;
use super::settings::{Heap, Properties, complete};
use super::{DEADLINE_OF_A_START, DEADLINE_OF_A_STOP};
use crate::ports::free_port;
use crate::wait::await_until;

/// How soon a node that is silent is given up by the others, so that its partitions get new leaders: a fault must not cost the
/// nine seconds of the default.
const NODE_SESSION_TIMEOUT_MS: &str = "2000";

/// A running cluster. What it started, it ends, also when the test process dies.
#[derive(Debug)]
pub struct KafkaCluster {
    client: ClusterClient,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    broker: JvmBroker,
    proxy: Proxy,
}

/// Where one node listens.
#[derive(Debug, Clone, Copy)]
struct Ports {
    /// For clients, behind the proxy.
    clients: u16,
    /// For the other nodes and for the test.
    nodes: u16,
    controller: u16,
}

impl KafkaCluster {
    /// Starts so many nodes and waits until they answer. With three, every topic has three replicas, of which two must
    /// have a record before it counts as written.
    ///
    /// # Errors
    /// If there is no JDK or Maven, or a node does not come up; the error says what to install, and shows the end of a log.
    pub fn start(nodes: usize) -> Result<Self> {
        ensure!(nodes > 0, "a cluster has at least one node");
        let mut taken = Vec::new();
        let mut free = || -> Result<u16> {
            taken.push(free_port(&taken)?);
            Ok(taken[taken.len() - 1])
        };
        let ports = (0..nodes)
            .map(|_| Ok(Ports { clients: free()?, nodes: free()?, controller: free()? }))
            .collect::<Result<Vec<_>>>()?;
        let mut started: Vec<Node> = Vec::new();
        for node in 0..nodes {
            let proxy = Proxy::start(ports[node].clients, &taken)?;
            taken.push(proxy.port());
            let broker = JvmBroker::start(&properties(node, &ports, proxy.port()), Heap::Small)?;
            started.push(Node { broker, proxy });
        }
        let servers: Vec<String> = ports.iter().map(|ports| format!("127.0.0.1:{}", ports.nodes)).collect();
        let mut cluster = Self { client: ClusterClient::new(servers.join(","))?, nodes: started };
        cluster.await_in_sync(DEADLINE_OF_A_START)?;
        Ok(cluster)
    }

    /// A client that reaches the nodes past the proxies.
    #[must_use]
    pub fn client(&self) -> &ClusterClient {
        &self.client
    }

    /// The servers to configure a program with that is to meet the faults of the network.
    #[must_use]
    pub fn proxied_servers(&self) -> String {
        let servers = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.proxy.port()));
        servers.collect::<Vec<_>>().join(",")
    }

    /// How many nodes there are, running or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no nodes, which never is so.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The network between clients and a node.
    #[must_use]
    pub fn proxy(&self, node: usize) -> &Proxy {
        &self.nodes[node % self.nodes.len()].proxy
    }

    /// The node that leads a partition, if one does.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub fn leader(&self, topic: &str, partition: i32) -> Result<Option<usize>> {
        let leader = self.client.leader(topic, partition)?;
        Ok(leader.and_then(|id| usize::try_from(id - 1).ok()))
    }

    /// Stops a node as its operator would (`SIGTERM`), and waits until it has ended.
    ///
    /// # Errors
    /// If it does not run, or does not end.
    pub fn stop(&mut self, node: usize) -> Result<()> {
        self.broker(node).stop(DEADLINE_OF_A_STOP)
    }

    /// Kills a node (`kill -9`).
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn kill(&mut self, node: usize) -> Result<()> {
        self.broker(node).kill()
    }

    /// Starts a node again that was stopped or killed, with the data and the ports it had. Does not wait.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_again(&mut self, node: usize) -> Result<()> {
        self.broker(node).start_again()
    }

    /// Stops a node in its tracks (`SIGSTOP`): its connections stay open and nobody answers.
    ///
    /// # Errors
    /// If it does not run.
    pub fn freeze(&mut self, node: usize) -> Result<()> {
        self.broker(node).freeze()
    }

    /// Lets a frozen node go on.
    ///
    /// # Errors
    /// If it does not run.
    pub fn thaw(&mut self, node: usize) -> Result<()> {
        self.broker(node).thaw()
    }

    /// Waits until all nodes run and every replica is in sync.
    ///
    /// # Errors
    /// If that takes longer, or a node has ended; the error shows the end of its log.
    pub fn await_in_sync(&mut self, deadline: Duration) -> Result<()> {
        let (client, nodes) = (&self.client, &mut self.nodes);
        let count = nodes.len();
        let in_sync = await_until(deadline, format!("{count} nodes in sync"), || {
            for node in nodes.iter_mut() {
                if !node.broker.is_running().unwrap_or(false) {
                    return Some(Err(anyhow::anyhow!("a node has ended\n{}", node.broker.end_of_log())));
                }
            }
            let all_there = client.brokers() == count;
            (all_there && client.is_in_sync().unwrap_or(false)).then_some(Ok(()))
        });
        in_sync.and_then(|ended| ended).with_context(|| {
            let logs: Vec<String> = self.nodes.iter().map(|node| node.broker.end_of_log()).collect();
            logs.join("\n")
        })
    }

    fn broker(&mut self, node: usize) -> &mut JvmBroker {
        let count = self.nodes.len();
        &mut self.nodes[node % count].broker
    }
}

fn properties(node: usize, ports: &[Ports], proxy: u16) -> Properties {
    let Ports { clients, nodes, controller } = ports[node];
    let voters = ports.iter().enumerate().map(|(node, ports)| {
        let id = node + 1;
        format!("{id}@127.0.0.1:{}", ports.controller)
    });
    let listeners = [("CLIENTS", clients), ("NODES", nodes), ("CONTROLLER", controller)];
    let listeners = listeners.map(|(name, port)| format!("{name}://127.0.0.1:{port}"));
    let own = [
        ("node.id", (node + 1).to_string()),
        (
            "listener.security.protocol.map",
            "CLIENTS:PLAINTEXT,NODES:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned(),
        ),
        ("listeners", listeners.join(",")),
        ("advertised.listeners", format!("CLIENTS://127.0.0.1:{proxy},NODES://127.0.0.1:{nodes}")),
        ("inter.broker.listener.name", "NODES".to_owned()),
        ("controller.quorum.voters", voters.collect::<Vec<_>>().join(",")),
        ("broker.session.timeout.ms", NODE_SESSION_TIMEOUT_MS.to_owned()),
        ("broker.heartbeat.interval.ms", "200".to_owned()),
        ("controller.quorum.fetch.timeout.ms", NODE_SESSION_TIMEOUT_MS.to_owned()),
        ("controller.quorum.election.timeout.ms", "1000".to_owned()),
        ("replica.lag.time.max.ms", NODE_SESSION_TIMEOUT_MS.to_owned()),
    ];
    complete(own, ports.len())
}
