//! The shop's facts as they are written to Kafka, in JSON unless [`format`](super::format) says otherwise.

use millstream::json_serde;
use serde::{Deserialize, Serialize};

/// What is being sold, such as `apples`; the key of stock.
pub type Sku = String;

/// The name of one order, such as `order-1`; the key of orders.
pub type OrderId = String;

/// An order as the customer gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its name.
    pub order_id: OrderId,
    /// What is wanted.
    pub sku: Sku,
    /// How many pieces.
    pub quantity: u32,
    /// Who wants it.
    pub customer: String,
}

/// What happens to an order on the customer's side. Topic `orders`, keyed by order id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum OrderEvent {
    /// The customer ordered. Once for each order, and first.
    Placed(Order),
    /// The customer gave back what had been promised. At most once, only after a promise, and instead of shipping.
    Cancelled(Order),
}

impl OrderEvent {
    /// The order it is about.
    pub fn order(&self) -> &Order {
        match self {
            OrderEvent::Placed(order) | OrderEvent::Cancelled(order) => order,
        }
    }

    /// How many pieces it newly asks for: none where an order is given back, which was asked for all the same.
    pub fn pieces_wanted(&self) -> i64 {
        match self {
            OrderEvent::Placed(order) => i64::from(order.quantity),
            OrderEvent::Cancelled(_) => 0,
        }
    }
}

/// Goods that come into the warehouse or leave it. Topic `stock-movements`, keyed by sku.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockMoved {
    /// Which goods.
    pub sku: Sku,
    /// Pieces that came in; negative where they left.
    pub quantity: i64,
    /// The order they were shipped for. At most once for each order, and only after a promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
}

/// The answer to an order. Topic `order-availability`, keyed by order id; one for each order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Availability {
    /// The order.
    pub order_id: OrderId,
    /// What it wanted.
    pub sku: Sku,
    /// How many pieces it wanted.
    pub quantity: u32,
    /// Pieces in the warehouse at that moment.
    pub on_hand: i64,
    /// How many of these were promised to other orders.
    pub reserved: i64,
    /// Whether the order gets them: nothing is promised twice, and no part of an order is.
    pub promised: bool,
}

impl Availability {
    /// The answer, given what is in the warehouse and what of it is promised already.
    pub fn decide(order: Order, on_hand: i64, reserved: i64) -> Self {
        let Order { order_id, sku, quantity, .. } = order;
        let promised = on_hand - reserved >= i64::from(quantity);
        Availability { order_id, sku, quantity, on_hand, reserved, promised }
    }
}

/// What is promised of one sku. Store `reservations`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservations {
    /// Pieces promised to orders that were neither shipped nor cancelled.
    pub reserved: i64,
    /// Orders that got a promise, ever.
    pub promised_orders: u64,
    /// Orders that got none, ever.
    pub refused_orders: u64,
    /// The answer this change is, if it is one.
    pub decision: Option<Availability>,
}

/// How far an order is. Each order's facts come from two topics and may overtake each other, so the states have an order and a
/// row only ever moves up: whatever comes first, and however often, the end is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Not answered yet.
    Placed,
    /// Its goods are reserved.
    Promised,
    /// There were not enough.
    Refused,
    /// Its goods have left the warehouse.
    Shipped,
    /// Its goods are free again.
    Cancelled,
}

/// An order as it stands. Store `order-status`; also what the parts of the program tell each other about an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderStatus {
    /// What is wanted.
    pub sku: Sku,
    /// How many pieces.
    pub quantity: u32,
    /// How far it is.
    pub state: OrderState,
}

json_serde!(Order, OrderEvent, StockMoved, Availability, Reservations, OrderStatus);
