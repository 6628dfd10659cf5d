//! Counts the topics again, without any of the program's machinery, and compares the result with its stores.
//!
//! What is compared depends on the content of the topics alone, not on how their partitions interleaved:
//!
//! 1. the stock on hand of a sku is the sum of its movements;
//! 2. its reservations are what `order-availability` promised, less what was shipped for orders and what was cancelled; and the
//!    numbers of orders promised and refused are those of the answers;
//! 3. every order placed has one answer, and there is no answer without an order;
//! 4. every answer follows from the figures in it: promised if, and only if, on hand less reserved was enough;
//! 5. of no sku more was promised than ever came in or was given back by a cancellation;
//! 6. the status of an order is the furthest of what its events, its answer and its shipment say;
//! 7. every input that cannot be read is a dead letter;
//! 8. the demand for a sku, where the program keeps it, is the sum of the orders placed.
//!
//! *Which* orders got a promise does depend on the interleaving of `orders` and `stock-movements`, so nothing is recounted there
//! beyond 3, 4 and 5.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use super::events::{
    Availability, OrderEvent, OrderId, OrderState, OrderStatus, Reservations, Sku, StockMoved,
};
use super::format::Fact;
use super::shop::InputEvent;
use super::topology::{DEMAND, RESERVATIONS, STATUS, STOCK};

/// Sums over the topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recount {
    pub(super) skus: BTreeMap<Sku, SkuTally>,
    pub(super) orders: HashMap<OrderId, OrderTally>,
    events: u64,
    unreadable: u64,
    dead_letters: u64,
    answers: u64,
    contradictions: Vec<Availability>,
}

/// Sums of one sku, in pieces unless they say orders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SkuTally {
    pub(super) on_hand: i64,
    pub(super) came_in: i64,
    pub(super) promised: i64,
    pub(super) shipped: i64,
    pub(super) cancelled: i64,
    pub(super) wanted: i64,
    pub(super) promised_orders: u64,
    pub(super) refused_orders: u64,
}

impl SkuTally {
    fn reserved(&self) -> i64 {
        self.promised - self.shipped - self.cancelled
    }
}

/// What the topics say about one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OrderTally {
    pub(super) status: OrderStatus,
    pub(super) placed: u32,
    pub(super) answers: u32,
}

/// What the stores say. Rows that live in another instance are not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Rows of the store `stock`.
    pub stock: BTreeMap<Sku, i64>,
    /// Rows of the store `reservations`.
    pub reservations: BTreeMap<Sku, Reservations>,
    /// Rows of the store `demand`, if there is one.
    pub demand: Option<BTreeMap<Sku, i64>>,
    /// Rows of the store `order-status`.
    pub status: HashMap<OrderId, OrderStatus>,
    /// Keys, with their store, that another instance holds.
    pub elsewhere: HashSet<(&'static str, String)>,
}

/// One thing that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is about, such as `stock`.
    pub subject: &'static str,
    /// Of which key.
    pub key: String,
    /// What there is.
    pub found: String,
    /// What there should be, by the recount.
    pub expected: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {}: found {}, but the recount says {}",
            self.subject, self.key, self.found, self.expected
        )
    }
}

impl Recount {
    /// Counts what one record of any of the topics says, dead letters included.
    pub fn count(&mut self, fact: &Fact) {
        match fact {
            Fact::Input(InputEvent::Order(event)) => self.order_event(event),
            Fact::Input(InputEvent::Stock(moved)) => self.stock_moved(moved),
            Fact::Answer(answer) => self.answer(answer),
            Fact::Unreadable => self.unreadable += 1,
            Fact::DeadLetter => self.dead_letters += 1,
        }
    }

    /// Counts an event of an order.
    pub fn order_event(&mut self, event: &OrderEvent) {
        self.events += 1;
        let order = event.order();
        self.sku(&order.sku).wanted += event.pieces_wanted();
        let state = match event {
            OrderEvent::Placed(_) => OrderState::Placed,
            OrderEvent::Cancelled(_) => {
                self.sku(&order.sku).cancelled += i64::from(order.quantity);
                OrderState::Cancelled
            }
        };
        let tally = self.order(&order.order_id, &order.sku, order.quantity, state);
        tally.placed += u32::from(state == OrderState::Placed);
    }

    /// Counts a movement of goods.
    pub fn stock_moved(&mut self, moved: &StockMoved) {
        self.events += 1;
        let sku = self.sku(&moved.sku);
        sku.on_hand += moved.quantity;
        sku.came_in += moved.quantity.max(0);
        if let Some(order_id) = &moved.order_id {
            sku.shipped -= moved.quantity;
            let quantity = u32::try_from(-moved.quantity).unwrap_or(0);
            self.order(order_id, &moved.sku, quantity, OrderState::Shipped);
        }
    }

    /// Counts an answer.
    pub fn answer(&mut self, answer: &Availability) {
        self.answers += 1;
        let quantity = i64::from(answer.quantity);
        if answer.promised != (answer.on_hand - answer.reserved >= quantity) {
            self.contradictions.push(answer.clone());
        }
        let sku = self.sku(&answer.sku);
        let state = if answer.promised {
            sku.promised += quantity;
            sku.promised_orders += 1;
            OrderState::Promised
        } else {
            sku.refused_orders += 1;
            OrderState::Refused
        };
        self.order(&answer.order_id, &answer.sku, answer.quantity, state).answers += 1;
    }

