//! Joins orders with a table of prices. A price only ever rises, so an order that is joined with an older price than an earlier order
//! of the same key shows a table that has forgotten something. In a versioned table that is also so of the past: there orders are older than
//! the newest prices.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use millstream::clock::SystemClock;
use millstream::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Feed, Given, PassedOn, topic_of};
use crate::faults::Guarantee;
use crate::faults::check::{Findings, Rules, Topics, ViolationKind, each_once, in_sequence};
use crate::kafka::{NewRecord, ReadRecord};

const PRICES: StoreName<String, String> = StoreName::new("prices");

pub(super) const TOPICS: &[Given] = &[
    Given { name: "orders", passed_on: None },
    Given { name: "price-changes", passed_on: None },
    Given { name: "priced", passed_on: Some(PassedOn { from: "orders", input_of: order_of }) },
];

const SKUS: u32 = 30;

/// How long before its time an order of a versioned table is placed: several changes of each price.
const LOOK_BACK: i64 = 2_000;
/// Longer than any run.
const HISTORY: Duration = Duration::from_secs(24 * 3600);

/// What the table keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prices {
    Newest,
    Versions,
}

pub(super) fn topology(application_id: &str, kept: Prices) -> millstream::Result<Topology> {
    let topic = |name| topic_of(application_id, name);
    let builder = StreamsBuilder::new();
    let prices = builder.table::<String, String>(topic("price-changes"));
    let prices = match kept {
        Prices::Newest => prices.materialized(PRICES.without_caching()),
        Prices::Versions => prices.materialized(PRICES.versioned(HISTORY)),
    };
    let orders = builder.stream::<String, String>(topic("orders"));
    let priced =
        orders.left_join(&prices, |order, price| format!("{order} {}", price.map_or("0", String::as_str)));
    priced.to(topic("priced"));
    builder.build()
}

/// An output is an order's number and its price.
fn order_of(priced: &str) -> &str {
    priced.split(' ').next().unwrap_or_default()
}

pub(super) struct OrdersAndPrices {
    chance: StdRng,
    look_back: i64,
    /// When the next record happens, a millisecond after the one before. They are not older than the topics, which would be compacted.
    now: i64,
    orders: u64,
    prices: BTreeMap<u32, u64>,
}

impl OrdersAndPrices {
    pub(super) fn new(seed: u64, kept: Prices) -> Self {
        let look_back = if kept == Prices::Versions { LOOK_BACK } else { 0 };
        let (chance, now) = (StdRng::seed_from_u64(seed), SystemClock::shared().wall_clock().as_millis());
        Self { chance, look_back, now, orders: 0, prices: BTreeMap::new() }
    }
}

impl Feed for OrdersAndPrices {
    fn next(&mut self) -> Result<Option<(&'static str, NewRecord)>> {
        let (sku, is_order) = (self.chance.random_range(0..SKUS), self.chance.random_bool(0.7));
        let key = format!("sku-{sku}");
        self.now += 1;
        if is_order {
            self.orders += 1;
            let order = NewRecord::new(key, self.orders.to_string()).at(self.now - self.look_back);
            return Ok(Some(("orders", order)));
        }
        let price = self.prices.entry(sku).or_insert(0);
        *price += 1;
        Ok(Some(("price-changes", NewRecord::new(key, price.to_string()).at(self.now))))
    }
}

pub(super) fn check(
    topics: &Topics,
    changelogs: &BTreeMap<String, Vec<ReadRecord>>,
    rules: Rules,
    kept: Prices,
) -> Result<Findings> {
    let orders = numbers_by_sku(&topics["orders"])?;
    let priced = priced_by_sku(&topics["priced"])?;
    let times = times_by_number(&topics["orders"]);
    let prices = numbers_by_sku(&topics["price-changes"])?;
    let placed = orders.values().flatten().copied();
    let answered = priced.values().flatten().map(|(order, _)| *order);
    let mut findings = each_once("priced", placed, answered, rules.guarantee);
    for (sku, priced) in &priced {
        let highest = prices.get(sku).and_then(|prices| prices.last()).copied().unwrap_or(0);
        for (order, price) in priced.iter().filter(|(_, price)| *price > highest) {
            let what =
                format!("order {order} has the price {price}, and {sku} never cost more than {highest}");
            findings.add(ViolationKind::Diverged, what);
        }
        if kept == Prices::Versions {
            let changes: Vec<&ReadRecord> = topics["price-changes"]
                .iter()
                .filter(|change| change.key_text().as_ref() == Some(sku))
                .collect();
            for (order, price) in priced {
                let time = times.get(order).copied().unwrap_or_default();
                // The prices of a key are 1, 2, 3 and so on.
                let valid = changes.iter().filter(|change| change.timestamp <= time).count() as u64;
                if *price > valid {
                    let what = format!(
                        "order {order} has the price {price} of {sku}, which cost {valid} at its time"
                    );
                    findings.add(ViolationKind::Diverged, what);
                }
            }
        }
        let falls = priced.windows(2).filter(|pair| pair[1].1 < pair[0].1);
        for pair in falls.filter(|_| rules.guarantee == Guarantee::ExactlyOnce) {
            let [(before, old), (after, new)] = [pair[0], pair[1]];
            let what = format!("order {after} has the price {new} after order {before} had {old}");
            findings.add(ViolationKind::Diverged, what);
        }
    }
    if !rules.hold_to_all() {
        return Ok(findings);
    }
    let changelog = numbers_by_sku(&changelogs[PRICES.name()])?;
    for (sku, prices) in &prices {
        let found = changelog.get(sku).cloned().unwrap_or_default();
        let what = format!("{sku} in the changelog");
        findings.extend(in_sequence(&what, prices, &found, rules.guarantee));
    }
    Ok(findings)
}

