//! The order and inventory example, fed by its own made-up shop and judged by its own recount.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use millstream::kafka::TopicReader;
use millstream::{Settings, Topology};
use millstream_examples::order_inventory::events::{Availability, OrderEvent, StockMoved};
use millstream_examples::order_inventory::recount::{Recount, View};
use millstream_examples::order_inventory::shop::{InputEvent, Shop};
use millstream_examples::order_inventory::topics::Topics as ShopTopics;
use millstream_examples::order_inventory::topology::{
    RESERVATIONS, STATUS, STOCK, Views, topology as shop_topology,
};
use serde::de::DeserializeOwned;

use super::{Feed, Given, topic_of};
use crate::faults::Guarantee;
use crate::faults::check::{Findings, Rules, Topics, ViolationKind, each_once, newest};
use crate::kafka::{ClusterClient, NewRecord, ReadRecord};

pub(super) const TOPICS: &[Given] = &[
    Given { name: "orders", passed_on: None },
    Given { name: "stock-movements", passed_on: None },
    Given { name: "order-availability", passed_on: None },
];

pub(super) fn topology(application_id: &str) -> millstream::Result<Topology> {
    shop_topology(&ShopTopics::with_prefix(&topic_of(application_id, "")), Views::default())
}

/// The shop, which acts on the program's answers.
pub(super) struct ShopFeed {
    shop: Shop,
    answers: TopicReader,
}

impl ShopFeed {
    pub(super) fn new(seed: u64, client: &ClusterClient, application_id: &str) -> Result<Self> {
        let settings = Settings::new(client.bootstrap_servers());
        let topic = topic_of(application_id, "order-availability");
        let answers = TopicReader::from_beginning(&settings, &format!("{application_id}-shop"), &[&topic])?;
        Ok(Self { shop: Shop::new(seed, "order-"), answers })
    }
}

impl Feed for ShopFeed {
    fn next(&mut self) -> Result<Option<(&'static str, NewRecord)>> {
        let shop = &mut self.shop;
        self.answers.read(Duration::ZERO, |record| {
            shop.answered(&record.value::<Availability>()?);
            Ok(())
        })?;
        Ok(match shop.next_event() {
            None => None,
            Some(InputEvent::Order(event)) => {
                let record = NewRecord::new(event.order().order_id.as_str(), serde_json::to_vec(&event)?);
                Some(("orders", record))
            }
            Some(InputEvent::Stock(moved)) => {
                let record = NewRecord::new(moved.sku.as_str(), serde_json::to_vec(&moved)?);
                Some(("stock-movements", record))
            }
        })
    }
}

pub(super) fn check(
    topics: &Topics,
    changelogs: &BTreeMap<String, Vec<ReadRecord>>,
    rules: Rules,
) -> Result<Findings> {
    let events: Vec<OrderEvent> = all(&topics["orders"])?;
    let answers: Vec<Availability> = all(&topics["order-availability"])?;
    let placed = events.iter().filter(|event| matches!(event, OrderEvent::Placed(_)));
    let placed = placed.map(|event| event.order().order_id.as_str());
    let answered = answers.iter().map(|answer| answer.order_id.as_str());
    let mut findings = each_once("order-availability", placed.clone(), answered, rules.guarantee);

    let view = view(changelogs)?;
    let may_miss = !rules.hold_to_all();
    for order in placed.filter(|order| !may_miss && !view.status.contains_key(*order)) {
        findings.add(ViolationKind::Lost, format!("{order} has no row in {}", STATUS.name()));
    }
    if rules.guarantee == Guarantee::ExactlyOnce {
        let mut recount = Recount::default();
        events.iter().for_each(|event| recount.order_event(event));
        all::<StockMoved>(&topics["stock-movements"])?.iter().for_each(|moved| recount.stock_moved(moved));
        answers.iter().for_each(|answer| recount.answer(answer));
        // The number of answers to an order was checked above, by name.
        let differences = recount.differences(&view);
        for difference in differences.iter().filter(|difference| difference.subject != "answers") {
            findings.add(ViolationKind::Diverged, difference.to_string());
        }
    }
    Ok(findings)
}

/// What the stores say, by their changelogs.
fn view(changelogs: &BTreeMap<String, Vec<ReadRecord>>) -> Result<View> {
    let mut view = View::default();
    let text = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
    for (key, value) in newest(&changelogs[STOCK.name()]) {
        let on_hand = value.try_into().context("stock has eight bytes")?;
        view.stock.insert(text(key), i64::from_be_bytes(on_hand));
    }
    for (key, value) in newest(&changelogs[RESERVATIONS.name()]) {
        view.reservations.insert(text(key), serde_json::from_slice(value)?);
    }
    for (key, value) in newest(&changelogs[STATUS.name()]) {
        view.status.insert(text(key), serde_json::from_slice(value)?);
    }
    Ok(view)
}

fn all<T: DeserializeOwned>(records: &[ReadRecord]) -> Result<Vec<T>> {
    let values = records.iter().map(|record| record.value.as_deref().unwrap_or_default());
    values.map(|value| Ok(serde_json::from_slice(value)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::read_back;
    use super::*;

    const PLACED: &str =
        r#"{"event":"placed","order_id":"order-1","sku":"figs","quantity":2,"customer":"ada"}"#;
    const ANSWER: &str =
        r#"{"order_id":"order-1","sku":"figs","quantity":2,"on_hand":5,"reserved":0,"promised":true}"#;
    const RESERVED: &str = r#"{"reserved":2,"promised_orders":1,"refused_orders":0,"decision":null}"#;
    const PROMISED: &str = r#"{"sku":"figs","quantity":2,"state":"promised"}"#;

    fn violations(answers: &[&str], on_hand: i64, status: &str) -> Vec<ViolationKind> {
        let delivery = read_back(0, "figs", r#"{"sku":"figs","quantity":5}"#);
        let answers = answers.iter().map(|answer| read_back(0, "order-1", *answer)).collect();
        let topics = Topics::from([
            ("orders", vec![read_back(0, "order-1", PLACED)]),
            ("stock-movements", vec![delivery]),
            ("order-availability", answers),
        ]);
        let changelogs = BTreeMap::from([
            (STOCK.name().to_owned(), vec![read_back(0, "figs", on_hand.to_be_bytes().to_vec())]),
            (RESERVATIONS.name().to_owned(), vec![read_back(0, "figs", RESERVED)]),
            (STATUS.name().to_owned(), vec![read_back(0, "order-1", status)]),
        ]);
        let rules = Rules { guarantee: Guarantee::ExactlyOnce, has_one_writer: true };
        let findings = check(&topics, &changelogs, rules).expect("all of it can be decoded");
        findings.violations.iter().map(|violation| violation.kind).collect()
    }

    #[test]
    fn an_order_without_an_answer_with_two_or_with_a_wrong_stock_is_seen() {
        assert_eq!(violations(&[ANSWER], 5, PROMISED), []);
        assert!(violations(&[], 5, PROMISED).contains(&ViolationKind::Lost));
        assert!(violations(&[ANSWER, ANSWER], 5, PROMISED).contains(&ViolationKind::Duplicated));
        assert_eq!(violations(&[ANSWER], 10, PROMISED), [ViolationKind::Diverged], "counted twice");
        let placed = r#"{"sku":"figs","quantity":2,"state":"placed"}"#;
        assert_eq!(violations(&[ANSWER], 5, placed), [ViolationKind::Diverged], "the answer was not heard");
    }
}
