//! The programs that are simulated, and what must come out of them. Each result names the input it comes from, so that what is lost
//! or there twice can be told.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use millstream_state_stores::{HasSerde, KeyValueStoreBuilder, RecordField, Timestamp};

use super::cluster::{Cluster, LogRecord, TopicPartition};
use super::processors::{BySku, CheckOrders, KeepStock, Tally};
use crate::error::Result;
use crate::topology::{
    Consumed, Partitions, RepartitionTopic, Sink, TopicName, Topology, changelog_topic, internal_topic,
};

pub(super) const APPLICATION: &str = "shop";
const BY_SKU: &str = "by-sku-repartition";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Orders by their number are grouped by what was ordered: two sub-topologies, a store of all order numbers for each sku.
    Tally,
    /// Orders by sku meet the stock of the sku at their time: one sub-topology with two inputs, a store of the stock.
    Join,
    /// The same, but the store's changelog is the stock topic.
    JoinWithCopy,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Program {
    pub(super) kind: Kind,
    pub(super) is_cached: bool,
    /// Whether the partitions of results are chosen by what must know how many there are.
    pub(super) chooses_partitions: bool,
    pub(super) partitions: i32,
}

/// A record for an input topic.
pub(super) struct InputRecord {
    pub(super) topic: Arc<str>,
    pub(super) record: LogRecord,
}

impl Program {
    pub(super) fn topology(&self) -> Result<Topology> {
        let mut topology = Topology::new();
        let text = || Consumed::with(String::serde(), String::serde());
        let store = KeyValueStoreBuilder::new(self.store(), String::serde(), String::serde());
        let store = store.with_caching(self.is_cached).with_logging(self.kind != Kind::JoinWithCopy);
        topology.add_source("orders", ["orders"], text())?;
        topology.add_state_store(Arc::new(store))?;
        match self.kind {
            Kind::Tally => {
                let by_sku = TopicName::Internal(BY_SKU.to_string());
                topology
                    .add_repartition_topic(RepartitionTopic { name: BY_SKU.to_string(), partitions: None })?;
                topology.add_processor("by-sku", &["orders"], &[], |_| Ok(BySku))?;
                let to_sku = Sink::topic(by_sku.clone());
                topology.add_sink("to-sku", &["by-sku"], to_sku, String::serde(), String::serde())?;
                topology.add_source("from-sku", [by_sku], text())?;
                let asks = self.chooses_partitions;
                topology.add_processor("tally", &["from-sku"], &["tallies"], move |wiring| {
                    let ask = asks.then(|| Arc::clone(wiring.partition_count));
                    Ok(Tally { tallies: wiring.key_value_store("tallies")?, ask })
                })?;
            }
            Kind::Join | Kind::JoinWithCopy => {
                let stock = Consumed::with(String::serde(), Option::<String>::field_serde());
                topology.add_source("stock", ["stock"], stock.clone())?;
                topology.copartition(&["orders", "stock"])?;
                topology.add_processor("keep", &["stock"], &["on-hand"], |wiring| {
                    Ok(KeepStock { on_hand: wiring.key_value_store("on-hand")? })
                })?;
                if self.kind == Kind::JoinWithCopy {
                    topology.connect_source_store_and_topic("on-hand", "stock", stock)?;
                }
                topology.add_processor("check", &["orders"], &["on-hand"], |wiring| {
                    Ok(CheckOrders { on_hand: wiring.key_value_store("on-hand")? })
                })?;
            }
        }
        let last = if self.kind == Kind::Tally { "tally" } else { "check" };
        let results = match self.chooses_partitions {
            true => Sink::topic("results").partitioned_by(|_result, _count| Partitions::ByKey),
            false => Sink::topic("results"),
        };
        topology.add_sink("results", &[last], results, String::serde(), String::serde())?;
        Ok(topology)
    }

