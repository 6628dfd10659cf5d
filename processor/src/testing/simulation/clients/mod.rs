//! The clients of a stream thread on the simulated cluster.

mod consumer;
mod producer;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use millstream_state_stores::Offset;

use super::clock::SimulatedClock;
use super::cluster::{Cluster, Placed, TopicPartition};
use super::fate::Fault;
use super::mutation::Mutation;
use super::process::Process;
use crate::api::Headers;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::GroupView;
use crate::task::InputMessage;
use crate::topology::RawRecord;

pub(super) use consumer::SimulatedConsumer;
pub(super) use producer::SimulatedProducer;

pub(super) type SharedCluster = Rc<RefCell<Cluster>>;

/// Makes the clients of one stream thread.
#[derive(Clone)]
pub(super) struct SimulatedClients {
    pub(super) cluster: SharedCluster,
    pub(super) process: Arc<Process>,
    pub(super) clock: Arc<SimulatedClock>,
    pub(super) mutation: Option<Mutation>,
    /// What the thread's group consumer reads: who else may write for it can be told from that.
    owned: Rc<RefCell<Vec<TopicPartition>>>,
}

impl SimulatedClients {
    pub(super) fn new(
        cluster: &SharedCluster,
        process: &Arc<Process>,
        clock: &Arc<SimulatedClock>,
        mutation: Option<Mutation>,
    ) -> Self {
        let (cluster, process, clock) = (Rc::clone(cluster), Arc::clone(process), Arc::clone(clock));
        SimulatedClients { cluster, process, clock, mutation, owned: Rc::default() }
    }

    /// How a process looks at its group.
    pub(super) fn into_group_view(self) -> GroupView {
        Box::new(move || {
            self.process.asks("members of the group")?;
            let cluster = &mut *self.cluster.borrow_mut();
            cluster.tick();
            Ok(cluster.group.describe())
        })
    }
}

impl Clients for SimulatedClients {
    type Message = Placed;
    type Consumer = SimulatedConsumer;
    type Producer = SimulatedProducer;

    fn group_consumer(
        &self,
        _settings: &Settings,
        _group: &str,
        client_id: &str,
    ) -> Result<SimulatedConsumer> {
        self.process.calls("new consumer")?;
        Ok(SimulatedConsumer::in_group(self, client_id))
    }

    fn restore_consumer(&self, _settings: &Settings, _client_id: &str) -> Result<SimulatedConsumer> {
        self.process.calls("new restore consumer")?;
        Ok(SimulatedConsumer::alone(self))
    }

    fn producer(
        &self,
        settings: &Settings,
        _client_id: &str,
        transactional_id: Option<&str>,
        _clock: &Arc<dyn Clock>,
    ) -> Result<SimulatedProducer> {
        self.process.asks("init transactions")?;
        let mut cluster = self.cluster.borrow_mut();
        cluster.tick();
        let identity = match transactional_id.map(|id| cluster.init_transactions(id)) {
            Some(Ok(identity)) => Some(identity),
            Some(Err(_not_yet)) => return Err(Error::new(ErrorKind::Retry, "a transaction is being ended")),
            None => None,
        };
        if identity.is_some() && self.process.fate.strikes(Fault::NoAnswer) {
            return Err(Error::new(ErrorKind::Retry, "nobody said whether transactions are ready"));
        }
        Ok(SimulatedProducer::new(self, identity, settings.request_timeout))
    }
}

impl InputMessage for Placed {
    fn offset(&self) -> Offset {
        self.offset
    }

    fn raw(&self) -> RawRecord<'_> {
        RawRecord {
            offset: self.offset,
            timestamp: self.record.timestamp,
            key: self.record.key.as_deref(),
            value: self.record.value.as_deref(),
        }
    }

    fn headers(&self) -> Headers {
        Headers::default()
    }
}