    /// Input records that could be read.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Input records that could not be read.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Answers to orders.
    pub fn answers(&self) -> u64 {
        self.answers
    }

    /// Keys the stores `stock` and `reservations` should have.
    pub fn skus(&self) -> impl Iterator<Item = &Sku> {
        self.skus.keys()
    }

    /// Keys the store `order-status` should have.
    pub fn orders(&self) -> impl Iterator<Item = &OrderId> {
        self.orders.keys()
    }

    /// What is not as it must be: first what is about skus, then what is about orders. Empty if the view agrees.
    pub fn differences(&self, view: &View) -> Vec<Difference> {
        let mut found = Findings::default();
        self.compare_skus(view, &mut found);
        let skus_end = found.0.len();
        self.compare_orders(view, &mut found);
        for answer in &self.contradictions {
            let free = answer.on_hand - answer.reserved;
            found.check("answer", &answer.order_id, &answer.promised, &(free >= i64::from(answer.quantity)));
        }
        found.check("number", "dead letters", &self.dead_letters, &self.unreadable);
        found.0[skus_end..].sort_by(|one, other| (other.subject, &one.key).cmp(&(one.subject, &other.key)));
        found.0
    }

    fn compare_skus(&self, view: &View, found: &mut Findings) {
        let extra = SkuTally::default();
        for sku in self.skus.keys().chain(view.stock.keys().filter(|sku| !self.skus.contains_key(*sku))) {
            let tally = self.skus.get(sku).unwrap_or(&extra);
            if !view.elsewhere.contains(&(STOCK.name(), sku.clone())) {
                let on_hand = view.stock.get(sku).copied().unwrap_or(0);
                found.check("stock", sku, &on_hand, &tally.on_hand);
            }
            let most = tally.came_in + tally.cancelled;
            if tally.promised > most {
                found.add("promises", sku, tally.promised, format!("at most {most}"));
            }
        }
        if let Some(demand) = &view.demand {
            let only_in_view = demand.keys().filter(|sku| !self.skus.contains_key(*sku));
            for sku in self.skus.keys().chain(only_in_view) {
                let tally = self.skus.get(sku).unwrap_or(&extra);
                if !view.elsewhere.contains(&(DEMAND.name(), sku.clone())) {
                    found.check("demand", sku, &demand.get(sku).copied().unwrap_or(0), &tally.wanted);
                }
            }
        }
        let none = Reservations::default();
        let only_in_view = view.reservations.keys().filter(|sku| !self.skus.contains_key(*sku));
        for sku in self.skus.keys().chain(only_in_view) {
            if view.elsewhere.contains(&(RESERVATIONS.name(), sku.clone())) {
                continue;
            }
            let tally = self.skus.get(sku).unwrap_or(&extra);
            let row = view.reservations.get(sku).unwrap_or(&none);
            found.check("reserved pieces", sku, &row.reserved, &tally.reserved());
            found.check("orders promised", sku, &row.promised_orders, &tally.promised_orders);
            found.check("orders refused", sku, &row.refused_orders, &tally.refused_orders);
        }
    }

    fn compare_orders(&self, view: &View, found: &mut Findings) {
        for (order_id, tally) in &self.orders {
            if tally.placed != 1 || tally.answers != 1 {
                let counts = format!("{} answers to {} placements", tally.answers, tally.placed);
                found.add("answers", order_id, counts, "one of each");
            }
            if !view.elsewhere.contains(&(STATUS.name(), order_id.clone())) {
                found.check(
                    "status",
                    order_id,
                    &Shown(view.status.get(order_id)),
                    &Shown(Some(&tally.status)),
                );
            }
        }
        for (order_id, status) in view.status.iter().filter(|(id, _)| !self.orders.contains_key(*id)) {
            found.check("status", order_id, &Shown(Some(status)), &Shown(None));
        }
    }

    fn sku(&mut self, sku: &str) -> &mut SkuTally {
        self.skus.entry(sku.to_string()).or_default()
    }

    fn order(&mut self, order_id: &str, sku: &str, quantity: u32, state: OrderState) -> &mut OrderTally {
        let tally = self.orders.entry(order_id.to_string()).or_insert_with(|| OrderTally {
            status: OrderStatus { sku: sku.to_string(), quantity, state },
            placed: 0,
            answers: 0,
        });
        tally.status.state = tally.status.state.max(state);
        tally
    }
}

#[derive(Default)]
struct Findings(Vec<Difference>);

impl Findings {
    fn check<T: PartialEq + fmt::Display>(
        &mut self,
        subject: &'static str,
        key: &str,
        found: &T,
        expected: &T,
    ) {
        if found != expected {
            self.add(subject, key, found, expected);
        }
    }

    fn add(
        &mut self,
        subject: &'static str,
        key: &str,
        found: impl fmt::Display,
        expected: impl fmt::Display,
    ) {
        let (key, found, expected) = (key.to_string(), found.to_string(), expected.to_string());
        self.0.push(Difference { subject, key, found, expected });
    }
}

#[derive(PartialEq)]
struct Shown<'a>(Option<&'a OrderStatus>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(status) => write!(f, "{} of {}, {:?}", status.quantity, status.sku, status.state),
            None => f.write_str("no row"),
        }
    }
}

#[cfg(test)]
mod tests;
