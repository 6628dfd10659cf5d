//! Makes up a shop: customers who order and cancel, suppliers who deliver, a warehouse that ships what was promised.
//!
//! Customers and warehouse act on answers, as they would outside: nothing is shipped or given back that was not promised, and
//! only once. What they know of orders they know from the topics, so a later run goes on where an earlier one ended.

use std::collections::{HashMap, HashSet, VecDeque};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::events::{Availability, Order, OrderEvent, OrderId, Sku, StockMoved};
use super::format::Fact;

/// What the shop sells.
pub const SKUS: [&str; 12] = [
    "apples", "apricots", "cherries", "figs", "grapes", "kiwis", "lemons", "melons", "oranges", "peaches",
    "pears", "plums",
];

const CUSTOMERS: [&str; 6] = ["ada", "barbara", "edsger", "grace", "leslie", "tony"];

/// Orders without an answer, above which customers wait: the program sets the pace then.
const MOST_UNANSWERED: usize = 2000;

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputEvent {
    /// For the topic `orders`.
    Order(OrderEvent),
    /// For the topic `stock-movements`.
    Stock(StockMoved),
}

/// The shop's people, in one.
pub struct Shop {
    chance: StdRng,
    order_prefix: String,
    orders_placed: u64,
    /// Orders of this run.
    unanswered: HashSet<OrderId>,
    promises: Promises,
}

impl Shop {
    /// A shop whose decisions follow from the seed and from the answers it gets. Its orders are named `<order_prefix>1` and so on.
    pub fn new(seed: u64, order_prefix: &str) -> Self {
        Shop {
            chance: StdRng::seed_from_u64(seed),
            order_prefix: order_prefix.to_string(),
            orders_placed: 0,
            unanswered: HashSet::new(),
            promises: Promises::default(),
        }
    }

    /// What happens next. Nothing, if too many orders wait for an answer.
    pub fn next_event(&mut self) -> Option<InputEvent> {
        let chance = self.chance.random_range(0..100);
        // The more promises are open, the busier the warehouse is.
        let wants_to_end_one = self.promises.open.len() > self.chance.random_range(0..100);
        match chance {
            0..14 => Some(self.deliver()),
            14..24 if wants_to_end_one => self.cancel(),
            24..80 if wants_to_end_one => self.ship(),
            _ => self.order(),
        }
    }

    fn cancel(&mut self) -> Option<InputEvent> {
        let order = self.promises.take_any(&mut self.chance)?;
        Some(InputEvent::Order(OrderEvent::Cancelled(order)))
    }

    fn ship(&mut self) -> Option<InputEvent> {
        let Order { sku, quantity, order_id, .. } = self.promises.take_any(&mut self.chance)?;
        Some(InputEvent::Stock(StockMoved { sku, quantity: -i64::from(quantity), order_id: Some(order_id) }))
    }

    fn deliver(&mut self) -> InputEvent {
        let (sku, quantity) = (self.any_sku(), self.chance.random_range(5..=15));
        InputEvent::Stock(StockMoved { sku, quantity, order_id: None })
    }

    fn order(&mut self) -> Option<InputEvent> {
        if self.unanswered.len() >= MOST_UNANSWERED {
            return None;
        }
        self.orders_placed += 1;
        let order = Order {
            order_id: format!("{}{}", self.order_prefix, self.orders_placed),
            sku: self.any_sku(),
            quantity: self.chance.random_range(1..=5),
            customer: CUSTOMERS[self.chance.random_range(0..CUSTOMERS.len())].to_string(),
        };
        self.unanswered.insert(order.order_id.clone());
        Some(InputEvent::Order(OrderEvent::Placed(order)))
    }

    fn any_sku(&mut self) -> Sku {
        SKUS[self.chance.random_range(0..SKUS.len())].to_string()
    }

    /// Learns from a record of the topics. What cannot be read teaches nothing.
    pub fn learn(&mut self, fact: &Fact) {
        match fact {
            Fact::Answer(answer) => self.answered(answer),
            Fact::Input(InputEvent::Order(OrderEvent::Cancelled(order))) => {
                self.promises.ended(&order.order_id)
            }
            Fact::Input(InputEvent::Stock(StockMoved { order_id: Some(order_id), .. })) => {
                self.promises.ended(order_id);
            }
            Fact::Input(_) | Fact::Unreadable | Fact::DeadLetter => {}
        }
    }

    /// Learns the answer to an order.
    pub fn answered(&mut self, answer: &Availability) {
        self.unanswered.remove(&answer.order_id);
        if answer.promised {
            self.promises.made(Order {
                order_id: answer.order_id.clone(),
                sku: answer.sku.clone(),
                quantity: answer.quantity,
                customer: String::new(),
            });
        }
    }
}

/// Ended orders that are remembered while new things happen: an answer that comes again after a crash must not revive its order.
const MOST_REMEMBERED: usize = 200_000;

/// Promises that can be kept or given back. The topics are read side by side, so the end of an order may be seen before its answer.
#[derive(Default)]
struct Promises {
    open: Vec<Order>,
    place_in_open: HashMap<OrderId, usize>,
    ended: HashSet<OrderId>,
    ended_oldest_first: VecDeque<OrderId>,
}

impl Promises {
    fn made(&mut self, order: Order) {
        if !self.ended.contains(&order.order_id) && !self.place_in_open.contains_key(&order.order_id) {
            self.place_in_open.insert(order.order_id.clone(), self.open.len());
            self.open.push(order);
        }
    }

    fn ended(&mut self, order_id: &OrderId) {
        if let Some(place) = self.place_in_open.get(order_id) {
            self.remove(*place);
        }
        if self.ended.insert(order_id.clone()) {
            self.ended_oldest_first.push_back(order_id.clone());
        }
    }

    fn take_any(&mut self, chance: &mut StdRng) -> Option<Order> {
        if self.open.is_empty() {
            return None;
        }
        let order = self.open[chance.random_range(0..self.open.len())].clone();
        self.ended(&order.order_id);
        while self.ended_oldest_first.len() > MOST_REMEMBERED
            && let Some(oldest) = self.ended_oldest_first.pop_front()
        {
            self.ended.remove(&oldest);
        }
        Some(order)
    }

    fn remove(&mut self, place: usize) {
        let order = self.open.swap_remove(place);
        self.place_in_open.remove(&order.order_id);
        if let Some(moved) = self.open.get(place) {
            self.place_in_open.insert(moved.order_id.clone(), place);
        }
    }
}