fn numbers_by_sku(records: &[ReadRecord]) -> Result<BTreeMap<String, Vec<u64>>> {
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for record in records {
        let text = record.value_text().context("a number was deleted")?;
        let number = text.parse().with_context(|| format!("{text:?} is no number"))?;
        numbers.entry(record.key_text().unwrap_or_default()).or_default().push(number);
    }
    Ok(numbers)
}

/// When each order was placed.
fn times_by_number(orders: &[ReadRecord]) -> BTreeMap<u64, Option<i64>> {
    let numbered = |order: &ReadRecord| Some((order.value_text()?.parse().ok()?, order.timestamp));
    orders.iter().filter_map(numbered).collect()
}

/// Order and price.
fn priced_by_sku(records: &[ReadRecord]) -> Result<BTreeMap<String, Vec<(u64, u64)>>> {
    let mut priced: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    for record in records {
        let text = record.value_text().unwrap_or_default();
        let (order, price) = text.split_once(' ').with_context(|| format!("{text:?} is no priced order"))?;
        priced
            .entry(record.key_text().unwrap_or_default())
            .or_default()
            .push((order.parse()?, price.parse()?));
    }
    Ok(priced)
}

#[cfg(test)]
mod tests {
    use super::super::read_back;
    use super::*;
    use crate::faults::check::Violation;

    fn violations(priced: &[&str], changelog: &[&str]) -> Vec<ViolationKind> {
        violations_of(Prices::Newest, priced, changelog)
    }

    fn findings(
        topics: &Topics,
        changelogs: &BTreeMap<String, Vec<ReadRecord>>,
        kept: Prices,
    ) -> Vec<Violation> {
        let rules = Rules { guarantee: Guarantee::ExactlyOnce, has_one_writer: true };
        check(topics, changelogs, rules, kept).expect("all of it can be decoded").violations
    }

    /// All orders and prices are of the same time.
    fn violations_of(kept: Prices, priced: &[&str], changelog: &[&str]) -> Vec<ViolationKind> {
        let read = |values: &[&str]| -> Vec<ReadRecord> {
            values.iter().enumerate().map(|(offset, value)| read_back(offset, "sku-1", *value)).collect()
        };
        let topics = Topics::from([
            ("orders", read(&["1", "2", "3"])),
            ("price-changes", read(&["1", "2"])),
            ("priced", read(priced)),
        ]);
        let changelogs = BTreeMap::from([(PRICES.name().to_owned(), read(changelog))]);
        findings(&topics, &changelogs, kept).iter().map(|violation| violation.kind).collect()
    }

    #[test]
    fn orders_lost_doubled_and_joined_with_a_forgotten_price_are_seen() {
        let both = &["1", "2"];
        assert_eq!(violations(&["1 0", "2 1", "3 2"], both), []);
        assert_eq!(violations(&["1 0", "3 2"], both), [ViolationKind::Lost]);
        assert_eq!(violations(&["1 0", "2 1", "2 1", "3 2"], both), [ViolationKind::Duplicated]);
        assert_eq!(violations(&["1 2", "2 1", "3 2"], both), [ViolationKind::Diverged], "the price fell");
        assert_eq!(violations(&["1 0", "2 1", "3 7"], both), [ViolationKind::Diverged], "no such price");
        assert_eq!(violations(&["1 0", "2 1", "3 2"], &["1"]), [ViolationKind::Lost]);
        assert_eq!(violations(&["1 0", "2 1", "3 2"], &["1", "1", "2"]), [ViolationKind::Duplicated]);
    }

    #[test]
    fn a_version_that_is_forgotten_or_of_the_future_is_seen() {
        let both = &["1", "2"];
        let check = |priced: &[&str]| violations_of(Prices::Versions, priced, both);
        assert_eq!(check(&["1 0", "2 1", "3 2"]), []);
        assert_eq!(check(&["1 1", "2 0", "3 2"]), [ViolationKind::Diverged], "forgotten");

        let at = |offset: usize, value: &str, time| ReadRecord {
            timestamp: Some(time),
            ..read_back(offset, "sku-1", value)
        };
        let topics = Topics::from([
            ("orders", vec![at(0, "1", 15)]),
            ("price-changes", vec![at(0, "1", 10), at(1, "2", 20)]),
            ("priced", vec![at(0, "1 2", 15)]),
        ]);
        let changelogs = BTreeMap::from([(PRICES.name().to_owned(), topics["price-changes"].clone())]);
        let found = findings(&topics, &changelogs, Prices::Versions);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["diverged: order 1 has the price 2 of sku-1, which cost 1 at its time"]);
    }
}
