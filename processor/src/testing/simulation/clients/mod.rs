//! The clients of a stream thread on the simulated cluster.

mod consumer;
mod producer;
mod staying;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use millstream_state_stores::{Offset, StoreReader};

use super::clock::SimulatedClock;
use super::cluster::{Cluster, Placed, Protocol, TopicPartition};
use super::fate::Fault;
use super::mutation::Mutation;
use super::process::Process;
use super::scenario::Scenario;
use crate::api::Headers;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::patience::MustEnd;
use crate::runtime::GroupView;
use crate::task::InputMessage;
use crate::topology::RawRecord;

pub(super) use consumer::{ASKS_FOR_STARTS, SimulatedConsumer};
pub(super) use producer::SimulatedProducer;
use staying::Staying;

pub(super) type SharedCluster = Rc<RefCell<Cluster>>;

/// Makes the clients of one stream thread.
#[derive(Clone)]
pub(super) struct SimulatedClients {
    pub(super) cluster: SharedCluster,
    pub(super) process: Arc<Process>,
    pub(super) clock: Arc<SimulatedClock>,
    pub(super) mutation: Option<Mutation>,
    protocol: Protocol,
    /// What the thread has open, and keeps.
    staying: Rc<RefCell<Staying>>,
    /// What the thread's group consumer reads: who else may write for it can be told from that.
    owned: Rc<RefCell<Vec<TopicPartition>>>,
}

impl SimulatedClients {
    pub(super) fn new(
        cluster: &SharedCluster,
        process: &Arc<Process>,
        clock: &Arc<SimulatedClock>,
        scenario: &Scenario,
    ) -> Self {
        let (cluster, process, clock) = (Rc::clone(cluster), Arc::clone(process), Arc::clone(clock));
        let staying = Rc::new(RefCell::new(Staying::new(scenario)));
        let (mutation, protocol) = (scenario.mutation, scenario.protocol);
        SimulatedClients { cluster, process, clock, mutation, protocol, staying, owned: Rc::default() }
    }

    /// Looks at the stores of the tasks that the thread reads for; the number of one that stayed and was opened again all the same.
    pub(super) fn opened_again(&self, store_of: impl Fn(i32) -> Option<Arc<StoreReader>>) -> Option<i32> {
        let staying = &mut *self.staying.borrow_mut();
        let owned = self.owned.borrow();
        let kept = owned.iter().filter(|(topic, _)| *topic == staying.topic).map(|(_, number)| *number);
        let kept: Vec<i32> = kept.collect();
        let mut stores = kept.into_iter().filter_map(|number| Some((number, store_of(number)?)));
        stores.find(|(number, store)| staying.was_opened_again(*number, store)).map(|(number, _)| number)
    }

    /// How a process looks at its group.
    pub(super) fn into_group_view(self) -> GroupView {
        Box::new(move || {
            self.process.asks("members of the group")?;
            let cluster = &mut *self.cluster.borrow_mut();
            cluster.tick();
            Ok(Some(cluster.group.describe()))
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
        _instance_id: Option<&str>,
    ) -> Result<SimulatedConsumer> {
        self.process.calls("new consumer")?;
        // Whatever an earlier thread in this place had.
        self.staying.borrow_mut().begin_anew();
        self.owned.borrow_mut().clear();
        Ok(SimulatedConsumer::in_group(self, client_id))
    }

    fn restore_consumer(
        &self,
        _settings: &Settings,
        _group: &str,
        _client_id: &str,
    ) -> Result<SimulatedConsumer> {
        self.process.calls("new restore consumer")?;
        Ok(SimulatedConsumer::alone(self))
    }

    fn producer(
        &self,
        settings: &Settings,
        _client_id: &str,
        transactional_id: Option<&str>,
        _clock: &Arc<dyn Clock>,
        _must_end: &MustEnd,
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