    pub(super) fn store(&self) -> &'static str {
        match self.kind {
            Kind::Tally => "tallies",
            Kind::Join | Kind::JoinWithCopy => "on-hand",
        }
    }

    pub(super) fn changelog(&self) -> Arc<str> {
        match self.kind {
            Kind::JoinWithCopy => self.kept_topic(),
            _ => changelog_topic(APPLICATION, self.store()).into(),
        }
    }

    pub(super) fn source_topics(&self) -> BTreeMap<Arc<str>, i32> {
        [("orders".into(), self.partitions), (self.kept_topic(), self.partitions)].into()
    }

    /// The source topic that the tasks with the store read, and no others.
    pub(super) fn kept_topic(&self) -> Arc<str> {
        match self.kind {
            Kind::Tally => internal_topic(APPLICATION, BY_SKU).into(),
            Kind::Join | Kind::JoinWithCopy => "stock".into(),
        }
    }

    pub(super) fn topics(&self) -> BTreeMap<Arc<str>, i32> {
        let mut topics = self.source_topics();
        topics.insert("results".into(), 1);
        topics.insert(self.changelog(), self.partitions);
        topics
    }

    /// The record of an input with this number, which is also its time: no two have the same.
    pub(super) fn input(&self, number: usize, below: impl Fn(usize) -> usize) -> InputRecord {
        let sku = format!("sku-{}", below(4));
        let (topic, key, value) = match self.kind {
            Kind::Tally => ("orders", format!("o{number}"), Some(sku)),
            Kind::Join | Kind::JoinWithCopy if below(3) > 0 => ("orders", sku, Some(format!("o{number}"))),
            // It is sold out.
            Kind::Join | Kind::JoinWithCopy if below(4) == 0 => ("stock", sku, None),
            Kind::Join | Kind::JoinWithCopy => ("stock", sku, Some(format!("s{number}"))),
        };
        let timestamp = Timestamp::from_millis(1_000 + i64::try_from(number).unwrap_or(0));
        let record =
            LogRecord { key: Some(key.into_bytes()), value: value.map(String::into_bytes), timestamp };
        InputRecord { topic: topic.into(), record }
    }

    /// Whether input may arrive while the program runs. The join waits for whichever topic is behind only while the brokers have more.
    pub(super) fn input_may_trickle(&self) -> bool {
        self.kind == Kind::Tally
    }

    /// Whether everything that a record of a source topic leads to is committed.
    pub(super) fn has_results(&self, cluster: &Cluster, from: &TopicPartition, record: &LogRecord) -> bool {
        let (key, value) = (text(&record.key), text(&record.value));
        let all = |topic: &str| cluster.topics[topic].iter().flat_map(|log| log.committed());
        let logged = |is_it: &dyn Fn(&LogRecord) -> bool| all(&self.changelog()).any(|it| is_it(&it.record));
        let resulted = |is_it: &dyn Fn(&LogRecord) -> bool| all("results").any(|it| is_it(&it.record));
        match (self.kind, &*from.0) {
            (Kind::Tally, "orders") => {
                let by_sku = internal_topic(APPLICATION, BY_SKU);
                all(&by_sku).any(|it| text(&it.record.value) == key)
            }
            (Kind::Tally, _) => {
                let has = |it: &LogRecord| {
                    text(&it.key) == key && text(&it.value).split(' ').any(|order| order == value)
                };
                logged(&has) && resulted(&has)
            }
            (Kind::Join | Kind::JoinWithCopy, "orders") => {
                resulted(&|it| text(&it.value).starts_with(&format!("{value} ")))
            }
            (Kind::Join, _) => {
                let follows = |it: &LogRecord| text(&it.key) == key && it.timestamp >= record.timestamp;
                let newest = all(&self.changelog()).filter(|it| text(&it.record.key) == key).last();
                // A row that came and went between two commits was never there, and one that is not there needs no tombstone.
                let is_gone = || newest.is_none_or(|it| it.record.value.is_none());
                let is_sold_out = |it: &LogRecord| follows(it) && it.value.is_none();
                logged(&follows) || is_gone() && all("stock").any(|it| is_sold_out(&it.record))
            }
            // The topic itself is all that is needed to make the row.
            (Kind::JoinWithCopy, _) => true,
        }
    }

    /// What the input gives when it is counted again: the rows of the store and the results, by key and in order.
    pub(super) fn recount(&self, cluster: &Cluster) -> Recount {
        let mut input: Vec<(bool, Rc<LogRecord>)> = Vec::new();
        for topic in ["stock", "orders"] {
            let logs = cluster.topics.get(topic).into_iter().flatten();
            input.extend(logs.flat_map(|log| log.committed()).map(|it| (topic == "orders", it.record)));
        }
        input.sort_by_key(|(_, record)| record.timestamp);
        let mut recount = Recount::default();
        for (is_order, record) in input {
            let (key, value) = (text(&record.key), text(&record.value));
            match (self.kind, is_order) {
                (Kind::Tally, _) => {
                    recount.store.entry(value.to_string()).or_default().push(key.to_string());
                }
                (Kind::Join | Kind::JoinWithCopy, false) if record.value.is_none() => {
                    recount.store.remove(key);
                }
                (Kind::Join | Kind::JoinWithCopy, false) => {
                    recount.store.insert(key.to_string(), vec![value.to_string()]);
                }
                (Kind::Join | Kind::JoinWithCopy, true) => {
                    let on_hand = recount.store.get(key).map_or("none", |rows| &rows[0]);
                    let result = format!("{value} {on_hand}");
                    recount.results.entry(key.to_string()).or_default().push(result);
                }
            }
        }
        recount
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Recount {
    /// By key: the words of the row.
    pub(super) store: BTreeMap<String, Vec<String>>,
    /// By key: the results of a join. Those of a tally follow from the store.
    pub(super) results: BTreeMap<String, Vec<String>>,
}

/// The programs write text only.
pub(super) fn text(field: &Option<Vec<u8>>) -> &str {
    field.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("")
}
